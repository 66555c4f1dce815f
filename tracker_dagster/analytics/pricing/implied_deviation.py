"""The time value of an option as a function of its deviation, and back: formulas, over arrays.

Everything is done on the out-of-the-money side. Of the discounted forward and the discounted
strike ``near`` is the smaller and ``far`` the larger; ``gap = ln(far / near)``; ``deviation`` is
volatility times the root of time. Whether call or put, the time value (the price above what the
contract is worth without volatility) is then

    near N(d) - far N(-w),    d = deviation/2 - gap/deviation,    w = deviation/2 + gap/deviation

and since near n(d) = far n(w), it is near n(d) times a difference of two Mills ratios
M(u) = N(-u)/n(u), in which nothing underflows or cancels before the result does:

    value = near n(d) (M(-d) - M(w)),    room = near - value = near n(d) (M(d) + M(w)).

``room`` is what lies between the price and the price at infinite volatility. The derivative of
``value`` by ``deviation`` is near n(d), so each bracket is a function over its slope, and higher
derivatives are polynomials. This is the point of view of P. Jaeckel, Let's Be Rational (Wilmott,
2015); how the first guess is made and which step is the last differ.
"""

from __future__ import annotations

import numpy as np

from tracker_dagster.analytics.pricing.mills import (
    LOG_SQRT_2PI,
    SQRT_2PI,
    mills_ratio,
    polynomial,
)

#: After a step of this share of the deviation the error is its fourth power.
LAST_STEP = 1e-4
MOST_STEPS = 8
#: Half deviation and gap up to which the value's series in the deviation is taken.
SERIES_HALF = 0.05
SERIES_GAP = 0.25
#: Beyond this many deviations every density underflows, and with it all it multiplies.
FARTHEST = 1e8
#: Under this share of ``near`` a quotient would lose digits, or underflow.
SMALLEST_SHARE = 1e-290
#: Largest d of a value below half of ``near``: 2 N(d) - 1 = 1/2 without a gap, less with one.
LARGEST_D = 0.6745
#: A gap, the logarithm of 1e300, and a quotient from which logarithms are taken one by one.
LARGEST_GAP = 690.0
LARGEST_QUOTIENT = 1e16

# Bachelier's model: the time value over the distance of the forward from the strike depends on
# distance / deviation alone. The square of that quotient over v squared, with v = ln(1 + distance
# / (sqrt(2 pi) value)), as a quotient of polynomials in v, ascending; it is within 1e-4 of the
# deviation. Fitted by tools/fit_pricing_constants.py.
GUESS_NUMERATOR = (
    1.0,
    0.27658845244091657,
    0.04254165546966128,
    0.007436922963384812,
    2.7808036297410585e-05,
)
GUESS_DENOMINATOR = (
    1.0,
    1.7789877470492403,
    0.2222263138104089,
    0.04853072911921272,
    0.0038897189502889173,
    1.3904018148705293e-05,
)
#: Distance over value up to which the contract counts as at the money.
GUESS_AT_THE_MONEY = 1e-3


