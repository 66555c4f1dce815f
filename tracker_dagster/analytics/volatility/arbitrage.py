"""What a surface must not allow: butterflies and calendar spreads that pay and cost nothing.

Equations and theorems are those of Gatheral and Jacquier (2014), "Arbitrage-free SVI volatility
surfaces", Quantitative Finance 14(1).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tracker_dagster.analytics.volatility.svi import Floats, Slices, derivatives, total_variance

#: Most that total variance may rise per unit of log-moneyness far out (Lee 2004).
STEEPEST_WING = 2.0
#: Points that are fine about zero and reach far out: to about 4,000 either way.
WIDE_GRID = np.sinh(np.linspace(-9.0, 9.0, 121))
#: Places between the quotes at which two expiries are compared.
_COMMON_PLACES = 65


def density_factor(slices: Slices, moneyness: ArrayLike) -> Floats:
    """Durrleman's g: the density is negative, a butterfly costs less than nothing, where it is.

    g = (1 - k w'/2w)^2 - w'^2/4 (1/w + 1/4) + w''/2 (equation 2.1, lemma 2.2).
    Minus infinity where total variance is not above zero.
    """
    k = np.asarray(moneyness, dtype=np.float64)
    w = total_variance(slices, k)
    slope, bend = derivatives(slices, k)
    safe = np.where(w > 0, w, 1.0)
    g = (1 - k * slope / (2 * safe)) ** 2 - slope**2 / 4 * (1 / safe + 0.25) + bend / 2
    return np.asarray(np.where(w > 0, g, -np.inf))


def density(slices: Slices, moneyness: ArrayLike) -> Floats:
    """Risk-neutral density of ln(S_T/F), per unit of log-moneyness: g over a normal density's."""
    k = np.asarray(moneyness, dtype=np.float64)
    root = np.sqrt(total_variance(slices, k))
    below = -k / root - root / 2
    return np.asarray(
        density_factor(slices, k) * np.exp(-below * below / 2) / (root * np.sqrt(2 * np.pi))
    )


def least_density_factor(slices: Slices) -> Floats:
    """The least g over all strikes, not only those that are quoted.

    g is looked at on two grids that are fine in their middle and reach far out: one around the
    vertex on the scale of sigma, one around the forward on the scale of its deviation. Beyond
    them g tends to (4 - slope^2)/16 on either side, which is not below zero while the wings
    rise by at most `STEEPEST_WING`.

    Returns:
        One value a slice; NaN where the parameters are NaN.
    """
    flat = Slices(*(np.atleast_1d(np.asarray(part, dtype=np.float64)) for part in slices))
    columns = flat.columns()
    around_vertex = columns.m + columns.sigma * WIDE_GRID
    deviation = np.sqrt(np.maximum(total_variance(columns, 0.0), 1e-8))
    around_forward = deviation * WIDE_GRID
    found = np.minimum(
        density_factor(columns, around_vertex).min(axis=1),
        density_factor(columns, around_forward).min(axis=1),
    )
    steepest = flat.b * (1 + np.abs(flat.rho))
    return np.asarray(np.minimum(found, (4 - steepest**2) / 16).reshape(np.shape(slices.a)))


def calendar_gap(earlier: Slices, later: Slices, lowest: ArrayLike, highest: ArrayLike) -> Floats:
    """How much total variance the later expiries add, where they add least.

    A calendar spread pays and costs nothing where total variance falls with the term at equal
    ``ln(K/F)`` (lemma 2.1, exact where dividends are in proportion to the price). Wings beyond the
    quotes are nobody's prices: the two are compared only where both are quoted.

    Args:
        earlier: slices, ``(n,)``.
        later: the slice each is compared with, ``(n,)``.
        lowest: least log-moneyness that both are quoted at, ``(n,)``.
        highest: greatest.

    Returns:
        Least difference, later less earlier, ``(n,)``; below zero is arbitrage, NaN where nothing
        is quoted in common.
    """
    low, high = np.asarray(lowest, dtype=np.float64), np.asarray(highest, dtype=np.float64)
    places = low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, _COMMON_PLACES)
    gaps = total_variance(later.columns(), places) - total_variance(earlier.columns(), places)
    return np.asarray(np.where(high > low, gaps.min(axis=1), np.nan))
