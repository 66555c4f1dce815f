"""The capture slots that sessions' decisions rest on, and whose chains they lack."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import decision_time, session_on


@dataclass(frozen=True)
class Captured:
    """Who was captured at the slots that decisions of some sessions may rest on.

    Attributes:
        slots: of each session the one that its decision rests on, None where there is none.
        tickers: who has rows at each such slot, enabled or not.
    """

    slots: Mapping[date, datetime | None]
    tickers: Mapping[datetime, Collection[str]]


def decision_slot(run: DayRun, table: Table) -> datetime | None:
    """The capture slot that the session's decisions rest on, or None when there is none.

    The decision time itself; only where that was not captured, the closing slot. A session has one
    such slot, however often it is decided. A slot counts once it holds an enabled ticker: what
    is followed besides, as indices are, decides nothing.
    """
    return captured_slots([run], table).slots[run.day]


def captured_slots(
    runs: Sequence[DayRun], table: Table, ledger: pl.DataFrame | None = None
) -> Captured:
    """`decision_slot` of each session, and who is in it."""
    warehouse = runs[0].warehouse
    ledger = warehouse.read(LEDGER) if ledger is None else ledger
    possible = {run.day: (decision_time(run.day), session_on(run.day).close) for run in runs}
    ticker = "underlying" if "underlying" in table.columns else "ticker"
    rows = warehouse.query(
        f'SELECT DISTINCT slot, {ticker} FROM "{table.name}" '  # noqa: S608 - a schema's names
        "WHERE trade_date BETWEEN ? AND ? AND slot IN (SELECT unnest(?))",
        [runs[0].day, runs[-1].day, [slot for slots in possible.values() for slot in slots]],
    )
    found: dict[datetime, set[str]] = {}
    for slot, name in rows.iter_rows():
        found.setdefault(slot, set()).add(name)

    def counts(slot: datetime) -> bool:
        if slot not in found:
            return False
        return not found[slot].isdisjoint(universe_as_of(ledger, slot).filter("enabled")["ticker"])

    return Captured(
        {day: next(filter(counts, slots), None) for day, slots in possible.items()}, found
    )


def capture_gaps(
    runs: Sequence[DayRun], table: Table, slot: datetime, tickers: Collection[str]
) -> dict[str, str]:
    """Of each ticker why its capture at ``slot`` is missing, as far as anything was told."""
    gaps = runs[0].warehouse.read(
        COLLECTION_GAPS,
        first=runs[0].day,
        last=runs[-1].day,
        where={"dataset": table.name, "slot": slot, "subject": ["*", *sorted(tickers)]},
    )
    told: dict[str, str] = dict(gaps.select("subject", "reason").iter_rows())
    unsaid = told.get("*", "the slot holds none of its contracts, and no cause was told")
    return {ticker: told.get(ticker, unsaid) for ticker in sorted(tickers)}
