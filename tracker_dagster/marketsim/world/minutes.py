"""One-minute bars: a bridge between a session's open and close, and sparse extended hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker_dagster.marketsim.world.randomness import Floats, autoregress, generator
from tracker_dagster.trading_calendar import EASTERN, session_on

Ints = NDArray[np.int64]

MINUTE_NS = 60_000_000_000
OPEN_MINUTE = 570  # 09:30 ET, in minutes of the day
EXTENDED_FIRST = 240  # 04:00 ET

#: From this date the vendor writes stock volumes as fixed decimals (fractional shares).
DECIMAL_VOLUME_FROM = date(2026, 2, 23)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one ticker, ascending; ``start`` is in UTC nanoseconds.

    ``volume`` may be fractional; it and ``transactions`` are zero throughout for an index.
    """

    start: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    transactions: Ints

    def __len__(self) -> int:
        return int(self.start.size)

    def take(self, selection: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Bars:
        """The selected bars."""
        return Bars(*(getattr(self, name)[selection] for name in self.__slots__))

    @staticmethod
    def concatenate(parts: list[Bars]) -> Bars:
        """The bars of ``parts`` one after another."""
        if not parts:
            none, nothing = np.empty(0, dtype=np.int64), np.empty(0)
            return Bars(none, nothing, nothing, nothing, nothing, nothing, none)

        def column(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(part, name) for part in parts])

        return Bars(
            column("start"),
            column("open"),
            column("high"),
            column("low"),
            column("close"),
            column("volume"),
            column("transactions"),
        )

    def scaled(self, price: float) -> Bars:
        """Prices divided by ``price`` and volumes multiplied by it, for split adjustment."""
        if price == 1.0:
            return self
        return Bars(
            self.start,
            np.round(self.open / price, 6),
            np.round(self.high / price, 6),
            np.round(self.low / price, 6),
            np.round(self.close / price, 6),
            self.volume * price,
            self.transactions,
        )


@dataclass(frozen=True, slots=True)
class SessionShape:
    """What a bridge needs to know of one session; prices as traded that day."""

    day: date
    index: int
    previous_close: float
    open: float
    close: float
    daily_volatility: float
    expected_volume: float
    popularity: float
    serial_dependence: float = 0.0


@cache
def intraday_profile(minutes: int) -> tuple[Floats, Floats]:
    """U-shaped standard deviation and volume weights of a session's minutes, each summing to 1.

    The deviation weights are squared-summing to 1 (variance), the volume weights plainly.
    """
    x = np.linspace(-1, 1, minutes)
    deviation = 0.75 + 0.9 * x**2 + 0.55 * np.exp(-(x + 1) * 12)
    deviation /= np.sqrt((deviation**2).sum())
    volume = 0.55 + 1.1 * x**2 + 1.4 * np.exp(-(x + 1) * 14) + 0.9 * np.exp((x - 1) * 18)
    return deviation, volume / volume.sum()


def midnight_ns(day: date) -> int:
    """00:00 in New York of ``day`` in UTC nanoseconds."""
    return int(datetime.combine(day, time(0), EASTERN).timestamp()) * 1_000_000_000


def to_ticks(prices: Floats) -> Floats:
    """Prices on the tick: cents, below a dollar hundredths of a cent."""
    return np.where(prices >= 1.0, np.round(prices, 2), np.round(prices, 4))


def session_boundaries(seed: int, ticker: str, shape: SessionShape) -> Floats:
    """Prices at the session's minute boundaries, (minutes + 1,): first the open, last the close."""
    minutes = session_on(shape.day).minutes
    weights, _ = intraday_profile(minutes)
    shocks = generator(seed, "minutes", ticker, index=shape.index).standard_normal(minutes)
    if shape.serial_dependence:
        shocks = autoregress(shocks, shape.serial_dependence)
        shocks *= np.sqrt(1 - shape.serial_dependence**2)
    steps = shape.daily_volatility * weights * shocks
    target = np.log(shape.close / shape.open)
    path = np.concatenate([[0.0], np.cumsum(steps)])
    clock = np.concatenate([[0.0], np.cumsum(weights**2)])
    path += clock * (target - path[-1])
    return to_ticks(shape.open * np.exp(path))