def series_ratio(gap: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """``M(-d) - M(w)`` from the odd derivatives of M half way between the two."""
    u = np.minimum(gap / deviation, FARTHEST)
    half = 0.5 * deviation
    square = half * half
    m0 = mills_ratio(u)
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


def _value_ratio(
    gap: np.ndarray, deviation: np.ndarray, d: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """The time value over its derivative by the deviation: ``M(-d) - M(w)``."""
    ratio = mills_ratio(np.abs(d))
    inside = np.flatnonzero(d > 0.0)
    ratio[inside] = SQRT_2PI * np.exp(0.5 * d[inside] * d[inside]) - ratio[inside]
    ratio -= mills_ratio(w)
    small = np.flatnonzero((0.5 * deviation < SERIES_HALF) & (gap < SERIES_GAP))
    ratio[small] = series_ratio(gap[small], deviation[small])
    return ratio


def _room_ratio(
    _gap: np.ndarray, _deviation: np.ndarray, d: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """The room over its derivative by the deviation: ``-(M(d) + M(w))``, for ``d >= 0``."""
    return -(mills_ratio(np.maximum(d, 0.0)) + mills_ratio(w))


def _guess_from_value(gap: np.ndarray, share: np.ndarray, log_share: np.ndarray) -> np.ndarray:
    """A deviation for ``share = value / near`` up to one half.

    Within 1e-4 for most listed options, and 12 % for strikes up to a factor of 1000 from spot.
    """
    distance = np.expm1(np.minimum(gap, LARGEST_GAP)) / SQRT_2PI
    quotient = distance / share
    v = np.where(quotient < LARGEST_QUOTIENT, np.log1p(quotient), np.log(distance) - log_share)
    squared = polynomial(GUESS_NUMERATOR, v) / polynomial(GUESS_DENOMINATOR, v)
    deviation = np.where(
        quotient < GUESS_AT_THE_MONEY,
        SQRT_2PI * (share + 0.5 * gap),
        gap / (v * np.sqrt(squared)),
    )
    # From Bachelier's deviation to Black's, the expansion in Hagan, Kumar, Lesniewski and Woodward,
    # Managing Smile Risk (Wilmott, 2002), turned about.
    small = deviation * deviation / 24.0
    skew = np.maximum(1.0 - gap * gap / 120.0, 0.0)
    deviation *= 1.0 + small * (skew + 2.1 * small)
    # Beyond gaps that are seen the correction runs away, but not past the largest d.
    return np.minimum(deviation, LARGEST_D + np.sqrt(LARGEST_D * LARGEST_D + 2.0 * gap))


def _guess_from_room(gap: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A deviation, within 4 %, for ``share = room / near`` up to one half."""
    of_other_leg = np.full_like(gap, 0.5)
    for _ in range(2):
        # Normal quantile, Abramowitz and Stegun 26.2.22.
        t = np.sqrt(-2.0 * np.log(share / (1.0 + of_other_leg)))
        d = np.maximum(t - (2.30753 + 0.27061 * t) / (1.0 + t * (0.99229 + 0.04481 * t)), 0.0)
        w = np.sqrt(d * d + 2.0 * gap)
        of_other_leg = (d + 0.8) / (w + 0.8)
    return d + w


def _solved(
    gap: np.ndarray, target: np.ndarray, deviation: np.ndarray, *, from_value: bool
) -> np.ndarray:
    """The deviation at which the logarithm of value or room over ``near`` is ``target``.

    Householder's third-order steps; rows that are done leave the arrays. Logarithms are so nearly
    straight, and the guesses so near, that no gap and no target takes more than four.

    Args:
        gap: shape (n,).
        target: shape (n,).
        deviation: first guess.
        from_value: whether the value is given, or the room.

    Returns:
        Shape (n,), NaN where `MOST_STEPS` were not enough.
    """
    result = np.full_like(gap, np.nan)
    rows = np.arange(len(gap))
    ratio_of = _value_ratio if from_value else _room_ratio
    for _ in range(MOST_STEPS):
        u, half = gap / deviation, 0.5 * deviation
        d, w = half - u, half + u
        ratio = ratio_of(gap, deviation, d, w)
        error = target - (np.log(np.abs(ratio)) - LOG_SQRT_2PI - 0.5 * d * d)
        # Derivatives by the deviation, in units of it; the second and the third over the first.
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
        deviation = deviation + step * deviation
        done = np.abs(step) <= LAST_STEP
        result[rows[done]] = deviation[done]
        left = np.flatnonzero(~done)
        if not left.size:
            break
        rows, gap, target, deviation = rows[left], gap[left], target[left], deviation[left]
    return result


def implied_deviation(
    gap: np.ndarray, near: np.ndarray, value: np.ndarray, room: np.ndarray
) -> np.ndarray:
    """The deviation of values and rooms, shape (n,), both above rounding; NaN where none is found.

    A value is solved for where it is the smaller of the two, else the room.
    """
    deviation = np.empty_like(gap)
    lower = value < room
    rows = np.flatnonzero(lower)
    if rows.size:
        of_gap, of_near, of_value = gap[rows], near[rows], value[rows]
        share = of_value / of_near
        log_share = np.where(
            share > SMALLEST_SHARE, np.log(share), np.log(of_value) - np.log(of_near)
        )
        guess = _guess_from_value(of_gap, share, log_share)
        deviation[rows] = _solved(of_gap, log_share, guess, from_value=True)
    rows = np.flatnonzero(~lower)
    if rows.size:
        of_gap, share = gap[rows], room[rows] / near[rows]
        guess = _guess_from_room(of_gap, share)
        deviation[rows] = _solved(of_gap, np.log(share), guess, from_value=False)
    return deviation
