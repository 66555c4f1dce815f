"""Assets about what is held: positions folded from the ledger, and their health at a slot."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
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
from tracker_dagster.schemas.book import CONTRACT_HEALTH, POSITIONS
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES
from tracker_dagster.schemas.market import INDEX_BARS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.positions import contract_health as judge
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

#: A position opened on the decision of a slot is judged at that slot already.
HEALTH_DELAY = timedelta(minutes=1)


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


def _held_at(run: DayRun, slot: datetime) -> pl.DataFrame:
    """Open positions that are judged at a slot: what expires today is held to the bell."""
    last_moment = session_on(run.day).close - timedelta(microseconds=1)
    moment = min(slot + HEALTH_DELAY, last_moment)
    held = positions_on(run.warehouse.read(LEDGER), run.day, moment)
    return held.filter(pl.col("status") == "OPEN")


def _health_slot(run: DayRun) -> datetime:
    """The slot to judge at: the run's own, else the last prices captured that day."""
    if run.slot is not None:
        return run.slot
    return run.warehouse.latest_slot(MARKET_LAST, run.day) or decision_time(run.day)


@trading_day_asset(
    CONTRACT_HEALTH,
    group="book",
    deps=(
        "positions",
        "openings",
        "market_last",
        "option_chain",
        "stock_day_aggs",
        "corporate_actions",
        "structure_features",
    ),
)
def contract_health(run: DayRun) -> Outcome:
    """Each open position at a slot: prices, triggers, anomalies, P&L and what to do."""
    slot = _health_slot(run)
    held = _held_at(run, slot)
    tickers = held["ticker"].unique().to_list()
    yesterday = previous_session(run.day)

    def captured(table: Table, where: dict[str, list[str]]) -> pl.DataFrame:
        rows = run.warehouse.read(table, first=run.day, last=run.day, where=where)
        # A response arrives seconds after its slot; the slot decides what was seen when.
        return rows.filter(pl.col("slot") <= slot).with_columns(available_at=pl.col("slot"))

    frame = judge(
        POSITIONS.conform(held, trade_date=run.day, available_at=slot),
        captured(MARKET_LAST, {"ticker": tickers}),
        # The whole chain of each: a roll is looked for in later expiries.
        captured(OPTION_CHAIN, {"underlying": tickers}),
        run.warehouse.read(
            STOCK_DAY_AGGS, as_of=slot, first=yesterday, last=yesterday, where={"ticker": tickers}
        ),
        run.warehouse.read(
            CORPORATE_ACTIONS,
            as_of=slot,
            first=run.day - timedelta(days=7),
            last=run.day,
            where={"ticker": tickers},
        ),
        run.warehouse.read(
            STRUCTURE_FEATURES,
            as_of=slot,
            first=yesterday,
            last=run.day,
            where={"ticker": tickers},
        ),
        run.day,
        slot,
        inputs={"slot": slot.isoformat()},
    )
    unit = {"trade_date": run.day, "slot": slot}
    result = run.warehouse.replace(CONTRACT_HEALTH, frame, unit, allow_empty=True)
    advice = dict(frame["recommendation"].value_counts(sort=True).iter_rows())
    return Outcome([result], {"slot": slot.isoformat(), "recommendations": advice})
