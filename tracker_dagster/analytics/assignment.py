"""How likely a call is to end above its strike, from its own implied volatility. Arrays only."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tracker_dagster.analytics.pricing.mills import SQRT_2PI, mills_ratio


def probability_above(
    forward: ArrayLike, strike: ArrayLike, years: ArrayLike, volatility: ArrayLike
) -> np.ndarray:
    """Risk-neutral probability that the price ends above the strike: N(d2).

    d2 = (ln(forward / strike) - volatility^2 years / 2) / (volatility sqrt(years)). It is what the
    option prices imply, not what will happen, and leaves early exercise out. (Hull, Options,
    Futures, and Other Derivatives, 7th ed., 13.8.)

    Args:
        forward: of the underlying at expiry, US dollars a share.
        strike: of the contract, US dollars a share.
        years: to expiry.
        volatility: annual, as a decimal.

    Returns:
        Probabilities in the broadcast shape; NaN where an input is missing or not above zero.
    """
    f, k, t, v = np.broadcast_arrays(
        *(np.asarray(argument, float) for argument in (forward, strike, years, volatility))
    )
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sound = (f > 0) & (k > 0) & (t > 0) & (v > 0) & np.isfinite(f * k * t * v)
        deviation = v * np.sqrt(t)
        d2 = np.where(sound, np.log(f / k) / deviation - deviation / 2, np.nan)
        tail = np.exp(-0.5 * d2 * d2) / SQRT_2PI * mills_ratio(np.abs(d2))
    return np.where(d2 > 0, 1.0 - tail, tail)
