"""Schedules: the daily decisions after the close, housekeeping at night. All are off at first."""

from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg

from tracker_dagster.automation import jobs
from tracker_dagster.automation.housekeeping import calendar_check, maintenance
from tracker_dagster.automation.turnstile import busy_with_daily
from tracker_dagster.resources import Knobs
from tracker_dagster.trading_calendar import EASTERN, is_session, session_on, trading_date

#: How long after the close the daily job runs.
AFTER_CLOSE = timedelta(minutes=20)
#: How much later it is still asked for, when a daily by hand was in the way.
PATIENCE = timedelta(minutes=30)


@dg.schedule(
    name="daily_after_close",
    job=jobs.daily,
    # 13:20 serves the half days; every tick asks the calendar which of the two it is.
    cron_schedule=["20,35,50 13 * * 1-5", "20,35,50 16 * * 1-5"],
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Runs `daily` twenty minutes after the close of each session, or up to half an hour later "
        "when another daily is in the way. Off until you turn it on here or with "
        "`tracker up --automation`."
    ),
)
def daily_after_close(
    context: dg.ScheduleEvaluationContext, knobs: dg.ResourceParam[Knobs]
) -> dg.RunRequest | dg.SkipReason:
    """One run a session, after its own close: Dagster takes the same run key only once."""
    return daily_request(context.instance, knobs.run_dir, context.scheduled_execution_time)


def daily_request(
    instance: dg.DagsterInstance, run_dir: Path, moment: datetime
) -> dg.RunRequest | dg.SkipReason:
    """What the daily schedule asks for at ``moment``."""
    day = trading_date(moment)
    if not is_session(day):
        return dg.SkipReason(f"{day} is not a trading session")
    due = session_on(day).close + AFTER_CLOSE
    if not due <= moment <= due + PATIENCE:
        return dg.SkipReason(
            f"{day} closes at {session_on(day).close.astimezone(EASTERN):%H:%M} ET"
        )
    if (busy := busy_with_daily(instance, run_dir)) is not None:
        return dg.SkipReason(busy)
    return dg.RunRequest(run_key=f"daily {day}", partition_key=str(day))


nightly_maintenance = dg.ScheduleDefinition(
    name="nightly_maintenance",
    job=maintenance,
    cron_schedule="30 3 * * *",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Deletes old refresh runs from Dagster's history. Off until you turn it on.",
)
weekly_calendar_check = dg.ScheduleDefinition(
    name="weekly_calendar_check",
    job=calendar_check,
    cron_schedule="0 8 * * 1",
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Compares our sessions with the vendor's holidays. Off until you turn it on.",
)

ALL = (daily_after_close, nightly_maintenance, weekly_calendar_check)
