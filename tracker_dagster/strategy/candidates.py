"""Every call that a decision considers: what it pays and risks, why it fell, its place in line.

Nothing here chooses between tickers; `picks` does.
"""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.strategy.events import corporate_action_flags
from tracker_dagster.strategy.gates import gated
from tracker_dagster.strategy.known import known_at
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.strike_quality import strike_quality
from tracker_dagster.strategy.tickers import SNAPSHOT, Decision, decision_of, priced_tickers
from tracker_dagster.strategy.worth import with_greeks, with_returns, with_worth

#: What every source of candidates is brought to.
_CONTRACT: dict[str, pl.DataType] = {
    "ticker": pl.String(),
    "symbol": pl.String(),
    "slot": pl.Datetime("us", "UTC"),
    "expiry": pl.Date(),
    "strike": pl.Float64(),
    "bid": pl.Float64(),
    "ask": pl.Float64(),
    "mid": pl.Float64(),
    "premium_source": pl.String(),
    "quote_status": pl.String(),
    "quote_at": pl.Datetime("us", "UTC"),
    "delta": pl.Float64(),
    "implied_volatility": pl.Float64(),
    "open_interest": pl.Int64(),
    "day_volume": pl.Float64(),
    "is_standard": pl.Boolean(),
    "underlying_price": pl.Float64(),
}
#: What a candidate needs to know of its ticker.
_OF_TICKER = (
    "ticker", "price", "lane", "annual_volatility", "stats_reason", "otm_floor", "yield_floor",
    "max_delta", "target_delta", "target_strike", "move_known", "split_in_period", "split_note",
    "ex_dividend_in_period",
)  # fmt: skip


def pick_candidates(
    basis: str,
    day: date,
    decision_at: datetime,
    *,
    universe: pl.DataFrame,
    prices: pl.DataFrame,
    contracts: pl.DataFrame,
    suitability: pl.DataFrame,
    option_greeks: pl.DataFrame | None = None,
    traded: pl.DataFrame | None = None,
    corporate_actions: pl.DataFrame | None = None,
    collections: pl.DataFrame | None = None,
    settings: PickSettings | None = None,
) -> pl.DataFrame:
    """Rows of pick_candidates: every call of the decision's expiry of every enabled ticker.

    Whatever is passed, only what was known at the decision is used.

    Args:
        basis: ``snapshot`` or ``day_file``.
        day: session of the decision.
        decision_at: instant of the decision.
        universe: rows of universe; the latest session up to ``day`` counts.
        prices: rows of market_last of ``day`` on the ``snapshot`` basis; of stock_day_aggs of the
            session before on ``day_file``.
        contracts: rows of option_chain of ``day``; of option_day_aggs of the session before.
        suitability: rows of suitability of ``day``.
        option_greeks: rows of option_greeks of the slot; of the day files of the session before.
        traded: rows of option_day_aggs of the sessions before ``day``, for the strikes' quality.
        corporate_actions: rows of corporate_actions; None where unknown.
        collections: rows of reference_collections of the last days; None where every session
            with rows counts as collected whole.
        settings: limits; defaults when None.

    Raises:
        ValueError: no such basis.
    """
    settings = settings or PickSettings()
    decision = decision_of(basis, day, decision_at, settings)
    tickers = priced_tickers(decision, universe, prices, suitability, corporate_actions, settings)
    flags = corporate_action_flags(
        tickers, corporate_actions, day, decision.expiry, decision_at,
        settings.reference_max_age_days, collections,
    )  # fmt: skip
    usable = pl.col("price_problem").is_null()
    tickers = tickers.join(flags, on="ticker", how="left").with_columns(
        pl.when(usable).then(pl.col(name)).alias(name) for name in ("price", "target_strike")
    )
    rows = _calls(contracts, decision).join(
        tickers.select(_OF_TICKER), on="ticker", maintain_order="left"
    )
    if rows.is_empty():
        return PICK_CANDIDATES.empty()
    rows = with_greeks(rows, option_greeks, decision, settings)
    rows = with_returns(rows, decision)
    rows = with_worth(rows, decision, settings)
    rows = strike_quality(rows, traded, decision, settings.strike_quality)
    rows = in_order_of_choice(gated(rows, decision, settings))
    return PICK_CANDIDATES.conform(
        rows,
        trade_date=day,
        basis=basis,
        decision_at=decision_at,
        available_at=decision_at,
    ).sort(PICK_CANDIDATES.key)


def _calls(contracts: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    """Calls of the expiry: of each underlying's latest capture, or of the session before."""
    rows = known_at(contracts, decision.decision_at, decision.day).filter(
        pl.col("trade_date") == decision.data_session
    )
    if decision.basis == SNAPSHOT:
        rows = rows.filter(pl.col("slot") == pl.col("slot").max().over("underlying"))
        named = {"premium_source": pl.lit("mid_quote")}
    else:
        named = {
            "slot": pl.lit(decision.priced_at),
            "mid": pl.col("close"),
            "premium_source": pl.lit("day_close"),
            "quote_status": pl.lit("DAY_FILE"),
            "day_volume": pl.col("volume"),
            "is_standard": ~pl.col("is_adjusted"),
        }
    rows = rows.filter(
        (pl.col("right") == "C") & (pl.col("expiry") == decision.expiry)
    ).with_columns(ticker=pl.col("underlying"), **named)
    return (
        rows.select(
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in _CONTRACT.items()
        )
        .sort("ticker", "strike", "symbol")
        .unique("symbol", keep="first", maintain_order=True)
    )


def in_order_of_choice(calls: pl.DataFrame, target_delta: str = "target_delta") -> pl.DataFrame:
    """``calls`` with ``choice_rank`` and ``strike_source`` of those that failed no gate.

    Nearest to the target first. Where any of a ticker's has a delta, those come first by distance
    from the lane's target delta (ties: the higher yield); otherwise by distance of the strike from
    the target strike (ties: the lower strike). The symbol settles what is left, so the order of
    the input never matters.

    Args:
        calls: ``ticker, symbol, strike, price, delta, delta_source, premium_yield, target_strike,
            move_known, failed_gate`` and the target delta.
        target_delta: column with the delta aimed at.
    """
    known = pl.col("delta").is_not_null()
    distance = (
        pl.when(known)
        .then((pl.col("delta") - pl.col(target_delta)).abs())
        .otherwise((pl.col("strike") - pl.col("target_strike")).abs() / pl.col("price"))
    )
    passes = pl.col("failed_gate").is_null()
    ordered = calls.with_columns(
        _failed=~passes,
        _no_delta=~known,
        _distance=distance.round(9),
        _tie=pl.when(known).then(-pl.col("premium_yield")).otherwise(pl.col("strike")),
        strike_source=pl.when(~passes)
        .then(None)
        .when(known)
        .then(pl.format("delta_target ({})", "delta_source"))
        .when(pl.col("move_known"))
        .then(pl.lit("expected_move_target (no delta)"))
        .otherwise(pl.lit("otm_floor_target (no delta, no expected move)")),
    ).sort("ticker", "_failed", "_no_delta", "_distance", "_tie", "symbol")
    return ordered.with_columns(
        choice_rank=pl.when(passes).then(pl.int_range(1, pl.len() + 1).over("ticker"))
    ).drop("_failed", "_no_delta", "_distance", "_tie")
