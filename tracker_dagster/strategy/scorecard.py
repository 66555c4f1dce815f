"""The Friday scorecard: hit rates with intervals, results against the shares alone, predictions."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.proportions import wilson_interval
from tracker_dagster.schemas.outcomes import FRIDAY_SCORECARD, PERIODS

Row = dict[str, Any]


def scorecard(outcomes: pl.DataFrame, day: date) -> pl.DataFrame:
    """Rows of friday_scorecard: one an account and span.

    A position whose result is not known is counted as ended and is in no rate and no sum.

    Args:
        outcomes: rows of outcomes of all sessions up to ``day``; a position that comes twice is
            an error.
        day: session.

    Raises:
        ValueError: a position is in ``outcomes`` more than once.
    """
    rows = outcomes.filter(pl.col("trade_date") <= day)
    if rows["position_id"].is_duplicated().any():
        raise ValueError("a position has more than one outcome")
    if rows.is_empty():
        return FRIDAY_SCORECARD.empty()
    cards = [
        {
            "account": account,
            "period": period,
            "first_day": first,
            **_card(_of_span(mine, first, end)),
        }
        for (account,), mine in sorted(rows.group_by("account"))
        for period, (first, end) in zip(PERIODS, _spans(day), strict=True)
    ]
    return FRIDAY_SCORECARD.conform(
        pl.DataFrame(cards, infer_schema_length=None),
        trade_date=day,
        available_at=trading_calendar.decision_time(day),
    )


def _spans(day: date) -> tuple[tuple[date | None, date | None], ...]:
    """First day and the day after the last of each of `PERIODS`; None where it has no bound."""
    monday = day - timedelta(days=day.weekday())
    return (monday, None), (monday - timedelta(days=7), monday), (None, None)


def _of_span(rows: pl.DataFrame, first: date | None, end: date | None) -> pl.DataFrame:
    if first is not None:
        rows = rows.filter(pl.col("ended_on") >= first)
    if end is not None:
        rows = rows.filter(pl.col("ended_on") < end)
    return rows


def _card(rows: pl.DataFrame) -> Row:
    scored = rows.filter(pl.col("hit").is_not_null() & pl.col("beat_hold").is_not_null())
    predicted = rows.drop_nulls("prediction_error")["prediction_error"]
    return {
        "ended": rows.height,
        "scored": scored.height,
        **_rate(scored["hit"], "hits", "hit"),
        **_rate(scored["beat_hold"], "beat_hold", "beat"),
        **{
            name: scored[name].sum() if scored.height else None
            for name in ("position_result", "buy_hold_pnl", "versus_hold", "cost", "premium")
        },
        "predicted": len(predicted),
        "prediction_error": predicted.mean(),
        "prediction_error_abs": predicted.abs().mean(),
        "premium_error": rows["premium_error"].mean(),
        **_rank_drift(scored),
    }


def _rate(hits: pl.Series, count: str, name: str) -> Row:
    successes, trials = int(hits.sum() or 0), len(hits)
    low, high = wilson_interval(successes, trials) or (None, None)
    rate = successes / trials if trials else None
    return {count: successes, f"{name}_rate": rate, f"{name}_low": low, f"{name}_high": high}


def _rank_drift(scored: pl.DataFrame) -> Row:
    """How far ranks at the pick were from ranks by return, among positions of one decision.

    Ranks are compared as 1, 2, ... among those that were opened; a position alone in its decision
    has nothing to be compared with. The correlation is Spearman's with all decisions together,
    each about its own mean.
    """
    of_decision = ["decision_at", "basis"]
    ranked = (
        scored.drop_nulls(["rank", "cost", "decision_at"])
        .filter(pl.col("cost") > 0)
        .with_columns(earned=pl.col("position_result") / pl.col("cost"))
        .filter(pl.len().over(of_decision) > 1)
        .with_columns(
            at_pick=pl.col("rank").rank().over(of_decision),
            by_return=pl.col("earned").rank(descending=True).over(of_decision),
        )
        .with_columns(
            (pl.col(name) - pl.col(name).mean().over(of_decision)).alias(f"{name}_off")
            for name in ("at_pick", "by_return")
        )
    )
    drift = (ranked["at_pick"] - ranked["by_return"]).abs().mean()
    a, b = ranked["at_pick_off"], ranked["by_return_off"]
    spread = (float((a * a).sum()) * float((b * b).sum())) ** 0.5
    # Two positions correlate fully, whatever they do.
    enough = ranked.height >= 3 and spread > 0
    return {
        "ranked": ranked.height,
        "rank_drift": drift,
        "rank_correlation": float((a * b).sum()) / spread if enough else None,
    }
