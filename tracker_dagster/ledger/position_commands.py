"""What people can do to positions: open, close, expire, assign. Only events are added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.book import OpenLot
from tracker_dagster.ledger.commands import LedgerError, LedgerStore, append
from tracker_dagster.ledger.events import (
    PAPER,
    Event,
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
)
from tracker_dagster.ledger.facts import made
from tracker_dagster.ledger.folds import book_as_of, positions_as_of
from tracker_dagster.ledger.holdings import average_basis, holdings_of
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import session_on, session_or_previous, trading_date

HELD, BOUGHT = "held", "bought"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as recorded; ``is_new`` is false when the ledger had it already."""

    event_id: str
    is_new: bool


def open_position(
    store: LedgerStore,
    *,
    symbol: str,
    quantity: int,
    price: float,
    day: date,
    decision_at: datetime,
    now: datetime,
    actor: str,
    account: str = PAPER,
    shares: float = 100.0,
    stock_basis: float | None = None,
    stock_source: str | None = None,
    floor_at_basis: bool = False,
    cash: float | None = None,
    fees: float = 0.0,
    effective_at: datetime | None = None,
) -> Recorded:
    """Record a position opened on a decision, once: recording the same again changes nothing.

    It takes effect at ``effective_at``, by default ``now`` but after the decision in any case,
    so that deciding again for the same session finds what it found the first time.

    A call that is sold in an account other than paper is written on shares that the account
    holds and no other call covers; so is one of paper with ``stock_source`` ``held``.

    Args:
        store: the ledger.
        symbol: OPRA ticker.
        quantity: contracts, negative when sold.
        price: premium in dollars per share.
        day: session of the decision.
        decision_at: instant of the decision.
        now: when this is recorded.
        actor: who records it.
        account: book it belongs to.
        shares: shares one contract delivers.
        stock_basis: cost per share of the stock bought with it.
        stock_source: ``held`` for a call on shares of the account, ``bought`` for a buy-write;
            when None what the account and ``stock_basis`` say.
        floor_at_basis: refuse a call on held shares whose strike is below their average basis.
        cash: dollars that are free to secure a put that is sold; not looked at when None.
        fees: dollars, for the whole position.
        effective_at: when it was filled, if known.

    Raises:
        LedgerError: the fill is not after the decision, or after the contract has expired; the
            contract was opened on the same decision with another quantity, price, basis, number
            of shares or fees; too few free shares for a call, too little cash for a put, or a
            strike below the basis; not an option symbol, no contracts, or a negative price.
    """
    if effective_at is None:
        effective_at = max(now, decision_at + timedelta(microseconds=1))
    if effective_at <= decision_at:
        raise LedgerError(f"filled at {effective_at}, before the decision at {decision_at}")
    facts: dict[str, Any] = {
        "account": account,
        "day": day,
        "decision_at": decision_at,
        "symbol": symbol,
        "quantity": quantity,
        "price": price,
        "shares": shares,
        "stock_basis": stock_basis,
        "stock_source": stock_source,
        "fees": fees,
        "effective_at": effective_at,
        "recorded_at": now,
        "actor": actor,
    }
    event = made(PositionOpened, **facts)
    if event.is_call_sold and account != PAPER:
        if stock_source == BOUGHT or stock_basis is not None:
            raise LedgerError(
                f"calls in {account} are written on shares it holds: record a purchase first "
                "(`tracker holdings buy`), and leave the basis out"
            )
        event = event.model_copy(update={"stock_source": HELD})
    there = store.read(LEDGER, where={"event_id": event.event_id})
    if there.is_empty():
        require_unexpired(event.symbol, effective_at)
        if event.stock_source == HELD:
            event = _on_held_shares(store, event, floor_at_basis=floor_at_basis)
        _require_cash(event, cash)
        return _record(store, event)
    require_same_facts(Event.from_row(there.row(0, named=True)), event)
    return Recorded(event.event_id, is_new=False)


def require_unexpired(symbol: str, moment: datetime) -> None:
    """Refuse a trade in a contract after the close of its expiration session.

    Raises:
        LedgerError: it has expired by ``moment``.
    """
    expiry = parse_option_symbol(symbol).expiry
    today = trading_date(moment)
    if expiry > today:
        return
    if expiry < today or moment > session_on(session_or_previous(expiry)).close:
        raise LedgerError(f"{symbol} expired on {expiry}: none is traded at {moment:%F %R} UTC")


def require_floor(event: PositionOpened, lots: list[OpenLot]) -> None:
    """Refuse a call on held shares whose strike is below what they had cost on average.

    Raises:
        LedgerError: it is, or what they had cost is not known.
    """
    basis = average_basis(lots)
    if basis is None or event.strike < basis:
        why = "is not known" if basis is None else f"is {basis:.2f}"
        raise LedgerError(
            f"strike {event.strike:g} of {event.symbol}: the basis of {event.ticker} in "
            f"{event.account} {why}, and calls are to be written at it or above"
        )


