"""Black-Scholes-Merton a contract at a time: compiled loops that release the interpreter.

Notation and formulas as in `implied_deviation`. The three functions without an underscore are
twins of those in `european_arrays`. What is compiled is kept on disk until this file changes: touch
it after a change of a constant that it imports.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from tracker_dagster.analytics.pricing.european_arrays import DAYS_PER_YEAR, ROUNDING
from tracker_dagster.analytics.pricing.implied_deviation import (
    FARTHEST,
    GUESS_AT_THE_MONEY,
    GUESS_DENOMINATOR,
    GUESS_NUMERATOR,
    LARGEST_D,
    LARGEST_GAP,
    LARGEST_QUOTIENT,
    LAST_STEP,
    MOST_STEPS,
    SERIES_GAP,
    SERIES_HALF,
    SMALLEST_SHARE,
)
from tracker_dagster.analytics.pricing.mills import (
    DENOMINATOR,
    LOG_SQRT_2PI,
    NUMERATOR,
    SQRT_2PI,
)
from tracker_dagster.analytics.pricing.status import Status

_OK = int(Status.OK)
_ABOVE_MAX = int(Status.ABOVE_MAX)
_NO_TIME_VALUE = int(Status.NO_TIME_VALUE)
_BELOW_INTRINSIC = int(Status.BELOW_INTRINSIC)
_NO_CONVERGENCE = int(Status.NO_CONVERGENCE)
_BAD_INPUT = int(Status.BAD_INPUT)
_TINY = float(np.finfo(float).tiny)

_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def _polynomial(coefficients: tuple[float, ...], x: float) -> float:
    result = coefficients[-1]
    for n in range(len(coefficients) - 2, -1, -1):
        result = result * x + coefficients[n]
    return result


@_compiled
def _mills(u: float) -> float:
    return _polynomial(NUMERATOR, u) / _polynomial(DENOMINATOR, u)


@_compiled
def _series_ratio(u: float, half: float) -> float:
    square = half * half
    m0 = _mills(u)
    m1 = u * m0 - 1.0
    m2 = u * m1 + m0
    m3 = u * m2 + 2.0 * m1
    m4 = u * m3 + 3.0 * m2
    m5 = u * m4 + 4.0 * m3
    m6 = u * m5 + 5.0 * m4
    m7 = u * m6 + 6.0 * m5
    m8 = u * m7 + 7.0 * m6
    m9 = u * m8 + 8.0 * m7
    inner = m5 + square / 42.0 * (m7 + square / 72.0 * m9)
    return -2.0 * half * (m1 + square / 6.0 * (m3 + square / 20.0 * inner))


@_compiled
def _value_ratio(gap: float, u: float, half: float) -> float:
    if half < SERIES_HALF and gap < SERIES_GAP:
        return _series_ratio(u, half)
    d = half - u
    if d > 0.0:
        return SQRT_2PI * math.exp(0.5 * d * d) - _mills(d) - _mills(half + u)
    return _mills(-d) - _mills(half + u)


@_compiled
def _guess_from_value(gap: float, share: float, log_share: float) -> float:
    distance = math.expm1(min(gap, LARGEST_GAP)) / SQRT_2PI
    quotient = distance / share
    if quotient < GUESS_AT_THE_MONEY:
        deviation = SQRT_2PI * (share + 0.5 * gap)
    else:
        is_large = quotient > LARGEST_QUOTIENT
        v = math.log(distance) - log_share if is_large else math.log1p(quotient)
        squared = _polynomial(GUESS_NUMERATOR, v) / _polynomial(GUESS_DENOMINATOR, v)
        deviation = gap / (v * math.sqrt(squared))
    small = deviation * deviation / 24.0
    skew = max(1.0 - gap * gap / 120.0, 0.0)
    deviation *= 1.0 + small * (skew + 2.1 * small)
    return min(deviation, LARGEST_D + math.sqrt(LARGEST_D * LARGEST_D + 2.0 * gap))


@_compiled
def _guess_from_room(gap: float, share: float) -> float:
    of_other_leg = 0.5
    d = w = 0.0
    for _ in range(2):
        t = math.sqrt(-2.0 * math.log(share / (1.0 + of_other_leg)))
        d = max(t - (2.30753 + 0.27061 * t) / (1.0 + t * (0.99229 + 0.04481 * t)), 0.0)
        w = math.sqrt(d * d + 2.0 * gap)
        of_other_leg = (d + 0.8) / (w + 0.8)
    return d + w


@_compiled
def _implied_deviation(gap: float, near: float, value: float, room: float) -> float:
    from_value = value < room
    if from_value:
        share = value / near
        target = math.log(share) if share > SMALLEST_SHARE else math.log(value) - math.log(near)
        deviation = _guess_from_value(gap, share, target)
    else:
        share = room / near
        target = math.log(share)
        deviation = _guess_from_room(gap, share)
    for _ in range(MOST_STEPS):
        u, half = gap / deviation, 0.5 * deviation
        d = half - u
        if from_value:
            ratio = _value_ratio(gap, u, half)
        else:
            ratio = -(_mills(max(d, 0.0)) + _mills(half + u))
        error = target - (math.log(abs(ratio)) - LOG_SQRT_2PI - 0.5 * d * d)
        slope = deviation / ratio
        second = (u - half) * (u + half)
        third = second * second - 3.0 * u * u - half * half
        newton = error / slope
        halley = second - slope
        cubic = third - 3.0 * second * slope + 2.0 * slope * slope
        step = (
            newton
            * (1.0 + 0.5 * halley * newton)
            / (1.0 + newton * (halley + cubic * newton / 6.0))
        )
        deviation += step * deviation
        if abs(step) <= LAST_STEP:
            return deviation
    return math.nan


@_compiled
def _legs(
    spot: float, strike: float, years: float, rate: float, dividend_yield: float
) -> tuple[float, float, float]:
    """Asset, cash and gap."""
    return (
        spot * math.exp(-dividend_yield * years),
        strike * math.exp(-rate * years),
        abs(math.log(spot / strike) + (rate - dividend_yield) * years),
    )


@_compiled
def _usable(
    spot: float, strike: float, years: float, rate: float, dividend_yield: float, observed: float
) -> bool:
    finite = spot + strike + years + rate + dividend_yield + observed
    return (
        math.isfinite(finite) and spot > 0.0 and strike > 0.0 and years >= 0.0 and observed >= 0.0
    )


@_compiled
def _time_value(gap: float, near: float, deviation: float) -> float:
    u, half = min(gap / deviation, FARTHEST), 0.5 * deviation
    d = half - u
    density = math.exp(-0.5 * d * d) / SQRT_2PI
    if half < SERIES_HALF and gap < SERIES_GAP:
        return near * (density * _series_ratio(u, half))
    tail, other = density * _mills(abs(d)), density * _mills(half + u)
    return near * (tail - other if d <= 0.0 else 1.0 - (tail + other))


@_compiled
def _write_greeks(
    row: int,
    spot: float,
    years: float,
    rate: float,
    dividend_yield: float,
    is_call: bool,
    asset: float,
    cash: float,
    gap: float,
    volatility: float,
    root: float,
    out: np.ndarray,
) -> None:
    near, far = min(asset, cash), max(asset, cash)
    deviation = volatility * root
    clipped = max(deviation, _TINY)
    u, half = min(gap / clipped, FARTHEST), 0.5 * clipped
    d = half - u
    density = math.exp(-0.5 * d * d) / SQRT_2PI
    tail = density * _mills(abs(d))
    of_far = density * _mills(half + u) * (near / far)
    in_the_money = is_call == (asset > cash)
    of_near = tail if (d <= 0.0) != in_the_money else 1.0 - tail
    if in_the_money:
        of_far = 1.0 - of_far
    if asset <= cash:
        of_asset, of_cash = of_near, of_far
    else:
        of_asset, of_cash = of_far, of_near
    sign = 1.0 if is_call else -1.0
    asset *= sign * of_asset
    cash *= sign * of_cash
    slope = near * density
    decay = -0.5 * slope * volatility / root + dividend_yield * asset - rate * cash
    out[0, row] = asset / spot
    out[1, row] = slope / (spot * spot * deviation)
    out[2, row] = decay / DAYS_PER_YEAR
    out[3, row] = slope * root
    out[4, row] = years * cash


@_compiled
def write_prices(
    start: int, stop: int, terms: tuple[np.ndarray, ...], volatility: np.ndarray, out: np.ndarray
) -> None:
    """See the twin."""
    spot, strike, years, rate, dividend_yield, is_call = terms
    for i in range(start, stop):
        if not _usable(spot[i], strike[i], years[i], rate[i], dividend_yield[i], volatility[i]):
            out[i] = math.nan
            continue
        asset, cash, gap = _legs(spot[i], strike[i], years[i], rate[i], dividend_yield[i])
        deviation = volatility[i] * math.sqrt(years[i])
        value = _time_value(gap, min(asset, cash), deviation) if deviation > 0.0 else 0.0
        out[i] = value + abs(asset - cash) if is_call[i] == (asset > cash) else value


@_compiled
def write_greeks(
    start: int, stop: int, terms: tuple[np.ndarray, ...], volatility: np.ndarray, out: np.ndarray
) -> None:
    """See the twin."""
    spot, strike, years, rate, dividend_yield, is_call = terms
    for i in range(start, stop):
        if not (
            _usable(spot[i], strike[i], years[i], rate[i], dividend_yield[i], volatility[i])
            and years[i] > 0.0
            and volatility[i] > 0.0
        ):
            out[:, i] = math.nan
            continue
        asset, cash, gap = _legs(spot[i], strike[i], years[i], rate[i], dividend_yield[i])
        _write_greeks(
            i, spot[i], years[i], rate[i], dividend_yield[i], is_call[i],
            asset, cash, gap, volatility[i], math.sqrt(years[i]), out,
        )  # fmt: skip


@_compiled
def write_implied(
    start: int,
    stop: int,
    terms: tuple[np.ndarray, ...],
    price: np.ndarray,
    with_greeks: bool,
    volatility: np.ndarray,
    status: np.ndarray,
    greeks: np.ndarray,
) -> None:
    """See the twin."""
    spot, strike, years, rate, dividend_yield, is_call = terms
    for i in range(start, stop):
        volatility[i] = math.nan
        if with_greeks:
            greeks[:, i] = math.nan
        if not (
            _usable(spot[i], strike[i], years[i], rate[i], dividend_yield[i], price[i])
            and years[i] > 0.0
        ):
            status[i] = _BAD_INPUT
            continue
        asset, cash, gap = _legs(spot[i], strike[i], years[i], rate[i], dividend_yield[i])
        best = asset if is_call[i] else cash
        value, slack = price[i], 0.0
        if is_call[i] == (asset > cash):
            value -= abs(asset - cash)
            slack = ROUNDING * max(asset, cash)
        room = best - price[i]
        if value <= slack:
            status[i] = _NO_TIME_VALUE if value >= -slack else _BELOW_INTRINSIC
            continue
        if room <= ROUNDING * best:
            status[i] = _ABOVE_MAX
            continue
        deviation = _implied_deviation(gap, min(asset, cash), value, room)
        if not deviation > 0.0:
            status[i] = _NO_CONVERGENCE
            continue
        root = math.sqrt(years[i])
        status[i] = _OK
        volatility[i] = deviation / root
        if with_greeks:
            _write_greeks(
                i, spot[i], years[i], rate[i], dividend_yield[i], is_call[i],
                asset, cash, gap, volatility[i], root, greeks,
            )  # fmt: skip
