"""The premium of early exercise over numpy arrays: method and terms as in `american_scheme`.

Arrays of nodes have the shape (nodes, contracts), those of contracts (contracts,).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from tracker_dagster.analytics.pricing.american_scheme import (
    CALM_DRIFT,
    DELAYED_POINTS,
    EQUATION_STEPS,
    LARGEST_STEP,
    NODES,
    SERIES_RATE,
    SMALLEST_ROOT,
    START_STEPS,
    STRONG_DRIFT,
    scheme,
)
from tracker_dagster.analytics.pricing.mills import SQRT_2PI, mills_ratio

_SCHEME = scheme()
_ROOTS = _SCHEME.roots[:, None]
_TIMES = _ROOTS * _ROOTS
_LATER = scheme(premium_points=DELAYED_POINTS)
_LAG_INTERPOLATION = _SCHEME.lag_interpolation.reshape(NODES, -1, NODES)


class _Put(NamedTuple):
    """Puts on a strike of one, arrays of contracts; ``edge`` is the boundary at expiry."""

    log_spot: np.ndarray
    rate: np.ndarray
    dividend: np.ndarray
    deviation: np.ndarray
    carry: np.ndarray
    edge: np.ndarray


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x) / SQRT_2PI


def _start(put: _Put) -> np.ndarray:
    """QD+ at every node: Newton's steps in the logarithm from Barone-Adesi and Whaley's guess."""
    deviation, carry = put.deviation * _ROOTS, put.carry * _TIMES
    rate, dividend = put.rate * _TIMES, put.dividend * _TIMES
    variance = deviation * deviation
    discount, yield_discount = np.exp(-rate), np.exp(-dividend)
    series = 1.0 - rate * (0.5 - rate * (1.0 / 6.0 - rate / 24.0))
    per_discount = np.where(rate < SERIES_RATE, 1.0 / series, rate / (1.0 - discount))
    drift = 2.0 * carry / variance - 1.0
    root = np.sqrt(drift * drift + 8.0 * per_discount / variance)
    decay_share = -2.0 / (variance * root)
    change = 2.0 * per_discount / (variance * root * root)
    value_share = decay_share * discount * per_discount * (1.0 - change) + 0.5 * (drift + root)
    forever = -0.5 * (drift + np.sqrt(drift * drift + 8.0 * rate / variance))
    lowest = forever / (forever - 1.0)
    weight = np.exp(np.minimum((carry - 2.0 * deviation) / (1.0 - lowest), 0.0))
    boundary = np.log(lowest + (np.exp(put.edge) - lowest) * weight)
    for _ in range(START_STEPS):
        spot = np.exp(boundary)
        high = (boundary + carry) / deviation + 0.5 * deviation
        low = high - deviation
        asset, cash = yield_discount * ndtr(-high), discount * ndtr(-low)
        density = yield_discount * _density(high)
        decay = rate * cash - spot * (dividend * asset + 0.5 * deviation * density)
        decay_slope = -density * (carry / deviation - 0.5 * low) - dividend * asset
        gap = (
            (1.0 - asset) * spot
            - value_share * (1.0 - spot - cash + spot * asset)
            + decay_share * decay
        )
        gap_slope = (
            (1.0 - asset) * (1.0 + value_share) + density / deviation + decay_share * decay_slope
        )
        step = gap / (gap_slope * spot)
        boundary = boundary - np.clip(step, -LARGEST_STEP, LARGEST_STEP)
    return np.minimum(boundary, put.edge)


def _improved(put: _Put, boundary: np.ndarray) -> np.ndarray:
    """The boundary after the steps of its equation: A, or B where the drift is strong."""
    deviation, carry = put.deviation * _ROOTS, put.carry * _TIMES
    rate, dividend = put.rate * _TIMES, put.dividend * _TIMES
    part = np.clip((carry / deviation - CALM_DRIFT) / (STRONG_DRIFT - CALM_DRIFT), 0.0, 1.0)
    part *= part * (3.0 - 2.0 * part)
    strong = np.flatnonzero((part > 0.0).any(axis=0))
    growths = [
        (np.exp(rate * (1.0 - lag * lag)), np.exp(dividend * (1.0 - lag * lag)))
        for lag in _SCHEME.lag_roots
    ]
    for _ in range(EQUATION_STEPS):
        square = (boundary - put.edge) ** 2
        high = (boundary + carry) / deviation + 0.5 * deviation
        low = high - deviation
        cash = _density(low)
        asset = _density(high) + deviation * ndtr(high)
        cash_b, asset_b = ndtr(low[:, strong]), ndtr(high[:, strong])
        for k, lag in enumerate(_SCHEME.lag_roots):
            rate_growth, yield_growth = growths[k]
            then = put.edge - np.sqrt(np.maximum(_LAG_INTERPOLATION[:, k] @ square, 0.0))
            spread = deviation * lag
            high = (boundary - then + carry * lag * lag) / spread + 0.5 * spread
            low = high - spread
            below, above = _density(low), ndtr(high)
            weight = _SCHEME.lag_weights[k]
            cash += weight * rate * rate_growth * below
            asset += weight * dividend * yield_growth * (_density(high) + spread * above)
            weight *= lag
            cash_b += weight * (rate * rate_growth)[:, strong] * ndtr(low[:, strong])
            asset_b += weight * (dividend * yield_growth * above)[:, strong]
        share = cash / asset
        after = np.where(share > 0.0, np.log(np.abs(share)) - carry, boundary)
        share = cash_b / asset_b
        other = np.log(np.abs(share)) - carry[:, strong]
        other = np.where(share > 0.0, other, boundary[:, strong])
        after[:, strong] += part[:, strong] * (other - after[:, strong])
        boundary = np.minimum(after, put.edge)
    return boundary


def _boundary(put: _Put, life: np.ndarray) -> np.ndarray:
    """The boundary of the part ``life`` of the time."""
    rate, dividend = put.rate * life, put.dividend * life
    put = put._replace(
        rate=rate,
        dividend=dividend,
        deviation=put.deviation * np.sqrt(life),
        carry=rate - dividend,
    )
    return _improved(put, _start(put))


def _flat_premium(put: _Put, now: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Premium, slope and curvature of a boundary that stays at ``now``."""
    rate, dividend, deviation = put.rate, put.dividend, put.deviation
    spot, boundary, distance = np.exp(put.log_spot), np.exp(now), put.log_spot - now
    variance = deviation * deviation
    low_drift = put.carry - 0.5 * variance
    high_drift = low_drift + variance
    root = np.sqrt(np.maximum(low_drift * low_drift + 2.0 * rate * variance, 0.0))
    root = np.maximum(root, SMALLEST_ROOT * deviation)
    low = (distance + low_drift) / deviation
    high = low + deviation
    density = np.exp(-rate) * _density(low)
    beyond = density * mills_ratio(np.abs(distance + root) / deviation)
    ahead = density * mills_ratio(np.abs(distance - root) / deviation)
    ahead = np.where(
        distance < root, np.exp(-distance * (low_drift + root) / variance) - ahead, ahead
    )
    cash = (1.0 + low_drift / root) * beyond + (1.0 - low_drift / root) * ahead
    asset = (1.0 + high_drift / root) * beyond + (1.0 - high_drift / root) * ahead
    cash = 0.5 * cash - np.exp(-rate) * ndtr(-low)
    asset = 0.5 * boundary * asset - spot * np.exp(-dividend) * ndtr(-high)
    gain = rate - dividend * boundary
    once = (ahead - beyond) / root
    twice = (ahead + beyond + low_drift * once) / variance
    return (
        cash - asset,
        -(asset + gain * once) / spot,
        (rate * once + gain * twice) / (spot * spot),
    )


