"""Black-Scholes-Merton over numpy arrays; notation and formulas as in `implied_deviation`.

Every function writes rows ``start`` to ``stop`` of its last arguments, as the compiled twins in
`european_kernels` do, so that threads can share the rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracker_dagster.analytics.pricing.implied_deviation import (
    FARTHEST,
    SERIES_GAP,
    SERIES_HALF,
    implied_deviation,
    series_ratio,
)
from tracker_dagster.analytics.pricing.mills import SQRT_2PI, mills_ratio
from tracker_dagster.analytics.pricing.status import Status

DAYS_PER_YEAR = 365.0
#: A time value, or a room, below this share of the larger leg is rounding.
ROUNDING = 8 * float(np.finfo(float).eps)


class Terms(NamedTuple):
    """Contracts as arrays of shape (n,); the spot is net of escrowed dividends."""

    spot: np.ndarray
    strike: np.ndarray
    years: np.ndarray
    rate: np.ndarray
    dividend_yield: np.ndarray
    is_call: np.ndarray


class _Legs(NamedTuple):
    """What contracts exchange, arrays of shape (n,).

    Attributes:
        asset: discounted forward, US dollars.
        cash: discounted strike, US dollars.
        near: the smaller of them.
        far: the larger.
        gap: logarithm of their quotient, not below zero.
        in_the_money: whether the contract has a value without volatility.
    """

    asset: np.ndarray
    cash: np.ndarray
    near: np.ndarray
    far: np.ndarray
    gap: np.ndarray
    in_the_money: np.ndarray


def _legs(terms: Terms) -> _Legs:
    spot, strike, years, rate, dividend_yield, is_call = terms
    asset = spot * np.exp(-dividend_yield * years)
    cash = strike * np.exp(-rate * years)
    return _Legs(
        asset,
        cash,
        np.minimum(asset, cash),
        np.maximum(asset, cash),
        np.abs(np.log(spot / strike) + (rate - dividend_yield) * years),
        is_call == (asset > cash),
    )


class _Chances(NamedTuple):
    """What prices and Greeks are made of, arrays of shape (n,).

    Attributes:
        density: n(d).
        of_near: chance that multiplies the near leg: N(d), in the money N(-d).
        of_far: chance that multiplies the far leg: N(-w), in the money N(w).
        value_share: time value over ``near``.
    """

    density: np.ndarray
    of_near: np.ndarray
    of_far: np.ndarray
    value_share: np.ndarray


def _chances(legs: _Legs, deviation: np.ndarray) -> _Chances:
    deviation = np.maximum(deviation, np.finfo(float).tiny)
    u, half = np.minimum(legs.gap / deviation, FARTHEST), 0.5 * deviation
    d, w = half - u, half + u
    density = np.exp(-0.5 * d * d) / SQRT_2PI
    tail, other = density * mills_ratio(np.abs(d)), density * mills_ratio(w)
    outside = d <= 0.0
    value_share = np.where(outside, tail - other, 1.0 - (tail + other))
    small = np.flatnonzero((half < SERIES_HALF) & (legs.gap < SERIES_GAP))
    value_share[small] = density[small] * series_ratio(legs.gap[small], deviation[small])
    # The smaller of N(d) and N(-d) is the tail itself: no digits are lost to one less the other.
    of_near = np.where(outside != legs.in_the_money, tail, 1.0 - tail)
    of_far = other * (legs.near / legs.far)
    of_far = np.where(legs.in_the_money, 1.0 - of_far, of_far)
    return _Chances(density, of_near, of_far, value_share)


def _usable(terms: Terms, observed: np.ndarray) -> np.ndarray:
    """Rows whose numbers are all finite, spot and strike positive, time and observed not below."""
    finite = terms.spot + terms.strike + terms.years + terms.rate + terms.dividend_yield + observed
    return (
        np.isfinite(finite)
        & (terms.spot > 0.0)
        & (terms.strike > 0.0)
        & (terms.years >= 0.0)
        & (observed >= 0.0)
    )


def _write_greeks(
    out: np.ndarray, terms: Terms, legs: _Legs, volatility: np.ndarray, root: np.ndarray
) -> None:
    deviation = volatility * root
    chances = _chances(legs, deviation)
    asset_is_near = legs.asset <= legs.cash
    of_asset = np.where(asset_is_near, chances.of_near, chances.of_far)
    of_cash = np.where(asset_is_near, chances.of_far, chances.of_near)
    sign = np.where(terms.is_call, 1.0, -1.0)
    asset, cash = sign * legs.asset * of_asset, sign * legs.cash * of_cash
    slope = legs.near * chances.density
    decay = -0.5 * slope * volatility / root + terms.dividend_yield * asset - terms.rate * cash
    out[0] = asset / terms.spot
    out[1] = slope / (terms.spot * terms.spot * deviation)
    out[2] = decay / DAYS_PER_YEAR
    out[3] = slope * root
    out[4] = terms.years * cash


def write_prices(
    start: int, stop: int, terms: Terms, volatility: np.ndarray, out: np.ndarray
) -> None:
    """Values in US dollars into ``out``; NaN where the numbers make no sense."""
    rows = slice(start, stop)
    terms, volatility = Terms(*(values[rows] for values in terms)), volatility[rows]
    with np.errstate(all="ignore"):
        legs = _legs(terms)
        deviation = volatility * np.sqrt(terms.years)
        value = np.where(deviation == 0.0, 0.0, legs.near * _chances(legs, deviation).value_share)
        value += np.where(legs.in_the_money, legs.far - legs.near, 0.0)
        out[rows] = np.where(_usable(terms, volatility), value, np.nan)


def write_greeks(
    start: int, stop: int, terms: Terms, volatility: np.ndarray, out: np.ndarray
) -> None:
    """Greeks into ``out``, shape (5, n), in their order; NaN where there are none."""
    rows = slice(start, stop)
    terms, volatility = Terms(*(values[rows] for values in terms)), volatility[rows]
    with np.errstate(all="ignore"):
        _write_greeks(out[:, rows], terms, _legs(terms), volatility, np.sqrt(terms.years))
        usable = _usable(terms, volatility) & (terms.years > 0.0) & (volatility > 0.0)
    out[:, rows][:, ~usable] = np.nan


def write_implied(
    start: int,
    stop: int,
    terms: Terms,
    price: np.ndarray,
    with_greeks: bool,
    volatility: np.ndarray,
    status: np.ndarray,
    greeks: np.ndarray,
) -> None:
    """Volatilities and codes of `Status`; with ``with_greeks`` also the Greeks, shape (5, n).

    BAD_INPUT stands for every row that no model can invert; `arguments.screened` says why.
    """
    rows = slice(start, stop)
    terms, price = Terms(*(values[rows] for values in terms)), price[rows]
    with np.errstate(all="ignore"):
        legs = _legs(terms)
        inside = legs.in_the_money
        best = np.where(terms.is_call, legs.asset, legs.cash)
        value = np.where(inside, price - (legs.far - legs.near), price)
        room = best - price
        slack = np.where(inside, ROUNDING * legs.far, 0.0)
        codes = np.full(len(price), Status.OK, np.int8)
        codes[room <= ROUNDING * best] = Status.ABOVE_MAX
        codes[value <= slack] = Status.NO_TIME_VALUE
        codes[value < -slack] = Status.BELOW_INTRINSIC
        codes[~(_usable(terms, price) & (terms.years > 0.0))] = Status.BAD_INPUT
        found = np.full(len(price), np.nan)
        sound = np.flatnonzero(codes == Status.OK)
        found[sound] = implied_deviation(
            legs.gap[sound], legs.near[sound], value[sound], room[sound]
        )
        codes[(codes == Status.OK) & ~(found > 0.0)] = Status.NO_CONVERGENCE
        root = np.sqrt(terms.years)
        found /= root
        volatility[rows], status[rows] = found, codes
        if with_greeks:
            _write_greeks(greeks[:, rows], terms, legs, found, root)
            greeks[:, rows][:, codes != Status.OK] = np.nan