def minute_bars(seed: int, ticker: str, shape: SessionShape, extended: bool = True) -> Bars:
    """The session's minute bars, with pre- and post-market ones when ``extended``.

    The first bar after the regular close is the closing print.
    """
    session = session_on(shape.day)
    minutes = session.minutes
    weights, volume_weights = intraday_profile(minutes)
    boundary = session_boundaries(seed, ticker, shape)
    draw = generator(seed, "bars", ticker, index=shape.index)
    reach = np.abs(draw.standard_normal((2, minutes))) * (0.45 * shape.daily_volatility * weights)
    opens, closes = boundary[:-1], boundary[1:]
    high = to_ticks(np.maximum(opens, closes) * np.exp(reach[0]))
    low = to_ticks(np.minimum(opens, closes) * np.exp(-reach[1]))
    day_volume = shape.expected_volume * np.exp(0.3 * draw.standard_normal())
    volume = np.floor(
        day_volume * 0.88 * volume_weights * np.exp(0.45 * draw.standard_normal(minutes))
    )
    midnight = midnight_ns(shape.day)
    starts = midnight + (OPEN_MINUTE + np.arange(minutes)) * MINUTE_NS
    trades = np.maximum(1, volume / (60 + 40 * draw.random(minutes))).astype(np.int64)
    present = np.ones(minutes, dtype=bool)
    if shape.popularity < 1:  # thinly traded: some minutes have no trade at all
        present = draw.random(minutes) < 0.15 + 0.85 * shape.popularity
        present[[0, -1]] = True
    regular = Bars(starts, opens, high, low, closes, np.maximum(volume, 1), trades).take(present)
    if not extended:
        return _decimal(shape.day, regular)
    before = _extended(draw, shape, EXTENDED_FIRST, OPEN_MINUTE, shape.previous_close, opens[0])
    end = OPEN_MINUTE + minutes
    after = _extended(draw, shape, end + 1, end + 240, closes[-1], closes[-1] * 1.0005)
    auction = np.array([closes[-1]])
    closing = Bars(
        np.array([midnight + end * MINUTE_NS]),
        *(auction,) * 4,
        np.array([np.floor(day_volume * 0.09) + 1]),
        np.array([3]),
    )
    return _decimal(shape.day, Bars.concatenate([before, regular, closing, after]))


def _extended(
    draw: np.random.Generator,
    shape: SessionShape,
    first: int,
    last: int,
    start: float,
    end: float,
) -> Bars:
    minutes = last - first
    noise = np.cumsum(draw.standard_normal(minutes)) * shape.daily_volatility * 0.006
    ramp = np.arange(1, minutes + 1) / minutes
    path = to_ticks(start * np.exp(ramp * np.log(end / start) + noise - ramp * noise[-1]))
    present = draw.random(minutes) < min(0.9, 0.02 + 0.05 * shape.popularity)
    opens = np.concatenate([[to_ticks(np.array([start]))[0]], path[:-1]])
    volume = np.floor(
        shape.expected_volume * 2e-5 * np.exp(0.8 * draw.standard_normal(minutes)) + 1
    )
    starts = midnight_ns(shape.day) + (first + np.arange(minutes)) * MINUTE_NS
    trades = np.maximum(1, volume / 90).astype(np.int64)
    bars = Bars(
        starts, opens, np.maximum(opens, path), np.minimum(opens, path), path, volume, trades
    )
    return bars.take(present)


def _decimal(day: date, bars: Bars) -> Bars:
    if day < DECIMAL_VOLUME_FROM:
        return bars
    # A multiple of 1/64 is exact in binary and in six decimals: sums of minutes stay exact too.
    fraction = ((bars.start // MINUTE_NS * 37 + bars.transactions * 11) % 64) / 64
    return Bars(
        bars.start,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume + fraction,
        bars.transactions,
    )


def regular_only(bars: Bars, day: date) -> Bars:
    """The bars that start in the regular session of ``day``."""
    session = session_on(day)
    first = int(session.open.timestamp()) * 1_000_000_000
    last = int(session.close.timestamp()) * 1_000_000_000
    return bars.take((bars.start >= first) & (bars.start < last))


def roll_up(bars: Bars, start: int, prices: Bars | None = None) -> Bars:
    """One bar from ``bars``: OHLC of ``prices`` (default the same bars), volume of all."""
    source = bars if prices is None or not len(prices) else prices
    return Bars(
        np.array([start]),
        source.open[:1],
        np.array([source.high.max()]),
        np.array([source.low.min()]),
        source.close[-1:],
        np.array([bars.volume.sum()]),
        np.array([bars.transactions.sum()]),
    )
