"""Option pricing of the simulated market: Black–Scholes–Merton and a Leisen–Reimer tree.

Kept apart from ``analytics`` on purpose: if the market were priced by the code under test,
finding its truth would be circular. All functions are vectorised over contracts; times are
years (ACT/365), rates continuous, volatilities annual decimals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_CHUNK = 192  # contracts per tree pass: keeps the lattice inside the second-level cache


@dataclass(frozen=True, slots=True)
class Greeks:
    """Per-contract sensitivities in the vendor's units.

    delta and gamma per $1 of spot, theta per calendar day, vega per volatility point.
    """

    delta: Floats
    gamma: Floats
    theta: Floats
    vega: Floats


def _d1_d2(
    spot: Floats, strike: Floats, t: Floats, r: Floats, vol: Floats
) -> tuple[Floats, Floats]:
    deviation = np.maximum(vol * np.sqrt(t), 1e-9)
    d1 = (np.log(spot / strike) + (r + 0.5 * vol * vol) * t) / deviation
    return d1, d1 - deviation


def european(
    spot: Floats, strike: Floats, t: Floats, r: Floats, vol: Floats, is_call: Flags
) -> Floats:
    """Black–Scholes value; ``spot`` is net of the present value of dividends before expiry."""
    d1, d2 = _d1_d2(spot, strike, t, r, vol)
    sign = np.where(is_call, 1.0, -1.0)
    return np.asarray(
        np.maximum(sign * (spot * ndtr(sign * d1) - strike * np.exp(-r * t) * ndtr(sign * d2)), 0.0)
    )


def european_greeks(
    spot: Floats, strike: Floats, t: Floats, r: Floats, vol: Floats, is_call: Flags
) -> Greeks:
    """Black–Scholes sensitivities in the vendor's units."""
    d1, d2 = _d1_d2(spot, strike, t, r, vol)
    density = np.exp(-0.5 * d1 * d1) / np.sqrt(2 * np.pi)
    root = np.maximum(np.sqrt(t), 1e-6)
    sign = np.where(is_call, 1.0, -1.0)
    return Greeks(
        delta=sign * ndtr(sign * d1),
        gamma=density / (spot * np.maximum(vol, 1e-6) * root),
        theta=(
            -spot * density * vol / (2 * root)
            - sign * r * strike * np.exp(-r * t) * ndtr(sign * d2)
        )
        / 365.0,
        vega=spot * density * root / 100.0,
    )


def _peizer_pratt(z: Floats, steps: int) -> Floats:
    """The Peizer–Pratt inversion (method 2) that Leisen and Reimer (1996) centre the tree with."""
    ratio = z / (steps + 1.0 / 3.0 + 0.1 / (steps + 1.0))
    return np.asarray(
        0.5 + np.sign(z) * 0.5 * np.sqrt(1.0 - np.exp(-ratio * ratio * (steps + 1.0 / 6.0)))
    )


def american(
    spot: Floats,
    strike: Floats,
    t: Floats,
    r: Floats,
    vol: Floats,
    is_call: Flags,
    dividends: Floats | None = None,
    steps: int = 101,
) -> Floats:
    """Leisen–Reimer value of American options.

    Args:
        spot: cum-dividend spot, shape (n,).
        strike: strikes, (n,).
        t: years to expiry, (n,).
        r: continuous rate, (n,).
        vol: volatility of the escrowed spot, (n,).
        is_call: right, (n,).
        dividends: cash dividends as an array (k, 2) of (years from now, amount); each contract
            takes those before its expiry, as an escrowed dividend.
        steps: odd number of steps.
    """
    value = np.empty(spot.shape)
    cash = np.empty((0, 2)) if dividends is None else dividends
    for start in range(0, spot.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        value[part] = _american_chunk(
            spot[part], strike[part], t[part], r[part], vol[part], is_call[part], cash, steps
        )
    return value


def _american_chunk(
    spot: Floats,
    strike: Floats,
    t: Floats,
    r: Floats,
    vol: Floats,
    is_call: Flags,
    dividends: Floats,
    steps: int,
) -> Floats:
    t = np.maximum(t, 1e-6)
    dt = t / steps
    escrow_now = present_value(dividends, t, r)
    net = np.maximum(spot - escrow_now, 1e-6)
    d1, d2 = _d1_d2(net, strike, t, r, vol)
    up_probability = _peizer_pratt(d2, steps)
    up_share = _peizer_pratt(d1, steps)
    growth = np.exp(r * dt)
    safe = np.clip(up_probability, 1e-12, 1 - 1e-12)
    up = growth * np.clip(up_share, 1e-12, 1 - 1e-12) / safe
    down = (growth - safe * up) / (1 - safe)
    down = np.maximum(down, 1e-12)
    sign = np.where(is_call, 1.0, -1.0)[None, :]
    rows = np.arange(steps + 1, dtype=np.float64)[:, None]
    # lattice[j] = S d^(n-j) u^j; dividing by ``down`` walks it back one step in time.
    nodes = net[None, :] * np.exp(
        rows * np.log(up)[None, :] + (steps - rows) * np.log(down)[None, :]
    )
    signed_strike = sign * strike[None, :]
    nodes *= sign
    value = np.maximum(nodes - signed_strike, 0.0)
    weight_up = (safe / growth)[None, :]
    weight_down = ((1 - safe) / growth)[None, :]
    inverse_down = (1 / down)[None, :]
    has_cash = dividends.size > 0
    for step in range(steps - 1, -1, -1):
        value = weight_up * value[1:] + weight_down * value[:-1]
        nodes = nodes[:-1] * inverse_down
        exercise = nodes - signed_strike
        if has_cash:
            exercise += sign * present_value(dividends, t, r, dt * step)[None, :]
        np.maximum(value, exercise, out=value)
    return np.asarray(value[0])


def present_value(dividends: Floats, t: Floats, r: Floats, at: Floats | None = None) -> Floats:
    """Value at time ``at`` (default now) of the dividends between ``at`` and expiry ``t``, (n,)."""
    if dividends.size == 0:
        return np.zeros(t.shape)
    moment = np.zeros(t.shape) if at is None else at
    when, amount = dividends[:, :1], dividends[:, 1:]
    live = (when > moment[None, :]) & (when <= t[None, :])
    discounted = amount * np.exp(-r[None, :] * (when - moment[None, :]))
    return np.asarray(np.where(live, discounted, 0.0).sum(axis=0))
