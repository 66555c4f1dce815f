"""Full-size option day files, made once by the simulated market and re-dated for a series."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path

from tracker_dagster.marketsim import Simulation
from tracker_dagster.marketsim.world.day_files import OPTIONS_DAY
from tracker_dagster.resources import MarketData
from tracker_dagster.sources.massive.flat_file_formats import Dataset
from tracker_dagster.sources.massive.flat_files import FetchedFile, FlatFiles, RemoteFile, gunzip
from tracker_dagster.trading_calendar import EASTERN, last_sessions

#: The session whose file is made; its contracts expire later, so earlier dates suit it too.
LAST_DAY = date(2026, 11, 18)


def midnight_ns(day: date) -> bytes:
    """``window_start`` of a day file, as text."""
    moment = datetime.combine(day, time(), EASTERN)
    return str(int(moment.timestamp()) * 10**9).encode()


@dataclass(frozen=True)
class Originals:
    """The distinct days that the simulated market made, as CSV, oldest first."""

    days: tuple[date, ...]
    csv: tuple[bytes, ...]

    @classmethod
    def made(cls, count: int) -> Originals:
        """The last ``count`` sessions up to `LAST_DAY`, of the whole option market."""
        files = Simulation(profile="full").files
        days = tuple(last_sessions(LAST_DAY, count))
        tables = (files.table(OPTIONS_DAY, day) for day in days)
        return cls(days, tuple(table.write_csv().encode() for table in tables))

    def rows(self) -> int:
        """Rows of the last day."""
        return self.csv[-1].count(b"\n") - 1

    def write(self, folder: Path, day: date, number: int = 0, *, level: int = 1) -> Path:
        """The ``number``-th original under another date, as ``folder/day.csv.gz``."""
        number %= len(self.days)
        text = self.csv[number].replace(midnight_ns(self.days[number]), midnight_ns(day))
        path = folder / f"{day}.csv.gz"
        path.write_bytes(gzip.compress(text, level, mtime=0))
        return path


def series(originals: Originals, folder: Path, count: int) -> Iterator[date]:
    """Sessions up to `LAST_DAY`, oldest first; each one's file is there when it is yielded."""
    for number, day in enumerate(last_sessions(LAST_DAY, count)):
        originals.write(folder, day, number)
        yield day


class FolderFiles(FlatFiles):
    """A bucket that is a folder: what is timed is our work, not a network's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fetch(self, dataset: Dataset, day: date) -> FetchedFile:
        """The day's file, verified and decompressed as from the real bucket."""
        key = self.key(dataset, day)
        packed = (self.folder / f"{day}.csv.gz").read_bytes()
        made = datetime(2026, 1, 1, tzinfo=UTC)
        return FetchedFile(RemoteFile(day, key, len(packed), f"{day}", made), gunzip(packed, key))


@dataclass(frozen=True)
class FolderMarket(MarketData):
    """A market of which only the option day files are to be had."""

    folder: Path

    @cached_property
    def flat_files(self) -> FlatFiles:
        """The folder."""
        return FolderFiles(self.folder)
