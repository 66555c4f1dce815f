"""Options on shares that pay cash, exercised at several times: the grid, and its numpy path.

In the escrowed dividend model the spot less the present value of what it still pays before expiry
is lognormal, and exercise at a time yields that and the dividends still to come. With time to
expiry one and strike one, ``spot(t) = spot exp(drift t + deviation w)`` with ``w`` a Brownian
motion; on a grid of ``w`` the discounted value solves the heat equation and is not below what
exercise yields, discounted.

Crank and Nicolson's steps with Crandall's weights (fourth order in space), each begun again after
an ex-date or where exercise starts to pay by two implicit half steps (Rannacher 1984); the
inequality is solved exactly by M. Brennan and E. Schwartz, The valuation of American put options,
Journal of Finance 1977. Besides the value a second one, the control, is carried without the
exercises whose value is known otherwise: for puts those after the last ex-date, for calls none.
The difference of the two is the result, and most of the grid's error is not in it.

Puts gain by exercise below the spot, calls above: the axis of a call points down, so that
exercise is always at its lower end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

#: Nodes across the axis, and how many deviations they reach to each side.
AXIS_NODES = 128
AXIS_REACH = 4.5
#: After the last ex-date the steps grow from phase to phase, each with so many steps.
LAST_PHASES, LAST_PHASE_STEPS = 4, 4
#: Steps from an ex-date back to where exercise can pay, and from there to the ex-date before.
WAIT_STEPS, GAP_STEPS = 4, 8
#: A quarter of a step over the squared spacing from which Crandall's weights are taken.
CRANDALL_STEP = 1.0 / 11.0
#: Steps between ex-dates where exercise may pay anywhere.
FREE_STEPS = 96


class _Axis(NamedTuple):
    """The axis of each contract: arrays of contracts, ``spot`` of (nodes, contracts)."""

    sign: float
    rate: np.ndarray
    drift: np.ndarray
    spacing: np.ndarray
    centre: np.ndarray
    spot: np.ndarray


class _Step(NamedTuple):
    """Steps of one length: the matrix, eliminated from the upper end of the axis."""

    length: np.ndarray
    spread: np.ndarray
    mass: np.ndarray
    off: np.ndarray
    factor: np.ndarray
    per_pivot: np.ndarray


def _axis(
    log_spot: np.ndarray,
    rate: np.ndarray,
    dividend: np.ndarray,
    deviation: np.ndarray,
    is_call: bool,
) -> _Axis:
    # High spots weigh more in the value of a call: its axis reaches farther up.
    width = 2.0 * AXIS_REACH + (deviation if is_call else np.zeros_like(deviation))
    spacing = width / (AXIS_NODES - 1)
    centre = np.floor((width - AXIS_REACH) / spacing + 0.5)
    sign = 1.0 if is_call else -1.0
    nodes = np.arange(AXIS_NODES)[:, None]
    return _Axis(
        sign,
        rate,
        -dividend - 0.5 * deviation * deviation,
        spacing,
        centre.astype(np.int64),
        np.exp(log_spot - sign * deviation * spacing * (nodes - centre)),
    )


def _step(axis: _Axis, length: np.ndarray) -> _Step:
    spread = 0.25 * length / axis.spacing**2
    mass = np.where(spread > CRANDALL_STEP, 1.0 / 12.0, 0.0)
    off = mass - spread
    factor, per_pivot = np.zeros((2, AXIS_NODES, len(length)))
    top = AXIS_NODES - 1
    for i in range(top - 1, 0, -1):
        # The upper end is given: its column goes to the right side.
        factor[i] = off if i == top - 1 else off * per_pivot[i + 1]
        inner = 0.0 if i == top - 1 else factor[i] * off
        per_pivot[i] = 1.0 / (1.0 - 2.0 * off - inner)
    return _Step(length, spread, mass, off, factor, per_pivot)


def _obstacle(axis: _Axis, time: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    """What exercise at ``time`` yields, discounted; ``ahead`` are the dividends still to come."""
    level = axis.sign * (ahead - np.exp(-axis.rate * time))
    return level + axis.sign * np.exp(axis.drift * time) * axis.spot


def _solved(
    step: _Step, values: np.ndarray, implicit: bool, obstacle: np.ndarray | None
) -> np.ndarray:
    """Values a step earlier, or half an implicit one, not below ``obstacle``."""
    spread = step.mass if implicit else step.mass + step.spread
    right = values.copy()
    right[1:-1] += spread * (values[2:] - 2.0 * values[1:-1] + values[:-2])
    top = AXIS_NODES - 1
    for i in range(top - 1, 0, -1):
        right[i] -= step.factor[i] * right[i + 1]
    if obstacle is not None:
        right[0] = np.maximum(right[0], obstacle[0])
    for i in range(1, top):
        right[i] = (right[i] - step.off * right[i - 1]) * step.per_pivot[i]
        if obstacle is not None:
            right[i] = np.maximum(right[i], obstacle[i])
    return right


class _State(NamedTuple):
    """Discounted values on the axis at a time: arrays of (nodes, contracts), and of contracts.

    Attributes:
        value: of the contracts.
        control: without the exercises whose value is known otherwise.
        time: from 0, now, to 1, expiry.
        ahead: dividends after that time.
    """

    value: np.ndarray
    control: np.ndarray
    time: np.ndarray
    ahead: np.ndarray

    @classmethod
    def at_expiry(cls, axis: _Axis) -> _State:
        time, ahead = np.ones_like(axis.rate), np.zeros_like(axis.rate)
        value = np.maximum(_obstacle(axis, time, ahead), 0.0)
        return cls(value, value, time, ahead)


def _advanced(
    axis: _Axis,
    state: _State,
    step: _Step,
    count: int,
    restart: bool,
    controlled: bool,
    *,
    free: bool = False,
) -> _State:
    """The state ``count`` steps earlier; the first step in two implicit halves."""
    value, control, time, ahead = state
    for n in range(count):
        halves = 2 if restart and n == 0 else 1
        for _ in range(halves):
            time = time - step.length / halves
            obstacle = _obstacle(axis, time, ahead)
            if free:
                value = np.maximum(_solved(step, value, halves == 2, None), obstacle)
            else:
                value = _solved(step, value, halves == 2, obstacle)
            if controlled:
                control = _solved(step, control, halves == 2, None)
    return _State(value, control, time, ahead)


def _before_ex_date(axis: _Axis, state: _State, time: np.ndarray, amount: np.ndarray) -> _State:
    """The state just before an ex-date, where exercise yields the dividend as well."""
    ahead = state.ahead + amount * np.exp(-axis.rate * time)
    value = np.maximum(state.value, _obstacle(axis, time, ahead))
    return _State(value, state.control, time, ahead)


def _at_centre(
    axis: _Axis, state: _State, log_spot: np.ndarray, deviation: np.ndarray
) -> np.ndarray:
    """Value less control at the spot, and its derivatives, shape (3, n)."""
    contracts, difference = np.arange(len(log_spot)), state.value - state.control
    g2, g1, f0, f1, f2 = (difference[axis.centre + shift, contracts] for shift in range(-2, 3))
    per_log = -axis.sign / (deviation * axis.spacing)
    slope = per_log * (8.0 * (f1 - g1) - (f2 - g2)) / 12.0
    bend = per_log * per_log * (16.0 * (f1 + g1) - (f2 + g2) - 30.0 * f0) / 12.0
    spot = np.exp(log_spot)
    return np.stack([f0, slope / spot, (bend - slope) / (spot * spot)])


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
    """Value less control of contracts on a strike of one, with ``k`` ex-dates each.

    Args:
        start: first row.
        stop: row after the last.
        log_spot: logarithm of the spot less the dividends' present value, shape (n,).
        rate: over the life of the contract, not negative.
        dividend: yield over the life of the contract.
        deviation: positive.
        is_call: whether all are calls, or all puts.
        times: of the ex-dates, ascending, in (0, 1], shape (n, k).
        amounts: of the dividends then, shape (n, k).
        waits: how long before each ex-date exercise cannot pay, shape (n, k); for calls, which
            are exercised at its end, a time of fine steps.
        out: the difference and its first two derivatives by the spot, shape (3, n).
    """
    rows = slice(start, stop)
    log_spot, rate, deviation = log_spot[rows], rate[rows], deviation[rows]
    times, amounts, waits = times[rows], amounts[rows], waits[rows]
    axis = _axis(log_spot, rate, dividend[rows], deviation, is_call)
    state = _State.at_expiry(axis)
    for phase in range(LAST_PHASES):
        share = (2.0 * phase + 1.0) / LAST_PHASES**2
        step = _step(axis, (1.0 - times[:, -1]) * share / LAST_PHASE_STEPS)
        state = _advanced(axis, state, step, LAST_PHASE_STEPS, phase == 0, is_call)
    if not is_call:
        state = state._replace(control=state.value)
    for j in range(times.shape[1] - 1, -1, -1):
        state = _before_ex_date(axis, state, times[:, j], amounts[:, j])
        gap = times[:, j] - (times[:, j - 1] if j else 0.0)
        for length, count in ((waits[:, j], WAIT_STEPS), (gap - waits[:, j], GAP_STEPS)):
            state = _advanced(axis, state, _step(axis, length / count), count, True, True)
    out[:, rows] = _at_centre(axis, state, log_spot, deviation)


def free_differences(
    log_spot: np.ndarray,
    rate: np.ndarray,
    dividend: np.ndarray,
    deviation: np.ndarray,
    is_call: bool,
    times: np.ndarray,
    amounts: np.ndarray,
) -> np.ndarray:
    """Value less European value, wherever exercise pays: for negative rates. Slow.

    Between two boundaries elimination does not solve the inequality. Here the value is raised to
    what exercise yields after each of many steps, and two numbers of steps are extrapolated.

    Args:
        log_spot: logarithm of the spot less the dividends' present value, shape (n,).
        rate: over the life of the contract.
        dividend: yield over the life of the contract.
        deviation: positive.
        is_call: whether all are calls, or all puts.
        times: of the ex-dates, ascending, in (0, 1], shape (n, k); k may be zero.
        amounts: of the dividends then, shape (n, k).

    Returns:
        The difference and its first two derivatives by the spot, shape (3, n).
    """
    axis = _axis(log_spot, rate, dividend, deviation, is_call)
    edges = np.hstack([np.zeros((len(rate), 1)), times, np.ones((len(rate), 1))])
    found = []
    for count in (FREE_STEPS, 2 * FREE_STEPS):
        state = _State.at_expiry(axis)
        for j in range(times.shape[1], -1, -1):
            step = _step(axis, (edges[:, j + 1] - edges[:, j]) / count)
            state = _advanced(axis, state, step, count, True, True, free=True)
            if j:
                state = _before_ex_date(axis, state, times[:, j - 1], amounts[:, j - 1])
        found.append(_at_centre(axis, state, log_spot, deviation))
    return 2.0 * found[1] - found[0]
