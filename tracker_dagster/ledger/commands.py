"""What people can do to the ledger. Every command only adds events; nothing here deletes."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from pydantic import TypeAdapter, ValidationError

from tracker_dagster.ledger.events import (
    Event,
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
    Ticker,
    UniverseDisabled,
    UniverseEnabled,
    UniverseListed,
    events_frame,
)
from tracker_dagster.ledger.folds import positions_as_of, universe_as_of
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.system import LEDGER

#: When the canonical tickers join the universe: the first session of the calendar. This is
#: hindsight (nobody had chosen them in 2003), so that days loaded later have a universe.
CANONICAL_SINCE = datetime(2003, 9, 10, tzinfo=UTC)

#: Category of a ticker that was added without one.
UNCATEGORIZED = "UNCATEGORIZED"

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


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as recorded; ``is_new`` is false when the ledger had it already."""

    event_id: str
    is_new: bool


def sync_universe(
    store: LedgerStore, csv_path: Path, now: datetime, actor: str = "sync"
) -> SyncResult:
    """List the tickers of ``universe.csv`` (columns ticker, category).

    Tickers that are not in the file stay, and nobody's ``enabled`` changes. New tickers count
    from `CANONICAL_SINCE`, a new category from ``now``.
    """
    with csv_path.open(newline="") as handle:
        wanted = {_ticker(row["ticker"]): row["category"] for row in csv.DictReader(handle)}
    ledger = store.read(LEDGER)
    known = _categories(ledger, now)
    revisions = _revisions(ledger)
    events = [
        UniverseListed(
            ticker=ticker,
            category=category,
            revision=revisions[ticker],
            effective_at=now if ticker in known else CANONICAL_SINCE,
            recorded_at=now,
            actor=actor,
        )
        for ticker, category in sorted(wanted.items())
        if known.get(ticker) != category
    ]
    _append(store, events)
    listed = sum(event.ticker not in known for event in events)
    return SyncResult(listed, len(events) - listed, len(wanted) - len(events))


def add(
    store: LedgerStore, ticker: str, now: datetime, actor: str, category: str | None = None
) -> bool:
    """Bring ``ticker`` into the universe from ``now`` on, or move it to ``category``.

    Returns:
        Whether anything changed.
    """
    ticker = _ticker(ticker)
    ledger = store.read(LEDGER)
    known = _categories(ledger, now).get(ticker)
    if known is not None and category in (None, known):
        return False
    event = UniverseListed(
        ticker=ticker,
        category=category or UNCATEGORIZED,
        revision=_revisions(ledger)[ticker],
        effective_at=now,
        recorded_at=now,
        actor=actor,
    )
    return _append(store, [event]) > 0


def enable(store: LedgerStore, ticker: str, now: datetime, actor: str) -> bool:
    """Make picks for ``ticker`` from ``now`` on; whether that changed anything."""
    return _switch(store, ticker, now, actor, enabled=True)


def disable(store: LedgerStore, ticker: str, now: datetime, actor: str) -> bool:
    """Make no picks for ``ticker`` from ``now`` on; whether that changed anything."""
    return _switch(store, ticker, now, actor, enabled=False)


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
    account: str = "paper",
    shares: float = 100.0,
    stock_basis: float | None = None,
    fees: float = 0.0,
    effective_at: datetime | None = None,
) -> Recorded:
    """Record a position opened on a decision, once: recording the same again changes nothing.

    It takes effect at ``effective_at``, by default ``now`` but after the decision in any case,
    so that deciding again for the same session finds what it found the first time.

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
        stock_basis: cost per share of the stock held against it.
        fees: dollars, for the whole position.
        effective_at: when it was filled, if known.

    Raises:
        LedgerError: the fill is not after the decision, or the contract was opened on the same
            decision with another quantity, price, basis, number of shares or fees.
        ValueError: not an option symbol, no contracts, or a negative price.
    """
    if effective_at is None:
        effective_at = max(now, decision_at + timedelta(microseconds=1))
    if effective_at <= decision_at:
        raise LedgerError(f"filled at {effective_at}, before the decision at {decision_at}")
    event = PositionOpened(
        account=account,
        day=day,
        decision_at=decision_at,
        symbol=symbol,
        quantity=quantity,
        price=price,
        shares=shares,
        stock_basis=stock_basis,
        fees=fees,
        effective_at=effective_at,
        recorded_at=now,
        actor=actor,
    )
    recorded = _record(store, event)
    if not recorded.is_new:
        _require_same_facts(store, event)
    return recorded


def _require_same_facts(store: LedgerStore, asked: PositionOpened) -> None:
    row = store.read(LEDGER, where={"event_id": asked.event_id}).row(0, named=True)
    there = Event.from_row(row)
    if there.payload != asked.payload:
        differing = [name for name, value in asked.payload.items() if there.payload[name] != value]

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

    ``stock_sold_at`` is what each share held against it was sold for, if it was.

    Raises:
        LedgerError: there is no such open position.
    """
    effective_at = _end_of(store, position_id, now, effective_at)
    return _record(
        store,
        PositionClosed(
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

    ``stock_sold_at`` is what each share held against them was sold for, if it was.

    Raises:
        LedgerError: there is no such open position.
    """
    effective_at = _end_of(store, position_id, now, effective_at)
    return _record(
        store,
        PositionExpired(
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
    effective_at = _end_of(store, position_id, now, effective_at)
    return _record(
        store,
        PositionAssigned(
            position_id=position_id,
            fees=fees,
            effective_at=effective_at,
            recorded_at=now,
            actor=actor,
        ),
    )


def _switch(store: LedgerStore, ticker: str, now: datetime, actor: str, *, enabled: bool) -> bool:
    ticker = _ticker(ticker)
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
        revision=_revisions(ledger)[ticker],
        effective_at=now,
        recorded_at=now,
        actor=actor,
    )
    return _append(store, [event]) > 0


def _ticker(text: str) -> str:
    try:
        return _TICKER.validate_python(text)
    except ValidationError:
        raise LedgerError(f"not a ticker: {text!r}") from None


def _categories(ledger: pl.DataFrame, now: datetime) -> dict[str, str]:
    return dict(universe_as_of(ledger, now).select("ticker", "category").iter_rows())


def _revisions(ledger: pl.DataFrame) -> Counter[str]:
    changes = ledger.filter(pl.col("kind").str.starts_with("universe_"))
    return Counter(changes["payload"].str.json_path_match("$.ticker"))


def _end_of(
    store: LedgerStore, position_id: str, now: datetime, effective_at: datetime | None
) -> datetime:
    """When an end takes effect: ``effective_at``, else now, but never before the opening."""
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
    return Recorded(event.event_id, _append(store, [event]) > 0)


def _append(store: LedgerStore, events: Sequence[Event]) -> int:
    return store.append_events(events_frame(events)) if events else 0
