"""Probability of ending above the strike: a textbook's number, scipy, a simulation, bad input."""

import numpy as np
import pytest
from scipy.stats import norm

from tracker_dagster.analytics.assignment import probability_above


def test_the_textbook_example():
    # Hull, 7th ed., example 13.6: S 42, K 40, r 10 %, volatility 20 %, half a year; d2 0.6278.
    forward = 42 * np.exp(0.10 * 0.5)
    assert probability_above(forward, 40, 0.5, 0.20) == pytest.approx(0.7349, abs=5e-5)


def test_scipy_says_the_same_far_out_and_deep_in():
    strikes = np.array([1.0, 20.0, 40.0, 45.0, 80.0, 400.0])
    deviation = 0.3 * 0.25**0.5
    d2 = np.log(40 / strikes) / deviation - deviation / 2
    np.testing.assert_allclose(
        probability_above(40.0, strikes, 0.25, 0.3), norm.cdf(d2), rtol=1e-12, atol=0
    )


def test_a_simulation_ends_above_as_often():
    draws = np.random.default_rng(3).normal(size=400_000)
    deviation = 0.4 * (4 / 365) ** 0.5
    ends = 50 * np.exp(-(deviation**2) / 2 + deviation * draws)
    share = (ends > 51).mean()
    assert probability_above(50, 51, 4 / 365, 0.4) == pytest.approx(
        share, abs=4 * 0.5 / 400_000**0.5
    )


@pytest.mark.parametrize(
    "bad", [(np.nan, 40, 0.5, 0.2), (0, 40, 0.5, 0.2), (42, -1, 0.5, 0.2), (42, 40, 0, 0.2),
            (42, 40, 0.5, 0), (np.inf, 40, 0.5, 0.2)],
)  # fmt: skip
def test_nonsense_has_no_probability(bad):
    assert np.isnan(probability_above(*bad))