def _on_held_shares(
    store: LedgerStore, event: PositionOpened, *, floor_at_basis: bool
) -> PositionOpened:
    """The call with the basis of the shares behind it, if there are enough that are free."""
    # What was recorded for later counts: those shares are not free any more.
    book = book_as_of(store.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    mine = holdings_of(book).filter(
        (pl.col("account") == event.account) & (pl.col("ticker") == event.ticker)
    )
    free, held = (mine["free"].sum(), mine["shares"].sum())
    wanted = -event.quantity * event.shares
    if free < wanted:
        raise LedgerError(
            f"{-event.quantity} calls on {event.ticker} need {wanted:g} shares: {event.account} "
            f"holds {held:g}, {max(free, 0):g} of them free"
        )
    lots = book.lots[event.account, event.ticker]
    if floor_at_basis:
        require_floor(event, lots)
    return event.model_copy(update={"stock_basis": average_basis(lots)})


def _require_cash(event: PositionOpened, cash: float | None) -> None:
    if event.quantity > 0 or event.is_call_sold or cash is None:
        return
    secured = event.strike * event.shares * -event.quantity
    if secured > cash:
        raise LedgerError(
            f"{-event.quantity} puts of {event.symbol} need {secured:,.2f} USD to secure them: "
            f"{event.account} has {max(cash, 0):,.2f} free"
        )


def require_same_facts(there: Event, asked: PositionOpened) -> None:
    """Refuse to open a position again with other facts than it was opened with.

    Raises:
        LedgerError: they differ.
    """
    # The basis of held shares follows from the lots, which change: it is nobody's word.
    derived = {"stock_basis"} if asked.stock_source == HELD else set()
    differing = [
        name
        for name, value in asked.payload.items()
        if name not in derived and there.payload[name] != value
    ]
    if differing:

        def facts(event: Event) -> str:
            return ", ".join(f"{name} {event.payload[name]}" for name in differing)

        raise LedgerError(
            f"{asked.symbol} was opened on this decision with {facts(there)}, not {facts(asked)} "
            f"({asked.account}, position {asked.event_id[:12]})"
        )


def close_position(
    store: LedgerStore,
    position_id: str,
    *,
    price: float,
    now: datetime,
    actor: str,
    fees: float = 0.0,
    stock_sold_at: float | None = None,
    effective_at: datetime | None = None,
) -> Recorded:
    """Record that the whole position was ended at ``price`` dollars per share.

    ``stock_sold_at`` is what each share of a buy-write was sold for, if it was.

    Raises:
        LedgerError: there is no such open position, or a price that is none.
    """
    effective_at = end_of(store, position_id, now, effective_at)
    return _record(
        store,
        made(
            PositionClosed,
            position_id=position_id,
            price=price,
            stock_sold_at=stock_sold_at,
            fees=fees,
            effective_at=effective_at,
            recorded_at=now,
            actor=actor,
        ),
    )


def expire_position(
    store: LedgerStore,
    position_id: str,
    *,
    now: datetime,
    actor: str,
    stock_sold_at: float | None = None,
    effective_at: datetime | None = None,
) -> Recorded:
    """Record that the contracts expired worthless.

    ``stock_sold_at`` is what each share of a buy-write was sold for, if it was.

    Raises:
        LedgerError: there is no such open position.
    """
    effective_at = end_of(store, position_id, now, effective_at)
    return _record(
        store,
        made(
            PositionExpired,
            position_id=position_id,
            stock_sold_at=stock_sold_at,
            effective_at=effective_at,
            recorded_at=now,
            actor=actor,
        ),
    )


def assign_position(
    store: LedgerStore,
    position_id: str,
    *,
    now: datetime,
    actor: str,
    fees: float = 0.0,
    effective_at: datetime | None = None,
) -> Recorded:
    """Record that the contracts were exercised, at expiry or early.

    Raises:
        LedgerError: there is no such open position.
    """
    effective_at = end_of(store, position_id, now, effective_at)
    return _record(
        store,
        made(
            PositionAssigned,
            position_id=position_id,
            fees=fees,
            effective_at=effective_at,
            recorded_at=now,
            actor=actor,
        ),
    )


def end_of(
    store: LedgerStore, position_id: str, now: datetime, effective_at: datetime | None
) -> datetime:
    """When an end takes effect: ``effective_at``, else now, but never before the opening.

    Raises:
        LedgerError: there is no such position, it was not open yet, or it has ended.
    """
    opened = store.read(LEDGER, where={"event_id": position_id, "kind": PositionOpened.kind})
    if opened.is_empty():
        raise LedgerError(f"there is no position {position_id}")
    opened_at: datetime = opened.item(0, "effective_at")
    moment = effective_at or max(now, opened_at)
    if moment < opened_at:
        raise LedgerError(f"position {position_id} was not open before {opened_at}")
    # Whatever ended it, even with a later effect, is not ended a second time.
    (row,) = (
        positions_as_of(store.read(LEDGER), datetime.max.replace(tzinfo=UTC))
        .filter(pl.col("position_id") == position_id)
        .iter_rows(named=True)
    )
    if row["status"] != "OPEN":
        raise LedgerError(f"position {position_id} is {row['status']} since {row['closed_at']}")
    return moment


def _record(store: LedgerStore, event: Event) -> Recorded:
    return Recorded(event.event_id, append(store, [event]) > 0)
