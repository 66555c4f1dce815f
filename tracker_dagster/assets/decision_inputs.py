"""The decisions that days of a run allow, and what each may read. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

import polars as pl

from tracker_dagster.analytics.structure import bar_sessions
from tracker_dagster.assets.decision_identity import FilesRead
from tracker_dagster.assets.decision_slots import Captured, capture_gaps, captured_slots
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES
from tracker_dagster.schemas.market import BARS_1M, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import (
    CORPORATE_ACTIONS,
    EARNINGS_CALENDAR,
    REFERENCE_COLLECTIONS,
    UNIVERSE,
)
from tracker_dagster.schemas.suitability import SUITABILITY
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.schemas.volatility_series import IV_PERCENTILE
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.strike_quality import SESSIONS as TRADED_SESSIONS
from tracker_dagster.strategy.tickers import DAY_FILE, SNAPSHOT, target_expiry
from tracker_dagster.trading_calendar import (
    EASTERN,
    day_file_decision_time,
    decision_time,
    last_sessions,
    previous_session,
)

#: Sessions of closes behind the statistics that a decision rests on: a year.
HISTORY_SESSIONS = 253
#: Sessions back from which a calendar of events may be taken.
CALENDAR_SESSIONS = 5
_CHAIN = (
    "trade_date", "slot", "symbol", "available_at", "underlying", "expiry", "right", "strike",
    "is_standard", "bid", "ask", "mid", "quote_status", "quote_at", "delta",
    "implied_volatility", "open_interest", "day_volume", "underlying_price",
)  # fmt: skip
_TRADED = (
    "trade_date", "symbol", "available_at", "underlying", "expiry", "right", "strike",
    "is_adjusted", "high", "low", "close", "volume", "transactions",
)  # fmt: skip
_GREEKS = (
    "trade_date", "basis", "slot", "symbol", "available_at", "delta", "implied_volatility",
    "forward", "rate", "status",
)  # fmt: skip


@dataclass(frozen=True)
class Taken:
    """One decision to be taken: of which day, on which basis, at which instant."""

    run: DayRun
    basis: str
    decision_at: datetime

    @property
    def unit(self) -> dict[str, Any]:
        """The unit of a decision's table."""
        return {
            "trade_date": self.run.day,
            "basis": self.basis,
            "decision_at": self.decision_at,
        }


