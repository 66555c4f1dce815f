import os
import signal
import socket
import subprocess
import sys
import textwrap
import time

import dagster as dg
import pytest

from tracker_dagster.automation.orphans import fail_orphaned_runs, is_running, process_started_at
from tracker_dagster.resources import HOST_TAG, PID_TAG

_RUN_FOR_EVER = textwrap.dedent(
    """
    import sys, time
    import dagster as dg
    from tracker_dagster.resources import process_tags

    @dg.op
    def sleep():
        print("started", flush=True)
        time.sleep(600)

    @dg.job
    def endless():
        sleep()

    with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
        endless.execute_in_process(instance=instance, tags=process_tags())
    """
)


@pytest.fixture
def instance(tmp_path):
    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "compute_logs: {module: dagster._core.storage.noop_compute_log_manager,"
        " class: NoOpComputeLogManager}\n"
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


@pytest.fixture
def endless(instance, tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", _RUN_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout.readline() == b"started\n"
        yield child
    finally:
        child.kill()
        child.wait()


def _status(instance):
    (run,) = instance.get_runs()
    return run.status


def test_a_run_whose_process_was_killed_is_reported(instance, endless):
    assert fail_orphaned_runs(instance) == []
    assert _status(instance) is dg.DagsterRunStatus.STARTED
    endless.send_signal(signal.SIGKILL)
    # Not waited for: a zombie works no more than a process that is gone.
    deadline = time.monotonic() + 10
    while is_running(endless.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    (run,) = instance.get_runs()
    assert fail_orphaned_runs(instance) == [run.run_id]
    assert _status(instance) is dg.DagsterRunStatus.FAILURE
    assert fail_orphaned_runs(instance) == []


def _started(instance, tags):
    @dg.job
    def nothing():
        pass

    run = instance.create_run_for_job(nothing, tags=tags, status=dg.DagsterRunStatus.STARTED)
    return run.run_id


def test_runs_of_other_hosts_are_left_alone(instance):
    _started(instance, {HOST_TAG: "elsewhere", PID_TAG: "1"})
    assert fail_orphaned_runs(instance, is_alive=lambda pid, since: False) == []


def test_runs_that_name_no_process_are_left_alone(instance):
    _started(instance, {HOST_TAG: socket.gethostname()})
    assert fail_orphaned_runs(instance, is_alive=lambda pid, since: False) == []


def test_a_number_that_was_given_to_a_later_process_is_not_the_run(instance):
    own = os.getpid()
    started = process_started_at(own)
    assert is_running(own, since=time.time())
    assert not is_running(own, since=started - 60)
