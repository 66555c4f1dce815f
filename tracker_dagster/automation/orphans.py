"""Runs whose process has died: found by their tags and reported as failed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from tracker_dagster.resources import HOST_TAG, PID_TAG

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
) -> list[str]:
    """Report as failed each unfinished run of this host whose process is gone.

    An in-process run that is killed reports nothing itself, and would claim its slot for ever.

    Args:
        instance: Dagster's instance.
        host: host whose runs are looked at; this one when None.
        is_alive: says whether a process id, alive at a given time, still is.

    Returns:
        Ids of the runs that were reported.
    """
    name = host or socket.gethostname()
    records = instance.get_run_records(
        dg.RunsFilter(statuses=list(_MAY_BE_ORPHANED), tags={HOST_TAG: name})
    )
    failed = []
    for record in records:
        run = record.dagster_run
        tag = run.tags.get(PID_TAG, "")
        known_at = record.start_time or record.create_timestamp.timestamp()
        if not tag.isdigit() or is_alive(int(tag), known_at):
            continue
        instance.report_run_failed(
            run, f"Process {tag} on {name} ended without finishing the run (killed, or a crash)."
        )
        failed.append(run.run_id)
    return failed
