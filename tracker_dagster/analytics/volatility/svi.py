"""Raw SVI: slices of a volatility surface as parameters, and their total variance.

A slice is total variance over log-moneyness k = ln(K/F),
w(k) = a + b (rho (k - m) + sqrt((k - m)^2 + sigma^2))
(Gatheral 2004; Gatheral and Jacquier 2014, "Arbitrage-free SVI volatility surfaces", section 3).
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Slices(NamedTuple):
    """Parameters of slices, each an array of one shape (or a scalar).

    Attributes:
        a: level of total variance.
        b: how fast the wings rise, at least 0.
        rho: tilt, -1 to 1.
        m: log-moneyness the vertex lies at, but for the tilt.
        sigma: how round the vertex is, above 0.
    """

    a: Floats
    b: Floats
    rho: Floats
    m: Floats
    sigma: Floats

    @classmethod
    def of(cls, parameters: ArrayLike) -> Self:
        """Slices of an array ``(..., 5)``."""
        return cls(*np.moveaxis(np.asarray(parameters, dtype=np.float64), -1, 0))

    def columns(self) -> Self:
        """Each slice as a row, ``(n, 1)``, to meet rows of moneyness."""
        return type(self)(*(np.asarray(part)[..., None] for part in self))


def total_variance(slices: Slices, moneyness: ArrayLike) -> Floats:
    """Total variance w = volatility^2 years at log-moneyness k; shapes broadcast."""
    a, b, rho, m, sigma = slices
    x = np.asarray(moneyness) - m
    return np.asarray(a + b * (rho * x + np.sqrt(x * x + sigma * sigma)))


def derivatives(slices: Slices, moneyness: ArrayLike) -> tuple[Floats, Floats]:
    """First and second derivative of total variance with respect to log-moneyness."""
    _, b, rho, m, sigma = slices
    x = np.asarray(moneyness) - m
    root = np.sqrt(x * x + sigma * sigma)
    return np.asarray(b * (rho + x / root)), np.asarray(b * sigma * sigma / root**3)
