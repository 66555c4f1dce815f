"""Positions by hand: opened on what was decided, and listed while open."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.events import PAPER, Event, PositionOpened
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holdings import lots_as_of
from tracker_dagster.ledger.position_commands import (
    HELD,
    Recorded,
    open_position,
    require_same_facts,
)
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.results import decision
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.holdings import cash_for_puts
from tracker_dagster.strategy.promotions import committed_cash
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.trading_calendar import current_session, decision_time
from tracker_dagster.warehouse import Warehouse

MICROSECOND = timedelta(microseconds=1)


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
        add: whether a contract that is open already is added to.
        fees: dollars, for the whole position; when None what picks count with, where it is one in
            the paper book, else none.
        at: when it was filled; now, but after the decision, when None.
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
    fees: float | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Opened:
    """What was recorded, and the order as it was filled in."""

    order: Order
    recorded: Recorded


def open_order(
    warehouse: Warehouse, order: Order, day: date, now: datetime, *, as_of: bool, actor: str
) -> Opened:
    """Record a position, once: doing it again while it is open changes nothing.

    A promoted pick is opened on its decision. Any other contract is a decision of its own, made
    when it is filled; so is a trade in a contract whose position has ended or is added to. A call
    that is sold fills at the bid of the decision's chain, one that is bought at the ask.

    Args:
        warehouse: where decisions and the ledger are.
        order: what to open.
        day: session whose decision is acted on.
        now: when it is recorded.
        as_of: whether it takes effect right after the decision instead of now.
        actor: who records it.

    Raises:
        UsageError: not a contract, open already since another session, a time to come, no price
            or no cash is known and none was given.
        LedgerError: open already with other facts, or ended; see `open_position`.
    """
    if order.at is not None and order.at > now:
        raise UsageError(f"{order.at.astimezone(UTC):%F %R} UTC is still to come")
    promoted = decision(warehouse, PROMOTIONS, day).filter(pl.col("decision") == "promote")
    symbol, decided_at = _contract(promoted, order, day)
    of_pick = decided_at is not None
    if decided_at is None and as_of:
        decided_at = decision_time(day)
    filled_at = _filled_at(order, decided_at, now, as_of=as_of)
    parsed = parse_option_symbol(symbol)
    ledger = warehouse.read(LEDGER)
    ever = positions_as_of(ledger, datetime.max.replace(tzinfo=UTC)).filter(
        pl.col("account") == order.account
    )
    mine = ever.filter(pl.col("symbol") == symbol)
    held = ever.filter(pl.col("status") == "OPEN")
    if not order.add:
        there = _same_trade(mine, order, day, decided_at, filled_at, as_of=as_of)
        if there is not None:
            return _opened_already(ledger, there, order)
    # Where the decision's own position is there already, this trade is another decision.
    on_decision = decided_at is not None and decided_at not in set(mine["decision_at"])
    if decided_at is None or not on_decision:
        decided_at = undecided(filled_at, mine)
    quoted_by = decided_at if on_decision else filled_at
    chain = warehouse.read(OPTION_CHAIN, first=day, last=day, where={"symbol": symbol})
    quotes = chain.filter(pl.col("slot") <= quoted_by).sort("slot").tail(1)
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
        basis = captured_price(warehouse, parsed.underlying, day, quoted_by)
        if basis is None:
            raise UsageError(f"no price of {parsed.underlying} on {day}: give --stock-basis")
    cash = None
    if order.quantity < 0 and parsed.right == "P":
        cash = _free_cash(warehouse, order, held)
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
        fees=_fees(order, of_pick=of_pick and on_decision),
        effective_at=filled_at,
    )
    return Opened(replace(order, symbol=symbol, price=price, stock_basis=basis), recorded)


def undecided(filled_at: datetime, positions: pl.DataFrame) -> datetime:
    """The decision to do what was filled: right before it, and none that ``positions`` rest on.

    A position's identity has its decision, so that two trades in one contract at one instant, as
    a stopped clock makes them, are two.
    """
    taken = set(positions["decision_at"])
    moment = filled_at - MICROSECOND
    while moment in taken:
        moment -= MICROSECOND
    return moment


def _fees(order: Order, *, of_pick: bool) -> float:
    if order.fees is not None:
        return order.fees
    # What the pick's expected value is less, and what the daily job opens it with.
    at_once = of_pick and order.account == PAPER
    return PickSettings().fee_per_contract * abs(order.quantity) if at_once else 0.0


def _filled_at(
    order: Order, decided_at: datetime | None, now: datetime, *, as_of: bool
) -> datetime:
    if order.at is not None:
        return order.at.astimezone(UTC)
    if decided_at is None:
        return now
    right_after = decided_at + MICROSECOND
    return right_after if as_of else max(now, right_after)


def _same_trade(
    mine: pl.DataFrame,
    order: Order,
    day: date,
    decided_at: datetime | None,
    filled_at: datetime,
    *,
    as_of: bool,
) -> dict[str, Any] | None:
    """The open position that the order asks for once more, None where it is a new trade."""
    at_a_time = order.at is not None or as_of
    same_instant = mine.filter(pl.col("opened_at") == filled_at) if at_a_time else mine.clear()
    ended = same_instant.filter(pl.col("status") != "OPEN")
    if ended.height == same_instant.height and ended.height:
        row = ended.row(0, named=True)
        raise LedgerError(
            f"{row['symbol']} was opened in {order.account} at {row['opened_at']:%F %T} UTC and is "
            f"{row['status']} since {row['closed_at']:%F %T} ({row['position_id'][:12]}): "
            "--add records one more trade of that time"
        )
    for row in mine.filter(pl.col("status") == "OPEN").sort("opened_at").iter_rows(named=True):
        if (
            row["decision_at"] == decided_at
            or (at_a_time and row["opened_at"] == filled_at)
            or (not at_a_time and current_session(row["opened_at"]) == day)
        ):
            return row
    _require_new(mine, order)
    return None


def _opened_already(ledger: pl.DataFrame, there: dict[str, Any], order: Order) -> Opened:
    """What is open already, after a look that the order does not say otherwise."""
    (row,) = ledger.filter(pl.col("event_id") == there["position_id"]).iter_rows(named=True)
    event = Event.from_row(row)
    assert isinstance(event, PositionOpened)
    given: dict[str, Any] = {
        "price": order.price,
        "stock_basis": order.stock_basis,
        "fees": order.fees,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    if order.held:
        asked["stock_source"] = HELD
    require_same_facts(event, event.model_copy(update={"quantity": order.quantity, **asked}))
    filled = replace(order, symbol=event.symbol, price=event.price, stock_basis=event.stock_basis)
    return Opened(filled, Recorded(there["position_id"], is_new=False))


def _require_new(mine: pl.DataFrame, order: Order) -> None:
    """A contract that is open already is ended, rolled or knowingly added to, not met by chance."""
    others = mine.filter(pl.col("status") == "OPEN")
    if others.height:
        row = others.row(0, named=True)
        raise UsageError(
            f"{row['symbol']} is open already in {order.account}, {row['quantity']:+d} since "
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


def _contract(promoted: pl.DataFrame, order: Order, day: date) -> tuple[str, datetime | None]:
    """The contract, and the decision that promoted it, where one did before the fill."""
    wanted = order.symbol.strip().upper()
    symbol = wanted if wanted.startswith("O:") else f"O:{wanted}"
    of_ticker = promoted.filter(pl.col("ticker") == wanted)
    if of_ticker.height:
        row = of_ticker.row(0, named=True)
        return row["symbol"], row["decision_at"]
    try:
        parse_option_symbol(symbol)
    except ValueError:
        names = ", ".join(promoted["ticker"]) or "nothing"
        raise UsageError(
            f"{order.symbol} is no option symbol and was not promoted on {day} (promoted: {names})"
        ) from None
    of_symbol = promoted.filter(pl.col("symbol") == symbol)
    if of_symbol.height:
        decided_at: datetime = of_symbol["decision_at"][0]
        if order.at is None or order.at > decided_at:
            return symbol, decided_at
    return symbol, None


def captured_price(warehouse: Warehouse, ticker: str, day: date, at: datetime) -> float | None:
    """The last price of the stock that was captured on ``day`` by ``at``, dollars a share."""
    rows = warehouse.read(MARKET_LAST, first=day, last=day, where={"ticker": ticker})
    known = rows.filter((pl.col("slot") <= at) & pl.col("price").is_not_null()).sort("slot")
    return known["price"][-1] if known.height else None
