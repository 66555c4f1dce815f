"""What theory says of European options, for contracts that hypothesis chooses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tracker_dagster.analytics.pricing import (
    Status,
    black76_greeks,
    black76_price,
    greeks,
    implied_volatility,
    price,
)
from tracker_dagster_tests.analytics.pricing.books import BACKENDS

spots = st.floats(0.01, 1e5)
moneyness = st.floats(-1.5, 1.5)
terms_left = st.floats(1 / 8760, 10)
rates = st.floats(-0.03, 0.12)
volatilities = st.floats(0.01, 5.0)

backends = pytest.mark.parametrize("backend", BACKENDS)
#: The first call of a process compiles, or loads what was compiled.
unhurried = settings(deadline=None)


def contracts(*more):
    """Spot, log of strike over spot, years, rate, yield and volatility, and ``more``."""
    return given(spots, moneyness, terms_left, rates, rates, volatilities, *more)


@backends
@contracts()
@example(100.0, 0.0, 1.0, 0.0, 0.0, 0.2)
@unhurried
def test_put_call_parity(backend, spot, k, years, rate, dividend_yield, volatility):
    strike = spot * math.exp(k)
    call, put = price(
        spot, strike, years, rate, dividend_yield, volatility, [True, False], backend=backend
    )
    forward = spot * math.exp(-dividend_yield * years) - strike * math.exp(-rate * years)
    assert call - put == pytest.approx(forward, abs=4e-15 * (spot + strike))


@backends
@contracts(st.booleans())
@unhurried
def test_value_lies_between_its_bounds(
    backend, spot, k, years, rate, dividend_yield, volatility, is_call
):
    strike = spot * math.exp(k)
    value = price(spot, strike, years, rate, dividend_yield, volatility, is_call, backend=backend)
    asset, cash = spot * math.exp(-dividend_yield * years), strike * math.exp(-rate * years)
    rounding = 4e-16 * max(asset, cash)
    lower = max(asset - cash if is_call else cash - asset, 0.0)
    assert lower - rounding <= value <= (asset if is_call else cash) + rounding


@backends
@contracts(st.floats(1.0001, 1.2))
@unhurried
def test_monotone_in_every_argument(
    backend, spot, k, years, rate, dividend_yield, volatility, factor
):
    strike = spot * math.exp(k)
    base = {
        "spot": spot,
        "strike": strike,
        "years": years,
        "rate": rate,
        "dividend_yield": dividend_yield,
        "volatility": volatility,
    }
    slack = 1e-14 * (spot + strike)

    def change(name, is_call):
        moved = dict(base)
        moved[name] = (
            base[name] + (factor - 1.0)
            if "rate" in name or "yield" in name
            else (base[name] * factor)
        )
        return price(**moved, is_call=is_call, backend=backend) - price(
            **base, is_call=is_call, backend=backend
        )

    assert change("spot", True) >= -slack >= change("spot", False) - 2 * slack
    assert change("strike", False) >= -slack >= change("strike", True) - 2 * slack
    assert change("rate", True) >= -slack >= change("rate", False) - 2 * slack
    assert change("dividend_yield", False) >= -slack >= change("dividend_yield", True) - 2 * slack
    assert min(change("volatility", True), change("volatility", False)) >= -slack
    # Time is worth something to a call where carrying the asset costs nothing.
    if dividend_yield <= 0.0 <= rate:
        assert change("years", True) >= -slack
    if rate <= 0.0 <= dividend_yield:
        assert change("years", False) >= -slack


@backends
@contracts(st.booleans(), st.floats(1e-3, 1e3))
@unhurried
def test_homogeneous_in_spot_and_strike(
    backend, spot, k, years, rate, dividend_yield, volatility, is_call, factor
):
    strike = spot * math.exp(k)
    rest = (years, rate, dividend_yield, volatility, is_call)
    value = price(spot, strike, *rest, backend=backend)
    scaled = price(factor * spot, factor * strike, *rest, backend=backend)
    assert scaled == pytest.approx(factor * value, rel=1e-9, abs=1e-14 * factor * spot)
    once, again = (
        greeks(size * spot, size * strike, *rest, backend=backend) for size in (1.0, factor)
    )
    assert again.delta == pytest.approx(once.delta, rel=1e-9, abs=1e-13)
    assert again.gamma * factor * spot == pytest.approx(once.gamma * spot, rel=1e-9, abs=1e-13)


@backends
@given(
    st.floats(0.5, 5000),
    st.floats(-2.5, 2.5),
    st.floats(1 / 365, 5),
    rates,
    rates,
    st.floats(0.05, 2.0),
    st.booleans(),
)
@unhurried
def test_greeks_are_slopes(
    backend, spot, deviations, years, rate, dividend_yield, volatility, is_call
):
    deviation = volatility * math.sqrt(years)
    assume(deviation < 3.0)
    strike = spot * math.exp(deviations * deviation)

    def value(spot=spot, years=years, rate=rate, volatility=volatility):
        return price(
            spot, strike, years, rate, dividend_yield, volatility, is_call, backend=backend
        )

    def delta(spot):
        return greeks(
            spot, strike, years, rate, dividend_yield, volatility, is_call, backend=backend
        ).delta

    def slope(function, middle, step):
        """Central difference of fourth order."""
        at = [float(function(middle + n * step)) for n in (-2, -1, 1, 2)]
        return (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)

    ours = greeks(spot, strike, years, rate, dividend_yield, volatility, is_call, backend=backend)
    step = 0.01 * spot * min(deviation, 1.0)
    size = spot + strike
    assert ours.delta == pytest.approx(
        slope(lambda s: value(spot=s), spot, step), abs=1e-6 * size / spot
    )
    assert ours.gamma * step == pytest.approx(slope(delta, spot, step) * step, abs=1e-6)
    assert ours.vega == pytest.approx(
        slope(lambda v: value(volatility=v), volatility, 0.01 * volatility), abs=1e-6 * size
    )
    assert ours.rho == pytest.approx(
        slope(lambda r: value(rate=r), rate, 1e-3), abs=1e-5 * size * max(years, 1.0)
    )
    per_day = -slope(lambda t: value(years=t), years, 0.01 * years) / 365
    assert ours.theta * years == pytest.approx(per_day * years, abs=1e-6 * size)


@backends
@contracts(st.booleans())
@settings(max_examples=300, deadline=None)
def test_price_to_volatility_to_price(
    backend, spot, k, years, rate, dividend_yield, volatility, is_call
):
    strike = spot * math.exp(k)
    terms = (spot, strike, years, rate, dividend_yield)
    value = price(*terms, volatility, is_call, backend=backend)
    implied = implied_volatility(value, *terms, is_call, backend=backend)
    if implied.status == Status.OK:
        again = price(*terms, implied.volatility, is_call, backend=backend)
        assert abs(again - value) <= 1e-13 * max(spot, strike)
    else:
        # What no double precision solver could tell from nothing, or from everything.
        assert implied.status in (Status.NO_TIME_VALUE, Status.ABOVE_MAX)
        asset, cash = spot * math.exp(-dividend_yield * years), strike * math.exp(-rate * years)
        lower = max(asset - cash if is_call else cash - asset, 0.0)
        upper = asset if is_call else cash
        assert min(value - lower, upper - value) <= 4e-15 * max(asset, cash)


@backends
@given(st.floats(0.0, 1.2), st.booleans(), st.floats(20, 500), moneyness, terms_left, rates, rates)
@unhurried
def test_any_price_at_all_gets_a_volatility_or_the_reason(
    backend, share, is_call, spot, k, years, rate, dividend_yield
):
    strike = spot * math.exp(k)
    asset, cash = spot * math.exp(-dividend_yield * years), strike * math.exp(-rate * years)
    lower = max(asset - cash if is_call else cash - asset, 0.0)
    upper = asset if is_call else cash
    value = share * upper
    terms = (spot, strike, years, rate, dividend_yield)
    implied = implied_volatility(value, *terms, is_call, backend=backend)
    inside = 1e-14 * max(asset, cash)
    if lower + inside < value < upper - inside:
        assert implied.status == Status.OK
        again = price(*terms, implied.volatility, is_call, backend=backend)
        assert abs(again - value) <= 1e-10 * spot
    elif value < lower - inside:
        assert implied.status == Status.BELOW_INTRINSIC
    elif value > upper + inside:
        assert implied.status == Status.ABOVE_MAX
    assert np.isnan(implied.volatility) == (implied.status != Status.OK)


@given(st.floats(1, 5000), moneyness, terms_left, rates, volatilities, st.booleans())
@unhurried
def test_black_76_is_the_option_on_the_forward(forward, k, years, rate, volatility, is_call):
    strike = forward * math.exp(k)
    value = black76_price(forward, strike, years, rate, volatility, is_call)
    # A spot whose dividend yield is whatever makes that forward.
    for dividend_yield in (-0.01, 0.0, 0.07):
        spot = forward * math.exp((dividend_yield - rate) * years)
        same = price(spot, strike, years, rate, dividend_yield, volatility, is_call)
        assert same == pytest.approx(value, rel=1e-9, abs=1e-13 * forward)
    moved = black76_price(forward, strike, years, [rate - 1e-5, rate + 1e-5], volatility, is_call)
    rho = black76_greeks(forward, strike, years, rate, volatility, is_call).rho
    assert rho == pytest.approx((moved[1] - moved[0]) / 2e-5, abs=1e-6 * forward)
