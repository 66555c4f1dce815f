"""How well a strike trades, from the bars of the sessions before the decision's."""

from __future__ import annotations

import polars as pl

from tracker_dagster.strategy.known import known_at
from tracker_dagster.strategy.settings import StrikeQualityWeights
from tracker_dagster.strategy.tickers import Decision
from tracker_dagster.trading_calendar import last_sessions, previous_session

#: Sessions before the day that a strike is judged by.
SESSIONS = 5


def strike_quality(
    calls: pl.DataFrame,
    traded: pl.DataFrame | None,
    decision: Decision,
    weights: StrikeQualityWeights | None = None,
) -> pl.DataFrame:
    """``calls`` with ``strike_quality`` (0 to 1) and ``strike_quality_reason``.

    The weighted mean of four parts, each from 0 to 1:

    * presence: the share of the sessions in which the contract traded;
    * volume: v / (v + m), with v its contracts a session and m the median of the ticker's calls
      of that expiry that traded: 0.5 at the median;
    * trades: the same of the number of trades;
    * stability: 1 / (1 + r), with r the mean of (high - low) / close over the days it traded.

    Mended (weekly tracker, section 3.4): volume and trades are bounded, a day's range stands in
    for no spread, and what did not trade is told as such instead of getting the middle of a scale.

    The sessions are those of the five before the day in which any of the calls' tickers traded a
    contract of the decision's expiry. One without counts as not published: nothing stands in for
    it, and nothing else that was read matters.

    Args:
        calls: ``symbol``, ``ticker``.
        traded: rows of option_day_aggs of calls; None or none known where no file is.
        decision: what was known by it counts, of its own expiry.
        weights: of the parts.
    """
    weights = weights or StrikeQualityWeights()
    bars = _published(calls, traded, decision)
    sessions = bars["trade_date"].n_unique()
    if sessions == 0:
        return calls.with_columns(
            strike_quality=pl.lit(None, dtype=pl.Float64),
            strike_quality_reason=pl.lit("no option bars were published by the decision"),
        )
    per_call = (
        bars.filter(pl.col("volume") > 0)
        .group_by("symbol")
        .agg(
            _sessions=pl.len(),
            _volume=pl.col("volume").sum() / sessions,
            _trades=pl.col("transactions").sum() / sessions,
            _no_trades=pl.col("transactions").null_count() > 0,
            _range=((pl.col("high") - pl.col("low")) / pl.col("close")).mean(),
        )
    )
    rows = calls.join(per_call, on="symbol", how="left", maintain_order="left")
    medians = [pl.col(name).median().over("ticker") for name in ("_volume", "_trades")]
    rows = rows.with_columns(
        _presence=pl.col("_sessions") / sessions,
        _volume_part=_of_median("_volume", medians[0]),
        # Some feeds do not tell trades: their weight then goes to the other parts.
        _trades_part=pl.when(~pl.col("_no_trades")).then(_of_median("_trades", medians[1])),
        _stability=1 / (1 + pl.col("_range")),
    )
    parts = {
        "_presence": weights.presence,
        "_volume_part": weights.volume,
        "_trades_part": weights.trades,
        "_stability": weights.stability,
    }
    known = pl.sum_horizontal(
        pl.when(pl.col(name).is_not_null()).then(weight) for name, weight in parts.items()
    )
    total = pl.sum_horizontal(pl.col(name) * weight for name, weight in parts.items())
    untraded = pl.col("_sessions").is_null()
    return rows.with_columns(
        strike_quality=pl.when(untraded).then(0.0).otherwise((total / known).clip(0, 1)),
        strike_quality_reason=pl.when(untraded).then(
            pl.lit(f"not traded in the {sessions} published of the last {SESSIONS} sessions")
        ),
    ).drop(*parts, "_sessions", "_volume", "_trades", "_no_trades", "_range")


def _of_median(name: str, median: pl.Expr) -> pl.Expr:
    total = pl.col(name) + median
    return pl.when(total > 0).then(pl.col(name) / total).otherwise(0.0)


def _published(
    calls: pl.DataFrame, traded: pl.DataFrame | None, decision: Decision
) -> pl.DataFrame:
    columns = ("trade_date", "symbol", "high", "low", "close", "volume", "transactions")
    if traded is None:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))
    # By the calendar and the calls' own tickers: what else was read for a range changes no day.
    sessions = last_sessions(previous_session(decision.day), SESSIONS)
    return (
        known_at(traded, decision.decision_at, decision.day)
        .filter(
            pl.col("trade_date").is_in(sessions)
            & (pl.col("expiry") == decision.expiry)
            & pl.col("underlying").is_in(calls["ticker"].unique().implode())
        )
        .unique(["trade_date", "symbol"], keep="first", maintain_order=True)
        .select(columns)
    )
