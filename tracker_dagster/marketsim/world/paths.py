"""Daily paths: market and sector factors, stochastic volatility, opens and closes.

Every path covers the whole table of sessions and is computed once per ticker. Prices are in
shares of the far future (after every scheduled split); ``World`` turns them into as-traded ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tracker_dagster.marketsim.world.events import Earnings
from tracker_dagster.marketsim.world.randomness import (
    Floats,
    Keys,
    autoregress,
    generator,
    normals,
)
from tracker_dagster.marketsim.world.securities import Stock
from tracker_dagster.trading_calendar import first_session, last_session, sessions_between

#: Around this date prices equal the levels of ``securities``.
ANCHOR = date(2026, 6, 30)

_YEAR = 252.0
_OVERNIGHT_SHARE = 0.3  # of a day's variance falls between close and open
_REVERSION = 0.995  # daily persistence of the deviation from trend: keeps 32 years in a sane range


@dataclass(frozen=True, slots=True)
class DailyPath:
    """Opens, closes and annual volatility by session index.

    ``volatility[t]`` is known at the close of session t and rules session t+1.
    """

    open: Floats
    close: Floats
    volatility: Floats


@dataclass(frozen=True, slots=True)
class _Factors:
    overnight: Floats
    day: Floats
    volatility: Floats


class Paths:
    """All daily paths of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.days = sessions_between(first_session(), last_session())
        self.index = {day: position for position, day in enumerate(self.days)}
        self.anchor = self.index[ANCHOR]
        self._years_from_anchor = (np.arange(len(self.days)) - self.anchor) / _YEAR
        self._sectors: dict[str, Floats] = {}

    @property
    def size(self) -> int:
        """Number of sessions in the table."""
        return len(self.days)

    @cached_property
    def _regime(self) -> Floats:
        """Offset of log volatility: calm, normal and stressed spells of a Markov chain."""
        draw = generator(self.seed, "regimes")
        stay = (0.992, 0.99, 0.975)
        offset = (-0.28, 0.0, 0.65)
        state, path = 1, np.empty(self.size)
        chances = draw.random((self.size, 2))
        for t in range(self.size):
            if chances[t, 0] > stay[state]:
                others = [s for s in range(3) if s != state]
                state = others[0] if chances[t, 1] < (0.65 if state == 2 else 0.6) else others[1]
            path[t] = offset[state]
        return path

    @cached_property
    def market(self) -> _Factors:
        """The market factor; falls raise its volatility (leverage)."""
        draw = generator(self.seed, "market")
        night, day, noise = draw.standard_normal((3, self.size))
        night_share, day_share = np.sqrt(_OVERNIGHT_SHARE), np.sqrt(1 - _OVERNIGHT_SHARE)
        shock = night_share * night + day_share * day
        log_vol = autoregress(0.055 * (-0.65 * shock + 0.76 * noise), 0.975)
        log_vol += autoregress(0.15 * self._regime, 0.85)
        volatility = np.clip(0.145 * np.exp(log_vol), 0.07, 0.75)
        ruling = np.concatenate([[0.145], volatility[:-1]]) / np.sqrt(_YEAR)
        return _Factors(ruling * night_share * night, ruling * day_share * day, volatility)

    def _sector(self, category: str) -> Floats:
        if category not in self._sectors:
            draw = generator(self.seed, "sector", category)
            self._sectors[category] = draw.standard_normal((2, self.size))
        return self._sectors[category]

    def stock(
        self, stock: Stock, reports: list[Earnings], losses: Floats | None = None
    ) -> DailyPath:
        """The path of a universe stock, its earnings gaps and planted losses included.

        ``losses`` has one log return a session of the table; they fall between open and close.
        """
        draw = generator(self.seed, "stock", stock.ticker)
        night, day, vol_noise = draw.standard_normal((3, self.size))
        sector = self._sector(stock.category)
        night = 0.87 * night + 0.49 * sector[0]
        day = 0.87 * day + 0.49 * sector[1]
        market = self.market
        own_base = np.sqrt(max(stock.volatility**2 - (stock.beta * 0.145) ** 2, 0.0))
        own_base = 0.0 if stock.ticker == "SPY" else max(own_base, 0.25 * stock.volatility)
        own_log = autoregress(0.05 * vol_noise, 0.97) + 0.35 * np.log(market.volatility / 0.145)
        own = own_base * np.exp(np.clip(own_log, -0.9, 1.1))
        volatility = np.sqrt((stock.beta * market.volatility) ** 2 + own**2)
        ruling = np.concatenate([own[:1], own[:-1]]) / np.sqrt(_YEAR)
        overnight = stock.beta * market.overnight + ruling * np.sqrt(_OVERNIGHT_SHARE) * night
        for report in reports:
            if (t := self.index.get(report.reaction_date)) is not None:
                overnight[t] += report.move
        intraday = stock.beta * market.day + ruling * np.sqrt(1 - _OVERNIGHT_SHARE) * day
        if losses is not None:
            intraday = intraday + losses
        deviation = autoregress(overnight + intraday, _REVERSION)
        deviation -= deviation[self.anchor]
        log_close = np.log(stock.level) + stock.growth * self._years_from_anchor + deviation
        return DailyPath(np.exp(log_close - intraday), np.exp(log_close), volatility)

    @cached_property
    def crowd_common(self) -> Floats:
        """The market's part of an invented stock's log deviation, per unit of beta."""
        return autoregress(self.market.overnight + self.market.day, _REVERSION)

    def crowd(self, stock: Stock, key: Keys) -> DailyPath:
        """The path of an invented stock, by ``crowd_log_deviation`` over every session."""
        keys = np.repeat(key, self.size)
        sessions = np.arange(self.size)
        common = stock.beta * (self.crowd_common - self.crowd_common[self.anchor])
        log_close = (
            np.log(stock.level) + crowd_log_deviation(keys, sessions, stock.volatility) + common
        )
        previous = np.concatenate([log_close[:1], log_close[:-1]])
        gap = crowd_gap(keys, sessions, stock.volatility)
        log_open = previous + 0.3 * (log_close - previous) + gap
        volatility = stock.volatility * np.sqrt(self.market.volatility / 0.145)
        return DailyPath(np.exp(log_open), np.exp(log_close), volatility)

    def volatility_index(self, ticker: str, level_of: Callable[[int], float]) -> DailyPath:
        """A volatility index whose closes are ``level_of(session index)``."""
        close = np.array([level_of(t) for t in range(self.size)])
        draw = generator(self.seed, "volatility index", ticker)
        previous = np.concatenate([close[:1], close[:-1]])
        share = 0.35 + 0.1 * draw.standard_normal(self.size)
        open_ = np.exp(np.log(previous) + share * np.log(close / previous))
        return DailyPath(open_, close, np.full(self.size, 0.95))

    def position(self, day: date) -> int:
        """Index of the first session at or after ``day``."""
        return bisect_left(self.days, day)


def crowd_log_deviation(
    keys: Keys, sessions: NDArray[np.int64], volatility: Floats | float
) -> Floats:
    """Log deviation from trend of invented stocks: octaves of interpolated noise.

    Any (stock, session) is O(1), so one day of twelve thousand stocks needs no histories.
    Octave k varies over 2**k sessions; amplitudes grow like a random walk's would.
    """
    total = np.zeros(sessions.shape)
    daily = volatility / np.sqrt(_YEAR)
    for octave in range(9):
        span = 1 << octave
        knot = sessions // span
        weight = (sessions % span) / span
        low = normals(keys ^ knot.astype(np.uint64), "octave", octave)
        high = normals(keys ^ (knot + 1).astype(np.uint64), "octave", octave)
        total += daily * np.sqrt(span) * 0.62 * (low * (1 - weight) + high * weight)
    return total


def crowd_gap(keys: Keys, sessions: NDArray[np.int64], volatility: Floats | float) -> Floats:
    """Log noise of an invented stock's opening price."""
    return np.asarray(
        0.3 * volatility / np.sqrt(_YEAR) * normals(keys ^ sessions.astype(np.uint64), "crowd gap")
    )