def _integrated(put: _Put, boundary: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The premium and its first two derivatives by the spot."""
    square = (boundary - put.edge) ** 2
    now, spot = boundary[0], np.exp(put.log_spot)
    premium, slope, curvature = _flat_premium(put, now)
    for k, root in enumerate(_SCHEME.premium_roots):
        time, weight = root * root, _SCHEME.premium_weights[k]
        square_then = _SCHEME.premium_interpolation[k] @ square
        then = put.edge - np.sqrt(np.maximum(square_then, 0.0))
        spread = put.deviation * root
        rate_weight = weight * np.exp(-put.rate * time)
        yield_weight = weight * put.dividend * np.exp(-put.dividend * time)
        for sign, level in ((1.0, then), (-1.0, now)):
            low = (put.log_spot - level + put.carry * time) / spread - 0.5 * spread
            asset = sign * yield_weight * ndtr(-low - spread)
            premium += sign * rate_weight * put.rate * ndtr(-low) - spot * asset
            density = sign * rate_weight * _density(low) / spread
            paid = put.dividend * np.exp(level)
            gain = (put.rate - paid) * density
            slope -= asset + gain / spot
            curvature += (gain * (1.0 + low / spread) + paid * density) / (spot * spot)
    return premium, slope, curvature


def _integrated_delayed(
    put: _Put, boundary: np.ndarray, delay: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same where exercise pays after a delay only."""
    square, spot = (boundary - put.edge) ** 2, np.exp(put.log_spot)
    premium, slope, curvature = np.zeros((3, len(spot)))
    for k, root in enumerate(_LATER.premium_roots):
        time = delay + (1.0 - delay) * root * root
        weight = _LATER.premium_weights[k] * (1.0 - delay)
        then = put.edge - np.sqrt(np.maximum(_LATER.premium_interpolation[k] @ square, 0.0))
        spread = put.deviation * np.sqrt(time)
        low = (put.log_spot - then + put.carry * time) / spread - 0.5 * spread
        rate_weight = weight * np.exp(-put.rate * time)
        asset = weight * put.dividend * np.exp(-put.dividend * time) * ndtr(-low - spread)
        premium += rate_weight * put.rate * ndtr(-low) - spot * asset
        density = rate_weight * _density(low) / spread
        paid = put.dividend * np.exp(then)
        gain = (put.rate - paid) * density
        slope -= asset + gain / spot
        curvature += (gain * (1.0 + low / spread) + paid * density) / (spot * spot)
    return premium, slope, curvature


def write_premiums(
    start: int,
    stop: int,
    log_spot: np.ndarray,
    rate: np.ndarray,
    dividend: np.ndarray,
    deviation: np.ndarray,
    delay: np.ndarray,
    exercised: np.ndarray,
    out: np.ndarray,
) -> None:
    """Early exercise premiums of puts on a strike of one, whose time to expiry is one.

    Args:
        start: first row.
        stop: row after the last.
        log_spot: logarithm of the spot, shape (n,).
        rate: over the life of the put, positive; or zero, where ``dividend`` is negative.
        dividend: yield over the life of the put.
        deviation: positive.
        delay: time before exercise can pay, from 0 to less than 1. Where there is none, at all
            rows or at none of each sixteen.
        exercised: set where exercise now is best, shape (n,) bool; the value is then ``1 - spot``.
        out: premium over the European value and, where not exercised, the premium's first and
            second derivative by the spot, shape (3, n).
    """
    rows = slice(start, stop)
    log_spot, rate, dividend, deviation, delay = (
        values[rows] for values in (log_spot, rate, dividend, deviation, delay)
    )
    with np.errstate(all="ignore"):
        edge = np.where(dividend > rate, np.log(rate / dividend), 0.0)
        put = _Put(log_spot, rate, dividend, deviation, rate - dividend, edge)
        boundary = _boundary(put, 1.0 - delay)
        if (delay > 0.0).any():
            out[:, rows] = _integrated_delayed(put, boundary, delay)
            exercised[rows] = False
            return
        premium, slope, curvature = _integrated(put, boundary)
        low = (log_spot + put.carry) / deviation - 0.5 * deviation
        european = np.exp(-rate) * ndtr(-low)
        european -= np.exp(log_spot - dividend) * ndtr(-low - deviation)
        least = 1.0 - np.exp(log_spot) - european
        held = (log_spot > boundary[0]) & (premium > least)
    exercised[rows] = ~held
    out[0, rows] = np.where(held, premium, least)
    out[1, rows], out[2, rows] = slope, curvature
