"""What people can do to the universe. Every command only adds events; nothing here deletes."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from pydantic import TypeAdapter, ValidationError

from tracker_dagster.ledger.events import (
    Event,
    Ticker,
    UniverseDisabled,
    UniverseEnabled,
    UniverseListed,
    events_frame,
)
from tracker_dagster.ledger.folds import in_effect, universe_as_of
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.system import LEDGER

#: When the tickers of a ledger's first sync join the universe: the first session of the calendar.
#: This is hindsight (nobody had chosen them in 2003), so that days loaded later have a universe.
CANONICAL_SINCE = datetime(2003, 9, 10, tzinfo=UTC)

_EVER = datetime(9999, 1, 1, tzinfo=UTC)

#: Category of a ticker that was added without one.
UNCATEGORIZED = "UNCATEGORIZED"

#: Who records a sync. Syncs from Python used to say so.
SYNC = "sync"
_SYNCS = frozenset({SYNC, "python"})

_TICKER = TypeAdapter(Ticker)


class LedgerStore(Protocol):
    """Where the ledger lies: a warehouse, or a stand-in for backtests."""

    def read(self, table: Table, *, where: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """Rows of a table."""

    def append_events(self, events: pl.DataFrame) -> int:
        """Add the events that are not there yet; how many were new."""


class LedgerError(ValueError):
    """A command that makes no sense for what the ledger holds."""


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What a sync changed: tickers newly listed, moved to another category, left as they were."""

    listed: int
    recategorised: int
    unchanged: int


def sync_universe(store: LedgerStore, csv_path: Path, now: datetime) -> SyncResult:
    """List the tickers of ``universe.csv`` (columns ticker, category).

    Tickers that are not in the file stay, nobody's ``enabled`` changes, and a category that a
    person chose stays. The tickers of the first sync count from `CANONICAL_SINCE`; what a later
    one finds new in the file, ticker or category, from ``now``.

    Raises:
        LedgerError: the file holds what cannot be a ticker, or one without a category.
    """
    with csv_path.open(newline="") as handle:
        wanted = {
            ticker_of(row["ticker"]): category_of(row["category"] or "")
            for row in csv.DictReader(handle)
        }
    ledger = store.read(LEDGER)
    known = _last_listings(ledger)
    is_first = not (
        (ledger["kind"] == UniverseListed.kind) & (ledger["effective_at"] == CANONICAL_SINCE)
    ).any()
    revisions = revisions_of(ledger)
    events = [
        UniverseListed(
            ticker=ticker,
            category=category,
            revision=revisions[ticker],
            effective_at=CANONICAL_SINCE if is_first and ticker not in known else now,
            recorded_at=now,
            actor=SYNC,
        )
        for ticker, category in sorted(wanted.items())
        if ticker not in known
        or (known[ticker].category != category and _is_of_a_sync(known[ticker]))
    ]
    append(store, events)
    listed = sum(event.ticker not in known for event in events)
    return SyncResult(listed, len(events) - listed, len(wanted) - len(events))


def _last_listings(ledger: pl.DataFrame) -> dict[str, UniverseListed]:
    """Each ticker's last listing, whatever the clock says: a replay puts it back."""
    events = in_effect(ledger, _EVER, None, prefix=f"{UniverseListed.kind}$")
    return {event.ticker: event for _, event in events if isinstance(event, UniverseListed)}


def _is_of_a_sync(event: UniverseListed) -> bool:
    # Commands used to sync under their own name: only the date tells theirs from a person's.
    return event.actor in _SYNCS or event.effective_at == CANONICAL_SINCE


def add(
    store: LedgerStore,
    ticker: str,
    now: datetime,
    actor: str,
    category: str | None = None,
    reference: str | None = None,
) -> bool:
    """Bring ``ticker`` into the universe from ``now`` on, or move it to ``category``.

    Args:
        store: the ledger.
        ticker: in any case.
        now: when it takes effect and is recorded.
        actor: who adds it.
        category: like MEGA_TECH, in any case; `UNCATEGORIZED` for a new ticker when None.
        reference: what the vendor's reference says the ticker is.

    Returns:
        Whether anything changed.

    Raises:
        LedgerError: it cannot be a ticker, or the category is empty.
    """
    ticker = ticker_of(ticker)
    category = None if category is None else category_of(category)
    ledger = store.read(LEDGER)
    known = categories_at(ledger, now).get(ticker)
    if known is not None and category in (None, known):
        return False
    event = UniverseListed(
        ticker=ticker,
        category=category or UNCATEGORIZED,
        reference=reference,
        revision=revisions_of(ledger)[ticker],
        effective_at=now,
        recorded_at=now,
        actor=actor,
    )
    return append(store, [event]) > 0


def enable(store: LedgerStore, ticker: str, now: datetime, actor: str) -> bool:
    """Make picks for ``ticker`` from ``now`` on; whether that changed anything."""
    return _switch(store, ticker, now, actor, enabled=True)


def disable(store: LedgerStore, ticker: str, now: datetime, actor: str) -> bool:
    """Make no picks for ``ticker`` from ``now`` on; whether that changed anything."""
    return _switch(store, ticker, now, actor, enabled=False)


def _switch(store: LedgerStore, ticker: str, now: datetime, actor: str, *, enabled: bool) -> bool:
    ticker = ticker_of(ticker)
    ledger = store.read(LEDGER)
    members = universe_as_of(ledger, now)
    state = members.filter(pl.col("ticker") == ticker)
    if state.is_empty():
        raise LedgerError(f"{ticker} is not in the universe: add it first")
    if state.item(0, "enabled") is enabled:
        return False
    kind = UniverseEnabled if enabled else UniverseDisabled
    event = kind(
        ticker=ticker,
        revision=revisions_of(ledger)[ticker],
        effective_at=now,
        recorded_at=now,
        actor=actor,
    )
    return append(store, [event]) > 0


def ticker_of(text: str) -> str:
    """``text`` as a ticker, upper-case.

    Raises:
        LedgerError: it cannot be one.
    """
    try:
        return _TICKER.validate_python(text)
    except ValidationError:
        raise LedgerError(f"not a ticker: {text!r}") from None


def category_of(text: str) -> str:
    """``text`` as a category, upper-case: lanes and funds go by it.

    Raises:
        LedgerError: it is empty.
    """
    category = text.strip().upper()
    if not category:
        raise LedgerError("a category cannot be empty")
    return category


def categories_at(ledger: pl.DataFrame, now: datetime) -> dict[str, str]:
    """Members of the universe at ``now``: ticker to category."""
    return dict(universe_as_of(ledger, now).select("ticker", "category").iter_rows())


def revisions_of(ledger: pl.DataFrame) -> Counter[str]:
    """How many changes to each ticker's membership the ledger holds, proposals included."""
    kinds = pl.col("kind")
    changes = ledger.filter(
        kinds.str.starts_with("universe_") | kinds.str.starts_with("candidate_")
    )
    return Counter(changes["payload"].str.json_path_match("$.ticker"))


def append(store: LedgerStore, events: Sequence[Event]) -> int:
    """Add the events that the ledger does not hold yet, all or none; how many were new."""
    return store.append_events(events_frame(events)) if events else 0
