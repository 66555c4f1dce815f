"""What calls and puts of one strike imply together: forwards, and quotes that contradict.

Over arrays of pairs, each of which belongs to an expiry by its number. Prices are US dollars a
share, terms years, rates and carries continuous per year.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracker_dagster.analytics.pricing import (
    CashDividends,
    Status,
    implied_volatility,
    price,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

#: Pairs nearest to the forward that it is taken from.
NEAREST = 10
#: Passes of taking the right of early exercise out of American quotes.
_PASSES = 3
#: Prices are quoted in cents: half of one is the least by which each of two is uncertain.
_CENT = 0.01
#: Of a normal sample, its deviation by the median of its absolute deviations.
_MAD_TO_DEVIATION = 1.4826


@dataclass(frozen=True, slots=True)
class Pairs:
    """Calls and puts of one strike with both quotes; arrays of shape (n,), ``spot`` may be NaN.

    Attributes:
        expiry: number of the expiry, from 0 to below ``count``.
        count: number of expiries.
        spot: price of the underlying.
        net: spot less the present value of the cash dividends before expiry.
        dividends: those, for the early exercise of American contracts.
    """

    expiry: Ints
    count: int
    strike: Floats
    years: Floats
    rate: Floats
    spot: Floats
    net: Floats
    call_bid: Floats
    call_ask: Floats
    put_bid: Floats
    put_ask: Floats
    is_european: Flags
    dividends: CashDividends

    @property
    def call(self) -> Floats:
        """Middle of the call's quote."""
        return (self.call_bid + self.call_ask) / 2

    @property
    def put(self) -> Floats:
        """Middle of the put's quote."""
        return (self.put_bid + self.put_ask) / 2

    @property
    def width(self) -> Floats:
        """How far from its middle a pair's forward may lie within the quotes."""
        spreads = self.call_ask - self.call_bid + self.put_ask - self.put_bid
        return np.exp(self.rate * self.years) * spreads / 2


class Agreement(NamedTuple):
    """What the pairs of each expiry say, arrays of shape (count,).

    Attributes:
        forward: weighted mean of the pairs that vote; NaN where there are none.
        spread: robust standard deviation of the pairs' forwards around it.
        error: standard error of the forward.
        votes: pairs that vote.
        asked: pairs that were asked.
        straddle: a call and a put at the money.
    """

    forward: Floats
    spread: Floats
    error: Floats
    votes: Ints
    asked: Ints
    straddle: Floats


def parity_forwards(pairs: Pairs, *, backend: str | None = None) -> Agreement:
    """The forward of each expiry by put-call parity, F = K + exp(rT) (C - P).

    Stoll, "The relationship between put and call option prices", The Journal of Finance 24
    (1969). The ten pairs nearest to the forward are asked. American ones are first made
    European: the volatility of each side is implied with early exercise, and the side valued
    without it at that volatility, three times, each with the carry that the time before implies.
    American pairs without a spot, or whose volatility is not identified, are not asked.
    """
    near, straddle = _nearest(pairs)
    growth = np.exp(pairs.rate * pairs.years)
    forwards = np.where(near, pairs.strike + growth * (pairs.call - pairs.put), np.nan)
    agreement = _agreement(forwards, pairs, straddle)
    rows = np.flatnonzero(near & ~pairs.is_european)
    for _ in range(_PASSES if rows.size else 0):
        carry = implied_carry(agreement.forward[pairs.expiry], pairs.net, pairs.rate, pairs.years)
        difference = _without_exercise(pairs, rows, np.nan_to_num(carry), backend)
        forwards[rows] = pairs.strike[rows] + growth[rows] * difference
        agreement = _agreement(forwards, pairs, straddle)
    return agreement


