"""Volatilities and Greeks of 250,000 contracts beside the public libraries, speed and accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from benchmarks.figures import Figure
from benchmarks.timing import best_of
from tracker_dagster.analytics.pricing import (
    Status,
    implied_volatility_and_greeks,
    price,
)

CONTRACTS = 250_000
#: What a volatility may miss its price by, in spots.
REPRICE_ERROR = 1e-10


@dataclass(frozen=True)
class Book:
    """Arrays of one length, in the units of the package."""

    spot: np.ndarray
    strike: np.ndarray
    years: np.ndarray
    rate: np.ndarray
    dividend_yield: np.ndarray
    volatility: np.ndarray
    is_call: np.ndarray

    @classmethod
    def random(cls, count: int = CONTRACTS, seed: int = 20261120) -> Book:
        """Half a day to two years, 5 % to 400 %, spots of 3 to 6,000.

        Strikes lie 2.5 deviations around and within a factor of 20, as they do on exchanges.
        """
        rng = np.random.default_rng(seed)
        spot = np.exp(rng.uniform(np.log(3), np.log(6000), count))
        years = rng.uniform(0.5, 730, count) / 365
        volatility = np.exp(rng.uniform(np.log(0.05), np.log(4.0), count))
        rate, dividend_yield = np.full(count, 0.043), rng.uniform(0.0, 0.03, count)
        away = rng.uniform(-2.5, 2.5, count) * volatility * np.sqrt(years)
        strike = spot * np.exp((rate - dividend_yield) * years + np.clip(away, -3.0, 3.0))
        is_call = rng.random(count) < 0.5
        return cls(spot, strike, years, rate, dividend_yield, volatility, is_call)

    def worth(self, volatility: np.ndarray) -> np.ndarray:
        """European values at other volatilities."""
        return price(
            self.spot,
            self.strike,
            self.years,
            self.rate,
            self.dividend_yield,
            volatility,
            self.is_call,
        )

    @cached_property
    def prices(self) -> np.ndarray:
        """European values."""
        return self.worth(self.volatility)

    @cached_property
    def flags(self) -> np.ndarray:
        """``c`` and ``p``, as vollib and its kin want them."""
        return np.where(self.is_call, "c", "p")

    def ours(self, backend: str) -> np.ndarray:
        """Volatilities, having computed the Greeks too."""
        implied, _ = implied_volatility_and_greeks(
            self.prices,
            self.spot,
            self.strike,
            self.years,
            self.rate,
            self.dividend_yield,
            self.is_call,
            backend=backend,
        )
        assert (implied.status == Status.OK).all()
        return implied.volatility

    def fast_vollib(self) -> np.ndarray:
        """The same by fast-vollib's numba backend."""
        import fast_vollib

        terms = (self.spot, self.strike, self.years, self.rate)
        model = {"model": "black_scholes_merton", "backend": "numba"}
        volatility = fast_vollib.fast_implied_volatility(
            self.prices,
            *terms,
            self.flags,
            self.dividend_yield,
            on_error="ignore",
            return_as="numpy",
            **model,
        )
        fast_vollib.get_all_greeks(
            self.flags, *terms, volatility, self.dividend_yield, return_as="dict", **model
        )
        return volatility

    def py_vollib_vectorized(self) -> np.ndarray:
        """The same by py_vollib_vectorized."""
        import py_vollib_vectorized

        terms = (self.spot, self.strike, self.years, self.rate)
        model = {"model": "black_scholes_merton"}
        volatility = py_vollib_vectorized.vectorized_implied_volatility(
            self.prices,
            *terms,
            self.flags,
            self.dividend_yield,
            on_error="ignore",
            return_as="numpy",
            **model,
        )
        py_vollib_vectorized.get_all_greeks(
            self.flags, *terms, volatility, self.dividend_yield, return_as="dict", **model
        )
        return volatility

    def accuracy(self, volatility: np.ndarray) -> str:
        """Errors of the price in spots and of the volatility, in words."""
        error = np.abs(volatility / self.volatility - 1.0)
        median, late = np.nanquantile(error, [0.5, 0.99])
        missing = int(np.isnan(volatility).sum())
        return (
            f"reprices to {self.reprice_error(volatility):.0e} of spot, volatility error "
            f"{median:.0e} (median) {late:.0e} (99 %)" + f", {missing} missing" * bool(missing)
        )

    def reprice_error(self, volatility: np.ndarray) -> float:
        """The largest, in spots."""
        return float(np.nanmax(np.abs(self.worth(volatility) - self.prices) / self.spot))


def european() -> Iterator[Figure]:
    """European volatility and five Greeks in one call, against two libraries' two calls."""
    book = Book.random()
    ours: dict[str, Callable[[], np.ndarray]] = {
        "numba": lambda: book.ours("numba"),
        "numpy": lambda: book.ours("numpy"),
    }
    theirs, skipped = {}, ""
    for name, run in (
        ("fast-vollib numba", book.fast_vollib),
        ("py_vollib_vectorized", book.py_vollib_vectorized),
    ):
        try:
            run()
        except Exception as error:
            # Old packages fail in many ways; the figure is left out, not the run.
            skipped += f"; {name} skipped: {type(error).__name__}: {error}"[:200]
        else:
            theirs[name] = run
    names = [*ours, *theirs]
    works = {**ours, **theirs}
    times = dict(zip(names, best_of([works[name] for name in names]), strict=True))
    accuracy = {name: book.accuracy(works[name]()) for name in names}
    for name, baseline, at_most in (
        ("numba", "fast-vollib numba", 0.7),
        ("numba", "py_vollib_vectorized", 0.2),
        ("numpy", "fast-vollib numba", 2.0),
    ):
        if baseline in theirs:
            yield Figure(
                f"{CONTRACTS:,} European volatilities and Greeks, {name} / {baseline}",
                times[name],
                times[baseline],
                at_most,
                notes=f"{accuracy[name]}; {baseline}: {accuracy[baseline]}",
            )
    yield Figure(
        "European volatilities, largest reprice error / 1e-10 of spot",
        max(book.reprice_error(run()) for run in ours.values()),
        REPRICE_ERROR,
        unit="spot",
        notes="numba and numpy" + skipped,
    )
