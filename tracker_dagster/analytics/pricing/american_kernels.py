"""The premium of early exercise, sixteen contracts abreast: compiled loops.

Method and terms as in `american_scheme`; `write_premiums` is the twin of the one in
`american_arrays`. Each innermost loop runs over the lanes of a block, one contract a lane, and
becomes vector instructions; what a lane needs lies in the rows of one array, because the compiler
can see that different rows of one array do not overlap.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from tracker_dagster.analytics.pricing.american_scheme import (
    CALM_DRIFT,
    DELAYED_POINTS,
    EQUATION_POINTS,
    EQUATION_STEPS,
    LARGEST_STEP,
    NODES,
    PREMIUM_POINTS,
    SERIES_RATE,
    SMALLEST_ROOT,
    START_STEPS,
    STRONG_DRIFT,
    scheme,
)
from tracker_dagster.analytics.pricing.vector_math import (
    exp,
    log,
    mills,
    normal_below,
    normal_density,
    vectorised,
)

# Compiled code is cached by the text of this file, with the numbers of american_scheme in it.
# Whoever changes those numbers changes this one too; the tests of the twins tell.
_SCHEME_EDITION = 5
_SCHEME = scheme()
_ROOTS = _SCHEME.roots
_LAG_ROOTS, _LAG_WEIGHTS = _SCHEME.lag_roots, _SCHEME.lag_weights
_LAG_INTERPOLATION = _SCHEME.lag_interpolation
_PREMIUM_ROOTS, _PREMIUM_WEIGHTS = _SCHEME.premium_roots, _SCHEME.premium_weights
_PREMIUM_INTERPOLATION = _SCHEME.premium_interpolation
_LATER = scheme(premium_points=DELAYED_POINTS)
_DELAYED_ROOTS, _DELAYED_WEIGHTS = _LATER.premium_roots, _LATER.premium_weights
_DELAYED_INTERPOLATION = _LATER.premium_interpolation

#: Contracts abreast: two of the widest registers.
LANES = 16

# Rows of a block. What is given, and made of it:
_SPOT = 0  # Its logarithm; the strike is one.
_RATE = 1  # Times time, as the yield.
_YIELD = 2
_CARRY = 3
_DEVIATION = 4
_PER_DEVIATION = 5
_DELAY = 6
_EDGE = 7  # Logarithm of the boundary at expiry.
# What is asked for:
_PREMIUM = 8
_SLOPE = 9
_CURVATURE = 10
_EXERCISED = 11
# For a while:
_A, _B, _C, _D = 12, 13, 14, 15
# By node: logarithm of the boundary, the next one, squared distance from the edge.
_BOUNDARY = 16
_NEXT = _BOUNDARY + NODES
_SQUARE = _NEXT + NODES
# By node and point: weighted growth factors.
_RATE_GROWTH = _SQUARE + NODES
_YIELD_GROWTH = _RATE_GROWTH + NODES * EQUATION_POINTS
_ROWS = _YIELD_GROWTH + NODES * EQUATION_POINTS


@vectorised
def _square(lanes: np.ndarray, node: int) -> None:
    for c in range(LANES):
        distance = lanes[_BOUNDARY + node, c] - lanes[_EDGE, c]
        lanes[_SQUARE + node, c] = distance * distance


@vectorised
def _start(lanes: np.ndarray) -> None:
    """QD+ at every node: Newton's steps in the logarithm from Barone-Adesi and Whaley's guess."""
    for i in range(NODES):
        root, per_root = _ROOTS[i], 1.0 / _ROOTS[i]
        time = root * root
        for c in range(LANES):
            deviation = lanes[_DEVIATION, c] * root
            per_variance = lanes[_PER_DEVIATION, c] * per_root
            per_variance *= per_variance
            rate, carry = lanes[_RATE, c] * time, lanes[_CARRY, c] * time
            discount = exp(-rate)
            series = 1.0 - rate * (0.5 - rate * (1.0 / 6.0 - rate / 24.0))
            per_discount = 1.0 / series if rate < SERIES_RATE else rate / (1.0 - discount)
            drift = 2.0 * carry * per_variance - 1.0
            width = math.sqrt(drift * drift + 8.0 * per_discount * per_variance)
            per_width = 1.0 / width
            change = 2.0 * per_discount * per_variance * per_width * per_width
            share = -2.0 * per_variance * per_width
            lanes[_A, c] = share
            lanes[_B, c] = share * discount * per_discount * (1.0 - change) + 0.5 * (drift + width)
            lanes[_C, c], lanes[_D, c] = discount, exp(-lanes[_YIELD, c] * time)
            forever = -0.5 * (drift + math.sqrt(drift * drift + 8.0 * rate * per_variance))
            lowest = forever / (forever - 1.0)
            weight = exp(min((carry - 2.0 * deviation) / (1.0 - lowest), 0.0))
            edge = exp(lanes[_EDGE, c])
            lanes[_BOUNDARY + i, c] = log(lowest + (edge - lowest) * weight)
        for _ in range(START_STEPS):
            for c in range(LANES):
                deviation, carry = lanes[_DEVIATION, c] * root, lanes[_CARRY, c] * time
                rate, dividend = lanes[_RATE, c] * time, lanes[_YIELD, c] * time
                boundary = lanes[_BOUNDARY + i, c]
                spot = exp(boundary)
                scale = lanes[_PER_DEVIATION, c] * per_root
                high = (boundary + carry) * scale + 0.5 * deviation
                low = high - deviation
                density = normal_density(high)
                asset = lanes[_D, c] * normal_below(-high, density)
                cash = lanes[_C, c] * normal_below(-low, normal_density(low))
                density *= lanes[_D, c]
                decay = rate * cash - spot * (dividend * asset + 0.5 * deviation * density)
                decay_slope = -density * (carry * scale - 0.5 * low) - dividend * asset
                gap = (
                    (1.0 - asset) * spot
                    - lanes[_B, c] * (1.0 - spot - cash + spot * asset)
                    + lanes[_A, c] * decay
                )
                gap_slope = (
                    (1.0 - asset) * (1.0 + lanes[_B, c])
                    + density * scale
                    + lanes[_A, c] * decay_slope
                )
                step = gap / (gap_slope * spot)
                lanes[_BOUNDARY + i, c] = boundary - min(max(step, -LARGEST_STEP), LARGEST_STEP)
        for c in range(LANES):
            lanes[_BOUNDARY + i, c] = min(lanes[_BOUNDARY + i, c], lanes[_EDGE, c])
        _square(lanes, i)


@vectorised
def _improve(lanes: np.ndarray, strong: bool) -> None:
    """Apply the boundary's equation: A, and B in its place where ``strong`` drifts ask for it."""
    for i in range(NODES):
        time = _ROOTS[i] * _ROOTS[i]
        for k in range(EQUATION_POINTS):
            past = time * (1.0 - _LAG_ROOTS[k] * _LAG_ROOTS[k])
            weight = time * _LAG_WEIGHTS[k]
            row = i * EQUATION_POINTS + k
            for c in range(LANES):
                lanes[_RATE_GROWTH + row, c] = weight * exp(lanes[_RATE, c] * past)
                lanes[_YIELD_GROWTH + row, c] = weight * exp(lanes[_YIELD, c] * past)
    for _ in range(EQUATION_STEPS):
        for i in range(NODES):
            root, per_root = _ROOTS[i], 1.0 / _ROOTS[i]
            time = root * root
            for c in range(LANES):
                lanes[_A, c] = lanes[_B, c] = lanes[_C, c] = lanes[_D, c] = 0.0
            for k in range(EQUATION_POINTS):
                lag_root = root * _LAG_ROOTS[k]
                lag, per_lag_root = lag_root * lag_root, 1.0 / lag_root
                row = i * EQUATION_POINTS + k
                for c in range(LANES):
                    square = 0.0
                    for j in range(NODES):
                        square += _LAG_INTERPOLATION[row, j] * lanes[_SQUARE + j, c]
                    then = lanes[_EDGE, c] - math.sqrt(max(square, 0.0))
                    deviation = lanes[_DEVIATION, c] * lag_root
                    scale = lanes[_PER_DEVIATION, c] * per_lag_root
                    high = lanes[_BOUNDARY + i, c] - then + lanes[_CARRY, c] * lag
                    high = high * scale + 0.5 * deviation
                    low = high - deviation
                    density, low_density = normal_density(high), normal_density(low)
                    above = normal_below(high, density)
                    lanes[_A, c] += lanes[_RATE_GROWTH + row, c] * low_density
                    lanes[_B, c] += lanes[_YIELD_GROWTH + row, c] * (density + deviation * above)
                    if strong:
                        rate_growth = _LAG_ROOTS[k] * lanes[_RATE_GROWTH + row, c]
                        yield_growth = _LAG_ROOTS[k] * lanes[_YIELD_GROWTH + row, c]
                        lanes[_C, c] += rate_growth * normal_below(low, low_density)
                        lanes[_D, c] += yield_growth * above
            for c in range(LANES):
                deviation, carry = lanes[_DEVIATION, c] * root, lanes[_CARRY, c] * time
                scale = lanes[_PER_DEVIATION, c] * per_root
                before = lanes[_BOUNDARY + i, c]
                high = (before + carry) * scale + 0.5 * deviation
                low = high - deviation
                density, low_density = normal_density(high), normal_density(low)
                above = normal_below(high, density)
                rate, dividend = lanes[_RATE, c], lanes[_YIELD, c]
                share = (low_density + rate * lanes[_A, c]) / (
                    density + deviation * above + dividend * lanes[_B, c]
                )
                after = log(share) - carry if share > 0.0 else before
                if strong:
                    part = (carry * scale - CALM_DRIFT) / (STRONG_DRIFT - CALM_DRIFT)
                    part = min(max(part, 0.0), 1.0)
                    part *= part * (3.0 - 2.0 * part)
                    share = (normal_below(low, low_density) + rate * lanes[_C, c]) / (
                        above + dividend * lanes[_D, c]
                    )
                    other = log(share) - carry if share > 0.0 else before
                    after += part * (other - after)
                lanes[_NEXT + i, c] = min(after, lanes[_EDGE, c])
        for i in range(NODES):
            for c in range(LANES):
                lanes[_BOUNDARY + i, c] = lanes[_NEXT + i, c]
            _square(lanes, i)


