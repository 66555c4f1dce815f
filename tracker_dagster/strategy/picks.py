"""The covered call of the week for each ticker, or the stage and reason for having none.

Two bases that are never mixed: a captured chain (``snapshot``) and the day files of the session
before (``day_file``). The calls come from `candidates`, gated and in order; here the first of each
ticker becomes its pick, and picks are ranked.

``est_weekly_prem_100`` and ``premium_yield`` are at the mid, as the report has always shown them;
what a sale at once would bring is ``premium_at_bid_100``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.schemas.decisions import COST_BUCKETS, WEEKLY_PICKS
from tracker_dagster.strategy.events import corporate_action_flags, earnings_flags
from tracker_dagster.strategy.gates import json_object, rejection_counts
from tracker_dagster.strategy.iv_ranks import iv_ranks
from tracker_dagster.strategy.known import known_at
from tracker_dagster.strategy.ranking import ranked
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.tickers import (
    Decision,
    decision_of,
    priced_tickers,
    target_expiry,
)

__all__ = ["cost_bucket", "target_expiry", "weekly_picks"]

#: What a pick takes over from its candidate as it is.
_CONTRACT = (
    "symbol", "strike", "strike_source", "bid", "ask", "mid", "premium_source", "spread_pct",
    "delta", "delta_source", "implied_volatility", "volatility_source", "open_interest",
    "day_volume", "quote_at", "premium_yield", "annualised_yield", "otm_pct", "static_return",
    "if_called_return", "break_even", "downside_protection", "assignment_probability",
    "fees_100", "expected_value_100", "expected_value_reason", "strike_quality",
)  # fmt: skip
_STRUCTURE = ("bars_1m_count", "history_status", "fft_status", "fractal_status")


def weekly_picks(
    basis: str,
    day: date,
    decision_at: datetime,
    *,
    universe: pl.DataFrame,
    prices: pl.DataFrame,
    candidates: pl.DataFrame,
    suitability: pl.DataFrame,
    structure: pl.DataFrame,
    corporate_actions: pl.DataFrame | None = None,
    earnings: pl.DataFrame | None = None,
    iv_percentile: pl.DataFrame | None = None,
    collections: pl.DataFrame | None = None,
    settings: PickSettings | None = None,
    inputs: Mapping[str, object] | None = None,
    chain_gaps: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Rows of weekly_picks of one decision, one an enabled ticker.

    Whatever is passed, only what was known at the decision is used.

    Args:
        basis: ``snapshot`` or ``day_file``.
        day: session of the decision.
        decision_at: instant of the decision.
        universe: rows of universe; the latest session up to ``day`` counts.
        prices: rows of market_last of ``day`` on the ``snapshot`` basis; of stock_day_aggs of the
            session before on ``day_file``.
        candidates: rows of pick_candidates; those of this decision count.
        suitability: rows of suitability of ``day``.
        structure: rows of structure_features; a ticker's latest counts.
        corporate_actions: rows of corporate_actions; None where unknown.
        earnings: rows of earnings_calendar; None where unknown.
        iv_percentile: rows of iv_percentile of the session before; None where unknown.
        collections: rows of reference_collections of the last days; None where every session
            with rows counts as collected whole.
        settings: limits; defaults when None.
        inputs: identities (ETags, slots) of what was read, stored with every row.
        chain_gaps: of tickers without any chain at the slot, why it is missing.

    Raises:
        ValueError: no such basis.
    """
    settings = settings or PickSettings()
    decision = decision_of(basis, day, decision_at, settings)
    tickers = priced_tickers(decision, universe, prices, suitability, corporate_actions, settings)
    if tickers.is_empty():
        return WEEKLY_PICKS.empty()
    rows = tickers.join(_latest_structure(structure, decision), on="ticker", how="left").join(
        iv_ranks(tickers, iv_percentile, decision), on="ticker", how="left"
    )
    age = settings.reference_max_age_days
    for flags in (
        earnings_flags(tickers, earnings, day, decision.expiry, decision_at, age, collections),
        corporate_action_flags(
            tickers, corporate_actions, day, decision.expiry, decision_at, age, collections
        ),
    ):
        rows = rows.join(flags, on="ticker", how="left")
    rows = _with_choice(rows, _of_decision(candidates, decision))
    rows = _with_outcome(rows, decision.expiry, chain_gaps or {})
    rows = rows.with_columns(
        trade_date=pl.lit(day),
        expiry=pl.lit(decision.expiry),
        dte=pl.lit(decision.dte),
        price_age_minutes=(decision_at - pl.col("price_at")).dt.total_seconds() / 60,
        pack_100_cost=(pl.col("price") * 100).round(2),
        cost_bucket=cost_bucket((pl.col("price") * 100).round(2)),
        est_weekly_prem_100=(pl.col("mid") * 100).round(2),
        premium_at_bid_100=(pl.col("bid") * 100).round(2),
        expected_move_5d=pl.col("price") * pl.col("daily_move") * 5**0.5,
        gates_not_evaluated=_not_evaluated(),
        closes_count=pl.col("closes_count").fill_null(0),
        stats_reason=pl.when(pl.col("closes_count").is_null())
        .then(pl.lit("suitability has no row of the ticker"))
        .otherwise("stats_reason"),
    )
    return WEEKLY_PICKS.conform(
        ranked(rows, decision.sessions_left, settings),
        basis=basis,
        decision_at=decision_at,
        available_at=decision_at,
        inputs=json.dumps(dict(inputs or {}), sort_keys=True, default=str),
    ).sort(WEEKLY_PICKS.key)


