import os
import signal
import threading
import time

import pytest

from tracker_dagster.warehouse.errors import TurnError
from tracker_dagster.warehouse.turns import turn
from tracker_dagster_tests.warehouse.children import child, finished, hears

HOLD = """
from tracker_dagster.warehouse.turns import turn
with turn(path, exclusive=sys.argv[2] == "write"):
    say("in")
    time.sleep(float(sys.argv[3]))
    say(repr(time.monotonic()))
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.duckdb"


@pytest.mark.parametrize(("theirs", "mine"), [("write", True), ("write", False), ("read", True)])
def test_whoever_must_be_alone_waits(path, theirs, mine):
    with child(HOLD, path, theirs, 0.4) as other:
        hears(other, "in")
        with turn(path, exclusive=mine):
            entered = time.monotonic()
        left = float(finished(other))
    assert entered >= left - 0.01


def test_readers_of_two_processes_share(path):
    with child(HOLD, path, "read", 60) as other:
        hears(other, "in")
        began = time.monotonic()
        with turn(path, exclusive=False):
            assert time.monotonic() - began < 5
        assert other.poll() is None


def test_a_killed_process_frees_its_turn(path):
    with child(HOLD, path, "write", 60) as other:
        hears(other, "in")
        threading.Timer(0.3, other.send_signal, [signal.SIGKILL]).start()
        began = time.monotonic()
        with turn(path, exclusive=True):
            assert 0.2 < time.monotonic() - began < 10


def test_a_killed_process_frees_its_turn_even_when_it_left_a_fork_behind(path):
    code = """
    import signal
    from tracker_dagster.warehouse.turns import turn
    with turn(path, exclusive=True):
        orphan = os.fork()
        if orphan == 0:
            time.sleep(20)
            os._exit(0)
        say(str(orphan))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    with child(code, path) as other:
        orphan = int(other.stdout.readline())
        other.wait()
        try:
            began = time.monotonic()
            with turn(path, exclusive=True):
                assert time.monotonic() - began < 5
            os.kill(orphan, 0)  # It lives, and holds nothing.
        finally:
            os.kill(orphan, signal.SIGKILL)


def test_a_stream_of_readers_does_not_starve_a_writer(path):
    code = """
    from tracker_dagster.warehouse.turns import turn
    say("in")
    end = time.monotonic() + 4
    while time.monotonic() < end:
        with turn(path, exclusive=False):
            time.sleep(0.05)
    """
    with child(code, path) as first, child(code, path) as second, child(code, path) as third:
        for other in (first, second, third):
            hears(other, "in")
        waits = []
        for _ in range(5):
            began = time.monotonic()
            with turn(path, exclusive=True):
                waits.append(time.monotonic() - began)
    # Readers in a stream overlap without end; at the gate the writer waits for one each.
    assert max(waits) < 1.5


def test_an_error_in_the_body_frees_the_turn(path):
    with pytest.raises(ZeroDivisionError), turn(path, exclusive=True):
        raise ZeroDivisionError
    with child(HOLD, path, "write", 0) as other:
        finished(other)
    with turn(path, exclusive=True):
        pass


def test_threads_take_turns_too(path):
    inside, seen = [], []

    def work():
        for exclusive in (True, False):
            with turn(path, exclusive=exclusive):
                inside.append(1)
                seen.append(len(inside))
                time.sleep(0.01)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [1] * 12


def test_a_turn_within_a_turn_is_an_error_and_frees_nothing(path):
    with turn(path, exclusive=True):
        with pytest.raises(TurnError), turn(path, exclusive=False):
            pass
        with child(HOLD, path, "write", 0) as other:
            time.sleep(0.8)
            assert other.poll() is None
    with turn(path, exclusive=True):
        pass