@vectorised
def _integrate(lanes: np.ndarray) -> None:
    """The premium and its first two derivatives by the spot."""
    for c in range(LANES):
        rate, dividend = lanes[_RATE, c], lanes[_YIELD, c]
        deviation, per_deviation = lanes[_DEVIATION, c], lanes[_PER_DEVIATION, c]
        spot, boundary = exp(lanes[_SPOT, c]), exp(lanes[_BOUNDARY, c])
        distance = lanes[_SPOT, c] - lanes[_BOUNDARY, c]
        variance = deviation * deviation
        low_drift = lanes[_CARRY, c] - 0.5 * variance
        high_drift = low_drift + variance
        root = math.sqrt(max(low_drift * low_drift + 2.0 * rate * variance, 0.0))
        root = max(root, SMALLEST_ROOT * deviation)
        low = (distance + low_drift) * per_deviation
        high = low + deviation
        discount, yield_discount = exp(-rate), exp(-dividend)
        low_density = normal_density(low)
        beyond = discount * low_density * mills((distance + root) * per_deviation)
        ahead = discount * low_density * mills(abs(distance - root) * per_deviation)
        if distance < root:
            ahead = exp(-distance * (low_drift + root) * per_deviation * per_deviation) - ahead
        low_share, high_share = low_drift / root, high_drift / root
        cash = 0.5 * ((1.0 + low_share) * beyond + (1.0 - low_share) * ahead)
        asset = 0.5 * boundary * ((1.0 + high_share) * beyond + (1.0 - high_share) * ahead)
        cash -= discount * normal_below(-low, low_density)
        asset -= spot * yield_discount * normal_below(-high, normal_density(high))
        lanes[_PREMIUM, c] = cash - asset
        gain = rate - dividend * boundary
        once = (ahead - beyond) / root
        twice = (ahead + beyond + low_drift * once) * per_deviation * per_deviation
        lanes[_SLOPE, c] = -(asset + gain * once) / spot
        lanes[_CURVATURE, c] = (rate * once + gain * twice) / (spot * spot)
        lanes[_A, c], lanes[_B, c], lanes[_C, c] = spot, 1.0 / spot, boundary
    for k in range(PREMIUM_POINTS):
        root, per_root, weight = _PREMIUM_ROOTS[k], 1.0 / _PREMIUM_ROOTS[k], _PREMIUM_WEIGHTS[k]
        time = root * root
        for c in range(LANES):
            square = 0.0
            for j in range(NODES):
                square += _PREMIUM_INTERPOLATION[k, j] * lanes[_SQUARE + j, c]
            then, now = lanes[_EDGE, c] - math.sqrt(max(square, 0.0)), lanes[_BOUNDARY, c]
            rate, dividend = lanes[_RATE, c], lanes[_YIELD, c]
            spot, per_spot = lanes[_A, c], lanes[_B, c]
            deviation, scale = lanes[_DEVIATION, c] * root, lanes[_PER_DEVIATION, c] * per_root
            ahead = lanes[_SPOT, c] + lanes[_CARRY, c] * time - 0.5 * deviation * deviation
            low, flat_low = (ahead - then) * scale, (ahead - now) * scale
            high, flat_high = low + deviation, flat_low + deviation
            density, flat_density = normal_density(low), normal_density(flat_low)
            cash = normal_below(-low, density) - normal_below(-flat_low, flat_density)
            asset = normal_below(-high, normal_density(high)) - normal_below(
                -flat_high, normal_density(flat_high)
            )
            discount = weight * exp(-rate * time)
            asset *= weight * dividend * exp(-dividend * time)
            lanes[_PREMIUM, c] += rate * discount * cash - spot * asset
            density *= discount * scale
            flat_density *= discount * scale
            paid, flat_paid = dividend * exp(then), dividend * lanes[_C, c]
            gain, flat_gain = (rate - paid) * density, (rate - flat_paid) * flat_density
            lanes[_SLOPE, c] -= asset + (gain - flat_gain) * per_spot
            lanes[_CURVATURE, c] += (
                gain * (1.0 + low * scale)
                - flat_gain * (1.0 + flat_low * scale)
                + paid * density
                - flat_paid * flat_density
            ) * (per_spot * per_spot)


