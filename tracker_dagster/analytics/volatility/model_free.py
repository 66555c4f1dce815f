"""Volatility from the prices of all strikes, without a model: the Cboe's method for the VIX.

Cboe, "The CBOE volatility index - VIX" (white paper, 2009); its steps are named where taken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tracker_dagster.analytics.pricing import price
from tracker_dagster.analytics.volatility.svi import Floats, Slices, total_variance

#: So many strikes in a row without a bid end the walk away from the money.
_BIDLESS = 2
#: Log-moneyness in deviations over which a smile's own variance is added up: 70 either way.
_EVERYWHERE = np.sinh(np.linspace(-5.0, 5.0, 1001))


class StripVariance(NamedTuple):
    """Variance of one expiry by its strip of out-of-the-money options, a year.

    Attributes:
        variance: per year; None where ``reason`` says why.
        forward: level at expiry that it is measured around.
        strikes: the strikes whose options were used, ascending.
        reason: why there is no variance.
    """

    variance: float | None
    forward: float | None = None
    strikes: Floats = np.empty(0)
    reason: str | None = None


def strip_variance(
    strike: ArrayLike,
    call: ArrayLike,
    put: ArrayLike,
    years: float,
    rate: float,
    forward: float | None = None,
) -> StripVariance:
    """Variance of an expiry from the middles of its quotes.

    Args:
        strike: ascending, each once, ``(n,)``.
        call: middle of the call's quote; NaN where nobody bids.
        put: the same of the put.
        years: to expiry.
        rate: continuous, of a payment at expiry. 0 where prices are undiscounted.
        forward: level at expiry; by parity at the strike where call and put differ least when None.
    """
    k, c, p = (np.asarray(part, dtype=np.float64) for part in (strike, call, put))
    growth = float(np.exp(rate * years))
    if forward is None:
        apart = np.abs(c - p)
        if np.isnan(apart).all():
            return StripVariance(None, reason="no strike has a call and a put with a bid")
        nearest = int(np.nanargmin(apart))
        forward = float(k[nearest] + growth * (c[nearest] - p[nearest]))
    below = np.flatnonzero(k <= forward)
    if below.size == 0 or np.isnan(c[below[-1]]) or np.isnan(p[below[-1]]):
        return StripVariance(None, forward, reason="no call and put with a bid below the forward")
    middle = int(below[-1])
    puts = _walk(p, range(middle - 1, -1, -1))
    calls = _walk(c, range(middle + 1, len(k)))
    if not puts or not calls:
        return StripVariance(None, forward, reason="options on one side of the forward only")
    used = np.array([*reversed(puts), middle, *calls])
    prices = np.where(used < middle, p[used], c[used])
    prices[len(puts)] = (c[middle] + p[middle]) / 2
    strikes = k[used]
    # Half the distance between the strikes on either side; at the ends the distance to the next.
    strip = float(np.sum(np.gradient(strikes) / strikes**2 * growth * prices))
    variance = (2 * strip - (forward / k[middle] - 1) ** 2) / years
    if not variance > 0:
        return StripVariance(None, forward, strikes, "the strip is worth nothing")
    return StripVariance(variance, forward, strikes)


def _walk(price: Floats, places: Iterable[int]) -> list[int]:
    """Places with a bid on the way out, up to where `_BIDLESS` in a row have none."""
    found: list[int] = []
    bidless = 0
    for place in places:
        if np.isnan(price[place]):
            bidless += 1
            if bidless == _BIDLESS:
                break
        else:
            bidless = 0
            found.append(place)
    return found


def strip_bias(slice_: Slices, strikes: Floats, forward: float) -> float:
    """What a strip of these strikes makes of a smile, over the smile's own variance, less one.

    Above zero where strikes lie far apart, below where they end too near (Jiang and Tian 2007,
    "Extracting model-free volatility from option prices: an examination of the VIX index").

    Args:
        slice_: the smile, one slice.
        strikes: ascending, on both sides of the forward.
        forward: of the underlying at expiry.
    """
    k = np.log(strikes / forward)
    value = {is_call: _on_smile(slice_, k, is_call) for is_call in (True, False)}
    strip = strip_variance(np.exp(k), value[True], value[False], 1.0, 0.0, 1.0)
    if strip.variance is None:
        return float("nan")
    every = _EVERYWHERE * np.sqrt(total_variance(slice_, 0.0))
    outside = np.where(every > 0, _on_smile(slice_, every, True), _on_smile(slice_, every, False))
    whole = 2 * np.trapezoid(outside * np.exp(-every), every)
    return float(strip.variance / whole - 1)


def _on_smile(slice_: Slices, moneyness: Floats, is_call: bool) -> Floats:
    """Undiscounted values on a forward of 1."""
    deviation = np.sqrt(np.maximum(total_variance(slice_, moneyness), 0.0))
    return price(1.0, np.exp(moneyness), 1.0, 0.0, 0.0, deviation, is_call)
