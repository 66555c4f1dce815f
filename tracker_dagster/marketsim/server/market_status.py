"""Whether the market is open, by the simulated clock, and its coming holidays."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from tracker_dagster.marketsim.server.wire import Call, Row
from tracker_dagster.trading_calendar import (
    EASTERN,
    closed_weekdays,
    is_open,
    is_session,
    last_session,
    session_on,
    sessions_between,
)

_INDEX_GROUPS = (
    "s_and_p",
    "societe_generale",
    "msci",
    "ftse_russell",
    "mstar",
    "mstarc",
    "cccy",
    "cgi",
    "nasdaq",
    "dow_jones",
)


def state_at(now: datetime) -> str:
    """``open``, ``extended-hours`` or ``closed``."""
    if is_open(now):
        return "open"
    local = now.astimezone(EASTERN)
    day = local.date()
    if not is_session(day):
        return "closed"
    end = session_on(day).close + timedelta(hours=4)
    start = datetime.combine(day, time(4), EASTERN)
    return "extended-hours" if start <= local and now < end else "closed"


def market_now(call: Call) -> Row:
    """``/v1/marketstatus/now``; ``serverTime`` is the simulated clock."""
    state = state_at(call.now)
    local = call.now.astimezone(EASTERN)
    extended = state == "extended-hours"
    morning = extended and local < session_on(local.date()).open
    exchange = state
    return {
        "afterHours": extended and not morning,
        "currencies": {"crypto": "open", "fx": "closed" if local.weekday() == 5 else "open"},
        "earlyHours": morning,
        "exchanges": {
            "nasdaq": exchange,
            "nyse": exchange,
            "otc": "open" if state == "open" else "closed",
        },
        "indicesGroups": dict.fromkeys(_INDEX_GROUPS, "open" if state == "open" else "closed"),
        "market": state,
        "serverTime": local.isoformat(timespec="seconds"),
    }


def _holiday_name(day: date) -> str:
    month, dom = day.month, day.day
    if (month == 12 and dom >= 30) or (month == 1 and dom <= 3):
        return "New Years Day"
    names = {
        1: "Martin Luther King, Jr. Day",
        2: "Washington's Birthday",
        3: "Good Friday",
        4: "Good Friday",
        5: "Memorial Day",
        6: "Juneteenth",
        7: "Independence Day",
        9: "Labor Day",
        11: "Thanksgiving",
        12: "Christmas",
    }
    return names.get(month, "Special closing")


def upcoming(call: Call) -> list[Row]:
    """``/v1/marketstatus/upcoming``: a bare array of the closings and early closes ahead."""
    end = min(call.today + timedelta(days=540), last_session())
    rows: list[Row] = []
    exchanges = ("NYSE", "NASDAQ", "OTC")
    for day in closed_weekdays(call.today + timedelta(days=1), end):
        rows += [
            {"date": day.isoformat(), "exchange": e, "name": _holiday_name(day), "status": "closed"}
            for e in exchanges
        ]
    for day in sessions_between(call.today + timedelta(days=1), end):
        session = session_on(day)
        if session.is_early_close:
            rows += [
                {
                    "date": day.isoformat(),
                    "exchange": e,
                    "name": _holiday_name(day),
                    "open": f"{session.open:%Y-%m-%dT%H:%M:%S}.000Z",
                    "close": f"{session.close:%Y-%m-%dT%H:%M:%S}.000Z",
                    "status": "early-close",
                }
                for e in exchanges[:2]
            ]
    return sorted(rows, key=lambda row: (row["date"], exchanges.index(row["exchange"])))