class DecisionInputs:
    """What the decisions of some days read, each table once for all of them.

    Rows are read whole, later ones among them: the functions that decide cut by what was known at
    their own instant. Only what a capture slot holds is dated to the slot here: it is complete
    seconds later, and is the slot's.
    """

    def __init__(self, runs: Sequence[DayRun]) -> None:
        """Find out which decisions the days allow."""
        self._runs = runs
        self._warehouse = runs[0].warehouse
        self.taken: list[Taken] = []
        #: Day to basis to why there is no decision.
        self.notes: dict[date, dict[str, str]] = {}
        for run in runs:
            notes = self.notes.setdefault(run.day, {})
            slot, closing = self._captured.slots[run.day], decision_time(run.day)
            if slot is not None:
                self.taken.append(Taken(run, SNAPSHOT, slot))
            else:
                notes[SNAPSHOT] = (
                    f"not before {closing.astimezone(EASTERN):%H:%M} ET"
                    if run.now < closing
                    else "no chain of an enabled ticker was captured at the decision time"
                )
            morning = day_file_decision_time(run.day)
            if morning <= run.now:
                self.taken.append(Taken(run, DAY_FILE, morning))
            else:
                notes[DAY_FILE] = f"not before {morning.astimezone(EASTERN):%H:%M} ET"

    @property
    def _first(self) -> date:
        return self._runs[0].day

    @property
    def _last(self) -> date:
        return self._runs[-1].day

    @cached_property
    def _ledger(self) -> pl.DataFrame:
        return self._warehouse.read(LEDGER)

    @cached_property
    def _captured(self) -> Captured:
        return captured_slots(self._runs, OPTION_CHAIN, self._ledger)

    @cached_property
    def _members(self) -> dict[datetime, pl.DataFrame]:
        return {t.decision_at: universe_as_of(self._ledger, t.decision_at) for t in self.taken}

    @cached_property
    def _tickers(self) -> list[str]:
        """Whoever is enabled at any of the decisions."""
        return sorted(
            {t for rows in self._members.values() for t in rows.filter("enabled")["ticker"]}
        )

    @cached_property
    def _expiries(self) -> list[date]:
        return sorted({target_expiry(run.day, PickSettings()) for run in self._runs})

    def _read(
        self,
        table: Table,
        first: date,
        last: date,
        column: str | None = "ticker",
        columns: Sequence[str] | None = None,
        **where: Any,
    ) -> pl.DataFrame:
        of_tickers = {} if column is None else {column: self._tickers}
        return self._warehouse.read(
            table, first=first, last=last, where={**of_tickers, **where}, columns=columns
        )

    def _of_slots(
        self, table: Table, slots: Sequence[datetime], columns: Sequence[str] | None, **where: Any
    ) -> pl.DataFrame:
        if not slots:
            rows = table.empty()
            return rows if columns is None else rows.select(columns)
        rows = self._read(
            table, self._first, self._last, None, columns, slot=sorted(set(slots)), **where
        )
        return rows.with_columns(available_at=pl.col("slot"))

    @cached_property
    def _chain_slots(self) -> list[datetime]:
        return [taken.decision_at for taken in self.taken if taken.basis == SNAPSHOT]

    @cached_property
    def _price_slots(self) -> Mapping[date, datetime | None]:
        return captured_slots(self._runs, MARKET_LAST, self._ledger).slots

    def universe(self, taken: Taken) -> pl.DataFrame:
        """Members at the decision, asked of the ledger itself, not of a table of the day."""
        return UNIVERSE.conform(
            self._members[taken.decision_at],
            trade_date=taken.run.day,
            available_at=taken.decision_at,
        )

    def prices(self, taken: Taken) -> pl.DataFrame:
        """Last prices of the slot, or closes of the sessions before."""
        if taken.basis == DAY_FILE:
            return self._closes
        return self._last_prices.filter(
            (pl.col("trade_date") == taken.run.day)
            & (pl.col("slot") == pl.lit(self._price_slots[taken.run.day]))
        )

    @cached_property
    def _last_prices(self) -> pl.DataFrame:
        slots = [slot for slot in self._price_slots.values() if slot is not None]
        return self._of_slots(MARKET_LAST, slots, None, ticker=self._tickers)

    @cached_property
    def _closes(self) -> pl.DataFrame:
        return self._read(
            STOCK_DAY_AGGS,
            previous_session(self._first),
            previous_session(self._last),
            columns=["trade_date", "ticker", "source", "available_at", "close"],
        )

    @cached_property
    def traded(self) -> pl.DataFrame:
        """Calls of the expiries that traded in the sessions before."""
        return self._read(
            OPTION_DAY_AGGS,
            last_sessions(previous_session(self._first), TRADED_SESSIONS)[0],
            previous_session(self._last),
            "underlying",
            _TRADED,
            right="C",
            expiry=self._expiries,
        )

    @cached_property
    def _chains(self) -> pl.DataFrame:
        return self._of_slots(
            OPTION_CHAIN, self._chain_slots, _CHAIN,
            underlying=self._tickers, right="C", expiry=self._expiries,
        )  # fmt: skip

    def contracts(self, taken: Taken) -> pl.DataFrame:
        """Calls of the captured chains, or of the files of the sessions before."""
        return self.traded if taken.basis == DAY_FILE else self._chains

    def chain_gaps(self, taken: Taken) -> dict[str, str]:
        """Why tickers have no chain at the slot of a decision; none of them on day files."""
        if taken.basis == DAY_FILE:
            return {}
        enabled = set(self._members[taken.decision_at].filter("enabled")["ticker"])
        missing = enabled.difference(self._captured.tickers[taken.decision_at])
        return capture_gaps([taken.run], OPTION_CHAIN, taken.decision_at, missing)

    @cached_property
    def option_greeks(self) -> pl.DataFrame:
        """Our Greeks of those calls, on both bases."""
        terms = {"underlying": self._tickers, "right": "C", "expiry": self._expiries}
        captured = self._of_slots(
            OPTION_GREEKS, self._chain_slots, _GREEKS, basis=SNAPSHOT, **terms
        )
        files = self._read(
            OPTION_GREEKS, previous_session(self._first), previous_session(self._last), None,
            _GREEKS, basis=DAY_FILE, **terms,
        )  # fmt: skip
        return pl.concat([captured, files])

    @cached_property
    def suitability(self) -> pl.DataFrame:
        """Statistics and lanes of the days."""
        return self._read(SUITABILITY, self._first, self._last)

    def corporate_actions(self, taken: Taken) -> pl.DataFrame:
        """Splits and dividends as told on the day and in the sessions before."""
        return _recent(self._corporate_actions, taken)

    @cached_property
    def _corporate_actions(self) -> pl.DataFrame:
        return self._read(CORPORATE_ACTIONS, _calendars_since(self._first), self._last)

    def earnings(self, taken: Taken) -> pl.DataFrame:
        """Earnings dates as told on the day and in the sessions before."""
        return _recent(self._earnings, taken)

    @cached_property
    def _earnings(self) -> pl.DataFrame:
        return self._read(EARNINGS_CALENDAR, _calendars_since(self._first), self._last)

    def collections(self, taken: Taken) -> pl.DataFrame:
        """Which calendars were whole; those that came too late as well: they say why one is not."""
        return _recent(self._collections, taken)

    @cached_property
    def _collections(self) -> pl.DataFrame:
        return self._read(REFERENCE_COLLECTIONS, _calendars_since(self._first), self._last, None)

    @cached_property
    def structure(self) -> pl.DataFrame:
        """Structure gates of the days and of the session before."""
        return self._read(STRUCTURE_FEATURES, previous_session(self._first), self._last)

    @cached_property
    def iv_percentile(self) -> pl.DataFrame:
        """IV ranks of the sessions before."""
        first, last = previous_session(self._first), previous_session(self._last)
        return self._read(IV_PERCENTILE, first, last, "underlying")

    @cached_property
    def candidates(self) -> pl.DataFrame:
        """What the decisions consider."""
        return self._read(PICK_CANDIDATES, self._first, self._last, None)

    @cached_property
    def _files(self) -> FilesRead:
        return FilesRead.of(
            self._warehouse, (STOCK_DAY_AGGS, OPTION_DAY_AGGS, BARS_1M),
            last_sessions(previous_session(self._first), HISTORY_SESSIONS)[0], self._last,
        )  # fmt: skip

    @cached_property
    def _greeks_known(self) -> set[tuple[date, str, datetime]]:
        rows = self._warehouse.query(
            f'SELECT DISTINCT trade_date, basis, slot FROM "{OPTION_GREEKS.name}" '  # noqa: S608
            "WHERE trade_date BETWEEN ? AND ?",
            [previous_session(self._first), self._last],
        )
        return set(rows.rows())

    def named(self, taken: Taken) -> dict[str, object]:
        """Identities of what a decision read, by table; what had no rows is not named.

        Day files as windows of sessions with a hash of their ETags, which another file changes;
        captures and Greeks by their slot; what is computed once a session by its session.
        """
        day, yesterday = taken.run.day, previous_session(taken.run.day)
        history = last_sessions(yesterday, HISTORY_SESSIONS)[0]
        traded = last_sessions(yesterday, TRADED_SESSIONS)[0]
        read: dict[str, object] = {
            STOCK_DAY_AGGS.name: self._files.window(STOCK_DAY_AGGS, history, yesterday),
            OPTION_DAY_AGGS.name: self._files.window(OPTION_DAY_AGGS, traded, yesterday),
            CORPORATE_ACTIONS.name: _window(history, day),
            EARNINGS_CALENDAR.name: _window(_calendars_since(day), day),
        }
        for table, rows, first in (
            # Yesterday's, where today's came after the slot.
            (STRUCTURE_FEATURES, self.structure, yesterday),
            (SUITABILITY, self.suitability, day),
        ):
            if latest := _latest(rows, first, day, taken.decision_at):
                read[table.name] = str(latest)
                if table is STRUCTURE_FEATURES:
                    minutes = bar_sessions(decision_time(latest))
                    read[BARS_1M.name] = self._files.window(BARS_1M, minutes[0], minutes[-1])
        if ranked := _latest(self.iv_percentile, yesterday, yesterday, taken.decision_at):
            read[IV_PERCENTILE.name] = str(ranked)
        if taken.basis == SNAPSHOT:
            slot = self._price_slots[day]
            read[OPTION_CHAIN.name] = taken.decision_at.isoformat()
            read[MARKET_LAST.name] = slot.isoformat() if slot else None
            if (day, SNAPSHOT, taken.decision_at) in self._greeks_known:
                read[OPTION_GREEKS.name] = taken.decision_at.isoformat()
        elif any((yesterday, DAY_FILE) == known[:2] for known in self._greeks_known):
            read[OPTION_GREEKS.name] = str(yesterday)
        return read


def _latest(rows: pl.DataFrame, first: date, last: date, known_by: datetime) -> date | None:
    """The last session, from ``first`` to ``last``, of rows known by then."""
    known = rows.filter(
        pl.col("trade_date").is_between(first, last) & (pl.col("available_at") <= known_by)
    )
    latest: Any = known["trade_date"].max()
    return latest if isinstance(latest, date) else None


def _calendars_since(day: date) -> date:
    return last_sessions(previous_session(day), CALENDAR_SESSIONS)[0]


def _recent(rows: pl.DataFrame, taken: Taken) -> pl.DataFrame:
    """Rows no older than the decision's day alone would read, however long the range is."""
    return rows.filter(pl.col("trade_date") >= _calendars_since(taken.run.day))


def _window(first: date, last: date) -> dict[str, str]:
    return {"first": str(first), "last": str(last)}