def implied_carry(forward: Floats, net: Floats, rate: Floats, years: Floats) -> Floats:
    """The yield q of ``forward = net * exp((rate - q) * years)``; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(years > 0, rate - np.log(forward / net) / years, np.nan)


def violations(pairs: Pairs, forward: Floats, carry: Floats) -> Flags:
    """Pairs whose quotes no price inside them reconciles with parity.

    European: the forward lies outside of what the quotes allow, from K + exp(rT) (bid of the
    call - ask of the put) to K + exp(rT) (ask of the call - bid of the put). American: C - P lies
    outside of S - PV(D) - K and S - K exp(-rT) (Hull, Options, Futures and Other Derivatives,
    5th ed., section 8.7), with the spot moved by the carry where that widens them.

    Args:
        pairs: the pairs (n,).
        forward: of each pair's expiry (n,); NaN where none is known: no violation is seen.
        carry: of each pair's expiry (n,); NaN counts as none.
    """
    slack = 1e-9 * pairs.strike
    discount = np.exp(-pairs.rate * pairs.years)
    least, most = pairs.call_bid - pairs.put_ask, pairs.call_ask - pairs.put_bid
    fair = discount * (forward - pairs.strike)
    moved = pairs.net * np.exp(-np.nan_to_num(carry) * pairs.years)
    low = np.minimum(pairs.net, moved) - pairs.strike * np.maximum(1.0, discount)
    high = np.maximum(pairs.spot, moved) - pairs.strike * np.minimum(1.0, discount)
    low = np.where(pairs.is_european, fair, low)
    high = np.where(pairs.is_european, fair, high)
    result: Flags = (most < low - slack) | (least > high + slack)
    return result


def _nearest(pairs: Pairs) -> tuple[Flags, Floats]:
    """The pairs to ask, and the price of each expiry's straddle at the money."""
    gap, both = np.abs(pairs.call - pairs.put), pairs.call + pairs.put
    usable = pairs.is_european | np.isfinite(pairs.net)
    order = np.lexsort((pairs.strike, gap, ~usable, pairs.expiry))
    number = pairs.expiry[order]
    starts = np.searchsorted(number, np.arange(pairs.count))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - starts[number]
    straddle = np.full(pairs.count, np.nan)
    first = (rank == 0) & usable
    straddle[pairs.expiry[first]] = both[first]
    return usable & (rank < NEAREST), straddle


def _agreement(forwards: Floats, pairs: Pairs, straddle: Floats) -> Agreement:
    """The mean of the forwards around the weighted median of each expiry.

    A pair votes where its quotes hold the median, or it lies within three robust deviations.
    """
    asked = np.isfinite(forwards)
    expiry, forward = pairs.expiry[asked], forwards[asked]
    width = np.maximum(pairs.width[asked], _CENT)
    center = _weighted_median(forward, 1 / width, expiry, pairs.count)
    away = np.abs(forward - center[expiry])
    scatter = _deviation(away, expiry, pairs.count)
    votes = away <= np.maximum(width, 3 * scatter[expiry])
    weight = np.where(votes, width**-2.0, 0.0)
    total = np.bincount(expiry, weight, pairs.count)
    count = np.bincount(expiry[votes], minlength=pairs.count)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.bincount(expiry, weight * forward, pairs.count) / total
        spread = _deviation(np.abs(forward - mean[expiry]), expiry, pairs.count)
        # A value anywhere within its quotes deviates by their half-width over the root of three.
        error = np.maximum(1 / np.sqrt(3 * total), spread / np.sqrt(count))
    return Agreement(
        mean, spread, error, count, np.bincount(expiry, minlength=pairs.count), straddle
    )


def _deviation(away: Floats, group: Ints, count: int) -> Floats:
    """Robust standard deviation of each group by the distances from its center (count,)."""
    return _MAD_TO_DEVIATION * _weighted_median(away, np.ones(len(away)), group, count)


def _without_exercise(pairs: Pairs, rows: Ints, carry: Floats, backend: str | None) -> Floats:
    """Calls less puts of the rows as if they were European; NaN where that is not known."""
    lists = pairs.dividends.aligned((len(pairs.strike),))
    assert lists.group is not None
    cash = CashDividends.by_group(lists.years, lists.amounts, lists.offsets, lists.group[rows])
    terms = (pairs.spot[rows], pairs.strike[rows], pairs.years[rows], pairs.rate[rows], carry[rows])
    sides = []
    for middle, is_call in ((pairs.call, True), (pairs.put, False)):
        implied = implied_volatility(
            middle[rows], *terms, is_call, "american", cash_dividends=cash, backend=backend
        )
        known = np.where(implied.status == Status.OK, implied.volatility, np.nan)
        sides.append(price(*terms, known, is_call, cash_dividends=cash, backend=backend))
    return sides[0] - sides[1]


def _weighted_median(values: Floats, weights: Floats, group: Ints, count: int) -> Floats:
    """The lower weighted median of each group (count,); NaN of groups without values."""
    order = np.lexsort((values, group))
    values, weights, group = values[order], weights[order], group[order]
    total = np.bincount(group, weights, count)
    before = np.concatenate([[0.0], np.cumsum(total)[:-1]])
    reached = np.cumsum(weights) - before[group] >= total[group] / 2 * (1 - 1e-12)
    groups, first = np.unique(group[reached], return_index=True)
    median = np.full(count, np.nan)
    median[groups] = values[reached][first]
    return median
