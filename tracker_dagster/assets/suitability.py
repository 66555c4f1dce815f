"""Assets of suitability: what daily closes say of each ticker, and how good the estimates were."""

from typing import Any

import polars as pl

from tracker_dagster.assets.rates import curve_on, dividends_on
from tracker_dagster.assets.universe import members_at
from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.suitability import PREMIUM_ESTIMATE_SCORES, SUITABILITY
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
)

#: Sessions of closes behind the statistics: a year of returns.
HISTORY_SESSIONS = 253


@trading_day_asset(
    SUITABILITY,
    group="analytics",
    deps=("universe", "stock_day_aggs", "corporate_actions", "treasury_yields"),
    kinds=("numpy",),
)
def suitability(run: DayRun) -> Outcome:
    """How well each ticker suits covered calls, from the closes known at 11:15 ET.

    Statistics of the last year, scores, lane, beta, and what the lane's call might bring: an
    estimate, which premium_estimate_scores compares with trades once there are any.
    """
    known_by = day_file_decision_time(run.day)
    members = members_at(run, min(decision_time(run.day), run.now))
    tickers = members["ticker"].to_list()
    first = last_sessions(previous_session(run.day), HISTORY_SESSIONS)[0]
    bars = run.warehouse.read(
        STOCK_DAY_AGGS,
        as_of=known_by,
        first=first,
        last=run.day,
        where={"ticker": sorted({*tickers, BETA_MARKET})},
        columns=["trade_date", "ticker", "source", "available_at", "close"],
    )
    actions = run.warehouse.read(
        CORPORATE_ACTIONS,
        as_of=known_by,
        first=first,
        last=run.day,
        where={"ticker": sorted({*tickers, BETA_MARKET}), "action": "split"},
    )
    settings = PickSettings()
    frame = suitability_rows(
        members,
        bars,
        actions,
        run.day,
        target_expiry(run.day, settings),
        curve_on(run, known_by),
        *dividends_on(run, known_by, tickers),
        settings,
    )
    result = run.warehouse.replace(SUITABILITY, frame, {"trade_date": run.day}, allow_empty=True)
    enabled = frame.filter("enabled")
    without = enabled.filter(pl.col("annual_volatility").is_null())
    return Outcome(
        [result],
        {
            "lanes": dict(enabled["lane"].value_counts(sort=True).iter_rows()),
            "no_statistics": dict(without.select("ticker", "stats_reason").iter_rows()),
        },
    )


@trading_day_asset(
    PREMIUM_ESTIMATE_SCORES,
    group="analytics",
    deps=("suitability", "option_day_aggs", "stock_day_aggs"),
)
def premium_estimate_scores(run: DayRun) -> Outcome:
    """How wrong the session's estimated premiums were, once its day files are out."""
    known_at = day_file_available_at(run.day)
    if known_at > run.now:
        due = known_at.astimezone(EASTERN)
        return Outcome([], {"waiting": f"the session's files are not out before {due:%F %H:%M} ET"})
    of_day: dict[str, Any] = {"as_of": known_at, "first": run.day, "last": run.day}
    estimates = run.warehouse.read(SUITABILITY, **of_day)
    tickers = estimates["ticker"].to_list()
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
    scores = PREMIUM_ESTIMATE_SCORES.conform(
        score_premium_estimates(estimates, traded, closes, run.day),
        trade_date=run.day,
        available_at=known_at,
    )
    unit = {"trade_date": run.day}
    result = run.warehouse.replace(PREMIUM_ESTIMATE_SCORES, scores, unit, allow_empty=True)
    errors = scores["error_pct"].drop_nulls()
    said: dict[str, Any] = {"scored": len(errors)}
    if len(errors):
        said["median_error_pct"] = errors.median()
    if estimates.is_empty():
        said["no_estimates"] = "suitability has no rows of the day"
    return Outcome([result], said)
