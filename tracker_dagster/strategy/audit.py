"""Numbers of a decision worked out a second time from what was stored before it, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

#: Largest differences that rounding explains: dollars a share, dollars, fractions.
PER_SHARE, DOLLARS, FRACTION = 0.005, 0.05, 1e-4

AUDIT_SCHEMA = {
    "ticker": pl.String,
    "symbol": pl.String,
    "field": pl.String,
    "stored": pl.Float64,
    "recomputed": pl.Float64,
    "difference": pl.Float64,
    "tolerance": pl.Float64,
    "ok": pl.Boolean,
    "reason": pl.String,
}


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a field follows from ``_price``, ``_bid``, ``_ask``, ``_mid``, ``_strike``, ``_dte``."""

    value: pl.Expr
    tolerance: float


_PRICE, _MID, _STRIKE, _DTE = (pl.col(name) for name in ("_price", "_mid", "_strike", "_dte"))
_YIELD = _MID / _PRICE
_RULES: Mapping[str, _Rule] = {
    "price": _Rule(_PRICE, PER_SHARE),
    "bid": _Rule(pl.col("_bid"), PER_SHARE),
    "ask": _Rule(pl.col("_ask"), PER_SHARE),
    "mid": _Rule(_MID, PER_SHARE),
    "strike": _Rule(_STRIKE, PER_SHARE),
    "dte": _Rule(_DTE, 0.0),
    "pack_100_cost": _Rule(100 * _PRICE, DOLLARS),
    "est_weekly_prem_100": _Rule(100 * _MID, DOLLARS),
    "premium_at_bid_100": _Rule(100 * pl.col("_bid"), DOLLARS),
    "spread_pct": _Rule((pl.col("_ask") - pl.col("_bid")) / _MID, FRACTION),
    "premium_yield": _Rule(_YIELD, FRACTION),
    "annualised_yield": _Rule(_YIELD * 365 / _DTE, 100 * FRACTION),
    "otm_pct": _Rule(_STRIKE / _PRICE - 1, FRACTION),
    "break_even": _Rule(_PRICE - _MID, PER_SHARE),
    "downside_protection": _Rule(_YIELD, FRACTION),
    "if_called_return": _Rule((_STRIKE - _PRICE + _MID) / _PRICE, FRACTION),
}


def audit_picks(picks: pl.DataFrame, prices: pl.DataFrame, contracts: pl.DataFrame) -> pl.DataFrame:
    """Every number of every pick that follows from a price and a quote, worked out from these.

    Nothing of the pick is used but its ticker, symbol and session; strike and expiry are read off
    the symbol.

    Args:
        picks: rows of weekly_picks of one decision; missing ones are left out.
        prices: ``ticker``, ``price`` (US dollars a share) that the decision rested on.
        contracts: ``symbol``, ``bid``, ``ask``, ``last`` (US dollars a share) that it rested on;
            the middle of the quote counts, without quotes the last trade.

    Returns:
        `AUDIT_SCHEMA`: one row a pick and field, in the order of `picks` and the rules. ``ok`` is
        null, with a reason, where an input is not stored; both sides null is no row.
    """
    picked = picks.filter(pl.col("status") == "picked").with_row_index("_number")
    rows = (
        picked.join(
            prices.select("ticker", _price="price", _priced=pl.lit(True)).unique("ticker"),
            "ticker",
            how="left",
        )
        .join(
            contracts.select(
                "symbol", _bid="bid", _ask="ask", _last="last", _quoted=pl.lit(True)
            ).unique("symbol"),
            on="symbol",
            how="left",
        )
        .with_columns(
            _mid=pl.when(pl.col("_bid").is_null() & pl.col("_ask").is_null())
            .then("_last")
            .otherwise((pl.col("_bid") + pl.col("_ask")) / 2),
            # O:AAPL250613C00200000: six digits of date, the right, the strike in thousandths.
            _strike=pl.col("symbol").str.slice(-8).cast(pl.Float64) / 1000,
            _expiry=("20" + pl.col("symbol").str.slice(-15, 6)).str.to_date("%Y%m%d"),
        )
        .with_columns(_dte=(pl.col("_expiry") - pl.col("trade_date")).dt.total_days())
    )
    parts = [
        rows.select(
            "_number",
            pl.lit(order).alias("_order"),
            "ticker",
            "symbol",
            field=pl.lit(name),
            stored=pl.col(name).cast(pl.Float64),
            recomputed=rule.value.cast(pl.Float64),
            tolerance=pl.lit(rule.tolerance),
            _known=pl.col("_priced").is_not_null() & pl.col("_quoted").is_not_null(),
        )
        for order, (name, rule) in enumerate(_RULES.items())
        if name in picks.columns
    ]
    return _judged(pl.concat(parts).sort("_number", "_order"))


def audit_promotions(promotions: pl.DataFrame) -> pl.DataFrame:
    """The cash of a promotion run, followed from pick to pick.

    Args:
        promotions: rows of promotions of one decision.

    Returns:
        `AUDIT_SCHEMA`, fields ``cash_before`` (what the pick before left) and ``cash_after`` (less
        the cost of 100 shares where promoted); of the first pick only the latter.
    """
    rows = promotions.filter(pl.col("decision") != "error").sort("rank", nulls_last=True)
    left = pl.col("cash_before") - pl.when(pl.col("decision") == "promote").then(
        "pack_100_cost"
    ).otherwise(0.0)
    rows = rows.with_row_index("_number").with_columns(
        _after=left, _before=pl.col("cash_after").shift(1)
    )
    parts = [
        rows.filter(is_told).select(
            "_number",
            pl.lit(order).alias("_order"),
            "ticker",
            "symbol",
            field=pl.lit(name),
            stored=name,
            recomputed=expected,
            tolerance=pl.lit(DOLLARS),
            _known=pl.lit(True),
        )
        for order, (name, expected, is_told) in enumerate(
            [
                ("cash_before", "_before", pl.col("_number") > 0),
                ("cash_after", "_after", pl.lit(True)),
            ]
        )
    ]
    return _judged(pl.concat(parts).sort("_number", "_order"))


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    stored, again = pl.col("stored"), pl.col("recomputed")
    both = stored.is_not_null() & again.is_not_null()
    # A hair beyond the tolerance is the rounding of the difference itself.
    close = (stored - again).abs() <= pl.col("tolerance") + 1e-9
    return (
        rows.filter(stored.is_not_null() | again.is_not_null())
        .with_columns(
            difference=stored - again,
            ok=pl.when(both)
            .then(close)
            .when(again.is_null() & ~pl.col("_known"))
            .then(None)
            .otherwise(pl.lit(False)),
        )
        .with_columns(
            reason=pl.when(pl.col("ok").is_null())
            .then(pl.lit("what it was made from is not stored"))
            .when(pl.col("ok"))
            .then(None)
            .when(stored.is_null())
            .then(pl.lit("is not stored, though it follows from what is"))
            .when(again.is_null())
            .then(pl.lit("is stored, though it does not follow from what is"))
            .otherwise(pl.lit("differs"))
        )
        .select(*AUDIT_SCHEMA)
        .cast(AUDIT_SCHEMA)  # type: ignore[arg-type]
    )
