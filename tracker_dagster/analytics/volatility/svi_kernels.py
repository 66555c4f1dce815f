"""The numba kernel that fits slices of total variance; imported only where smiles are fitted.

Quasi-explicit calibration (De Marco and Martini 2009, Zeliade Systems): of the five parameters
only two are searched for, the other three follow by least squares under linear constraints. Here
the slice is written with its two wings,

    w(k) = a + right * (r + x) / 2 + left * (r - x) / 2,   x = k - m,  r = sqrt(x^2 + sigma^2),

whose rises ``right`` = b (1 + rho) and ``left`` = b (1 - rho) lie between 0 and 2 (Lee 2004): the
least squares within are a quadratic over a square.

A slice without negative density is searched for among vertices whose least squares have none. The
best of all five parameters together would miss the points by a few per cent less, at a hundred
times the cost.
"""

from __future__ import annotations

import math
from typing import cast

import numba
import numpy as np
from numpy.typing import NDArray

from tracker_dagster.analytics.volatility.arbitrage import STEEPEST_WING, WIDE_GRID

Floats = NDArray[np.float64]

_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")

#: Families of slices: SSVI's three parameters, raw SVI's five, raw SVI without negative density.
#: Of a plain number numba would compile everything anew for each value.
_SSVI, _RAW, _FREE = (cast(int, np.int64(family)) for family in range(3))

_NEVER = 1e300
#: A vertex sharper than this many deviations is not to be seen between strikes.
_SHARPEST = math.log(0.1)
#: Tukey's biweight keeps 95 % efficiency at this many deviations, Huber's weight at that many.
_TUKEY, _HUBER = 4.685, 1.345
#: Makes the median absolute residual of normal ones their deviation.
_NORMAL = 1.4826
#: Rounds of fitting and weighing anew: as quoted, then Huber's weights, then Tukey's.
_ROUNDS = 3
_FIRST = cast(int, np.int64(0))
_LOOKS, _LAST_LOOKS = cast(int, np.int64(150)), cast(int, np.int64(400))
#: Rounding must not turn a density of zero into a negative one.
_MARGIN = 1e-6


@_compiled
def _square(rr: float, rl: float, ll: float, rw: float, lw: float) -> tuple[float, float]:
    """Minimiser of rr p^2 + 2 rl p q + ll q^2 - 2 (rw p + lw q) over 0 <= p, q <= 2."""
    determinant = rr * ll - rl * rl
    if determinant > 1e-14 * rr * ll:
        p = (rw * ll - lw * rl) / determinant
        q = (lw * rr - rw * rl) / determinant
        if 0.0 <= p <= STEEPEST_WING and 0.0 <= q <= STEEPEST_WING:
            return p, q
    # The quadratic is convex: its minimum over the square then lies on an edge.
    best, best_p, best_q = _NEVER, 0.0, 0.0
    for side in range(4):
        fixed = STEEPEST_WING * (side % 2)
        if side < 2:
            p = fixed
            q = min(max((lw - rl * p) / ll, 0.0), STEEPEST_WING) if ll > 0.0 else 0.0
        else:
            q = fixed
            p = min(max((rw - rl * q) / rr, 0.0), STEEPEST_WING) if rr > 0.0 else 0.0
        value = rr * p * p + 2.0 * rl * p * q + ll * q * q - 2.0 * (rw * p + lw * q)
        if value < best:
            best, best_p, best_q = value, p, q
    return best_p, best_q


@_compiled
def _value(slice_: Floats, k: float) -> float:
    x = k - slice_[3]
    return slice_[0] + slice_[1] * (slice_[2] * x + math.sqrt(x * x + slice_[4] * slice_[4]))


@_compiled
def _squares(k: Floats, w: Floats, weight: Floats, slice_: Floats) -> float:
    total = 0.0
    for i in range(k.size):
        off = _value(slice_, k[i]) - w[i]
        total += weight[i] * off * off
    return total


