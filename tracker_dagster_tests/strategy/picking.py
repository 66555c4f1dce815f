"""A small world for decisions: its candidates and picks on either basis."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.strategy.candidates import pick_candidates
from tracker_dagster.strategy.picks import weekly_picks
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT

PRICES = {"SPY": 520.0, "AAA": 50.0, "BBB": 120.0, "CCC": 30.0, "EEE": 45.0}
VOLS = {"SPY": 0.13, "AAA": 0.30, "BBB": 0.40, "CCC": 0.80, "EEE": 0.24}
DRIFTS = {"AAA": 0.9, "SPY": 0.2}
CATEGORIES = {"SPY": "ETF", "AAA": "GROWTH", "BBB": "SEMIS", "CCC": "CRYPTO", "EEE": "BANK"}
SESSION_BEFORE = trading_calendar.previous_session(DAY)
MORNING = datetime.combine(DAY, time(11, 15), trading_calendar.EASTERN)


def world(**changes: Any) -> dict[str, Any]:
    base = {
        "basis": "snapshot",
        "day": DAY,
        "decision_at": DECISION_AT,
        "universe": worlds.universe(CATEGORIES),
        "contracts": worlds.chain(PRICES, VOLS),
        "prices": worlds.last_prices(PRICES),
        "bars": worlds.daily(PRICES, VOLS, drifts=DRIFTS),
        "structure": worlds.structure(list(PRICES)),
        "corporate_actions": worlds.no_actions(),
        "earnings": worlds.earnings([{"ticker": "AAA", "report_date": date(2025, 6, 12)}]),
    }
    return {**base, **changes}


def day_file_world(**changes: Any) -> dict[str, Any]:
    base = world()
    base["contracts"] = worlds.option_bars(base["contracts"], SESSION_BEFORE)
    base["prices"] = base["bars"]
    base["basis"] = "day_file"
    base["decision_at"] = MORNING.astimezone(trading_calendar.UTC)
    base["structure"] = worlds.structure(
        list(PRICES),
        day=SESSION_BEFORE,
        decision_at=trading_calendar.decision_time(SESSION_BEFORE),
    )
    return {**base, **changes}


def candidates_of(**given: Any) -> pl.DataFrame:
    """pick_candidates of a world; its suitability is made from its bars where none is given."""
    return pick_candidates(
        given["basis"],
        given["day"],
        given["decision_at"],
        universe=given["universe"],
        prices=given["prices"],
        contracts=given["contracts"],
        suitability=_suitability(given),
        option_greeks=given.get("option_greeks"),
        traded=given.get("traded"),
        corporate_actions=given["corporate_actions"],
        collections=given.get("collections"),
        settings=given.get("settings"),
    )


def picks_of(**given: Any) -> pl.DataFrame:
    """weekly_picks of a world, from its own candidates where none are given."""
    return weekly_picks(
        given["basis"],
        given["day"],
        given["decision_at"],
        universe=given["universe"],
        prices=given["prices"],
        candidates=given.get("candidates", candidates_of(**given)),
        suitability=_suitability(given),
        structure=given["structure"],
        corporate_actions=given["corporate_actions"],
        earnings=given["earnings"],
        iv_percentile=given.get("iv_percentile"),
        collections=given.get("collections"),
        settings=given.get("settings"),
        chain_gaps=given.get("chain_gaps"),
    )


def _suitability(given: dict[str, Any]) -> pl.DataFrame:
    if "suitability" in given:
        return given["suitability"]
    return worlds.suitability(
        given["universe"], given["bars"], given["corporate_actions"], given["day"]
    )


def row(frame: pl.DataFrame, ticker: str) -> dict[str, Any]:
    return frame.row(by_predicate=pl.col("ticker") == ticker, named=True)


def change(frame: pl.DataFrame, test: pl.Expr, **values: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(test).then(value).otherwise(pl.col(name)).cast(frame.schema[name]).alias(name)
        for name, value in values.items()
    )
