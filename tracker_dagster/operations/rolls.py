"""Rolls by hand: one contract ended and another opened in its place, at the quotes captured."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.events import Event, PositionClosed, PositionOpened
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.position_commands import Recorded
from tracker_dagster.ledger.rolls import Rolled, roll_position
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.endings import find_open, require_trading, split_since
from tracker_dagster.operations.positions import undecided
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import current_session
from tracker_dagster.warehouse import Warehouse


@dataclass(frozen=True)
class RollOrder:
    """A roll; None is looked up.

    Attributes:
        position_id: the position, or the beginning of its identity if no other begins so.
        to: contract to open; what the monitor proposed last when None.
        close_price: premium a share to end the old contract; the last captured ask (bid, where it
            was bought) when None.
        open_price: premium a share of the new one; the last captured bid (ask) when None.
        fees: dollars for both legs together, half of them each; none when None.
        floor_at_basis: refuse a call on held shares whose strike is below their average basis.
    """

    position_id: str
    to: str | None = None
    close_price: float | None = None
    open_price: float | None = None
    fees: float | None = None
    floor_at_basis: bool = False


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
            was given; a split since the opening.
        LedgerError: it was rolled otherwise already; see `roll_position`.
    """
    done = _rolled_already(warehouse, order, at)
    if done is not None:
        return done
    position = find_open(warehouse, order.position_id, now, at)
    moment = at or max(now, position["opened_at"])
    require_trading(position, moment)
    split = split_since(warehouse, position, moment)
    if split is not None:
        raise UsageError(
            f"{position['ticker']} split {split}, after {position['symbol']} was opened: close it "
            "and open the other instead"
        )
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
    fees = order.fees or 0.0
    rolled = roll_position(
        warehouse,
        position["position_id"],
        symbol=symbol,
        close_price=close_price,
        open_price=open_price,
        day=day,
        decision_at=_own_decision(warehouse, position["account"], symbol, moment),
        now=now,
        actor=actor,
        close_fees=fees / 2,
        open_fees=fees / 2,
        floor_at_basis=order.floor_at_basis,
        effective_at=moment,
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


def _own_decision(warehouse: Warehouse, account: str, symbol: str, filled_at: datetime) -> datetime:
    """The decision to do what was filled: right before it, and that of no other position."""
    ever = positions_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    mine = ever.filter((pl.col("account") == account) & (pl.col("symbol") == symbol))
    return undecided(filled_at, mine)


def _rolled_already(warehouse: Warehouse, order: RollOrder, at: datetime | None) -> RollDone | None:
    """The roll as it was recorded before, None where the position was not rolled so.

    Raises:
        LedgerError: it was rolled at another time, price or fee than is given.
    """
    wanted = order.position_id.strip().lower()
    ever = positions_as_of(warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    found = ever.filter(pl.col("position_id").str.starts_with(wanted))
    if not wanted or found.height != 1 or found["rolled_to"][0] is None:
        return None
    old = found.row(0, named=True)
    new = ever.row(by_predicate=pl.col("position_id") == old["rolled_to"], named=True)
    events = {
        row["event_id"] if row["kind"] == PositionOpened.kind else "closed": Event.from_row(row)
        for row in warehouse.read(LEDGER).iter_rows(named=True)
        if row["event_id"] == new["position_id"]
        or (row["kind"] == PositionClosed.kind and old["position_id"] in row["payload"])
    }
    closed, opened = events["closed"], events[new["position_id"]]
    assert isinstance(closed, PositionClosed)
    assert isinstance(opened, PositionOpened)
    fees = closed.fees + opened.fees
    facts = {
        "--to": (_symbol(order.to) if order.to else None, new["symbol"]),
        "--close-price": (order.close_price, old["close_price"]),
        "--open-price": (order.open_price, new["open_price"]),
        "--fees": (order.fees, fees),
        "--at": (at, old["closed_at"]),
    }
    for name, (asked, recorded) in facts.items():
        if asked is not None and asked != recorded:
            raise LedgerError(
                f"{old['symbol']} was rolled into {new['symbol']} on {old['closed_at']:%F} with "
                f"{name} {recorded}, not {asked} ({old['account']}, {new['position_id'][:12]})"
            )
    cash = old["quantity"] * old["shares"] * (old["close_price"] - new["open_price"])
    return RollDone(
        old["symbol"],
        new["symbol"],
        old["quantity"],
        old["account"],
        old["close_price"],
        new["open_price"],
        Rolled(old["position_id"], Recorded(new["position_id"], is_new=False), cash - fees),
    )


def _symbol(text: str) -> str:
    name = text.strip().upper()
    return name if name.startswith("O:") else f"O:{name}"


def _target(warehouse: Warehouse, position: dict[str, Any], to: str | None, day: date) -> str:
    if to is not None:
        return _symbol(to)
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
