"""Living through past sessions on the simulated clock, which gives it a captured history."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from datetime import date, datetime

from tracker_dagster.automation.jobs import DAY_FILES, FROM_DAY_FILES
from tracker_dagster.operations.choice import Choice, UsageError
from tracker_dagster.operations.daily import job_assets, sync
from tracker_dagster.operations.market import MarketDownError
from tracker_dagster.operations.workplace import RunFailedError, Workplace
from tracker_dagster.trading_calendar import (
    decision_time,
    last_sessions,
    previous_session,
    sessions_between,
    week_sessions,
)

#: What is made from day files and from decisions that were taken before these came out.
OF_DECISIONS = ("option_bars_1m", "premium_estimate_scores", "model_outcomes", "model_scores")
_CLOCK_PATH = "/_sim/clock"


def set_clock(url: str, now: datetime) -> None:
    """Freeze the simulated market's clock at ``now``.

    Raises:
        MarketDownError: whoever answers has no such clock.
    """
    request = urllib.request.Request(  # noqa: S310 - settings allow http(s) alone
        url + _CLOCK_PATH,
        data=json.dumps({"now": now.isoformat(), "speed": 0}).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10):
            pass
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise MarketDownError(f"the simulated market's clock cannot be set: {error}") from error


def replay(
    place: Workplace,
    first: date,
    last: date,
    choice: Choice,
    *,
    history: int | None = None,
) -> Sequence[date]:
    """Live through each session from ``first`` to ``last`` and decide ten minutes before its close.

    Day files that are published on the last evening come first, in one run: what each session
    may know of them is decided by when they became available, not by when they were read. What a
    week's decisions came to is worked out before the next week begins.

    Args:
        place: where to work.
        first: first date.
        last: last date.
        choice: seed, lane and number of promotions.
        history: sessions of day files before ``first``; the settings' number when None.

    Returns:
        The sessions.

    Raises:
        UsageError: a real vendor, whose clock nobody moves, or a range without sessions.
        RunFailedError: a session's run failed; the clock is put back all the same.
    """
    if not place.settings.is_simulated:
        raise UsageError("replay moves the simulated market's clock; a real vendor's cannot be")
    days = sessions_between(first, last)
    if not days:
        raise UsageError(f"no session between {first} and {last}")
    url = place.settings.sim_url
    before = place.now()
    if decision_time(days[-1]) > before:
        raise UsageError(f"{days[-1]} is not over at the market's {before:%F %R} UTC")
    assets = job_assets(place.definitions, "daily")
    try:
        set_clock(url, decision_time(days[-1]))
        _read_day_files(place, days, history or place.settings.history_sessions)
        for number, day in enumerate(days, start=1):
            set_clock(url, decision_time(day))
            now = place.now()
            if over := week_over(days, day):
                _judge(place, over, now)
            report = place.run(
                f"daily {day} ({number} of {len(days)})",
                "daily",
                first=day,
                run_config=choice.run_config(assets),
                now=now,
            )
            if not report.success:
                raise RunFailedError(f"the daily run of {day} failed")
    finally:
        set_clock(url, before)
    return days


def week_over(days: Sequence[date], day: date) -> list[date]:
    """Those of ``days`` in the week that ended before ``day``; none where ``day`` is in it."""
    before = [past for past in days if past < day]
    week = week_sessions(before[-1]) if before else []
    return [] if day in week else [past for past in before if past in week]


def _judge(place: Workplace, days: Sequence[date], now: datetime) -> None:
    """What a week's decisions came to; their files were read before they were made."""
    report = place.run(
        f"what was decided {days[0]} … {days[-1]}",
        "flat_files",
        first=days[0],
        last=days[-1],
        assets=OF_DECISIONS,
        now=now,
    )
    if not report.success:
        raise RunFailedError(f"what was decided {days[0]} … {days[-1]} could not be judged")


def _read_day_files(place: Workplace, days: Sequence[date], history: int) -> None:
    now = place.now()
    sync(place, now)
    until = previous_session(days[-1])
    since = last_sessions(previous_session(days[0]), history)[0]
    report = place.run(
        f"flat_files {since} … {until}",
        "flat_files",
        first=since,
        last=until,
        assets=["universe", *DAY_FILES, *FROM_DAY_FILES],
        now=now,
    )
    if not report.success:
        raise RunFailedError("the day files before the replay could not be read")
