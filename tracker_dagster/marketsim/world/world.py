"""The seeded world's underlyings: prices, minutes, events, indices, and what is planted in them.

Options live in ``chain`` and ``tape``; bytes and protocols in ``day_files`` and ``server``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TypeVar

import numpy as np

from tracker_dagster.marketsim.world import events, minutes
from tracker_dagster.marketsim.world.events import Dividend, Earnings, Split
from tracker_dagster.marketsim.world.instability import LOSS, SERIAL_DEPENDENCE, Instability
from tracker_dagster.marketsim.world.minutes import Bars, SessionShape
from tracker_dagster.marketsim.world.paths import DailyPath, Paths
from tracker_dagster.marketsim.world.randomness import Floats, Keys, stable_hash
from tracker_dagster.marketsim.world.securities import (
    CROWD_SIZE,
    INDICES,
    Profile,
    Stock,
    crowd_stock,
    crowd_tickers,
    market_proxies,
    universe_stocks,
)
from tracker_dagster.marketsim.world.surface import at_the_money_variance, shape_of
from tracker_dagster.trading_calendar import (
    EASTERN,
    current_session,
    session_on,
    sessions_between,
    week_sessions,
)

Planted = Mapping[str, list[tuple[date, date]]]
T = TypeVar("T")

#: Traded per day in a stock of popularity 1.
DOLLARS_PER_DAY = 2.6e8


class UnknownTickerError(KeyError):
    """The simulated market has no such ticker."""


class Cache:
    """A small thread-safe least-recently-used store whose values are computed once."""

    def __init__(self, limit: int, lock: threading.RLock | None = None) -> None:
        self._limit = limit
        self._items: OrderedDict[Hashable, object] = OrderedDict()
        # Values are computed from one another: one lock for all the caches of a world, or
        # two threads could each wait for the other's.
        self._lock = lock if lock is not None else threading.RLock()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The value of ``key``, computed under the lock when it is not there."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]  # type: ignore[return-value]
            value = compute()
            self._items[key] = value
            while len(self._items) > self._limit:
                self._items.popitem(last=False)
            return value


def default_plants() -> Planted:
    """Weeks whose minute returns depend on the past: every sixth of RIOT, ninth of MARA."""
    weeks: dict[str, list[tuple[date, date]]] = {"RIOT": [], "MARA": []}
    monday = date(2024, 1, 1)
    for number in range(52 * 4):
        week = week_sessions(monday + timedelta(weeks=number))
        if not week:
            continue
        if number % 6 == 2:
            weeks["RIOT"].append((week[0], week[-1]))
        if number % 9 == 4:
            weeks["MARA"].append((week[0], week[-1]))
    return weeks


class World:
    """What is true in the simulated market of one seed, at any moment from 2003 to 2035.

    Args:
        seed: Names the world; the same seed gives the same market in any process.
        profile: ``small`` or ``full`` (see the package docstring).
        tickers: Restrict the universe to these tickers.
        planted_instability: Ticker to day ranges (both ends included) whose one-minute returns
            are serially dependent with coefficient +0.8 or -0.8, alternating between ranges.
        instability: Share of ticker-weeks of the universe whose minutes are serially dependent
            and whose next week loses; see ``Instability``. With 0 nothing is planted besides
            ``planted_instability``, which costs nothing.
        instability_loss: Fall of the log price in a week that loses.
    """

    def __init__(
        self,
        seed: int = 9300,
        profile: Profile = "small",
        tickers: Iterable[str] | None = None,
        planted_instability: Planted | None = None,
        instability: float = 0.0,
        instability_loss: float = LOSS,
    ) -> None:
        self.seed = seed
        self.instability = Instability(seed, instability, instability_loss)
        self.profile: Profile = profile
        self.universe = universe_stocks(tickers)
        self.planted_instability: Planted = (
            default_plants() if planted_instability is None else planted_instability
        )
        self.paths = Paths(seed)
        self._proxies = market_proxies()
        self.lock = threading.RLock()
        self._daily = Cache(200, self.lock)
        self._minutes = Cache(500, self.lock)  # about 50 kB each
        self._boundaries = Cache(5000, self.lock)  # about 3 kB each
        self._facts = Cache(2000, self.lock)

    # --- who trades -----------------------------------------------------------------------

    @cached_property
    def crowd(self) -> list[str]:
        """Tickers of the stocks beyond the universe, sorted."""
        return crowd_tickers(CROWD_SIZE[self.profile], [*universe_stocks(), *INDICES])

    @cached_property
    def stock_tickers(self) -> list[str]:
        """Every stock and fund of the market in byte order."""
        return sorted([*self.universe, *self.crowd])

    @cached_property
    def _crowd_set(self) -> frozenset[str]:
        return frozenset(self.crowd)

    def stock(self, ticker: str) -> Stock:
        """The traits of a stock.

        Raises:
            UnknownTickerError: no such stock.
        """
        if ticker in self.universe:
            return self.universe[ticker]
        if ticker in self._crowd_set:
            return self._facts.get(("crowd", ticker), lambda: crowd_stock(ticker))
        raise UnknownTickerError(ticker)

    def has_stock(self, ticker: str) -> bool:
        """Whether the ticker is a stock of this market."""
        return ticker in self.universe or ticker in self._crowd_set

    # --- events ---------------------------------------------------------------------------

    def earnings(self, ticker: str) -> list[Earnings]:
        """Every report of the stock over the whole history, ascending; funds and crowd: none."""
        if ticker not in self.universe:
            return []
        return self._facts.get(
            ("earnings", ticker), lambda: events.earnings_of(self.seed, self.universe[ticker])
        )

    def splits(self, ticker: str | None = None) -> list[Split]:
        """The scheduled splits of one or of all listed tickers."""
        return [
            s for s in events.SPLITS if s.ticker in self.universe and ticker in (None, s.ticker)
        ]

    def dividends(self, ticker: str) -> list[Dividend]:
        """Every cash dividend of the stock, ascending by ex-date; dollars of their own time."""
        if ticker not in self.universe:
            return []

        def compute() -> list[Dividend]:
            path = self._path(ticker)

            def traded_close(day: date) -> float:
                return float(path.close[self.session_index(day)]) * self.split_factor(ticker, day)

            return events.dividends_of(self.seed, self.universe[ticker], traded_close)

        return self._facts.get(("dividends", ticker), compute)

    def split_factor(self, ticker: str, day: date, until: date | None = None) -> float:
        """Product of the ratios of the splits after ``day`` (and up to ``until``, if given).

        As-traded price = far-future price x factor; adjusted price = as-traded / factor.
        """
        factor = 1.0
        for split in events.splits_of(ticker):
            if split.execution_date > day and (until is None or split.execution_date <= until):
                factor *= split.ratio
        return factor

    # --- daily and minute prices ----------------------------------------------------------

    def _path(self, ticker: str) -> DailyPath:
        def compute() -> DailyPath:
            if ticker in self._crowd_set:
                return self.paths.crowd(self.stock(ticker), self.crowd_keys([ticker]))
            stock = self.universe.get(ticker) or self._proxies.get(ticker)
            if stock is None:
                raise UnknownTickerError(ticker)
            losses = self.instability.losses(ticker, self.paths.days)
            return self.paths.stock(stock, self.earnings(ticker), losses)

        return self._daily.get(ticker, compute)

    def _index_path(self, ticker: str) -> DailyPath:
        index = INDICES.get(ticker)
        if index is None:
            raise UnknownTickerError(f"I:{ticker}")
        if index.proxy is not None:
            return self._path(index.proxy)

        def compute() -> DailyPath:
            current = self._path("SPY").volatility
            shape = shape_of("INDEX", 0.15)
            years = np.array([index.tenor_days / 365.0])
            variance = at_the_money_variance(shape, current, years)
            level = 100 * 1.06 * np.sqrt(variance / years)
            return self.paths.volatility_index(ticker, lambda t: float(level[t]))

        return self._daily.get(f"I:{ticker}", compute)

    def path(self, ticker: str) -> DailyPath:
        """Daily opens, closes and volatility of a stock, or of an index as ``I:SPX``.

        Prices are in shares of the far future (see ``split_factor``) and, for an index that is
        scaled from a fund, in the fund's units.
        """
        return self._index_path(ticker[2:]) if ticker.startswith("I:") else self._path(ticker)

    def session_index(self, day: date) -> int:
        """Position of a session in the table of sessions."""
        return self.paths.index[day]

    def _shape(self, ticker: str, day: date) -> SessionShape:
        path = self.path(ticker)
        t = self.session_index(day)
        popularity, factor = 1.0, 1.0
        source = ticker
        if ticker.startswith("I:"):
            index = INDICES[ticker[2:]]
            # An index that scales a fund moves as the fund does, minute by minute.
            source = index.proxy or ticker
            factor = index.ratio
            volume = 0.0
        else:
            stock = self.universe.get(ticker) or self._proxies.get(ticker) or self.stock(ticker)
            popularity = stock.popularity
            factor = self.split_factor(ticker, day)
            volume = DOLLARS_PER_DAY * popularity / (path.close[t] * factor)
        ruling = path.volatility[max(t - 1, 0)]
        return SessionShape(
            day=day,
            index=t,
            previous_close=float(path.close[max(t - 1, 0)] * factor),
            open=float(path.open[t] * factor),
            close=float(path.close[t] * factor),
            daily_volatility=float(ruling * np.sqrt(0.7 / 252)),
            expected_volume=float(volume),
            popularity=popularity,
            serial_dependence=self._dependence(source, day),
        )

    def _dependence(self, ticker: str, day: date) -> float:
        for number, (first, last) in enumerate(self.planted_instability.get(ticker, [])):
            if first <= day <= last:
                return SERIAL_DEPENDENCE if number % 2 == 0 else -SERIAL_DEPENDENCE
        if ticker in self.universe or ticker in self._proxies:
            return self.instability.dependence(ticker, day)
        return 0.0

    def minute_bars(self, ticker: str, day: date) -> Bars:
        """As-traded minute bars of a session: 04:00–20:00 for stocks, regular hours for ``I:``."""

        def compute() -> Bars:
            index = INDICES.get(ticker[2:]) if ticker.startswith("I:") else None
            # An index that scales a fund shares the fund's draws, so they move as one.
            source = index.proxy if index is not None and index.proxy is not None else ticker
            bars = minutes.minute_bars(
                self.seed, source, self._shape(ticker, day), extended=index is None
            )
            if index is None:
                return bars
            none = np.zeros(len(bars))
            return Bars(
                bars.start, bars.open, bars.high, bars.low, bars.close, none, none.astype(np.int64)
            )

        return self._minutes.get((ticker, day), compute)

    def day_bar(self, ticker: str, day: date, until: datetime | None = None) -> Bars | None:
        """The as-traded bar of a session, or of its part before ``until``; None without trades.

        Prices come from regular hours, volume from all. ``start`` is 00:00 ET, for an index
        00:00 Chicago.
        """
        bars = self.minute_bars(ticker, day)
        if until is not None:
            end = int(until.timestamp()) * 1_000_000_000
            bars = bars.take(bars.start + minutes.MINUTE_NS <= end)
        if not len(bars):
            return None
        start = minutes.midnight_ns(day)
        if ticker.startswith("I:"):
            start += 3600 * 1_000_000_000
        regular = minutes.regular_only(bars, day)
        if not len(regular):
            return None
        return minutes.roll_up(bars, start, regular)

    def price_at(self, ticker: str, moment: datetime) -> float:
        """As-traded price: the close of the latest regular minute that has ended by ``moment``.

        Before the opening bell of a session this is the close before, in that day's shares.
        """
        day = current_session(moment)
        boundary = self.boundaries(ticker, day)
        elapsed = int((moment - session_on(day).open).total_seconds() // 60)
        price = float(boundary[min(max(elapsed, 0), boundary.size - 1)])
        today = moment.astimezone(EASTERN).date()
        if not ticker.startswith("I:") and today > day:
            price /= self.split_factor(ticker, day, today)
        return price

    def boundaries(self, ticker: str, day: date) -> Floats:
        """As-traded prices at the minute boundaries of a session's regular hours."""

        def compute() -> Floats:
            index = INDICES.get(ticker[2:]) if ticker.startswith("I:") else None
            source = index.proxy if index is not None and index.proxy is not None else ticker
            return minutes.session_boundaries(self.seed, source, self._shape(ticker, day))

        return self._boundaries.get((ticker, day), compute)

    def close(self, ticker: str, day: date) -> float:
        """As-traded regular close of a session."""
        return float(self.boundaries(ticker, day)[-1])

    def volatility_at(self, ticker: str, moment: datetime) -> float:
        """Annual volatility process of a stock or index at ``moment``, moving through the day."""
        path = self.path(ticker)
        day = current_session(moment)
        t = self.session_index(day)
        session = session_on(day)
        share = min(max((moment - session.open) / (session.close - session.open), 0.0), 1.0)
        before, after = np.log(path.volatility[max(t - 1, 0)]), np.log(path.volatility[t])
        return float(np.exp(before + share * (after - before)))

    # --- tables used by several protocols -------------------------------------------------

    def crowd_keys(self, tickers: Iterable[str]) -> Keys:
        """The keys that the paths of invented stocks are drawn with."""
        return np.array(
            [stable_hash(self.seed, "crowd path", ticker) for ticker in tickers], dtype=np.uint64
        )

    def ticker_hash(self, ticker: str) -> int:
        """The ticker's 64-bit key in this world."""
        return stable_hash(self.seed, "ticker", ticker)

    def sessions(self, first: date, last: date) -> list[date]:
        """Sessions from ``first`` to ``last``, both included, within the world's table."""
        return sessions_between(first, last)


def file_days(dataset_prefix: str, first: date, last: date) -> list[date]:
    """Days that have a flat file: sessions, and for indices every weekday (others still tick)."""
    if dataset_prefix == "us_indices":
        span = (last - first).days + 1
        days = (first + timedelta(days=n) for n in range(max(span, 0)))
        return [day for day in days if day.weekday() < 5]
    return sessions_between(first, last)
