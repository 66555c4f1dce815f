"""American contracts without cash dividends, as puts on a strike of one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tracker_dagster.analytics.pricing.american_grid import free_differences
from tracker_dagster.analytics.pricing.american_premiums import (
    COARSE_STEP,
    COARSE_TOLERANCE,
    FINE_STEP,
    FINE_TOLERANCE,
    SMALLEST_DEVIATION,
    Models,
    Premiums,
    raised,
)
from tracker_dagster.analytics.pricing.european_arrays import Terms

#: Where the boundary at expiry is this many deviations away the premium is rounding.
FARTHEST_DEVIATIONS = 8.3


class Puts(NamedTuple):
    """Puts on a strike of one whose time to expiry is one; arrays of shape (n,).

    A call is such a put, with the strike for its spot and the yield for its rate.

    Attributes:
        log_spot: logarithm of the spot.
        rate: over the life of the put.
        dividend: yield over the life of the put.
        unit: US dollars that a strike of one stands for.
        is_call: whether the contract is a call.
    """

    log_spot: np.ndarray
    rate: np.ndarray
    dividend: np.ndarray
    unit: np.ndarray
    is_call: np.ndarray

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
            terms.is_call,
        )

    def at(self, rows: np.ndarray | slice) -> Puts:
        """Some of the puts."""
        return Puts(*(column[rows] for column in self))

    @property
    def terms(self) -> Terms:
        """The European puts."""
        ones = np.ones_like(self.log_spot)
        never = np.zeros(len(ones), np.bool_)
        return Terms(np.exp(self.log_spot), ones, ones, self.rate, self.dividend, never)

    @property
    def tolerance(self) -> np.ndarray:
        """How far above its least a value is still the same: premiums are not known better."""
        return np.where(self.rate < 0.0, COARSE_TOLERANCE, FINE_TOLERANCE)

    def fineness(self, deviation: np.ndarray) -> np.ndarray:
        """The relative step that difference quotients of the premium take."""
        return np.where(self.rate < 0.0, COARSE_STEP, FINE_STEP)

    @property
    def may_be_exercised(self) -> np.ndarray:
        """Where exercise before expiry can pay: it earns the rate, less the yield on the spot."""
        return (self.rate > 0.0) | (self.dividend < np.minimum(self.rate, 0.0))

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

    @property
    def most(self) -> np.ndarray:
        """Value above which no volatility leads."""
        return np.maximum(np.exp(-self.rate), 1.0)

    def premiums(self, models: Models, deviation: np.ndarray) -> Premiums:
        """Premiums of early exercise at ``deviation``; NaN where a number is."""
        possible, moving = self.may_be_exercised, deviation > SMALLEST_DEVIATION
        # With both below zero exercise can pay between two boundaries.
        twofold = possible & moving & (self.rate < 0.0)
        carry = self.rate - self.dividend
        distance = self.log_spot + np.minimum(carry - 0.5 * deviation * deviation, 0.0)
        with np.errstate(all="ignore"):
            # Exercise pays below rate / dividend only.
            distance -= np.where(carry < 0.0, np.log(self.rate / self.dividend), 0.0)
        near = ~(distance > FARTHEST_DEVIATIONS * deviation)
        ordinary = possible & moving & near & ~twofold
        columns = (self.log_spot, self.rate, self.dividend, deviation)
        if ordinary.all():
            return models.put_premiums(*columns)
        result = Premiums.none(len(deviation))
        rows = np.flatnonzero(ordinary)
        if rows.size:
            result.put(rows, models.put_premiums(*(column[rows] for column in columns)))
        rows = np.flatnonzero(twofold)
        if rows.size:
            result.put(rows, self.at(rows)._free_premiums(models, deviation[rows]))
        rows = np.flatnonzero(possible & ~moving & (deviation >= 0.0))
        if rows.size:
            result.put(rows, self.at(rows)._still_premiums(models))
        return result

    def _free_premiums(self, models: Models, deviation: np.ndarray) -> Premiums:
        none = np.empty((len(deviation), 0))
        some = free_differences(
            self.log_spot, self.rate, self.dividend, deviation, False, none, none
        )
        premiums = Premiums(some[0], some[1], some[2], np.zeros(len(deviation), np.bool_))
        return raised(premiums, self.intrinsic, models.european_values(self.terms, deviation))

    def _still_premiums(self, models: Models) -> Premiums:
        result = Premiums.none(len(self.rate))
        european = models.european_values(self.terms, np.zeros(len(self.rate)))
        result.value[:] = self.least - european
        return raised(result, self.intrinsic, european)

    def in_contract(self, premiums: Premiums) -> tuple[np.ndarray, np.ndarray]:
        """What the premiums add to delta and gamma of the contracts."""
        value, slope, curvature, _ = premiums
        spot = np.exp(self.log_spot)
        delta = np.where(self.is_call, value - spot * slope, slope)
        gamma = np.where(self.is_call, spot * spot, 1.0) * curvature / self.unit
        return delta, gamma

    def at_rate(self, step: np.ndarray) -> Puts:
        """The contracts with the interest rate over their lives higher by ``step``."""
        return self._replace(
            rate=np.where(self.is_call, self.rate, self.rate + step),
            dividend=np.where(self.is_call, self.dividend + step, self.dividend),
        )
