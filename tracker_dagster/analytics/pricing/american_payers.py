"""American contracts on shares that pay cash dividends before they expire.

The escrowed dividend model: see `american_grid`. Which way a premium is computed depends on when
exercise can pay:

* A put earns interest on its strike. For a while before an ex-date that is less than the dividend
  exercise forgoes: a put whose every gap between ex-dates is that short waits for the last one,
  and from then on is a put on a share without dividends.
* A call without a yield pays only just before an ex-date, and only if the dividend is more than
  the interest on the strike to the next ex-date, or to expiry (Hull, Options, Futures, and Other
  Derivatives, 5th ed., 12.13): where no dividend is, it is a European call, where one is, there
  is a formula (`american_ex_date`).
* Everything else is put on the grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tracker_dagster.analytics.pricing.american_ex_date import ex_date_premiums
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
from tracker_dagster.analytics.pricing.dividends import CashDividends
from tracker_dagster.analytics.pricing.european_arrays import Terms

#: A call waits for this share of the gap before an ex-date in finer steps of the grid.
CALL_WAIT = 0.25
#: Where exercise could pay only this many deviations away the premium is rounding.
FARTHEST_DEVIATIONS = 8.3


class Payers(NamedTuple):
    """Contracts on a strike of one whose time to expiry is one; arrays of shape (n,) and (n, k).

    Attributes:
        log_spot: logarithm of the spot less the present value of the dividends.
        rate: over the life of the contract.
        dividend: yield over the life of the contract.
        unit: the strike, US dollars.
        is_call: whether the contract is a call.
        times: of the ex-dates before expiry, ascending, in (0, 1], then infinite.
        amounts: of the dividends then, then zero.
    """

    log_spot: np.ndarray
    rate: np.ndarray
    dividend: np.ndarray
    unit: np.ndarray
    is_call: np.ndarray
    times: np.ndarray
    amounts: np.ndarray

    @classmethod
    def of(cls, terms: Terms, dividends: CashDividends, rows: np.ndarray) -> Payers:
        """Contracts on spots net of dividends.

        Args:
            terms: n contracts.
            dividends: of a market that these are ``rows`` of.
            rows: shape (n,).
        """
        assert dividends.group is not None
        group = dividends.group[rows]
        position, end = dividends.offsets[group], dividends.offsets[group + 1]
        # Dividends of nothing are left out, and columns are added as contracts need them.
        count = np.zeros(len(rows), np.int64)
        columns = int((end - position).max(initial=0))
        times = np.full((len(rows), columns), np.inf)
        amounts = np.zeros((len(rows), columns))
        while (left := np.flatnonzero(position < end)).size:
            when, amount = dividends.years[position[left]], dividends.amounts[position[left]]
            counted = (when > 0.0) & (when <= terms.years[left]) & (amount > 0.0)
            some = left[counted]
            times[some, count[some]] = np.minimum(when[counted] / terms.years[some], 1.0)
            amounts[some, count[some]] = amount[counted] / terms.strike[some]
            count[some] += 1
            position[left] += 1
        most = int(count.max(initial=0))
        return cls(
            np.log(terms.spot / terms.strike),
            terms.rate * terms.years,
            terms.dividend_yield * terms.years,
            terms.strike,
            terms.is_call,
            times[:, :most],
            amounts[:, :most],
        )

    def at(self, rows: np.ndarray | slice) -> Payers:
        """Some of the contracts."""
        return Payers(*(column[rows] for column in self))

    @property
    def terms(self) -> Terms:
        """The European contracts."""
        ones = np.ones_like(self.log_spot)
        return Terms(np.exp(self.log_spot), ones, ones, self.rate, self.dividend, self.is_call)

    @property
    def _has_formula(self) -> np.ndarray:
        """Where the premium is an integral or a formula, not a grid's."""
        once = (self._pays_before_ex_date.sum(axis=1) == 1) & (self.dividend <= 0.0)
        return np.where(self.is_call, once, self._waits_for_last_ex_date) & (self.rate >= 0.0)

    @property
    def tolerance(self) -> np.ndarray:
        """How far above its least a value is still the same: premiums are not known better."""
        return np.where(self._has_formula, FINE_TOLERANCE, COARSE_TOLERANCE)

    @property
    def fineness(self) -> np.ndarray:
        """The relative step that difference quotients of the premium take."""
        return np.where(self._has_formula, FINE_STEP, COARSE_STEP)

    @property
    def _worth(self) -> np.ndarray:
        """Present values of the dividends, shape (n, k)."""
        return self.amounts * np.exp(-self.rate[:, None] * np.minimum(self.times, 1.0))

    @property
    def _gaps(self) -> np.ndarray:
        """Times to the ex-dates from the ones before, or from now, shape (n, k)."""
        until = np.minimum(self.times, 1.0)
        return np.diff(until, axis=1, prepend=0.0)

    @property
    def _pays_before_ex_date(self) -> np.ndarray:
        """Ex-dates just before which a call may be exercised, shape (n, k)."""
        until = np.minimum(self.times, 1.0)
        interest = -np.expm1(-self.rate[:, None] * np.diff(until, axis=1, append=1.0))
        # With a yield, or below a negative rate, exercise pays at any time: none is left out.
        any_time = (self.dividend > 0.0) | (self.rate < 0.0)
        return np.isfinite(self.times) & ((self.amounts > interest) | any_time[:, None])

    @property
    def kind(self) -> np.ndarray:
        """Number of ex-dates that matter, twice, and one more for calls; shape (n,)."""
        dates = np.where(self.is_call[:, None], self._pays_before_ex_date, np.isfinite(self.times))
        return 2 * dates.sum(axis=1) + self.is_call

    @property
    def may_be_exercised(self) -> np.ndarray:
        """Where exercise before expiry can pay."""
        call = self._pays_before_ex_date.any(axis=1)
        call |= (self.dividend > 0.0) | (self.rate < 0.0)
        put = (self.rate > 0.0) | (self.dividend < np.minimum(self.rate, 0.0))
        return np.where(self.is_call, call, put)

    @property
    def intrinsic(self) -> np.ndarray:
        """What exercise now pays, or nothing."""
        paid = np.exp(self.log_spot) + self._worth.sum(axis=1) - 1.0
        return np.maximum(np.where(self.is_call, paid, -paid), 0.0)

    @property
    def least(self) -> np.ndarray:
        """Value without volatility: exercise now, at expiry, or best in between."""
        with np.errstate(all="ignore"):
            best = np.log(self.rate / self.dividend) - self.log_spot
            best = np.nan_to_num(np.clip(best / (self.rate - self.dividend), 0.0, 1.0))
        worth, result = self._worth, self.intrinsic
        for moment in (np.ones_like(best), best, *np.minimum(self.times, 1.0).T):
            # A call is exercised just before an ex-date, a put just after.
            later = self.times > moment[:, None]
            later |= self.is_call[:, None] & (self.times == moment[:, None])
            paid = np.exp(self.log_spot - self.dividend * moment) - np.exp(-self.rate * moment)
            paid += (worth * later).sum(axis=1)
            result = np.maximum(result, np.where(self.is_call, paid, -paid))
        return result

    @property
    def most(self) -> np.ndarray:
        """Value above which no volatility leads."""
        worth = self._worth.sum(axis=1)
        call = np.exp(self.log_spot - np.minimum(self.dividend, 0.0)) + worth
        return np.where(self.is_call, call, np.maximum(np.exp(-self.rate), 1.0))

    def in_contract(self, premiums: Premiums) -> tuple[np.ndarray, np.ndarray]:
        """What the premiums add to delta and gamma of the contracts."""
        return premiums.slope, premiums.curvature / self.unit

    def at_rate(self, step: np.ndarray) -> Payers:
        """The contracts with the interest rate over their lives higher by ``step``."""
        return self._replace(rate=self.rate + step)

    def premiums(self, models: Models, deviation: np.ndarray) -> Premiums:
        """Premiums of early exercise at ``deviation``; NaN where a number is."""
        result = Premiums.none(len(deviation))
        european = models.european_values(self.terms, deviation)
        moving = self.may_be_exercised & (deviation > SMALLEST_DEVIATION)
        # With both below zero exercise can pay between two boundaries.
        twofold = moving & (self.rate < 0.0) & ((self.dividend < 0.0) | ~self.is_call)
        moving &= ~twofold
        last = np.where(np.isfinite(self.times), self.times, 0.0).max(axis=1)
        rows = np.flatnonzero(moving & ~self.is_call & (last < 1.0))
        if rows.size:
            columns = (self.log_spot, self.rate, self.dividend, deviation, last)
            result.put(rows, models.put_premiums(*(column[rows] for column in columns)))
        reached = moving & ~(self.is_call & self._is_out_of_reach(deviation))
        for rows, is_call, some in self._alike(reached & ~self._has_formula):
            found = some._differences(models, deviation[rows], is_call)
            for whole, part in zip(result, found, strict=False):
                whole[rows] += part
        for rows, _, some in self._alike(reached & self._has_formula & self.is_call):
            log_spot, rate, dividend, _, _, times, amounts = some
            found = ex_date_premiums(
                log_spot, rate, dividend, deviation[rows], times[:, 0], amounts[:, 0]
            )
            for whole, part in zip(result, found, strict=False):
                whole[rows] = part
        for rows, is_call, some in self._alike(twofold):
            log_spot, rate, dividend, _, _, times, amounts = some
            found = free_differences(
                log_spot, rate, dividend, deviation[rows], is_call, times, amounts
            )
            for whole, part in zip(result, found, strict=False):
                whole[rows] = part
        still = self.may_be_exercised & (deviation <= SMALLEST_DEVIATION)
        result.value[still] = (self.least - european)[still]
        return raised(result, self.intrinsic, european)

    def _alike(self, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, bool, Payers]]:
        """The chosen rows kind by kind: where, whether calls, and those with the same columns."""
        kinds = self.kind
        for kind in np.unique(kinds[chosen]):
            rows = np.flatnonzero(chosen & (kinds == kind))
            is_call, some = bool(kind % 2), self.at(rows)
            yield (
                rows,
                is_call,
                some._condensed(int(kind // 2)) if is_call else some._cut(kind // 2),
            )

    def _cut(self, count: int) -> Payers:
        """The same with ``count`` columns of dividends."""
        return self._replace(times=self.times[:, :count], amounts=self.amounts[:, :count])

    def _condensed(self, count: int) -> Payers:
        """The same with the ``count`` ex-dates that matter, each with the amounts to the next."""
        matters, worth = self._pays_before_ex_date, self._worth
        amounts, carried = np.zeros_like(worth), np.zeros(len(worth))
        for j in range(worth.shape[1] - 1, -1, -1):
            here = matters[:, j]
            carried += worth[:, j]
            amounts[here, j] = (carried * np.exp(self.rate * np.minimum(self.times[:, j], 1.0)))[
                here
            ]
            carried[here] = 0.0
        order = np.argsort(~matters, axis=1, kind="stable")[:, :count]
        return self._replace(
            times=np.take_along_axis(self.times, order, axis=1),
            amounts=np.take_along_axis(amounts, order, axis=1),
        )

    @property
    def _waits_for_last_ex_date(self) -> np.ndarray:
        """Puts that every dividend to come pays more to wait for than interest on the strike."""
        gaps = self._gaps
        kept = (1.0 + self.amounts) * np.exp(-self.rate[:, None] * gaps)
        enough = kept >= np.maximum(np.exp(-self.dividend[:, None] * gaps), 1.0)
        return (enough | np.isinf(self.times)).all(axis=1)

    def _is_out_of_reach(self, deviation: np.ndarray) -> np.ndarray:
        """Calls out of the money by so much that exercise before expiry has no chance."""
        lowest = np.log(np.maximum(1.0 - self.amounts.sum(axis=1), 1e-9))
        drift = np.maximum(self.rate - self.dividend, 0.0) + 0.5 * deviation * deviation
        return lowest - self.log_spot - drift > FARTHEST_DEVIATIONS * deviation

    def _differences(self, models: Models, deviation: np.ndarray, is_call: bool) -> np.ndarray:
        """From the grid, for contracts that are all calls or all puts, with as many ex-dates."""
        gaps = self._gaps
        if is_call:
            waits = CALL_WAIT * gaps
        else:
            with np.errstate(divide="ignore"):
                waits = np.minimum(np.log1p(self.amounts) / self.rate[:, None], gaps)
        log_spot, rate, dividend, _, _, times, amounts = self
        out = np.empty((3, len(deviation)))
        dates = (np.ascontiguousarray(columns) for columns in (times, amounts, waits))
        models.grid.write_differences(
            0, len(deviation), log_spot, rate, dividend, deviation, is_call, *dates, out
        )
        return out
