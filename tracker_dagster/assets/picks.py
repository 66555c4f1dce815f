"""Assets behind the pick: structure gates, and the covered call of the week for each ticker.

Each reads what was known at its decision time, calls a pure function and writes what it returned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

import polars as pl

from tracker_dagster.analytics.structure import bar_sessions
from tracker_dagster.analytics.structure import structure_features as compute_structure
from tracker_dagster.assets.universe import enabled_at, members_at
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.reports.charts import bar_chart
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import (
    STRUCTURE_FEATURES,
    WEEKLY_PICKS,
)
from tracker_dagster.schemas.market import BARS_1M, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import (
    CORPORATE_ACTIONS,
    EARNINGS_CALENDAR,
    REFERENCE_COLLECTIONS,
    UNIVERSE,
)
from tracker_dagster.schemas.suitability import SUITABILITY
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.schemas.volatility_series import IV_PERCENTILE
from tracker_dagster.strategy.candidates import pick_candidates as candidates_of_day
from tracker_dagster.strategy.picks import weekly_picks as picks_of_day
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.strike_quality import SESSIONS as TRADED_SESSIONS
from tracker_dagster.strategy.tickers import DAY_FILE, SNAPSHOT, target_expiry
from tracker_dagster.trading_calendar import (
    EASTERN,
    day_file_decision_time,
    decision_time,
    last_sessions,
    previous_session,
    session_on,
)
from tracker_dagster.warehouse import Write, WriteResult

#: Sessions of closes behind the statistics: a year.
HISTORY_SESSIONS = 253


@trading_day_asset(
    STRUCTURE_FEATURES,
    group="analytics",
    deps=("universe", "bars_1m"),
    kinds=("numpy", "scipy"),
)
def structure_features(run: DayRun) -> Outcome:
    """Spectral entropy and fractal roughness of the last five sessions' one-minute returns.

    Each is compared with sign-flipped surrogates: about 5 % of tickers a day are called unstable
    by chance alone, over both gates together.
    """
    decision_at = min(decision_time(run.day), run.now)
    days = bar_sessions(decision_at)
    tickers = enabled_at(run, decision_at)
    bars = run.warehouse.read(
        BARS_1M,
        as_of=decision_at,
        first=days[0],
        last=days[-1],
        where={"ticker": tickers, "is_regular": True},
        columns=["trade_date", "ticker", "start", "close", "is_regular", "available_at"],
    )
    features = compute_structure(bars, tickers, decision_at)
    result = run.warehouse.replace(
        STRUCTURE_FEATURES, features, {"trade_date": run.day}, allow_empty=True
    )
    unstable = features.filter(
        (pl.col("fft_status") == "unstable") | (pl.col("fractal_status") == "unstable")
    )
    return Outcome(
        [result],
        {
            "unstable": sorted(unstable["ticker"]),
            "history": dict(features["history_status"].value_counts(sort=True).iter_rows()),
        },
    )


def decision_slot(run: DayRun, table: Table) -> datetime | None:
    """The capture slot that the session's decisions rest on, or None when there is none.

    The decision time itself; only where that was not captured, the closing slot. A session has one
    such slot, however often it is decided.
    """
    rows = run.warehouse.read(table, first=run.day, last=run.day, columns=["slot"])
    captured = set(rows["slot"])
    for slot in (decision_time(run.day), session_on(run.day).close):
        if slot in captured:
            return slot
    return None


def _decisions(run: DayRun) -> tuple[dict[str, datetime], dict[str, str]]:
    """Basis to instant of each decision that the day allows, and to why there is none."""
    due: dict[str, datetime] = {}
    why_not: dict[str, str] = {}
    slot = decision_slot(run, OPTION_CHAIN)
    if slot is None:
        closing = decision_time(run.day)
        why_not[SNAPSHOT] = (
            f"not before {closing.astimezone(EASTERN):%H:%M} ET"
            if run.now < closing
            else "no chain was captured at the decision time"
        )
    else:
        due[SNAPSHOT] = slot
    morning = day_file_decision_time(run.day)
    if morning > run.now:
        why_not[DAY_FILE] = f"not before {morning.astimezone(EASTERN):%H:%M} ET"
    else:
        due[DAY_FILE] = morning
    return due, why_not


@dataclass(frozen=True)
class _Reader:
    """Reads what one decision may know, and notes what it was."""

    run: DayRun
    basis: str
    decision_at: datetime

    @cached_property
    def universe(self) -> pl.DataFrame:
        """Members at the decision, asked of the ledger itself, not of a table of the day."""
        members = members_at(self.run, self.decision_at)
        return UNIVERSE.conform(members, trade_date=self.run.day, available_at=self.decision_at)

    @cached_property
    def tickers(self) -> list[str]:
        """Enabled members, sorted."""
        return sorted(self.universe.filter(pl.col("enabled"))["ticker"])

    @property
    def yesterday(self) -> date:
        """The session before."""
        return previous_session(self.run.day)

    @property
    def price_slot(self) -> datetime | None:
        """Slot of the last prices that go with a chain."""
        return decision_slot(self.run, MARKET_LAST)

    def known(
        self, table: Table, first: date, last: date, column: str = "ticker", **where: Any
    ) -> pl.DataFrame:
        """Rows of the enabled tickers known at the decision."""
        return self.run.warehouse.read(
            table, as_of=self.decision_at, first=first, last=last,
            where={column: self.tickers, **where},
        )  # fmt: skip

    def of_slot(self, table: Table, slot: datetime | None, **where: Any) -> pl.DataFrame:
        """Rows of a capture slot of the day; complete seconds after it, they are the slot's."""
        if slot is None:
            return table.empty()
        rows = self.run.warehouse.read(
            table, first=self.run.day, last=self.run.day, where={"slot": slot, **where}
        )
        return rows.with_columns(available_at=pl.lit(slot, dtype=rows.schema["available_at"]))

    @cached_property
    def prices(self) -> pl.DataFrame:
        """Last prices of the slot, or closes of the session before."""
        if self.basis == SNAPSHOT:
            return self.of_slot(MARKET_LAST, self.price_slot, ticker=self.tickers)
        return self.known(STOCK_DAY_AGGS, self.yesterday, self.yesterday)

    @cached_property
    def traded(self) -> pl.DataFrame:
        """Calls that traded in the last published sessions, of the decision's expiry."""
        first = last_sessions(self.yesterday, TRADED_SESSIONS)[0]
        expiry = target_expiry(self.run.day, PickSettings())
        return self.known(
            OPTION_DAY_AGGS, first, self.yesterday, "underlying", right="C", expiry=expiry
        )

    @cached_property
    def contracts(self) -> pl.DataFrame:
        """The chain's calls, or those that traded in the session before."""
        if self.basis == DAY_FILE:
            return self.traded
        return self.of_slot(
            OPTION_CHAIN, self.decision_at, underlying=self.tickers, right="C",
            expiry=target_expiry(self.run.day, PickSettings()),
        )  # fmt: skip

    @cached_property
    def option_greeks(self) -> pl.DataFrame:
        """Our Greeks of those calls."""
        terms = {"right": "C", "expiry": target_expiry(self.run.day, PickSettings())}
        if self.basis == SNAPSHOT:
            return self.of_slot(
                OPTION_GREEKS, self.decision_at, basis=SNAPSHOT, underlying=self.tickers, **terms
            )
        return self.known(
            OPTION_GREEKS, self.yesterday, self.yesterday, "underlying", basis=DAY_FILE, **terms
        )

    @cached_property
    def suitability(self) -> pl.DataFrame:
        """Statistics and lanes of the day."""
        return self.known(SUITABILITY, self.run.day, self.run.day)

    @cached_property
    def corporate_actions(self) -> pl.DataFrame:
        """Splits and dividends as told in the last sessions."""
        return self.known(CORPORATE_ACTIONS, self._week, self.run.day)

    @cached_property
    def earnings(self) -> pl.DataFrame:
        """Earnings dates as told in the last sessions."""
        return self.known(EARNINGS_CALENDAR, self._week, self.run.day)

    @cached_property
    def collections(self) -> pl.DataFrame:
        """Which calendars were whole; those that came too late as well: they say why one is not."""
        return self.run.warehouse.read(REFERENCE_COLLECTIONS, first=self._week, last=self.run.day)

    @property
    def _week(self) -> date:
        return last_sessions(self.yesterday, 5)[0]

    def inputs(self, structure: pl.DataFrame) -> dict[str, object]:
        """Slots and windows that the decision read: a file replaced among them makes it stale."""
        history = last_sessions(self.yesterday, HISTORY_SESSIONS)[0]
        first_traded = last_sessions(self.yesterday, TRADED_SESSIONS)[0]
        bars = bar_sessions(self.decision_at)[0]
        read: dict[str, object] = {
            STOCK_DAY_AGGS.name: _window(history, self.yesterday),
            OPTION_DAY_AGGS.name: _window(first_traded, self.yesterday),
            BARS_1M.name: _window(bars, self.yesterday),
            CORPORATE_ACTIONS.name: _window(history, self.run.day),
            EARNINGS_CALENDAR.name: _window(self.run.day, self.run.day),
        }
        latest = structure["trade_date"].max()
        if latest is not None:
            # Yesterday's, where today's came after the slot.
            read[STRUCTURE_FEATURES.name] = str(latest)
        if self.basis == SNAPSHOT:
            slot = self.price_slot
            read[OPTION_CHAIN.name] = self.decision_at.isoformat()
            read[MARKET_LAST.name] = slot.isoformat() if slot else None
        return read


