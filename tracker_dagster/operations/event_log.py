"""Dagster's SQLite files, kept open while a run writes to them. Knows nothing of what they hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path


@contextmanager
def kept_open(dagster_home: Path, *run_ids: str) -> Iterator[None]:
    """Hold the common files and those of runs open; without SQLite there is nothing to do.

    Dagster opens and closes a file for every event, and whoever closes one last empties its
    write-ahead log into it and waits for the disk: a quarter of a second a run when the disk is
    idle, seconds when it is not.
    """
    history = dagster_home / "history"
    with ExitStack() as stack:
        runs = [history / "runs" / f"{run_id}.db" for run_id in run_ids]
        for path in (history / "runs.db", history / "runs" / "index.db", *runs):
            if path.is_file():
                connection = stack.enter_context(closing(sqlite3.connect(path)))
                # A connection joins the write-ahead log when it first reads.
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        yield