@_compiled
def _raw(k: Floats, w: Floats, weight: Floats, m: float, sigma: float, out: Floats) -> float:
    """Weighted squares of the best raw slice with this vertex; its parameters into ``out``."""
    total = mean_r = mean_l = mean_w = 0.0
    for i in range(k.size):
        x = k[i] - m
        root = math.sqrt(x * x + sigma * sigma)
        total += weight[i]
        mean_r += weight[i] * (root + x) * 0.5
        mean_l += weight[i] * (root - x) * 0.5
        mean_w += weight[i] * w[i]
    mean_r /= total
    mean_l /= total
    mean_w /= total
    rr = rl = ll = rw = lw = 0.0
    for i in range(k.size):
        x = k[i] - m
        root = math.sqrt(x * x + sigma * sigma)
        right = (root + x) * 0.5 - mean_r
        left = (root - x) * 0.5 - mean_l
        rr += weight[i] * right * right
        rl += weight[i] * right * left
        ll += weight[i] * left * left
        rw += weight[i] * right * (w[i] - mean_w)
        lw += weight[i] * left * (w[i] - mean_w)
    p, q = _square(rr, rl, ll, rw, lw)
    # Total variance is least near the vertex and must not be negative there.
    out[0] = max(mean_w - p * mean_r - q * mean_l, -sigma * math.sqrt(p * q))
    out[1] = 0.5 * (p + q)
    out[2] = (p - q) / (p + q) if p + q > 0.0 else 0.0
    out[3] = m
    out[4] = sigma
    return _squares(k, w, weight, out)


@_compiled
def _ssvi(k: Floats, w: Floats, weight: Floats, rho: float, phi: float, out: Floats) -> float:
    """Weighted squares of the best SSVI slice of this shape that theorem 4.2 says is free."""
    top = bottom = 0.0
    for i in range(k.size):
        x = phi * k[i]
        shape = 0.5 * (1.0 + rho * x + math.sqrt((x + rho) * (x + rho) + 1.0 - rho * rho))
        top += weight[i] * shape * w[i]
        bottom += weight[i] * shape * shape
    theta = min(top / bottom, 4.0 / (phi * max(phi, 1.0) * (1.0 + abs(rho))))
    rest = math.sqrt(1.0 - rho * rho)
    out[0] = 0.5 * theta * rest * rest
    out[1] = 0.5 * theta * phi
    out[2] = rho
    out[3] = -rho / phi
    out[4] = rest / phi
    return _squares(k, w, weight, out)


@_compiled
def _is_free(slice_: Floats) -> bool:
    """Whether the density is nowhere negative, looked at as `least_density_factor` does."""
    a, b, rho, m, sigma = slice_
    if b * (1.0 + abs(rho)) > STEEPEST_WING:
        return False
    deviation = math.sqrt(max(_value(slice_, 0.0), 1e-8))
    for spread in WIDE_GRID:
        for k in (m + sigma * spread, deviation * spread):
            root = math.sqrt((k - m) * (k - m) + sigma * sigma)
            w = a + b * (rho * (k - m) + root)
            if w <= 0.0:
                return False
            slope = b * (rho + (k - m) / root)
            bend = b * sigma * sigma / (root * root * root)
            straight = 1.0 - k * slope / (2.0 * w)
            g = straight * straight - slope * slope / 4.0 * (1.0 / w + 0.25) + bend / 2.0
            if g < _MARGIN:
                return False
    return True


@_compiled
def _cost(
    family: int, x: float, y: float, k: Floats, w: Floats, weight: Floats, scale: float, out: Floats
) -> float:
    """Weighted squares at a point of the search; its coordinates do not depend on the scale.

    For SSVI x is the tilt's inverse hyperbolic tangent, else the vertex in deviations; y is the
    logarithm of the curvature, or of the vertex's roundness, in deviations.
    """
    if family == _SSVI:
        if abs(x) > 4.0 or abs(y) > 5.0:
            return _NEVER
        return _ssvi(k, w, weight, math.tanh(x), math.exp(y) / scale, out)
    m, sigma = x * scale, scale * math.exp(y)
    # A vertex further out than the quotes, or rounder than all of them, is not identified.
    if m < k[0] or m > k[-1] or y < _SHARPEST or sigma > 3.0 * (k[-1] - k[0]):
        return _NEVER
    cost = _raw(k, w, weight, m, sigma, out)
    return _NEVER if family == _FREE and not _is_free(out) else cost