def _of_decision(candidates: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    return candidates.filter(
        (pl.col("trade_date") == decision.day)
        & (pl.col("basis") == decision.basis)
        & (pl.col("decision_at") == decision.decision_at)
    )


def _with_choice(rows: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """Adds each ticker's first candidate, how many there were and where the others fell."""
    best = candidates.filter(pl.col("choice_rank") == 1).select(
        "ticker", *_CONTRACT, _gates="gates_not_evaluated", _price="price"
    )
    highest = candidates.group_by("ticker").agg(_highest_strike=pl.col("strike").max())
    return (
        rows.join(rejection_counts(candidates), on="ticker", how="left")
        .join(highest, on="ticker", how="left")
        .join(best, on="ticker", how="left")
        # The price that the pick's numbers rest on, should another have come in since.
        .with_columns(price=pl.coalesce("_price", "price"))
    )


def _latest_structure(structure: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    return (
        known_at(structure, decision.decision_at, decision.day)
        .filter(pl.col("trade_date") >= trading_calendar.previous_session(decision.day))
        .sort("ticker", "trade_date")
        .unique("ticker", keep="last", maintain_order=True)
        .select("ticker", *_STRUCTURE)
    )


def _with_outcome(rows: pl.DataFrame, expiry: date, chain_gaps: Mapping[str, str]) -> pl.DataFrame:
    """Adds ``status``, and for a ticker without a pick the first ``stage`` that failed it."""
    considered = pl.col("candidates_count").fill_null(0)
    gap = pl.col("ticker").replace_strict(chain_gaps, default=None, return_dtype=pl.String)
    none_above = pl.format(
        "no strike above the price (highest {}); ",
        pl.col("_highest_strike").cast(pl.String).str.strip_suffix(".0"),
    )
    ladder: list[tuple[pl.Expr, str, pl.Expr]] = [
        (pl.col("price_problem").is_not_null(), "price", pl.col("price_problem")),
        (pl.col("price").is_null(), "price", pl.lit("missing_price: not in the data")),
        (pl.col("lane").is_null(), "lane", pl.lit("no_lane: suitability has no row of the ticker")),
        (
            (considered == 0) & gap.is_not_null(),
            "chain",
            pl.format("chain_not_captured: {}", gap),
        ),
        (
            considered == 0,
            "chain",
            pl.lit(f"no_calls: pick_candidates holds none that expires on {expiry}"),
        ),
        (
            pl.col("symbol").is_null(),
            "selection",
            pl.format(
                "no_candidate: {}{}",
                pl.when(pl.col("_highest_strike") <= pl.col("price"))
                .then(none_above)
                .otherwise(pl.lit("")),
                pl.col("rejections").str.replace_all(r'[{}":]', ""),
            ),
        ),
    ]
    stage: pl.Expr = pl.lit(None, dtype=pl.String)
    reason: pl.Expr = pl.lit(None, dtype=pl.String)
    for test, name, why in reversed(ladder):
        stage = pl.when(test).then(pl.lit(name)).otherwise(stage)
        reason = pl.when(test).then(why).otherwise(reason)
    return rows.with_columns(
        candidates_count=considered,
        rejections=pl.col("rejections").fill_null("{}"),
        stage=stage,
        reason=reason,
    ).with_columns(
        status=pl.when(pl.col("stage").is_null())
        .then(pl.lit("picked"))
        .otherwise(pl.lit("missing"))
    )


def _not_evaluated() -> pl.Expr:
    """JSON of a pick's gates that were left open: its contract's, then its ticker's."""
    reasons: dict[str, pl.Expr] = {}
    for name in ("fft", "fractal"):
        status = pl.col(f"{name}_status")
        reasons[name] = (
            pl.when(status.is_null())
            .then(pl.lit("no structure features known"))
            .when(status == "insufficient_history")
            .then(status)
        )
    for name in ("earnings", "ex_dividend"):
        reasons[name] = pl.when(pl.col(f"{name}_in_period").is_null()).then(f"{name}_note")
    of_ticker = json_object(reasons)
    whole = pl.concat_str(
        [
            pl.when(text.str.len_bytes() > 2).then(text.str.slice(1, text.str.len_chars() - 2))
            for text in (pl.col("_gates"), of_ticker)
        ],
        separator=", ",
        ignore_nulls=True,
    )
    return (
        pl.when(pl.col("status") == "picked")
        .then(pl.format("{}{}{}", pl.lit("{"), whole, pl.lit("}")))
        .otherwise(pl.lit("{}"))
    )


def cost_bucket(cost: pl.Expr) -> pl.Expr:
    """Name of the bucket that the cost of 100 shares, in dollars, falls into."""
    name: pl.Expr = pl.lit(COST_BUCKETS[-1][1])
    for limit, label in reversed(COST_BUCKETS[:-1]):
        name = pl.when(cost <= limit).then(pl.lit(label)).otherwise(name)
    return pl.when(cost.is_not_null()).then(name)
