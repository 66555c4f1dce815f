"""Sensors: market-hours refresh, chain captures, newly published day files, failed runs.

Each decides from the calendar, the clock and stored run records, never from its own memory, and
says why it skips. All are off at first.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from tracker_dagster.automation import jobs
from tracker_dagster.automation.alerts import failure_alert
from tracker_dagster.automation.due_files import followed_tickers
from tracker_dagster.automation.due_work import Work, due_work, next_work
from tracker_dagster.automation.orphans import fail_orphaned_runs
from tracker_dagster.automation.turnstile import UNFINISHED, busy_with_daily
from tracker_dagster.resources import (
    NOW_TAG,
    SLOT_TAG,
    Clock,
    Knobs,
    MarketData,
    MissingKeyError,
    WarehouseResource,
)
from tracker_dagster.schemas.system import ALERTS
from tracker_dagster.sources.errors import SourceError
from tracker_dagster.trading_calendar import (
    CHAIN_MINUTES,
    EASTERN,
    REFRESH_MINUTES,
    capture_slots,
    chain_slots,
    due_slot,
    is_session,
    last_published_session,
    last_sessions,
    trading_date,
)

#: Sessions that are looked at for a new or replaced day file, and for what follows from them.
FILE_LOOK_BACK = 6
#: Runs launched at the most for the same work; a file that cannot be read stays unreadable.
FILE_ATTEMPTS = 3
#: Run tag that names the work (files by key and ETag, steps by what they rest on) of a run.
FILES_TAG = "tracker/files"
#: Jobs that make past sessions too; what they have not come to yet only looks as if it failed.
_REBUILDING = ("history", "daily", "__ASSET_JOB")
_OFF = "Off until you turn it on here or with `tracker up --automation`."


def _active_run(instance: dg.DagsterInstance, job: str) -> str | None:
    """Id of an unfinished run of the job, if there is one."""
    records = instance.get_run_records(
        dg.RunsFilter(job_name=job, statuses=list(UNFINISHED)), limit=1
    )
    return records[0].dagster_run.run_id if records else None


def _was_requested(instance: dg.DagsterInstance, job: str, slot: datetime) -> bool:
    """Whether some run of the job was already launched for the slot."""
    tags = {SLOT_TAG: slot.isoformat()}
    return bool(instance.get_run_records(dg.RunsFilter(job_name=job, tags=tags), limit=1))


def slot_request(
    instance: dg.DagsterInstance,
    job: str,
    slots: Sequence[datetime],
    tolerance: timedelta,
    now: datetime,
) -> dg.RunRequest | dg.SkipReason:
    """What a market-hours sensor asks for at ``now``: at most one run a slot, never two at once."""
    day = trading_date(now)
    slot = due_slot(slots, now, tolerance)
    if slot is None or now - slot > tolerance:
        return dg.SkipReason(f"no slot is due at {now.astimezone(EASTERN):%H:%M} ET")
    if (active := _active_run(instance, job)) is not None:
        return dg.SkipReason(f"run {active[:8]} of an earlier slot is still under way")
    if _was_requested(instance, job, slot):
        return dg.SkipReason(f"slot {slot.astimezone(EASTERN):%H:%M} ET has its run")
    return dg.RunRequest(
        run_key=f"{day}@{slot.isoformat()}",
        partition_key=str(day),
        tags={SLOT_TAG: slot.isoformat(), NOW_TAG: now.isoformat()},
    )


def _market_hours(
    context: dg.SensorEvaluationContext,
    clock: Clock,
    knobs: Knobs,
    job: str,
    minutes: int,
    *,
    chains: bool,
) -> dg.RunRequest | dg.SkipReason:
    busy = busy_with_daily(context.instance, knobs.run_dir)
    try:
        now = clock.now()
    except SourceError as error:
        return dg.SkipReason(f"the market's clock does not answer: {error}")
    day = trading_date(now)
    if not is_session(day):
        return dg.SkipReason(f"{day} is not a trading session")
    if busy is not None:
        return dg.SkipReason(busy)
    slots = chain_slots(day) if chains else capture_slots(day, minutes)
    return slot_request(context.instance, job, slots, timedelta(minutes=minutes), now)


@dg.sensor(
    name="market_hours_refresh",
    job=jobs.refresh,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=f"Runs `refresh` once for each five-minute slot of the session. {_OFF}",
)
def market_hours_refresh(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    knobs: dg.ResourceParam[Knobs],
) -> dg.RunRequest | dg.SkipReason:
    """Bars, prices and contract health in market hours, early closes respected."""
    return _market_hours(context, clock, knobs, "refresh", REFRESH_MINUTES, chains=False)


@dg.sensor(
    name="market_hours_chains",
    job=jobs.chain_capture,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=f"Captures whole chains every fifteen minutes and at the decision time. {_OFF}",
)
def market_hours_chains(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    knobs: dg.ResourceParam[Knobs],
) -> dg.RunRequest | dg.SkipReason:
    """Option chains in market hours, early closes respected."""
    return _market_hours(context, clock, knobs, "chain_capture", CHAIN_MINUTES, chains=True)


@dg.sensor(
    name="day_files_published",
    job=jobs.flat_files,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Ingests day files that are new or that the vendor has replaced, and computes what "
    f"follows from them and has not been. {_OFF}",
)
def day_files_published(
    context: dg.SensorEvaluationContext,
    clock: dg.ResourceParam[Clock],
    market: dg.ResourceParam[MarketData],
    warehouse: WarehouseResource,
    knobs: dg.ResourceParam[Knobs],
) -> dg.SensorResult | dg.SkipReason:
    """One run at a time: a session looks back on those before it, so they must be done first."""
    instance = context.instance
    fail_orphaned_runs(instance)
    try:
        now = clock.now()
        days = last_sessions(last_published_session(now), FILE_LOOK_BACK)
        followed = followed_tickers(warehouse.warehouse, now, knobs.benchmarks)
        due = due_work(market, warehouse.warehouse, instance, days, followed)
    except (SourceError, MissingKeyError) as error:
        return dg.SkipReason(f"the vendor's files cannot be listed: {error}")
    if not due:
        return dg.SkipReason(f"no new or replaced file since {days[0]}, and nothing left to make")
    if (active := _active_run(instance, "flat_files")) is not None:
        return dg.SkipReason(f"run {active[:8]} is still reading files")
    if not any(work.reads_files for work in due):
        for job in _REBUILDING:
            if (active := _active_run(instance, job)) is not None:
                return dg.SkipReason(f"run {active[:8]} may still make what is missing")

    def attempts(work: Work) -> int:
        return instance.get_runs_count(dg.RunsFilter(tags={FILES_TAG: work.identity}))

    work = next_work(due, attempts, FILE_ATTEMPTS)
    if work is None:
        given_up = "; ".join(f"{work.span}: {', '.join(work.assets)}" for work in due)
        return dg.SkipReason(f"{FILE_ATTEMPTS} runs have failed on {given_up}")
    tags = {FILES_TAG: work.identity, NOW_TAG: now.isoformat()}
    run_key = f"{work.span}@{work.identity}@{attempts(work)}"
    return dg.SensorResult(run_requests=[work.request(run_key, tags)])


@dg.run_failure_sensor(
    name="run_failures",
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=f"Writes a row to the alerts table for each failed run. {_OFF}",
)
def run_failures(context: dg.RunFailureSensorContext, warehouse: WarehouseResource) -> None:
    """What failed, where and why, for people."""
    run = context.dagster_run
    record = context.instance.get_run_record_by_id(run.run_id)
    # The sensor may look at the same failure twice; its time must come from the record.
    ended = (record.end_time if record else None) or 0.0
    alert = failure_alert(
        run,
        context.failure_event.message,
        context.get_step_failure_events(),
        datetime.fromtimestamp(ended, UTC),
    )
    unit = {"alert_id": alert["alert_id"][0], "raised_at": alert["raised_at"][0]}
    warehouse.warehouse.replace(ALERTS, alert, unit)


ALL = (market_hours_refresh, market_hours_chains, day_files_published, run_failures)
