import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager

import dagster as dg
import pytest

from tracker_dagster.automation.orphans import fail_orphaned_runs, is_running, process_started_at
from tracker_dagster.resources import HOST_TAG, PID_TAG
from tracker_dagster_tests.automation.runs import run_in

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


#: Runs a job, or repeats a run of it, without tags of its own; stops in the step until it is told.
_UNTAGGED = textwrap.dedent(
    """
    import sys, time
    import dagster as dg
    from dagster._core.definitions.job_base import InMemoryJob
    from dagster._core.execution.api import execute_run
    from tracker_dagster.resources import SystemClock, run_now

    @dg.op
    def step(context):
        print("begun", flush=True)
        sys.stdin.readline()
        run_now(context, SystemClock())
        print("tagged", flush=True)
        time.sleep(600)

    @dg.job(executor_def=dg.in_process_executor)
    def endless():
        step()

    with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
        repeated = instance.get_run_by_id(sys.argv[2]) if sys.argv[2:] else None
        run = instance.create_run_for_job(
            endless,
            tags=repeated.tags if repeated else {},
            parent_run_id=repeated and repeated.run_id,
            root_run_id=repeated and repeated.run_id,
        )
        execute_run(InMemoryJob(endless), run, instance)
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


@contextmanager
def untagged(tmp_path, *repeated):
    child = subprocess.Popen(
        [sys.executable, "-c", _UNTAGGED, str(tmp_path), *repeated],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert child.stdout.readline() == b"begun\n"
        yield child
    finally:
        kill(child)


def kill(child):
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


def test_a_run_killed_before_it_named_its_process_is_found_by_its_events(instance, tmp_path):
    with untagged(tmp_path) as child:
        assert fail_orphaned_runs(instance, start_timeout=0) == []
        kill(child)
        (run,) = instance.get_runs()
        assert PID_TAG not in run.tags
        assert run.status is dg.DagsterRunStatus.STARTED
        assert fail_orphaned_runs(instance) == [run.run_id]
    assert _status(instance) is dg.DagsterRunStatus.FAILURE


def test_a_retry_is_not_taken_for_the_dead_run_whose_tags_it_has(instance, endless, tmp_path):
    kill(endless)
    (dead,) = fail_orphaned_runs(instance)
    with untagged(tmp_path, dead) as child:
        (retry,) = (run for run in instance.get_runs() if run.parent_run_id == dead)
        assert retry.tags[PID_TAG] == str(endless.pid)
        assert fail_orphaned_runs(instance) == []
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"tagged\n"
        assert instance.get_run_by_id(retry.run_id).tags[PID_TAG] == str(child.pid)
        assert fail_orphaned_runs(instance) == []
        kill(child)
        assert fail_orphaned_runs(instance) == [retry.run_id]


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED])
def test_a_run_that_no_process_took_up_is_given_time(instance, status):
    run_id = run_in(instance, status).run_id
    assert fail_orphaned_runs(instance) == []
    time.sleep(0.01)
    assert fail_orphaned_runs(instance, start_timeout=0) == [run_id]
    assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.FAILURE


def test_a_run_in_the_queue_may_wait_for_ever(instance):
    run_in(instance, dg.DagsterRunStatus.QUEUED)
    time.sleep(0.01)
    assert fail_orphaned_runs(instance, start_timeout=0) == []


def test_an_untagged_run_of_a_shared_storage_may_be_elsewhere():
    # Any storage but SQLite in a folder: nothing says which host the run is on.
    with dg.DagsterInstance.ephemeral() as shared:
        run_in(shared, dg.DagsterRunStatus.STARTED)
        time.sleep(0.01)
        assert fail_orphaned_runs(shared, start_timeout=0) == []
