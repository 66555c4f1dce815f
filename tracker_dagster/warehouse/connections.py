"""Opening the database file in one configuration, in turn, and naming whoever is in the way."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from tracker_dagster.warehouse.engines import engine
from tracker_dagster.warehouse.errors import WarehouseFullError, WarehouseHeldError
from tracker_dagster.warehouse.turns import turn

#: Rows of a row group. DuckDB's 122,880 leaves a large remainder after every day of options,
#: which the next checkpoint then merges with its neighbour: 0.3 s on every second day.
ROW_GROUP_ROWS = 61_440

#: Oldest DuckDB that can open the file; its string compression writes a day faster.
STORAGE_VERSION = "v1.4.0"

_HOLDER = re.compile(r"lock is held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")
_RESERVED_CATALOGS = {"memory", "system", "temp"}


def catalog_name(path: Path) -> str:
    """Name of the attached database: the one DuckDB's own shell would give it."""
    return "warehouse" if path.stem in _RESERVED_CATALOGS else path.stem


def is_disk_full(error: Exception) -> bool:
    """Whether DuckDB failed for want of room on the disk (or a limit on file size)."""
    words = str(error)
    return any(
        sign in words
        for sign in (
            "No space left on device",
            "File too large",
            "Disk quota exceeded",
            "Could not write all bytes",
        )
    )


@contextmanager
def connect(path: Path, *, read_only: bool, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to ``path``, in turn, closed at the end whatever happens.

    Unqualified table names mean the file's tables; instants come back in UTC. A reader's
    connection reaches no other file.

    Args:
        path: the database file; created when a writer asks for it.
        read_only: wait as a reader beside readers, or alone.
        patience: seconds to wait for a program that does not take turns.

    Raises:
        WarehouseHeldError: such a program still holds the file after ``patience``.
        WarehouseFullError: the disk is full.
        TurnError: this thread holds a connection already.
    """
    with (
        turn(path, exclusive=not read_only),
        opened(path, read_only=read_only, patience=patience) as connection,
    ):
        yield connection


@contextmanager
def opened(path: Path, *, read_only: bool, patience: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """As `connect`, for whoever has the turn already."""
    with engine(path, read_only=read_only) as host:
        _attach(host, path, read_only=read_only, patience=patience)
        name = quoted(catalog_name(path))
        connection = host.cursor()
        try:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"USE {name}")
            yield connection
        except duckdb.Error as error:
            if is_disk_full(error):
                raise WarehouseFullError(
                    f"no room to write {path.name}; nothing was changed: {_first_line(error)}"
                ) from error
            raise
        finally:
            connection.close()
        _detach(host, path, name)


def _detach(host: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    try:
        host.execute(f"DETACH {name}")
    except duckdb.Error as error:
        # Committed rows are in the log by now; only merging it into the file found no room.
        if is_disk_full(error):
            raise WarehouseFullError(
                f"no room to merge the log of {path.name}; what was written is safe in "
                f"{path.name}.wal: make room and go on: {_first_line(error)}"
            ) from error
        raise


def _attach(
    host: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool, patience: float
) -> None:
    options = (
        "READ_ONLY"
        if read_only
        else f"ROW_GROUP_SIZE {ROW_GROUP_ROWS}, STORAGE_VERSION '{STORAGE_VERSION}'"
    )
    file = str(path).replace("'", "''")
    statement = f"ATTACH '{file}' AS {quoted(catalog_name(path))} ({options})"
    deadline = time.monotonic() + patience
    pause = 0.05
    while True:
        try:
            host.execute(statement)
            return
        except duckdb.IOException as error:
            holder = _holder(error)
            if holder is None:
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                raise WarehouseHeldError(
                    f"{path.name} is held open by {holder}, which does not take turns; "
                    f"waited {patience:g} s. Close it there and try again."
                ) from error
            time.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311
            pause = min(pause * 2, 0.5)


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _holder(error: Exception) -> str | None:
    """Who holds the file, in words, when that is why DuckDB could not open it."""
    message = str(error)
    if "Could not set lock on file" not in message:
        return None
    found = _HOLDER.search(message)
    if found is None:
        return "another program"
    pid = int(found["pid"])
    return f"{_process_name(pid) or found['program']} (PID {pid})"


def _process_name(pid: int) -> str | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return None
    # Arguments may hold keys; the program and the script it runs are enough to find it.
    shown = [words[0], *(word for word in words[1:2] if not word.startswith("-"))]
    return " ".join(Path(word).name for word in shown if word) or None
