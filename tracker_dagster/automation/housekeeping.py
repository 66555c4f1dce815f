"""Jobs that keep the place in order: old refresh runs, and our calendar against the vendor's."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import polars as pl

from tracker_dagster.automation.jobs import LANE_TAG
from tracker_dagster.resources import Clock, Knobs, MarketData, WarehouseResource
from tracker_dagster.schemas.system import ALERTS, alert_row
from tracker_dagster.trading_calendar import (
    is_session,
    session_on,
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
    # Runs are dated by this machine's clock, whatever the market's says.
    before = datetime.now(UTC) - timedelta(days=knobs.refresh_run_days)
    removed = prune_refresh_runs(context.instance, before)
    context.add_output_metadata({"runs_deleted": removed, "created_before": before.isoformat()})


@dg.job(description="Deletes finished refresh runs that are older than the setting allows.")
def maintenance() -> None:
    """Housekeeping of Dagster's own storage."""
    prune_old_refresh_runs()


def calendar_disagreements(upcoming: pl.DataFrame, today: date) -> list[str]:
    """Where the vendor's upcoming holidays and our session table differ.

    ``upcoming`` has date, exchange, status (closed or early-close), close (UTC or null); only the
    NYSE's rows count.
    """
    found = []
    for row in upcoming.filter(pl.col("exchange") == "NYSE").sort("date").iter_rows(named=True):
        day: date = row["date"]
        if day < today:
            continue
        if row["status"] == "closed":
            if is_session(day):
                found.append(f"{day}: the vendor is closed ({row['name']}), our table is not")
        elif not is_session(day):
            found.append(f"{day}: the vendor says early close, our table has no session")
        elif row["close"] is not None and session_on(day).close != row["close"]:
            found.append(
                f"{day}: the vendor closes at {row['close']:%H:%M} UTC, "
                f"our table at {session_on(day).close:%H:%M} UTC"
            )
    return found


@dg.op(out=dg.Out(dg.Nothing))
def compare_calendar(
    context: dg.OpExecutionContext,
    market: dg.ResourceParam[MarketData],
    clock: dg.ResourceParam[Clock],
    warehouse: WarehouseResource,
) -> None:
    """Write an alert when the vendor's holidays contradict our session table."""
    now = clock.now()
    differences = calendar_disagreements(market.rest.upcoming_holidays(), trading_date(now))
    context.add_output_metadata({"differences": differences})
    if differences:
        alert = alert_row(
            "calendar", now, "error", "calendar", "session table", "; ".join(differences)
        )
        warehouse.warehouse.replace(ALERTS, alert, {"alert_id": "calendar", "raised_at": now})
        raise dg.Failure(description="; ".join(differences), allow_retries=False)


@dg.job(description="Compares our session table with the vendor's upcoming holidays.")
def calendar_check() -> None:
    """A wrong calendar would ask for days that do not exist."""
    compare_calendar()


JOBS = (maintenance, calendar_check)