def _window(first: date, last: date) -> dict[str, str]:
    return {"first": str(first), "last": str(last)}


def _write(
    run: DayRun, table: Table, frames: Mapping[tuple[str, datetime], pl.DataFrame]
) -> list[WriteResult]:
    """All decisions of the day in one transaction."""
    return run.warehouse.replace_many(
        [
            Write(
                table,
                frame,
                {"trade_date": run.day, "basis": basis, "decision_at": decision_at},
                allow_empty=True,
            )
            for (basis, decision_at), frame in frames.items()
        ]
    )


@trading_day_asset(
    PICK_CANDIDATES,
    group="decisions",
    deps=(
        "universe",
        "option_chain",
        "market_last",
        "stock_day_aggs",
        "option_day_aggs",
        "option_greeks",
        "suitability",
        "corporate_actions",
    ),
    checks={"some_pass": "On each basis, at least one call of the week passes every gate."},
)
def pick_candidates(run: DayRun) -> Outcome:
    """Every call of the week that a decision considers, with each gate that it fails.

    ``snapshot`` looks at the chain captured ten minutes before the close; ``day_file`` at 11:15 ET
    at the files of the sessions before. The two are separate decisions, never mixed.
    """
    due, notes = _decisions(run)
    frames: dict[tuple[str, datetime], pl.DataFrame] = {}
    for basis, decision_at in due.items():
        known = _Reader(run, basis, decision_at)
        frames[(basis, decision_at)] = candidates_of_day(
            basis,
            run.day,
            decision_at,
            universe=known.universe,
            prices=known.prices,
            contracts=known.contracts,
            suitability=known.suitability,
            option_greeks=known.option_greeks,
            traded=known.traded,
            corporate_actions=known.corporate_actions,
            collections=known.collections,
        )
    results = _write(run, PICK_CANDIDATES, frames)
    fell = {
        basis: dict(frame["failed_gate"].fill_null("passed").value_counts(sort=True).iter_rows())
        for (basis, _), frame in frames.items()
    }
    return Outcome(
        results,
        {**{f"fell_{basis}": counts for basis, counts in fell.items()}, **notes},
        [Check("some_pass", all(counts.get("passed") for counts in fell.values()), fell)],
    )


