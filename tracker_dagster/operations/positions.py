"""Paper positions by hand: opened on what was decided, closed, and listed while open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.book import has_stock_leg
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.position_commands import Recorded, close_position, open_position
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.results import decision
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import current_session, decision_time
from tracker_dagster.warehouse import Warehouse


@dataclass(frozen=True)
class Order:
    """A position to open; None is looked up.

    Attributes:
        symbol: OPRA ticker, or the ticker of a stock whose call was promoted on the day.
        quantity: contracts, negative when sold.
        price: premium, dollars per share.
        stock_basis: cost of the shares held against it, dollars per share.
    """

    symbol: str
    quantity: int
    price: float | None
    stock_basis: float | None
    account: str


@dataclass(frozen=True)
class Opened:
    """What was recorded, and the order as it was filled in."""

    order: Order
    recorded: Recorded


def open_order(
    warehouse: Warehouse, order: Order, day: date, now: datetime, *, as_of: bool, actor: str
) -> Opened:
    """Record a position on the decisions of ``day``, once: doing it again changes nothing.

    A call that is sold fills at the bid of the decision's chain, one that is bought at the ask.

    Args:
        warehouse: where decisions and the ledger are.
        order: what to open.
        day: session whose decision is acted on.
        now: when it is recorded.
        as_of: whether it takes effect right after the decision instead of now.
        actor: who records it.

    Raises:
        UsageError: not a contract, or no price is known and none was given.
    """
    promoted = decision(warehouse, PROMOTIONS, day).filter(pl.col("decision") == "promote")
    symbol, decided_at = _contract(promoted, order.symbol, day)
    parsed = parse_option_symbol(symbol)
    chain = warehouse.read(OPTION_CHAIN, first=day, last=day, where={"symbol": symbol})
    quotes = chain.filter(pl.col("slot") <= decided_at).sort("slot").tail(1)
    quote: dict[str, Any] = quotes.row(0, named=True) if quotes.height else {}
    price = order.price
    if price is None:
        side = "bid" if order.quantity < 0 else "ask"
        price = quote.get(side)
        if price is None:
            raise UsageError(f"no {side} of {symbol} was captured on {day}: give --price")
    basis = order.stock_basis
    if basis is None and order.quantity < 0 and parsed.right == "C":
        basis = _stock_price(warehouse, parsed.underlying, day, decided_at)
        if basis is None:
            raise UsageError(f"no price of {parsed.underlying} on {day}: give --stock-basis")
    filled = Order(symbol, order.quantity, price, basis, order.account)
    shares = quote.get("shares_per_contract")
    recorded = open_position(
        warehouse,
        symbol=symbol,
        quantity=order.quantity,
        price=price,
        day=day,
        decision_at=decided_at,
        now=now,
        actor=actor,
        account=order.account,
        shares=100.0 if shares is None else shares,
        stock_basis=basis,
        effective_at=decided_at + timedelta(microseconds=1) if as_of else None,
    )
    return Opened(filled, recorded)


@dataclass(frozen=True)
class Closed:
    """What was ended: the position as it was, its price and that of its shares, and the result."""

    position_id: str
    symbol: str
    quantity: int
    price: float
    stock_price: float | None
    realised_pnl: float | None


def open_positions(warehouse: Warehouse) -> pl.DataFrame:
    """Every position that nothing has ended yet, as folded from the ledger, oldest first."""
    ever = positions_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    return ever.filter(pl.col("status") == "OPEN").sort("opened_at", "symbol", "account")


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
) -> Closed:
    """Record that an open position was ended, both legs of a covered call.

    Args:
        warehouse: where the ledger is.
        position_id: the position, or the beginning of its identity if no other begins so.
        price: premium a share, in dollars.
        now: when it is recorded.
        actor: who records it.
        stock_price: what each share of a covered call was sold for; the last captured price of
            the session when None.
        fees: dollars.
        at: when it was closed; ``now`` when None.

    Raises:
        UsageError: no such open position, or several; a time to come, or before it was opened;
            no price of the stock.
    """
    if at is not None and at > now:
        raise UsageError(f"{at.astimezone(UTC):%F %R} UTC is still to come")
    wanted = position_id.strip().lower()
    held = open_positions(warehouse)
    found = held.filter(pl.col("position_id").str.starts_with(wanted)) if wanted else held.clear()
    if found.height != 1:
        ids = ", ".join(
            f"{row[0][:12]} {row[1]}" for row in _names(found if found.height else held)
        )
        what = "several open positions begin" if found.height else "no open position begins"
        raise UsageError(f"{what} with {position_id!r} (open: {ids or 'none'})")
    position = found.row(0, named=True)
    if at is not None and at < position["opened_at"]:
        raise UsageError(f"{position['symbol']} was not open before {position['opened_at']:%F %T}")
    covered = has_stock_leg(position)
    if stock_price is not None and not covered:
        raise UsageError(
            f"no shares are held against {position['symbol']}: leave out --stock-price"
        )
    if covered and stock_price is None:
        moment = (at or now).astimezone(UTC)
        day = current_session(moment)
        stock_price = _stock_price(warehouse, position["ticker"], day, moment)
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
    ended = positions_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC)).row(
        by_predicate=pl.col("position_id") == position["position_id"], named=True
    )
    return Closed(
        position["position_id"],
        position["symbol"],
        position["quantity"],
        price,
        stock_price,
        ended["realised_pnl"],
    )


def _names(positions: pl.DataFrame) -> list[tuple[str, str]]:
    return list(positions.select("position_id", "symbol").iter_rows())


def _contract(promoted: pl.DataFrame, asked: str, day: date) -> tuple[str, datetime]:
    wanted = asked.strip().upper()
    match = promoted.filter((pl.col("ticker") == wanted) | (pl.col("symbol") == wanted))
    if match.height:
        row = match.row(0, named=True)
        return row["symbol"], row["decision_at"]
    symbol = wanted if wanted.startswith("O:") else f"O:{wanted}"
    try:
        parse_option_symbol(symbol)
    except ValueError:
        names = ", ".join(promoted["ticker"]) or "nothing"
        raise UsageError(
            f"{asked} is no option symbol and was not promoted on {day} (promoted: {names})"
        ) from None
    return symbol, decision_time(day)


def _stock_price(warehouse: Warehouse, ticker: str, day: date, at: datetime) -> float | None:
    rows = warehouse.read(MARKET_LAST, first=day, last=day, where={"ticker": ticker})
    known = rows.filter((pl.col("slot") <= at) & pl.col("price").is_not_null()).sort("slot")
    return known["price"][-1] if known.height else None
