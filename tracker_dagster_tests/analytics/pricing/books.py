"""Books of contracts for the tests, and their values in arithmetic of seventy digits."""

from __future__ import annotations

from typing import NamedTuple

import mpmath as mp
import numpy as np

BACKENDS = ("numba", "numpy")


class Book(NamedTuple):
    """Arguments of `price` in their order."""

    spot: np.ndarray
    strike: np.ndarray
    years: np.ndarray
    rate: np.ndarray
    dividend_yield: np.ndarray
    volatility: np.ndarray
    is_call: np.ndarray

    @property
    def without_volatility(self) -> tuple[np.ndarray, ...]:
        """Arguments of `implied_volatility` after the price."""
        return (*self[:5], self.is_call)

    @property
    def legs(self) -> tuple[np.ndarray, np.ndarray]:
        """Discounted forward and discounted strike."""
        return (
            self.spot * np.exp(-self.dividend_yield * self.years),
            self.strike * np.exp(-self.rate * self.years),
        )

    def where(self, rows: np.ndarray) -> Book:
        return Book(*(column[rows] for column in self))


def random_book(count: int, deviations: float, seed: int = 7) -> Book:
    """The whole range asked for: S 1e-2 to 1e5, 1 % to 500 %, an hour to ten years.

    Strikes lie up to ``deviations`` standard deviations from the forward, within a factor of 1000.
    """
    rng = np.random.default_rng(seed)
    spot = 10 ** rng.uniform(-2, 5, count)
    years = 10 ** rng.uniform(np.log10(1 / 8760), 1, count)
    volatility = 10 ** rng.uniform(-2, np.log10(5), count)
    rate = rng.uniform(-0.02, 0.1, count)
    dividend_yield = rng.uniform(-0.02, 0.12, count)
    away = rng.uniform(-deviations, deviations, count) * volatility * np.sqrt(years)
    strike = spot * np.exp((rate - dividend_yield) * years + np.clip(away, -6.9, 6.9))
    return Book(spot, strike, years, rate, dividend_yield, volatility, rng.random(count) < 0.5)


class Exact(NamedTuple):
    """Value and Greeks in the units of the package; ``theta_parts`` is the sum of |parts|."""

    price: np.ndarray
    delta: np.ndarray
    gamma: np.ndarray
    theta: np.ndarray
    vega: np.ndarray
    rho: np.ndarray
    theta_parts: np.ndarray


def exact(book: Book) -> Exact:
    """The textbook formulas (Hull, 7th ed., 13.8 and chapter 17), evaluated by mpmath."""
    with mp.workdps(70):
        return Exact(*np.array([_exact(*row) for row in zip(*book, strict=True)]).T)


def _exact(*row: float) -> list[float]:
    s, k, t, r, q, v = map(mp.mpf, map(float, row[:6]))
    sign = 1 if row[6] else -1
    deviation = v * mp.sqrt(t)
    d1 = (mp.log(s / k) + (r - q + v * v / 2) * t) / deviation
    density = mp.exp(-d1 * d1 / 2) / mp.sqrt(2 * mp.pi)
    forward = s * mp.exp(-q * t)
    asset = sign * forward * _normal(sign * d1)
    cash = sign * k * mp.exp(-r * t) * _normal(sign * (d1 - deviation))
    parts = [-forward * density * v / (2 * mp.sqrt(t)), q * asset, -r * cash]
    return [
        float(number)
        for number in (
            asset - cash,
            asset / s,
            forward * density / (s * s * deviation),
            sum(parts) / 365,
            forward * density * mp.sqrt(t),
            t * cash,
            sum(map(abs, parts)) / 365,
        )
    ]


def _normal(x: mp.mpf) -> mp.mpf:
    return mp.erfc(-x / mp.sqrt(2)) / 2