@trading_day_asset(
    WEEKLY_PICKS,
    group="decisions",
    deps=(
        "universe",
        "pick_candidates",
        "market_last",
        "stock_day_aggs",
        "suitability",
        "structure_features",
        "corporate_actions",
        "earnings_calendar",
        "iv_percentile",
    ),
    checks={"has_picks": "At least one ticker has a pick."},
)
def weekly_picks(run: DayRun) -> Outcome:
    """The covered call of the week for each ticker, on each basis that the day allows.

    The first of its candidates in order of choice; without one, the stage and reason. Ranked by a
    score whose parts are stored beside it.
    """
    due, notes = _decisions(run)
    frames: dict[tuple[str, datetime], pl.DataFrame] = {}
    for basis, decision_at in due.items():
        known = _Reader(run, basis, decision_at)
        structure = known.known(STRUCTURE_FEATURES, known.yesterday, run.day)
        frames[(basis, decision_at)] = picks_of_day(
            basis,
            run.day,
            decision_at,
            universe=known.universe,
            prices=known.prices,
            candidates=run.warehouse.read(
                PICK_CANDIDATES,
                first=run.day,
                last=run.day,
                where={"basis": basis, "decision_at": decision_at},
            ),
            suitability=known.suitability,
            structure=structure,
            corporate_actions=known.corporate_actions,
            earnings=known.earnings,
            iv_percentile=known.known(
                IV_PERCENTILE, known.yesterday, known.yesterday, "underlying"
            ),
            collections=known.collections,
            inputs=known.inputs(structure),
        )
    results = _write(run, WEEKLY_PICKS, frames)
    picked = {
        basis: frame.filter(pl.col("status") == "picked") for (basis, _), frame in frames.items()
    }
    shown = next((frame for frame in picked.values() if frame.height), None)
    pictures = (
        {}
        if shown is None
        else picture(
            run,
            "annualised_yield",
            lambda: bar_chart(
                shown.sort("rank").head(15), "ticker", "annualised_yield", f"Picks of {run.day}"
            ),
        )
    )
    return Outcome(
        results,
        {
            **{f"picked_{basis}": frame.height for basis, frame in picked.items()},
            **notes,
            **pictures,
        },
        [Check("has_picks", shown is not None, notes)],
    )
