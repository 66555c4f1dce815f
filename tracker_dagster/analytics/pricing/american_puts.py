"""American contracts as puts on a strike of one, and what early exercise adds to their values."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from tracker_dagster.analytics.pricing.arguments import Backend
from tracker_dagster.analytics.pricing.european_arrays import Terms

#: Where the boundary at expiry is this many deviations away the premium is rounding.
FARTHEST_DEVIATIONS = 8.3
#: Below this deviation a contract is worth what it is without any.
SMALLEST_DEVIATION = 1e-9


class Puts(NamedTuple):
    """Puts on a strike of one whose time to expiry is one; arrays of shape (n,).

    A call is such a put, with the strike for its spot and the yield for its rate.

    Attributes:
        log_spot: logarithm of the spot.
        rate: over the life of the put.
        dividend: yield over the life of the put.
        unit: US dollars that a strike of one stands for.
    """

    log_spot: np.ndarray
    rate: np.ndarray
    dividend: np.ndarray
    unit: np.ndarray

    @classmethod
    def of(cls, terms: Terms) -> Puts:
        """The contracts of ``terms``; NaN where they are."""
        with np.errstate(all="ignore"):
            log_spot = np.log(terms.spot / terms.strike)
            rate, dividend = terms.rate * terms.years, terms.dividend_yield * terms.years
        return cls(
            np.where(terms.is_call, -log_spot, log_spot),
            np.where(terms.is_call, dividend, rate),
            np.where(terms.is_call, rate, dividend),
            np.where(terms.is_call, terms.spot, terms.strike),
        )

    def at(self, rows: np.ndarray) -> Puts:
        """The puts of some rows."""
        return Puts(*(column[rows] for column in self))

    @property
    def terms(self) -> Terms:
        """The same as contracts."""
        ones = np.ones_like(self.log_spot)
        return Terms(
            np.exp(self.log_spot), ones, ones, self.rate, self.dividend, np.zeros(len(ones), bool)
        )

    @property
    def may_be_exercised(self) -> np.ndarray:
        """Where exercise before expiry can pay: interest on the strike, or a negative yield.

        Exercise earns ``rate - dividend x spot`` over the life of the put.
        """
        return (self.rate > 0.0) | (self.dividend < np.minimum(self.rate, 0.0))

    @property
    def exercised_between(self) -> np.ndarray:
        """Where exercise can pay between two boundaries and not below the lower one."""
        return (self.rate < 0.0) & (self.dividend < self.rate)

    @property
    def intrinsic(self) -> np.ndarray:
        """What exercise now pays, or nothing."""
        return np.maximum(-np.expm1(self.log_spot), 0.0)

    @property
    def least(self) -> np.ndarray:
        """Value without volatility: exercise now, at expiry, or best in between."""
        with np.errstate(all="ignore"):
            spot = np.exp(self.log_spot)
            at_expiry = np.exp(-self.rate) - spot * np.exp(-self.dividend)
            best = np.log(self.dividend * spot / self.rate) / (self.dividend - self.rate)
            between = np.exp(-self.rate * best) - spot * np.exp(-self.dividend * best)
        between = np.where((best > 0.0) & (best < 1.0), between, 0.0)
        return np.maximum(self.intrinsic, np.maximum(at_expiry, between))


class Premiums(NamedTuple):
    """What early exercise adds to European values of `Puts`, arrays of shape (n,).

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


@dataclass(frozen=True, slots=True)
class Models:
    """The compiled modules, or their numpy twins."""

    american: ModuleType
    european: ModuleType

    @classmethod
    def of(cls, backend: Backend) -> Models:
        """The modules of ``backend``."""
        # Imported on first use: numba takes half a second, scipy as long.
        if backend == "numpy":
            from tracker_dagster.analytics.pricing import american_arrays, european_arrays

            return cls(american_arrays, european_arrays)
        from tracker_dagster.analytics.pricing import american_kernels, european_kernels

        return cls(american_kernels, european_kernels)

    def premiums(self, puts: Puts, deviation: np.ndarray) -> Premiums:
        """Premiums of ``puts`` at ``deviation``, shape (n,); NaN where a number is."""
        value, slope, curvature = np.zeros((3, len(deviation)))
        exercised = np.zeros(len(deviation), bool)
        moving = deviation > SMALLEST_DEVIATION
        asked = puts.may_be_exercised & moving
        with np.errstate(all="ignore"):
            edge = np.where(puts.dividend > puts.rate, np.log(puts.rate / puts.dividend), 0.0)
            drift = np.minimum(puts.rate - puts.dividend - 0.5 * deviation * deviation, 0.0)
            asked &= ~(puts.log_spot - edge + drift > FARTHEST_DEVIATIONS * deviation)
        between = asked & puts.exercised_between
        rows = np.flatnonzero(asked & ~between)
        if rows.size:
            some, flags = np.empty((3, len(rows))), np.empty(len(rows), bool)
            log_spot, rate, dividend, _ = puts.at(rows)
            self.american.write_premiums(
                0, len(rows), log_spot, rate, dividend, deviation[rows], flags, some
            )
            value[rows], slope[rows], curvature[rows] = some
            exercised[rows] = flags
        still = np.flatnonzero(puts.may_be_exercised & ~moving & (deviation >= 0.0))
        if still.size:
            of_still = puts.at(still)
            at_expiry = np.exp(-of_still.rate) - np.exp(of_still.log_spot - of_still.dividend)
            value[still] = of_still.least - np.maximum(at_expiry, 0.0)
            exercised[still] = (of_still.intrinsic > 0.0) & (of_still.intrinsic == of_still.least)
        return Premiums(value, slope, curvature, exercised)

    def european_values(self, terms: Terms, volatility: np.ndarray) -> np.ndarray:
        """European values of contracts in US dollars, shape (n,)."""
        out = np.empty(len(volatility))
        self.european.write_prices(0, len(out), self._passed(terms), volatility, out)
        return out

    def european_greeks(self, terms: Terms, volatility: np.ndarray) -> np.ndarray:
        """European Greeks in their order, shape (5, n)."""
        out = np.empty((5, len(volatility)))
        self.european.write_greeks(0, len(volatility), self._passed(terms), volatility, out)
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
