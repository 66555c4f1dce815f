"""Exchange sessions, early closes, capture slots and option expiries of the US market.

The only module that decides what day it is for trading. Sessions are read from a
generated table (``sessions.csv``, XNYS, 2003-09-10 to 2035-12-31); nothing here reads the
system clock: ``now`` is always an argument and always timezone-aware.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from tracker_dagster.seed_files import seed_file

EASTERN = ZoneInfo("America/New_York")
REGULAR_OPEN = time(9, 30)
REGULAR_CLOSE = time(16, 0)

#: Interval of whole-chain captures, and of the refresh of bars and prices.
CHAIN_MINUTES = 15
REFRESH_MINUTES = 5

#: Session on whose calendar day after, at 11:00 ET, the vendor publishes its day files
#: (Massive flat-file documentation; massive knowledge base "flat files").
FLAT_FILE_PUBLICATION = time(11, 0)

#: A quarter of an hour after publication, so that the files are in.
DAY_FILE_DECISION = time(11, 15)


class CalendarError(ValueError):
    """A date outside the table, a day without a session, or a naive datetime."""


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """One trading day of the exchange."""

    date: date
    open: datetime
    close: datetime

    @property
    def is_early_close(self) -> bool:
        """True when the session ends before 16:00 ET."""
        return self.close.astimezone(EASTERN).time() < REGULAR_CLOSE

    @property
    def minutes(self) -> int:
        """Length of the regular session in minutes: 390, or 210 on a half day."""
        return int((self.close - self.open).total_seconds() // 60)


@cache
def _table() -> dict[date, str]:
    """Every session, ascending, with its bells (New York) as the text ``open,close``."""
    lines = seed_file("sessions.csv").read_text().splitlines()
    if lines[0] != "session,open_et,close_et":
        raise CalendarError(f"sessions.csv has the columns {lines[0]}")
    return {date.fromisoformat(line[:10]): line[11:] for line in lines[1:]}


@cache
def _session(day: date) -> Session:
    # On demand: instants of 8,000 sessions take longer than reading their table.
    open_et, close_et = map(time.fromisoformat, _table()[day].split(","))
    return Session(
        day,
        datetime.combine(day, open_et, EASTERN).astimezone(UTC),
        datetime.combine(day, close_et, EASTERN).astimezone(UTC),
    )


@cache
def _days() -> tuple[date, ...]:
    return tuple(_table())


def _require_aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise CalendarError(f"naive datetime {moment!r}: pass one with a timezone")
    return moment.astimezone(UTC)


def first_session() -> date:
    """The first session of the table, 2003-09-10."""
    return _days()[0]


def last_session() -> date:
    """The last session of the table, in 2035."""
    return _days()[-1]


def is_session(day: date) -> bool:
    """Whether the exchange trades on ``day``."""
    return day in _table()


def session_on(day: date) -> Session:
    """The session held on ``day``.

    Raises:
        CalendarError: the exchange is closed that day, or the day is outside the table.
    """
    try:
        return _session(day)
    except KeyError:
        raise CalendarError(f"{day} is not a trading session") from None


def sessions_between(first: date, last: date) -> list[date]:
    """Every session from ``first`` to ``last``, both included, ascending."""
    days = _days()
    return list(days[bisect_left(days, first) : bisect_right(days, last)])


def previous_session(day: date, count: int = 1) -> date:
    """The ``count``-th session strictly before ``day`` (which need not be a session)."""
    position = bisect_left(_days(), day) - count
    if count < 1 or position < 0:
        raise CalendarError(f"no session {count} before {day}")
    return _days()[position]


def next_session(day: date, count: int = 1) -> date:
    """The ``count``-th session strictly after ``day`` (which need not be a session)."""
    position = bisect_right(_days(), day) + count - 1
    if count < 1 or position >= len(_days()):
        raise CalendarError(f"no session {count} after {day}")
    return _days()[position]


def session_or_previous(day: date) -> date:
    """``day`` when it is a session, else the last session before it."""
    return day if is_session(day) else previous_session(day)


def last_sessions(day: date, count: int) -> list[date]:
    """The ``count`` sessions that end with ``day`` or the session before it, ascending."""
    days = _days()
    end = bisect_right(days, day)
    return list(days[max(0, end - count) : end])


def sessions_from_to(first: date, last: date) -> int:
    """Number of sessions after ``first`` up to and including ``last``."""
    return bisect_right(_days(), last) - bisect_right(_days(), first)


def closed_weekdays(first: date, last: date) -> list[date]:
    """Weekdays without a session (holidays, mourning days), ascending."""
    open_days = set(sessions_between(first, last))
    span = (last - first).days + 1
    return [
        day
        for day in (first + timedelta(days=offset) for offset in range(span))
        if day.weekday() < 5 and day not in open_days
    ]


def trading_date(moment: datetime) -> date:
    """The calendar date in New York at ``moment``, whether or not it is a session."""
    return _require_aware(moment).astimezone(EASTERN).date()


def current_session(now: datetime) -> date:
    """The latest session that has opened by ``now``.

    On a weekend, a holiday or before the opening bell this is the session before.
    """
    moment = _require_aware(now)
    day = session_or_previous(trading_date(moment))
    return day if session_on(day).open <= moment else previous_session(day)


def last_complete_session(now: datetime) -> date:
    """The latest session that has closed by ``now``."""
    moment = _require_aware(now)
    day = session_or_previous(trading_date(moment))
    return day if session_on(day).close <= moment else previous_session(day)


def is_open(now: datetime) -> bool:
    """Whether the regular session is under way: open included, close excluded."""
    moment = _require_aware(now)
    day = trading_date(moment)
    return is_session(day) and session_on(day).open <= moment < session_on(day).close


def capture_slots(day: date, minutes: int) -> list[datetime]:
    """The instants (UTC) at which a capture of the session is due.

    Slots start one interval after the open and end with the close, so a half day simply
    has fewer of them.
    """
    session = session_on(day)
    step = timedelta(minutes=minutes)
    return [session.open + step * n for n in range(1, session.minutes // minutes + 1)]


def chain_slots(day: date) -> list[datetime]:
    """Slots (UTC) of whole-chain captures: every 15 minutes, and the decision time."""
    return sorted({*capture_slots(day, CHAIN_MINUTES), decision_time(day)})


def due_slot(slots: Sequence[datetime], now: datetime, tolerance: timedelta) -> datetime | None:
    """The latest of ``slots`` that ``now`` may still capture, or None.

    A slot may be captured from its instant until ``tolerance`` later, the closing one too: what is
    asked for in the evening shows after-hours prices.
    """
    moment = _require_aware(now)
    due = [slot for slot in slots if slot <= moment]
    return due[-1] if due and moment - due[-1] <= tolerance else None


def decision_time(day: date, minutes_before_close: int = 10) -> datetime:
    """The instant (UTC) at which the decisions of ``day`` are taken from a snapshot."""
    return session_on(day).close - timedelta(minutes=minutes_before_close)


def day_file_available_at(day: date) -> datetime:
    """When the vendor's file of ``day`` may be used: 11:00 ET of the next calendar day."""
    return datetime.combine(day + timedelta(days=1), FLAT_FILE_PUBLICATION, EASTERN).astimezone(UTC)


