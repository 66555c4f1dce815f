"""Whom data is fetched for: the enabled tickers, and those that somebody still holds."""

from __future__ import annotations

from tracker_dagster.assets.universe import enabled_tickers
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.instruments import INDEX_ROOTS
from tracker_dagster.ledger.folds import book_as_of
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import session_on

#: They have captures of their own.
_INDICES = frozenset(INDEX_ROOTS.values())


def held_tickers(run: DayRun) -> list[str]:
    """Tickers of open positions and of shares held at the day's close, or now; sorted.

    As recorded by then: what is entered later with hindsight was nobody's to fetch.
    """
    moment = min(session_on(run.day).close, run.now)
    book = book_as_of(run.warehouse.read(LEDGER), moment, known_at=moment)
    held = {p["ticker"] for p in book.positions.values() if p["status"] == "OPEN"}
    held |= {ticker for _, ticker in book.lots}
    return sorted(held - _INDICES)


def followed_tickers(run: DayRun) -> list[str]:
    """Enabled tickers, and held ones that have left the universe or are disabled; sorted."""
    return sorted({*enabled_tickers(run), *held_tickers(run)})
