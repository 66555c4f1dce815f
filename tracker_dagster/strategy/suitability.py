"""How well a ticker suits covered calls: statistics, scores, lane, beta, estimated premium."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from math import log

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.analytics.returns import (
    MINIMUM_COMMON_RETURNS,
    STATISTICS,
    adjust_for_splits,
    betas,
    return_statistics,
)
from tracker_dagster.schemas.suitability import SUITABILITY
from tracker_dagster.strategy.known import daily_bars, known_at
from tracker_dagster.strategy.lanes import assign_lanes
from tracker_dagster.strategy.premium_estimates import premium_estimates
from tracker_dagster.strategy.settings import PickSettings

#: Sharpe ratio above which the internal gate passes, and tail width below which the outer does.
SHARPE_GATE = 0.5
TAIL_GATE = 0.08
#: What betas are told against.
BETA_MARKET = "SPY"
#: Log return from which a day's move may be a split of four new shares for three or more.
SPLIT_SIZED = log(4 / 3)
#: What of a bar counts.
_BAR = ("ticker", "trade_date", "source", "available_at", "close")
#: Statistics that stay where returns are in doubt.
_NOT_RETURNS = ("closes_count", "last_close", "last_session", "stats_reason")


def suitability_rows(
    members: pl.DataFrame,
    bars: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    day: date,
    expiry: date,
    curve: Curve | None,
    dividends: pl.DataFrame,
    dividend_sources: pl.DataFrame,
    settings: PickSettings | None = None,
    splits_known: Collection[str] | None = None,
) -> pl.DataFrame:
    """Rows of suitability: one a member of the universe, enabled or not.

    Only closes of sessions before ``day`` that were known by 11:15 ET of it count, so that a
    decision on either basis may rest on the rows.

    Mended against the rules this follows (weekly tracker, sections 4.2, 4.5, 4.6 and 4.7):

    * fewer than 20 closes give null and a reason, not zeros that look like a calm ticker;
    * one look-back of 252 closes, where commands differed between 60 and 365 calendar days;
    * closes are in the shares of ``day``, so a split is no crash; where splits were not asked
      for, a move of a split's size leaves no statistics, since nobody can tell which it was;
    * statistics of old closes are null: where the session before has none, nothing says what the
      ticker is like now; returns over a missing session are left out, being no daily ones;
    * the entropy is that of shares of the sample over its largest value, 0 to 1: a density was
      summed before, which gave -35 to -514;
    * the largest drawdown is worked out and stored, so the first lane rule can be met;
    * the Sharpe term of the score is bounded above as well as below: over a few weeks the ratio
      exceeds any bound by luck; the ratio itself is stored once, not under two names;
    * ``downside_5d`` is of five-session returns, where one-day returns bore the name;
    * both gates are columns, and null where unknown; they lower the coherence and nothing else;
    * the premium is an estimate by a stated method (`premium_estimates`), without a floor.

    Args:
        members: ``ticker``, ``category``, ``enabled``.
        bars: rows of stock_day_aggs of about a year, of the members and of SPY.
        corporate_actions: rows of corporate_actions of the same sessions; None where unknown,
            and then of no ticker are splits known.
        day: session that the rows are for.
        expiry: expiration of the estimated premium.
        curve: zero rates known that morning; None where unknown.
        dividends: ``underlying``, ``ex_date``, ``years``, ``amount``: those declared by then.
        dividend_sources: ``underlying``, ``dividend_source``: what is known of them.
        settings: look-back, lanes.
        splits_known: tickers whose splits until ``day`` are among ``corporate_actions`` if there
            were any; None: those of every ticker.
    """
    settings = settings or PickSettings()
    known_by = trading_calendar.day_file_decision_time(day)
    closes = daily_bars(bars.select(*_BAR), known_by, day, before=day)
    if corporate_actions is not None:
        closes = adjust_for_splits(closes, known_at(corporate_actions, known_by, day), day)
    market = closes.filter(pl.col("ticker") == BETA_MARKET)
    closes = closes.filter(pl.col("ticker").is_in(members["ticker"].implode()))
    lookback = settings.lookback_closes
    statistics = return_statistics(
        closes,
        minimum=settings.minimum_closes,
        lookback=lookback,
        sessions=_sessions_of(closes),
    )
    doubts = [_stale(statistics, trading_calendar.previous_session(day))]
    known = [] if corporate_actions is None else splits_known
    if known is not None:
        unasked = closes.filter(~pl.col("ticker").is_in(list(known)))
        doubts.append(_split_sized_moves(unasked, lookback))
    doubtful = pl.concat(doubts).unique("ticker", keep="first", maintain_order=True)
    statistics = _without_returns(statistics, doubtful)
    measured = (
        betas(closes, market, lookback=lookback)
        .join(doubtful, on="ticker", how="left")
        .with_columns(beta=pl.when(pl.col("doubt").is_null()).then("beta"))
    )
    common = pl.col("common_returns").fill_null(0)
    rows = (
        members.select("ticker", "category", "enabled")
        .join(suitability_scores(statistics), on="ticker", how="left")
        .join(measured, on="ticker", how="left")
        .sort("ticker")
        .with_columns(
            closes_count=pl.col("closes_count").fill_null(0),
            stats_reason=pl.when(pl.col("closes_count").is_null())
            .then(pl.lit("no closes known"))
            .otherwise("stats_reason"),
            expected_move_5d=pl.col("last_close") * pl.col("daily_move") * 5**0.5,
            beta_reason=pl.when(pl.col("beta").is_not_null())
            .then(None)
            .when(pl.col("doubt").is_not_null())
            .then("doubt")
            .when(common < MINIMUM_COMMON_RETURNS)
            .then(
                pl.format(
                    f"{{}} returns in common with {BETA_MARKET}, {MINIMUM_COMMON_RETURNS} needed",
                    common,
                )
            )
            .otherwise(pl.lit(f"{BETA_MARKET} does not vary")),
        )
    )
    rows = assign_lanes(rows, settings.lanes)
    rows = premium_estimates(
        rows, day, expiry, known_by, curve, dividends, dividend_sources, settings.lanes
    )
    return SUITABILITY.conform(rows, trade_date=day, available_at=known_by)


def _sessions_of(closes: pl.DataFrame) -> list[date]:
    """Every session of the calendar from the first close to the last."""
    days = closes["trade_date"]
    first, last = days.min(), days.max()
    if not isinstance(first, date) or not isinstance(last, date):
        return []
    return trading_calendar.sessions_between(first, last)


def _stale(statistics: pl.DataFrame, latest: date) -> pl.DataFrame:
    """``ticker`` and ``doubt`` of those whose last close is older than it should be, in words."""
    return statistics.filter(pl.col("last_session") < latest).select(
        "ticker", doubt=pl.format("the latest close known is of {}", "last_session")
    )


def _split_sized_moves(closes: pl.DataFrame, lookback: int) -> pl.DataFrame:
    """``ticker`` and ``doubt``: the latest move of each that may be a split, in words."""
    return (
        closes.sort("ticker", "trade_date")
        .group_by("ticker", maintain_order=True)
        .tail(lookback)
        .with_columns(moved=pl.col("close").log().diff().over("ticker"))
        .filter(pl.col("moved").abs() > SPLIT_SIZED * (1 - 1e-9))
        .unique("ticker", keep="last", maintain_order=True)
        .select(
            "ticker",
            doubt=pl.format(
                "a move of {} % on {} may be a split: splits were not collected",
                ((pl.col("moved").exp() - 1) * 100).round(1),
                "trade_date",
            ),
        )
    )


def _without_returns(statistics: pl.DataFrame, doubtful: pl.DataFrame) -> pl.DataFrame:
    """``statistics`` without those that are in doubt, and why."""
    sure = pl.col("doubt").is_null()
    is_given = pl.col("annual_volatility").is_not_null()
    return (
        statistics.join(doubtful, on="ticker", how="left")
        .with_columns(
            *(pl.when(sure).then(name).alias(name) for name in STATISTICS
              if name not in _NOT_RETURNS),
            # What was never given needs no doubt to explain it.
            stats_reason=pl.when(sure | ~is_given).then("stats_reason").otherwise("doubt"),
        )
        .drop("doubt")
    )  # fmt: skip


def suitability_scores(statistics: pl.DataFrame) -> pl.DataFrame:
    """``statistics`` with scores and gates.

    A ticker without statistics scores null, not zero.

    Args:
        statistics: rows of `analytics.returns.return_statistics`.

    Returns:
        The same rows. ``stability`` = 1 / (1 + volatility); ``tail_calm`` = 1 / (1 + 100 x tail
        width); ``internal_gate``: Sharpe above 0.5; ``outer_gate``: tail width below 0.08;
        ``coherence`` = (Sharpe + 3 stability) / 5 in 0..1, less a quarter where the internal
        gate fails and 15 % where the outer does; ``suitability`` = 0.5 stability +
        0.3 Sharpe / 3 (within -1..1) + 0.2 tail calm, in 0..1.
    """
    sharpe, tail = pl.col("sharpe"), pl.col("tail_width")
    stability = 1 / (1 + pl.col("annual_volatility"))
    calm = 1 / (1 + 100 * tail)
    internal, outer = sharpe > SHARPE_GATE, tail < TAIL_GATE
    kept = (
        1 - pl.when(internal).then(0.0).otherwise(0.25) - pl.when(outer).then(0.0).otherwise(0.15)
    )
    return statistics.with_columns(
        stability=stability,
        tail_calm=calm,
        internal_gate=internal,
        outer_gate=outer,
        coherence=((sharpe + 3 * stability) / 5).clip(0, 1) * kept,
        suitability=(0.5 * stability + 0.3 * (sharpe / 3).clip(-1, 1) + 0.2 * calm).clip(0, 1),
    )
