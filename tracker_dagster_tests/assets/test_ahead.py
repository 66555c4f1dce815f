import threading
from datetime import date

import pytest

from tracker_dagster.assets.ahead import Ahead

DAYS = [date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18)]


def test_the_next_day_is_fetched_while_this_one_is_worked_on():
    begun = {day: threading.Event() for day in DAYS}

    def fetch(day):
        begun[day].set()
        return f"file of {day}"

    with Ahead(DAYS) as ahead:
        for day, following in zip(DAYS, [*DAYS[1:], None], strict=True):
            assert ahead.get(fetch, day) == f"file of {day}"
            if following:
                assert begun[following].wait(5)


def test_each_day_is_fetched_once_and_never_two_ahead():
    fetched = []
    with Ahead(DAYS) as ahead:
        ahead.get(fetched.append, DAYS[0])
        ahead.get(fetched.append, DAYS[1])
        assert DAYS[2] not in fetched[:2]
        ahead.get(fetched.append, DAYS[2])
    assert fetched == DAYS


def test_what_a_day_raises_is_raised_for_that_day_only():
    def fetch(day):
        if day == DAYS[1]:
            raise ValueError("no file")
        return day

    with Ahead(DAYS) as ahead:
        assert ahead.get(fetch, DAYS[0]) == DAYS[0]
        with pytest.raises(ValueError, match="no file"):
            ahead.get(fetch, DAYS[1])
        assert ahead.get(fetch, DAYS[2]) == DAYS[2]


def test_leaving_does_not_wait_for_a_day_that_nobody_asks_for():
    release = threading.Event()

    def fetch(day):
        if day != DAYS[0]:
            release.wait(30)
        return day

    done = threading.Event()

    def work():
        with Ahead(DAYS) as ahead:
            ahead.get(fetch, DAYS[0])
        done.set()

    threading.Thread(target=work).start()
    try:
        assert done.wait(5)
    finally:
        release.set()


def test_what_holds_for_the_whole_run_is_fetched_once_even_if_refused():
    asked = []

    def fetch():
        asked.append(len(asked))
        raise ValueError("not in the plan")

    with Ahead(DAYS) as ahead:
        for _ in DAYS:
            with pytest.raises(ValueError, match="not in the plan"):
                ahead.once(fetch)
    assert asked == [0]
    with Ahead(DAYS) as ahead:
        assert [ahead.once(lambda: asked.append(1) or "curves") for _ in DAYS] == ["curves"] * 3
    assert len(asked) == 2
