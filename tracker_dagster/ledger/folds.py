"""Pure folds of the ledger: what was the case at a moment, by what was known then.

Events count from their ``effective_at`` on, and are applied in the order that `Event.order`
and their identity give them, so that the same events always give the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.events import (
    Event,
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
    UniverseDisabled,
    UniverseEnabled,
    UniverseListed,
)
from tracker_dagster.schemas.base import INSTANT

#: Who records what became of positions at their expiry.
SETTLEMENT = "settlement"

UNIVERSE_FOLD = {"ticker": pl.String, "category": pl.String, "enabled": pl.Boolean}

#: Columns of `positions_as_of`; dollars unless said otherwise.
POSITIONS_FOLD: dict[str, Any] = {
    "position_id": pl.String,
    "account": pl.String,
    "symbol": pl.String,
    "ticker": pl.String,
    "expiry": pl.Date,
    "right": pl.String,
    "strike": pl.Float64,
    "quantity": pl.Int64,
    "shares": pl.Float64,
    "open_price": pl.Float64,
    "stock_basis": pl.Float64,
    "fees": pl.Float64,
    "opened_at": INSTANT,
    "status": pl.String,
    "closed_at": INSTANT,
    "close_price": pl.Float64,
    "option_cash": pl.Float64,
    "stock_cash": pl.Float64,
    "realised_cash": pl.Float64,
    "realised_pnl": pl.Float64,
}


def universe_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Members of the universe at ``moment``: ticker, category, enabled, sorted by ticker.

    Args:
        ledger: rows of the ledger table, in any order.
        moment: events in effect by then count.
        known_at: when given, only events recorded by then count.
    """
    category: dict[str, str] = {}
    enabled: dict[str, bool] = {}
    for _, event in _in_effect(ledger, moment, known_at, prefix="universe_"):
        match event:
            case UniverseListed(ticker=ticker):
                category[ticker] = event.category
            case UniverseEnabled(ticker=ticker):
                enabled[ticker] = True
            case UniverseDisabled(ticker=ticker):
                enabled[ticker] = False
    return pl.DataFrame(
        {
            "ticker": sorted(category),
            "category": [category[ticker] for ticker in sorted(category)],
            "enabled": [enabled.get(ticker, True) for ticker in sorted(category)],
        },
        schema=UNIVERSE_FOLD,
    )


