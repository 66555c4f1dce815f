"""The Cboe's index on its own example, and on chains whose variance is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.integrate import quad

from tracker_dagster.analytics.volatility.constant_maturity import constant_maturity
from tracker_dagster.analytics.volatility.model_free import strip_bias, strip_variance
from tracker_dagster.analytics.volatility.svi import total_variance
from tracker_dagster_tests.analytics.volatility.smiles import (
    WHITE_PAPER_FORWARDS,
    black_call,
    ssvi_slices,
    white_paper,
)

RATE = 0.0038
FORWARD = 100.0


def middles(quotes: pl.DataFrame, side: str) -> pl.Series:
    """NaN where nobody bids."""
    middle = (pl.col(f"{side}_bid") + pl.col(f"{side}_ask")) / 2
    return quotes.select(
        pl.when(pl.col(f"{side}_bid") > 0).then(middle).otherwise(np.nan)
    ).to_series()


def test_the_white_papers_quotes_give_its_index() -> None:
    """Forwards, strikes used and variances are those that the paper's arithmetic leads to."""
    near, next_ = (
        strip_variance(
            quotes["strike"], middles(quotes, "call"), middles(quotes, "put"), days / 365, RATE
        )
        for (days,), quotes in white_paper().group_by("days", maintain_order=True)
    )
    forwards = (near.forward, next_.forward)
    assert forwards == pytest.approx(tuple(WHITE_PAPER_FORWARDS.values()), abs=1e-7)
    assert (len(near.strikes), len(next_.strikes)) == (136, 110)
    assert (near.variance, next_.variance) == pytest.approx((0.4727672, 0.3668182), abs=1e-7)
    volatilities = [np.sqrt(part.variance) for part in (near, next_)]
    index = constant_maturity([9 / 365, 37 / 365], volatilities, 30)
    assert 100 * index.volatility == pytest.approx(61.218, abs=0.001)


def lognormal(volatility=0.2, years=30 / 365, step=0.25, low=50.0, high=180.0):
    strikes = np.arange(low, high + step, step)
    call = black_call(np.log(strikes / FORWARD), volatility**2 * years, FORWARD)
    return strikes, call, call - FORWARD + strikes


@pytest.mark.parametrize("volatility", [0.1, 0.2, 0.6])
def test_a_lognormal_price_has_the_volatility_it_has(volatility) -> None:
    strikes, call, put = lognormal(volatility)
    found = strip_variance(strikes, call, put, 30 / 365, 0.0)
    assert np.sqrt(found.variance) == pytest.approx(volatility, rel=2e-3)


def test_prices_are_discounted_to_today() -> None:
    strikes, call, put = lognormal()
    discount = np.exp(-0.05 * 30 / 365)
    today = strip_variance(strikes, discount * call, discount * put, 30 / 365, 0.05)
    at_expiry = strip_variance(strikes, call, put, 30 / 365, 0.0)
    assert today.variance == pytest.approx(at_expiry.variance, rel=1e-10)
    assert today.forward == pytest.approx(FORWARD)


def test_two_strikes_in_a_row_without_a_bid_end_the_strip() -> None:
    strikes, call, put = lognormal(step=5.0, low=60, high=150)
    put, call = put.copy(), call.copy()
    put[strikes == 85] = np.nan
    put[(strikes == 75) | (strikes == 70)] = np.nan
    call[strikes == 120] = call[strikes == 125] = np.nan
    used = strip_variance(strikes, call, put, 30 / 365, 0.0, FORWARD).strikes
    assert used.tolist() == [80, 90, 95, 100, 105, 110, 115]


@pytest.mark.parametrize(
    ("silent", "reason"),
    [
        ("everything", "no strike has a call and a put with a bid"),
        ("puts", "options on one side of the forward only"),
        ("middle", "no call and put with a bid below the forward"),
    ],
)
def test_a_strip_that_cannot_be_added_up_says_why(silent, reason) -> None:
    strikes, call, put = lognormal(step=5.0)
    given = FORWARD
    if silent == "everything":
        call, given = np.full_like(call, np.nan), None
    elif silent == "puts":
        put = np.where(strikes < FORWARD, np.nan, put)
    else:
        put = np.where(strikes == FORWARD, np.nan, put)
    found = strip_variance(strikes, call, put, 30 / 365, 0.0, given)
    assert (found.variance, found.reason) == (None, reason)


SMILE = ssvi_slices(0.005, -0.6, 12.0)


def true_variance():
    """Total variance of the log contract (Carr and Madan 1998), by adaptive quadrature."""

    def strip(k):
        call = float(black_call(k, total_variance(SMILE, k)))
        return (call if k > 0 else call - 1 + np.exp(k)) * np.exp(-k)

    return 2 * sum(quad(strip, *span, limit=400)[0] for span in ((-6, 0), (0, 6)))


@pytest.mark.parametrize(
    "strikes",
    [
        FORWARD * np.exp(np.linspace(-0.15, 0.15, 61)),
        FORWARD * np.exp(np.linspace(-0.8, 0.6, 25)),
        np.array([90.0, 100.0, 110.0]),
    ],
)
def test_the_bias_of_strikes_is_what_their_strip_makes_of_the_smile(strikes) -> None:
    """Too few strikes, and strikes that end too soon, on either side of the truth."""
    k = np.log(strikes / FORWARD)
    call = black_call(k, total_variance(SMILE, k), FORWARD)
    put = call - FORWARD + strikes
    strip = strip_variance(strikes, call, put, 1.0, 0.0, FORWARD)
    expected = strip.variance / true_variance() - 1
    assert abs(expected) > 0.01
    assert strip_bias(SMILE, strikes, FORWARD) == pytest.approx(expected, abs=1e-4)


def test_many_strikes_that_reach_far_have_no_bias() -> None:
    strikes = FORWARD * np.exp(np.linspace(-3, 2, 1001))
    assert strip_bias(SMILE, strikes, FORWARD) == pytest.approx(0, abs=1e-3)
