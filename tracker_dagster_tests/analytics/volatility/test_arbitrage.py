"""Densities and calendar spreads against option prices themselves, and against known examples."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from tracker_dagster.analytics.volatility.arbitrage import (
    calendar_gap,
    density,
    density_factor,
    least_density_factor,
)
from tracker_dagster.analytics.volatility.svi import Slices, derivatives, total_variance
from tracker_dagster_tests.analytics.volatility.smiles import VOGT, black_call, ssvi_slices, svi

#: An equity's slice of half a year.
PLAIN = (0.01, 0.12, -0.4, 0.02, 0.15)


def second_derivative_of_calls(parameters, k):
    """Density of ln(S/F) by differentiating Black's price twice, with 40 digits."""
    a, b, rho, m, sigma = map(mpmath.mpf, parameters)

    def call(strike):
        x = mpmath.log(strike)
        w = a + b * (rho * (x - m) + mpmath.sqrt((x - m) ** 2 + sigma**2))
        d1 = -x / mpmath.sqrt(w) + mpmath.sqrt(w) / 2
        return mpmath.ncdf(d1) - strike * mpmath.ncdf(d1 - mpmath.sqrt(w))

    with mpmath.workdps(40):
        strike = mpmath.exp(mpmath.mpf(k))
        return float(mpmath.diff(call, strike, 2, h=mpmath.mpf("1e-8")) * strike)


@pytest.mark.parametrize("parameters", [PLAIN, VOGT])
@pytest.mark.parametrize("k", [-0.6, -0.1, 0.0, 0.25, 0.8, 1.1])
def test_the_density_is_the_second_derivative_of_call_prices(parameters, k) -> None:
    expected = second_derivative_of_calls(parameters, k)
    assert density(Slices.of(parameters), k) == pytest.approx(expected, rel=1e-7, abs=1e-10)


def test_derivatives_are_those_of_total_variance() -> None:
    slices, k, h = Slices.of(PLAIN), np.linspace(-1, 1, 21), 1e-4
    slope, bend = derivatives(slices, k)
    up, middle, down = (total_variance(slices, k + step) for step in (h, 0, -h))
    np.testing.assert_allclose(slope, (up - down) / (2 * h), atol=1e-7)
    np.testing.assert_allclose(bend, (up - 2 * middle + down) / h**2, atol=1e-5)


def test_a_slice_without_arbitrage_is_a_distribution_around_the_forward() -> None:
    slices = Slices.of(PLAIN)
    assert least_density_factor(slices) > 0
    mass = quad(lambda k: float(density(slices, k)), -15, 15, points=[0], limit=400)[0]
    mean = quad(lambda k: float(np.exp(k) * density(slices, k)), -15, 15, points=[0], limit=400)[0]
    assert mass == pytest.approx(1, abs=1e-8)
    assert mean == pytest.approx(1, abs=1e-8)


def test_vogts_slice_has_butterfly_arbitrage() -> None:
    slices = Slices.of(VOGT)
    least = least_density_factor(slices)
    assert least < -0.02
    k = np.linspace(-1.5, 1.5, 30_001)
    assert total_variance(slices, k).min() > 0
    assert least == pytest.approx(density_factor(slices, k).min(), abs=1e-3)
    strikes = np.exp(np.linspace(0.5, 1.2, 141))
    calls = black_call(np.log(strikes), svi(VOGT, np.log(strikes)))
    slopes = np.diff(calls) / np.diff(strikes)
    assert np.diff(slopes).min() < 0


def test_wings_steeper_than_two_are_arbitrage_wherever_it_sets_in() -> None:
    """Lee's moment formula: this density turns negative only where nobody would look."""
    slices = Slices.of((4.0, 2.0001 / 1.9, 0.9, 0.0, 1.0))
    assert density_factor(slices, np.linspace(-100, 100, 2001)).min() > 0
    assert least_density_factor(slices) < 0


def test_variance_that_falls_below_zero_is_arbitrage() -> None:
    assert least_density_factor(Slices.of((-0.05, 0.1, 0.0, 0.0, 0.2))) == -np.inf


@settings(max_examples=200, deadline=None)
@given(st.floats(1e-4, 1.0), st.floats(-0.95, 0.95), st.floats(0.05, 1.0))
def test_ssvi_within_the_bounds_of_theorem_4_2_is_free(theta, rho, share) -> None:
    most = min(4 / (theta * (1 + abs(rho))), 2 / np.sqrt(theta * (1 + abs(rho))))
    slices = ssvi_slices(theta, rho, share * most * 0.999)
    assert least_density_factor(slices) >= 0


def test_many_slices_are_judged_as_each_alone() -> None:
    both = Slices(*np.array([PLAIN, VOGT]).T)
    np.testing.assert_array_equal(
        least_density_factor(both),
        [least_density_factor(Slices.of(PLAIN)), least_density_factor(Slices.of(VOGT))],
    )


def gap(earlier, later, low=-0.5, high=0.5):
    one, two = (Slices.of(np.array([part])) for part in (earlier, later))
    return calendar_gap(one, two, [low], [high])[0]


def test_total_variance_added_is_least_where_the_slices_come_nearest() -> None:
    earlier, later = (0.02, 0.1, 0.0, 0.0, 0.1), (0.03, 0.1, 0.0, 0.0, 0.1)
    assert gap(earlier, later) == pytest.approx(0.01)
    steeper = (0.02, 0.2, 0.0, 0.0, 0.1)
    assert gap(steeper, later) == pytest.approx(svi(later, 0.5) - svi(steeper, 0.5))


def test_where_total_variance_falls_the_later_call_is_the_cheaper_one() -> None:
    """Calls of equal moneyness, each in units of its forward; near the forward all is well."""
    earlier, later = (0.02, 0.2, 0.0, 0.0, 0.1), (0.03, 0.1, 0.0, 0.0, 0.1)
    assert gap(earlier, later) < 0
    assert black_call(0.5, svi(later, 0.5)) < black_call(0.5, svi(earlier, 0.5))
    assert gap(earlier, later, -0.01, 0.01) > -0.001


def test_nothing_is_said_of_expiries_without_a_common_strike() -> None:
    assert np.isnan(gap(PLAIN, PLAIN, 0.2, 0.1))
    assert np.isnan(gap(PLAIN, PLAIN, np.nan, 0.1))
