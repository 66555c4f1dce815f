from datetime import date

from tracker_dagster.operations.simulation import week_over
from tracker_dagster.trading_calendar import sessions_between


def test_a_week_is_judged_once_on_the_first_session_after_it():
    # Memorial Day is Monday the 25th.
    days = sessions_between(date(2026, 5, 20), date(2026, 6, 2))
    judged = {day: week_over(days, day) for day in days}
    assert {day: week for day, week in judged.items() if week} == {
        date(2026, 5, 26): [date(2026, 5, 20), date(2026, 5, 21), date(2026, 5, 22)],
        date(2026, 6, 1): [date(2026, 5, day) for day in (26, 27, 28, 29)],
    }
