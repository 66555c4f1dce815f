"""Parts of a change: products by hand, Black-Scholes of another hand, sums that must be whole."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.optimize import brentq

from tracker_dagster.strategy.attribution import (
    score_parts,
    shapley_parts,
    target_strike_parts,
    weekly_yield_parts,
)
from tracker_dagster_tests.strategy.worlds import black_scholes_call


def arrays(**values: float) -> dict[str, np.ndarray]:
    return {name: np.array([value]) for name, value in values.items()}


def test_parts_of_a_product_by_hand() -> None:
    parts = shapley_parts(arrays(x=2.0, y=3.0), arrays(x=4.0, y=5.0), lambda at: at["x"] * at["y"])
    # x first: (4 - 2) x 3 = 6, x last: (4 - 2) x 5 = 10, on average 8; y: (2 x 2 + 2 x 4) / 2 = 6.
    assert {name: part.item() for name, part in parts.items()} == {"x": 8.0, "y": 6.0}


def test_parts_of_four_inputs_add_up_and_favour_no_order() -> None:
    rng = np.random.default_rng(3)
    before = {name: rng.uniform(1, 2, 50) for name in "abcd"}
    after = {name: rng.uniform(1, 2, 50) for name in "abcd"}

    def value(at):
        return at["a"] * at["b"] ** at["c"] - np.sin(at["d"] * at["a"])

    parts = shapley_parts(before, after, value)
    np.testing.assert_allclose(sum(parts.values()), value(after) - value(before), atol=1e-12)
    turned = shapley_parts(
        {name: before[name] for name in "dcba"}, {name: after[name] for name in "dcba"}, value
    )
    for name in "abcd":
        np.testing.assert_allclose(parts[name], turned[name], atol=1e-12)


def test_parts_of_a_score_and_what_they_leave_unexplained() -> None:
    before = pl.DataFrame({"score_yield": [0.5], "score_calm": [None], "rank_score": [0.30]},
                          schema_overrides={"score_calm": pl.Float64})  # fmt: skip
    after = pl.DataFrame({"score_yield": [0.7], "score_calm": [0.5], "rank_score": [0.60]})
    parts = score_parts(before, after, {"score_yield": 0.6, "score_calm": 0.3, "score_new": 0.1})
    # 0.6 x 0.2 and 0.3 x 0.5; 0.30 in all, 0.03 of it from elsewhere.
    assert parts.row(0) == pytest.approx((0.12, 0.15, 0.03))
    assert parts.columns == ["score_yield", "score_calm", "unexplained"]


def yields(premium: float | None = None, **at: float) -> dict[str, np.ndarray]:
    """A call quoted at its Black-Scholes value, unless a premium is given."""
    value = black_scholes_call(at["price"], at["strike"], at["years"], at["volatility"])[0]
    return arrays(premium=value if premium is None else premium, **at)


def test_a_yield_that_only_volatility_moved() -> None:
    terms = {"price": 100.0, "strike": 105.0, "years": 7 / 365, "sessions": 5.0}
    before, after = yields(volatility=0.4, **terms), yields(volatility=0.5, **terms)
    parts = weekly_yield_parts(before, after)
    total = (after["premium"] - before["premium"]).item() / 100
    assert parts["volatility"].item() == pytest.approx(total, abs=1e-12)
    for name in ("price", "strike", "time", "quote"):
        assert parts[name].item() == pytest.approx(0.0, abs=1e-12)


def test_a_quote_above_the_model_is_the_quotes_part() -> None:
    terms = {"price": 50.0, "strike": 52.0, "years": 7 / 365, "sessions": 5.0, "volatility": 0.3}
    before = yields(**terms)
    after = yields(premium=before["premium"].item() + 0.05, **terms)
    assert weekly_yield_parts(before, after)["quote"].item() == pytest.approx(0.05 / 50)


def test_yield_parts_add_up_to_the_change_of_the_weekly_yield() -> None:
    before = yields(price=100.0, strike=104.0, years=7 / 365, sessions=5.0, volatility=0.35)
    after = yields(0.9, price=97.0, strike=101.0, years=4 / 365, sessions=3.0, volatility=0.45)
    parts = weekly_yield_parts(before, after)
    change = 0.9 / 97 / (3 / 5) ** 0.5 - before["premium"].item() / 100
    assert sum(part.item() for part in parts.values()) == pytest.approx(change)
    assert np.isnan(
        weekly_yield_parts(before, {**after, "volatility": np.array([np.nan])})["price"]
    )


def test_the_target_strike_has_the_target_delta() -> None:
    before = arrays(price=100.0, volatility=0.3, years=7 / 365, delta=0.3)
    after = arrays(price=103.0, volatility=0.5, years=4 / 365, delta=0.25)
    parts = target_strike_parts(before, after)

    def strike_at(price: float, volatility: float, years: float) -> float:
        return brentq(
            lambda k: black_scholes_call(price, k, years, volatility)[1] - 0.25, price, 3 * price
        )

    moved = strike_at(103, 0.5, 4 / 365) - strike_at(100, 0.3, 7 / 365)
    assert sum(part.item() for part in parts.values()) == pytest.approx(moved, abs=1e-8)
    assert parts["time"].item() < 0 < parts["volatility"].item()
