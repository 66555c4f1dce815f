"""The same days through the Dagster asset: one, twenty as one back-fill run, a year."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import dagster as dg

from benchmarks.figures import Figure
from benchmarks.option_day import NOW, Loader, bare_duckdb
from benchmarks.option_files import LAST_DAY, FolderMarket, Originals, series
from benchmarks.timing import best_of, seconds
from benchmarks.work import work_seconds
from tracker_dagster.definitions import build_defs
from tracker_dagster.operations.runs import opened_instance, run_job
from tracker_dagster.resources import FixedClock
from tracker_dagster.settings import Settings

ASSET = "option_day_aggs"
BACKFILL_DAYS = 20
YEAR_DAYS = 252
#: What the asset may take more than the work itself, seconds.
ASSET_ALLOWANCE = 0.4


@dataclass(frozen=True)
class Graph:
    """The code location on a folder of files, and a Dagster instance of its own."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance

    def run(self, first: date, last: date) -> str:
        """Make the asset's partitions as one run of the `flat_files` job; returns its id."""
        report = run_job(
            self.instance,
            self.definitions,
            "flat_files",
            first=first,
            last=last,
            assets=[ASSET],
            now=NOW,
        )
        if not report.success:
            raise RuntimeError(f"the run failed: {report.failures}")
        return report.run_id


@contextmanager
def graph(folder: Path, place: Path) -> Iterator[Graph]:
    """A graph that keeps everything under ``place``."""
    settings = Settings(data_dir=place)
    definitions = build_defs(
        settings, {"market": FolderMarket(settings, folder), "clock": FixedClock(NOW)}
    )
    with opened_instance(settings) as instance:
        yield Graph(definitions, instance)


def one_day(originals: Originals, home: Path) -> Iterator[Figure]:
    """What Dagster adds to one day."""
    folder = home / "asset"
    folder.mkdir()
    originals.write(folder, LAST_DAY, -1, level=6)
    loader = Loader(folder, home / "asset.duckdb")
    with graph(folder, home / "asset_place") as made:
        through, direct = best_of(
            [lambda: made.run(LAST_DAY, LAST_DAY), lambda: loader.load(LAST_DAY)]
        )
    yield Figure(
        "one OPRA day through the asset: what Dagster adds / 0.4 s",
        through - direct,
        ASSET_ALLOWANCE,
        notes=f"{through:.2f} s with, {direct:.2f} s without; run, events and picture included",
    )


def backfill(originals: Originals, home: Path, rounds: int) -> Iterator[Figure]:
    """A range as one run against its days one by one without Dagster."""
    folder = home / "range"
    folder.mkdir()
    days = list(series(originals, folder, BACKFILL_DAYS))
    loader = Loader(folder, home / "range.duckdb")

    def one_by_one() -> None:
        for day in days:
            loader.load(day)

    with graph(folder, home / "range_place") as made:
        through, direct = best_of([lambda: made.run(days[0], days[-1]), one_by_one], rounds)
    yield Figure(
        f"{BACKFILL_DAYS} OPRA days as one back-fill / {BACKFILL_DAYS} days without Dagster",
        through,
        direct,
        1.1,
        notes=f"best of {rounds}; the next file is unpacked meanwhile",
    )


def year(originals: Originals, home: Path) -> Iterator[Figure]:
    """A year of sessions, made of a few distinct days, as one run; once."""
    folder = home / "year"
    folder.mkdir()
    days = list(series(originals, folder, YEAR_DAYS))
    bare = _best_bare([folder / f"{day}.csv.gz" for day in days[:5]], home)
    loader = Loader(folder, home / "single.duckdb")
    (single,) = best_of([lambda: loader.load(days[0])])
    runs: list[str] = []
    with graph(folder, home / "year_place") as made:
        total = seconds(lambda: runs.append(made.run(days[0], days[-1])))
        spent = list(work_seconds(made.instance, runs[0]).values())
    size = (home / "year_place" / "tracker.duckdb").stat().st_size / 1024**2
    rows = originals.rows() * YEAR_DAYS
    yield Figure(
        f"{YEAR_DAYS} OPRA days as one back-fill / as many times one day without Dagster",
        total,
        single * YEAR_DAYS,
        1.1,
        notes=f"{rows / 1e6:.0f} million rows, {size:.0f} MiB",
    )
    yield Figure(
        f"{YEAR_DAYS} OPRA days as one back-fill / as many times bare DuckDB read_csv",
        total,
        bare * YEAR_DAYS,
        1.5,
    )
    early, late = sum(spent[1:21]) / 20, sum(spent[-20:]) / 20
    yield Figure(
        "last 20 days of the year / first 20", late, early, 1.3, notes="mean seconds of a day"
    )


def _best_bare(files: Sequence[Path], home: Path) -> float:
    works = [partial(bare_duckdb, file, home / "bare_year.duckdb") for file in files]
    return min(best_of(works, rounds=1))
