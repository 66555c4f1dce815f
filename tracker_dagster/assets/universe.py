"""The universe as a partition a day, folded from the ledger."""

from __future__ import annotations

from datetime import datetime

import polars as pl

from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.commands import sync_universe
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.schemas.reference import UNIVERSE
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.seed_files import seed_file
from tracker_dagster.trading_calendar import decision_time, session_on


def members_at(run: DayRun, moment: datetime) -> pl.DataFrame:
    """Membership at a moment: ticker, category, enabled."""
    return universe_as_of(run.warehouse.read(LEDGER), moment)


def enabled_at(run: DayRun, moment: datetime) -> list[str]:
    """Tickers enabled at a moment, sorted."""
    return sorted(members_at(run, moment).filter(pl.col("enabled"))["ticker"])


def enabled_tickers(run: DayRun) -> list[str]:
    """Tickers that data is fetched for on the day: those enabled at its close, or now; sorted."""
    return enabled_at(run, min(session_on(run.day).close, run.now))


@trading_day_asset(UNIVERSE, group="reference", deps=("ledger",), kinds=("csv",))
def universe(run: DayRun) -> Outcome:
    """Syncs ``seed/universe.csv`` into the ledger, then writes the membership as of the day.

    The sync lists new tickers and categories; it never deletes, and never touches who is enabled
    or a category that a person chose.
    """
    listed = 0
    if run.is_first:
        synced = sync_universe(run.warehouse, seed_file("universe.csv"), run.now)
        listed = synced.listed
    moment = min(decision_time(run.day), run.now)
    members = members_at(run, moment)
    frame = UNIVERSE.conform(members, trade_date=run.day, available_at=moment)
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
