"""The calls of one expiry as candidates: where their numbers come from, and which gates they pass.

Nothing here chooses between tickers; `picks` does.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import polars as pl

from tracker_dagster.analytics.pricing import greeks
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.strategy.known import known_at
from tracker_dagster.strategy.settings import PickSettings

#: What every source of candidates is brought to.
CANDIDATE_SCHEMA: dict[str, pl.DataType] = {
    "ticker": pl.String(),
    "symbol": pl.String(),
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
}

#: Gates in the order in which they are told, and what a failure of each means.
GATES = (
    "standard_contract",
    "quote",
    "quote_age",
    "min_otm",
    "delta_band",
    "spread",
    "open_interest",
    "volume",
    "min_yield",
    "max_yield",
)


def from_chain(chain: pl.DataFrame, expiry: date, decision_at: datetime, day: date) -> pl.DataFrame:
    """Calls of ``expiry`` in the latest capture of each underlying known at the decision.

    Args:
        chain: rows of option_chain of the session, any slots.
        expiry: expiration wanted.
        decision_at: later slots are not used.
        day: session; captures of other sessions are not used.
    """
    rows = known_at(chain, decision_at, day).filter(pl.col("trade_date") == day)
    rows = rows.filter(pl.col("slot") == pl.col("slot").max().over("underlying"))
    return _conform(
        rows.filter((pl.col("right") == "C") & (pl.col("expiry") == expiry)).with_columns(
            ticker=pl.col("underlying"), premium_source=pl.lit("mid_quote")
        )
    )


def from_day_file(
    option_bars: pl.DataFrame, expiry: date, decision_at: datetime, session: date
) -> pl.DataFrame:
    """Calls of ``expiry`` that traded on ``session``, at their last traded price.

    Quotes, open interest and Greeks are not in a day file and stay null.

    Args:
        option_bars: rows of option_day_aggs.
        expiry: expiration wanted.
        decision_at: files published later are not used.
        session: the session before the decision.
    """
    rows = known_at(option_bars, decision_at, session).filter(pl.col("trade_date") == session)
    return _conform(
        rows.filter((pl.col("right") == "C") & (pl.col("expiry") == expiry)).with_columns(
            ticker=pl.col("underlying"),
            mid=pl.col("close"),
            premium_source=pl.lit("day_close"),
            quote_status=pl.lit("DAY_FILE"),
            day_volume=pl.col("volume"),
            is_standard=~pl.col("is_adjusted"),
        )
    )


def _conform(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in CANDIDATE_SCHEMA.items()
    ).sort("ticker", "strike", "symbol")


def with_delta(
    candidates: pl.DataFrame, expiry: date, decision_at: datetime, rate: float
) -> pl.DataFrame:
    """``candidates`` (with ``price``) and where the vendor sent no delta, our own from its IV.

    ``delta_source`` is ``vendor``, ``bsm_vendor_iv``, or says why delta stays null.
    """
    years = years_to_expiry(decision_at, expiry)
    own = candidates.select("price", "strike", "implied_volatility").to_numpy()
    # A few dozen rows: compiled code would take longer to load than to run.
    computed = greeks(
        own[:, 0], own[:, 1], max(years, 1e-9), rate, 0.0, own[:, 2], is_call=True, backend="numpy"
    ).delta
    from_vendor = pl.col("delta").is_not_null()
    own_delta = pl.Series("own", computed, dtype=pl.Float64, nan_to_null=True)
    return candidates.with_columns(own_delta).select(
        pl.exclude("delta", "own"),
        delta=pl.coalesce("delta", "own"),
        delta_source=pl.when(from_vendor)
        .then(pl.lit("vendor"))
        .when(pl.col("own").is_not_null())
        .then(pl.lit("bsm_vendor_iv"))
        .otherwise(pl.lit("no delta and no implied volatility sent")),
    )


def gate(candidates: pl.DataFrame, decision_at: datetime, settings: PickSettings) -> pl.DataFrame:
    """``candidates`` with ``failed_gate``: the first gate in `GATES` that fails, else null.

    A gate whose input is null does not fail; `not_evaluated` says which those are.

    Args:
        candidates: `CANDIDATE_SCHEMA` and ``price``, and of the ticker's lane ``otm_floor``,
            ``yield_floor``, ``max_delta``.
        decision_at: quote ages are counted from here.
        settings: limits.
    """
    oldest = decision_at - timedelta(minutes=settings.max_quote_age_minutes)
    premium_yield = pl.col("mid") / pl.col("price")
    fails: dict[str, pl.Expr] = {
        "standard_contract": ~pl.col("is_standard"),
        "quote": pl.col("mid").is_null() | ~pl.col("quote_status").is_in(["OK", "DAY_FILE"]),
        "quote_age": pl.col("quote_at") < oldest,
        "min_otm": pl.col("strike") / pl.col("price") - 1 < pl.col("otm_floor"),
        "delta_band": ~pl.col("delta").is_between(settings.min_delta, pl.col("max_delta")),
        "spread": pl.col("spread_pct") > settings.max_spread,
        "open_interest": pl.col("open_interest") < settings.min_open_interest,
        "volume": pl.col("day_volume") < settings.min_day_volume,
        "min_yield": premium_yield < pl.col("yield_floor"),
        "max_yield": premium_yield >= settings.max_period_yield,
    }
    return candidates.with_columns(
        spread_pct=(pl.col("ask") - pl.col("bid")) / pl.col("mid"),
        premium_yield=premium_yield,
    ).with_columns(
        failed_gate=pl.coalesce(
            pl.when(fails[name].fill_null(value=False)).then(pl.lit(name)) for name in GATES
        )
    )


def ordered(passing: pl.DataFrame) -> pl.DataFrame:
    """Candidates that passed, each ticker's nearest to its target first, with ``strike_source``.

    Where any has a delta, those come first by distance from the lane's target delta (ties: the
    higher yield); otherwise by distance of the strike from the target strike (ties: the lower
    strike). The symbol settles what is left, so the order of the input never matters.
    """
    known = pl.col("delta").is_not_null()
    distance = (
        pl.when(known)
        .then((pl.col("delta") - pl.col("target_delta")).abs())
        .otherwise((pl.col("strike") - pl.col("target_strike")).abs() / pl.col("price"))
    )
    return (
        passing.with_columns(
            _no_delta=~known,
            _distance=distance.round(9),
            _tie=pl.when(known).then(-pl.col("premium_yield")).otherwise(pl.col("strike")),
            strike_source=pl.when(known)
            .then(pl.format("delta_target ({})", "delta_source"))
            .when(pl.col("move_known"))
            .then(pl.lit("expected_move_target (no delta)"))
            .otherwise(pl.lit("otm_floor_target (no delta, no expected move)")),
        )
        .sort("ticker", "_no_delta", "_distance", "_tie", "symbol")
        .drop("_no_delta", "_distance", "_tie")
    )


def alternatives(passing: pl.DataFrame, limit: int) -> pl.DataFrame:
    """``ticker`` and ``alternatives``: JSON of its first ``limit`` candidates, in their order."""
    fields = ("symbol", "strike", "delta", "bid", "ask", "mid", "spread_pct", "premium_yield")
    kept = passing.group_by("ticker", maintain_order=True).head(limit)
    return pl.DataFrame(
        [
            (ticker, json.dumps([_rounded(row) for row in group.select(fields).to_dicts()]))
            for (ticker,), group in kept.group_by("ticker", maintain_order=True)
        ],
        schema={"ticker": pl.String(), "alternatives": pl.String()},
        orient="row",
    )


def _rounded(row: dict[str, object]) -> dict[str, object]:
    return {
        name: round(value, 8) if isinstance(value, float) else value for name, value in row.items()
    }


def rejection_counts(considered: pl.DataFrame) -> pl.DataFrame:
    """``ticker``, ``candidates_count`` and ``rejections``: JSON of gate to how many fell there."""
    rows = []
    for (ticker,), group in considered.sort("ticker").group_by("ticker", maintain_order=True):
        failed = dict(group.drop_nulls("failed_gate")["failed_gate"].value_counts().iter_rows())
        counts = {name: failed[name] for name in GATES if name in failed}
        rows.append((ticker, len(group), json.dumps(counts)))
    return pl.DataFrame(
        rows,
        schema={"ticker": pl.String(), "candidates_count": pl.Int64(), "rejections": pl.String()},
        orient="row",
    )


def not_evaluated(pick: dict[str, object], basis: str) -> dict[str, str]:
    """The gates that a chosen contract's missing numbers left open, each with its reason."""
    in_files = basis == "day_file"
    checks = {
        "spread": ("spread_pct", "day files hold no quotes", "no quote"),
        "quote_age": ("quote_at", "day files hold no quotes", "quote has no time"),
        "delta_band": ("delta", "day files hold no Greeks", "no delta and no implied volatility"),
        "open_interest": ("open_interest", "day files hold no open interest", "not sent"),
        "volume": ("day_volume", "not in the file", "no trade reported this session"),
        "fft": ("fft_status", "no structure features known", "no structure features known"),
        "fractal": ("fractal_status", "no structure features known", "no structure features known"),
    }
    reasons = {
        name: (from_file if in_files else from_chain)
        for name, (column, from_file, from_chain) in checks.items()
        if pick.get(column) is None
    }
    for name in ("earnings", "ex_dividend", "split"):
        if pick.get(f"{name}_in_period") is None:
            reasons[name] = str(pick[f"{name}_note"])
    for name in ("fft", "fractal"):
        if pick.get(f"{name}_status") == "insufficient_history":
            reasons[name] = "insufficient_history"
    return reasons
