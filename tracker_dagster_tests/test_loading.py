"""Every process loads the graph first: code servers, runs, the command. It must stay light."""

import subprocess
import sys

HEAVY = (
    "alembic",
    "boto3",
    "dagster_webserver",
    "matplotlib",
    "moto",
    "requests",
    "scipy",
    "starlette",
    "streamlit",
    "tracker_dagster.marketsim",
    "uvicorn",
)


def test_the_graph_loads_without_what_only_some_work_needs():
    code = f"""
import sys
import tracker_dagster.definitions
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
