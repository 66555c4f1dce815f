"""The universe as a partition a day, folded from the ledger."""

from __future__ import annotations

import polars as pl

from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.commands import sync_universe
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.schemas.reference import UNIVERSE
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.seed_files import seed_file
from tracker_dagster.trading_calendar import session_on


def _members(run: DayRun) -> pl.DataFrame:
    """Membership as it was when the session closed, or as it is now while it runs."""
    moment = min(session_on(run.day).close, run.now)
    return universe_as_of(run.warehouse.read(LEDGER), moment)


def enabled_tickers(run: DayRun) -> list[str]:
    """Tickers that picks are made for on the day, sorted."""
    members = _members(run)
    return sorted(members.filter(pl.col("enabled"))["ticker"])


@trading_day_asset(UNIVERSE, group="reference", deps=("ledger",), kinds=("csv",))
def universe(run: DayRun) -> Outcome:
    """Syncs ``seed/universe.csv`` into the ledger, then writes the membership as of the day.

    The sync lists new tickers and categories; it never deletes and never touches who is enabled.
    """
    listed = 0
    if run.is_first:
        synced = sync_universe(run.warehouse, seed_file("universe.csv"), run.now, actor="sync")
        listed = synced.listed
    members = _members(run)
    frame = UNIVERSE.conform(members, trade_date=run.day, available_at=session_on(run.day).open)
    result = run.warehouse.replace(UNIVERSE, frame, {"trade_date": run.day}, allow_empty=True)
    per_category = members.group_by("category").len().sort("category")
    return Outcome(
        [result],
        {
            "enabled": int(members["enabled"].sum()),
            "newly_listed": listed,
            "categories": dict(per_category.iter_rows()),
        },
    )
