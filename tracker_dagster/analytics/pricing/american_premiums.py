"""What early exercise adds to European values, and the modules that compute either."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple, Protocol, Self

import numpy as np

from tracker_dagster.analytics.pricing.arguments import Backend
from tracker_dagster.analytics.pricing.european_arrays import Terms

#: Below this deviation a contract is worth what it is without any.
SMALLEST_DEVIATION = 1e-9
#: Relative steps of difference quotients. Values from a grid are smooth over longer ones only.
FINE_STEP, COARSE_STEP = 2.0**-18, 2.0**-7
#: Accuracy of premiums, in strikes: of integrals, and of a grid's.
FINE_TOLERANCE, COARSE_TOLERANCE = 1e-6, 2e-5


class Premiums(NamedTuple):
    """Early exercise premiums of contracts on a strike of one, arrays of shape (n,).

    Attributes:
        value: of the premium.
        slope: its derivative by the spot; means nothing where exercised.
        curvature: its second derivative; likewise.
        exercised: whether exercise now is best.
    """

    value: np.ndarray
    slope: np.ndarray
    curvature: np.ndarray
    exercised: np.ndarray

    @classmethod
    def none(cls, count: int) -> Premiums:
        """Premiums of nothing."""
        value, slope, curvature = np.zeros((3, count))
        return cls(value, slope, curvature, np.zeros(count, np.bool_))

    def put(self, rows: np.ndarray, some: Premiums) -> None:
        """Fill in the premiums of some rows."""
        for whole, part in zip(self, some, strict=True):
            whole[rows] = part

    def add(self, rows: np.ndarray, some: np.ndarray) -> None:
        """Add value, slope and curvature, shape (3, n), to those of some rows."""
        for whole, part in zip((self.value, self.slope, self.curvature), some, strict=True):
            whole[rows] += part


def raised(premiums: Premiums, intrinsic: np.ndarray, european: np.ndarray) -> Premiums:
    """Premiums that are nowhere less than what exercise now pays over the European value."""
    least = intrinsic - european
    exercised = (premiums.value <= least) & (intrinsic > 0.0) & (least > 0.0)
    value = np.where(exercised, least, np.maximum(premiums.value, 0.0))
    return premiums._replace(value=value, exercised=exercised)


@dataclass(frozen=True, slots=True)
class Models:
    """The compiled modules, or their numpy twins."""

    american: ModuleType
    grid: ModuleType
    european: ModuleType

    @classmethod
    def of(cls, backend: Backend) -> Models:
        """The modules of ``backend``."""
        # Imported on first use: numba takes half a second, scipy as long.
        if backend == "numpy":
            from tracker_dagster.analytics.pricing import (
                american_arrays,
                american_grid,
                european_arrays,
            )

            return cls(american_arrays, american_grid, european_arrays)
        from tracker_dagster.analytics.pricing import (
            american_grid_kernels,
            american_kernels,
            european_kernels,
        )

        return cls(american_kernels, american_grid_kernels, european_kernels)

    def put_premiums(
        self,
        log_spot: np.ndarray,
        rate: np.ndarray,
        dividend: np.ndarray,
        deviation: np.ndarray,
        delay: np.ndarray | None = None,
    ) -> Premiums:
        """Premiums of puts that can be exercised, after ``delay``; see `american_arrays`."""
        count = len(log_spot)
        out, exercised = np.empty((3, count)), np.empty(count, np.bool_)
        if delay is None:
            delay = np.zeros(count)
        self.american.write_premiums(
            0, count, log_spot, rate, dividend, deviation, delay, exercised, out
        )
        value, slope, curvature = out
        return Premiums(value, slope, curvature, exercised)

    def european_greeks(self, terms: Terms, volatility: np.ndarray) -> np.ndarray:
        """European Greeks in their order, shape (5, n)."""
        out = np.empty((5, len(volatility)))
        self.european.write_greeks(0, len(volatility), self._passed(terms), volatility, out)
        return out

    def european_values(self, terms: Terms, volatility: np.ndarray) -> np.ndarray:
        """European values of contracts, shape (n,)."""
        out = np.empty(len(volatility))
        self.european.write_prices(0, len(out), self._passed(terms), volatility, out)
        return out

    def european_volatilities(
        self, terms: Terms, price: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """European implied volatilities and codes of `Status`, shape (n,)."""
        volatility, status = np.empty(len(price)), np.empty(len(price), np.int8)
        self.european.write_implied(
            0, len(price), self._passed(terms), price, False, volatility, status, np.empty((5, 0))
        )
        return volatility, status

    def _passed(self, terms: Terms) -> Terms | tuple[np.ndarray, ...]:
        # The kernels are compiled for a plain tuple of arrays.
        return terms if self.european.__name__.endswith("_arrays") else tuple(terms)


class Exercisable(Protocol):
    """American contracts on a strike of one and a time to expiry of one, n of them.

    Values are in strikes; ``unit`` is what a strike of one stands for in US dollars.
    """

    @property
    def unit(self) -> np.ndarray:
        """US dollars, shape (n,)."""

    @property
    def rate(self) -> np.ndarray:
        """Over the life of the contract, or of the put that a call is."""

    @property
    def dividend(self) -> np.ndarray:
        """Likewise the yield."""

    @property
    def tolerance(self) -> np.ndarray:
        """How far above its least a value is still the same: premiums are not known better."""

    def fineness(self, deviation: np.ndarray) -> np.ndarray:
        """The relative step that difference quotients of the premium take."""

    @property
    def terms(self) -> Terms:
        """The European contracts."""

    @property
    def may_be_exercised(self) -> np.ndarray:
        """Where exercise before expiry can pay."""

    @property
    def intrinsic(self) -> np.ndarray:
        """What exercise now pays, or nothing."""

    @property
    def least(self) -> np.ndarray:
        """Value without volatility: exercise now, at expiry, or best in between."""

    @property
    def most(self) -> np.ndarray:
        """Value above which no volatility leads."""

    def at(self, rows: np.ndarray | slice) -> Self:
        """Some of the contracts."""

    def premiums(self, models: Models, deviation: np.ndarray) -> Premiums:
        """Premiums of early exercise at ``deviation``; NaN where a number is."""

    def in_contract(self, premiums: Premiums) -> tuple[np.ndarray, np.ndarray]:
        """What the premiums add to delta and gamma of the contracts."""

    def at_rate(self, step: np.ndarray) -> Self:
        """The contracts with the interest rate over their lives higher by ``step``."""
