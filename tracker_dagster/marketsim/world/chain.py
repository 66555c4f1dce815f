"""Option chains at a moment: true volatility, value, greeks, quotes and open interest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache

import numpy as np
from numpy.typing import NDArray

from tracker_dagster.marketsim import pricing
from tracker_dagster.marketsim.pricing import Greeks
from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster.marketsim.world.listings import Chain, Listings, OptionClass
from tracker_dagster.marketsim.world.randomness import Floats, normals, uniforms
from tracker_dagster.marketsim.world.surface import (
    at_the_money_variance,
    implied_volatility,
    shape_of,
)
from tracker_dagster.marketsim.world.world import Cache, World
from tracker_dagster.trading_calendar import (
    EASTERN,
    REGULAR_CLOSE,
    REGULAR_OPEN,
    current_session,
    is_session,
    previous_session,
    session_on,
)

_YEAR_SECONDS = 365.0 * 86_400.0
_EARNINGS_MOVE = 0.16  # of annual volatility: standard deviation of the earnings gap
_PENNY_EVERYWHERE = frozenset({"SPY", "QQQ", "IWM"})
MISSING_GREEKS = 0.12  # share of rows without greeks, as seen on the live service


@dataclass(frozen=True, slots=True)
class ChainState:
    """A chain valued at one moment; every column has one entry per contract.

    ``implied`` is NaN where the quote does not pin a volatility down; ``has_greeks`` is false
    on the share of rows the vendor leaves without. ``bid`` is 0 where nobody bids.
    """

    chain: Chain
    moment: datetime
    spot: float
    years: Floats
    volatility: Floats
    value: Floats
    greeks: Greeks
    implied: Floats
    has_greeks: NDArray[np.bool_]
    bid: Floats
    ask: Floats
    bid_size: NDArray[np.int64]
    ask_size: NDArray[np.int64]
    open_interest: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Terms:
    """What prices a set of contracts at one moment, or each at its own (arrays)."""

    net_spot: Floats
    strike: Floats
    years: Floats
    rate: Floats
    volatility: Floats


class Chains:
    """The option market of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.listings = Listings(world)
        self._states = Cache(60, world.lock)

    @property
    def american_by_tree(self) -> bool:
        """Whether equity options are priced with early exercise (not in profile ``full``)."""
        return self.world.profile == "small"

    def dividends_ahead(self, option_class: OptionClass, moment: datetime) -> Floats:
        """Dividends of three years as (years ahead, dollars in shares of ``moment``), (k, 2)."""
        if option_class.is_index:
            return np.empty((0, 2))
        ticker, today = option_class.underlying, moment.astimezone(EASTERN).date()
        rows = []
        for paid in self.world.dividends(ticker):
            # A special distribution stays in the deliverable: it does not lower the value.
            if paid.special or paid.ex_dividend_date <= today:
                continue
            if (paid.ex_dividend_date - today).days > 1100:
                break
            ahead = (
                _expiry_instant(paid.ex_dividend_date.toordinal(), True) - moment
            ).total_seconds()
            shares = self.world.split_factor(ticker, today, paid.ex_dividend_date)
            rows.append((ahead / _YEAR_SECONDS, paid.cash_amount * shares))
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def earnings_variance(
        self, option_class: OptionClass, expiry: NDArray[np.int64], moment: datetime
    ) -> Floats:
        """Variance of the earnings gaps between ``moment`` and each expiry."""
        total = np.zeros(expiry.shape)
        if option_class.is_index:
            return total
        gap = (_EARNINGS_MOVE * option_class.volatility) ** 2
        for report in self.world.earnings(option_class.underlying):
            if _open_of(report.reaction_date) > moment:
                hit = expiry >= report.reaction_date.toordinal()
                if not hit.any():
                    break
                total += gap * hit
        return total

    def terms(
        self,
        chain: Chain,
        moment: datetime,
        spot: Floats | float,
        current: Floats | float,
        years: Floats,
        dividends: Floats,
    ) -> Terms:
        """Net spot, effective strike, rate and true volatility of each contract.

        Prices are per share of the deliverable: an adjusted contract is worth ``factor`` times
        an option on one share struck at (strike - cash) / factor.
        """
        option_class = chain.option_class
        years = np.maximum(years, 1.0 / (365 * 24 * 60))
        rate = interest_rate(moment.astimezone(EASTERN).date(), years)
        net = np.maximum(
            np.asarray(spot, dtype=np.float64) - pricing.present_value(dividends, years, rate), 0.01
        )
        strike = np.maximum((chain.strike - chain.cash) / chain.factor, 0.001)
        shape = shape_of(option_class.category, option_class.volatility)
        variance = at_the_money_variance(
            shape,
            current,
            years,
            self.earnings_variance(option_class, chain.expiry, moment),
        )
        log_moneyness = np.log(strike / net) - rate * years
        smile = implied_volatility(shape, variance, log_moneyness, years)
        return Terms(net, strike, years, rate, np.clip(smile, 0.03, 6.0))

    def years_left(self, chain: Chain, moment: datetime) -> Floats:
        """Years (ACT/365) from ``moment`` to each contract's settlement."""
        now = moment.timestamp()
        instants = {
            (int(e), bool(m)): (_expiry_instant(int(e), bool(m)).timestamp() - now) / _YEAR_SECONDS
            for e, m in {*zip(chain.expiry.tolist(), chain.morning.tolist(), strict=True)}
        }
        return np.array(
            [
                instants[pair]
                for pair in zip(chain.expiry.tolist(), chain.morning.tolist(), strict=True)
            ]
        ).reshape(-1)

    def state(self, underlying: str, moment: datetime) -> ChainState:
        """The chain of ``SPY``, ``SPX`` … as it stands in the minute of ``moment``."""
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
        return self._states.get((underlying, minute), lambda: self._value(underlying, minute))

    def _value(self, underlying: str, moment: datetime) -> ChainState:
        today = moment.astimezone(EASTERN).date()
        chain = self.listings.chain(underlying, today)
        if moment >= _open_of(today):  # settled on this morning's opening values: gone
            chain = chain.take(~chain.morning | (chain.expiry > today.toordinal()))
        option_class = chain.option_class
        spot = self.world.price_at(option_class.path, moment)
        current = self.world.volatility_at(option_class.path, moment)
        dividends = self.dividends_ahead(option_class, moment)
        years = self.years_left(chain, moment)
        terms = self.terms(chain, moment, spot, current, years, dividends)
        value, greeks = self._price(chain, terms, spot, dividends)
        bid, ask = quotes(chain, value, greeks, moment)
        mid = (bid + ask) / 2
        shift = (mid - value) / np.maximum(greeks.vega * 100, 1e-4)
        implied = terms.volatility + np.clip(shift, -0.1, 0.1)
        # The least informative quotes go first, then chance fills up to the usual share.
        hopeless = np.quantile(greeks.vega, 0.09) if len(chain) else 0.0
        unsolvable = (np.abs(greeks.delta) > 0.97 * chain.factor) | (bid <= 0)
        unsolvable &= greeks.vega <= hopeless
        share = unsolvable.mean() if len(chain) else 0.0
        day = today.toordinal()
        unlucky = uniforms(chain.key, "missing greeks", day) < (MISSING_GREEKS - share) / (
            1 - share
        )
        implied = np.where(implied > 0.01, implied, terms.volatility)
        implied = np.where(unsolvable | (unlucky & (chain.key % np.uint64(3) > 0)), np.nan, implied)
        sizes = np.exp(0.9 * normals(chain.key, "size", int(moment.timestamp())))
        depth = 3 + 2.5 * np.sqrt(option_class.popularity)
        return ChainState(
            chain=chain,
            moment=moment,
            spot=spot,
            years=terms.years,
            volatility=terms.volatility,
            value=value,
            greeks=greeks,
            implied=implied,
            has_greeks=~(unsolvable | unlucky),
            bid=bid,
            ask=ask,
            bid_size=np.where(bid > 0, 1 + (depth * sizes).astype(np.int64), 0),
            ask_size=1 + (depth * sizes[::-1]).astype(np.int64),
            open_interest=self.open_interest(chain, today),
        )

    def _price(
        self, chain: Chain, terms: Terms, spot: float, dividends: Floats
    ) -> tuple[Floats, Greeks]:
        t = terms
        value = pricing.european(t.net_spot, t.strike, t.years, t.rate, t.volatility, chain.is_call)
        greeks = pricing.european_greeks(
            t.net_spot, t.strike, t.years, t.rate, t.volatility, chain.is_call
        )
        if not chain.option_class.european and self.american_by_tree:
            early = needs_tree(chain, t, dividends)
            strike, years, r, vol = (
                column[early] for column in (t.strike, t.years, t.rate, t.volatility)
            )
            is_call = chain.is_call[early]
            cum = np.full(int(early.sum()), spot)

            def tree(at: Floats, volatility: Floats) -> Floats:
                return pricing.american(at, strike, years, r, volatility, is_call, dividends)

            step = 0.004 * spot
            middle, above, below = tree(cum, vol), tree(cum + step, vol), tree(cum - step, vol)
            vega = tree(cum, vol + 0.01) - middle
            delta = (above - below) / (2 * step)
            gamma = np.maximum((above - 2 * middle + below) / step**2, 0.0)
            theta = (
                r * middle
                - r * t.net_spot[early] * delta
                - 0.5 * (vol * t.net_spot[early]) ** 2 * gamma
            ) / 365
            intrinsic = np.where(is_call, 1.0, -1.0) * (spot - strike)
            exercised = middle <= intrinsic + 1e-9
            value[early] = middle
            for name, column in (("delta", delta), ("gamma", gamma), ("vega", np.maximum(vega, 0))):
                getattr(greeks, name)[early] = column
            greeks.theta[early] = np.where(exercised, 0.0, np.minimum(theta, 0.0))
        factor = chain.factor
        return value * factor, Greeks(
            greeks.delta * factor,
            greeks.gamma * factor,
            greeks.theta * factor,
            greeks.vega * factor,
        )

    def open_interest(self, chain: Chain, today: date) -> NDArray[np.int64]:
        """Contracts open at the end of the session before ``today``."""
        day = previous_session(today) if is_session(today) else current_session(_open_of(today))
        option_class = chain.option_class
        price = self.world.close(option_class.path, day)
        years = np.maximum((chain.expiry - day.toordinal()) / 365.0, 1 / 365)
        strike = (chain.strike - chain.cash) / chain.factor
        width = 2.2 * option_class.volatility * np.sqrt(np.maximum(years, 1 / 26))
        distance = np.log(np.maximum(strike, 1e-3) / price) / width
        lean = np.where(chain.is_call, distance - 0.25, distance + 0.25)
        week = day.toordinal() // 7
        drift = 0.25 * normals(chain.key, "open interest", week)
        drift += 0.05 * normals(chain.key, "open interest day", day.toordinal())
        level = (
            260
            * option_class.popularity
            * np.exp(1.1 * normals(chain.key, "open interest base") - 0.5 * lean**2 + drift)
        )
        return np.floor(level / (1 + 1.5 * years)).astype(np.int64)

    def true_volatility(
        self, ticker: str, day: date, expiry: date, strike: float, moment: datetime | None = None
    ) -> float:
        """The volatility that prices a standard contract at the close of ``day``, or ``moment``."""
        option_class = self.listings.option_class(ticker.removeprefix("I:"))
        at = session_on(day).close if moment is None else moment
        one = np.ones(1)
        morning = option_class.category == "VIX"
        contract = Chain(
            option_class,
            np.array([""]),
            np.array([""]),
            np.array([expiry.toordinal()]),
            strike * one,
            np.array([True]),
            one,
            0 * one,
            np.array([morning]),
            np.zeros(1, dtype=np.uint64),
        )
        terms = self.terms(
            contract,
            at,
            self.world.price_at(option_class.path, at),
            self.world.volatility_at(option_class.path, at),
            self.years_left(contract, at),
            self.dividends_ahead(option_class, at),
        )
        return float(terms.volatility[0])


