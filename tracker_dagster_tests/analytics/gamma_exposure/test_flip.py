"""The gamma flip against QuantLib on a fine grid, closed forms, and what must not move it."""

from __future__ import annotations

from math import exp, log, sqrt

import numpy as np
import polars as pl
import pytest
import QuantLib as ql  # noqa: N813
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tracker_dagster.analytics.gamma_exposure import (
    chain_book,
    gamma_exposure,
    gamma_flip,
    gamma_profile,
    net_gamma,
)
from tracker_dagster_tests.analytics.gamma_exposure.chains import DAY, contracts, random_chain


def twin(chain: pl.DataFrame, spot: float) -> float:
    """Net gamma at ``spot`` in dollars per 1 %, one QuantLib calculator a contract."""
    total = 0.0
    for row in chain.iter_rows(named=True):
        net = spot - row["dividends_value"]
        forward = row["forward"] * net / (row["spot"] - row["dividends_value"])
        kind = ql.Option.Call if row["right"] == "C" else ql.Option.Put
        gamma = ql.BlackCalculator(
            ql.PlainVanillaPayoff(kind, row["strike"]),
            forward,
            row["implied_volatility"] * sqrt(row["years"]),
            exp(-row["rate"] * row["years"]),
        ).gamma(net)
        sign = 1 if row["right"] == "C" else -1
        total += sign * gamma * row["open_interest"] * row["shares_per_contract"]
    return total * spot**2 * 0.01


def with_dividends(chain: pl.DataFrame) -> pl.DataFrame:
    """The chain as if three dividends were due, with the forwards that belong to it."""
    value = pl.col("spot") * 0.004 * (pl.col("years") * 4).floor().clip(0, 3)
    grown = ((pl.col("rate") - 0.005) * pl.col("years")).exp()
    return chain.with_columns(dividends_value=value).with_columns(
        forward=(pl.col("spot") - value) * grown
    )


def moved(chain: pl.DataFrame, spot: float) -> pl.DataFrame:
    """The chain a moment later, with the underlying at ``spot`` and volatilities as they were."""
    paid = pl.col("dividends_value")
    return chain.with_columns(
        forward=pl.col("forward") * (spot - paid) / (pl.col("spot") - paid), spot=pl.lit(spot)
    )


@pytest.mark.parametrize("seed", range(3))
def test_repricing_agrees_with_quantlib(seed: int) -> None:
    chain = with_dividends(random_chain(seed, 50))
    spot = chain["spot"][0]
    prices = spot * np.linspace(0.7, 1.4, 15)
    ours = net_gamma(chain_book(chain), prices)
    theirs = np.array([twin(chain, price) for price in prices])
    assert np.abs(ours - theirs).max() <= 1e-10 * np.abs(theirs).max()


@pytest.mark.parametrize("seed", range(8))
def test_the_flip_is_the_nearest_sign_change_of_a_fine_grid(seed: int) -> None:
    chain = with_dividends(random_chain(seed, 40))
    spot = chain["spot"][0]
    grid = spot * np.exp(np.linspace(-0.149, 0.149, 2001))
    values = np.array([twin(chain, price) for price in grid])
    changes = np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))
    flip = gamma_flip(chain_book(chain))
    if not changes.size:
        # A flip may lie beyond, where volatilities are high; none is within.
        assert flip.level is None or abs(log(flip.level / spot)) > 0.149
        return
    middle = np.sqrt(grid[changes] * grid[changes + 1])
    nearest = changes[np.argmin(np.abs(np.log(middle / spot)))]
    assert flip.level is not None
    assert grid[nearest] <= flip.level <= grid[nearest + 1]
    scale = np.abs(values).max()
    assert abs(twin(chain, flip.level)) < 1e-9 * scale


def test_random_chains_have_flips() -> None:
    # Else the tests above and below would pass without looking at any.
    found = [gamma_flip(chain_book(random_chain(seed, 40))).level for seed in range(20)]
    assert sum(level is not None for level in found) >= 12


def test_two_contracts_flip_where_logarithms_say() -> None:
    # w1 phi(d1) = w2 phi(d2) with the same s is linear in the log of the price.
    s, calls, puts, upper, lower = 0.3 * sqrt(16 / 365), 40, 70, 104.0, 97.0
    chain = contracts(
        [
            {"right": "C", "strike": upper, "open_interest": calls},
            {"right": "P", "strike": lower, "open_interest": puts},
        ],
        rate=0.0,
    )
    middle = (log(upper) + log(lower)) / 2
    expected = exp(middle + s * s * (log(puts / calls) / log(upper / lower) - 0.5))
    assert gamma_flip(chain_book(chain)).level == pytest.approx(expected, rel=1e-12)


def test_the_rate_moves_the_flip_and_time_is_held() -> None:
    legs = [
        {"right": "C", "strike": 104.0, "open_interest": 40},
        {"right": "P", "strike": 97.0, "open_interest": 70},
    ]
    without, with_rate = (
        gamma_flip(chain_book(contracts(legs, rate=rate, years=0.1))).level for rate in (0.0, 0.05)
    )
    assert with_rate == pytest.approx(without * exp(-0.05 * 0.1), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1e-4, 1e-4))
def test_a_small_move_of_the_spot_does_not_move_the_flip(seed: int, move: float) -> None:
    chain = with_dividends(random_chain(seed, 40))
    spot = chain["spot"][0]
    before = gamma_flip(chain_book(chain)).level
    after = gamma_flip(chain_book(moved(chain, spot * (1 + move)))).level
    assume(before is not None and after is not None)
    if after != pytest.approx(before, rel=1e-9):
        # Another sign change became the nearest: then both were as near as each other.
        distances = [abs(log(level / spot)) for level in (before, after)]
        assert distances[0] == pytest.approx(distances[1], abs=3e-4)


