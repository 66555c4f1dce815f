"""American volatilities and Greeks of 250,000 contracts, beside our European ones and QuantLib."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq

from benchmarks.figures import Figure
from benchmarks.option_pricing import CONTRACTS, Book
from benchmarks.timing import best_of, seconds
from tracker_dagster.analytics.pricing import (
    CashDividends,
    Status,
    implied_volatility_and_greeks,
    price,
)

#: What American contracts may cost, in our European ones.
TIMES_EUROPEAN = 20
#: How much faster than QuantLib's loop they should be.
TIMES_FASTER = 30
#: What the 99th of 100 prices may be off, in spots.
PRICE_ERROR = 1e-4
QUANTLIB_CONTRACTS = 2_000
ACCURACY_CONTRACTS = 500


@dataclass(frozen=True)
class Contracts:
    """Rates -1 % to 8 %, yields 0 to 8 %, a day to three years, strikes three deviations around."""

    spot: np.ndarray
    strike: np.ndarray
    days: np.ndarray
    rate: np.ndarray
    dividend_yield: np.ndarray
    volatility: np.ndarray
    is_call: np.ndarray

    @classmethod
    def random(cls, count: int, seed: int = 20261121) -> Contracts:
        """Contracts on the grid of whole days that QuantLib counts in."""
        rng = np.random.default_rng(seed)
        spot = np.exp(rng.uniform(np.log(5), np.log(1000), count))
        days = rng.integers(1, 3 * 365 + 1, count)
        rate, dividend_yield = rng.uniform(-0.01, 0.08, count), rng.uniform(0.0, 0.08, count)
        volatility = np.exp(rng.uniform(np.log(0.08), np.log(1.2), count))
        years = days / 365
        away = rng.uniform(-3.0, 3.0, count) * volatility * np.sqrt(years)
        strike = spot * np.exp((rate - dividend_yield) * years + away)
        is_call = rng.random(count) < 0.5
        return cls(spot, strike, days, rate, dividend_yield, volatility, is_call)

    @property
    def terms(self) -> tuple[np.ndarray, ...]:
        """Spot, strike, years, rate and yield."""
        return (self.spot, self.strike, self.days / 365, self.rate, self.dividend_yield)

    @cached_property
    def prices(self) -> np.ndarray:
        """American values."""
        return price(*self.terms, self.volatility, self.is_call, "american")

    def solved(self, dividends: CashDividends | None = None) -> np.ndarray:
        """Volatility and five Greeks of each; the volatilities."""
        prices = self.prices
        if dividends is not None:
            prices = self.with_dividends(dividends)
        implied, _ = implied_volatility_and_greeks(
            prices, *self.terms, self.is_call, "american", cash_dividends=dividends
        )
        volatility: np.ndarray = implied.volatility
        return volatility

    def with_dividends(self, dividends: CashDividends) -> np.ndarray:
        """American values where some pay."""
        return price(
            *self.terms, self.volatility, self.is_call, "american", cash_dividends=dividends
        )


def _quantlib(contracts: Contracts, scheme: str) -> list[tuple[object, object]]:
    """An option and the quote of its volatility for each contract."""
    import QuantLib as ql  # noqa: N813

    today, count = ql.Date(18, 11, 2026), ql.Actual365Fixed()
    ql.Settings.instance().evaluationDate = today
    schemes = {
        "fast": ql.QdFpAmericanEngine.fastScheme,
        "high": ql.QdFpAmericanEngine.highPrecisionScheme,
    }
    found = []
    for row in zip(*contracts.terms, contracts.days, contracts.is_call, strict=True):
        spot, strike, _, rate, dividend_yield, days, is_call = row
        quote = ql.SimpleQuote(0.3)
        process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(ql.SimpleQuote(float(spot))),
            ql.YieldTermStructureHandle(ql.FlatForward(today, float(dividend_yield), count)),
            ql.YieldTermStructureHandle(ql.FlatForward(today, float(rate), count)),
            ql.BlackVolTermStructureHandle(
                ql.BlackConstantVol(today, ql.NullCalendar(), ql.QuoteHandle(quote), count)
            ),
        )
        right = ql.Option.Call if is_call else ql.Option.Put
        option = ql.VanillaOption(
            ql.PlainVanillaPayoff(right, float(strike)),
            ql.AmericanExercise(today, today + int(days)),
        )
        option.setPricingEngine(ql.QdFpAmericanEngine(process, schemes[scheme]()))
        found.append((option, quote))
    return found


def _solve_by_quantlib(contracts: Contracts) -> None:
    """The loop that one would write: Brent on QuantLib's fast American engine."""
    for (option, quote), worth in zip(_quantlib(contracts, "fast"), contracts.prices, strict=True):

        def miss(volatility: float, option=option, quote=quote, worth=worth) -> float:  # type: ignore[no-untyped-def]
            quote.setValue(volatility)
            return float(option.NPV() - worth)

        try:
            brentq(miss, 0.01, 5.0, xtol=1e-9)
        except (RuntimeError, ValueError):
            continue