def needs_tree(chain: Chain, terms: Terms, dividends: Floats) -> NDArray[np.bool_]:
    """Contracts whose right to exercise early can have a value: puts, calls before a dividend."""
    if dividends.size == 0:
        return ~chain.is_call
    return ~chain.is_call | (terms.years > dividends[:, 0].min())


def tick_size(option_class: OptionClass, price: Floats) -> Floats:
    """Quoting increments: pennies below $3 and in the broadest funds, else nickels."""
    if option_class.underlying in _PENNY_EVERYWHERE:
        return np.full(price.shape, 0.01)
    if option_class.is_index:
        return np.where(price < 3, 0.05, 0.1)
    return np.where(price < 3, 0.01, 0.05)


def half_spread(chain: Chain, value: Floats, vega: Floats, tick: Floats) -> Floats:
    """Half the width of the quote: wider for illiquid classes, long terms and dear contracts."""
    thin = 1.0 / (1.0 + chain.option_class.popularity)
    habit = 0.75 + 0.5 * uniforms(chain.key, "spread habit")
    return np.asarray(
        habit * (0.5 * tick + value * (0.003 + 0.02 * thin) + vega * (0.12 + 0.7 * thin))
    )


def quotes(chain: Chain, value: Floats, greeks: Greeks, moment: datetime) -> tuple[Floats, Floats]:
    """Bid and ask on their ticks; a bid of 0 means that nobody bids."""
    tick = tick_size(chain.option_class, value)
    half = half_spread(chain, value, greeks.vega, tick)
    bid = np.floor((value - half) / tick + 1e-9) * tick
    ask = np.maximum(np.ceil((value + half) / tick - 1e-9) * tick, tick)
    nobody = (value < 0.025) | (bid < tick)
    shown: Floats = np.where(nobody, 0.0, np.round(bid, 2)).astype(np.float64)
    offered: Floats = np.round(np.maximum(ask, bid + tick), 2).astype(np.float64)
    return shown, offered


@cache
def _expiry_instant(ordinal: int, morning: bool) -> datetime:
    day = date.fromordinal(ordinal)
    if morning:
        return datetime.combine(day, REGULAR_OPEN, EASTERN).astimezone(UTC)
    if is_session(day):
        return session_on(day).close
    return datetime.combine(day, REGULAR_CLOSE, EASTERN).astimezone(UTC)


def _open_of(day: date) -> datetime:
    return datetime.combine(day, time(9, 30), EASTERN).astimezone(UTC)
