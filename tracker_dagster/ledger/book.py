"""The state of the books after each event: positions in options, lots of shares, what left them.

Shares come into an account by a broker's list, a purchase, or an assignment, and leave it by a
sale or an assignment, the oldest first (FIFO, what brokers do where nothing else is asked for).
Lots whose date is not known count as the oldest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from tracker_dagster import trading_calendar
from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.ledger.events import (
    Event,
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
)
from tracker_dagster.ledger.holding_events import HoldingsImported, SharesBought, SharesSold

#: Fewer shares than this are rounding of fractions, not shares.
NO_SHARES = 1e-9

#: How shares came into an account.
IMPORTED, BOUGHT, ASSIGNED = "imported", "bought", "assigned"


@dataclass(frozen=True, slots=True)
class OpenLot:
    """Shares of one lot that are still there; ``basis`` in dollars a share.

    ``recorded_at`` is when the event took effect that they are known from.
    """

    shares: float
    basis: float | None
    acquired_on: date | None
    source: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Sale:
    """Shares of one lot that left an account, and for what.

    ``gain`` in dollars, null where the basis is not known; ``position_id`` where an assignment
    took them; ``source`` is how they had come.
    """

    account: str
    ticker: str
    shares: float
    basis: float | None
    acquired_on: date | None
    source: str
    price: float
    sold_at: datetime
    position_id: str | None
    gain: float | None


@dataclass
class Book:
    """What the events applied so far come to; `apply` them in their order."""

    positions: dict[str, dict[str, Any]] = field(default_factory=dict)
    lots: dict[tuple[str, str], list[OpenLot]] = field(default_factory=dict)
    sales: list[Sale] = field(default_factory=list)

    def apply(self, event_id: str, event: Event) -> None:
        """Take one event into account; kinds that are not about the book change nothing."""
        match event:
            case PositionOpened():
                self.positions.setdefault(event_id, _opened(event_id, event))
            case PositionClosed() | PositionExpired() | PositionAssigned():
                position = self.positions.get(event.position_id)
                if position is not None and position["status"] == "OPEN":
                    self._end(position, event)
            case HoldingsImported():
                self._import(event)
            case SharesBought():
                basis = event.price + event.fees / event.shares
                self._add(
                    (event.account, event.ticker), event.shares, basis, event.effective_at, BOUGHT
                )
            case SharesSold():
                price = event.price - event.fees / event.shares
                key = event.account, event.ticker
                self._take(key, event.shares, price, event.effective_at, None)

    def _import(self, event: HoldingsImported) -> None:
        for key in [key for key in self.lots if key[0] == event.account]:
            del self.lots[key]
        at = event.effective_at
        for lot in event.lots:
            mine = self.lots.setdefault((event.account, lot.ticker), [])
            mine.append(OpenLot(lot.shares, lot.basis, lot.acquired_on, IMPORTED, at))
        for mine in self.lots.values():
            mine.sort(key=_age)

    def _add(
        self, key: tuple[str, str], shares: float, basis: float, at: datetime, source: str
    ) -> None:
        mine = self.lots.setdefault(key, [])
        mine.append(OpenLot(shares, basis, trading_calendar.trading_date(at), source, at))
        mine.sort(key=_age)

    def _take(
        self,
        key: tuple[str, str],
        shares: float,
        price: float,
        at: datetime,
        position_id: str | None,
    ) -> float | None:
        """Let the oldest shares leave at ``price``; their gain, None where it is not known."""
        mine = self.lots.get(key, [])
        gain: float | None = 0.0
        while mine and shares > NO_SHARES:
            lot = mine[0]
            left = min(lot.shares, shares)
            of_lot = None if lot.basis is None else left * (price - lot.basis)
            gain = None if gain is None or of_lot is None else gain + of_lot
            self.sales.append(
                Sale(*key, left, lot.basis, lot.acquired_on, lot.source, price, at,
                     position_id, of_lot)
            )  # fmt: skip
            shares -= left
            rest = lot.shares - left
            mine[:1] = [replace(lot, shares=rest)] if rest > NO_SHARES else []
        if not mine:
            self.lots.pop(key, None)
        return gain if shares <= NO_SHARES else None

    def _end(
        self,
        position: dict[str, Any],
        event: PositionClosed | PositionExpired | PositionAssigned,
    ) -> None:
        delivered = position["quantity"] * position["shares"]
        position["closed_at"] = event.effective_at
        # What each share of the position's own stock leg was sold for.
        sold_at: float | None = None
        # Dollars that the end makes on shares; None where that is not known.
        gain: float | None = 0.0
        match event:
            case PositionClosed():
                position["status"] = "CLOSED"
                position["close_price"] = event.price
                position["rolled_to"] = event.rolled_to
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
                arriving = delivered if position["right"] == "C" else -delivered
                position["stock_cash"] = -arriving * position["strike"]
                sold_at = position["strike"]
                if not has_stock_leg(position):
                    gain = self._deliver(position, arriving, event.effective_at)
        if has_stock_leg(position) and position["rolled_to"] is None:
            gain = None if sold_at is None else -delivered * (sold_at - position["stock_basis"])
            if sold_at is not None:
                position["stock_cash"] = -delivered * sold_at
        position["realised_cash"] = position["option_cash"] + position["stock_cash"]
        if gain is not None:
            position["realised_pnl"] = position["option_cash"] + gain

    def _deliver(self, position: Mapping[str, Any], arriving: float, at: datetime) -> float | None:
        """Shares change hands at the strike; what the account gains on those that leave it."""
        key = position["account"], position["ticker"]
        strike = position["strike"]
        if arriving > 0:
            # At the strike: the premium is the option's result, and not counted a second time.
            self._add(key, arriving, strike, at, ASSIGNED)
            return 0.0
        return self._take(key, -arriving, strike, at, position["position_id"])


def has_stock_leg(position: Mapping[str, Any]) -> bool:
    """Whether shares bought with the position belong to it alone: a buy-write.

    Calls on shares that the account holds have none: those shares stay in the account.
    """
    covered = position["right"] == "C" and position["quantity"] < 0
    bought = position.get("stock_source") != "held"
    return covered and bought and position["stock_basis"] is not None


def _age(lot: OpenLot) -> tuple[bool, date]:
    return lot.acquired_on is not None, lot.acquired_on or date.min


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
        "stock_source": event.stock_source,
        "fees": event.fees,
        "opened_at": event.effective_at,
        "decision_at": event.decision_at,
        "rolled_from": event.rolled_from,
        "status": "OPEN",
        "closed_at": None,
        "close_price": None,
        "rolled_to": None,
        "option_cash": -event.quantity * event.shares * event.price - event.fees,
        "stock_cash": 0.0,
        "realised_cash": None,
        "realised_pnl": None,
    }