@vectorised
def _integrate_delayed(lanes: np.ndarray) -> None:
    """The same where exercise pays after a delay only, and never now."""
    for c in range(LANES):
        spot = exp(lanes[_SPOT, c])
        lanes[_A, c], lanes[_B, c] = spot, 1.0 / spot
        lanes[_PREMIUM, c] = lanes[_SLOPE, c] = lanes[_CURVATURE, c] = lanes[_EXERCISED, c] = 0.0
    for k in range(DELAYED_POINTS):
        root, weight = _DELAYED_ROOTS[k], _DELAYED_WEIGHTS[k]
        for c in range(LANES):
            square = 0.0
            for j in range(NODES):
                square += _DELAYED_INTERPOLATION[k, j] * lanes[_SQUARE + j, c]
            then = lanes[_EDGE, c] - math.sqrt(max(square, 0.0))
            rate, dividend = lanes[_RATE, c], lanes[_YIELD, c]
            spot, per_spot, delay = lanes[_A, c], lanes[_B, c], lanes[_DELAY, c]
            time = delay + (1.0 - delay) * root * root
            per_deviation = lanes[_PER_DEVIATION, c] / math.sqrt(time)
            deviation = lanes[_DEVIATION, c] * math.sqrt(time)
            low = (lanes[_SPOT, c] - then + lanes[_CARRY, c] * time) * per_deviation
            low -= 0.5 * deviation
            high = low + deviation
            density = normal_density(low)
            discount = weight * (1.0 - delay) * exp(-rate * time)
            asset = normal_below(-high, normal_density(high))
            asset *= weight * (1.0 - delay) * dividend * exp(-dividend * time)
            lanes[_PREMIUM, c] += rate * discount * normal_below(-low, density) - spot * asset
            density *= discount * per_deviation
            paid = dividend * exp(then)
            gain = (rate - paid) * density
            lanes[_SLOPE, c] -= asset + gain * per_spot
            lanes[_CURVATURE, c] += (gain * (1.0 + low * per_deviation) + paid * density) * (
                per_spot * per_spot
            )


