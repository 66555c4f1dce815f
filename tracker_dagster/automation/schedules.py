"""Schedules: the daily decisions after the close, housekeeping at night. All are off at first."""

from datetime import timedelta

import dagster as dg

from tracker_dagster.automation import jobs
from tracker_dagster.automation.housekeeping import calendar_check, maintenance
from tracker_dagster.trading_calendar import EASTERN, is_session, session_on, trading_date

#: How long after the close the daily job runs.
AFTER_CLOSE = timedelta(minutes=20)


@dg.schedule(
    name="daily_after_close",
    job=jobs.daily,
    # 13:20 serves the half days; every tick asks the calendar which of the two it is.
    cron_schedule=["20 13 * * 1-5", "20 16 * * 1-5"],
    execution_timezone="America/New_York",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description=(
        "Runs `daily` twenty minutes after the close of each session. Off until you turn it on "
        "here or with `tracker up --automation`."
    ),
)
def daily_after_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """One run a session, twenty minutes after its own close."""
    moment = context.scheduled_execution_time
    day = trading_date(moment)
    if not is_session(day):
        return dg.SkipReason(f"{day} is not a trading session")
    due = session_on(day).close + AFTER_CLOSE
    if moment != due:
        return dg.SkipReason(
            f"{day} closes at {session_on(day).close.astimezone(EASTERN):%H:%M} ET"
        )
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
