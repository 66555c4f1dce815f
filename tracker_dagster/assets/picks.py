"""Assets behind the pick: structure gates, and the covered call of the week for each ticker.

Each reads what was known at its decision time, calls a pure function and writes what it returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from tracker_dagster.analytics.structure import bar_sessions
from tracker_dagster.analytics.structure import structure_features as compute_structure
from tracker_dagster.assets.decision_inputs import DecisionInputs
from tracker_dagster.assets.universe import enabled_at
from tracker_dagster.assets.wiring import (
    Check,
    DayRun,
    Outcome,
    picture,
    trading_day_asset,
    trading_days_asset,
)
from tracker_dagster.reports.charts import bar_chart
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES, WEEKLY_PICKS
from tracker_dagster.schemas.market import BARS_1M
from tracker_dagster.strategy.candidates import pick_candidates as candidates_of_day
from tracker_dagster.strategy.picks import weekly_picks as picks_of_day
from tracker_dagster.strategy.tickers import DAY_FILE, SNAPSHOT
from tracker_dagster.trading_calendar import decision_time
from tracker_dagster.warehouse import Write, WriteResult

__all__ = [
    "DAY_FILE",
    "SNAPSHOT",
    "pick_candidates",
    "structure_features",
    "weekly_picks",
]

#: Days of a back-fill that are decided together: what a day costs is the reading and the commit.
DAYS_AT_ONCE = 10


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


def _write(
    decisions: DecisionInputs, table: Table, frames: Sequence[pl.DataFrame]
) -> dict[date, list[WriteResult]]:
    """All decisions of the days in one transaction; the results by day."""
    writes = [
        Write(table, frame, taken.unit, allow_empty=True)
        for taken, frame in zip(decisions.taken, frames, strict=True)
    ]
    results: dict[date, list[WriteResult]] = {day: [] for day in decisions.notes}
    if writes:
        written = decisions.taken[0].run.warehouse.replace_many(writes)
        for taken, result in zip(decisions.taken, written, strict=True):
            results[taken.run.day].append(result)
    return results


def _by_day(
    decisions: DecisionInputs, frames: Sequence[pl.DataFrame]
) -> dict[date, dict[str, pl.DataFrame]]:
    """The frames of each day, by basis."""
    found: dict[date, dict[str, pl.DataFrame]] = {day: {} for day in decisions.notes}
    for taken, frame in zip(decisions.taken, frames, strict=True):
        found[taken.run.day][taken.basis] = frame
    return found


@trading_days_asset(
    PICK_CANDIDATES,
    days_at_once=DAYS_AT_ONCE,
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
def pick_candidates(runs: Sequence[DayRun]) -> list[Outcome]:
    """Every call of the week that a decision considers, with each gate that it fails.

    ``snapshot`` looks at the chain captured ten minutes before the close; ``day_file`` at 11:15 ET
    at the files of the sessions before. The two are separate decisions, never mixed.
    """
    known = DecisionInputs(runs)
    frames = [
        candidates_of_day(
            taken.basis,
            taken.run.day,
            taken.decision_at,
            universe=known.universe(taken),
            prices=known.prices(taken),
            contracts=known.contracts(taken),
            suitability=known.suitability,
            option_greeks=known.option_greeks,
            traded=known.traded,
            corporate_actions=known.corporate_actions(taken),
            collections=known.collections(taken),
        )
        for taken in known.taken
    ]
    results = _write(known, PICK_CANDIDATES, frames)
    outcomes = []
    for day, by_basis in _by_day(known, frames).items():
        fell = {
            basis: dict(
                frame["failed_gate"].fill_null("passed").value_counts(sort=True).iter_rows()
            )
            for basis, frame in by_basis.items()
        }
        outcomes.append(
            Outcome(
                results[day],
                {**{f"fell_{basis}": n for basis, n in fell.items()}, **known.notes[day]},
                [Check("some_pass", all(n.get("passed") for n in fell.values()), fell)],
            )
        )
    return outcomes


@trading_days_asset(
    WEEKLY_PICKS,
    days_at_once=DAYS_AT_ONCE,
    group="decisions",
    deps=(
        "universe",
        "pick_candidates",
        "option_chain",
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
def weekly_picks(runs: Sequence[DayRun]) -> list[Outcome]:
    """The covered call of the week for each ticker, on each basis that the day allows.

    The first of its candidates in order of choice; without one, the stage and reason. Ranked by a
    score whose parts are stored beside it.
    """
    known = DecisionInputs(runs)
    frames = [
        picks_of_day(
            taken.basis,
            taken.run.day,
            taken.decision_at,
            universe=known.universe(taken),
            prices=known.prices(taken),
            candidates=known.candidates,
            suitability=known.suitability,
            structure=known.structure,
            corporate_actions=known.corporate_actions(taken),
            earnings=known.earnings(taken),
            iv_percentile=known.iv_percentile,
            collections=known.collections(taken),
            inputs=known.named(taken),
            chain_gaps=known.chain_gaps(taken),
        )
        for taken in known.taken
    ]
    results = _write(known, WEEKLY_PICKS, frames)
    by_day = _by_day(known, frames)
    return [_picked(run, by_day[run.day], results[run.day], known.notes[run.day]) for run in runs]


def _picked(
    run: DayRun,
    frames: Mapping[str, pl.DataFrame],
    results: Sequence[WriteResult],
    notes: Mapping[str, str],
) -> Outcome:
    """What became of a day, with a picture of the basis that is shown."""
    picked = {basis: frame.filter(pl.col("status") == "picked") for basis, frame in frames.items()}
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
