"""European values, Greeks and volatilities against QuantLib and seventy-digit arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

from tracker_dagster.analytics.pricing import (
    Status,
    greeks,
    implied_volatility,
    implied_volatility_and_greeks,
    price,
)
from tracker_dagster_tests.analytics.pricing.books import BACKENDS, Book, exact, random_book

GREEKS = ("delta", "gamma", "theta", "vega", "rho")


@pytest.fixture(scope="module")
def extremes():
    """Up to 37 deviations from the forward, prices down to 1e-300, and what is exact."""
    book = random_book(1500, 37.0)
    # As many near the money, where volatility is most of the price.
    near = random_book(1500, 3.0, seed=8)
    book = Book(*(np.concatenate(columns) for columns in zip(book, near, strict=True)))
    values = exact(book)
    rows = values.price > 1e-300
    return book.where(rows), type(values)(*(column[rows] for column in values))


@pytest.mark.parametrize("backend", BACKENDS)
def test_prices_keep_their_digits_however_small(extremes, backend):
    book, true = extremes
    ours = price(*book, backend=backend)
    # ln(S/K) is known to 1e-16, and 37 deviations out the price moves a thousand times as much.
    np.testing.assert_allclose(ours, true.price, rtol=2e-11)
    assert true.price.min() < 1e-250


@pytest.mark.parametrize("backend", BACKENDS)
def test_greeks_keep_their_digits_however_small(extremes, backend):
    book, true = extremes
    ours = greeks(*book, backend=backend)
    for name in GREEKS:
        found, expected = getattr(ours, name), getattr(true, name)
        # The parts of theta may cancel.
        scale = true.theta_parts if name == "theta" else np.abs(expected)
        assert np.max(np.abs(found - expected) / np.maximum(scale, 1e-290)) < 1e-10, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_volatilities_reproduce_prices_wherever_there_is_one(extremes, backend):
    book, true = extremes
    implied = implied_volatility(true.price, *book.without_volatility, backend=backend)
    solved = implied.status == Status.OK
    assert solved.mean() > 0.6
    assert set(implied.status[~solved]) <= {Status.NO_TIME_VALUE, Status.ABOVE_MAX}
    found = book._replace(volatility=implied.volatility)
    errors = np.abs(price(*found, backend=backend) - true.price)[solved] / book.spot[solved]
    assert errors.max() <= 1e-10
    asset, cash = book.legs
    out_of_the_money = book.is_call == (asset <= cash)
    # Out of the money every price has a volatility, and all of its digits, unless it is so large
    # that the price hardly depends on it.
    assert solved[out_of_the_money].all()
    rows = out_of_the_money & (book.volatility * np.sqrt(book.years) < 4.0)
    np.testing.assert_allclose(implied.volatility[rows], book.volatility[rows], rtol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_time_value_only_where_rounding_hides_it(extremes, backend):
    book, true = extremes
    status = implied_volatility(true.price, *book.without_volatility, backend=backend).status
    asset, cash = book.legs
    lower = np.maximum(np.where(book.is_call, asset - cash, cash - asset), 0.0)
    hidden = (true.price - lower) / np.maximum(asset, cash) < 3e-15
    assert not np.any((status == Status.NO_TIME_VALUE) & ~hidden)
    assert not np.any((status == Status.OK) & (true.price <= lower))


@pytest.mark.parametrize("backend", BACKENDS)
def test_quantlib(backend):
    book = random_book(4000, 4.0, seed=3)
    # Beyond, QuantLib takes small chances from one, and its own digits go.
    book = book.where(book.volatility * np.sqrt(book.years) < 3.0)
    rows = []
    for spot, strike, years, rate, dividend_yield, volatility, is_call in zip(*book, strict=True):
        kind = ql.Option.Call if is_call else ql.Option.Put
        forward = spot * np.exp((rate - dividend_yield) * years)
        black = ql.BlackCalculator(
            ql.PlainVanillaPayoff(kind, strike),
            forward,
            volatility * np.sqrt(years),
            np.exp(-rate * years),
        )
        theirs = (black.delta(spot), black.gamma(spot), black.theta(spot, years) / 365)
        rows.append((black.value(), *theirs, black.vega(years), black.rho(years)))
    value, *expected = np.array(rows).T
    ours = greeks(*book, backend=backend)
    delta, _, _, vega, rho = expected
    parts = [
        vega * book.volatility / (2 * book.years),
        book.dividend_yield * delta * book.spot,
        book.rate * rho / book.years,
    ]
    scales = {name: np.abs(theirs) for name, theirs in zip(GREEKS, expected, strict=True)}
    # The parts of theta may cancel.
    scales["theta"] = np.sum(np.abs(parts), axis=0) / 365
    for name, theirs in zip(GREEKS, expected, strict=True):
        assert np.max(np.abs(getattr(ours, name) - theirs) / scales[name]) < 1e-8, name
    errors = np.abs(price(*book, backend=backend) - value)
    assert np.max(errors / (book.spot + book.strike)) < 1e-14


def test_quantlib_solver_finds_the_same_volatility():
    book = random_book(500, 3.0, seed=5)
    values = price(*book)
    implied = implied_volatility(values, *book.without_volatility)
    compared = 0
    for row, (value, ours) in enumerate(zip(values, implied.volatility, strict=True)):
        discount = np.exp(-book.rate[row] * book.years[row])
        forward = book.spot[row] * np.exp(
            (book.rate[row] - book.dividend_yield[row]) * book.years[row]
        )
        asset, cash = forward * discount, book.strike[row] * discount
        if book.is_call[row] != (asset <= cash) or value < 1e-6 * asset:
            continue
        kind = ql.Option.Call if book.is_call[row] else ql.Option.Put
        theirs = ql.blackFormulaImpliedStdDev(
            kind, book.strike[row], forward, value, discount, 0.0, ours, 1e-14, 1000
        )
        assert theirs / np.sqrt(book.years[row]) == pytest.approx(ours, rel=1e-7)
        compared += 1
    assert compared > 150


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("smallest", [1e-100, 1e-200, 1e-300, 5e-324])
def test_prices_that_are_hardly_numbers(smallest, backend):
    strikes = np.array([110.0, 200.0, 1e4])
    implied = implied_volatility(smallest, 100.0, strikes, 1.0, 0.02, 0.0, True, backend=backend)
    assert (implied.status == Status.OK).all()
    again = exact(
        Book(
            *(np.full(3, number) for number in (100.0,)),
            strikes,
            *(np.full(3, number) for number in (1.0, 0.02, 0.0)),
            implied.volatility,
            np.full(3, True),
        )
    ).price
    np.testing.assert_allclose(np.log(again), np.log(smallest), rtol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "terms",
    [
        (100.0, 100.0, 1 / 8760, 0.05, 0.0),
        (100.0, 100.0001, 1 / (365 * 1440), -0.01, 0.0),
        (100.0, 90.0, 0.5, -0.02, 0.0),
        (100.0, 110.0, 2.0, 0.01, 0.09),
        (0.01, 0.01, 10.0, 0.0, 0.0),
        (1e5, 1e5, 10.0, 0.05, 0.05),
    ],
    ids=["one hour", "one minute", "rate below zero", "yield over rate", "a cent", "hundred grand"],
)
def test_both_rights_return_the_volatility_that_made_the_price(terms, backend):
    for volatility in (0.01, 0.2, 1.0, 5.0):
        for is_call in (True, False):
            value = price(*terms, volatility, is_call, backend=backend)
            implied, sensitivities = implied_volatility_and_greeks(
                value, *terms, is_call, backend=backend
            )
            if implied.status == Status.OK:
                again = price(*terms, implied.volatility, is_call, backend=backend)
                assert again == pytest.approx(value, abs=1e-13 * terms[0])
                assert np.isfinite(sensitivities).all()
            else:
                assert implied.status in (Status.NO_TIME_VALUE, Status.ABOVE_MAX)
                assert np.isnan(sensitivities).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_solver_converges_in_every_corner(backend):
    """Strikes up to a factor of 1e260 from the spot; values from 1e-290 to all but everything."""
    rng = np.random.default_rng(12)
    count = 30_000
    gap = np.concatenate(
        [10 ** rng.uniform(-14, 1.5, count), np.zeros(count), rng.uniform(20, 600, count)]
    )
    share = np.concatenate(
        [
            10 ** rng.uniform(-290, 0, count),
            rng.uniform(0, 1, count),
            1 - 10 ** rng.uniform(-14, 0, count),
        ]
    )
    share = rng.permutation(share)
    strike = np.exp(gap)
    implied = implied_volatility(share, 1.0, strike, 1.0, 0.0, 0.0, True, backend=backend)
    assert (implied.status == Status.OK).all()
    again = price(1.0, strike, 1.0, 0.0, 0.0, implied.volatility, True, backend=backend)
    lower = share < 0.5
    np.testing.assert_allclose(again[lower], share[lower], rtol=1e-10)
    np.testing.assert_allclose(again[~lower], share[~lower], rtol=1e-14)