def _price_error(contracts: Contracts) -> np.ndarray:
    """Distance of each price from QuantLib's high precision, in spots."""
    theirs = []
    for (option, quote), volatility in zip(
        _quantlib(contracts, "high"), contracts.volatility, strict=True
    ):
        quote.setValue(float(volatility))  # type: ignore[attr-defined]
        try:
            theirs.append(option.NPV())  # type: ignore[attr-defined]
        except RuntimeError:
            theirs.append(np.nan)
    return np.abs(contracts.prices - np.array(theirs)) / contracts.spot


def american() -> Iterator[Figure]:
    """American volatility and Greeks: against our European, against QuantLib, and how right."""
    contracts, book = Contracts.random(CONTRACTS), Book.random()
    third = np.arange(CONTRACTS) % 10 < 3
    dividends = CashDividends.by_group(
        [0.1], [0.5], [0, 0, 1], np.where(third, 1, 0).astype(np.int64)
    )
    ours, paying, european = best_of(
        [contracts.solved, lambda: contracts.solved(dividends), lambda: book.ours("numba")],
        rounds=3,
    )
    volatility = contracts.solved()
    implied, _ = implied_volatility_and_greeks(
        contracts.prices, *contracts.terms, contracts.is_call, "american"
    )
    solved = float((implied.status == Status.OK).mean())
    again = price(*contracts.terms, volatility, contracts.is_call, "american")
    reprice = float(np.nanmax(np.abs(again - contracts.prices) / contracts.spot))
    yield Figure(
        f"{CONTRACTS:,} American volatilities and Greeks / European ones",
        ours,
        european,
        TIMES_EUROPEAN,
        notes=f"{solved:.1%} OK, reprices to {reprice:.0e} of spot; with a dividend in 30 %, and "
        f"their prices, {paying:.2f} s",
    )
    few = Contracts.random(QUANTLIB_CONTRACTS, 7)
    try:
        loop = seconds(lambda: _solve_by_quantlib(few)) * CONTRACTS / QUANTLIB_CONTRACTS
        error = _price_error(Contracts.random(ACCURACY_CONTRACTS, 8))
    except ImportError:
        return
    yield Figure(
        f"{CONTRACTS:,} American volatilities and Greeks / QuantLib QdFp-fast, volatility alone",
        ours,
        loop,
        1 / TIMES_FASTER,
        notes=f"{QUANTLIB_CONTRACTS:,} contracts by QuantLib, extrapolated",
    )
    yield Figure(
        "American price, 99th percentile of error / 1e-4 of spot",
        float(np.nanquantile(error, 0.99)),
        PRICE_ERROR,
        unit="spot",
        notes=f"against QdFp high precision: median {np.nanmedian(error):.0e}, most "
        f"{np.nanmax(error):.0e}; {int(np.isnan(error).sum())} of {len(error)} QuantLib would not",
    )
