"""Slices recovered, outliers survived, arbitrage removed; volatilities at deltas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, differential_evolution
from scipy.stats import norm

from tracker_dagster.analytics.volatility import svi_kernels
from tracker_dagster.analytics.volatility.arbitrage import least_density_factor
from tracker_dagster.analytics.volatility.smile import (
    RAW_POINTS,
    fit_slices,
    volatility,
    volatility_at_delta,
)
from tracker_dagster.analytics.volatility.svi import Slices, total_variance
from tracker_dagster_tests.analytics.volatility.smiles import VOGT, ssvi, ssvi_slices, svi

#: From steep and long-dated to flat and short-dated.
RAW = [
    (0.04, 0.4, -0.4, 0.05, 0.1),
    (0.04, 0.4, -0.4, 0.0, 0.2),
    (0.01, 0.10, -0.7, 0.05, 0.10),
    (0.002, 0.05, -0.3, 0.0, 0.03),
]


def fit_one(k, w, error=None):
    error = 0.02 * w if error is None else error
    return fit_slices(k, w, error, np.array([0, len(k)]))


def parameters(slices: Slices) -> np.ndarray:
    return np.array([float(part[0]) for part in slices])


@pytest.mark.parametrize("truth", RAW)
def test_raw_slices_are_recovered_from_their_own_variance(truth) -> None:
    k = np.linspace(-0.5, 0.5, 21)
    fit = fit_one(k, svi(truth, k))
    assert fit.is_raw[0]
    np.testing.assert_allclose(parameters(fit.stored), truth, rtol=1e-6, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-4, 0.5), st.floats(-0.85, 0.6), st.floats(0.3, 1.3), st.integers(4, 40))
def test_ssvi_slices_are_recovered_from_few_points_or_many(theta, rho, eta, count) -> None:
    phi = eta / np.sqrt(theta * (1 + theta))
    k = np.linspace(-2.0, 1.5, count) * np.sqrt(theta)
    w = ssvi(theta, rho, phi, k)
    fit = fit_one(k, w)
    np.testing.assert_allclose(total_variance(fit.stored, k), w, rtol=1e-6)
    truth = np.array(ssvi_slices(theta, rho, phi))
    np.testing.assert_allclose(parameters(fit.stored), truth, rtol=1e-3, atol=1e-4 * theta)


def noisy(seed):
    """A raw slice seen through quotes two per cent wide: points, their error."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.1, 0.6) ** 2 * rng.uniform(0.05, 1.0)
    root = np.sqrt(level)
    truth = (0.6 * level, rng.uniform(0.2, 0.5) * root, rng.uniform(-0.7, 0.3),
             rng.uniform(-0.3, 0.5) * root, rng.uniform(0.5, 1.5) * root)  # fmt: skip
    k = np.sort(rng.uniform(-2.5, 2.0, 30)) * root
    w = svi(truth, k)
    error = 0.02 * w
    return k, w + error * rng.uniform(-0.5, 0.5, k.size), error


@pytest.mark.parametrize("seed", range(6))
def test_no_search_of_five_parameters_finds_a_better_slice(seed) -> None:
    """Differential evolution over all five, on the same weights, as the slow twin."""
    k, w, error = noisy(seed)
    fit = fit_one(k, w, error)
    cost = float(np.sum(fit.weights * (total_variance(fit.best, k) - w) ** 2))
    root = np.sqrt(w.min())

    def squares(x):
        right, left = x[1] * root, x[2] * root
        slice_ = (x[0] * w.max(), (right + left) / 2, (right - left) / (right + left + 1e-300),
                  x[3], x[4] * root)  # fmt: skip
        return float(np.sum(fit.weights * (svi(slice_, k) - w) ** 2))

    bounds = [(-2, 1), (0, 3), (0, 3), (k[0], k[-1]), (0.1, 8)]
    found = differential_evolution(squares, bounds, seed=1, tol=1e-10, maxiter=600, polish=True)
    # Five parameters are only taken where they pay for themselves: three may leave a little more.
    allowed = 1.02 if fit.is_raw[0] else 1.5
    assert cost <= allowed * found.fun


@pytest.mark.parametrize("place", [0, 3, 12, 24])
@pytest.mark.parametrize("points_off", [-0.08, 0.10])
def test_one_bad_quote_changes_next_to_nothing(place, points_off) -> None:
    years, rng = 30 / 365, np.random.default_rng(7)
    k = np.linspace(-0.2, 0.15, 25)
    true = np.sqrt(ssvi(0.25**2 * years, -0.5, 1 / (0.25 * np.sqrt(years)), k) / years)
    seen = true + 0.002 * rng.uniform(-1, 1, k.size)
    error = 2 * seen * years * 0.004
    clean = fit_one(k, seen**2 * years, error)
    seen[place] += points_off
    spoilt = fit_one(k, seen**2 * years, error)
    assert spoilt.weights[place] == 0
    before, after = (volatility(fit.stored, k, np.array(years)) for fit in (clean, spoilt))
    assert np.abs(after - before).max() < 0.0015
    assert np.abs(after - true).max() < 0.003


