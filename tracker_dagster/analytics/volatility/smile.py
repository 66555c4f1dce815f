"""Smiles of many expiries at once, over arrays: slices fitted to points, and read at deltas."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker_dagster.analytics.volatility.svi import Floats, Slices, total_variance

Flags = NDArray[np.bool_]

#: Fewest points of a smile: one more than an SSVI slice has parameters.
FEWEST_POINTS = 4
#: Fewest points at which raw SVI's five parameters are tried: the small-sample criterion that
#: chooses between the families needs two more than it counts.
RAW_POINTS = 8
_HALVINGS = 60


@dataclass(frozen=True)
class FittedSlices:
    """What fitting says of ``n`` slices.

    Attributes:
        stored: the best slices without butterfly arbitrage.
        best: the best slices, with or without.
        is_raw: whether those stored have five free parameters and not three, ``(n,)``.
        weights: of the points in the last round, ``(points,)``; 0 for one that was thrown out.
    """

    stored: Slices
    best: Slices
    is_raw: Flags
    weights: Floats


def fit_slices(
    moneyness: Floats, variance: Floats, error: Floats, offsets: NDArray[np.int64]
) -> FittedSlices:
    """Fit slices of SVI to points of total variance; see `svi_kernels`.

    Outliers are given little weight, or none (iterated weights of Huber, then Tukey's biweight).
    Of five free parameters (raw SVI) and three (SSVI) the small-sample Akaike criterion chooses;
    fewer points than `RAW_POINTS` get three.

    Args:
        moneyness: log-moneyness, ``(points,)``, ascending within a slice.
        variance: total variance there, above 0.
        error: how far each may be off, in total variance, above 0.
        offsets: slice s has the points ``offsets[s]`` to ``offsets[s + 1]``, `FEWEST_POINTS` or
            more, on both sides of the forward; ``(n + 1,)``.
    """
    # Imported on first use: numba is slow to load, and most processes fit nothing.
    from tracker_dagster.analytics.volatility import svi_kernels

    stored, best, is_raw, weights = svi_kernels.fit_slices(
        np.ascontiguousarray(moneyness, dtype=np.float64),
        np.ascontiguousarray(variance, dtype=np.float64),
        np.ascontiguousarray(error, dtype=np.float64),
        np.ascontiguousarray(offsets, dtype=np.int64),
        RAW_POINTS,
    )
    return FittedSlices(Slices.of(stored), Slices.of(best), is_raw, weights)


def volatility(slices: Slices, moneyness: ArrayLike, years: Floats) -> Floats:
    """Volatility of each slice at a log-moneyness; shapes broadcast."""
    return np.asarray(np.sqrt(np.maximum(total_variance(slices, moneyness), 0.0) / years))


def volatility_at_delta(
    slices: Slices, years: Floats, d1: float, lowest: Floats, highest: Floats
) -> Floats:
    """The volatility at which an option has a given delta, within the range that is quoted.

    Delta is the forward's, N(d1) for a call and N(d1) - 1 for a put, with the volatility of the
    strike itself; d1 falls with the strike where there is no arbitrage (Fukasawa 2012).

    Args:
        slices: ``(n,)``.
        years: to expiry.
        d1: of the delta.
        lowest: least log-moneyness that is quoted.
        highest: greatest.

    Returns:
        ``(n,)``; NaN where the delta lies beyond the quotes: nothing is extrapolated.
    """

    def beyond(k: Floats) -> Flags:
        root = np.sqrt(np.maximum(total_variance(slices, k), 1e-300))
        return np.asarray(-k / root + root / 2 < d1)

    low, high = lowest.copy(), highest.copy()
    reached = ~beyond(low) & beyond(high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        right = beyond(middle)
        low, high = np.where(right, low, middle), np.where(right, middle, high)
    return np.asarray(np.where(reached, volatility(slices, high, years), np.nan))
