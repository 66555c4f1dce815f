"""What ends an open position by hand: closed, rolled, expired, assigned."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tracker_dagster.ledger.book import has_stock_leg
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.position_commands import (
    assign_position,
    close_position,
    expire_position,
)
from tracker_dagster.ledger.rolls import Rolled, roll_position
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.positions import captured_price, open_positions
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import current_session, session_on, session_or_previous
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

    Raises:
        UsageError: no such open position, or several; a time to come, or before it was opened;
            no price of the stock.
    """
    position = find_open(warehouse, position_id, now, at)
    _require_no_shares(position, stock_price)
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
            of the stock.
    """
    position = find_open(warehouse, position_id, now, None)
    session, closed_at = _require_over(position, now)
    _require_no_shares(position, stock_price)
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


@dataclass(frozen=True)
class RollOrder:
    """A roll; None is looked up.

    Attributes:
        position_id: the position, or the beginning of its identity if no other begins so.
        to: contract to open; what the monitor proposed last when None.
        close_price: premium a share to end the old contract; the last captured ask (bid, where it
            was bought) when None.
        open_price: premium a share of the new one; the last captured bid (ask) when None.
        fees: dollars for both legs together, half of them each.
    """

    position_id: str
    to: str | None = None
    close_price: float | None = None
    open_price: float | None = None
    fees: float = 0.0


@dataclass(frozen=True)
class RollDone:
    """A roll as recorded, with what was looked up."""

    old_symbol: str
    new_symbol: str
    quantity: int
    account: str
    close_price: float
    open_price: float
    rolled: Rolled


def roll_order(
    warehouse: Warehouse,
    order: RollOrder,
    now: datetime,
    *,
    actor: str,
    at: datetime | None = None,
) -> RollDone:
    """Record that an open position was rolled into another contract, both legs or neither.

    Args:
        warehouse: where the ledger and the captures are.
        order: what to roll.
        now: when it is recorded.
        actor: who records it.
        at: when both legs were filled; ``now`` when None.

    Raises:
        UsageError: no such open position, or several; no contract or no price is known and none
            was given.
        LedgerError: see `roll_position`.
    """
    position = find_open(warehouse, order.position_id, now, at)
    moment = at or now
    day = current_session(moment)
    symbol = _target(warehouse, position, order.to, day)
    sold = position["quantity"] < 0
    close_side, open_side = ("ask", "bid") if sold else ("bid", "ask")

    def price(given: float | None, name: str, side: str, option: str) -> float:
        quoted = given if given is not None else _quoted(warehouse, name, side, day, moment)
        if quoted is None:
            raise UsageError(f"no {side} of {name} was captured on {day}: give {option}")
        return quoted

    close_price = price(order.close_price, position["symbol"], close_side, "--close-price")
    open_price = price(order.open_price, symbol, open_side, "--open-price")
    rolled = roll_position(
        warehouse,
        position["position_id"],
        symbol=symbol,
        close_price=close_price,
        open_price=open_price,
        day=day,
        decision_at=moment,
        now=now,
        actor=actor,
        close_fees=order.fees / 2,
        open_fees=order.fees / 2,
    )
    return RollDone(
        position["symbol"],
        symbol,
        position["quantity"],
        position["account"],
        close_price,
        open_price,
        rolled,
    )


def _target(warehouse: Warehouse, position: dict[str, Any], to: str | None, day: date) -> str:
    if to is not None:
        name = to.strip().upper()
        return name if name.startswith("O:") else f"O:{name}"
    judged = warehouse.read(
        CONTRACT_HEALTH, first=day, last=day, where={"position_id": position["position_id"]}
    )
    proposed = judged.filter(pl.col("roll_symbol").is_not_null()).sort("slot")
    if proposed.is_empty():
        raise UsageError(
            f"the monitor proposed no roll of {position['symbol']} on {day}: give --to"
        )
    symbol: str = proposed["roll_symbol"][-1]
    return symbol


def _quoted(
    warehouse: Warehouse, symbol: str, side: str, day: date, moment: datetime
) -> float | None:
    chain = warehouse.read(OPTION_CHAIN, first=day, last=day, where={"symbol": symbol})
    last = chain.filter(pl.col("slot") <= moment).sort("slot").tail(1)
    return None if last.is_empty() else last[side][0]


def _require_no_shares(position: dict[str, Any], stock_price: float | None) -> None:
    if stock_price is not None and not has_stock_leg(position):
        raise UsageError(
            f"no shares were bought with {position['symbol']}: leave out --stock-price"
        )


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
