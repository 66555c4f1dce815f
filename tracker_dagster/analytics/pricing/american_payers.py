"""American contracts on shares that pay cash dividends before they expire.

The escrowed dividend model: see `american_grid`. Which way a premium is computed depends on when
exercise can pay:

* A put earns interest on its strike. For a while before an ex-date that is less than the dividend
  exercise forgoes: a put whose every gap between ex-dates is that short waits for the last one,
  and from then on is a put on a share without dividends.
* A call whose yield stays below the interest on its strike pays only just before an ex-date, and
  only if the dividend is more than that interest to the next ex-date, or to expiry (Hull, Options,
  Futures, and Other Derivatives, 5th ed., 12.13). Where no dividend is, it is a European call;
  where one is, there is a formula (`american_ex_date`).
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
#: A yield that pays only for spots this many deviations away is left out: 1e-9 of the spot.
UNLIKELY_DEVIATIONS = 6.0
#: Where exercise could pay only this many deviations away the premium is rounding.
FARTHEST_DEVIATIONS = 8.3


class _Ways(NamedTuple):
    """How premiums are computed.

    Attributes:
        matters: ex-dates before which a call may be exercised, and all of a put, shape (n, k).
        by_formula: by an integral or a formula, not on the grid, shape (n,).
    """

    matters: np.ndarray
    by_formula: np.ndarray


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
        """Some of the contracts, with the columns that they need."""
        some = Payers(*(column[rows] for column in self))
        used = int(np.isfinite(some.times).any(axis=0).sum())
        return some._replace(times=some.times[:, :used], amounts=some.amounts[:, :used])

    @property
    def terms(self) -> Terms:
        """The European contracts."""
        ones = np.ones_like(self.log_spot)
        return Terms(np.exp(self.log_spot), ones, ones, self.rate, self.dividend, self.is_call)

    @property
    def tolerance(self) -> np.ndarray:
        """How far above its least a value is still the same: premiums are not known better."""
        ways = self._ways(np.ones_like(self.rate))
        return np.where(ways.by_formula, FINE_TOLERANCE, COARSE_TOLERANCE)

    def fineness(self, deviation: np.ndarray) -> np.ndarray:
        """The relative step that difference quotients of the premium take."""
        return np.where(self._ways(deviation).by_formula, FINE_STEP, COARSE_STEP)

    @property
    def _worth(self) -> np.ndarray:
        """Present values of the dividends, shape (n, k)."""
        return self.amounts * np.exp(-self.rate[:, None] * np.minimum(self.times, 1.0))

    @property
    def _gaps(self) -> np.ndarray:
        """Times to the ex-dates from the ones before, or from now, shape (n, k)."""
        until = np.minimum(self.times, 1.0)
        return np.diff(until, axis=1, prepend=0.0)

    def _ways(self, deviation: np.ndarray) -> _Ways:
        """How the premium of each contract is computed at ``deviation``."""
        paid = np.isfinite(self.times)
        gaps = np.diff(np.minimum(self.times, 1.0), axis=1, append=1.0)
        interest = -np.expm1(-self.rate[:, None] * gaps)
        earns = paid & (self.amounts > interest)
        any_time = self.rate < 0.0
        some = np.flatnonzero(self.is_call & (self.dividend > 0.0))
        if some.size:
            lacking = (interest - self.amounts, paid & ~earns, gaps)
            any_time[some] |= self.at(some)._yield_pays(
                deviation[some], *(columns[some] for columns in lacking)
            )
        matters = paid & (earns | (~self.is_call | any_time)[:, None])
        once = (earns.sum(axis=1) == 1) & ~any_time
        formula = np.where(self.is_call, once, self._waits_for_last_ex_date)
        return _Ways(matters, formula & (self.rate >= 0.0))

    def _yield_pays(
        self, deviation: np.ndarray, short: np.ndarray, lacking: np.ndarray, gaps: np.ndarray
    ) -> np.ndarray:
        """Calls whose yield has a chance to come to more than the interest on the strike.

        Args:
            deviation: shape (n,).
            short: what each dividend lacks of the interest to the next, shape (n, k).
            lacking: ex-dates where it lacks something.
            gaps: to the next ex-date, or expiry.
        """
        with np.errstate(all="ignore"):
            levels = short / -np.expm1(-self.dividend[:, None] * gaps)
            levels = np.where(lacking, levels, np.inf).min(axis=1, initial=np.inf)
            lowest = np.log(np.minimum(self.rate / self.dividend, levels))
            drift = np.maximum(self.rate - self.dividend + 0.5 * deviation * deviation, 0.0)
            return lowest - self.log_spot - drift < UNLIKELY_DEVIATIONS * deviation

    def kind(self, deviation: np.ndarray) -> np.ndarray:
        """Number of ex-dates that matter, twice, and one more for calls; shape (n,)."""
        return 2 * self._ways(deviation).matters.sum(axis=1) + self.is_call

    @property
    def may_be_exercised(self) -> np.ndarray:
        """Where exercise before expiry can pay."""
        gaps = np.diff(np.minimum(self.times, 1.0), axis=1, append=1.0)
        earns = self.amounts > -np.expm1(-self.rate[:, None] * gaps)
        call = (earns & np.isfinite(self.times)).any(axis=1)
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
        last = np.where(np.isfinite(self.times), self.times, 0.0).max(axis=1, initial=0.0)
        rows = np.flatnonzero(moving & ~self.is_call & (last < 1.0))
        if rows.size:
            columns = (self.log_spot, self.rate, self.dividend, deviation, last)
            result.put(rows, models.put_premiums(*(column[rows] for column in columns)))
        matters, formula = self._ways(deviation)
        kind = 2 * matters.sum(axis=1) + self.is_call
        # Out of reach of any exercise; or only a yield could pay, and has no chance to.
        never = self.is_call & (self._is_out_of_reach(deviation) | (kind == 1))
        for rows in _groups(kind, moving & ~never & ~formula):
            some = self.at(rows)._condensed(matters[rows])
            result.add(rows, some._differences(models, deviation[rows]))
        rows = np.flatnonzero(moving & ~never & formula & self.is_call)
        if rows.size:
            log_spot, rate, dividend, *_, times, amounts = self.at(rows)._condensed(matters[rows])
            dates = (times[:, 0], amounts[:, 0])
            result.add(rows, ex_date_premiums(log_spot, rate, dividend, deviation[rows], *dates))
        for rows in _groups(kind, twofold):
            some = self.at(rows)._condensed(matters[rows])
            log_spot, rate, dividend, _, is_call, times, amounts = some
            terms = (log_spot, rate, dividend, deviation[rows], bool(is_call[0]), times, amounts)
            result.add(rows, free_differences(*terms))
        still = self.may_be_exercised & (deviation <= SMALLEST_DEVIATION)
        result.value[still] = (self.least - european)[still]
        return raised(result, self.intrinsic, european)

    def _condensed(self, matters: np.ndarray) -> Payers:
        """Contracts of one kind with the ex-dates that matter, and all that is paid from each."""
        matters, worth = matters[:, : self.times.shape[1]], self._worth
        if matters.all():
            return self
        growth = np.exp(self.rate[:, None] * np.minimum(self.times, 1.0))
        amounts, carried = np.zeros_like(worth), np.zeros(len(worth))
        for j in range(worth.shape[1] - 1, -1, -1):
            carried += worth[:, j]
            amounts[:, j] = np.where(matters[:, j], carried * growth[:, j], 0.0)
            carried[matters[:, j]] = 0.0
        order = np.argsort(~matters, axis=1, kind="stable")[:, : matters[0].sum()]
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

    def _differences(self, models: Models, deviation: np.ndarray) -> np.ndarray:
        """From the grid, for contracts of one kind."""
        log_spot, rate, dividend, _, is_call, times, amounts = self
        if is_call[0]:
            waits = CALL_WAIT * self._gaps
        else:
            with np.errstate(divide="ignore"):
                waits = np.minimum(np.log1p(amounts) / rate[:, None], self._gaps)
        out = np.empty((3, len(deviation)))
        terms = (log_spot, rate, dividend, deviation, bool(is_call[0]))
        dates = (np.ascontiguousarray(columns) for columns in (times, amounts, waits))
        models.grid.write_differences(0, len(deviation), *terms, *dates, out)
        return out


def _groups(kind: np.ndarray, chosen: np.ndarray) -> Iterator[np.ndarray]:
    """The chosen rows of each kind."""
    for one in np.unique(kind[chosen]):
        yield np.flatnonzero(chosen & (kind == one))
