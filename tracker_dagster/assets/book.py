"""Asset `positions`: what the ledger held, and what became of it at an expiry."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.position_commands import (
    assign_position,
    close_position,
    expire_position,
)
from tracker_dagster.ledger.folds import SETTLEMENT, positions_as_of, positions_on
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.book import POSITIONS
from tracker_dagster.schemas.market import INDEX_BARS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.settlement import settle
from tracker_dagster.trading_calendar import (
    current_session,
    decision_time,
    last_published_session,
    previous_session,
    session_on,
    session_or_previous,
    trading_date,
)


def _settle_expired(run: DayRun) -> tuple[list[str], pl.DataFrame]:
    """Record what became of positions whose expiry has come; returns done and not yet possible."""
    # What has been ended, even with a later effect, is not ended again.
    ever = positions_as_of(run.warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    over = run.day if run.now >= session_on(run.day).close else previous_session(run.day)
    expired = ever.filter((pl.col("status") == "OPEN") & (pl.col("expiry") <= over))
    if expired.is_empty():
        return [], settle(expired, STOCK_DAY_AGGS.empty(), over)
    tickers = expired["ticker"].unique().to_list()
    first = session_or_previous(min(expired["expiry"]))

    def known(table: Table, since: date, columns: list[str] | None = None) -> pl.DataFrame:
        return run.warehouse.read(
            table, as_of=run.now, first=since, last=over, where={"ticker": tickers}, columns=columns
        )

    closes = ["ticker", "trade_date", "close"]
    proposals = settle(
        expired,
        known(STOCK_DAY_AGGS, first, closes),
        over,
        index_closes=known(INDEX_BARS, first, closes),
        corporate_actions=known(CORPORATE_ACTIONS, trading_date(min(expired["opened_at"]))),
    )
    done = []
    for proposal in proposals.filter(pl.col("outcome").is_not_null()).iter_rows(named=True):
        _record_end(run, proposal)
        done.append(f"{proposal['symbol']} {proposal['outcome']}, {proposal['reason']}")
    return done, proposals.filter(pl.col("outcome").is_null())


def _record_end(run: DayRun, proposal: dict[str, Any]) -> None:
    position_id = proposal["position_id"]
    how: dict[str, Any] = {
        "now": run.now,
        "actor": SETTLEMENT,
        "effective_at": proposal["effective_at"],
    }
    match proposal["outcome"]:
        case "ASSIGNED":
            assign_position(run.warehouse, position_id, **how)
        case "EXPIRED":
            sold_at = proposal["stock_sold_at"]
            expire_position(run.warehouse, position_id, stock_sold_at=sold_at, **how)
        case "CASH_SETTLED":
            close_position(run.warehouse, position_id, price=proposal["close_price"], **how)


def _settled(run: DayRun, waiting: pl.DataFrame) -> Check:
    """Whether all is settled whose closing prices are published."""
    late = waiting.filter(pl.col("expired_on") <= last_published_session(run.now))
    why = dict(late.select("symbol", "reason").iter_rows())
    return Check("settled_what_expired", not why, {"waiting": why} if why else {})


@trading_day_asset(
    POSITIONS,
    group="book",
    deps=("stock_day_aggs", "index_bars", "corporate_actions", "ledger"),
    kinds=("ledger",),
    checks={
        "settled_what_expired": "No expired position waits for its settlement.",
    },
)
def positions(run: DayRun) -> Outcome:
    """Positions at the decision time of the session, before what it opens itself.

    For the current session, what has expired is settled first, with effect from the close of its
    expiration day. Rebuilding a past day records nothing and comes to the same rows.
    """
    metadata: dict[str, object] = {}
    waiting = settle(POSITIONS.empty(), STOCK_DAY_AGGS.empty(), run.day)
    if run.day == current_session(run.now):
        metadata["settled"], waiting = _settle_expired(run)
        metadata["settlement_waits"] = dict(waiting.select("symbol", "reason").iter_rows())
    moment = decision_time(run.day)
    held = positions_on(run.warehouse.read(LEDGER), run.day, moment)
    frame = POSITIONS.conform(held, trade_date=run.day, available_at=moment)
    result = run.warehouse.replace(POSITIONS, frame, {"trade_date": run.day}, allow_empty=True)
    return Outcome(
        [result],
        metadata | {"open": held.filter(pl.col("status") == "OPEN").height},
        [_settled(run, waiting)],
    )
