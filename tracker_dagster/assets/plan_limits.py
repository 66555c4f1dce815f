"""What the vendor's plan does not include: stated, and no reason for the run to stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from tracker_dagster.assets.wiring import Check, DayRun, Outcome
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster.sources.errors import NotEntitledError, NotFoundError
from tracker_dagster.trading_calendar import decision_time
from tracker_dagster.warehouse import Unit, Write

#: Metadata of an asset that was refused.
NOT_IN_PLAN = "not_in_plan"
#: Check of assets that have no other promise a refusal breaks.
IN_PLAN = "in_plan"
IN_PLAN_PROMISE = "The vendor's plan includes what was asked for."


def gap(run: DayRun, table: Table, source: str, reason: str | None) -> Write:
    """The write that states why the day of ``table`` has no rows of ``source``; None clears it."""
    return gaps(run, table, source, {} if reason is None else {"*": reason})


def gaps(run: DayRun, table: Table, source: str, reasons: Mapping[str, str]) -> Write:
    """The write that states which subjects ``table`` lacks of the day, and why each; or none."""
    unit: Unit = {
        "trade_date": run.day,
        "dataset": table.name,
        "source": source,
        "slot": decision_time(run.day),
    }
    rows = pl.DataFrame(
        {"subject": list(reasons), "reason": list(reasons.values())},
        schema={"subject": pl.String, "reason": pl.String},
    )
    return Write(COLLECTION_GAPS, COLLECTION_GAPS.conform(rows, **unit), unit, allow_empty=True)


def refused(
    run: DayRun,
    table: Table,
    source: str,
    error: NotEntitledError | NotFoundError,
    check: str,
    metadata: Mapping[str, Any] | None = None,
) -> Outcome:
    """The outcome of an asset whose request the plan does not cover; rows there are stay.

    Args:
        run: the day.
        table: what was to be filled.
        source: feed that refused.
        error: what it said.
        check: promise of the asset that is not kept.
        metadata: more to say.
    """
    reason = f"not in the plan: {error}"
    run.warehouse.replace_many([gap(run, table, source, reason)])
    run.log.warning(f"{table.name} {run.day}: {reason}")
    said = {NOT_IN_PLAN: reason}
    return Outcome([], {**(metadata or {}), **said}, [Check(check, False, said)])
