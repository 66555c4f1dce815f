"""American implied volatilities: back to where the price came from, or why not."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tracker_dagster.analytics.pricing import (
    Status,
    greeks,
    implied_volatility,
    implied_volatility_and_greeks,
    price,
)
from tracker_dagster_tests.analytics.pricing.american_books import random_american_book
from tracker_dagster_tests.analytics.pricing.books import BACKENDS

NAN = float("nan")

#: A put on a share without yield, in the money by ten dollars, and what is changed of it.
SOUND = {
    "price": 11.0,
    "spot": 90.0,
    "strike": 100.0,
    "years": 0.5,
    "rate": 0.05,
    "dividend_yield": 0.0,
    "is_call": False,
}
REASONS = [
    ({}, Status.OK),
    ({"price": NAN}, Status.NO_PRICE),
    ({"spot": NAN}, Status.NO_SPOT),
    ({"spot": 0.0}, Status.NO_SPOT),
    ({"strike": NAN}, Status.NO_STRIKE),
    ({"rate": NAN}, Status.NO_RATE),
    ({"dividend_yield": NAN}, Status.NO_DIVIDENDS),
    ({"years": 0.0}, Status.EXPIRED),
    ({"price": -1.0}, Status.BAD_INPUT),
    ({"years": NAN}, Status.BAD_INPUT),
    # Exercise now pays ten: a European put could be worth less.
    ({"price": 10.0}, Status.IMMEDIATE_EXERCISE),
    ({"price": 10.00001}, Status.IMMEDIATE_EXERCISE),
    ({"price": 9.99}, Status.BELOW_INTRINSIC),
    ({"price": 9.99, "rate": 0.0}, Status.BELOW_INTRINSIC),
    ({"price": 10.0, "rate": 0.0}, Status.NO_TIME_VALUE),
    ({"price": 0.0, "spot": 110.0}, Status.NO_TIME_VALUE),
    # Worth the strike: as much as a put can be. A European one is worth less.
    ({"price": 99.0}, Status.OK),
    ({"price": 99.9999}, Status.NO_CONVERGENCE),
    ({"price": 100.0}, Status.ABOVE_MAX),
    ({"price": 120.0}, Status.ABOVE_MAX),
    # A yield above the rate: waiting for the forward beats exercise now.
    ({"price": 10.5, "dividend_yield": 0.3}, Status.BELOW_INTRINSIC),
    # Calls.
    ({"price": 10.0, "spot": 110.0, "is_call": True, "dividend_yield": 0.1},
     Status.IMMEDIATE_EXERCISE),
    ({"price": 10.0, "spot": 110.0, "is_call": True}, Status.BELOW_INTRINSIC),
    ({"price": 110.0, "spot": 110.0, "is_call": True, "dividend_yield": 0.1}, Status.ABOVE_MAX),
]  # fmt: skip


def called(changed: dict[str, float]) -> list[float]:
    return list((SOUND | changed).values())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("changed", "reason"), REASONS)
def test_every_contract_without_a_volatility_says_why(changed, reason, backend):
    implied, sensitivities = implied_volatility_and_greeks(
        *called(changed), "american", backend=backend
    )
    assert Status(int(implied.status)) is reason
    assert np.isnan(implied.volatility) == (reason is not Status.OK)
    for sensitivity in sensitivities:
        assert np.isnan(sensitivity) == (reason is not Status.OK)


@pytest.mark.parametrize("backend", BACKENDS)
def test_volatilities_come_back(backend):
    book = random_american_book(4000 if backend == "numpy" else 30_000, seed=31)
    values = price(*book, "american", backend=backend)
    implied = implied_volatility(values, *book.without_volatility, "american", backend=backend)
    sign = np.where(book.is_call, 1.0, -1.0)
    alive = values > sign * (book.spot - book.strike) + 2e-6 * np.maximum(book.spot, book.strike)
    worth = alive & (values > 1e-9 * book.spot)
    assert worth.mean() > 0.6
    assert (implied.status[worth] == Status.OK).all()
    assert np.abs(implied.volatility - book.volatility)[worth].max() < 1e-8
    # The others are exercised, or next to worthless.
    rest = set(np.unique(implied.status[~worth]).tolist())
    assert rest <= {Status.OK, Status.IMMEDIATE_EXERCISE, Status.NO_TIME_VALUE}
    assert (implied.status != Status.NO_CONVERGENCE).all()


def test_prices_come_back_from_quoted_prices():
    """Quotes know nothing of a model: anything between the bounds has a volatility."""
    rng = np.random.default_rng(32)
    book = random_american_book(20_000, seed=33)
    sign = np.where(book.is_call, 1.0, -1.0)
    least = np.maximum(
        sign * (book.spot - book.strike), price(*book._replace(volatility=0 * book.spot))
    )
    most = np.where(book.is_call, book.spot, book.strike)
    quoted = least + (most - least) * np.exp(rng.uniform(np.log(1e-4), np.log(0.9), 20_000))
    implied = implied_volatility(quoted, *book.without_volatility, "american")
    known = implied.status == Status.OK
    assert known.mean() > 0.95
    again = price(*book._replace(volatility=implied.volatility), "american")
    error = np.abs(again - quoted)[known] / book.strike[known]
    assert np.quantile(error, 0.999) < 1e-10
    assert error.max() < 2e-6


def test_the_fused_call_is_the_two_calls():
    book = random_american_book(5000, seed=34)
    values = price(*book, "american")
    implied, fused = implied_volatility_and_greeks(values, *book.without_volatility, "american")
    alone = greeks(*book._replace(volatility=implied.volatility), "american")
    for ours, theirs in zip(fused, alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_treating_american_puts_as_european_overstates_volatility():
    """The volatility points of bias that ignoring early exercise costs a year out."""
    value = price(100.0, 100.0, 1.0, 0.045, 0.0, 0.25, False, "american")
    naive = implied_volatility(value, 100.0, 100.0, 1.0, 0.045, 0.0, False)
    right = implied_volatility(value, 100.0, 100.0, 1.0, 0.045, 0.0, False, "american")
    assert naive.volatility - 0.25 > 0.01
    assert right.volatility == pytest.approx(0.25, abs=1e-9)


def test_no_failure_is_silent():
    """Numbers from anywhere: a volatility that gives the price back, or a reason."""
    rng = np.random.default_rng(36)

    def mixed(values: list[float]) -> np.ndarray:
        return rng.choice(values, 4000)

    prices = mixed([NAN, -1.0, 0.0, 1e-12, 0.05, 3.0, 9.99, 10.0, 25.0, 99.0, 100.0, 1e6])
    spot = mixed([NAN, 0.0, 1e-9, 50.0, 90.0, 100.0, 110.0, 1e7])
    strike = mixed([NAN, 0.0, 1e-3, 100.0, 1e6])
    years = mixed([NAN, -0.1, 0.0, 1e-6, 1 / 365, 0.5, 10.0, 80.0])
    rate = mixed([NAN, -0.05, 0.0, 1e-9, 0.04, 0.5])
    dividend_yield = mixed([NAN, -0.05, -0.01, 0.0, 0.02, 0.9])
    terms = (spot, strike, years, rate, dividend_yield, rng.random(4000) < 0.5)
    implied, sensitivities = implied_volatility_and_greeks(prices, *terms, "american")
    found = implied.status == Status.OK
    assert 0.02 < found.mean() < 0.5
    np.testing.assert_array_equal(np.isfinite(implied.volatility), found)
    for sensitivity in sensitivities:
        assert np.isfinite(sensitivity[found]).all()
        assert np.isnan(sensitivity[~found]).all()
    again = price(*terms[:5], implied.volatility, terms[5], "american")
    error = np.abs(again - prices)[found] / np.maximum(spot, strike)[found]
    assert error.max() < 1e-5


def test_twins_agree():
    wild = random_american_book(2500, seed=35)
    values = [price(*wild, "american", backend=backend) for backend in BACKENDS]
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=1e-13 * wild.strike.max())
    results = [
        implied_volatility_and_greeks(
            values[0], *wild.without_volatility, "american", backend=backend
        )
        for backend in BACKENDS
    ]
    (compiled, greeks_compiled), (arrays, greeks_arrays) = results
    differ = compiled.status != arrays.status
    assert differ.mean() < 2e-3
    both = (compiled.status == Status.OK) & ~differ
    sure = both & (greeks_compiled.vega > 1e-4 * wild.spot * np.sqrt(wild.years))
    error = np.abs(compiled.volatility - arrays.volatility)
    assert error[sure].max() < 1e-10
    scales = {
        "delta": np.ones(2500),
        "gamma": 1.0 / (wild.spot * wild.volatility * np.sqrt(wild.years)),
        "theta": wild.spot * wild.volatility / np.sqrt(wild.years) / 365,
        "vega": wild.spot * np.sqrt(wild.years),
        "rho": wild.strike * wild.years,
    }
    for name, scale in scales.items():
        gap = np.abs(getattr(greeks_compiled, name) - getattr(greeks_arrays, name))
        # Vega and rho are quotients of small differences.
        limit = 5e-6 if name in ("vega", "rho") else 1e-8
        assert (gap[sure] < limit * scale[sure]).all(), name


def test_numpy_takes_over_where_numba_is_not():
    script = """
import sys
sys.modules["numba"] = None
from tracker_dagster.analytics.pricing import implied_volatility, price
value = price(90, 100, 0.5, 0.05, 0.0, 0.3, False, "american")
implied = implied_volatility(value, 90, 100, 0.5, 0.05, 0.0, False, "american")
raise SystemExit(int(abs(implied.volatility - 0.3) > 1e-9))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0
