import subprocess
import sys
import time

import pytest

from tracker_dagster.automation.turnstile import BusyError, daily_is_running, daily_lock

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
