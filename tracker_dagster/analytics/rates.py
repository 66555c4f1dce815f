"""Zero rates from a par yield curve, and their interpolation over maturities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Sources of a curve as its label names them.
TREASURY, FALLBACK = "treasury", "fallback"
#: Coupons of Treasury notes are half-yearly, and so is the compounding of the yields.
_PERIOD = 0.5


@dataclass(frozen=True, slots=True)
class Curve:
    """A zero curve.

    Attributes:
        years: maturities (n,), ascending.
        rates: continuous rates per year at the maturities (n,).
        source: where it comes from and of which date: ``treasury 2026-06-01``.
    """

    years: Floats
    rates: Floats
    source: str

    @property
    def limit(self) -> str:
        """Why there is no rate for a term past the last maturity, for people."""
        return f"no rate: the curve ({self.source}) ends at {self.years[-1]:g} years"


def zero_rates(months: ArrayLike, yield_percent: ArrayLike) -> Floats:
    """Continuous zero rates of a par yield curve.

    The Treasury's constant-maturity yields are par yields on the basis of half-yearly coupons at
    every maturity, bills' included, and compound half-yearly (US Treasury, "Interest Rates:
    Frequently Asked Questions": APY = (1 + I/2)^2 - 1). Up to half a year there is one payment,
    so that exp(r) = (1 + y/2)^2. Beyond, discount factors are bootstrapped on the half-yearly
    grid, with par yields interpolated linearly between the maturities that were published: a bond
    at par with coupon y/2 gives D_n = (1 - y/2 * (D_1 + ... + D_n-1)) / (1 + y/2) (Hull, Options,
    Futures and Other Derivatives, 10th ed., section 4.7).

    Args:
        months: maturities in months (n,), ascending, without a repetition.
        yield_percent: par yields in percent (n,); 4.06 is 4.06 %.

    Returns:
        Continuous rates per year (n,); NaN past half a year where no shorter maturity was
        published, since there is nothing to discount the coupons with.

    Raises:
        ValueError: maturities that do not ascend, or not above zero.
    """
    years = np.asarray(months, dtype=np.float64) / 12.0
    par = np.asarray(yield_percent, dtype=np.float64) / 100.0
    if years.size == 0:
        return np.empty(0)
    if years[0] <= 0 or (np.diff(years) <= 0).any():
        raise ValueError("maturities must be above zero and ascend")
    rates = 2.0 * np.log1p(par / 2.0)
    long = years > _PERIOD
    if not long.any():
        return rates
    if long.all():
        return np.full(years.shape, np.nan)
    grid = _PERIOD * np.arange(1, int(np.ceil(years[-1] / _PERIOD)) + 1)
    coupons = np.interp(grid, years, par) * _PERIOD
    discount = np.empty(grid.shape)
    paid = 0.0
    for n, coupon in enumerate(coupons):
        discount[n] = (1.0 - coupon * paid) / (1.0 + coupon)
        paid += discount[n]
    rates[long] = np.interp(years[long], grid, -np.log(discount) / grid)
    return rates


def rates_for(curve: Curve, years: ArrayLike) -> Floats:
    """Continuous rates for terms, of the shape of ``years``.

    Linear in maturity between the curve's points; below the first (one month) the rate of the
    first, since nothing shorter is published. Past the last there is none: NaN, and
    `Curve.limit` says why.

    Args:
        curve: zero curve.
        years: terms in years; NaN and negative ones give NaN.
    """
    terms = np.asarray(years, dtype=np.float64)
    # A term to the last minute of the last maturity must not fail for its rounding.
    within = (terms >= 0) & (terms <= curve.years[-1] * (1 + 1e-12))
    return np.where(within, np.interp(terms, curve.years, curve.rates), np.nan)


def curve_of(rows: pl.DataFrame) -> Curve | None:
    """The curve in the rows of one session of treasury_yields; None where there are none.

    Args:
        rows: ``curve_date``, ``months``, ``rate``, ``source``. Maturities without a rate are
            left out.

    Raises:
        ValueError: rows of more than one curve.
    """
    known = rows.drop_nulls("rate").sort("months")
    if known.is_empty():
        return None
    origins = known.select("source", "curve_date").unique()
    if origins.height > 1:
        raise ValueError(f"rows of {origins.height} curves where one is wanted")
    source, day = origins.row(0)
    return Curve(
        years=known["months"].to_numpy() / 12.0,
        rates=known["rate"].to_numpy(),
        source=f"{FALLBACK if source == FALLBACK else TREASURY} {day}",
    )
