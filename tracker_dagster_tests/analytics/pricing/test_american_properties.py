"""What holds for every American option, whatever the engine."""

from __future__ import annotations

import numpy as np
import pytest

from tracker_dagster.analytics.pricing import greeks, implied_volatility, price
from tracker_dagster_tests.analytics.pricing.american_books import random_american_book
from tracker_dagster_tests.analytics.pricing.books import Book


@pytest.fixture(scope="module")
def book():
    return random_american_book(20_000, seed=11)


def american(book: Book) -> np.ndarray:
    return price(*book, "american")


def test_early_exercise_is_never_worth_less_than_nothing(book):
    values = american(book)
    sign = np.where(book.is_call, 1.0, -1.0)
    assert (values >= price(*book)).all()
    assert (values >= sign * (book.spot - book.strike)).all()
    assert (values <= np.where(book.is_call, book.spot, book.strike) * 1.03).all()


def test_calls_without_yield_are_european_to_the_bit(book):
    calls = book._replace(
        is_call=np.ones_like(book.is_call),
        dividend_yield=np.zeros_like(book.spot),
        rate=np.abs(book.rate),
    )
    np.testing.assert_array_equal(american(calls), price(*calls))
    for ours, theirs in zip(greeks(*calls, "american"), greeks(*calls), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    values, terms = price(*calls), calls.without_volatility
    ours, theirs = (
        implied_volatility(values, *terms, "american"),
        implied_volatility(values, *terms),
    )
    np.testing.assert_array_equal(ours.volatility, theirs.volatility)
    np.testing.assert_array_equal(ours.status, theirs.status)


def test_puts_without_interest_are_european(book):
    puts = book._replace(is_call=np.zeros_like(book.is_call), rate=-np.abs(book.rate))
    np.testing.assert_array_equal(american(puts), price(*puts))


def test_a_call_is_a_put_with_its_legs_exchanged(book):
    """P. Carr, R. Jarrow and R. Myneni; McDonald and Schroder."""
    exchanged = Book(
        book.strike, book.spot, book.years, book.dividend_yield, book.rate, book.volatility,
        ~book.is_call,
    )  # fmt: skip
    np.testing.assert_allclose(american(exchanged), american(book), rtol=1e-12, atol=1e-12)


def test_values_scale_with_spot_and_strike(book):
    scaled = book._replace(spot=book.spot * 250.0, strike=book.strike * 250.0)
    np.testing.assert_allclose(american(scaled), 250.0 * american(book), rtol=1e-11, atol=1e-9)


def test_only_products_with_time_count(book):
    slowed = book._replace(
        years=book.years * 4.0,
        rate=book.rate / 4.0,
        dividend_yield=book.dividend_yield / 4.0,
        volatility=book.volatility / 2.0,
    )
    np.testing.assert_allclose(american(slowed), american(book), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("changed", "factor"), [("volatility", 1.02), ("years", 1.02), ("strike", 1.005)]
)
def test_values_rise(book, changed, factor):
    """With volatility and time all of them, with the strike puts, and calls fall."""
    before = american(book)
    after = american(book._replace(**{changed: getattr(book, changed) * factor}))
    rise = after - before
    if changed == "strike":
        rise = np.where(book.is_call, -rise, rise)
        # A put gains no more than the strike is worth at most, a call loses no more.
        worth = book.strike * (factor - 1.0) * np.exp(np.maximum(-book.rate, 0.0) * book.years)
        assert (rise <= worth + 2e-6 * book.strike).all()
    assert (rise >= -2e-6 * book.strike).all()


def test_values_are_convex_in_the_strike(book):
    low, high = (book._replace(strike=book.strike * factor) for factor in (0.99, 1.01))
    middle = american(book)
    assert (american(low) + american(high) - 2.0 * middle >= -4e-6 * book.strike).all()


@pytest.mark.parametrize(
    ("years", "rate", "dividend_yield", "volatility"),
    [
        (0.05, 0.05, 0.0, 0.3),
        (1.0, 0.05, 0.02, 0.2),
        (2.0, 0.03, 0.06, 0.25),
        (0.5, 0.08, 0.0, 0.08),
        (0.02, 0.01, 0.0, 0.9),
    ],
)
def test_nothing_jumps_but_gamma_where_exercise_begins(years, rate, dividend_yield, volatility):
    """A fine walk through the boundary."""
    spot = np.linspace(40.0, 100.0, 60_001)
    terms = (spot, 100.0, years, rate, dividend_yield, volatility, False)
    values, sensitivities = price(*terms, "american"), greeks(*terms, "american")
    exercised = sensitivities.delta == -1.0
    edge = np.flatnonzero(exercised)[-1]
    assert exercised[: edge + 1].all()
    np.testing.assert_allclose(values[exercised], 100.0 - spot[exercised], atol=1e-12)
    for name in ("gamma", "theta", "vega", "rho"):
        assert (getattr(sensitivities, name)[exercised] == 0.0).all()
    first = edge + 1
    assert 0.0 <= values[first] - (100.0 - spot[first]) < 1e-4
    assert sensitivities.delta[first] == pytest.approx(-1.0, abs=2e-3)
    assert sensitivities.theta[first] == pytest.approx(0.0, abs=5e-4)
    # What the Black-Scholes equation asks for next to an exercised put.
    gamma = 2.0 * (rate * 100.0 - dividend_yield * spot[first]) / (volatility * spot[first]) ** 2
    assert sensitivities.gamma[first] == pytest.approx(gamma, rel=0.06)
    # The value is the integral of its delta, and delta that of gamma.
    step = spot[1] - spot[0]
    for whole, slope in (
        (values, sensitivities.delta),
        (sensitivities.delta, sensitivities.gamma),
    ):
        rise = np.diff(whole[first:])
        np.testing.assert_allclose(
            rise, 0.5 * step * (slope[first + 1 :] + slope[first:-1]), atol=2e-9
        )


def test_scalars_lists_and_nothing():
    value = price(100.0, 110.0, 1.0, 0.05, 0.02, 0.3, False, "american")
    assert value.shape == ()
    assert price([], 100.0, 1.0, 0.05, 0.0, 0.3, False, "american").shape == (0,)
    table = price(
        np.full((3, 1), 100.0), [90, 100, 110, 120], 1, 0.05, 0.02, 0.3, False, "american"
    )
    assert table.shape == (3, 4)
    assert table[1, 2] == value
    for sensitivity in greeks(np.full((3, 1), 100.0), [90, 100], 1, 0.05, 0, 0.3, True, "american"):
        assert sensitivity.shape == (3, 2)


def test_a_row_does_not_depend_on_its_neighbours(book):
    """Contracts are computed sixteen abreast: order and company must not show."""
    some = book.where(np.arange(0, 20_000, 7))
    order = np.random.default_rng(1).permutation(len(some.spot))
    values = american(some)
    np.testing.assert_allclose(american(some.where(order)), values[order], rtol=1e-13)
    alone = np.array([float(price(*row, "american")) for row in zip(*some, strict=True)][:300])
    np.testing.assert_allclose(alone, values[:300], rtol=1e-13)


def test_missing_numbers_give_nan():
    nan = float("nan")
    spot = np.array([nan, 100.0, 100.0, 100.0, 100.0, -1.0, 100.0])
    strike = np.array([100.0, nan, 100.0, 100.0, 100.0, 100.0, 100.0])
    rate = np.array([0.05, 0.05, nan, 0.05, 0.05, 0.05, 0.05])
    dividend_yield = np.array([0.0, 0.0, 0.0, nan, 0.0, 0.0, 0.0])
    volatility = np.array([0.3, 0.3, 0.3, 0.3, nan, 0.3, 0.3])
    values = price(spot, strike, 1.0, rate, dividend_yield, volatility, False, "american")
    assert np.isnan(values).tolist() == [True] * 6 + [False]
    for sensitivity in greeks(
        spot, strike, 1.0, rate, dividend_yield, volatility, False, "american"
    ):
        assert np.isnan(sensitivity).tolist() == [True] * 6 + [False]


def test_at_expiry_it_is_what_exercise_pays():
    assert price(90.0, 100.0, 0.0, 0.05, 0.0, 0.3, False, "american") == 10.0
    assert price(90.0, 100.0, 0.0, 0.05, 0.0, 0.3, True, "american") == 0.0
