from __future__ import annotations

import threading

import pytest

from tracker_dagster.sources.throttle import TokenBucket


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.mutex = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self.mutex:
            self.now += seconds


def calls(per_minute: int | None, count: int, idle: float = 0.0) -> list[float]:
    clock = Clock()
    bucket = TokenBucket(per_minute, clock=clock, sleep=clock.sleep)
    taken = []
    for _ in range(count):
        bucket.take()
        taken.append(clock.now)
        clock.now += idle
    return taken


@pytest.mark.feature(4)
@pytest.mark.parametrize("per_minute", [1, 5, 100])
@pytest.mark.parametrize("idle", [0.0, 0.7, 11.0])
def test_no_minute_holds_more_calls_than_the_plan(per_minute, idle):
    taken = calls(per_minute, 4 * per_minute + 3, idle)
    for n in range(len(taken) - per_minute):
        assert taken[n + per_minute] - taken[n] > 60


def test_the_first_calls_do_not_wait():
    assert calls(5, 5) == [0.0] * 5


def test_the_limit_is_used_to_the_full():
    assert calls(5, 26)[-1] <= 5 * 60.5


def test_no_limit_never_waits():
    assert calls(None, 1000)[-1] == 0


def test_a_closed_bucket_stops_everyone():
    clock = Clock()
    bucket = TokenBucket(None, clock=clock, sleep=clock.sleep)
    bucket.close_for(30)
    assert bucket.take() == 30


@pytest.mark.feature(4)
def test_threads_together_stay_within_the_limit():
    clock = Clock()
    bucket = TokenBucket(5, clock=clock, sleep=clock.sleep)
    taken: list[float] = []

    def work() -> None:
        for _ in range(5):
            bucket.take()
            taken.append(clock.now)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 20
    # Twenty calls at five a minute cannot end before the third minute is over.
    assert max(taken) >= 180


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError):
        TokenBucket(0)
