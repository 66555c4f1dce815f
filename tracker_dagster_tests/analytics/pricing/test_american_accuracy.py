"""American values against QuantLib's most precise engine, finite differences and books."""

from __future__ import annotations

import numpy as np
import pytest

from tracker_dagster.analytics.pricing import price
from tracker_dagster_tests.analytics.pricing.american_books import (
    finite_difference_price,
    qdfp_prices,
    random_american_book,
)
from tracker_dagster_tests.analytics.pricing.books import BACKENDS, Book

#: Haug, The Complete Guide to Option Pricing Formulas (1998), page 24, as tabulated in QuantLib's
#: test suite: values of Barone-Adesi and Whaley's approximation for spots of 90, 100 and 110
#: (a row each), strike 100, rate and yield 10 %: (years, volatility), calls, puts.
BARONE_ADESI_WHALEY = [
    ((0.1, 0.15), (0.0206, 1.8771, 10.0089), (10.0, 1.877, 0.041)),
    ((0.1, 0.25), (0.3159, 3.128, 10.3919), (10.2533, 3.1277, 0.4562)),
    ((0.1, 0.35), (0.9495, 4.3777, 11.1679), (10.8787, 4.3777, 1.2402)),
    ((0.5, 0.15), (0.8208, 4.0842, 10.8087), (10.5595, 4.0842, 1.0822)),
    ((0.5, 0.25), (2.7437, 6.8015, 13.017), (12.4419, 6.8014, 3.3226)),
    ((0.5, 0.35), (5.0063, 9.5106, 15.5689), (14.6945, 9.5104, 5.8823)),
]


def extreme_book(count: int, seed: int) -> Book:
    """Volatilities of money-market funds and of squeezes, hard-to-borrow yields, ten years.

    Up to four standard deviations over the life of a contract.
    """
    rng = np.random.default_rng(seed)
    years = np.exp(rng.uniform(0.0, np.log(3650), count)).round() / 365
    rate = rng.uniform(0.0, 0.25, count)
    dividend_yield = np.where(rng.random(count) < 0.3, 0.0, rng.uniform(-0.1, 0.6, count))
    volatility = np.exp(rng.uniform(np.log(0.01), np.log(5.0), count))
    volatility = np.minimum(volatility, 4.0 / np.sqrt(years))
    away = rng.uniform(-3.0, 3.0, count) * volatility * np.sqrt(years)
    drift = (rate - dividend_yield) * years * rng.random(count)
    strike = 100.0 * np.exp(np.clip(drift + away, -3.0, 3.0))
    spot, is_call = np.full(count, 100.0), np.zeros(count, bool)
    return Book(spot, strike, years, rate, dividend_yield, volatility, is_call)


def errors(book: Book, exact: np.ndarray, backend: str | None = None) -> np.ndarray:
    """In spots."""
    values = price(*book, "american", backend=backend)
    assert np.isfinite(values).all()
    return np.abs(values - exact) / book.spot


@pytest.fixture(scope="module")
def valued():
    """A random book and what QuantLib makes of it."""
    book = random_american_book(250, seed=3)
    return book, qdfp_prices(book)


@pytest.mark.parametrize("backend", BACKENDS)
def test_random_books_agree_with_quantlib(valued, backend):
    book, exact = valued
    error = errors(book, exact, backend)
    assert np.quantile(error, 0.5) < 1e-8
    assert np.quantile(error, 0.99) < 5e-6
    assert error.max() < 3e-5


@pytest.mark.slow
def test_large_random_books_agree_with_quantlib():
    book = random_american_book(4000, seed=4)
    error = errors(book, qdfp_prices(book))
    assert np.quantile(error, 0.5) < 1e-9
    assert np.quantile(error, 0.9) < 5e-7
    assert np.quantile(error, 0.99) < 2e-6
    assert error.max() < 5e-5


def test_extreme_books_agree_with_quantlib():
    book = extreme_book(200, seed=5)
    error = errors(book, qdfp_prices(book)) * book.spot / np.maximum(book.spot, book.strike)
    assert np.quantile(error, 0.99) < 1e-5
    assert error.max() < 1e-4


def test_printed_approximations_are_near():
    """Barone-Adesi and Whaley are off by up to 0.037 here, we are not."""
    rows = [
        (spot, 100.0, years, 0.1, 0.1, volatility, is_call, value)
        for (years, volatility), calls, puts in BARONE_ADESI_WHALEY
        for is_call, values in ((True, calls), (False, puts))
        for spot, value in zip((90.0, 100.0, 110.0), values, strict=True)
    ]
    *columns, printed = np.array(rows).T
    book = Book(*columns[:6], columns[6].astype(bool))
    values = price(*book, "american")
    assert np.abs(values - printed).max() < 0.037
    # QuantLib counts whole days, of which a tenth of a year is 36.5.
    half = book.where(book.years == 0.5)._replace(years=np.full(18, 182 / 365))
    assert errors(half, qdfp_prices(half)).max() < 1e-6


@pytest.mark.parametrize("is_call", [False, True])
def test_two_boundaries_under_negative_rates(is_call):
    """Rate and yield below zero, and the yield (of a call: the rate) lower: no engine but a grid.

    QuantLib's QdFp refuses such puts.
    """
    rng = np.random.default_rng(6)
    count = 6
    days = rng.integers(60, 800, count)
    high, gap = -rng.uniform(0.003, 0.03, count), rng.uniform(0.005, 0.05, count)
    rate, dividend_yield = (high - gap, high) if is_call else (high, high - gap)
    volatility = rng.uniform(0.1, 0.5, count)
    away = rng.uniform(-1.0, 1.0, count) * volatility * np.sqrt(days / 365)
    spot = np.full(count, 100.0)
    book = Book(
        spot, spot * np.exp(away), days / 365, rate, dividend_yield, volatility,
        np.full(count, is_call),
    )  # fmt: skip
    values = price(*book, "american")
    exact = [finite_difference_price(row, steps=200) for row in zip(*book, strict=True)]
    np.testing.assert_allclose(values, exact, atol=2e-3, rtol=0)
    # Exercise is worth something here.
    assert (values - price(*book)).max() > 0.2


def test_no_volatility_leaves_the_best_time_to_exercise():
    years, rate, dividend_yield, strike = 2.0, 0.03, 0.08, 100.0
    times = np.linspace(0.0, years, 20_001)
    for spot in (20.0, 37.5, 60.0, 90.0, 99.0, 120.0):
        pays = strike * np.exp(-rate * times) - spot * np.exp(-dividend_yield * times)
        value = price(spot, strike, years, rate, dividend_yield, 0.0, False, "american")
        assert value == pytest.approx(max(pays.max(), 0.0), abs=1e-6)
        nearly = price(spot, strike, years, rate, dividend_yield, 1e-4, False, "american")
        assert nearly == pytest.approx(max(pays.max(), 0.0), abs=2e-3)
