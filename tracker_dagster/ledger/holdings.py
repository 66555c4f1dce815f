"""Pure folds of the shares that accounts hold: holdings, their lots, and what was sold."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import polars as pl

from tracker_dagster.ledger.book import NO_SHARES, Book, OpenLot
from tracker_dagster.ledger.folds import book_as_of
from tracker_dagster.schemas.base import INSTANT

#: Columns of `holdings_as_of`.
HOLDINGS_FOLD: dict[str, Any] = {
    "account": pl.String,
    "ticker": pl.String,
    "lots": pl.Int64,
    "shares": pl.Float64,
    "average_basis": pl.Float64,
    "first_acquired_on": pl.Date,
    "covered": pl.Float64,
    "free": pl.Float64,
    "recorded_at": INSTANT,
}

#: Columns of `lots_as_of`.
LOTS_FOLD: dict[str, Any] = {
    "account": pl.String,
    "ticker": pl.String,
    "number": pl.Int64,
    "shares": pl.Float64,
    "basis": pl.Float64,
    "acquired_on": pl.Date,
    "source": pl.String,
    "recorded_at": INSTANT,
}

#: Columns of `sales_as_of`.
SALES_FOLD: dict[str, Any] = {
    "account": pl.String,
    "ticker": pl.String,
    "shares": pl.Float64,
    "basis": pl.Float64,
    "acquired_on": pl.Date,
    "source": pl.String,
    "price": pl.Float64,
    "sold_at": INSTANT,
    "position_id": pl.String,
    "gain": pl.Float64,
}


def holdings_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Shares of each account and ticker at ``moment``, sorted; shares of buy-writes are not here.

    Args:
        ledger: rows of the ledger table, in any order.
        moment: events in effect by then count.
        known_at: when given, only events recorded by then count.

    Returns:
        `HOLDINGS_FOLD`: ``average_basis`` in dollars a share, null where the basis of any lot is
        not known; ``covered`` shares that open calls may call away; ``free`` the others, negative
        where more calls are open than shares are there; ``recorded_at`` since when the oldest lot
        stands in the ledger.
    """
    return holdings_of(book_as_of(ledger, moment, known_at=known_at))


def holdings_of(book: Book) -> pl.DataFrame:
    """`holdings_as_of` of a book."""
    covered = _covered(book)
    rows = []
    for account, ticker in sorted({*book.lots, *covered}):
        lots = book.lots.get((account, ticker), [])
        shares = sum(lot.shares for lot in lots)
        called = covered.get((account, ticker), 0.0)
        dates = [lot.acquired_on for lot in lots if lot.acquired_on is not None]
        rows.append(
            {
                "account": account,
                "ticker": ticker,
                "lots": len(lots),
                "shares": shares,
                "average_basis": average_basis(lots),
                "first_acquired_on": min(dates, default=None),
                "covered": called,
                "free": shares - called,
                "recorded_at": min((lot.recorded_at for lot in lots), default=None),
            }
        )
    return pl.DataFrame(rows, schema=HOLDINGS_FOLD, orient="row")


def average_basis(lots: list[OpenLot]) -> float | None:
    """Dollars a share over lots; None without lots, and where the basis of one is not known."""
    shares = sum(lot.shares for lot in lots)
    bases = [lot.basis for lot in lots]
    if shares <= NO_SHARES or any(basis is None for basis in bases):
        return None
    return sum(lot.shares * (lot.basis or 0.0) for lot in lots) / shares


def lots_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Every open lot, those of a ticker that leave first at the top; `holdings_as_of` in detail."""
    book = book_as_of(ledger, moment, known_at=known_at)
    rows = [
        {"account": account, "ticker": ticker, "number": number, **asdict(lot)}
        for (account, ticker), lots in sorted(book.lots.items())
        for number, lot in enumerate(lots, start=1)
    ]
    return pl.DataFrame(rows, schema=LOTS_FOLD, orient="row")


def sales_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Shares that left accounts, lot by lot in order; arguments as `holdings_as_of`."""
    sales = book_as_of(ledger, moment, known_at=known_at).sales
    return pl.DataFrame([asdict(sale) for sale in sales], schema=SALES_FOLD, orient="row")


def _covered(book: Book) -> dict[tuple[str, str], float]:
    """Shares of the accounts that open calls may call away."""
    covered: dict[tuple[str, str], float] = {}
    for position in book.positions.values():
        sold_call = position["right"] == "C" and position["quantity"] < 0
        if position["status"] != "OPEN" or not sold_call:
            continue
        key = position["account"], position["ticker"]
        # Calls that older versions recorded without a word on shares rest on those there are.
        silent = position["stock_source"] is None and key in book.lots
        if position["stock_source"] == "held" or silent:
            called = -position["quantity"] * position["shares"]
            covered[key] = covered.get(key, 0.0) + called
    return covered
