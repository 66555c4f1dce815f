"""Opening paper positions by hand: contract, price and stock basis from what was decided."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.commands import Recorded, open_position
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.results import decision
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.trading_calendar import decision_time
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