@_compiled
def _start(
    family: int, k: Floats, w: Floats, weight: Floats, scale: float, out: Floats
) -> tuple[float, float, float]:
    """The best of a coarse grid: where, and its cost."""
    best, best_x, best_y = _NEVER, 0.0, 0.0
    for i in range(9):
        for j in range(6):
            if family == _SSVI:
                x, y = -2.0 + 0.5 * i, -1.5 + 0.6 * j
            else:
                x, y = (k[0] + (k[-1] - k[0]) * i / 8.0) / scale, _SHARPEST + 0.7 * j
            cost = _cost(family, x, y, k, w, weight, scale, out)
            if cost < best:
                best, best_x, best_y = cost, x, y
    return best_x, best_y, best


@_compiled
def _search(
    family: int, x: float, y: float, looks: int,
    k: Floats, w: Floats, weight: Floats, scale: float, out: Floats,
) -> tuple[float, float, float]:  # fmt: skip
    """Nelder and Mead's simplex (1965) from (x, y); leaves the best slice in ``out``."""
    px = np.array([x, x + 0.2, x])
    py = np.array([y, y, y + 0.2])
    cost = np.empty(3)
    for i in range(3):
        cost[i] = _cost(family, px[i], py[i], k, w, weight, scale, out)
    used = 3
    while used < looks:
        for i in range(2):
            for j in range(2 - i):
                if cost[j + 1] < cost[j]:
                    px[j], px[j + 1] = px[j + 1], px[j]
                    py[j], py[j + 1] = py[j + 1], py[j]
                    cost[j], cost[j + 1] = cost[j + 1], cost[j]
        size = max(abs(px[2] - px[0]), abs(py[2] - py[0]), abs(px[1] - px[0]), abs(py[1] - py[0]))
        if size < 1e-10 or (size < 1e-3 and cost[2] - cost[0] <= 1e-12 * cost[0]):
            break
        centre_x, centre_y = 0.5 * (px[0] + px[1]), 0.5 * (py[0] + py[1])
        dx, dy = centre_x - px[2], centre_y - py[2]
        value = _cost(family, centre_x + dx, centre_y + dy, k, w, weight, scale, out)
        used += 1
        step = 1.0
        if value < cost[0]:
            further = _cost(family, centre_x + 2 * dx, centre_y + 2 * dy, k, w, weight, scale, out)
            used += 1
            if further < value:
                step, value = 2.0, further
        elif value >= cost[1]:
            bar = min(value, cost[2])
            step = 0.5 if value < cost[2] else -0.5
            value = _cost(
                family, centre_x + step * dx, centre_y + step * dy, k, w, weight, scale, out
            )
            used += 1
            if value >= bar:
                for i in range(1, 3):
                    px[i] = 0.5 * (px[0] + px[i])
                    py[i] = 0.5 * (py[0] + py[i])
                    cost[i] = _cost(family, px[i], py[i], k, w, weight, scale, out)
                used += 2
                continue
        px[2], py[2], cost[2] = centre_x + step * dx, centre_y + step * dy, value
    best = 0
    for i in range(1, 3):
        if cost[i] < cost[best]:
            best = i
    return px[best], py[best], _cost(family, px[best], py[best], k, w, weight, scale, out)