def day_file_decision_time(day: date) -> datetime:
    """When decisions of ``day`` may be taken from files up to the session before: 11:15 ET."""
    return datetime.combine(day, DAY_FILE_DECISION, EASTERN).astimezone(UTC)


def last_published_session(now: datetime) -> date:
    """The latest session whose day file is out by ``now``."""
    day = session_or_previous(trading_date(now))
    while day_file_available_at(day) > _require_aware(now):
        day = previous_session(day)
    return day


def weekly_expiry(after: date) -> date:
    """The next weekly option expiry strictly after ``after``.

    The Friday of the week, or the session before it when that Friday is a holiday.
    """
    friday = after + timedelta(days=(4 - after.weekday()) % 7)
    while True:
        expiry = session_or_previous(friday)
        if expiry > after:
            return expiry
        friday += timedelta(days=7)


def monthly_expiry(year: int, month: int) -> date:
    """The standard monthly expiry: the third Friday, or the session before a holiday."""
    first = date(year, month, 1)
    third_friday = first + timedelta(days=(4 - first.weekday()) % 7 + 14)
    return session_or_previous(third_friday)


def week_sessions(day: date) -> list[date]:
    """The sessions of the calendar week (Monday to Sunday) that holds ``day``."""
    monday = day - timedelta(days=day.weekday())
    return sessions_between(monday, monday + timedelta(days=6))
