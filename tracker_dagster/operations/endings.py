"""What ends an open position by hand: closed, expired, assigned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tracker_dagster.ledger.book import has_stock_leg
from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.position_commands import (
    assign_position,
    close_position,
    expire_position,
)
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.positions import captured_price, open_positions
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import (
    current_session,
    session_on,
    session_or_previous,
    trading_date,
)
from tracker_dagster.warehouse import Warehouse


@dataclass(frozen=True)
class Ended:
    """What was ended: the position as it was, its price and that of its shares, and the result.

    ``shares`` arrived at the account, or left it where negative, at the strike.
    """

    position_id: str
    symbol: str
    quantity: int
    account: str
    price: float | None
    stock_price: float | None
    realised_pnl: float | None
    shares: float = 0.0


def find_open(
    warehouse: Warehouse, position_id: str, now: datetime, at: datetime | None
) -> dict[str, Any]:
    """The open position whose identity begins with ``position_id``, as it is to be ended at ``at``.

    Raises:
        UsageError: no such open position, or several; a time to come, or before it was opened.
    """
    if at is not None and at > now:
        raise UsageError(f"{at.astimezone(UTC):%F %R} UTC is still to come")
    wanted = position_id.strip().lower()
    held = open_positions(warehouse)
    found = held.filter(pl.col("position_id").str.starts_with(wanted)) if wanted else held.clear()
    if found.height != 1:
        names = (found if found.height else held).select("position_id", "symbol").rows()
        ids = ", ".join(f"{row[0][:12]} {row[1]}" for row in names)
        what = "several open positions begin" if found.height else "no open position begins"
        raise UsageError(f"{what} with {position_id!r} (open: {ids or 'none'})")
    position = found.row(0, named=True)
    if at is not None and at < position["opened_at"]:
        raise UsageError(f"{position['symbol']} was not open before {position['opened_at']:%F %T}")
    return position


def close_order(
    warehouse: Warehouse,
    position_id: str,
    price: float,
    now: datetime,
    *,
    actor: str,
    stock_price: float | None = None,
    fees: float = 0.0,
    at: datetime | None = None,
    as_opened: bool = False,
) -> Ended:
    """Record that an open position was ended, both legs of a buy-write.

    Args:
        warehouse: where the ledger is.
        position_id: the position, or the beginning of its identity if no other begins so.
        price: premium a share, in dollars.
        now: when it is recorded.
        actor: who records it.
        stock_price: what each share of a buy-write was sold for; the last captured price of the
            session when None.
        fees: dollars.
        at: when it was closed; ``now`` when None.
        as_opened: the stock has split since, and both prices are given for a share as it was at
            the opening.

    Raises:
        UsageError: no such open position, or several; a time to come, or before it was opened;
            no price of the stock; a split since the opening.
        LedgerError: the contract had expired.
    """
    position = find_open(warehouse, position_id, now, at)
    _require_no_shares(position, stock_price)
    require_trading(position, at or now)
    split = split_since(warehouse, position, at or now)
    if split is not None and not (as_opened and (stock_price or not has_stock_leg(position))):
        leg = " and --stock-price" if has_stock_leg(position) else ""
        raise UsageError(
            f"{position['ticker']} split {split}, after {position['symbol']} was opened: give "
            f"--price{leg} for a share as it was before the split, and --as-opened"
        )
    if has_stock_leg(position) and stock_price is None:
        moment = (at or now).astimezone(UTC)
        day = current_session(moment)
        stock_price = captured_price(warehouse, position["ticker"], day, moment)
        if stock_price is None:
            raise UsageError(f"no price of {position['ticker']} on {day}: give --stock-price")
    close_position(
        warehouse,
        position["position_id"],
        price=price,
        stock_sold_at=stock_price,
        fees=fees,
        now=now,
        actor=actor,
        effective_at=at,
    )
    return _ended(warehouse, position, price, stock_price)


def expire_order(
    warehouse: Warehouse,
    position_id: str,
    now: datetime,
    *,
    actor: str,
    stock_price: float | None = None,
) -> Ended:
    """Record that an open position expired worthless, at the close of its expiration session.

    The shares of a buy-write are sold at ``stock_price`` dollars, or that session's close.

    Raises:
        UsageError: no such open position, or several; the contract has not expired yet; no price
            of the stock; a split since the opening.
    """
    position = find_open(warehouse, position_id, now, None)
    session, closed_at = _require_over(position, now)
    _require_no_shares(position, stock_price)
    split = split_since(warehouse, position, closed_at)
    if split is not None and has_stock_leg(position):
        raise UsageError(
            f"{position['ticker']} split {split}, after {position['symbol']} was opened: close it "
            f"with --price 0, --stock-price for a share as it was before the split, --as-opened "
            f"and --at {closed_at:%FT%RZ}"
        )
    if has_stock_leg(position) and stock_price is None:
        closes = warehouse.read(
            STOCK_DAY_AGGS, first=session, last=session, where={"ticker": position["ticker"]}
        )
        if closes.is_empty():
            raise UsageError(f"no close of {position['ticker']} on {session}: give --stock-price")
        stock_price = closes["close"][0]
    expire_position(
        warehouse,
        position["position_id"],
        now=now,
        actor=actor,
        stock_sold_at=stock_price,
        effective_at=max(closed_at, position["opened_at"]),
    )
    return _ended(warehouse, position, 0.0, stock_price)


def assign_order(
    warehouse: Warehouse,
    position_id: str,
    now: datetime,
    *,
    actor: str,
    fees: float = 0.0,
    at: datetime | None = None,
) -> Ended:
    """Record that the contracts of an open position were exercised, at its expiry or early.

    Args:
        warehouse: where the ledger is.
        position_id: the position, or the beginning of its identity if no other begins so.
        now: when it is recorded.
        actor: who records it.
        fees: dollars.
        at: when; when None the close of the expiration session, or ``now`` before that.

    Raises:
        UsageError: no such open position, or several; a time to come, or before it was opened.
    """
    position = find_open(warehouse, position_id, now, at)
    expiry_close = session_on(session_or_previous(position["expiry"])).close
    moment = at or max(min(now, expiry_close), position["opened_at"])
    if moment > expiry_close:
        raise UsageError(f"{position['symbol']} expired on {expiry_close:%F}: it ended by then")
    assign_position(
        warehouse,
        position["position_id"],
        now=now,
        actor=actor,
        fees=fees,
        effective_at=moment,
    )
    arriving = position["quantity"] * position["shares"] * (1 if position["right"] == "C" else -1)
    return _ended(warehouse, position, None, position["strike"], arriving)


def _require_no_shares(position: dict[str, Any], stock_price: float | None) -> None:
    if stock_price is not None and not has_stock_leg(position):
        raise UsageError(
            f"no shares were bought with {position['symbol']}: leave out --stock-price"
        )


def require_trading(position: dict[str, Any], moment: datetime) -> None:
    """Nothing is traded after the close of the session on which it expires."""
    closed_at = session_on(session_or_previous(position["expiry"])).close
    # Older ledgers hold positions that were opened later than that.
    if moment > max(closed_at, position["opened_at"]):
        raise LedgerError(
            f"{position['symbol']} expired on {position['expiry']}: `tracker expire` or `tracker "
            f"assign` says how it ended; where it was closed before, give --at, "
            f"{closed_at:%FT%RZ} at the latest"
        )


def split_since(warehouse: Warehouse, position: dict[str, Any], moment: datetime) -> str | None:
    """The first split of the stock since the position was opened, like ``4:1 on 2025-06-12``."""
    opened, today = trading_date(position["opened_at"]), trading_date(moment)
    splits = warehouse.read(
        CORPORATE_ACTIONS, where={"ticker": position["ticker"], "action": "split"}
    ).filter((pl.col("ex_date") > opened) & (pl.col("ex_date") <= today))
    if splits.is_empty():
        return None
    row = splits.sort("ex_date", "trade_date").row(0, named=True)
    return f"{row['split_to']:g}:{row['split_from']:g} on {row['ex_date']}"


def _require_over(position: dict[str, Any], now: datetime) -> tuple[date, datetime]:
    session = session_or_previous(position["expiry"])
    closed_at = session_on(session).close
    if now < closed_at:
        raise UsageError(
            f"{position['symbol']} expires on {session}: it is open until {closed_at:%F %R} UTC"
        )
    return session, closed_at


def _ended(
    warehouse: Warehouse,
    position: dict[str, Any],
    price: float | None,
    stock_price: float | None,
    shares: float = 0.0,
) -> Ended:
    after = positions_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC)).row(
        by_predicate=pl.col("position_id") == position["position_id"], named=True
    )
    return Ended(
        position["position_id"],
        position["symbol"],
        position["quantity"],
        position["account"],
        price,
        stock_price,
        after["realised_pnl"],
        shares,
    )
