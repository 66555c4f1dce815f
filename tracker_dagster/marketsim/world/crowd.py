"""The market beyond the universe at full size, a whole day at a time.

Only profile ``full`` needs it: twelve thousand stocks and three hundred thousand contracts in
one pass of array arithmetic. A stock's open and close are those of its own path; its high and
low are drawn here, since its minutes are not generated.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracker_dagster.marketsim import pricing
from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster.marketsim.world.listings import weeklies_ahead
from tracker_dagster.marketsim.world.minutes import DECIMAL_VOLUME_FROM, midnight_ns, to_ticks
from tracker_dagster.marketsim.world.paths import crowd_gap, crowd_log_deviation
from tracker_dagster.marketsim.world.randomness import Floats, Keys, mix, normals, uniforms
from tracker_dagster.marketsim.world.world import DOLLARS_PER_DAY, World
from tracker_dagster.trading_calendar import (
    first_session,
    last_session,
    monthly_expiry,
    session_or_previous,
)

_OPTIONABLE = 3_000
_STRIKES = 8  # per expiration and right, in a ladder around the price at listing
_TRADED = 0.67  # share of the listed contracts that trade on a day
_INCREMENTS = np.array([0.5, 1.0, 2.5, 5.0, 10.0, 25.0])


@dataclass(frozen=True, slots=True)
class _Traits:
    tickers: NDArray[np.str_]
    keys: Keys
    level: Floats
    volatility: Floats
    beta: Floats
    popularity: Floats


@lru_cache(maxsize=4)
def _traits(world: World) -> _Traits:
    stocks = [world.stock(ticker) for ticker in world.crowd]
    return _Traits(
        np.array([s.ticker for s in stocks]),
        world.crowd_keys(world.crowd),
        np.array([s.level for s in stocks]),
        np.array([s.volatility for s in stocks]),
        np.array([s.beta for s in stocks]),
        np.array([s.popularity for s in stocks]),
    )


def _log_close(world: World, traits: _Traits, t: int) -> Floats:
    sessions = np.full(traits.keys.shape, max(t, 0))
    own = crowd_log_deviation(traits.keys, sessions, traits.volatility)
    common = world.paths.crowd_common
    shift = common[max(t, 0)] - common[world.paths.anchor]
    return np.asarray(np.log(traits.level) + own + traits.beta * shift)


def _open_close(world: World, traits: _Traits, day: date) -> tuple[Floats, Floats]:
    t = world.session_index(day)
    close, before = _log_close(world, traits, t), _log_close(world, traits, t - 1)
    gap = crowd_gap(traits.keys, np.full(traits.keys.shape, t), traits.volatility)
    opening = before + 0.3 * (close - before) + gap
    return to_ticks(np.exp(opening)), to_ticks(np.exp(close))


def crowd_stocks_day(world: World, day: date) -> pl.DataFrame:
    """Day rows of every stock beyond the universe, in the vendor's columns."""
    traits = _traits(world)
    opening, close = _open_close(world, traits, day)
    t = world.session_index(day)
    salt = np.uint64(t)
    reach = 0.35 * traits.volatility / np.sqrt(252)
    high = np.maximum(opening, close) * np.exp(
        reach * np.abs(normals(traits.keys ^ salt, "crowd high"))
    )
    low = np.minimum(opening, close) * np.exp(
        -reach * np.abs(normals(traits.keys ^ salt, "crowd low"))
    )
    volume = np.floor(
        DOLLARS_PER_DAY
        * traits.popularity
        / close
        * np.exp(0.5 * normals(traits.keys ^ salt, "volume"))
        + 1
    )
    trades = np.maximum(1, volume / 80).astype(np.int64)
    return pl.DataFrame(
        {
            "ticker": traits.tickers,
            "volume": volume if day >= DECIMAL_VOLUME_FROM else volume.astype(np.int64),
            "open": opening,
            "close": close,
            "high": to_ticks(high),
            "low": to_ticks(low),
            "window_start": np.full(traits.keys.shape, midnight_ns(day)),
            "transactions": trades,
        },
        schema_overrides={"ticker": pl.String},
    )


