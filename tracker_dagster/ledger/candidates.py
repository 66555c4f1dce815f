"""Tickers proposed for the universe: proposing, approving, rejecting, and the fold of it all.

The universe itself stays one list: an approval lists the ticker there, with its category.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from tracker_dagster.ledger.commands import (
    UNCATEGORIZED,
    LedgerError,
    LedgerStore,
    append,
    categories_at,
    category_of,
    revisions_of,
    ticker_of,
)
from tracker_dagster.ledger.events import (
    CandidateApproved,
    CandidateProposed,
    CandidateRejected,
    UniverseListed,
)
from tracker_dagster.ledger.facts import made
from tracker_dagster.ledger.folds import in_effect
from tracker_dagster.schemas.base import INSTANT
from tracker_dagster.schemas.system import LEDGER

PROPOSED, APPROVED, REJECTED = "proposed", "approved", "rejected"

#: Columns of `candidates_as_of`. ``reason`` and ``source`` are the proposal's, ``note`` says why
#: it was turned down; ``decided_at`` and ``decided_by`` are null while it waits.
CANDIDATES_FOLD: dict[str, Any] = {
    "ticker": pl.String,
    "status": pl.String,
    "category": pl.String,
    "source": pl.String,
    "reason": pl.String,
    "score": pl.Float64,
    "reference": pl.String,
    "proposed_at": INSTANT,
    "proposed_by": pl.String,
    "decided_at": INSTANT,
    "decided_by": pl.String,
    "note": pl.String,
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A ticker that somebody would have in the universe; attributes as `CandidateProposed`."""

    ticker: str
    source: str
    reason: str | None = None
    category: str | None = None
    score: float | None = None
    reference: str | None = None


def candidates_as_of(
    ledger: pl.DataFrame, moment: datetime, *, known_at: datetime | None = None
) -> pl.DataFrame:
    """Every ticker ever proposed and what became of it by ``moment``, sorted by ticker.

    Args:
        ledger: rows of the ledger table, in any order.
        moment: events in effect by then count.
        known_at: when given, only events recorded by then count.

    Returns:
        The columns of `CANDIDATES_FOLD`; ``category`` is the approved one once there is one.
    """
    found: dict[str, dict[str, Any]] = {}
    for _, event in in_effect(ledger, moment, known_at, prefix="candidate_"):
        match event:
            case CandidateProposed():
                found[event.ticker] = {
                    **dict.fromkeys(CANDIDATES_FOLD),
                    "ticker": event.ticker,
                    "status": PROPOSED,
                    "category": event.category,
                    "source": event.source,
                    "reason": event.reason,
                    "score": event.score,
                    "reference": event.reference,
                    "proposed_at": event.effective_at,
                    "proposed_by": event.actor,
                }
            case CandidateApproved(ticker=ticker) | CandidateRejected(ticker=ticker) if (
                ticker in found
            ):
                approved = isinstance(event, CandidateApproved)
                found[ticker] |= {
                    "status": APPROVED if approved else REJECTED,
                    "decided_at": event.effective_at,
                    "decided_by": event.actor,
                }
                if isinstance(event, CandidateApproved):
                    found[ticker]["category"] = event.category
                else:
                    found[ticker]["note"] = event.reason
    rows = [found[ticker] for ticker in sorted(found)]
    return pl.DataFrame(rows, schema=CANDIDATES_FOLD, orient="row")


