"""Which option contracts exist on a day: expirations and strike ladders as exchanges list them.

A ladder is a function of past prices only: strikes are added around the price at the first
session of a week (in the last five weeks of an expiration), month or quarter, and nothing is
taken away before expiry. So a contract picked on Monday still exists on Friday.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tracker_dagster.marketsim.world.events import DISTRIBUTIONS, splits_of
from tracker_dagster.marketsim.world.randomness import Keys, mix
from tracker_dagster.marketsim.world.securities import INDICES, OPTION_INDICES
from tracker_dagster.marketsim.world.world import Cache, UnknownTickerError, World
from tracker_dagster.trading_calendar import (
    first_session,
    last_session,
    monthly_expiry,
    previous_session,
    session_or_previous,
    sessions_between,
    week_sessions,
    weekly_expiry,
)

_INCREMENTS = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0)
_SHORT_DAYS, _LONG_DAYS = 35, 400
_SERIAL_LISTED, _CYCLE_LISTED, _LEAPS_LISTED = 85, 240, 760


@dataclass(frozen=True, slots=True)
class OptionClass:
    """How one underlying's options are listed.

    ``rungs`` are the strikes on each side of the price for short, middle and long terms.
    """

    underlying: str  # ``SPY``, or ``SPX`` for an index
    path: str  # ``SPY``, or ``I:SPX``
    category: str
    volatility: float
    popularity: float
    european: bool
    daily: bool
    weekly: bool
    rungs: tuple[int, int, int]

    @property
    def is_index(self) -> bool:
        """Whether the underlying is a cash index."""
        return self.path.startswith("I:")


@dataclass(frozen=True, slots=True)
class Chain:
    """Contracts of one underlying, as columns of equal length in byte order of the ticker.

    The deliverable of one contract is ``factor`` x 100 shares and ``cash`` dollars per share;
    ``expiry`` is a proleptic ordinal.
    """

    option_class: OptionClass
    ticker: NDArray[np.str_]
    root: NDArray[np.str_]
    expiry: NDArray[np.int64]
    strike: NDArray[np.float64]
    is_call: NDArray[np.bool_]
    factor: NDArray[np.float64]
    cash: NDArray[np.float64]
    morning: NDArray[np.bool_]
    key: Keys

    def __len__(self) -> int:
        return int(self.ticker.size)

    def take(self, selection: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Chain:
        """The selected contracts."""
        columns = [getattr(self, name)[selection] for name in self.__slots__[1:]]
        return Chain(self.option_class, *columns)

    def position(self, ticker: str) -> int | None:
        """Row of a contract, or None."""
        at = int(np.searchsorted(self.ticker, ticker))
        return at if at < len(self) and self.ticker[at] == ticker else None


class Listings:
    """The option contracts of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._ladders = Cache(600, world.lock)
        self.classes = {
            **{ticker: self._stock_class(ticker) for ticker in world.universe},
            **{name: self._index_class(name) for name in OPTION_INDICES},
        }

    @property
    def underlyings(self) -> list[str]:
        """Underlyings with options, sorted; indices without ``I:``."""
        return sorted(self.classes)

    def option_class(self, underlying: str) -> OptionClass:
        """The option class of an underlying, e.g. ``SPY`` or ``SPX``.

        Raises:
            UnknownTickerError: no options on it.
        """
        if underlying not in self.classes:
            raise UnknownTickerError(underlying)
        return self.classes[underlying]

    def _stock_class(self, ticker: str) -> OptionClass:
        stock = self.world.universe[ticker]
        daily = ticker in ("SPY", "QQQ", "IWM")
        rungs = (28, 22, 18) if ticker == "SPY" else (4, 2, 2) if daily else (6, 3, 2)
        return OptionClass(
            ticker,
            ticker,
            stock.category,
            stock.volatility,
            stock.popularity,
            False,
            daily,
            True,
            rungs,
        )

    def _index_class(self, name: str) -> OptionClass:
        index = INDICES[name]
        if index.proxy is None:
            return OptionClass(
                name, f"I:{name}", "VIX", 0.95, index.popularity, True, False, False, (9, 7, 5)
            )
        base = {"SPX": 0.15, "NDX": 0.19, "RUT": 0.20}[name]
        daily = name == "SPX"
        rungs = (3, 2, 2)
        return OptionClass(
            name, f"I:{name}", "INDEX", base, index.popularity, True, daily, True, rungs
        )

    def chain(self, underlying: str, day: date) -> Chain:
        """Contracts listed and not yet expired on ``day`` (its expirations included)."""
        option_class = self.option_class(underlying)
        week = _week_start(session_or_previous(day))
        ladder = self._ladders.get((underlying, week), lambda: self._build(option_class, week))
        return ladder.take(ladder.expiry >= day.toordinal())

    def _build(self, option_class: OptionClass, week: date) -> Chain:
        rows: dict[tuple[str, date, int], tuple[float, float, bool]] = {}
        most = 2 * option_class.rungs[0] + 1
        for expiry, listed, root, morning in _expirations(option_class, week):
            held = 0
            for anchor, rung, horizon in _anchors(option_class, expiry, listed, week):
                rungs = self._rungs(option_class, anchor, rung, horizon, week)
                # Nearest first: a ladder that is full still follows the price with five strikes,
                # so that a crash neither leaves it behind nor makes it grow without end.
                for rank, (name, mills, factor, cash) in enumerate(rungs):
                    key = (root + name[len(option_class.underlying) :], expiry, mills)
                    if key not in rows and (held < most or rank < 5):
                        rows[key] = (factor, cash, morning)
                        held += 1
        columns = [
            (f"O:{root}{expiry:%y%m%d}{right}{mills:08d}", root, expiry, mills, right == "C", *rest)
            for (root, expiry, mills), rest in rows.items()
            for right in "CP"
        ]
        columns.sort()
        roots = np.array([c[1] for c in columns], dtype=str)
        expiry_days = np.array([c[2].toordinal() for c in columns], dtype=np.int64)
        strike_mills = np.array([c[3] for c in columns], dtype=np.int64)
        calls = np.array([c[4] for c in columns], dtype=bool)
        return Chain(
            option_class,
            np.array([c[0] for c in columns], dtype=str),
            roots,
            expiry_days,
            strike_mills / 1000.0,
            calls,
            np.array([c[5] for c in columns], dtype=np.float64),
            np.array([c[6] for c in columns], dtype=np.float64),
            np.array([c[7] for c in columns], dtype=bool),
            self._keys(option_class, roots, expiry_days, strike_mills, calls),
        )

    def _keys(
        self,
        option_class: OptionClass,
        root: NDArray[np.str_],
        expiry: NDArray[np.int64],
        mills: NDArray[np.int64],
        is_call: NDArray[np.bool_],
    ) -> Keys:
        hashes = {name: self.world.ticker_hash(f"O:{name}") for name in set(root.tolist())}
        base = np.array([hashes[name] for name in root.tolist()], dtype=np.uint64)
        detail = expiry.astype(np.uint64) << np.uint64(34)
        detail |= mills.astype(np.uint64) << np.uint64(1)
        return mix(mix(base) ^ (detail | is_call.astype(np.uint64)))

    def _rungs(
        self, option_class: OptionClass, anchor: date, rung: int, horizon: float, week: date
    ) -> list[tuple[str, int, float, float]]:
        """(underlying with an adjusted contract's digit, strike in mills, factor, cash)."""
        before = previous_session(anchor) if anchor > first_session() else anchor
        price = self.world.close(option_class.path, before)
        if not option_class.is_index:
            price /= self.world.split_factor(option_class.path, before, anchor)
        reach = 2.0 * option_class.volatility * np.sqrt(horizon) * price
        minimum = 0.5 if price < 80 else 1.0
        if option_class.is_index and option_class.category != "VIX":
            minimum = 5.0
        step = next(
            (i for i in _INCREMENTS if i >= minimum and i >= 0.8 * reach / rung), _INCREMENTS[-1]
        )
        centre = round(price / step) * step
        name, factor, cash, divisor = option_class.underlying, 1.0, 0.0, 1
        for split in splits_of(name):
            if anchor < split.execution_date <= week:
                if split.restrikes:
                    divisor *= split.to
                else:
                    name, factor = option_class.underlying + "1", factor * split.ratio
        for event in DISTRIBUTIONS:
            if event.ticker == option_class.underlying and anchor < event.execution_date <= week:
                name, cash = option_class.underlying + "1", cash + event.cash_per_share
        return [
            (name, mills, factor, cash)
            for n in sorted(range(-rung, rung + 1), key=lambda n: (abs(n), n))
            if (mills := round((centre + n * step) * 1000) // divisor) > 0
        ]


@cache
def _week_start(day: date) -> date:
    return week_sessions(day)[0]


@cache
def _month_weeks(first: date, last: date) -> tuple[date, ...]:
    """The first session of each week from ``first`` to ``last``."""
    return tuple(dict.fromkeys(_week_start(day) for day in sessions_between(first, last)))


def _listed_since(expiry: date, days: int) -> date:
    day = expiry - timedelta(days=days)
    return _week_start(session_or_previous(max(day, first_session())))


def _expirations(option_class: OptionClass, week: date) -> list[tuple[date, date, str, bool]]:
    """(expiry, listed since, root, settles in the morning) of what is listed in ``week``."""
    found: dict[tuple[date, str], tuple[date, bool]] = {}
    name = option_class.underlying

    def add(expiry: date, days: int, root: str, morning: bool) -> None:
        since = _listed_since(expiry, days)
        if since <= week and expiry <= last_session():
            earlier = found.get((expiry, root))
            if earlier is None or since < earlier[0]:
                found[(expiry, root)] = (since, morning)

    monthly_root_am = option_class.is_index
    weekly_root = {"SPX": "SPXW", "NDX": "NDXP", "RUT": "RUTW"}.get(name, name)
    if option_class.weekly:
        for expiry in weeklies_ahead(week - timedelta(days=1), 5):
            add(expiry, 32, weekly_root, False)
    if option_class.daily:
        for expiry in [*week_sessions(week), *week_sessions(week + timedelta(days=7))]:
            add(expiry, 7, weekly_root, False)
    year, month = week.year, week.month
    for ahead in range(28):
        y, m = year + (month - 1 + ahead) // 12, (month - 1 + ahead) % 12 + 1
        if y > 2035:
            break
        expiry = _vix_expiry(y, m) if option_class.category == "VIX" else monthly_expiry(y, m)
        if expiry < week:
            continue
        listed = _SERIAL_LISTED
        if m % 3 == 0:
            listed = _CYCLE_LISTED
        if m == 1 and option_class.category != "VIX":
            listed = _LEAPS_LISTED
        add(expiry, listed, name, monthly_root_am)
    return [(expiry, since, root, am) for (expiry, root), (since, am) in sorted(found.items())]


def weeklies_ahead(after: date, count: int) -> list[date]:
    """Up to ``count`` weekly expirations after ``after``; fewer where the calendar ends."""
    found: list[date] = []
    while len(found) < count and after < last_session():
        after = weekly_expiry(after)
        found.append(after)
    return found


def _vix_expiry(year: int, month: int) -> date:
    """The Wednesday 30 days before the third Friday of the month after."""
    following = date(year + month // 12, month % 12 + 1, 1)
    friday = following + timedelta(days=(4 - following.weekday()) % 7 + 14)
    return session_or_previous(friday - timedelta(days=30))


def _anchors(
    option_class: OptionClass, expiry: date, listed: date, week: date
) -> list[tuple[date, int, float]]:
    """(session, rungs each side, horizon in years) at which the ladder was set or extended."""
    short, middle, long = option_class.rungs
    found: list[tuple[date, int, float]] = []
    previous: date | None = None
    for start in _month_weeks(listed, min(week, expiry)):
        left = (expiry - start).days
        new_month = previous is None or previous.month != start.month
        new_quarter = previous is None or (previous.month - 1) // 3 != (start.month - 1) // 3
        previous = start
        if left <= _SHORT_DAYS:
            if option_class.daily and expiry.weekday() != 4:
                found.append((start, max(3, short // 2), 1 / 100))
            else:
                found.append((start, short, 1 / 52))
        elif left <= _LONG_DAYS:
            if new_month:
                found.append((start, middle, 1 / 8))
        elif new_quarter:
            found.append((start, long, 1.0))
    return found
