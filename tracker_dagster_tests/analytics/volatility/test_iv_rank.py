"""Rank, percentile and z-score against published examples and the textbook's own words."""

from __future__ import annotations

import math
import statistics
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker_dagster.analytics.volatility import iv_rank

NAN = math.nan


@pytest.mark.parametrize(
    ("current", "history", "rank", "percentile"),
    [
        # kysatrading.com on rank and percentile, after OptionSamurai: mid-range, above 3 of 4.
        (15, [10, 11, 12, 20], 0.50, 0.75),
        # The usual definition of IV rank: a year between 50 and 150, now 100.
        (100, [50, 150], 0.50, 0.50),
        # A published list of ten values, now 30: 0, 10, 20, 20 and 15 lie below.
        (30, [0, 10, 20, 60, 20, 15, 50, 30, 45, 100], 0.30, 0.50),
        # A flat year has no range, and nothing lies strictly below.
        (20, [20] * 252, NAN, 0.0),
    ],
)
def test_published_examples(current, history, rank, percentile) -> None:  # type: ignore[no-untyped-def]
    assert iv_rank.iv_rank(current, history, minimum=1) == pytest.approx(rank, nan_ok=True)
    assert iv_rank.iv_percentile(current, history, minimum=1) == pytest.approx(percentile)


def test_a_rank_is_not_invented_from_one_day() -> None:
    """optopsy ranks with ``min_periods=1`` and fills what is missing with 0.5."""
    year = np.full(252, NAN)
    for count, first in ((1, 251), (125, 127)):
        year[first:] = np.linspace(0.2, 0.4, 252 - first)
        assert iv_rank.known(year) == count
        for figure in (iv_rank.iv_rank, iv_rank.iv_percentile, iv_rank.zscore):
            assert np.isnan(figure(0.3, year)), figure
    year[126:] = np.linspace(0.2, 0.4, 126)
    assert iv_rank.iv_rank(0.3, year) == pytest.approx(0.5)
    assert iv_rank.iv_percentile(0.3, year) == 0.5


def test_a_new_high_is_one_and_a_new_low_is_nought() -> None:
    year = np.linspace(0.2, 0.4, 252)
    assert iv_rank.iv_rank(0.9, year) == 1.0
    assert iv_rank.iv_rank(0.1, year) == 0.0
    assert iv_rank.iv_percentile(0.9, year) == 1.0
    assert iv_rank.iv_percentile(0.1, year) == 0.0


@given(
    st.lists(st.one_of(st.none(), st.floats(0.01, 5)), min_size=1, max_size=30),
    st.floats(0.01, 5),
)
def test_agrees_with_the_definitions_one_value_at_a_time(values, current) -> None:  # type: ignore[no-untyped-def]
    history = [NAN if value is None else value for value in values]
    there = [value for value in values if value is not None]
    if not there:
        assert np.isnan(iv_rank.iv_percentile(current, history, minimum=1))
        assert np.isnan(iv_rank.mean(history))
        assert np.isnan(iv_rank.median(history))
        return
    whole = [*there, current]
    if min(there) < max(there):
        rank = (current - min(whole)) / (max(whole) - min(whole))
        assert iv_rank.iv_rank(current, history, minimum=1) == pytest.approx(rank, abs=1e-12)
    below = sum(value < current for value in there) / len(there)
    assert iv_rank.iv_percentile(current, history, minimum=1) == below
    assert iv_rank.median(history) == statistics.median(there)
    assert iv_rank.mean(history) == pytest.approx(statistics.fmean(there))
    if len(there) > 1:
        spread = statistics.stdev(there)
        assert iv_rank.deviation(history) == pytest.approx(spread, abs=1e-12)
        if spread > 1e-6:
            score = (current - statistics.fmean(there)) / spread
            assert iv_rank.zscore(current, history, minimum=1) == pytest.approx(score, abs=1e-6)