def propose(
    store: LedgerStore, proposals: Sequence[Proposal], now: datetime, actor: str
) -> list[str]:
    """Put tickers on the list of candidates, all or none.

    One that waits already is proposed anew where the facts differ; one that was turned down may
    be proposed again.

    Returns:
        Tickers whose proposal is new or changed.

    Raises:
        LedgerError: one is in the universe already, is no ticker, or is named twice; or a
            category, reason or source is empty, or a score no number.
    """
    ledger = store.read(LEDGER)
    known = categories_at(ledger, now)
    waiting = {row["ticker"]: row for row in _waiting(ledger, now).iter_rows(named=True)}
    revisions = revisions_of(ledger)
    events: dict[str, CandidateProposed] = {}
    for proposal in proposals:
        ticker = ticker_of(proposal.ticker)
        if ticker in known:
            raise LedgerError(f"{ticker} is in the universe already, as {known[ticker]}")
        if ticker in events:
            raise LedgerError(f"{ticker} is proposed twice")
        named = proposal.category
        event = made(
            CandidateProposed,
            ticker=ticker,
            source=proposal.source,
            reason=proposal.reason,
            category=None if named is None else category_of(named),
            score=proposal.score,
            reference=proposal.reference,
            revision=revisions[ticker],
            effective_at=now,
            recorded_at=now,
            actor=actor,
        )
        facts = {name: value for name, value in event.payload.items() if name != "revision"}
        there = waiting.get(ticker)
        if there is None or any(there[name] != value for name, value in facts.items()):
            events[ticker] = event
    append(store, list(events.values()))
    return list(events)


def approve(
    store: LedgerStore,
    ticker: str,
    now: datetime,
    actor: str,
    category: str | None = None,
    reference: str | None = None,
) -> str:
    """Take a candidate into the universe, enabled, from ``now`` on.

    Args:
        store: the ledger.
        ticker: a candidate that waits.
        now: when it takes effect and is recorded.
        actor: who approves it.
        category: category in the universe; the proposal's when None, else `UNCATEGORIZED`.
        reference: what the vendor's reference says the ticker is.

    Returns:
        The category that it has now.

    Raises:
        LedgerError: no such candidate waits, it is in the universe meanwhile, or the category is
            empty.
    """
    ticker = ticker_of(ticker)
    ledger = store.read(LEDGER)
    candidate = _candidate(ledger, ticker, now)
    if (listed := categories_at(ledger, now).get(ticker)) is not None:
        raise LedgerError(f"{ticker} is in the universe already, as {listed}: reject the candidate")
    named = candidate["category"] if category is None else category
    chosen = UNCATEGORIZED if named is None else category_of(named)
    revision = revisions_of(ledger)[ticker]
    recorded: dict[str, Any] = {"effective_at": now, "recorded_at": now, "actor": actor}
    append(
        store,
        [
            CandidateApproved(ticker=ticker, category=chosen, revision=revision, **recorded),
            UniverseListed(
                ticker=ticker,
                category=chosen,
                reference=reference,
                revision=revision + 1,
                **recorded,
            ),
        ],
    )
    return chosen


def reject(
    store: LedgerStore, ticker: str, now: datetime, actor: str, reason: str | None = None
) -> None:
    """Turn a candidate down; it stays on record and may be proposed again.

    Raises:
        LedgerError: no such candidate waits, or the reason is empty.
    """
    ticker = ticker_of(ticker)
    ledger = store.read(LEDGER)
    _candidate(ledger, ticker, now)
    event = made(
        CandidateRejected,
        ticker=ticker,
        reason=reason,
        revision=revisions_of(ledger)[ticker],
        effective_at=now,
        recorded_at=now,
        actor=actor,
    )
    append(store, [event])


def require_waiting(store: LedgerStore, ticker: str, now: datetime) -> None:
    """Refuse a ticker that is no candidate that waits.

    Raises:
        LedgerError: naming those that wait.
    """
    _candidate(store.read(LEDGER), ticker, now)


def _waiting(ledger: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return candidates_as_of(ledger, now).filter(pl.col("status") == PROPOSED)


def _candidate(ledger: pl.DataFrame, ticker: str, now: datetime) -> dict[str, Any]:
    waiting = _waiting(ledger, now)
    found = waiting.filter(pl.col("ticker") == ticker)
    if found.is_empty():
        names = ", ".join(waiting["ticker"]) or "none"
        raise LedgerError(f"{ticker} is no candidate that waits (waiting: {names})")
    return found.row(0, named=True)