@vectorised
def _exercise(lanes: np.ndarray) -> None:
    """Raise the premium to what exercise pays over the European value, and mark where it did."""
    for c in range(LANES):
        deviation, spot = lanes[_DEVIATION, c], exp(lanes[_SPOT, c])
        low = (lanes[_SPOT, c] + lanes[_CARRY, c]) * lanes[_PER_DEVIATION, c] - 0.5 * deviation
        high = low + deviation
        asset = spot * exp(-lanes[_YIELD, c]) * normal_below(-high, normal_density(high))
        cash = exp(-lanes[_RATE, c]) * normal_below(-low, normal_density(low))
        least = 1.0 - spot - (cash - asset)
        inside = lanes[_SPOT, c] > lanes[_BOUNDARY, c]
        held = inside and lanes[_PREMIUM, c] > least
        lanes[_EXERCISED, c] = 0.0 if held else 1.0
        lanes[_PREMIUM, c] = lanes[_PREMIUM, c] if held else least


@vectorised
def _set_life(lanes: np.ndarray, c: int, rate: float, dividend: float, deviation: float) -> None:
    lanes[_RATE, c], lanes[_YIELD, c], lanes[_CARRY, c] = rate, dividend, rate - dividend
    lanes[_DEVIATION, c], lanes[_PER_DEVIATION, c] = deviation, 1.0 / deviation


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
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
    """See the twin."""
    lanes = np.zeros((_ROWS, LANES))
    for first in range(start, stop, LANES):
        count = min(LANES, stop - first)
        strong = delayed = False
        for c in range(LANES):
            row = first + min(c, count - 1)
            # The boundary is that of the time in which exercise can pay.
            life = 1.0 - delay[row]
            _set_life(
                lanes, c, rate[row] * life, dividend[row] * life, deviation[row] * math.sqrt(life)
            )
            lanes[_SPOT, c], lanes[_DELAY, c] = log_spot[row], delay[row]
            edge = math.log(rate[row] / dividend[row]) if dividend[row] > rate[row] else 0.0
            lanes[_EDGE, c] = edge
            strong = strong or lanes[_CARRY, c] > CALM_DRIFT * lanes[_DEVIATION, c]
            delayed = delayed or delay[row] > 0.0
        _start(lanes)
        if strong:
            _improve(lanes, True)
        else:
            _improve(lanes, False)
        if delayed:
            for c in range(LANES):
                row = first + min(c, count - 1)
                _set_life(lanes, c, rate[row], dividend[row], deviation[row])
            _integrate_delayed(lanes)
        else:
            _integrate(lanes)
            _exercise(lanes)
        for c in range(count):
            exercised[first + c] = lanes[_EXERCISED, c] > 0.0
            out[0, first + c] = lanes[_PREMIUM, c]
            out[1, first + c] = lanes[_SLOPE, c]
            out[2, first + c] = lanes[_CURVATURE, c]
