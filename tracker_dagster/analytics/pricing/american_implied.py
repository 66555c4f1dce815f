"""Deviations at which American contracts are worth their prices."""

from __future__ import annotations

import numpy as np

from tracker_dagster.analytics.pricing.american_premiums import Exercisable, Models
from tracker_dagster.analytics.pricing.european_arrays import ROUNDING
from tracker_dagster.analytics.pricing.status import Status

#: Error that is left in the deviation, relative.
TOLERANCE = 5e-11
MOST_STEPS = 64
#: Of so many steps one halves the bracket: next to the boundary the error is not smooth.
BISECT_EVERY = 4
#: Where the price has no European volatility: the deviation to try first, and the largest.
FIRST_DEVIATION, LARGEST_DEVIATION = 1.0, 64.0
#: The European volatility of the price less the premium falls with the deviation, or hardly moves.
STEEPEST_SLOPE, FLATTEST_SLOPE = -50.0, -1e-6


def judged(contracts: Exercisable, value: np.ndarray) -> np.ndarray:
    """Codes of `Status` for prices ``value`` in strikes; shape (n,) int8."""
    least, terms = contracts.least, contracts.terms
    asset = terms.spot * np.exp(-terms.dividend_yield)
    cash = np.exp(-terms.rate)
    at_expiry = np.maximum(np.where(terms.is_call, asset - cash, cash - asset), 0.0)
    slack = ROUNDING * np.maximum(terms.spot, 1.0)
    early = least > at_expiry + slack
    codes = np.full(len(value), Status.OK, np.int8)
    codes[value >= contracts.most * (1.0 - ROUNDING)] = Status.ABOVE_MAX
    codes[value <= least + np.where(early, contracts.tolerance, slack)] = Status.NO_TIME_VALUE
    now = early & (contracts.intrinsic >= least) & (codes == Status.NO_TIME_VALUE)
    codes[now] = Status.IMMEDIATE_EXERCISE
    codes[value < least - slack] = Status.BELOW_INTRINSIC
    return codes


def implied_deviation(
    models: Models, contracts: Exercisable, value: np.ndarray, european: np.ndarray
) -> np.ndarray:
    """The deviation at which each contract is worth ``value``.

    Args:
        models: to evaluate with.
        contracts: n of them.
        value: prices in strikes that `judged` calls OK, shape (n,).
        european: deviations at which the European ones are worth ``value``, NaN where at none.

    Returns:
        Shape (n,); NaN where `MOST_STEPS` were not enough.
    """
    result = np.full(len(value), np.nan)
    rows = np.arange(len(value))
    # The European deviation is not below the American: the first bracket is closed above.
    deviation = np.where(np.isnan(european), FIRST_DEVIATION, european)
    low, high = np.zeros(len(value)), np.full(len(value), np.inf)
    before = error_before = np.full(len(value), np.inf)
    for step_number in range(MOST_STEPS):
        premium = contracts.premiums(models, deviation).value
        wanted, codes = models.european_volatilities(contracts.terms, value - premium)
        wanted[(codes != Status.OK) & (codes != Status.ABOVE_MAX)] = 0.0
        wanted = np.where(codes == Status.ABOVE_MAX, 2.0 * deviation, wanted)
        error = wanted - deviation
        low = np.where(error > 0.0, deviation, low)
        high = np.where(error < 0.0, deviation, high)
        with np.errstate(all="ignore"):
            slope = (error - error_before) / (deviation - before)
        usable = (slope > STEEPEST_SLOPE) & (slope < FLATTEST_SLOPE)
        moved = deviation - error / np.where(usable, slope, -1.0)
        step = np.abs(moved - deviation)
        inside = (moved > low) & (moved < high)
        # A secant step leaves an error of about the product of the last two.
        left_over = np.where(usable & inside, np.fmin(np.abs(deviation / before - 1.0), 1.0), 1.0)
        done = (step * left_over <= TOLERANCE * deviation) & (moved > 0.0)
        inside &= (step_number % BISECT_EVERY < BISECT_EVERY - 1) | done
        middle = np.where(np.isinf(high), 2.0 * deviation, 0.5 * (low + high))
        moved = np.where(inside, moved, middle)
        done |= high - low <= TOLERANCE * deviation
        result[rows[done]] = moved[done]
        left = np.flatnonzero(~done & (moved <= LARGEST_DEVIATION))
        if not left.size:
            break
        rows, contracts, value = rows[left], contracts.at(left), value[left]
        low, high = low[left], high[left]
        before, error_before, deviation = deviation[left], error[left], moved[left]
    return result
