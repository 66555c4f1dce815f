"""Jobs that keep the place in order: old refresh runs, and our calendar against the vendor's."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl

from tracker_dagster.automation.jobs import LANE_TAG
from tracker_dagster.resources import Clock, Knobs, MarketData, WarehouseResource, tag_process
from tracker_dagster.schemas.system import ALERTS, alert_row
from tracker_dagster.trading_calendar import (
    closed_weekdays,
    is_session,
    session_on,
    sessions_between,
    trading_date,
)

#: Runs deleted at the most by one maintenance run, so that it ends.
PRUNE_LIMIT = 2_000
_FINISHED = (
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
)


def prune_refresh_runs(instance: dg.DagsterInstance, before: datetime) -> int:
    """Delete finished refresh runs created before ``before``; returns how many.

    Dagster keeps every run for ever; five-minute refreshes would fill the disk with their events.
    Rows in the warehouse are not touched.
    """
    records = instance.get_run_records(
        dg.RunsFilter(statuses=list(_FINISHED), tags={LANE_TAG: "refresh"}, created_before=before),
        limit=PRUNE_LIMIT,
    )
    for record in records:
        instance.delete_run(record.dagster_run.run_id)
    return len(records)


@dg.op(out=dg.Out(dg.Nothing))
def prune_old_refresh_runs(context: dg.OpExecutionContext, knobs: dg.ResourceParam[Knobs]) -> None:
    """Delete refresh runs older than the setting ``TRACKER_REFRESH_RUN_DAYS``."""
    tag_process(context.instance, context.run)
    # Runs are dated by this machine's clock, whatever the market's says.
    before = datetime.now(UTC) - timedelta(days=knobs.refresh_run_days)
    removed = prune_refresh_runs(context.instance, before)
    context.add_output_metadata({"runs_deleted": removed, "created_before": before.isoformat()})


@dg.job(description="Deletes finished refresh runs that are older than the setting allows.")
def maintenance() -> None:
    """Housekeeping of Dagster's own storage."""
    prune_old_refresh_runs()


def calendar_disagreements(upcoming: pl.DataFrame, today: date) -> list[str]:
    """Where the vendor's upcoming holidays and our session table differ, in either direction.

    The vendor's list answers for the days after ``today`` up to the last one that it names; whether
    it still names today is not documented, so that our own holidays are looked for from tomorrow.

    Args:
        upcoming: date, exchange, status (closed or early-close), close (UTC or null), name; only
            the NYSE's rows count.
        today: date in New York.

    Returns:
        A sentence a difference, by date; none when the list is empty.
    """
    listed = upcoming.filter((pl.col("exchange") == "NYSE") & (pl.col("date") >= today))
    found: dict[date, str] = {}
    for row in listed.sort("date").iter_rows(named=True):
        day: date = row["date"]
        if row["status"] == "closed":
            if is_session(day):
                found[day] = f"the vendor is closed ({row['name']}), our table is not"
        elif not is_session(day):
            found[day] = "the vendor says early close, our table has no session"
        elif row["close"] is not None and session_on(day).close != row["close"]:
            found[day] = (
                f"the vendor closes at {row['close']:%H:%M} UTC, "
                f"our table at {session_on(day).close:%H:%M} UTC"
            )
    if listed.is_empty():
        return []
    named, first, last = set(listed["date"]), today + timedelta(days=1), max(listed["date"])
    for day in closed_weekdays(first, last):
        if day not in named:
            found[day] = "our table is closed, the vendor lists no holiday"
    for day in sessions_between(first, last):
        if session_on(day).is_early_close and day not in named:
            found[day] = "our table closes early, the vendor lists no early close"
    return [f"{day}: {difference}" for day, difference in sorted(found.items())]


@dg.op(out=dg.Out(dg.Nothing))
def compare_calendar(
    context: dg.OpExecutionContext,
    market: dg.ResourceParam[MarketData],
    clock: dg.ResourceParam[Clock],
    warehouse: WarehouseResource,
) -> None:
    """Write an alert when the vendor's holidays contradict our session table, or there are none."""
    tag_process(context.instance, context.run)
    now = clock.now()
    today = trading_date(now)
    upcoming = market.rest.upcoming_holidays()
    differences = calendar_disagreements(upcoming, today)
    is_empty = upcoming.filter(
        (pl.col("exchange") == "NYSE") & (pl.col("date") >= today)
    ).is_empty()
    context.add_output_metadata({"differences": differences, "vendor_lists_nothing": is_empty})
    if not differences and not is_empty:
        return
    message = "; ".join(differences) or "the vendor lists no coming holiday of the NYSE"
    severity = "error" if differences else "warning"
    alert = alert_row("calendar", now, severity, "calendar", "session table", message)
    warehouse.warehouse.replace(ALERTS, alert, {"alert_id": "calendar", "raised_at": now})
    if differences:
        raise dg.Failure(description=message, allow_retries=False)
    context.log.warning(message)


@dg.job(description="Compares our session table with the vendor's upcoming holidays.")
def calendar_check() -> None:
    """A wrong calendar would ask for days that do not exist."""
    compare_calendar()


JOBS = (maintenance, calendar_check)
