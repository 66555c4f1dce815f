"""Whose turn `tracker daily` is: one holder of ``daily.lock``, freed by the kernel at its death."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = "daily.lock"


class BusyError(RuntimeError):
    """Another process holds the lock and the caller would not wait."""


def _holder(descriptor: int) -> str:
    written = os.pread(descriptor, 64, 0).decode(errors="replace").strip()
    return f"process {written}" if written else "another process"


def _try_lock(descriptor: int) -> bool:
    # Whoever only looks (`daily_is_running`) holds the lock for microseconds; look twice.
    for pause in (0.05, 0.2, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if pause is None:
                return False
            time.sleep(pause)
        else:
            return True
    return False


@contextmanager
def daily_lock(
    run_dir: Path, *, wait: bool, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold ``run_dir/daily.lock`` for the body.

    Args:
        run_dir: folder of locks; made when it is not there.
        wait: whether to wait for another holder.
        on_wait: told once who holds the lock, before waiting.

    Raises:
        BusyError: the lock is held and ``wait`` is False.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(run_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _try_lock(descriptor):
            holder = _holder(descriptor)
            if not wait:
                raise BusyError(f"`tracker daily` is already running ({holder})")
            if on_wait is not None:
                on_wait(holder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def daily_is_running(run_dir: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        descriptor = os.open(run_dir / LOCK_NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
