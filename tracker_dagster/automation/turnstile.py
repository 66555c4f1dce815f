"""Whose turn the daily decisions are: one command by a lock file, one run by Dagster's records.

The lock is freed by the kernel when its holder dies; a run whose process died is reported as
failed. A scheduled run holds no lock: each side looks for the other's.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from tracker_dagster.automation.jobs import LANE_TAG
from tracker_dagster.automation.orphans import fail_orphaned_runs

LOCK_NAME = "daily.lock"


UNDER_WAY = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)
UNFINISHED = (dg.DagsterRunStatus.QUEUED, *UNDER_WAY)
#: Seconds between two looks at a run that is waited for.
_PAUSE = 1.0


class BusyError(RuntimeError):
    """Another daily is under way and the caller would not wait."""


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


def daily_run(
    instance: dg.DagsterInstance, statuses: Sequence[dg.DagsterRunStatus] = UNFINISHED
) -> str | None:
    """Id of a run of the `daily` lane in one of the states, if there is one."""
    filters = dg.RunsFilter(tags={LANE_TAG: "daily"}, statuses=list(statuses))
    records = instance.get_run_records(filters, limit=1)
    return records[0].dagster_run.run_id if records else None


def await_daily_run(
    instance: dg.DagsterInstance, *, wait: bool, on_wait: Callable[[str], None] | None = None
) -> bool:
    """Return when no daily run is under way, one that was started elsewhere included.

    A run in the queue is not waited for: the instance lets only one run of the lane out of it at a
    time, and without Dagster's daemon it would never leave it.

    Args:
        instance: Dagster's instance.
        wait: whether to wait for a run.
        on_wait: told once which run it is, before waiting.

    Returns:
        Whether there was one.

    Raises:
        BusyError: one is under way and ``wait`` is False.
    """
    waited = False
    while True:
        fail_orphaned_runs(instance)
        run_id = daily_run(instance, UNDER_WAY)
        if run_id is None:
            return waited
        if not wait:
            raise BusyError(f"a daily run is already under way (run {run_id[:8]})")
        if not waited and on_wait is not None:
            on_wait(f"run {run_id[:8]}")
        waited = True
        time.sleep(_PAUSE)


def busy_with_daily(instance: dg.DagsterInstance, run_dir: Path) -> str | None:
    """Why the automation must keep still: a `tracker daily` or a daily run; None when it need not.

    Runs whose process has died are reported first, else they would be waited for.
    """
    fail_orphaned_runs(instance)
    if daily_is_running(run_dir):
        return "`tracker daily` is running"
    run_id = daily_run(instance)
    return f"daily run {run_id[:8]} is not finished" if run_id else None


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
