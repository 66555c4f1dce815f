"""The wheel, folded: puts sold until shares arrive, calls on them until they are called away."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import polars as pl

from tracker_dagster.ledger.book import NO_SHARES, Book
from tracker_dagster.ledger.events import Event, PositionAssigned, PositionOpened
from tracker_dagster.ledger.folds import BOOK_EVENTS, in_effect
from tracker_dagster.ledger.holding_events import HoldingsImported, SharesSold
from tracker_dagster.ledger.holdings import average_basis
from tracker_dagster.schemas.base import INSTANT
from tracker_dagster.trading_calendar import trading_date

#: How a cycle stands: a put or a call is open, shares wait for a call, cash for the next put; or
#: it is over: the shares were called away, were sold, or are gone from the broker's list.
STATUSES = ("PUT_OPEN", "CALL_OPEN", "SHARES", "CASH", "CALLED_AWAY", "SOLD", "GONE")

#: Columns of `wheel_cycles`.
CYCLES_FOLD: dict[str, Any] = {
    "account": pl.String,
    "ticker": pl.String,
    "cycle": pl.Int64,
    "status": pl.String,
    "started_on": pl.Date,
    "ended_on": pl.Date,
    "days": pl.Int64,
    "puts_sold": pl.Int64,
    "puts_assigned": pl.Int64,
    "calls_sold": pl.Int64,
    "calls_assigned": pl.Int64,
    "shares": pl.Float64,
    "average_basis": pl.Float64,
    "break_even": pl.Float64,
    "premiums": pl.Float64,
    "stock_result": pl.Float64,
    "total": pl.Float64,
    "ended_at": INSTANT,
}


@dataclass
class _Cycle:
    number: int
    started_at: datetime
    position_ids: list[str] = field(default_factory=list)
    had_shares: bool = False
    #: Sales of the book before it began: they belong to others.
    sales_before: int = 0
    ended_at: datetime | None = None
    status: str = ""
    row: dict[str, Any] = field(default_factory=dict)


def wheel_cycles(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Every cycle of the wheel by ``moment``, by account and ticker, the oldest first.

    A cycle begins with a put that is sold, or with a call on shares that the account holds, and
    takes in every such option until all shares of the ticker have left the account and none of the
    options is open. Puts that expire leave it waiting in cash for the next one. Buy-writes, whose
    shares belong to one position, are no wheel.

    Args:
        ledger: rows of the ledger table, in any order.
        moment: events in effect by then count; an open cycle lasts until then.
        known_at: when given, only events recorded by then count.

    Returns:
        `CYCLES_FOLD`: contracts sold and assigned; ``premiums`` in dollars are the cash of all its
        options so far, less fees and what it cost to end them; ``stock_result`` what the shares
        that left brought over what they had cost, null where that is not known; ``total`` both;
        ``break_even`` in dollars a share is the average basis of the shares still there less the
        premiums and gains so far.
    """
    book = Book()
    cycles: dict[tuple[str, str], list[_Cycle]] = {}
    for event_id, event in in_effect(ledger, moment, known_at, prefix=BOOK_EVENTS):
        before = len(book.sales)
        held_before = set(book.lots)
        book.apply(event_id, event)
        _begin(cycles, book, event_id, event, before)
        for key, mine in cycles.items():
            running = mine[-1]
            if running.ended_at is None:
                _follow(key, running, book, event, vanished=key in held_before)
    rows = [
        cycle.row or _row(key, cycle, book, moment)
        for key in sorted(cycles)
        for cycle in cycles[key]
    ]
    return pl.DataFrame(rows, schema=CYCLES_FOLD, orient="row")


def _begin(
    cycles: dict[tuple[str, str], list[_Cycle]],
    book: Book,
    event_id: str,
    event: Event,
    sales_before: int,
) -> None:
    if not isinstance(event, PositionOpened) or event_id not in book.positions:
        return
    position = book.positions[event_id]
    sold_put = position["right"] == "P" and position["quantity"] < 0
    if not sold_put and position["stock_source"] != "held":
        return
    mine = cycles.setdefault((event.account, event.ticker), [])
    if not mine or mine[-1].ended_at is not None:
        mine.append(_Cycle(len(mine) + 1, event.effective_at, sales_before=sales_before))
    if event_id not in mine[-1].position_ids:
        mine[-1].position_ids.append(event_id)


def _follow(
    key: tuple[str, str], cycle: _Cycle, book: Book, event: Event, *, vanished: bool
) -> None:
    """End the cycle where the event has taken the last of its shares and options."""
    cycle.had_shares |= key in book.lots
    is_open = any(book.positions[each]["status"] == "OPEN" for each in cycle.position_ids)
    if is_open or key in book.lots or not (cycle.had_shares or vanished):
        return
    match event:
        case PositionAssigned():
            status = "CALLED_AWAY"
        case SharesSold():
            status = "SOLD"
        case HoldingsImported():
            status = "GONE"
        case _:
            # The last option has ended after the last share left.
            status = "SOLD"
    cycle.status, cycle.ended_at = status, event.effective_at
    cycle.row = _row(key, cycle, book, event.effective_at)


def _row(key: tuple[str, str], cycle: _Cycle, book: Book, moment: datetime) -> dict[str, Any]:
    options = [book.positions[each] for each in cycle.position_ids]
    lots = book.lots.get(key, [])
    shares = sum(lot.shares for lot in lots)
    gains = [
        sale.gain for sale in book.sales[cycle.sales_before :] if (sale.account, sale.ticker) == key
    ]
    unknown = cycle.status == "GONE" or any(gain is None for gain in gains)
    stock_result = None if unknown else float(sum(gain or 0.0 for gain in gains))
    premiums = float(sum(option["option_cash"] for option in options))
    total = None if stock_result is None else premiums + stock_result
    basis = average_basis(lots)

    def contracts(right: str, status: str | None = None) -> int:
        return sum(
            -option["quantity"]
            for option in options
            if option["right"] == right and status in (None, option["status"])
        )

    started_on, until = trading_date(cycle.started_at), trading_date(cycle.ended_at or moment)
    return {
        "account": key[0],
        "ticker": key[1],
        "cycle": cycle.number,
        "status": cycle.status or _status(options, shares),
        "started_on": started_on,
        "ended_on": None if cycle.ended_at is None else until,
        "days": _days(started_on, until),
        "puts_sold": contracts("P"),
        "puts_assigned": contracts("P", "ASSIGNED"),
        "calls_sold": contracts("C"),
        "calls_assigned": contracts("C", "ASSIGNED"),
        "shares": shares,
        "average_basis": basis,
        "break_even": None
        if basis is None or total is None or shares <= NO_SHARES
        else basis - total / shares,
        "premiums": premiums,
        "stock_result": stock_result,
        "total": total,
        "ended_at": cycle.ended_at,
    }


def _status(options: list[dict[str, Any]], shares: float) -> str:
    rights = {option["right"] for option in options if option["status"] == "OPEN"}
    if "C" in rights:
        return "CALL_OPEN"
    if "P" in rights:
        return "PUT_OPEN"
    return "SHARES" if shares > NO_SHARES else "CASH"


def _days(first: date, last: date) -> int:
    return (last - first).days
