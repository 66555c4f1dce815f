"""Rows of iv_term_structure: volatility at fixed terms, its slope, and the index of each chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tracker_dagster.analytics.pricing import price
from tracker_dagster.analytics.volatility.constant_maturity import (
    DAYS_A_YEAR,
    AtTerm,
    constant_maturity,
    term_label,
)
from tracker_dagster.analytics.volatility.model_free import strip_bias, strip_variance
from tracker_dagster.analytics.volatility.smile_points import EXPIRY
from tracker_dagster.analytics.volatility.svi import Slices
from tracker_dagster.instruments import settlement_column
from tracker_dagster.schemas.surface import IV_TERM_STRUCTURE, MATURITIES, SLICE

#: Columns of iv_surface that term structures are made from.
SURFACE_COLUMNS = (
    "underlying", "expiry", "settlement", "available_at", "years", "forward", "atm_volatility",
    "put_25d", "call_25d", *SLICE,
)  # fmt: skip
#: Columns of option_greeks that the chain's index is made from.
STRIP_COLUMNS = (
    "underlying", "root", "expiry", "right", "strike", "is_standard", "spot", "years", "forward",
    "implied_volatility",
)  # fmt: skip

_INDEX_DAYS = 30
#: The Cboe's index left out expiries nearer than a week (white paper, 2009).
_NEAREST_DAYS = 7.0
#: Most by which the strikes that are quoted may miss the variance of the smile they lie on.
_MOST_BIAS = 0.02
NOT_ONE_MOMENT = "last trades of a day are not quotes of one moment"


def term_structure_rows(
    surface: pl.DataFrame, contracts: pl.DataFrame, *, is_quoted: bool
) -> pl.DataFrame:
    """Rows of iv_term_structure for one capture of any number of chains.

    Args:
        surface: rows of iv_surface (`SURFACE_COLUMNS`) of one trade date, basis and slot.
        contracts: rows of option_greeks (`STRIP_COLUMNS`) of the same.
        is_quoted: whether volatilities are those of quotes of one moment; the chain's index is
            made of nothing else.

    Returns:
        One row an underlying of ``surface``: the columns of iv_term_structure but ``trade_date``,
        ``basis`` and ``slot``.
    """
    index = (
        _chain_indices(surface, contracts)
        if is_quoted
        else dict.fromkeys(surface["underlying"].unique(), AtTerm(None, NOT_ONE_MOMENT))
    )
    spots = dict(
        contracts.group_by("underlying").agg(pl.col("spot").drop_nulls().first()).iter_rows()
    )
    rows = [
        {
            "underlying": underlying,
            "available_at": expiries["available_at"].max(),
            "spot": spots.get(underlying),
            **_row(expiries, index[underlying]),
        }
        for (underlying,), expiries in surface.sort("underlying").group_by(
            "underlying", maintain_order=True
        )
    ]
    schema = {
        name: dtype
        for name, dtype in IV_TERM_STRUCTURE.polars_schema.items()
        if name not in ("trade_date", "basis", "slot")
    }
    return pl.DataFrame(rows, schema=schema)


def _row(expiries: pl.DataFrame, index: AtTerm) -> dict[str, Any]:
    """What one underlying's expiries say at fixed terms, and why what is missing is."""
    years, atm, put, call = (
        expiries[name].fill_null(np.nan).to_numpy()
        for name in ("years", "atm_volatility", "put_25d", "call_25d")
    )
    found = {f"iv_{days}d": constant_maturity(years, atm, days) for days in MATURITIES}
    found["model_free_30d"] = index
    has_both = np.isfinite(put) & np.isfinite(call)
    puts, calls = (
        constant_maturity(years, np.where(has_both, side, np.nan), _INDEX_DAYS)
        for side in (put, call)
    )
    values: dict[str, Any] = {name: term.volatility for name, term in found.items()}
    reasons = {name: term.reason for name, term in found.items() if term.reason}
    if puts.volatility is not None and calls.volatility is not None:
        values["skew_25d_30d"] = puts.volatility - calls.volatility
    else:
        reasons["skew_25d_30d"] = f"of 25-delta volatilities {puts.reason}"
    short, long = values["iv_30d"], values["iv_90d"]
    slope = None if short is None or long is None else long / short - 1
    if slope is None:
        reasons["slope_30_90"] = "iv_30d or iv_90d is missing"
    return {
        **values,
        "expiries_count": int(np.isfinite(atm).sum()),
        "slope_30_90": slope,
        "structure": term_label(slope),
        "missing": "; ".join(f"{name}: {why}" for name, why in reasons.items()) or None,
    }


