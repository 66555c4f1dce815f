"""American contracts for the tests, and what QuantLib makes of them.

QuantLib counts whole days: the years of these books are days over 365.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import QuantLib as ql  # noqa: N813

from tracker_dagster_tests.analytics.pricing.books import Book

TODAY = ql.Date(15, 1, 2024)
DAY_COUNT = ql.Actual365Fixed()


def random_american_book(count: int, seed: int) -> Book:
    """Rates -1 % to 8 %, yields 0 to 8 % (a fifth none), a day to three years, 8 % to 120 %.

    Strikes lie up to three standard deviations from the forward.
    """
    rng = np.random.default_rng(seed)
    short = np.exp(rng.uniform(0.0, np.log(1096), count)).round()
    days = np.where(rng.random(count) < 0.5, short, rng.integers(1, 1097, count))
    years = days / 365
    rate = rng.uniform(-0.01, 0.08, count)
    dividend_yield = np.where(rng.random(count) < 0.2, 0.0, rng.uniform(0.0, 0.08, count))
    volatility = np.exp(rng.uniform(np.log(0.08), np.log(1.2), count))
    spot = np.exp(rng.uniform(np.log(5.0), np.log(1000.0), count))
    away = rng.uniform(-3.0, 3.0, count) * volatility * np.sqrt(years)
    strike = spot * np.exp((rate - dividend_yield) * years + away)
    return Book(spot, strike, years, rate, dividend_yield, volatility, rng.random(count) < 0.5)


def _process(row: Sequence[float]) -> ql.BlackScholesMertonProcess:
    spot, _, _, rate, dividend_yield, volatility, _ = row
    ql.Settings.instance().evaluationDate = TODAY

    def flat(value: float) -> ql.YieldTermStructureHandle:
        return ql.YieldTermStructureHandle(ql.FlatForward(TODAY, float(value), DAY_COUNT))

    surface = ql.BlackConstantVol(TODAY, ql.NullCalendar(), float(volatility), DAY_COUNT)
    return ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(float(spot))),
        flat(dividend_yield),
        flat(rate),
        ql.BlackVolTermStructureHandle(surface),
    )


def _option(row: Sequence[float]) -> ql.VanillaOption:
    _, strike, years, _, _, _, is_call = row
    expiry = TODAY + round(years * 365)
    return ql.VanillaOption(
        ql.PlainVanillaPayoff(ql.Option.Call if is_call else ql.Option.Put, float(strike)),
        ql.AmericanExercise(TODAY, expiry),
    )


def qdfp_prices(book: Book) -> np.ndarray:
    """By Andersen, Lake and Offengenden's method in its most precise scheme, 4 ms each."""
    scheme = ql.QdFpAmericanEngine.highPrecisionScheme()
    values = []
    for row in zip(*book, strict=True):
        option = _option(row)
        option.setPricingEngine(ql.QdFpAmericanEngine(_process(row), scheme))
        values.append(option.NPV())
    return np.array(values)


def finite_difference_price(
    row: Sequence[float], dividends: Sequence[tuple[float, float]] = (), steps: int = 300
) -> float:
    """On a grid, extrapolated in the number of its time steps; escrowed dividends."""
    process, cash = (
        _process(row),
        [
            ql.FixedDividend(float(amount), TODAY + round(years * 365))
            for years, amount in dividends
        ],
    )
    values = []
    for count in (steps, 2 * steps):
        option = _option(row)
        option.setPricingEngine(
            ql.FdBlackScholesVanillaEngine(
                process, cash, count, 4 * steps, 0, ql.FdmSchemeDesc.Douglas(), False, -1.0,
                ql.FdBlackScholesVanillaEngine.Escrowed,
            )
        )  # fmt: skip
        values.append(option.NPV())
    return 2.0 * values[1] - values[0]