def test_many_underlyings_at_once_are_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    years = rng.uniform(0.1, 0.5, (5, 252))
    years[rng.random(years.shape) < 0.3] = NAN
    now = rng.uniform(0.1, 0.5, 5)
    for figure in (iv_rank.iv_rank, iv_rank.iv_percentile, iv_rank.zscore):
        each = [float(figure(value, year)) for value, year in zip(now, years, strict=True)]
        np.testing.assert_array_equal(figure(now, years), each)
    for figure in (iv_rank.mean, iv_rank.median, iv_rank.deviation, iv_rank.lowest):
        np.testing.assert_array_equal(figure(years), [float(figure(year)) for year in years])


def test_a_history_for_another_number_of_values_is_refused() -> None:
    with pytest.raises(ValueError, match="histories"):
        iv_rank.iv_rank([0.2, 0.3], np.ones((3, 252)))


def test_change_is_against_that_very_session() -> None:
    year = [0.20, 0.25, NAN, 0.30, 0.40, 0.50]
    assert iv_rank.change_over(0.30, year, 6) == pytest.approx(0.5)
    assert iv_rank.change_over(0.30, year, 5) == pytest.approx(0.2)
    assert np.isnan(iv_rank.change_over(0.30, year, 4))
    assert np.isnan(iv_rank.change_over(0.30, year, 7))


def test_the_recent_mean_needs_half_of_its_sessions() -> None:
    assert iv_rank.recent_mean([9.0, 1.0, 2.0, 3.0, 4.0, 5.0]) == 3.0
    assert iv_rank.recent_mean([9.0, 1.0, NAN, 3.0, NAN, 5.0]) == 3.0
    assert np.isnan(iv_rank.recent_mean([9.0, 1.0, NAN, NAN, NAN, 5.0]))


@given(st.lists(st.one_of(st.none(), st.floats(0.05, 3)), min_size=1, max_size=60), st.integers())
def test_ramps_agree_with_one_session_at_a_time(values, seed) -> None:  # type: ignore[no-untyped-def]
    gaps = np.random.default_rng(abs(seed)).integers(1, 5, len(values))
    days = [date(2025, 1, 1) + timedelta(days=int(n)) for n in np.cumsum(gaps)]
    spans = iv_rank.sessions_in(np.array(days, "datetime64[D]"))
    found = iv_rank.ramps([NAN if v is None else v for v in values], spans)
    for place, (day, value) in enumerate(zip(days, values, strict=True)):
        window = [v for d, v in zip(days[:place], values, strict=False) if (day - d).days <= 30]
        there = [v for v in window if v is not None]
        if value is None or not there or 2 * len(there) < len(window):
            assert np.isnan(found[place])
        else:
            assert found[place] == pytest.approx(value / statistics.fmean(there) - 1, abs=1e-9)


def named(expression, values):  # type: ignore[no-untyped-def]
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64)})
    return frame.select(y=expression(pl.col("x")))["y"].to_list()


def test_regimes_are_bands_of_the_percentile() -> None:
    values = [0.0, 0.0999, 0.10, 0.2999, 0.30, 0.6999, 0.70, 0.8499, 0.85, 0.9499, 0.95, 1.0, None]
    assert named(iv_rank.regime_label, values) == [
        "EXTREMELY_LOW", "EXTREMELY_LOW", "LOW", "LOW", "NORMAL", "NORMAL", "ELEVATED",
        "ELEVATED", "HIGH", "HIGH", "EXTREMELY_HIGH", "EXTREMELY_HIGH", None,
    ]  # fmt: skip


def test_cuts_hold_for_the_numbers_people_mean() -> None:
    """0.33 / 0.30 - 1 is a hair above a tenth in binary; it is a tenth."""
    change = [float(iv_rank.change(now, 0.30)) for now in (0.33, 0.331, 0.27, 0.269)]
    assert named(iv_rank.trend_label, [*change, None]) == [
        "STABLE", "EXPANDING", "STABLE", "CONTRACTING", None,
    ]  # fmt: skip
    change = [float(iv_rank.change(now, 0.30)) for now in (0.24, 0.241, 0.39, 0.389)]
    assert named(iv_rank.is_crush, [*change, None]) == [True, False, False, False, None]
    assert named(iv_rank.is_spike, [*change, None]) == [False, False, True, False, None]
    assert named(iv_rank.is_ramp, [*change, 0.3001, None]) == [*[False] * 4, True, None]