def _chain_indices(surface: pl.DataFrame, contracts: pl.DataFrame) -> dict[str, AtTerm]:
    """The VIX-style index of each chain, from the two expiries around thirty days."""
    around = _around_index_term(surface)
    strips = dict(list(_undiscounted(contracts, around).group_by(EXPIRY, maintain_order=True)))
    found: dict[str, AtTerm] = {}
    for underlying in surface["underlying"].unique():
        years, volatilities, reasons = [], [], []
        for row in around.filter(pl.col("underlying") == underlying).iter_rows(named=True):
            strip = _strip(row, strips.get(tuple(row[name] for name in EXPIRY)))
            years.append(row["years"])
            volatilities.append(np.nan if strip.volatility is None else strip.volatility)
            reasons += [] if strip.reason is None else [f"{row['expiry']}: {strip.reason}"]
        found[underlying] = (
            AtTerm(None, ", ".join(reasons))
            if reasons
            else constant_maturity(years, volatilities, _INDEX_DAYS)
        )
    return found


def _around_index_term(surface: pl.DataFrame) -> pl.DataFrame:
    """The last expiry with a smile before the index's term and the first after, of each chain."""
    days = pl.col("years") * DAYS_A_YEAR
    fitted = pl.col(SLICE[0]).is_not_null()
    ahead = surface.filter(fitted & (days >= _NEAREST_DAYS)).sort("years")
    near = ahead.filter(days <= _INDEX_DAYS).unique("underlying", keep="last")
    far = ahead.filter(days > _INDEX_DAYS).unique("underlying", keep="first")
    return pl.concat([near, far]).sort(EXPIRY)


def _undiscounted(contracts: pl.DataFrame, around: pl.DataFrame) -> pl.DataFrame:
    """Contracts of these expiries with their ``value`` at expiry as European options.

    What an American option costs for its early exercise is no variance.
    """
    rows = (
        contracts.filter(pl.col("is_standard"))
        .with_columns(settlement_column())
        .join(around.select(EXPIRY), on=EXPIRY, how="semi")
        .sort(*EXPIRY, "strike", "root")
        .unique((*EXPIRY, "strike", "right"), keep="first", maintain_order=True)
    )
    value = price(
        rows["forward"].fill_null(np.nan).to_numpy(),
        rows["strike"].to_numpy(),
        rows["years"].to_numpy(),
        0.0,
        0.0,
        rows["implied_volatility"].fill_null(np.nan).to_numpy(),
        (rows["right"] == "C").to_numpy(),
    )
    return rows.with_columns(value=pl.Series(value, nan_to_null=True))


def _strip(expiry: Mapping[str, Any], rows: pl.DataFrame | None) -> AtTerm:
    """Volatility of one expiry by its strip, where its strikes are many and reach far enough."""
    if rows is None:
        return AtTerm(None, "its contracts are no longer there")
    years, forward = expiry["years"], expiry["forward"]
    sides = (
        rows.group_by("strike")
        .agg(
            call=pl.col("value").filter(pl.col("right") == "C").first(),
            put=pl.col("value").filter(pl.col("right") == "P").first(),
        )
        .sort("strike")
    )
    strip = strip_variance(
        sides["strike"].to_numpy(),
        sides["call"].fill_null(np.nan).to_numpy(),
        sides["put"].fill_null(np.nan).to_numpy(),
        years,
        rate=0.0,
        forward=forward,
    )
    if strip.variance is None:
        return AtTerm(None, strip.reason)
    bias = strip_bias(Slices.of([expiry[name] for name in SLICE]), strip.strikes, forward)
    if not abs(bias) <= _MOST_BIAS:
        return AtTerm(None, f"its strikes miss the variance of their own smile by {bias:+.0%}")
    return AtTerm(float(np.sqrt(strip.variance)))
