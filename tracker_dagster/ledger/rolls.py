"""Rolls: one position ended and another opened in its place, both or neither."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.commands import LedgerError, LedgerStore, append
from tracker_dagster.ledger.events import Event, PositionClosed, PositionOpened
from tracker_dagster.ledger.facts import made
from tracker_dagster.ledger.folds import book_as_of
from tracker_dagster.ledger.position_commands import (
    HELD,
    Recorded,
    end_of,
    require_floor,
    require_same_facts,
    require_unexpired,
)
from tracker_dagster.schemas.system import LEDGER


@dataclass(frozen=True, slots=True)
class Rolled:
    """A roll as recorded.

    Attributes:
        closed_id: the position that ended.
        opened: the position that took its place.
        net_credit: dollars for the whole position, after fees; negative for a debit.
    """

    closed_id: str
    opened: Recorded
    net_credit: float


def roll_position(
    store: LedgerStore,
    position_id: str,
    *,
    symbol: str,
    close_price: float,
    open_price: float,
    day: date,
    decision_at: datetime,
    now: datetime,
    actor: str,
    close_fees: float = 0.0,
    open_fees: float = 0.0,
    floor_at_basis: bool = False,
    effective_at: datetime | None = None,
) -> Rolled:
    """End a position and open ``symbol`` in its place, both or neither, at one instant.

    Account, contracts, shares and the stock leg with its basis go over to the new position, so
    that the old one's result is that of its option alone. Rolling the same again changes nothing.

    Args:
        store: the ledger.
        position_id: the position to end.
        symbol: OPRA ticker on the same underlying, with the same right.
        close_price: dollars a share paid to end the old contract (got, where it was bought).
        open_price: dollars a share got for the new one.
        day: session of the decision.
        decision_at: instant of the decision.
        now: when this is recorded.
        actor: who records it.
        close_fees: dollars, of the ending.
        open_fees: dollars, of the opening.
        floor_at_basis: refuse a call on held shares whose strike is below their average basis.
        effective_at: when both were filled; ``now``, but after the decision, when None.

    Raises:
        LedgerError: no such open position, another underlying or right, the same contract, one
            that expires earlier or has expired, or that was opened on this decision by itself; a
            strike below the basis; not an option symbol, or a negative price.
    """
    book = book_as_of(store.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    ever = book.positions
    old = ever.get(position_id)
    if old is None:
        raise LedgerError(f"there is no position {position_id}")
    moment = effective_at or max(now, old["opened_at"], decision_at + timedelta(microseconds=1))
    if moment <= decision_at:
        raise LedgerError(f"filled at {moment}, before the decision at {decision_at}")
    opened = made(
        PositionOpened,
        account=old["account"],
        day=day,
        decision_at=decision_at,
        symbol=symbol,
        quantity=old["quantity"],
        price=open_price,
        shares=old["shares"],
        stock_basis=old["stock_basis"],
        stock_source=old["stock_source"],
        rolled_from=position_id,
        fees=open_fees,
        effective_at=moment,
        recorded_at=now,
        actor=actor,
    )
    credit = old["quantity"] * old["shares"] * (close_price - open_price) - close_fees - open_fees
    if old["rolled_to"] == opened.event_id:
        there = store.read(LEDGER, where={"event_id": opened.event_id})
        require_same_facts(Event.from_row(there.row(0, named=True)), opened)
        return Rolled(position_id, Recorded(opened.event_id, is_new=False), credit)
    _require_roll(old, opened, ever)
    if floor_at_basis and opened.stock_source == HELD:
        require_floor(opened, book.lots.get((opened.account, opened.ticker), []))
    closed = made(
        PositionClosed,
        position_id=position_id,
        price=close_price,
        rolled_to=opened.event_id,
        fees=close_fees,
        effective_at=end_of(store, position_id, now, moment),
        recorded_at=now,
        actor=actor,
    )
    append(store, [closed, opened])
    return Rolled(position_id, Recorded(opened.event_id, is_new=True), credit)


def _require_roll(
    old: dict[str, Any], opened: PositionOpened, ever: dict[str, dict[str, Any]]
) -> None:
    if opened.symbol == old["symbol"]:
        raise LedgerError(f"{opened.symbol} is what is held: roll to another contract")
    if opened.ticker != old["ticker"] or opened.symbol[-9] != old["right"]:
        raise LedgerError(
            f"a roll stays on {old['ticker']} and its {_RIGHTS[old['right']]}: {opened.symbol} "
            "would be another trade, close and open instead"
        )
    expiry = parse_option_symbol(opened.symbol).expiry
    if expiry < old["expiry"]:
        raise LedgerError(
            f"{opened.symbol} expires before {old['symbol']} does: a roll goes to the same expiry "
            "or a later one"
        )
    require_unexpired(old["symbol"], opened.effective_at)
    require_unexpired(opened.symbol, opened.effective_at)
    if opened.event_id in ever:
        raise LedgerError(
            f"{opened.symbol} was opened on this decision by itself "
            f"({opened.account}, position {opened.event_id[:12]})"
        )


_RIGHTS = {"C": "calls", "P": "puts"}
