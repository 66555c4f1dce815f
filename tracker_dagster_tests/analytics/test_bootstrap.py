"""Block bootstrap: intervals that hold the mean as often as they say, dependence included."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import binom, t

from tracker_dagster.analytics.bootstrap import block_length, mean_interval


def coverage(series_of, count: int, trials: int) -> int:  # type: ignore[no-untyped-def]
    held = 0
    for seed in range(trials):
        rng = np.random.default_rng([7, count, seed])
        interval = mean_interval(series_of(rng, count), replicates=999, seed=seed)
        held += interval.low <= 0 <= interval.high
    return held


def normal(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.normal(size=count)


def skewed(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.exponential(size=count) - 1


def dependent(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.asarray(lfilter([1], [1, -0.3], rng.normal(size=count + 50))[50:])


@pytest.mark.parametrize(
    ("series_of", "least"), [(normal, 0.95), (skewed, 0.94), (dependent, 0.92)]
)
@pytest.mark.parametrize("weeks", [26, 104])
def test_intervals_hold_the_mean_as_often_as_they_say(series_of, least, weeks) -> None:  # type: ignore[no-untyped-def]
    # Below this a chance of ``least`` would be seen once in a thousand runs of this test.
    assert coverage(series_of, weeks, 400) >= binom.ppf(0.001, 400, least)


def test_independent_normal_observations_give_nearly_students_interval() -> None:
    series = np.random.default_rng(1).normal(0.3, 2.0, 400)
    found = mean_interval(series, block=1)
    half = t.ppf(0.975, 399) * series.std(ddof=1) / 20
    assert found.mean == pytest.approx(series.mean())
    assert found.high - found.mean == pytest.approx(half, rel=0.05)
    assert found.mean - found.low == pytest.approx(half, rel=0.05)


def test_dependence_makes_the_interval_wider() -> None:
    rng = np.random.default_rng(2)
    series = np.asarray(lfilter([1], [1, -0.6], rng.normal(size=20_000)))
    alone, blocks = (
        mean_interval(series, block=1, replicates=999),
        mean_interval(series, block=60, replicates=999),
    )
    # The variance of an AR(1) mean is (1 + 0.6) / (1 - 0.6) = 4 times that of independent ones.
    assert (blocks.high - blocks.low) / (alone.high - alone.low) == pytest.approx(2.0, abs=0.25)


def test_the_same_seed_gives_the_same_interval_and_the_block_is_told() -> None:
    series = np.random.default_rng(3).normal(size=104)
    assert mean_interval(series) == mean_interval(series)
    assert mean_interval(series).block == block_length(104) == 5
    assert mean_interval(series, seed=1) != mean_interval(series)


def test_no_difference_at_all_is_an_interval_without_width() -> None:
    found = mean_interval(np.zeros(30))
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_one_odd_week_among_zeros_proves_nothing() -> None:
    series = np.zeros(30)
    series[11] = 0.02
    assert not mean_interval(series).excludes_zero


@pytest.mark.parametrize("series", [[1.0, 2.0, 3.0], [], [1.0, np.nan, *([0.0] * 20)]])
def test_too_few_or_unknown_observations_are_refused(series: list[float]) -> None:
    with pytest.raises(ValueError, match=r"fewer than|not finite"):
        mean_interval(np.array(series), block=2)
