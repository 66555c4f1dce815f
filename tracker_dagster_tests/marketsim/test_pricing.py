"""The simulator's pricer against published values."""

from __future__ import annotations

import numpy as np
import pytest

from tracker_dagster.marketsim import pricing


def arrays(*values: float) -> list[np.ndarray]:
    return [np.array([value]) for value in values]


def test_textbook_put() -> None:
    # Hull, "Options, Futures, and Other Derivatives": S = K = 50, r = 10 %, vol 40 %, 5 months.
    spot, strike, t, r, vol = arrays(50, 50, 5 / 12, 0.10, 0.40)
    put = np.array([False])
    assert pricing.european(spot, strike, t, r, vol, put)[0] == pytest.approx(4.076, abs=0.001)
    assert pricing.american(spot, strike, t, r, vol, put)[0] == pytest.approx(4.283, abs=0.003)


def test_vendor_sample_greeks() -> None:
    # The vendor's documented row: 147.951, strike 150, 583 days, volatility 0.3049.
    spot, strike, t, r, vol = arrays(147.951, 150, 583 / 365, 0.004, 0.3049)
    greeks = pricing.european_greeks(spot, strike, t, r, vol, np.array([True]))
    assert greeks.gamma[0] == pytest.approx(0.00707, rel=0.03)
    assert greeks.vega[0] == pytest.approx(0.7275, rel=0.03)
    assert greeks.theta[0] == pytest.approx(-0.01853, rel=0.1)


def test_call_without_dividends_is_worth_no_more_for_early_exercise() -> None:
    strikes = np.linspace(60, 140, 17)
    spot, t, r, vol = (np.full(17, v) for v in (100.0, 0.75, 0.04, 0.3))
    calls = np.ones(17, dtype=bool)
    tree = pricing.american(spot, strikes, t, r, vol, calls)
    assert np.allclose(tree, pricing.european(spot, strikes, t, r, vol, calls), atol=2e-3)


def test_call_before_a_large_dividend_is_worth_its_exercise() -> None:
    spot, strike, t, r, vol = arrays(100, 60, 0.2, 0.04, 0.2)
    call = np.array([True])
    value = pricing.american(spot, strike, t, r, vol, call, np.array([[0.15, 5.0]]))
    net = spot - pricing.present_value(np.array([[0.15, 5.0]]), t, r)
    assert value[0] > pricing.european(net, strike, t, r, vol, call)[0] + 4
    assert value[0] >= 40


def test_american_put_is_never_below_intrinsic_or_european() -> None:
    strikes = np.linspace(50, 200, 61)
    spot, t, r, vol = (np.full(61, v) for v in (100.0, 1.0, 0.05, 0.25))
    puts = np.zeros(61, dtype=bool)
    tree = pricing.american(spot, strikes, t, r, vol, puts)
    assert np.all(tree >= np.maximum(strikes - spot, 0) - 1e-9)
    assert np.all(tree >= pricing.european(spot, strikes, t, r, vol, puts) - 2e-3)
