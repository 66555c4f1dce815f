"""The one partition definition of the graph: a partition a trading session."""

from __future__ import annotations

from datetime import datetime, time

import dagster as dg

from tracker_dagster.trading_calendar import closed_weekdays, first_session, last_session

KEY_FORMAT = "%Y-%m-%d"

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
