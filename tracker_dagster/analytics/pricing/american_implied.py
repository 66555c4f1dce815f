"""Deviations at which American puts are worth their prices."""

from __future__ import annotations

import numpy as np

from tracker_dagster.analytics.pricing.american_puts import Models, Puts
from tracker_dagster.analytics.pricing.european_arrays import ROUNDING
from tracker_dagster.analytics.pricing.status import Status

#: A price this close to what exercise pays, in strikes, is what exercise pays: the premium is not
#: known better than that.
EXERCISE_TOLERANCE = 1e-7
#: A step of this share of the deviation is the last.
LAST_STEP = 1e-8
MOST_STEPS = 64
#: Of so many steps one halves the bracket: next to the boundary the error is not smooth.
BISECT_EVERY = 4
#: Where the price has no European volatility: the deviation to try first, and the largest.
FIRST_DEVIATION, LARGEST_DEVIATION = 1.0, 64.0
#: The European volatility of the price less the premium falls with the deviation, or hardly moves.
STEEPEST_SLOPE, FLATTEST_SLOPE = -50.0, -1e-6


def judged(puts: Puts, value: np.ndarray) -> np.ndarray:
    """Codes of `Status` for positive prices ``value`` of ``puts``, in strikes; shape (n,) int8."""
    least, intrinsic = puts.least, puts.intrinsic
    slack = ROUNDING * np.exp(np.maximum(puts.log_spot, 0.0))
    codes = np.full(len(value), Status.OK, np.int8)
    codes[value >= 1.0 - ROUNDING] = Status.ABOVE_MAX
    codes[value <= least + slack] = Status.NO_TIME_VALUE
    exercise = (intrinsic > 0.0) & (value <= intrinsic + EXERCISE_TOLERANCE)
    codes[exercise & (value >= least - slack)] = Status.IMMEDIATE_EXERCISE
    codes[value < least - slack] = Status.BELOW_INTRINSIC
    return codes


def implied_deviation(
    models: Models, puts: Puts, value: np.ndarray, european: np.ndarray
) -> np.ndarray:
    """The deviation at which each put is worth ``value``.

    Args:
        models: to evaluate with.
        puts: n puts.
        value: prices in strikes that `judged` calls OK, shape (n,).
        european: deviations at which the European puts are worth ``value``, NaN where at none.

    Returns:
        Shape (n,); NaN where `MOST_STEPS` were not enough.
    """
    result = np.full(len(value), np.nan)
    rows = np.arange(len(value))
    # The European deviation is not below the American: the first bracket is closed above.
    deviation = np.where(np.isnan(european), FIRST_DEVIATION, european)
    low, high = np.zeros(len(value)), np.full(len(value), np.inf)
    before = error_before = np.full(len(value), np.nan)
    for step_number in range(MOST_STEPS):
        premium = models.premiums(puts, deviation).value
        wanted, codes = models.european_volatilities(puts.terms, value - premium)
        wanted[(codes != Status.OK) & (codes != Status.ABOVE_MAX)] = 0.0
        wanted = np.where(codes == Status.ABOVE_MAX, 2.0 * deviation, wanted)
        error = wanted - deviation
        low = np.where(error > 0.0, deviation, low)
        high = np.where(error < 0.0, deviation, high)
        with np.errstate(all="ignore"):
            slope = (error - error_before) / (deviation - before)
        usable = (slope > STEEPEST_SLOPE) & (slope < FLATTEST_SLOPE)
        moved = deviation - error / np.where(usable, slope, -1.0)
        kept = (moved > low) & (moved < high) & (step_number % BISECT_EVERY < BISECT_EVERY - 1)
        kept |= np.abs(moved - deviation) <= LAST_STEP * deviation
        middle = np.where(np.isinf(high), 2.0 * deviation, 0.5 * (low + high))
        moved = np.where(kept, moved, middle)
        done = np.abs(moved - deviation) <= LAST_STEP * deviation
        result[rows[done]] = moved[done]
        left = np.flatnonzero(~done & (moved <= LARGEST_DEVIATION))
        if not left.size:
            break
        rows, puts, value = rows[left], puts.at(left), value[left]
        low, high = low[left], high[left]
        before, error_before, deviation = deviation[left], error[left], moved[left]
    return result