@_compiled
def _median(values: Floats) -> float:
    """By insertion: compiling numpy's takes seconds, and slices are short. Sorts ``values``."""
    for i in range(1, values.size):
        value, j = values[i], i
        while j > 0 and values[j - 1] > value:
            values[j] = values[j - 1]
            j -= 1
        values[j] = value
    return 0.5 * (values[(values.size - 1) // 2] + values[values.size // 2])


@_compiled
def _reweigh(
    k: Floats, w: Floats, error: Floats, slice_: Floats, turn: int, weight: Floats
) -> None:
    """Weights after a turn: those of the quotes' errors, less where the slice is far off."""
    off = np.empty(k.size)
    for i in range(k.size):
        off[i] = abs(_value(slice_, k[i]) - w[i]) / error[i]
    # A point inside its own quote is never thrown out, however well the others fit.
    deviation = max(_NORMAL * _median(off.copy()), 1.0 / _TUKEY)
    for i in range(k.size):
        if turn > 0:
            ratio = min(off[i] / (_TUKEY * deviation), 1.0)
            trust = (1.0 - ratio * ratio) ** 2
        else:
            trust = 1.0 if off[i] <= _HUBER * deviation else _HUBER * deviation / off[i]
        weight[i] = trust / (error[i] * error[i])


@_compiled
def _fit(
    family: int, k: Floats, w: Floats, error: Floats, weight: Floats, scale: float, out: Floats
) -> None:
    """Rounds of search, each from the last, with weights that trust outliers less and less."""
    x, y, _ = _start(family, k, w, weight, scale, out)
    for turn in range(_ROUNDS):
        last = turn == _ROUNDS - 1
        x, y, _ = _search(family, x, y, _LAST_LOOKS if last else _LOOKS, k, w, weight, scale, out)
        if not last:
            _reweigh(k, w, error, out, turn, weight)


@_compiled
def _gain_asked(points: int) -> float:
    """Share of the squares that five parameters may leave to be preferred to three.

    Akaike's criterion corrected for small samples (Hurvich and Tsai 1989); the deviation counts
    as a parameter. ``points`` is at least 8.
    """
    three = 8.0 + 40.0 / (points - 5)
    five = 12.0 + 84.0 / (points - 7)
    return math.exp((three - five) / points)


@_compiled
def fit_slices(
    moneyness: Floats, variance: Floats, error: Floats, offsets: NDArray[np.int64], raw_points: int
) -> tuple[Floats, Floats, NDArray[np.bool_], Floats]:
    """Fit every slice.

    Args:
        moneyness: log-moneyness of the points, ``(points,)``, ascending within a slice.
        variance: their total variances, above 0.
        error: how far each may be off, in total variance, above 0.
        offsets: slice s has the points ``offsets[s]`` to ``offsets[s + 1]``, ``(slices + 1,)``.
        raw_points: a slice of fewer points is fitted with SSVI's three parameters; at least 8.

    Returns:
        The best slices without butterfly arbitrage, ``(slices, 5)`` of a, b, rho, m, sigma; the
        best slices whether or not they have any, of the same shape; whether the first are raw and
        not SSVI, ``(slices,)``; the weights of the points in the last round, ``(points,)``, 0 for
        one that was thrown out.
    """
    slices = offsets.size - 1
    free = np.empty((slices, 5))
    best = np.empty((slices, 5))
    is_raw = np.zeros(slices, dtype=np.bool_)
    weights = 1.0 / (error * error)
    for s in range(slices):
        part = slice(offsets[s], offsets[s + 1])
        k, w, e, weight = moneyness[part], variance[part], error[part], weights[part]
        nearest = 0
        for i in range(1, k.size):
            if abs(k[i]) < abs(k[nearest]):
                nearest = i
        scale = math.sqrt(w[nearest])
        _fit(_SSVI, k, w, e, weight, scale, free[s])
        if k.size < raw_points:
            best[s] = free[s]
            continue
        # An outlier bends five parameters more than three: begin with what three say of it.
        _reweigh(k, w, e, free[s], _FIRST, weight)
        _fit(_RAW, k, w, e, weight, scale, best[s])
        simple = _squares(k, w, weight, free[s])
        if _squares(k, w, weight, best[s]) >= simple * _gain_asked(k.size):
            best[s] = free[s]
        elif _is_free(best[s]):
            free[s] = best[s]
            is_raw[s] = True
        else:
            candidate = np.empty(5)
            x, y, cost = _start(_FREE, k, w, weight, scale, candidate)
            if cost < _NEVER:
                _, _, cost = _search(_FREE, x, y, _LAST_LOOKS, k, w, weight, scale, candidate)
            if cost < simple:
                free[s] = candidate
                is_raw[s] = True
    return free, best, is_raw, weights
