"""`tracker smoke`: one day from nothing, in a folder of its own, as a user would run it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from tracker_dagster.operations.market import free_port

#: A year of history is not needed to see that everything hangs together.
_SESSIONS = 6
#: Variables that would lead away from the temporary folder or from the simulated market.
_FOREIGN = ("MASSIVE_", "TRACKER_", "DAGSTER_")


def run_smoke(console: Console) -> int:
    """Run `tracker daily` in an empty folder; the exit code, 0 when a summary was written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    with tempfile.TemporaryDirectory(prefix="tracker-smoke-") as folder:
        environment = {
            **kept,
            "TRACKER_HOME": folder,
            "TRACKER_DATA_DIR": f"{folder}/data",
            "TRACKER_HISTORY_SESSIONS": str(_SESSIONS),
            "TRACKER_SIM_URL": f"http://127.0.0.1:{free_port()}",
        }
        started = time.monotonic()
        command = [sys.executable, "-m", "tracker_dagster.cli", "daily", "--no-wait"]
        finished = subprocess.run(command, env=environment, cwd=folder, check=False)
        seconds = time.monotonic() - started
        report = Path(folder) / "data" / "reports" / "summary.md"
        if finished.returncode == 0 and report.is_file():
            console.print(f"[green]smoke test passed[/] in {seconds:.0f} s", highlight=False)
            return 0
        console.print(f"[red]smoke test failed[/] with code {finished.returncode}")
        return finished.returncode or 1
