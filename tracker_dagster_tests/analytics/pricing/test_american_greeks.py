"""American Greeks against differences of QuantLib's most precise values, and each other."""

from __future__ import annotations

import numpy as np
import pytest

from tracker_dagster.analytics.pricing import greeks, price
from tracker_dagster_tests.analytics.pricing.american_books import (
    qdfp_prices,
    random_american_book,
)
from tracker_dagster_tests.analytics.pricing.books import BACKENDS, Book


@pytest.fixture(scope="module")
def book():
    """Contracts worth more than what exercise pays."""
    whole = random_american_book(400, seed=21)
    values, sign = price(*whole, "american"), np.where(whole.is_call, 1.0, -1.0)
    held = values > sign * (whole.spot - whole.strike) + 2e-4 * whole.strike
    return whole.where(np.flatnonzero(held)[:40])


def slope(book: Book, name: str, step: np.ndarray | float) -> np.ndarray:
    up, down = (
        qdfp_prices(book._replace(**{name: getattr(book, name) + shift})) for shift in (step, -step)
    )
    return (up - down) / (2.0 * step)


def assert_near(ours: np.ndarray, theirs: np.ndarray, typical: np.ndarray) -> None:
    """Relative errors, of a thousandth of ``typical`` where a Greek is next to nothing."""
    error = np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1e-3 * typical)
    assert np.quantile(error, 0.5) < 1e-5
    assert np.quantile(error, 0.9) < 5e-4
    assert error.max() < 2e-2


def test_delta_vega_and_rho_are_the_slopes_of_quantlib_values(book):
    ours = greeks(*book, "american")
    deviation = book.volatility * np.sqrt(book.years)
    assert_near(ours.delta, slope(book, "spot", 1e-3 * deviation * book.spot), np.ones(40))
    vega = slope(book, "volatility", 1e-3 * book.volatility)
    assert_near(ours.vega, vega, book.spot * np.sqrt(book.years))
    assert_near(ours.rho, slope(book, "rate", 1e-4), book.strike * book.years)


def test_gamma_is_the_bend_of_quantlib_values(book):
    ours = greeks(*book, "american")
    deviation = book.volatility * np.sqrt(book.years)
    step = 0.02 * deviation * book.spot
    far, near, middle = -1.0 / 12.0, 4.0 / 3.0, -2.5
    bend = middle * qdfp_prices(book)
    for factor, weight in ((-2, far), (-1, near), (1, near), (2, far)):
        bend += weight * qdfp_prices(book._replace(spot=book.spot + factor * step))
    bend /= step * step
    # Next to the boundary the five points straddle it, and gamma jumps there.
    sign = np.where(book.is_call, 1.0, -1.0)
    outer = book._replace(spot=book.spot + sign * 3.0 * step)
    inside = price(*outer, "american") > sign * (outer.spot - outer.strike) + 1e-5 * outer.strike
    assert inside.sum() > 30
    scale = 1.0 / (book.spot * deviation)
    assert_near(ours.gamma[inside], bend[inside], scale[inside])


@pytest.mark.parametrize("backend", BACKENDS)
def test_greeks_are_the_slopes_of_our_own_values(backend):
    whole = random_american_book(3000, seed=22)
    values, sign = price(*whole, "american"), np.where(whole.is_call, 1.0, -1.0)
    exercised = values <= sign * (whole.spot - whole.strike) + 1e-4 * whole.strike
    book = whole.where(~exercised & (whole.years > 0.02))
    ours = greeks(*book, "american", backend=backend)

    def own_slope(name: str, step: np.ndarray | float) -> np.ndarray:
        up, down = (
            price(
                *book._replace(**{name: getattr(book, name) + shift}), "american", backend=backend
            )
            for shift in (step, -step)
        )
        return (up - down) / (2.0 * step)

    deviation = book.volatility * np.sqrt(book.years)
    delta = own_slope("spot", 1e-4 * deviation * book.spot)
    assert np.abs(ours.delta - delta).max() < 1e-7
    vega = own_slope("volatility", 1e-4 * book.volatility)
    assert (np.abs(ours.vega - vega) < 1e-5 * book.spot * np.sqrt(book.years)).all()
    # At a rate of zero the rho of a put has a corner.
    smooth = np.abs(book.rate) > 1e-3
    rho = own_slope("rate", 1e-6)
    assert (np.abs(ours.rho - rho) < 5e-5 * book.strike * book.years)[smooth].all()
    # Theta comes from the Black-Scholes equation, this from the values.
    theta = -own_slope("years", 1e-4 * book.years) / 365
    scale = book.spot * book.volatility / np.sqrt(book.years) / 365
    assert np.quantile(np.abs(ours.theta - theta) / scale, 0.9) < 1e-4
    assert np.abs((ours.theta - theta) / scale).max() < 2e-3


def test_exercised_contracts_move_with_the_spot_alone():
    terms = ([50.0, 200.0], [100.0, 100.0], 1.0, [0.05, 0.01], [0.0, 0.08], 0.2, [False, True])
    ours = greeks(*terms, "american")
    assert ours.delta.tolist() == [-1.0, 1.0]
    for name in ("gamma", "theta", "vega", "rho"):
        assert getattr(ours, name).tolist() == [0.0, 0.0]


def test_no_greeks_without_time_or_volatility():
    for years, volatility in ((0.0, 0.3), (1.0, 0.0)):
        for sensitivity in greeks(90.0, 100.0, years, 0.05, 0.0, volatility, False, "american"):
            assert np.isnan(sensitivity)
