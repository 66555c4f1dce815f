"""Wilson's interval against published figures, its defining equation, and what it may not do."""

from __future__ import annotations

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from tracker_dagster.analytics.proportions import wilson_interval


@pytest.mark.feature(31)
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("successes", "trials"), [(1, 2), (3, 4), (7, 9), (40, 41)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_its_ends_are_the_shares_that_a_score_test_just_rejects(
    successes: int, trials: int, confidence: float
) -> None:
    z, share = norm.ppf((1 + confidence) / 2), successes / trials

    def score(p: float) -> float:
        return (share - p) ** 2 - z**2 * p * (1 - p) / trials

    low, high = wilson_interval(successes, trials, confidence)
    assert low == pytest.approx(brentq(score, 0, share), abs=1e-9)
    assert high == pytest.approx(brentq(score, share, 1), abs=1e-9)


def test_nothing_tried_tells_nothing_and_impossible_counts_are_refused() -> None:
    assert wilson_interval(0, 0) is None
    assert wilson_interval(5, 5)[1] == 1.0
    assert wilson_interval(5, 5)[0] > 0.5
    for successes, trials in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="cannot be"):
            wilson_interval(successes, trials)
    with pytest.raises(ValueError, match="not between"):
        wilson_interval(1, 2, 1.0)