def test_a_small_change_of_everything_moves_the_flip_little() -> None:
    # Calls above, puts below: the sign changes once, between them, as in an index.
    strikes = np.arange(420, 581, 5.0)
    chain = contracts(
        (
            {
                "right": right,
                "strike": strike,
                "years": years,
                "expiry": DAY.replace(month=6 + round(years * 12)),
                "open_interest": int(1000 * exp(-(((strike / 500 - centre) / 0.06) ** 2))),
                "implied_volatility": 0.18 - 0.3 * log(strike / 500),
            }
            for right, centre in (("C", 1.03), ("P", 0.97))
            for years in (0.05, 0.25)
            for strike in strikes
        ),
        spot=500.0,
        root="SPY",
    )
    level = gamma_flip(chain_book(chain)).level
    assert level is not None
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = 1 + 0.002 * rng.normal(size=chain.height)
        other = moved(chain, 500 * (1 + 0.0003 * rng.normal())).with_columns(
            pl.col("implied_volatility") * pl.Series(noise)
        )
        assert gamma_flip(chain_book(other)).level == pytest.approx(level, rel=1e-3)


def test_the_flip_scales_with_the_price_of_everything() -> None:
    chain = random_chain(3, 60)
    scaled = chain.with_columns(pl.col("spot", "strike", "forward") * 10)
    level = gamma_flip(chain_book(chain)).level
    assert level is not None
    assert gamma_flip(chain_book(scaled)).level == pytest.approx(10 * level, rel=1e-10)


@pytest.mark.parametrize("shift", range(0, 40, 7))
def test_minutes_before_expiry_flips_between_strikes_are_found(shift: int) -> None:
    # Ten minutes left: each strike is a spike of about 0.05 % of the price, and the book is long
    # and short in turn, within one step of an ordinary grid.
    strikes = [6000.0 + shift + 5 * n for n in range(9)]
    chain = contracts(
        [
            {"right": "CP"[n % 2], "strike": strike, "open_interest": 500}
            for n, strike in enumerate(strikes)
        ],
        years=10 / 525_600,
        spot=strikes[4] + 1,
        implied_volatility=0.12,
        rate=0.0,
        root="SPXW",
        expiry=DAY,
    )
    for spot, first in ((strikes[4] + 1, 4), (strikes[2] - 1, 1), (strikes[6] + 1, 6)):
        level = gamma_flip(chain_book(moved(chain, spot))).level
        assert level is not None
        # Equal spikes cancel half-way between their strikes, but for the drift of s^2 / 2.
        middle = sqrt(strikes[first] * strikes[first + 1])
        assert level == pytest.approx(middle, abs=0.01)
        assert abs(twin(chain, level)) < 1e-6 * abs(twin(chain, strikes[first]))


@pytest.mark.parametrize(("right", "sign"), [("C", "positive"), ("P", "negative")])
def test_calls_or_puts_alone_never_flip(right: str, sign: str) -> None:
    chain = random_chain(6, 80).with_columns(right=pl.lit(right)).unique("strike")
    profile = gamma_profile(chain_book(chain))["net_gamma_naive_usd_per_1pct"]
    assert ((profile > 0) if right == "C" else (profile < 0)).all()
    level, reason = gamma_flip(chain_book(chain))
    assert level is None
    assert reason is not None
    assert reason.startswith(f"no sign change: {sign} from -")


def test_calls_and_puts_that_cancel_have_no_flip() -> None:
    chain = random_chain(6, 80).filter(pl.col("right") == "C")
    both = pl.concat([chain, chain.with_columns(right=pl.lit("P"), symbol="symbol" + pl.lit("p"))])
    assert gamma_flip(chain_book(both)) == (None, "calls and puts cancel at every price")


def test_what_cannot_be_repriced_is_left_out() -> None:
    legs = [
        {"right": "C", "strike": 104.0, "open_interest": 40},
        {"right": "P", "strike": 97.0, "open_interest": 70},
    ]
    lacking = [{"right": "P", "strike": 99.0, "open_interest": 900, "forward": None}]
    assert gamma_flip(chain_book(contracts(legs + lacking))) == gamma_flip(
        chain_book(contracts(legs))
    )
    assert gamma_flip(chain_book(contracts(lacking))) == (None, "no contract can be repriced")
    assert gamma_profile(chain_book(contracts(lacking))).is_empty()


def test_the_table_has_the_flip_and_the_gamma_repriced() -> None:
    chain = random_chain(13, 60)
    (row,) = gamma_exposure(chain).to_dicts()
    spot = chain["spot"][0]
    # These contracts are European: repricing gives the gamma they came with.
    assert row["repriced_gamma_naive_usd_per_1pct"] == pytest.approx(
        row["net_gamma_naive_usd_per_1pct"], rel=1e-9
    )
    assert row["repriced_gamma_naive_usd_per_1pct"] == pytest.approx(twin(chain, spot), rel=1e-9)
    assert row["gamma_flip"] == gamma_flip(chain_book(chain)).level
    assert row["flip_distance"] == pytest.approx(row["gamma_flip"] / spot - 1)
    assert row["flip_reason"] is None


def test_a_wild_stock_is_searched_further() -> None:
    legs = [
        {"right": "C", "strike": 150.0, "open_interest": 400},
        {"right": "P", "strike": 100.0, "open_interest": 10},
        {"right": "P", "strike": 95.0, "open_interest": 600},
    ]
    calm, wild = (
        gamma_flip(chain_book(contracts(legs, implied_volatility=volatility, years=30 / 365)))
        for volatility in (0.15, 1.0)
    )
    assert calm.level is None
    assert calm.reason is not None
    assert "-14% to +16%" in calm.reason
    assert wild.level is not None
    assert wild.level > 116
