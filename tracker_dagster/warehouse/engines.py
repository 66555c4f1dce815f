"""DuckDB engines that hold no file, kept between turns. Knows nothing of turns or tables.

Starting an engine takes 8 ms of work, attaching a file to one 1 ms; a daily run takes a hundred
turns. An engine serves one thread at a time, and one that met an error is not used again.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

#: Idle engines a process keeps: a reader and a writer of two files.
_MOST_IDLE = 4

#: What DuckDB adds to a file's name: its log, and the logs while it checkpoints or recovers.
_ENDINGS = ("", ".wal", ".wal.checkpoint", ".wal.recovery")

_Key = tuple[Path, bool]
_idle: OrderedDict[_Key, duckdb.DuckDBPyConnection] = OrderedDict()
_mutex = threading.Lock()
_orphaned: list[object] = []


def _after_fork_in_child() -> None:
    # An engine's threads stay with the parent; even closing it here would wait for them for ever.
    global _mutex
    _mutex = threading.Lock()
    _orphaned.extend(_idle.values())
    _idle.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


@contextmanager
def engine(path: Path, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine to attach ``path`` to; the body detaches it again.

    A reader's engine reaches no other file.
    """
    key = (path.absolute(), read_only)
    with _mutex:
        connection = _idle.pop(key, None)
    if connection is None:
        connection = _started(*key)
    try:
        yield connection
    except BaseException:
        # Closing it lets go of the file, whatever state it was left in.
        connection.close()
        raise
    _keep(key, connection)


def _started(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"autoinstall_known_extensions": False})
    try:
        connection.execute("LOAD icu")
        if read_only:
            files = ["'" + f"{path}{ending}".replace("'", "''") + "'" for ending in _ENDINGS]
            connection.execute(f"SET allowed_paths = [{', '.join(files)}]")
            connection.execute("SET enable_external_access = false")
    except BaseException:
        connection.close()
        raise
    return connection


def _keep(key: _Key, connection: duckdb.DuckDBPyConnection) -> None:
    superfluous = []
    with _mutex:
        if key in _idle:
            superfluous.append(connection)
        else:
            _idle[key] = connection
        while len(_idle) > _MOST_IDLE:
            superfluous.append(_idle.popitem(last=False)[1])
    for other in superfluous:
        other.close()
