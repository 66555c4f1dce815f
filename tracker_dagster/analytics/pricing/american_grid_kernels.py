"""The grid of `american_grid`, several contracts abreast: compiled loops."""

from __future__ import annotations

import math

import numba
import numpy as np

from tracker_dagster.analytics.pricing.american_grid import (
    AXIS_NODES,
    AXIS_REACH,
    CRANDALL_STEP,
    GAP_STEPS,
    LAST_PHASE_STEPS,
    LAST_PHASES,
    WAIT_STEPS,
)
from tracker_dagster.analytics.pricing.vector_math import exp, vectorised

# Compiled code is cached by the text of this file, with the numbers of american_grid in it.
# Whoever changes those numbers changes this one too; the tests of the twins tell.
_SCHEME_EDITION = 1
#: Contracts abreast. With fewer the compiler unrolls the loops over them and misses the vectors.
LANES = 32

# Rows of a block. By node: value, control, what elimination leaves of a step's right side, and of
# its matrix, and the spot without its drift.
_VALUE = 0
_CONTROL = _VALUE + AXIS_NODES
_RIGHT = _CONTROL + AXIS_NODES
_FACTOR = _RIGHT + AXIS_NODES
_PER_PIVOT = _FACTOR + AXIS_NODES
_SPOT = _PER_PIVOT + AXIS_NODES
# By contract:
_SIGN = _SPOT + AXIS_NODES  # Of the payoff: 1 for calls.
_RATE = _SIGN + 1
_DRIFT = _RATE + 1  # Of the logarithm of the discounted spot.
_SPACING = _DRIFT + 1
_CENTRE = _SPACING + 1
_TIME = _CENTRE + 1
_STEP = _TIME + 1
_OFF = _STEP + 1
_SPREAD = _OFF + 1
_MASS = _SPREAD + 1
_AHEAD = _MASS + 1  # Dividends after the present gap, discounted.
_SLOPE = _AHEAD + 1
_LEVEL = _SLOPE + 1
_ROWS = _LEVEL + 1


@vectorised
def _set_obstacle(lanes: np.ndarray) -> None:
    """What exercise yields at the present time: level plus slope times spot."""
    for c in range(LANES):
        sign, time = lanes[_SIGN, c], lanes[_TIME, c]
        lanes[_SLOPE, c] = sign * exp(lanes[_DRIFT, c] * time)
        lanes[_LEVEL, c] = sign * (lanes[_AHEAD, c] - exp(-lanes[_RATE, c] * time))


@vectorised
def _raise(lanes: np.ndarray, first: int) -> None:
    for i in range(AXIS_NODES):
        for c in range(LANES):
            least = lanes[_LEVEL, c] + lanes[_SLOPE, c] * lanes[_SPOT + i, c]
            lanes[first + i, c] = max(lanes[first + i, c], least)


@vectorised
def _factorise(lanes: np.ndarray) -> None:
    """Eliminate from the upper end; steps of one length share the result."""
    for c in range(LANES):
        spread = 0.25 * lanes[_STEP, c] / (lanes[_SPACING, c] * lanes[_SPACING, c])
        mass = 1.0 / 12.0 if spread > CRANDALL_STEP else 0.0
        lanes[_SPREAD, c], lanes[_MASS, c] = spread, mass
        lanes[_OFF, c] = mass - spread
        lanes[_FACTOR + AXIS_NODES - 1, c] = 0.0
        lanes[_PER_PIVOT + AXIS_NODES - 1, c] = 0.0
    for i in range(AXIS_NODES - 2, 0, -1):
        for c in range(LANES):
            off = lanes[_OFF, c]
            # The upper end is given: its column goes to the right side.
            above = off if i == AXIS_NODES - 2 else off * lanes[_PER_PIVOT + i + 1, c]
            lanes[_FACTOR + i, c] = above
            inner = 0.0 if i == AXIS_NODES - 2 else above * off
            lanes[_PER_PIVOT + i, c] = 1.0 / (1.0 - 2.0 * off - inner)


@vectorised
def _solve(lanes: np.ndarray, first: int, implicit: bool, bounded: bool) -> None:
    """One step back in time, or half an implicit one."""
    top = AXIS_NODES - 1
    for c in range(LANES):
        lanes[_RIGHT + top, c] = lanes[first + top, c]
    for i in range(top - 1, 0, -1):
        for c in range(LANES):
            spread = lanes[_MASS, c] if implicit else lanes[_MASS, c] + lanes[_SPREAD, c]
            here = lanes[first + i, c]
            bend = lanes[first + i + 1, c] - 2.0 * here + lanes[first + i - 1, c]
            right = here + spread * bend
            lanes[_RIGHT + i, c] = right - lanes[_FACTOR + i, c] * lanes[_RIGHT + i + 1, c]
    if bounded:
        for c in range(LANES):
            least = lanes[_LEVEL, c] + lanes[_SLOPE, c] * lanes[_SPOT, c]
            lanes[first, c] = max(lanes[first, c], least)
    for i in range(1, top):
        for c in range(LANES):
            below = lanes[_OFF, c] * lanes[first + i - 1, c]
            value = (lanes[_RIGHT + i, c] - below) * lanes[_PER_PIVOT + i, c]
            if bounded:
                least = lanes[_LEVEL, c] + lanes[_SLOPE, c] * lanes[_SPOT + i, c]
                value = max(value, least)
            lanes[first + i, c] = value


