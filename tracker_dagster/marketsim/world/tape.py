"""Option trades of a session, contract by contract, and the bars they make.

A contract's trades depend on nothing but its key, the day and the underlying's minutes, so
one contract can be asked for without printing the rest of the tape.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from tracker_dagster.marketsim import pricing
from tracker_dagster.marketsim.world.chain import Chains, Terms, half_spread, needs_tree, tick_size
from tracker_dagster.marketsim.world.listings import Chain
from tracker_dagster.marketsim.world.minutes import MINUTE_NS, intraday_profile, midnight_ns
from tracker_dagster.marketsim.world.randomness import Floats, normals, salted, uniforms
from tracker_dagster.marketsim.world.world import Cache
from tracker_dagster.trading_calendar import session_on

_MOST_CLUSTERS = 48


@dataclass(frozen=True, slots=True)
class Tape:
    """Prints in order of contract row and then time; ``minute`` counts from the open.

    Each print stands for ``transactions`` trades of the same minute and price.
    """

    chain: Chain
    day: date
    row: NDArray[np.int64]
    minute: NDArray[np.int64]
    price: Floats
    size: NDArray[np.int64]
    transactions: NDArray[np.int64]

    def before(self, minute: int) -> Tape:
        """The prints of the minutes before ``minute``."""
        keep = self.minute < minute
        return Tape(
            self.chain,
            self.day,
            self.row[keep],
            self.minute[keep],
            self.price[keep],
            self.size[keep],
            self.transactions[keep],
        )


@dataclass(frozen=True, slots=True)
class OptionBars:
    """Bars by contract row (and minute); ``start`` in UTC nanoseconds."""

    row: NDArray[np.int64]
    start: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: NDArray[np.int64]
    transactions: NDArray[np.int64]
    turnover: Floats

    @property
    def vwap(self) -> Floats:
        """Volume-weighted average price."""
        return np.asarray(self.turnover / np.maximum(self.volume, 1))


def bars(tape: Tape, per_minute: bool = False) -> OptionBars:
    """Day bars (or minute bars) of a tape, in its order."""
    group = tape.row * 10_000 + tape.minute if per_minute else tape.row
    if group.size == 0:
        none, nothing = np.empty(0, dtype=np.int64), np.empty(0)
        return OptionBars(none, none, nothing, nothing, nothing, nothing, none, none, nothing)
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    last = np.concatenate([first[1:], [group.size]]) - 1
    start = np.full(first.shape, midnight_ns(tape.day), dtype=np.int64)
    if per_minute:
        opening = int(session_on(tape.day).open.timestamp()) * 1_000_000_000
        start = opening + tape.minute[first] * MINUTE_NS
    return OptionBars(
        tape.row[first],
        start,
        tape.price[first],
        np.maximum.reduceat(tape.price, first),
        np.minimum.reduceat(tape.price, first),
        tape.price[last],
        np.add.reduceat(tape.size, first),
        np.add.reduceat(tape.transactions, first),
        np.add.reduceat(tape.price * tape.size, first),
    )


class Tapes:
    """The option trades of a world."""

    def __init__(self, chains: Chains) -> None:
        self.chains = chains
        self.world = chains.world
        self._tapes = Cache(200, chains.world.lock)

    def tape(self, underlying: str, day: date) -> Tape:
        """Every trade of the underlying's options on a session."""
        return self._tapes.get(
            (underlying, day),
            lambda: self.print_tape(self.chains.listings.chain(underlying, day), day),
        )

    def contract_tape(self, underlying: str, ticker: str, day: date) -> Tape | None:
        """The trades of one contract; None when it is not listed that day."""
        chain = self.chains.listings.chain(underlying, day)
        row = chain.position(ticker)
        if row is None:
            return None
        key = (ticker, day)
        return self._tapes.get(key, lambda: self.print_tape(chain.take(slice(row, row + 1)), day))

    def _activity(self, chain: Chain, day: date, spot: float) -> Floats:
        """Expected clusters of trades: most at the money and soon, Zipf-like across contracts."""
        option_class = chain.option_class
        years = np.maximum((chain.expiry - day.toordinal() + 0.5) / 365.0, 1 / 730)
        strike = np.maximum((chain.strike - chain.cash) / chain.factor, 1e-3)
        width = 1.2 * option_class.volatility * np.sqrt(years) + 0.01
        distance = np.log(strike / spot) / width
        lean = np.where(chain.is_call, distance - 0.3, distance + 0.3)
        taste = 1.1 * normals(chain.key, "taste") + 0.7 * normals(chain.key, "day", day.toordinal())
        base = 1.1 * option_class.popularity**0.8 / (1 + 9 * years)
        return np.asarray(base * np.exp(taste - 0.5 * lean**2) / chain.factor**4)

    def print_tape(self, chain: Chain, day: date) -> Tape:
        """The trades of the given contracts on ``day``."""
        world, ordinal = self.world, day.toordinal()
        boundary = world.boundaries(chain.option_class.path, day)
        minutes = boundary.size - 1
        activity = self._activity(chain, day, float(boundary[0]))
        alive = ~chain.morning | (chain.expiry > ordinal)
        clusters = np.minimum(activity, _MOST_CLUSTERS)
        count = np.floor(clusters + uniforms(chain.key, "count", ordinal)).astype(np.int64) * alive
        traded = np.flatnonzero(count)
        repeats = count[traded]
        row = np.repeat(traded, repeats)
        first = np.repeat(np.cumsum(repeats) - repeats, repeats)
        keys = salted(chain.key, "trades", ordinal)[row] ^ (
            (np.arange(row.size) - first).astype(np.uint64) << np.uint64(20)
        )
        _, volume_weights = intraday_profile(minutes)
        minute = np.searchsorted(np.cumsum(volume_weights), uniforms(keys, "minute"))
        minute = np.minimum(minute, minutes - 1).astype(np.int64)
        order = np.lexsort((np.arange(row.size), minute, row))
        row, minute, keys = row[order], minute[order], keys[order]
        heavy = np.maximum(activity / _MOST_CLUSTERS, 1.0)[row]
        trades = np.maximum(1, np.floor(heavy * (0.5 + uniforms(keys, "heavy")))).astype(np.int64)
        size = trades * np.floor(np.exp(1.4 * np.abs(normals(keys, "lots")))).astype(np.int64)
        price = self._prices(chain, day, row, minute, keys, boundary)
        return Tape(chain, day, row, minute, price, size, trades)

    def _prices(
        self,
        chain: Chain,
        day: date,
        row: NDArray[np.int64],
        minute: NDArray[np.int64],
        keys: NDArray[np.uint64],
        boundary: Floats,
    ) -> Floats:
        if row.size == 0:
            return np.empty(0)
        world, option_class = self.world, chain.option_class
        session = session_on(day)
        printed = chain.take(row)
        # A trade within minute m happens half-way through it.
        spot = (boundary[minute] + boundary[minute + 1]) / 2
        share = (minute + 0.5) / (boundary.size - 1)
        vol_open = world.volatility_at(option_class.path, session.open)
        vol_close = world.volatility_at(option_class.path, session.close)
        current = vol_open * (vol_close / vol_open) ** share
        dividends = self.chains.dividends_ahead(option_class, session.open)
        elapsed = (minute + 0.5) / (365.0 * 24 * 60)
        years = self.chains.years_left(chain, session.open)[row] - elapsed
        terms = self.chains.terms(printed, session.open, spot, current, years, dividends)
        arguments = (
            terms.net_spot,
            terms.strike,
            terms.years,
            terms.rate,
            terms.volatility,
            printed.is_call,
        )
        value = pricing.european(*arguments)
        vega = pricing.european_greeks(*arguments).vega
        if not option_class.european and self.chains.american_by_tree:
            value = value + self._early_exercise(
                chain, row, boundary, session.open, dividends, terms
            )
            sign = np.where(printed.is_call, 1.0, -1.0)
            value = np.maximum(value, sign * (spot - terms.strike))
        value = value * printed.factor
        tick = tick_size(option_class, value)
        half = half_spread(printed, value, vega * printed.factor, tick)
        side = np.sign(uniforms(keys, "side") - 0.5) * (0.2 + 0.7 * uniforms(keys, "inside"))
        return np.round(np.maximum(np.round((value + side * half) / tick), 1) * tick, 2)

    def _early_exercise(
        self,
        chain: Chain,
        row: NDArray[np.int64],
        boundary: Floats,
        opening: datetime,
        dividends: Floats,
        terms: Terms,
    ) -> Floats:
        """Value of early exercise per print: one tree per traded contract, at its first print."""
        traded, first, inverse = np.unique(row, return_index=True, return_inverse=True)
        subset = chain.take(traded)
        at = Terms(*(getattr(terms, name)[first] for name in Terms.__slots__))
        early = needs_tree(subset, at, dividends)
        premium = np.zeros(traded.size)
        if early.any():
            cum = at.net_spot + pricing.present_value(dividends, at.years, at.rate)
            strike, years, rate, vol = (
                column[early] for column in (at.strike, at.years, at.rate, at.volatility)
            )
            is_call = subset.is_call[early]
            american = pricing.american(cum[early], strike, years, rate, vol, is_call, dividends)
            plain = pricing.european(at.net_spot[early], strike, years, rate, vol, is_call)
            premium[early] = np.maximum(american - plain, 0.0)
        return np.asarray(premium[inverse.reshape(-1)])

    def minutes_elapsed(self, day: date, moment: datetime) -> int:
        """Complete minutes of the session by ``moment``."""
        session = session_on(day)
        return min(max((moment - session.open) // timedelta(minutes=1), 0), session.minutes)
