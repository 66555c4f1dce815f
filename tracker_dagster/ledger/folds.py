"""Pure folds of the ledger: what was the case at a moment, by what was known then.

Events count from their ``effective_at`` on, and are applied in the order that `Event.order`
and their identity give them, so that the same events always give the same answer.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.ledger.book import Book
from tracker_dagster.ledger.events import (
    Event,
    PositionOpened,
    UniverseDisabled,
    UniverseEnabled,
    UniverseListed,
)
from tracker_dagster.schemas.base import INSTANT

#: Who records what became of positions at their expiry.
SETTLEMENT = "settlement"

#: Beginnings of the kinds of events that the book is folded from.
BOOK_EVENTS = "position_|holdings_|shares_"

UNIVERSE_FOLD = {"ticker": pl.String, "category": pl.String, "enabled": pl.Boolean}

#: Columns of `positions_as_of`; dollars unless said otherwise.
POSITIONS_FOLD: dict[str, Any] = {
    "position_id": pl.String,
    "account": pl.String,
    "symbol": pl.String,
    "ticker": pl.String,
    "expiry": pl.Date,
    "right": pl.String,
    "strike": pl.Float64,
    "quantity": pl.Int64,
    "shares": pl.Float64,
    "open_price": pl.Float64,
    "stock_basis": pl.Float64,
    "stock_source": pl.String,
    "fees": pl.Float64,
    "opened_at": INSTANT,
    "decision_at": INSTANT,
    "rolled_from": pl.String,
    "status": pl.String,
    "closed_at": INSTANT,
    "close_price": pl.Float64,
    "rolled_to": pl.String,
    "option_cash": pl.Float64,
    "stock_cash": pl.Float64,
    "realised_cash": pl.Float64,
    "realised_pnl": pl.Float64,
}


def listed_since(ledger: pl.DataFrame, moment: datetime) -> dict[str, datetime]:
    """When each member of the universe at ``moment`` was listed first."""
    since: dict[str, datetime] = {}
    for _, event in in_effect(ledger, moment, None, prefix="universe_"):
        if isinstance(event, UniverseListed):
            since.setdefault(event.ticker, event.effective_at)
    return since


def universe_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Members of the universe at ``moment``: ticker, category, enabled, sorted by ticker.

    Args:
        ledger: rows of the ledger table, in any order.
        moment: events in effect by then count.
        known_at: when given, only events recorded by then count.
    """
    category: dict[str, str] = {}
    enabled: dict[str, bool] = {}
    for _, event in in_effect(ledger, moment, known_at, prefix="universe_"):
        match event:
            case UniverseListed(ticker=ticker):
                category[ticker] = event.category
            case UniverseEnabled(ticker=ticker):
                enabled[ticker] = True
            case UniverseDisabled(ticker=ticker):
                enabled[ticker] = False
    return pl.DataFrame(
        {
            "ticker": sorted(category),
            "category": [category[ticker] for ticker in sorted(category)],
            "enabled": [enabled.get(ticker, True) for ticker in sorted(category)],
        },
        schema=UNIVERSE_FOLD,
    )


def positions_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Every position opened by ``moment`` and its state then, sorted by position_id.

    Prices are per share. ``option_cash`` is what the option has brought so far, less fees;
    ``stock_cash`` what the shares brought or cost: at the strike when assigned, at their sale
    otherwise; ``realised_cash`` their sum, null while the position is open. What the shares had
    cost before is not in them but in ``realised_pnl``: the option cash and what was made on shares
    that left. Those of a buy-write leave at its end, but for a roll, which hands them on; those of
    the account only when they are called away, the oldest first. Shares that arrive cost the
    strike and bring no result yet. It is null while open, and where what the leaving shares had
    cost or brought is not known.

    Args:
        ledger: rows of the ledger table, in any order.
        moment: events in effect by then count.
        known_at: when given, only events recorded by then count.
    """
    positions = book_as_of(ledger, moment, known_at=known_at).positions
    rows = [positions[position_id] for position_id in sorted(positions)]
    return pl.DataFrame(rows, schema=POSITIONS_FOLD, orient="row")


def book_as_of(ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None) -> Book:
    """Positions, lots of shares and what left them, after every event in effect by ``moment``."""
    book = Book()
    for event_id, event in in_effect(ledger, moment, known_at, prefix=BOOK_EVENTS):
        book.apply(event_id, event)
    return book


def in_effect(
    ledger: pl.DataFrame, moment: datetime, known_at: datetime | None, *, prefix: str
) -> list[tuple[str, Event]]:
    """Events of kinds that ``prefix`` begins that count, in order, with their identities.

    ``prefix`` is one beginning, or several with ``|`` between them.
    """
    for instant in (moment, known_at):
        if instant is not None and instant.tzinfo is None:
            raise ValueError(f"naive datetime {instant!r}: pass one with a timezone")
    counts = (pl.col("effective_at") <= moment.astimezone(UTC)) & pl.col("kind").str.contains(
        f"^(?:{prefix})"
    )
    if known_at is not None:
        counts &= pl.col("recorded_at") <= known_at.astimezone(UTC)
    # The identity as recorded, not computed anew: it must outlive changes of this code.
    events = [
        (row["event_id"], Event.from_row(row))
        for row in ledger.filter(counts).iter_rows(named=True)
    ]
    return sorted(events, key=lambda item: (*item[1].order, item[0]))


def positions_on(ledger: pl.DataFrame, day: date, moment: datetime) -> pl.DataFrame:
    """`positions_as_of` a moment of the session ``day``, the same whenever it is asked."""
    return positions_as_of(as_on(ledger, day), moment)


def as_on(ledger: pl.DataFrame, day: date) -> pl.DataFrame:
    """The ledger as those who decided on the session ``day`` had it, whenever it is asked.

    What was settled only after the turn of ``day`` (which ends as the next session opens) was
    still open to them, though it takes effect before. A position that was itself recorded later
    is hindsight altogether, and so is its end.
    """
    turn_ends = trading_calendar.session_on(trading_calendar.next_session(day)).open
    recorded_late = pl.col("recorded_at") >= turn_ends
    opened_in_time = ledger.filter((pl.col("kind") == PositionOpened.kind) & ~recorded_late)
    settled_late = (
        recorded_late
        & (pl.col("actor") == SETTLEMENT)
        & pl.col("payload")
        .str.json_path_match("$.position_id")
        .is_in(opened_in_time["event_id"].to_list())
    )
    return ledger.filter(~settled_late.fill_null(value=False))
