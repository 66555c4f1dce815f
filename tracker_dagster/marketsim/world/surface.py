"""The true volatility surface: term structure, skew, curvature and the earnings bump."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tracker_dagster.marketsim.world.randomness import Floats

_RISK_PREMIUM = 1.08  # implied over realised volatility
_REVERSION_PER_YEAR = 4.0


@dataclass(frozen=True, slots=True)
class SurfaceShape:
    """Lasting traits of an underlying's smile.

    ``correlation`` tilts it (negative: puts dearer); ``curvature`` is SSVI's eta. The slices
    are free of butterfly arbitrage while eta (1 + |rho|) <= 2 (Gatheral and Jacquier, 2014).
    """

    long_run: float
    correlation: float
    curvature: float


def shape_of(category: str, long_run: float) -> SurfaceShape:
    """The smile of an underlying by its category (``INDEX`` and ``VIX`` included)."""
    if category in ("ETF", "INDEX"):
        return SurfaceShape(long_run, -0.68, 1.05)
    if category == "VIX":
        return SurfaceShape(long_run, 0.55, 1.0)
    return SurfaceShape(long_run, -0.32, 0.95)


def at_the_money_variance(
    shape: SurfaceShape,
    current: Floats | float,
    years: Floats,
    earnings_variance: Floats | float = 0.0,
) -> Floats:
    """Total variance at the money forward: mean reversion from ``current``, plus earnings."""
    decay = (1 - np.exp(-_REVERSION_PER_YEAR * years)) / _REVERSION_PER_YEAR
    base = shape.long_run**2 * years + (current**2 - shape.long_run**2) * decay
    return np.asarray(_RISK_PREMIUM**2 * base + earnings_variance)


def implied_volatility(
    shape: SurfaceShape, variance: Floats, log_moneyness: Floats, years: Floats
) -> Floats:
    """The smile at ``log_moneyness`` = ln(K/F) for at-the-money total ``variance`` (SSVI)."""
    theta = np.maximum(variance, 1e-9)
    phi = shape.curvature / np.sqrt(theta * (1 + theta))
    rho = shape.correlation
    tilted = phi * log_moneyness
    total = 0.5 * theta * (1 + rho * tilted + np.sqrt((tilted + rho) ** 2 + 1 - rho**2))
    return np.sqrt(total / np.maximum(years, 1e-9))
