import socket
import subprocess
import sys
import time

import dagster as dg
import pytest

from tracker_dagster.automation.turnstile import (
    BusyError,
    await_daily_run,
    busy_with_daily,
    daily_is_running,
    daily_lock,
)
from tracker_dagster_tests.automation.runs import run_in

_HOLD = """
import sys
from pathlib import Path
from tracker_dagster.automation.turnstile import daily_lock
with daily_lock(Path(sys.argv[1]), wait=False):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def test_the_second_is_refused_and_told_who_holds_it(tmp_path, holder):
    assert daily_is_running(tmp_path)
    with (
        pytest.raises(BusyError, match=f"process {holder.pid}"),
        daily_lock(tmp_path, wait=False),
    ):
        pytest.fail("two held the lock")


def test_the_second_waits_its_turn(tmp_path, holder):
    told = []

    def on_wait(who):
        told.append(who)
        holder.stdin.close()

    with daily_lock(tmp_path, wait=True, on_wait=on_wait):
        assert len(told) == 1


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert not daily_is_running(tmp_path)
    with daily_lock(tmp_path, wait=False):
        assert daily_is_running(tmp_path)
    assert not daily_is_running(tmp_path)


def test_looking_does_not_take_the_lock_away(tmp_path):
    with daily_lock(tmp_path, wait=False):
        pass
    deadline = time.monotonic() + 0.3
    while time.monotonic() < deadline:
        assert not daily_is_running(tmp_path)
        with daily_lock(tmp_path, wait=False):
            pass


def test_nothing_runs_where_nothing_has_run(tmp_path):
    assert not daily_is_running(tmp_path / "absent")


@pytest.fixture
def instance(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path), {"telemetry": {"enabled": False}}) as made:
        yield made


def run_of(instance, pid, status=dg.DagsterRunStatus.STARTED, lane="daily"):
    return run_in(
        instance,
        status,
        tracker__lane=lane,
        tracker__host=socket.gethostname(),
        tracker__pid=str(pid),
    )


def test_a_scheduled_daily_is_in_the_way_of_a_command(tmp_path, instance, holder):
    run = run_of(instance, holder.pid)
    with pytest.raises(BusyError, match=run.run_id[:8]):
        await_daily_run(instance, wait=False)
    assert run.run_id[:8] in busy_with_daily(instance, tmp_path / "elsewhere")


def test_a_command_waits_for_a_scheduled_daily_to_finish(instance, holder):
    run = run_of(instance, holder.pid)
    told = []

    def on_wait(who):
        told.append(who)
        instance.report_run_canceled(run)

    assert await_daily_run(instance, wait=True, on_wait=on_wait)
    assert told == [f"run {run.run_id[:8]}"]
    assert not await_daily_run(instance, wait=True)


def test_a_daily_run_whose_process_was_killed_is_in_nobodys_way(tmp_path, instance, holder):
    run = run_of(instance, holder.pid)
    holder.kill()
    holder.wait()
    assert not await_daily_run(instance, wait=False)
    assert busy_with_daily(instance, tmp_path) is None
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.FAILURE


def test_a_run_in_the_queue_is_not_waited_for_by_a_command(tmp_path, instance, holder):
    """Only the daemon could take it out, and there may be none."""
    run_of(instance, holder.pid, dg.DagsterRunStatus.QUEUED)
    assert not await_daily_run(instance, wait=False)
    assert busy_with_daily(instance, tmp_path / "elsewhere") is not None


def test_single_steps_by_hand_are_no_daily(tmp_path, instance, holder):
    run_of(instance, holder.pid, lane="manual")
    assert not await_daily_run(instance, wait=False)
    assert busy_with_daily(instance, tmp_path / "elsewhere") is None
