"""The one partition definition of the graph, a partition a trading session, and who has none."""

from __future__ import annotations

from datetime import date, datetime, time

import dagster as dg

from tracker_dagster.trading_calendar import (
    EASTERN,
    closed_weekdays,
    first_session,
    last_session,
    session_on,
)

KEY_FORMAT = "%Y-%m-%d"
#: Run tag in which Dagster keeps the partition that a run was asked for.
PARTITION_TAG = "dagster/partition"

#: One partition a session from 2003-09-10 on; weekends and holidays to 2035 have none. The list of
#: exclusions is part of the definition's identity, so it never depends on settings.
#:
#: A session's partition exists from its own midnight (``end_offset=1``), for the assets that are
#: refreshed while it runs. On a day off the last key therefore lies in the future: nothing may pick
#: "the last partition"; ask the calendar.
TRADING_DAYS = dg.TimeWindowPartitionsDefinition(
    start=first_session().strftime(KEY_FORMAT),
    fmt=KEY_FORMAT,
    cron_schedule="0 0 * * *",
    timezone="America/New_York",
    end_offset=1,
    exclusions=[
        "0 0 * * 0,6",
        *(
            datetime.combine(day, time())
            for day in closed_weekdays(first_session(), last_session())
        ),
    ],
)


def require_partition(context: dg.AssetExecutionContext, asset: str) -> None:
    """Refuse a run tagged with a day off: Dagster would take the next session instead.

    Raises:
        dg.Failure: the day asked for has no partition.
    """
    asked = context.run.tags.get(PARTITION_TAG)
    if asked is not None and asked not in context.partition_keys:
        raise dg.Failure(
            description=f"{asset}: {asked} has no partition, it is not a trading session",
            allow_retries=False,
        )


def has_started(day: date, now: datetime) -> bool:
    """Whether the session has opened by ``now``."""
    return session_on(day).open <= now


def require_started(day: date, now: datetime) -> None:
    """Refuse a session that has not opened by ``now``.

    Raises:
        ValueError: it has not.
    """
    if not has_started(day, now):
        local = now.astimezone(EASTERN)
        raise ValueError(
            f"the session has not opened yet: the market's clock is at {local:%Y-%m-%d %H:%M} ET"
        )