@vectorised
def _advance(lanes: np.ndarray, steps: int, restart: bool, controlled: bool) -> None:
    """``steps`` steps of the lengths in the block; the first in two implicit halves."""
    _factorise(lanes)
    for step in range(steps):
        halves = 2 if restart and step == 0 else 1
        for _ in range(halves):
            for c in range(LANES):
                lanes[_TIME, c] -= lanes[_STEP, c] / halves
            _set_obstacle(lanes)
            _solve(lanes, _VALUE, halves == 2, True)
            if controlled:
                _solve(lanes, _CONTROL, halves == 2, False)


@numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
def write_differences(
    start: int,
    stop: int,
    log_spot: np.ndarray,
    rate: np.ndarray,
    dividend: np.ndarray,
    deviation: np.ndarray,
    is_call: bool,
    times: np.ndarray,
    amounts: np.ndarray,
    waits: np.ndarray,
    out: np.ndarray,
) -> None:
    """See the twin."""
    lanes = np.zeros((_ROWS, LANES))
    rows = np.zeros(LANES, np.int64)
    count = times.shape[1]
    for first in range(start, stop, LANES):
        present = min(LANES, stop - first)
        for c in range(LANES):
            rows[c] = row = first + min(c, present - 1)
            width = 2.0 * AXIS_REACH + (deviation[row] if is_call else 0.0)
            spacing = width / (AXIS_NODES - 1)
            centre = math.floor((width - AXIS_REACH) / spacing + 0.5)
            lanes[_SIGN, c] = 1.0 if is_call else -1.0
            lanes[_RATE, c] = rate[row]
            lanes[_DRIFT, c] = -dividend[row] - 0.5 * deviation[row] * deviation[row]
            lanes[_SPACING, c], lanes[_CENTRE, c] = spacing, centre
            lanes[_TIME, c], lanes[_AHEAD, c] = 1.0, 0.0
            scale = -lanes[_SIGN, c] * deviation[row] * spacing
            for i in range(AXIS_NODES):
                lanes[_SPOT + i, c] = log_spot[row] + scale * (i - centre)
        for i in range(AXIS_NODES):
            for c in range(LANES):
                lanes[_SPOT + i, c] = exp(lanes[_SPOT + i, c])
                lanes[_VALUE + i, c] = lanes[_CONTROL + i, c] = 0.0
        _set_obstacle(lanes)
        _raise(lanes, _VALUE)
        _raise(lanes, _CONTROL)
        # After the last ex-date, then for each from the last: waiting for it, and before that.
        for phase in range(LAST_PHASES + 2 * count):
            gone = phase - LAST_PHASES
            j = count - 1 - gone // 2
            if gone < 0:
                steps = LAST_PHASE_STEPS
                share = (2.0 * phase + 1.0) / (LAST_PHASES * LAST_PHASES)
                for c in range(LANES):
                    lanes[_STEP, c] = (1.0 - times[rows[c], count - 1]) * share / steps
            elif gone % 2 == 0:
                if gone == 0 and not is_call:
                    for i in range(AXIS_NODES):
                        for c in range(LANES):
                            lanes[_CONTROL + i, c] = lanes[_VALUE + i, c]
                steps = WAIT_STEPS
                for c in range(LANES):
                    row = rows[c]
                    lanes[_TIME, c] = times[row, j]
                    lanes[_AHEAD, c] += amounts[row, j] * math.exp(-rate[row] * times[row, j])
                    lanes[_STEP, c] = waits[row, j] / steps
                _set_obstacle(lanes)
                _raise(lanes, _VALUE)
            else:
                steps = GAP_STEPS
                for c in range(LANES):
                    row = rows[c]
                    gap = times[row, j] - (times[row, j - 1] if j > 0 else 0.0)
                    lanes[_STEP, c] = (gap - waits[row, j]) / steps
            _advance(lanes, steps, phase == 0 or gone >= 0, is_call or gone >= 0)
        for c in range(present):
            i, spacing = int(lanes[_CENTRE, c]), lanes[_SPACING, c]
            f0 = lanes[_VALUE + i, c] - lanes[_CONTROL + i, c]
            f1 = lanes[_VALUE + i + 1, c] - lanes[_CONTROL + i + 1, c]
            f2 = lanes[_VALUE + i + 2, c] - lanes[_CONTROL + i + 2, c]
            g1 = lanes[_VALUE + i - 1, c] - lanes[_CONTROL + i - 1, c]
            g2 = lanes[_VALUE + i - 2, c] - lanes[_CONTROL + i - 2, c]
            per_log = -lanes[_SIGN, c] / (deviation[first + c] * spacing)
            slope = per_log * (8.0 * (f1 - g1) - (f2 - g2)) / 12.0
            bend = per_log * per_log * (16.0 * (f1 + g1) - (f2 + g2) - 30.0 * f0) / 12.0
            spot = math.exp(log_spot[first + c])
            out[0, first + c] = f0
            out[1, first + c] = slope / spot
            out[2, first + c] = (bend - slope) / (spot * spot)
