"""Assets behind the pick: structure gates, and the covered call of the week for each ticker.

Each reads what was known at its decision time, calls a pure function and writes what it returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from tracker_dagster.analytics.structure import bar_sessions
from tracker_dagster.analytics.structure import structure_features as compute_structure
from tracker_dagster.assets.universe import enabled_at, members_at
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.reports.charts import bar_chart
from tracker_dagster.schemas.base import Table
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
from tracker_dagster.strategy.picks import weekly_picks as pick_from_chain
from tracker_dagster.strategy.picks import weekly_picks_from_day_files as pick_from_day_files
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.trading_calendar import (
    EASTERN,
    day_file_decision_time,
    decision_time,
    last_sessions,
    previous_session,
    session_on,
)
from tracker_dagster.warehouse import Write

SNAPSHOT, DAY_FILE = "snapshot", "day_file"
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


@dataclass(frozen=True)
class _Known:
    """What both bases read, as of one decision time."""

    tickers: list[str]
    universe: pl.DataFrame
    windows: dict[str, object]
    bars: pl.DataFrame
    structure: pl.DataFrame
    corporate_actions: pl.DataFrame | None
    earnings: pl.DataFrame | None
    collections: pl.DataFrame


def _known(run: DayRun, decision_at: datetime) -> _Known:
    # Who is a member is asked of the ledger at this very moment, not of a table of the day.
    members = members_at(run, decision_at)
    tickers = sorted(members.filter(pl.col("enabled"))["ticker"])
    yesterday = previous_session(run.day)
    first = last_sessions(yesterday, HISTORY_SESSIONS)[0]
    of_tickers = {"ticker": tickers}

    def read(table: Table, since: Any, where: dict[str, Any] | None = None) -> pl.DataFrame:
        return run.warehouse.read(table, as_of=decision_at, first=since, last=run.day, where=where)

    since = last_sessions(yesterday, 5)[0]
    return _Known(
        tickers=tickers,
        universe=UNIVERSE.conform(members, trade_date=run.day, available_at=decision_at),
        windows={
            STOCK_DAY_AGGS.name: _window(first, yesterday),
            BARS_1M.name: _window(bar_sessions(decision_at)[0], yesterday),
            CORPORATE_ACTIONS.name: _window(first, run.day),
            EARNINGS_CALENDAR.name: _window(run.day, run.day),
        },
        bars=read(STOCK_DAY_AGGS, first, of_tickers),
        structure=read(STRUCTURE_FEATURES, yesterday, of_tickers),
        corporate_actions=read(CORPORATE_ACTIONS, first, of_tickers),
        earnings=read(EARNINGS_CALENDAR, since, of_tickers),
        # Those that came too late as well: they say why a calendar is not known as a whole.
        collections=run.warehouse.read(REFERENCE_COLLECTIONS, first=since, last=run.day),
    )


def _window(first: date, last: date) -> dict[str, str]:
    """Sessions whose partitions a decision read: a file replaced among them makes it stale."""
    return {"first": str(first), "last": str(last)}


def _structure_session(known: _Known) -> dict[str, object]:
    """Session of the structure features used: yesterday's, where today's came after the slot."""
    latest = known.structure["trade_date"].max()
    return {} if latest is None else {STRUCTURE_FEATURES.name: str(latest)}


def _snapshot_picks(run: DayRun, slot: datetime, settings: PickSettings) -> pl.DataFrame:
    known = _known(run, slot)
    price_slot = decision_slot(run, MARKET_LAST)

    def captured(table: Table, at: datetime | None, where: dict[str, Any]) -> pl.DataFrame:
        if at is None:
            return table.empty()
        rows = run.warehouse.read(table, first=run.day, last=run.day, where={"slot": at, **where})
        # A capture is complete seconds after its slot; it is the slot's, not a later one's.
        return rows.with_columns(available_at=pl.lit(at, dtype=rows.schema["available_at"]))

    return pick_from_chain(
        known.universe,
        captured(OPTION_CHAIN, slot, {"underlying": known.tickers, "right": "C"}),
        captured(MARKET_LAST, price_slot, {"ticker": known.tickers}),
        known.bars,
        known.structure,
        known.corporate_actions,
        known.earnings,
        run.day,
        slot,
        settings,
        {
            **known.windows,
            **_structure_session(known),
            OPTION_CHAIN.name: slot.isoformat(),
            MARKET_LAST.name: price_slot.isoformat() if price_slot else None,
        },
        known.collections,
    )


def _day_file_picks(run: DayRun, decision_at: datetime, settings: PickSettings) -> pl.DataFrame:
    known = _known(run, decision_at)
    yesterday = previous_session(run.day)
    options = run.warehouse.read(
        OPTION_DAY_AGGS,
        as_of=decision_at,
        first=yesterday,
        last=yesterday,
        where={"underlying": known.tickers, "right": "C"},
    )
    return pick_from_day_files(
        known.universe,
        options,
        known.bars,
        known.structure,
        known.corporate_actions,
        known.earnings,
        run.day,
        decision_at,
        settings,
        {
            **known.windows,
            **_structure_session(known),
            OPTION_DAY_AGGS.name: _window(yesterday, yesterday),
        },
        known.collections,
    )


@trading_day_asset(
    WEEKLY_PICKS,
    group="decisions",
    deps=(
        "universe",
        "option_chain",
        "market_last",
        "stock_day_aggs",
        "option_day_aggs",
        "structure_features",
        "corporate_actions",
        "earnings_calendar",
    ),
    checks={"has_picks": "At least one ticker has a pick."},
)
def weekly_picks(run: DayRun) -> Outcome:
    """The covered call of the week for each ticker, on each basis that the day allows.

    ``snapshot`` decides on the chain captured ten minutes before the close; ``day_file`` at
    11:15 ET on the files of the sessions before. The two are separate decisions, never mixed.
    """
    settings = PickSettings()
    decisions: dict[tuple[str, datetime], pl.DataFrame] = {}
    notes: dict[str, str] = {}
    slot = decision_slot(run, OPTION_CHAIN)
    if slot is None:
        due = decision_time(run.day)
        notes[SNAPSHOT] = (
            f"not before {due.astimezone(EASTERN):%H:%M} ET"
            if run.now < due
            else "no chain was captured at the decision time"
        )
    else:
        decisions[(SNAPSHOT, slot)] = _snapshot_picks(run, slot, settings)
    morning = day_file_decision_time(run.day)
    if morning > run.now:
        notes[DAY_FILE] = f"not before {morning.astimezone(EASTERN):%H:%M} ET"
    else:
        decisions[(DAY_FILE, morning)] = _day_file_picks(run, morning, settings)
    results = run.warehouse.replace_many(
        [
            Write(
                WEEKLY_PICKS,
                frame,
                {"trade_date": run.day, "basis": basis, "decision_at": decision_at},
                allow_empty=True,
            )
            for (basis, decision_at), frame in decisions.items()
        ]
    )
    picked = {
        basis: frame.filter(pl.col("status") == "picked") for (basis, _), frame in decisions.items()
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
