"""Runs whose process has died: found by their tags or their events, and reported as failed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from tracker_dagster.resources import HOST_TAG, PID_TAG, inherited

#: Seconds that a run may take from its launch to its first sign of life; dagster.yaml says the same
#: to Dagster's own monitoring, which works only while its daemon does.
START_TIMEOUT = 180.0
_MAY_BE_ORPHANED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


def process_started_at(pid: int) -> float | None:
    """Seconds since the epoch at which the process started; None when it is gone or unreadable.

    A zombie counts as gone: it will do nothing more.
    """
    try:
        # The command name may hold spaces and brackets; the fields after it do not.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = next(
            float(line.split()[1])
            for line in Path("/proc/stat").read_text().splitlines()
            if line.startswith("btime ")
        )
    except (OSError, StopIteration):
        return None
    state, start_ticks = fields[0], int(fields[19])
    return None if state in "ZX" else boot + start_ticks / os.sysconf("SC_CLK_TCK")


def is_running(pid: int, since: float | None = None) -> bool:
    """Whether process ``pid`` is alive and, with ``since``, is not a newer one of the same number.

    Args:
        pid: process id on this host.
        since: seconds since the epoch at which the process was known to be running.
    """
    if Path("/proc/self/stat").exists():
        started = process_started_at(pid)
        # btime and the run record are rounded apart by up to a second each.
        return started is not None and (since is None or started <= since + 2.0)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def fail_orphaned_runs(
    instance: dg.DagsterInstance,
    *,
    host: str | None = None,
    is_alive: Callable[[int, float | None], bool] = is_running,
    start_timeout: float = START_TIMEOUT,
) -> list[str]:
    """Report as failed each unfinished run of this host whose process is gone.

    An in-process run that is killed reports nothing itself, and would claim its slot for ever.
    A run names its host and process by tags, from its first step on. One that does not yet, or that
    only has a copy of its parent's tags, is judged by the process that its events name, and when
    there is none by how long ago it was launched. Runs in the queue are left alone; so are untagged
    ones in a storage that other hosts can reach, where the process may be anywhere.

    Args:
        instance: Dagster's instance.
        host: host whose runs are looked at; this one when None.
        is_alive: says whether a process id, alive at a given time, still is.
        start_timeout: seconds after its launch at which a run without a process counts as dead.

    Returns:
        Ids of the runs that were reported.
    """
    # Imported here: Dagster's storages double the time that loading the graph takes.
    from dagster._core.storage.runs.sqlite import SqliteRunStorage

    name = host or socket.gethostname()
    failed = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=list(_MAY_BE_ORPHANED))):
        run = record.dagster_run
        own_tags = not inherited(instance, run, HOST_TAG, PID_TAG)
        if own_tags and run.tags.get(HOST_TAG, name) != name:
            continue
        pid = run.tags.get(PID_TAG, "")
        if own_tags and pid.isdigit():
            since = record.start_time or record.create_timestamp.timestamp()
            reason = None if is_alive(int(pid), since) else _ended(pid, name)
        elif isinstance(instance.run_storage, SqliteRunStorage):
            reason = _never_started(instance, record, name, is_alive, start_timeout)
        else:
            reason = None
        if reason is not None:
            instance.report_run_failed(run, reason)
            failed.append(run.run_id)
    return failed


def _ended(pid: str, host: str) -> str:
    return f"Process {pid} on {host} ended without finishing the run (killed, or a crash)."


def _never_started(
    instance: dg.DagsterInstance,
    record: dg.RunRecord,
    host: str,
    is_alive: Callable[[int, float | None], bool],
    start_timeout: float,
) -> str | None:
    """Why a run that has not tagged itself is dead; None when it is not, or not yet."""
    run_id = record.dagster_run.run_id
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    for entry in reversed(events):
        event = entry.dagster_event
        named = event.engine_event_data.metadata.get("pid") if event is not None else None
        if named is not None and str(named.value).isdigit():
            pid = str(named.value)
            return None if is_alive(int(pid), entry.timestamp) else _ended(pid, host)
    # A run may have been in the queue for hours: its last change of status counts.
    waited = time.time() - record.update_timestamp.timestamp()
    if waited <= start_timeout:
        return None
    return f"No process took up the run within {start_timeout:.0f} s of its launch."
