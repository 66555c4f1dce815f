"""Positions by hand: opened on what was decided, and listed while open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.events import PAPER
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holdings import lots_as_of
from tracker_dagster.ledger.position_commands import HELD, Recorded, open_position
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.results import decision
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.holdings import cash_for_puts
from tracker_dagster.strategy.promotions import committed_cash
from tracker_dagster.trading_calendar import decision_time
from tracker_dagster.warehouse import Warehouse


@dataclass(frozen=True)
class Order:
    """A position to open; None is looked up.

    Attributes:
        symbol: OPRA ticker, or the ticker of a stock whose call was promoted on the day.
        quantity: contracts, negative when sold.
        price: premium, dollars per share.
        stock_basis: cost of the shares bought with it, dollars per share.
        account: book it belongs to.
        held: a call of the paper book on shares that it holds; other accounts write no others.
        floor_at_basis: refuse a strike below the average basis of the shares held.
        cash: dollars of the account that may secure puts; those that open ones tie up come off.
        add: whether a contract that is open already, on another decision, is added to.
    """

    symbol: str
    quantity: int
    price: float | None
    stock_basis: float | None
    account: str
    held: bool = False
    floor_at_basis: bool = False
    cash: float | None = None
    add: bool = False


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
        UsageError: not a contract, open already on another decision, no price or no cash is known
            and none was given.
        LedgerError: see `open_position`.
    """
    promoted = decision(warehouse, PROMOTIONS, day).filter(pl.col("decision") == "promote")
    symbol, decided_at = _contract(promoted, order.symbol, day)
    parsed = parse_option_symbol(symbol)
    ever = positions_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    held = ever.filter((pl.col("status") == "OPEN") & (pl.col("account") == order.account))
    if not order.add:
        _require_new(held, order, symbol, decided_at)
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
    sells_call = order.quantity < 0 and parsed.right == "C"
    if basis is None and sells_call and order.account == PAPER and not order.held:
        basis = captured_price(warehouse, parsed.underlying, day, decided_at)
        if basis is None:
            raise UsageError(f"no price of {parsed.underlying} on {day}: give --stock-basis")
    cash = None
    if order.quantity < 0 and parsed.right == "P":
        cash = _free_cash(warehouse, order, held)
    filled = replace(order, symbol=symbol, price=price, stock_basis=basis)
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
        stock_source=HELD if order.held else None,
        floor_at_basis=order.floor_at_basis,
        cash=cash,
        effective_at=decided_at + timedelta(microseconds=1) if as_of else None,
    )
    return Opened(filled, recorded)


def _require_new(held: pl.DataFrame, order: Order, symbol: str, decided_at: datetime) -> None:
    """A contract that is open already is ended, rolled or knowingly added to, not met by chance."""
    others = held.filter((pl.col("symbol") == symbol) & (pl.col("decision_at") != decided_at))
    if others.height:
        row = others.row(0, named=True)
        raise UsageError(
            f"{symbol} is open already in {order.account}, {row['quantity']:+d} since "
            f"{row['opened_at']:%F} ({row['position_id'][:12]}): `tracker close` ends it, --add "
            "adds to it"
        )


def _free_cash(warehouse: Warehouse, order: Order, held: pl.DataFrame) -> float:
    """Dollars that may secure one more put."""
    if order.cash is None:
        raise UsageError(
            f"a put that is sold is secured by cash: give --cash, what {order.account} has"
        )
    if order.account != PAPER:
        return order.cash - cash_for_puts(held)
    # All that the paper book owns was bought from its one sum of cash.
    lots = lots_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    mine = lots.filter(pl.col("account") == PAPER)
    return order.cash - committed_cash(held, float((mine["shares"] * mine["basis"]).sum()))


def open_positions(warehouse: Warehouse) -> pl.DataFrame:
    """Every position that nothing has ended yet, as folded from the ledger, oldest first."""
    ever = positions_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    return ever.filter(pl.col("status") == "OPEN").sort("opened_at", "symbol", "account")


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


def captured_price(warehouse: Warehouse, ticker: str, day: date, at: datetime) -> float | None:
    """The last price of the stock that was captured on ``day`` by ``at``, dollars a share."""
    rows = warehouse.read(MARKET_LAST, first=day, last=day, where={"ticker": ticker})
    known = rows.filter((pl.col("slot") <= at) & pl.col("price").is_not_null()).sort("slot")
    return known["price"][-1] if known.height else None