def _expirations(day: date) -> list[tuple[date, date]]:
    """(expiry, session whose close set its ladder)."""
    found = {e: e - timedelta(days=33) for e in weeklies_ahead(day - timedelta(days=1), 5)}
    for ahead in range(2, 8):
        if day.year + (day.month - 1 + ahead) // 12 > last_session().year:
            break
        month = (day.month - 1 + ahead) % 12 + 1
        expiry = monthly_expiry(day.year + (day.month - 1 + ahead) // 12, month)
        found.setdefault(expiry, expiry - timedelta(days=215))
        if len(found) == 9:
            break
    return [(e, session_or_previous(max(a, first_session()))) for e, a in sorted(found.items())]


def crowd_options_day(world: World, day: date) -> pl.DataFrame:
    """Day rows of the options on the stocks beyond the universe, in the vendor's columns."""
    everyone = _traits(world)
    chosen = np.sort(np.argsort(-everyone.popularity, kind="stable")[:_OPTIONABLE])
    traits = _Traits(*(getattr(everyone, name)[chosen] for name in _Traits.__slots__))
    opening, close = _open_close(world, traits, day)
    parts = [
        _expiry_rows(world, traits, day, expiry, anchor, opening, close)
        for expiry, anchor in _expirations(day)
    ]
    return pl.concat(parts)


def _expiry_rows(
    world: World,
    traits: _Traits,
    day: date,
    expiry: date,
    anchor: date,
    opening: Floats,
    close: Floats,
) -> pl.DataFrame:
    listed_at = np.exp(_log_close(world, traits, world.session_index(anchor)))
    span = max((expiry - anchor).days, 1) / 365.0
    ideal = 2.4 * traits.volatility * np.sqrt(span) * listed_at / _STRIKES
    step = _INCREMENTS[np.minimum(np.searchsorted(_INCREMENTS, ideal), _INCREMENTS.size - 1)]
    ladder = np.arange(_STRIKES) - _STRIKES // 2 + 1
    first = np.maximum(np.round(listed_at / step), _STRIKES // 2)
    strike = ((first[:, None] + ladder[None, :]) * step[:, None]).repeat(2, axis=1)
    shape = strike.shape
    is_call = np.broadcast_to(np.arange(shape[1]) % 2 == 0, shape).ravel()
    strike = strike.ravel()
    stock = np.repeat(np.arange(traits.keys.size), shape[1])
    mills = np.round(strike * 1000).astype(np.int64)
    keys = mix(
        traits.keys[stock]
        ^ (np.uint64(expiry.toordinal()) << np.uint64(34))
        ^ (mills.astype(np.uint64) << np.uint64(1))
        ^ is_call.astype(np.uint64)
    )
    ordinal = day.toordinal()
    keep = (uniforms(keys, "crowd trades", ordinal) < _TRADED) & (mills > 0)
    stock, strike, mills, is_call, keys = (
        column[keep] for column in (stock, strike, mills, is_call, keys)
    )
    years = np.full(strike.shape, ((expiry - day).days + 0.4) / 365.0)
    rate = interest_rate(day, years)
    moneyness = np.log(strike / close[stock])
    volatility = traits.volatility[stock] * (1.05 - 0.15 * np.tanh(2 * moneyness))
    prices = [
        pricing.european(spot[stock], strike, years, rate, volatility, is_call)
        for spot in (opening, close)
    ]
    tick = np.where(prices[1] < 3, 0.01, 0.05)
    first_price, last_price = (
        np.round(np.maximum(np.round(p / tick), 1) * tick, 2) for p in prices
    )
    wide = 1 + 0.08 * uniforms(keys, "crowd reach", ordinal)
    high = np.round(np.round(np.maximum(first_price, last_price) * wide / tick) * tick, 2)
    low = np.round(np.round(np.minimum(first_price, last_price) / wide / tick) * tick, 2)
    volume = np.floor(np.exp(1.6 * np.abs(normals(keys, "crowd volume", ordinal)))).astype(np.int64)
    single = volume == 1
    tickers = pl.DataFrame({"root": traits.tickers[stock], "call": is_call, "mills": mills}).select(
        pl.concat_str(
            pl.lit("O:"),
            pl.col("root"),
            pl.lit(f"{expiry:%y%m%d}"),
            pl.when(pl.col("call")).then(pl.lit("C")).otherwise(pl.lit("P")),
            pl.col("mills").cast(pl.String).str.zfill(8),
        ).alias("ticker")
    )["ticker"]
    return pl.DataFrame(
        {
            "ticker": tickers,
            "volume": volume,
            "open": np.where(single, last_price, first_price),
            "close": last_price,
            "high": np.where(
                single, last_price, np.maximum(high, np.maximum(first_price, last_price))
            ),
            "low": np.where(
                single, last_price, np.minimum(low, np.minimum(first_price, last_price)).clip(0.01)
            ),
            "window_start": np.full(strike.shape, midnight_ns(day)),
            "transactions": np.maximum(1, volume // 3),
        }
    )
