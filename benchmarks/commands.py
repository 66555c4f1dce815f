"""What a person waits for: `tracker daily` on the simulated market, and loading the graph."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.timing import ROUNDS, best_of, run_python, seconds
from benchmarks.work import work_seconds
from tracker_dagster.operations.runs import opened_instance
from tracker_dagster.settings import Settings

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
        _command(environment)
        shares = [_share(environment, place) for _ in range(ROUNDS)]
    share, total, compute = min(shares)
    yield Figure(
        "tracker daily, 36 tickers: total less compute / 3 s",
        share,
        DAILY_ALLOWANCE,
        notes=f"{total:.2f} s from the prompt and back, {compute:.2f} s of it the assets' own work",
    )


def _command(environment: Mapping[str, str]) -> None:
    run_python("-m", "tracker_dagster.cli", "daily", environment=environment)


def _share(environment: Mapping[str, str], place: Path) -> tuple[float, float, float]:
    total = seconds(lambda: _command(environment))
    compute = _compute(Settings(data_dir=place / "data"))
    return total - compute, total, compute


def _compute(settings: Settings) -> float:
    """Seconds of the assets' own work in the last run."""
    with opened_instance(settings) as instance:
        (run,) = instance.get_runs(limit=1)
        return sum(work_seconds(instance, run.run_id).values())