def test_vogts_quotes_are_seen_through_and_what_is_stored_has_no_arbitrage() -> None:
    k = np.linspace(-0.6, 1.2, 37)
    w = svi(VOGT, k)
    fit = fit_one(k, w)
    np.testing.assert_allclose(parameters(fit.best), VOGT, rtol=1e-5)
    assert least_density_factor(fit.best)[0] < -0.02
    assert least_density_factor(fit.stored)[0] >= 0
    # One year to expiry, so these are volatilities: little is given up.
    given_up = np.sqrt(total_variance(fit.stored, k)) - np.sqrt(w)
    assert np.abs(given_up).max() < 0.025


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 14))
def test_whatever_is_quoted_what_is_stored_has_no_arbitrage(seed, count) -> None:
    rng = np.random.default_rng(seed)
    k = np.sort(rng.uniform(-0.3, 0.3, count))
    k[0], k[-1] = -0.3, 0.3
    w = 0.02 * np.exp(0.5 * rng.normal(size=count))
    fit = fit_one(k, w)
    assert least_density_factor(fit.stored)[0] >= 0
    assert total_variance(fit.stored, k).min() > 0


def test_the_compiled_judge_looks_where_the_other_does() -> None:
    rng = np.random.default_rng(3)
    slices = np.column_stack(
        [
            rng.uniform(-0.02, 0.05, 400), rng.uniform(0.02, 1.0, 400),
            rng.uniform(-0.9, 0.9, 400), rng.uniform(-0.3, 0.3, 400), rng.uniform(0.01, 0.5, 400),
        ]
    )  # fmt: skip
    least = least_density_factor(Slices.of(slices))
    free = np.array([svi_kernels._is_free(row) for row in slices])
    sure = np.abs(least) > 1e-5
    assert 50 < free.sum() < 350
    np.testing.assert_array_equal(free[sure], (least >= 0)[sure])


def test_noise_is_not_fitted_with_five_parameters_where_three_do() -> None:
    theta = 0.3**2 * 30 / 365
    k = np.linspace(-2, 1.5, 12) * np.sqrt(theta)
    true = ssvi(theta, -0.4, 1 / np.sqrt(theta), k)
    rng = np.random.default_rng(11)
    seen = np.concatenate([true * (1 + 0.02 * rng.uniform(-1, 1, 12)) for _ in range(40)])
    many = np.tile(k, 40)
    fit = fit_slices(many, seen, 0.02 * seen, np.arange(0, 481, 12))
    assert fit.is_raw.sum() <= 8


def test_a_slice_fitted_among_others_is_the_one_fitted_alone() -> None:
    first, second = noisy(1), noisy(2)
    k, w, error = (np.concatenate(part) for part in zip(first, second, strict=True))
    both = fit_slices(k, w, error, np.array([0, 30, 60]))
    alone = fit_slices(*second, np.array([0, 30]))
    for part, one in zip(both.stored, alone.stored, strict=True):
        assert part[1] == one[0]


def test_few_points_get_three_parameters() -> None:
    k = np.linspace(-0.3, 0.3, RAW_POINTS - 1)
    fit = fit_one(k, svi(RAW[0], k))
    assert not fit.is_raw[0]
    assert [part[0] for part in fit.best] == [part[0] for part in fit.stored]


def test_nothing_to_fit_is_fitted_to_nothing() -> None:
    fit = fit_slices(np.empty(0), np.empty(0), np.empty(0), np.array([0]))
    assert fit.stored.a.shape == (0,)


def delta_by_hand(truth, years, delta, is_call, low=-1.5, high=1.5):
    """Strike and volatility of a forward delta, by scipy's root finder and normal distribution."""

    def gap(k):
        root = np.sqrt(svi(truth, k))
        call = norm.cdf(-k / root + root / 2)
        return (call if is_call else call - 1) - delta

    return np.sqrt(svi(truth, brentq(gap, low, high, xtol=1e-14)) / years)


@pytest.mark.parametrize(
    ("delta", "is_call", "d1"),
    [
        (-0.10, False, norm.ppf(0.9)), (-0.25, False, norm.ppf(0.75)),
        (0.25, True, norm.ppf(0.25)), (0.10, True, norm.ppf(0.1)),
    ],
)  # fmt: skip
def test_volatility_at_delta_is_that_of_the_strike_with_that_delta(delta, is_call, d1) -> None:
    truth, years = (0.01, 0.12, -0.4, 0.02, 0.15), 0.5
    slices = Slices.of(np.array([truth]))
    found = volatility_at_delta(slices, np.array([years]), d1, np.array([-1.0]), np.array([1.0]))
    assert found[0] == pytest.approx(delta_by_hand(truth, years, delta, is_call), abs=1e-12)


def test_a_delta_beyond_the_quotes_has_no_volatility() -> None:
    truth, years = (0.01, 0.12, -0.4, 0.02, 0.15), np.array([0.5])
    slices = Slices.of(np.array([truth]))
    d1 = norm.ppf(0.9)
    strike = brentq(lambda k: -k / np.sqrt(svi(truth, k)) + np.sqrt(svi(truth, k)) / 2 - d1, -1, 0)
    just, short = np.array([strike - 1e-9]), np.array([strike + 1e-6])
    highest = np.array([0.5])
    assert np.isfinite(volatility_at_delta(slices, years, d1, just, highest)[0])
    assert np.isnan(volatility_at_delta(slices, years, d1, short, highest)[0])
    assert np.isnan(volatility_at_delta(slices, years, norm.ppf(0.1), just, short)[0])
