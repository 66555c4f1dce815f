"""A day of all option contracts without Dagster: its time, its memory, and the hundredth one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, partial
from pathlib import Path

import duckdb

from benchmarks.figures import Figure
from benchmarks.option_files import LAST_DAY, FolderMarket, Originals, series
from benchmarks.timing import best_of, peak_mib, run_python
from tracker_dagster.assets.ahead import Ahead
from tracker_dagster.assets.day_files import option_day_rows, write_file
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.resources import FixedClock, Knobs
from tracker_dagster.schemas.market import OPTION_DAY_AGGS
from tracker_dagster.settings import Settings
from tracker_dagster.sources.massive.flat_file_formats import Dataset
from tracker_dagster.warehouse import Warehouse

#: After the last file was published.
NOW = datetime(2026, 11, 19, 20, 50, tzinfo=UTC)
MEMORY_MIB = 1024


@dataclass(frozen=True)
class Loader:
    """Loads a folder's files into a database as the asset does, but without Dagster."""

    folder: Path
    database: Path

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables."""
        return Warehouse(self.database)

    @cached_property
    def settings(self) -> Settings:
        """Settings of a place of its own."""
        return Settings(data_dir=self.database.parent)

    @cached_property
    def market(self) -> FolderMarket:
        """Where the files come from."""
        return FolderMarket(self.settings, self.folder)

    def load(self, day: date) -> None:
        """Read, verify, parse, validate, de-duplicate and commit one day."""
        run = DayRun(
            day=day,
            now=NOW,
            clock=FixedClock(NOW),
            warehouse=self.warehouse,
            market=self.market,
            knobs=Knobs.from_settings(self.settings),
            config={},
            log=None,
            tags={},
            is_first=True,
            is_last=False,
            ahead=Ahead(),
        )
        fetched = self.market.flat_files.fetch(Dataset.OPTION_DAY, day)
        write_file(run, OPTION_DAY_AGGS, fetched, option_day_rows(fetched.csv, day))


def bare_duckdb(file: Path, database: Path) -> None:
    """The baseline: DuckDB's own reader into an empty file; no symbols parsed, nothing checked."""
    database.unlink(missing_ok=True)
    connection = duckdb.connect(str(database))
    connection.execute(f"CREATE TABLE bars AS SELECT * FROM read_csv('{file}')")
    connection.close()


def one_day(originals: Originals, home: Path) -> Iterator[Figure]:
    """Time and memory of one day."""
    folder = home / "one"
    folder.mkdir()
    file = originals.write(folder, LAST_DAY, -1, level=6)
    loader = Loader(folder, home / "one.duckdb")
    ours, bare = best_of(
        [lambda: loader.load(LAST_DAY), lambda: bare_duckdb(file, home / "bare.duckdb")]
    )
    yield Figure(
        "one OPRA day, gz to committed partition / bare DuckDB read_csv",
        ours,
        bare,
        1.5,
        notes=f"{originals.rows():,} rows",
    )
    database = home / "memory.duckdb"
    peak = float(run_python("-m", "benchmarks.option_day", str(folder), str(database)))
    yield Figure("one OPRA day, peak memory / 1 GiB", peak, MEMORY_MIB, unit="MiB")


def many_days(originals: Originals, home: Path, count: int) -> Iterator[Figure]:
    """Whether a day costs more when many are there already."""
    folder = home / "many"
    folder.mkdir()
    few = Loader(folder, home / "few.duckdb")
    many = Loader(folder, home / "many.duckdb")
    days = []
    for day in series(originals, folder, count):
        days.append(day)
        if len(days) < count:
            many.load(day)
    few.load(days[0])
    late, early = best_of([partial(many.load, days[-1]), partial(few.load, days[1])])
    size = many.database.stat().st_size / 1024**2
    yield Figure(
        f"day {count} / day 2",
        late,
        early,
        1.3,
        notes=f"into files of {count - 1} days ({size:.0f} MiB) and of one, by turns",
    )


def main() -> None:
    """Load one day in this process and print its peak memory."""
    folder, database = map(Path, sys.argv[1:])
    Loader(folder, database).load(LAST_DAY)
    print(peak_mib())


if __name__ == "__main__":
    main()