def positions_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Every position opened by ``moment`` and its state then, sorted by position_id.

    Prices are per share. ``option_cash`` is what the option has brought so far, less fees;
    ``stock_cash`` what the shares brought or cost: at the strike when assigned, at their sale
    otherwise; ``realised_cash`` their sum, null while the position is open. What the shares had
    cost before is not in them but in ``realised_pnl``: option cash and the result of the stock
    leg. It is null while open, and where the price of one side of the stock leg is not known.

    Args:
        ledger: rows of the ledger table, in any order.
        moment: events in effect by then count.
        known_at: when given, only events recorded by then count.
    """
    positions: dict[str, dict[str, Any]] = {}
    for event_id, event in _in_effect(ledger, moment, known_at, prefix="position_"):
        if isinstance(event, PositionOpened):
            positions.setdefault(event_id, _opened(event_id, event))
        elif isinstance(event, PositionClosed | PositionExpired | PositionAssigned):
            position = positions.get(event.position_id)
            if position is not None and position["status"] == "OPEN":
                _end(position, event)
    rows = [positions[position_id] for position_id in sorted(positions)]
    return pl.DataFrame(rows, schema=POSITIONS_FOLD, orient="row")


def _in_effect(
    ledger: pl.DataFrame, moment: datetime, known_at: datetime | None, *, prefix: str
) -> list[tuple[str, Event]]:
    for instant in (moment, known_at):
        if instant is not None and instant.tzinfo is None:
            raise ValueError(f"naive datetime {instant!r}: pass one with a timezone")
    counts = (pl.col("effective_at") <= moment.astimezone(UTC)) & pl.col("kind").str.starts_with(
        prefix
    )
    if known_at is not None:
        counts &= pl.col("recorded_at") <= known_at.astimezone(UTC)
    # The identity as recorded, not computed anew: it must outlive changes of this code.
    events = [
        (row["event_id"], Event.from_row(row))
        for row in ledger.filter(counts).iter_rows(named=True)
    ]
    return sorted(events, key=lambda item: (*item[1].order, item[0]))


def _opened(position_id: str, event: PositionOpened) -> dict[str, Any]:
    contract = parse_option_symbol(event.symbol)
    return {
        "position_id": position_id,
        "account": event.account,
        "symbol": event.symbol,
        "ticker": contract.underlying,
        "expiry": contract.expiry,
        "right": contract.right,
        "strike": float(contract.strike),
        "quantity": event.quantity,
        "shares": event.shares,
        "open_price": event.price,
        "stock_basis": event.stock_basis,
        "fees": event.fees,
        "opened_at": event.effective_at,
        "status": "OPEN",
        "closed_at": None,
        "close_price": None,
        "option_cash": -event.quantity * event.shares * event.price - event.fees,
        "stock_cash": 0.0,
        "realised_cash": None,
        "realised_pnl": None,
    }


def _end(
    position: dict[str, Any], event: PositionClosed | PositionExpired | PositionAssigned
) -> None:
    delivered = position["quantity"] * position["shares"]
    position["closed_at"] = event.effective_at
    sold_at: float | None = None
    match event:
        case PositionClosed():
            position["status"] = "CLOSED"
            position["close_price"] = event.price
            position["fees"] += event.fees
            position["option_cash"] += delivered * event.price - event.fees
            sold_at = event.stock_sold_at
        case PositionExpired():
            position["status"] = "EXPIRED"
            position["close_price"] = 0.0
            sold_at = event.stock_sold_at
        case PositionAssigned():
            position["status"] = "ASSIGNED"
            position["fees"] += event.fees
            position["option_cash"] -= event.fees
            # A call sold delivers shares for the strike; a put sold takes them at it.
            sign = -1 if position["right"] == "C" else 1
            position["stock_cash"] = sign * delivered * position["strike"]
            sold_at = position["strike"]
    covered = has_stock_leg(position)
    if covered and sold_at is not None:
        position["stock_cash"] = -delivered * sold_at
    position["realised_cash"] = position["option_cash"] + position["stock_cash"]
    if covered:
        if sold_at is not None:
            gain = -delivered * (sold_at - position["stock_basis"])
            position["realised_pnl"] = position["option_cash"] + gain
    elif not isinstance(event, PositionAssigned):
        position["realised_pnl"] = position["option_cash"]


def has_stock_leg(position: Mapping[str, Any]) -> bool:
    """Whether shares of known cost are held against the position: a covered call."""
    covered = position["right"] == "C" and position["quantity"] < 0
    return covered and position["stock_basis"] is not None


def positions_on(ledger: pl.DataFrame, day: date, moment: datetime) -> pl.DataFrame:
    """`positions_as_of` a moment of the session ``day``, the same whenever it is asked.

    What was settled only after the turn of ``day`` (which ends as the next session opens) was
    still open to those who decided on ``day``, though it takes effect before. A position that
    was itself recorded later is hindsight altogether, and so is its end.
    """
    turn_ends = trading_calendar.session_on(trading_calendar.next_session(day)).open
    recorded_late = pl.col("recorded_at") >= turn_ends
    opened_in_time = ledger.filter((pl.col("kind") == PositionOpened.kind) & ~recorded_late)
    settled_late = (
        recorded_late
        & (pl.col("actor") == SETTLEMENT)
        & pl.col("payload")
        .str.json_path_match("$.position_id")
        .is_in(opened_in_time["event_id"].to_list())
    )
    return positions_as_of(ledger.filter(~settled_late.fill_null(value=False)), moment)
