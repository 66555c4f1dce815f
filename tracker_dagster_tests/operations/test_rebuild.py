from datetime import UTC, date, datetime

import pytest

from tracker_dagster.operations.choice import Choice, UsageError
from tracker_dagster.operations.daily import session_of
from tracker_dagster.operations.rebuild import published_span

# A Wednesday, 15:50 ET; Tuesday's files came out at 11:00 ET.
NOW = datetime(2025, 6, 11, 19, 50, tzinfo=UTC)


@pytest.mark.feature(10)
def test_range_ends_with_the_last_published_session_and_says_so():
    span = published_span(date(2025, 6, 6), date(2025, 6, 20), NOW)
    assert span.days == [date(2025, 6, 6), date(2025, 6, 9), date(2025, 6, 10)]
    (note,) = span.notes
    assert "ends at 2025-06-10" in note
    assert "2025-06-12 15:00 UTC" in note


@pytest.mark.feature(10)
def test_a_range_within_the_past_is_taken_as_it_is():
    span = published_span(date(2025, 5, 23), date(2025, 5, 27), NOW)
    # The Monday between is Memorial Day.
    assert span.days == [date(2025, 5, 23), date(2025, 5, 27)]
    assert span.notes == []


def test_a_weekend_at_the_end_is_no_reason_for_a_note_on_publication():
    span = published_span(date(2025, 6, 6), date(2025, 6, 8), NOW)
    assert span.days == [date(2025, 6, 6)]
    assert not any("published" in note for note in span.notes)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2025, 6, 11), date(2025, 6, 13)),  # not published yet
        (date(2025, 6, 7), date(2025, 6, 8)),  # a weekend
        (date(2025, 6, 10), date(2025, 6, 9)),  # backwards
        (date(2001, 1, 1), date(2001, 2, 1)),  # before the calendar
    ],
)
def test_a_range_without_published_sessions_is_refused(first, last):
    with pytest.raises(UsageError):
        published_span(first, last, NOW)


def test_the_session_asked_for_must_have_opened():
    assert session_of(None, NOW) == date(2025, 6, 11)
    assert session_of(date(2025, 6, 10), NOW) == date(2025, 6, 10)
    with pytest.raises(UsageError, match="not opened"):
        session_of(date(2025, 6, 12), NOW)
    with pytest.raises(UsageError, match="not a trading session"):
        session_of(date(2025, 6, 8), NOW)


def test_only_what_was_chosen_is_configured():
    assert Choice().run_config({"promotions", "summary"}) == {}
    config = Choice(seed=5000.0, lane="SAFE").run_config({"promotions", "weekly_picks"})
    assert config == {"ops": {"promotions": {"config": {"seed": 5000.0, "lane": "SAFE"}}}}
    with pytest.raises(UsageError, match="SAFE_HIGH"):
        Choice(lane="RISKY")
