"""Assets of suitability: what daily closes say of each ticker, and how good the estimates were.

Days of a range share nearly all of what they read, so each asset does a few of them at once.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl

from tracker_dagster.analytics.rates import curve_of
from tracker_dagster.assets.rates import ActionCalendars
from tracker_dagster.assets.wiring import DayRun, Outcome, trading_days_asset
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.rates import TREASURY_YIELDS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.suitability import PREMIUM_ESTIMATE_SCORES, SUITABILITY
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.known import known_at
from tracker_dagster.strategy.picks import target_expiry
from tracker_dagster.strategy.premium_estimates import score_premium_estimates
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.suitability import BETA_MARKET, suitability_rows
from tracker_dagster.trading_calendar import (
    EASTERN,
    day_file_available_at,
    day_file_decision_time,
    decision_time,
    last_sessions,
    previous_session,
    session_on,
)
from tracker_dagster.warehouse import Write

#: A quarter of sessions: enough that reading a year for each of them no longer counts.
DAYS_AT_ONCE = 63
#: Sessions of closes behind the statistics: a year of returns.
HISTORY_SESSIONS = 253


@trading_days_asset(
    SUITABILITY,
    days_at_once=DAYS_AT_ONCE,
    group="analytics",
    deps=("universe", "stock_day_aggs", "corporate_actions", "treasury_yields"),
    kinds=("numpy",),
)
def suitability(runs: Sequence[DayRun]) -> list[Outcome]:
    """How well each ticker suits covered calls, from the closes known at 11:15 ET.

    Statistics of the last year, scores, lane, beta, and what the lane's call might bring: an
    estimate, which premium_estimate_scores compares with trades once there are any.
    """
    warehouse, last = runs[0].warehouse, runs[-1].day
    ledger = warehouse.read(LEDGER)
    members = {
        run.day: universe_as_of(ledger, min(decision_time(run.day), run.now)) for run in runs
    }
    tickers = sorted({BETA_MARKET, *(name for rows in members.values() for name in rows["ticker"])})
    # Each day cuts what it may know out of the same rows: nothing is chosen as of the last one.
    of_range: dict[str, Any] = {"first": _first_close(runs[0].day), "last": last}
    bars = warehouse.read(
        STOCK_DAY_AGGS,
        where={"ticker": tickers},
        columns=["trade_date", "ticker", "source", "available_at", "close"],
        **of_range,
    )
    splits = warehouse.read(
        CORPORATE_ACTIONS, where={"ticker": tickers, "action": "split"}, **of_range
    )
    yields = warehouse.read(TREASURY_YIELDS, first=runs[0].day, last=last)
    calendars = ActionCalendars.read(warehouse, runs[0].day, last, tickers)
    settings = PickSettings()

    def rows_of(run: DayRun) -> pl.DataFrame:
        known_by, whole = day_file_decision_time(run.day), members[run.day]
        since = pl.col("trade_date") >= _first_close(run.day)

        def followed() -> list[str]:
            at_close = universe_as_of(ledger, min(session_on(run.day).close, run.now))
            return [*at_close.filter("enabled")["ticker"], *run.knobs.benchmarks]

        return suitability_rows(
            whole,
            bars.filter(since),
            splits.filter(since),
            run.day,
            target_expiry(run.day, settings),
            curve_of(known_at(yields.filter(trade_date=run.day), known_by, run.day)),
            *calendars.dividends(run.day, known_by, whole["ticker"].to_list(), followed),
            settings,
            followed() if calendars.has_splits(run.day, known_by) else [],
        )

    frames = [rows_of(run) for run in runs]
    results = warehouse.replace_many(
        [
            Write(SUITABILITY, frame, {"trade_date": run.day}, allow_empty=True)
            for run, frame in zip(runs, frames, strict=True)
        ]
    )
    return [Outcome([result], _said(frame)) for frame, result in zip(frames, results, strict=True)]


def _first_close(day: date) -> date:
    """The first session whose closes the statistics of a day may rest on."""
    return last_sessions(previous_session(day), HISTORY_SESSIONS)[0]


def _said(frame: pl.DataFrame) -> dict[str, Any]:
    enabled = frame.filter("enabled")
    without = enabled.filter(pl.col("annual_volatility").is_null())
    return {
        "lanes": dict(enabled["lane"].value_counts(sort=True).iter_rows()),
        "no_statistics": dict(without.select("ticker", "stats_reason").iter_rows()),
        "no_estimate": enabled["premium_estimate_100"].null_count(),
    }


@trading_days_asset(
    PREMIUM_ESTIMATE_SCORES,
    days_at_once=DAYS_AT_ONCE,
    group="analytics",
    deps=("suitability", "option_day_aggs", "stock_day_aggs"),
)
def premium_estimate_scores(runs: Sequence[DayRun]) -> list[Outcome]:
    """How wrong the session's estimated premiums were, once its day files are out."""
    outcomes = {run.day: _not_yet(run) for run in runs}
    known = [run for run in runs if day_file_available_at(run.day) <= run.now]
    if not known:
        return list(outcomes.values())
    warehouse = known[0].warehouse
    estimates = warehouse.read(SUITABILITY, first=known[0].day, last=known[-1].day)
    frames = [_scores(run, estimates.filter(trade_date=run.day)) for run in known]
    results = warehouse.replace_many(
        [
            Write(PREMIUM_ESTIMATE_SCORES, frame, {"trade_date": run.day}, allow_empty=True)
            for run, frame in zip(known, frames, strict=True)
        ]
    )
    for run, frame, result in zip(known, frames, results, strict=True):
        errors = frame["error_pct"].drop_nulls()
        said: dict[str, Any] = {"scored": len(errors)}
        if len(errors):
            said["median_error_pct"] = errors.median()
        if frame.is_empty():
            said["no_estimates"] = "suitability has no rows of the day"
        outcomes[run.day] = Outcome([result], said)
    return list(outcomes.values())


def _not_yet(run: DayRun) -> Outcome:
    due = day_file_available_at(run.day).astimezone(EASTERN)
    return Outcome([], {"waiting": f"the session's files are not out before {due:%F %H:%M} ET"})


def _scores(run: DayRun, estimates: pl.DataFrame) -> pl.DataFrame:
    if estimates.is_empty():
        return PREMIUM_ESTIMATE_SCORES.empty()
    tickers = estimates["ticker"].to_list()
    published = day_file_available_at(run.day)
    of_day: dict[str, Any] = {"as_of": published, "first": run.day, "last": run.day}
    traded = run.warehouse.read(
        OPTION_DAY_AGGS,
        where={
            "underlying": tickers,
            "right": "C",
            "expiry": estimates["premium_estimate_expiry"].unique().drop_nulls().to_list(),
        },
        **of_day,
    )
    closes = run.warehouse.read(STOCK_DAY_AGGS, where={"ticker": tickers}, **of_day)
    return PREMIUM_ESTIMATE_SCORES.conform(
        score_premium_estimates(estimates, traded, closes, run.day),
        trade_date=run.day,
        available_at=published,
    )
