"""Taking turns at one file, between threads and between processes. Knows nothing of DuckDB.

Two sidecars are locked in a fixed order: ``<file>.gate`` exclusively, then ``<file>.lock``
(shared to read, exclusive to write), then the gate is released. Whoever waits at the gate is
served in order, so a stream of readers cannot starve a writer; the kernel frees both locks
when a process dies. Within a process one thread at a time has the turn.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracker_dagster.warehouse.errors import TurnError


class _Turnstile:
    """The turn of this process at one file."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.owner: int | None = None
        self.descriptors: set[int] = set()


_turnstiles: dict[Path, _Turnstile] = {}
_registry = threading.Lock()


def _after_fork_in_child() -> None:
    # The child shares its parent's open files, and with them the locks: left open, they would
    # outlive the parent. The parent's threads do not exist here, so its mutexes never open.
    global _registry
    _registry = threading.Lock()
    for turnstile in _turnstiles.values():
        for descriptor in turnstile.descriptors:
            with suppress(OSError):
                os.close(descriptor)
    _turnstiles.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _turnstile(path: Path) -> _Turnstile:
    with _registry:
        return _turnstiles.setdefault(path, _Turnstile())


@contextmanager
def _locked(turnstile: _Turnstile, sidecar: Path, mode: int) -> Iterator[None]:
    descriptor = os.open(sidecar, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    turnstile.descriptors.add(descriptor)
    process = os.getpid()
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        # A forked child that unwinds through here has closed the descriptor already, and its
        # number may belong to another file by now.
        if os.getpid() == process:
            turnstile.descriptors.discard(descriptor)
            # Unlock first: a child forked meanwhile may still hold the same open file.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


@contextmanager
def turn(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the turn at ``path``: alone to write, beside other processes' readers to read.

    Waits as long as the jobs ahead take.

    Raises:
        TurnError: this thread has the turn at ``path`` already.
    """
    path = path.absolute()
    turnstile = _turnstile(path)
    me = threading.get_ident()
    if turnstile.owner == me:
        raise TurnError(
            f"this thread already holds a connection to {path.name}: "
            "close it before asking for another"
        )
    with turnstile.mutex:
        turnstile.owner = me
        try:
            gate = _locked(turnstile, path.with_name(path.name + ".gate"), fcntl.LOCK_EX)
            mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
            lock = _locked(turnstile, path.with_name(path.name + ".lock"), mode)
            with gate:
                lock.__enter__()
            try:
                yield
            finally:
                lock.__exit__(None, None, None)
        finally:
            turnstile.owner = None
