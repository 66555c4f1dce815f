"""Volatility at fixed terms, computed by hand; never beyond the expiries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker_dagster.analytics.volatility.constant_maturity import constant_maturity, term_label


def at(days, terms, volatilities):
    return constant_maturity([term / 365 for term in terms], volatilities, days)


def test_total_variance_is_linear_between_two_expiries() -> None:
    """By hand: 23 days at 20 % and 37 at 25 %: 30 days are halfway between 0.92 and 2.3125."""
    found = at(30, [23, 37], [0.20, 0.25])
    assert found.volatility == pytest.approx(math.sqrt((0.92 + 2.3125) / 2 / 30))
    assert found.volatility == pytest.approx(0.2321099, abs=1e-7)
    assert found.reason is None


def test_the_cboes_own_interpolation_of_its_example() -> None:
    """VIX white paper (2009): 9 and 37 days, variances 0.4727672 and 0.3668180, give 61.22."""
    found = at(30, [9, 37], [math.sqrt(0.4727672), math.sqrt(0.3668180)])
    assert 100 * found.volatility == pytest.approx(61.22, abs=0.005)


def test_only_the_two_expiries_around_the_term_count() -> None:
    near = at(30, [23, 37], [0.20, 0.25])
    assert at(30, [2, 23, 37, 400], [0.9, 0.20, 0.25, 0.1]) == near
    assert at(30, [37, 400, 2, 23], [0.25, 0.1, 0.9, 0.20]) == near
    assert at(30, [2, 23, 30, 37, 400], [0.9, 0.20, math.nan, 0.25, 0.1]) == near


def test_an_expiry_at_the_term_is_its_volatility() -> None:
    assert at(30, [23, 30, 37], [0.2, 0.31, 0.25]).volatility == pytest.approx(0.31)


@pytest.mark.parametrize(
    ("days", "reason"),
    [
        (7, "the first expiry that has one is 9.2 days ahead"),
        (365, "the last expiry that has one is 226.0 days ahead"),
    ],
)
def test_nothing_is_extrapolated(days, reason) -> None:
    assert at(days, [9.2, 37, 226.0], [0.2, 0.2, 0.2]) == (None, reason)


def test_an_expiry_a_few_hours_from_the_term_stands_for_it() -> None:
    """At ten to four on a Friday next Friday's close is seven days and ten minutes away."""
    assert at(7, [7 + 10 / 1440, 14], [0.3, 0.4]).volatility == 0.3
    assert at(365, [30, 364.6], [0.3, 0.4]).volatility == 0.4
    assert at(7, [7.6, 14], [0.3, 0.4]).volatility is None


def test_without_any_expiry_the_reason_says_so() -> None:
    assert at(30, [], []) == (None, "no expiry has one")
    assert at(30, [20, 40], [math.nan, math.nan]) == (None, "no expiry has one")


@given(
    st.floats(0.05, 2.0),
    st.lists(st.floats(1, 700), min_size=2, max_size=8, unique=True),
)
def test_a_level_term_structure_stays_level(level, terms) -> None:
    found = at((min(terms) + max(terms)) / 2, terms, [level] * len(terms))
    assert found.volatility == pytest.approx(level, rel=1e-12)


@pytest.mark.parametrize(
    ("slope", "label"),
    [
        (0.05, "contango"), (-0.05, "backwardation"), (0.015, "flat"), (-0.015, "flat"),
        (0.0, "flat"), (None, None),
    ],
)  # fmt: skip
def test_labels_of_slopes(slope, label) -> None:
    assert term_label(slope) == label
