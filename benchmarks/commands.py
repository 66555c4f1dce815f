"""What a person waits for: `tracker daily` on the simulated market, and loading the graph."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.timing import ROUNDS, best_of, run_python
from benchmarks.work import work_seconds
from tracker_dagster.operations.runs import opened_instance
from tracker_dagster.settings import Settings

#: `tracker daily`, with a stop-watch on what it does for itself before its Dagster run.
DAILY = """
import sys, time
from tracker_dagster import cli
from tracker_dagster.operations import daily

spent = 0.0

def timed(work):
    def run(*arguments, **options):
        global spent
        began = time.perf_counter()
        try:
            return work(*arguments, **options)
        finally:
            spent += time.perf_counter() - began
    return run

daily.sync, daily.due_work = timed(daily.sync), timed(daily.due_work)
sys.argv = ["tracker", "daily"]
try:
    cli.main()
finally:
    print(f"\\n{spent}")
"""
#: What the graph may cost in a daily run beside the work itself, seconds.
DAILY_ALLOWANCE = 3.0
SERVE = """
import sys
from tracker_dagster.marketsim import MarketSim
with MarketSim(port=0) as market:
    print(market.url, flush=True)
    sys.stdin.read()
"""


def loading() -> Iterator[Figure]:
    """The graph's import against Dagster's own."""
    graph, dagster = best_of(
        [
            lambda: run_python("-c", "import tracker_dagster.definitions"),
            lambda: run_python("-c", "import dagster"),
        ]
    )
    yield Figure("loading definitions.py / import dagster", graph, dagster, 2.5)


@contextmanager
def simulated_market() -> Iterator[str]:
    """The address of a simulated market in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def daily(home: Path) -> Iterator[Figure]:
    """`tracker daily` as a person types it: all of its time that is not the assets' own work."""
    place = home / "daily"
    place.mkdir()
    with simulated_market() as url:
        hidden = ("MASSIVE_", "TRACKER_", "DAGSTER_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)} | {
            "TRACKER_HOME": str(place),
            "TRACKER_SIM_URL": url,
            "DAGSTER_HOME": str(place / "data" / "dagster"),
        }
        run_python("-c", DAILY, environment=environment)
        shares = [_share(environment, place) for _ in range(ROUNDS)]
    share, total, compute = min(shares)
    yield Figure(
        "tracker daily, 36 tickers: total less compute / 3 s",
        share,
        DAILY_ALLOWANCE,
        notes=f"{total:.2f} s from start to exit of the process, {compute:.2f} s of it compute: "
        "the assets' own work, the ledger's sync and asking the vendor for new files",
    )


def _share(environment: Mapping[str, str], place: Path) -> tuple[float, float, float]:
    began = time.perf_counter()
    said = run_python("-c", DAILY, environment=environment)
    total = time.perf_counter() - began
    compute = float(said.splitlines()[-1]) + _work_of_last_run(Settings(data_dir=place / "data"))
    return total - compute, total, compute


def _work_of_last_run(settings: Settings) -> float:
    with opened_instance(settings) as instance:
        (run,) = instance.get_runs(limit=1)
        return sum(work_seconds(instance, run.run_id).values())
