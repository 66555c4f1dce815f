"""European options on a spot that pays cash dividends, by escrow."""

from __future__ import annotations

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

from tracker_dagster.analytics.pricing import (
    CashDividends,
    Status,
    greeks,
    implied_volatility,
    implied_volatility_and_greeks,
    price,
)
from tracker_dagster.analytics.pricing.dividends import escrow
from tracker_dagster_tests.analytics.pricing.books import BACKENDS

TWO = CashDividends.same_for_all([(0.4, 0.7), (0.1, 0.5)])
TERMS = (100.0, 95.0, 0.5, 0.06, 0.01)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_call", [True, False])
def test_value_and_greeks_are_those_of_the_net_spot(backend, is_call):
    """Net spot by hand; how it moves with time and rate, by bumping both together."""
    spot, strike, years, rate, carry = TERMS

    def value(spot=spot, passed=0.0, rate=rate, volatility=0.25):
        net = spot - sum(
            amount * np.exp(-rate * (when - passed)) for when, amount in ((0.1, 0.5), (0.4, 0.7))
        )
        return price(net, strike, years - passed, rate, carry, volatility, is_call)

    arguments = (*TERMS, 0.25, is_call)
    ours = greeks(*arguments, cash_dividends=TWO, backend=backend)
    assert price(*arguments, cash_dividends=TWO, backend=backend) == pytest.approx(
        value(), rel=1e-14
    )
    assert ours.delta == pytest.approx((value(spot + 0.01) - value(spot - 0.01)) / 0.02, abs=1e-7)
    day = 1 / 365
    assert ours.theta == pytest.approx((value(passed=day) - value(passed=-day)) / 2, abs=1e-6)
    assert ours.rho == pytest.approx(
        (value(rate=rate + 1e-5) - value(rate=rate - 1e-5)) / 2e-5, abs=1e-5
    )
    assert ours.vega == pytest.approx(
        (value(volatility=0.2501) - value(volatility=0.2499)) / 2e-4, abs=1e-5
    )


def test_quantlib_escrowed_engine():
    """Whole days, as QuantLib needs them, and no yield, which there discounts dividends too."""
    today = ql.Date(15, 6, 2026)
    ql.Settings.instance().evaluationDate = today
    count = ql.Actual365Fixed()
    spot = ql.QuoteHandle(ql.SimpleQuote(100.0))
    rates = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.06, count))
    carry = ql.YieldTermStructureHandle(ql.FlatForward(today, 0.0, count))
    volatility = ql.BlackVolTermStructureHandle(
        ql.BlackConstantVol(today, ql.NullCalendar(), 0.25, count)
    )
    process = ql.BlackScholesMertonProcess(spot, carry, rates, volatility)
    paid = [(30, 0.5), (120, 0.7), (400, 9.0)]
    dividends = ql.DividendVector(
        [today + days for days, _ in paid], [amount for _, amount in paid]
    )
    listed = CashDividends.same_for_all([(days / 365, amount) for days, amount in paid])
    for kind, is_call in ((ql.Option.Call, True), (ql.Option.Put, False)):
        for strike in (80.0, 100.0, 125.0):
            option = ql.VanillaOption(
                ql.PlainVanillaPayoff(kind, strike), ql.EuropeanExercise(today + 200)
            )
            option.setPricingEngine(ql.AnalyticDividendEuropeanEngine(process, dividends))
            terms = (100.0, strike, 200 / 365, 0.06, 0.0, 0.25, is_call)
            assert price(*terms, cash_dividends=listed) == pytest.approx(option.NPV(), rel=1e-10)
            ours = greeks(*terms, cash_dividends=listed)
            assert ours.delta == pytest.approx(option.delta(), rel=1e-10)
            assert ours.gamma == pytest.approx(option.gamma(), rel=1e-10)
            assert ours.vega == pytest.approx(option.vega(), rel=1e-10)


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_dividends_before_expiry_count(backend):
    """On the day itself counts, a day ago and a day after do not."""
    dividends = CashDividends.same_for_all([(-1 / 365, 9.0), (0.0, 9.0), (0.5, 1.0), (0.51, 9.0)])
    alone = CashDividends.same_for_all([(0.5, 1.0)])
    arguments = (*TERMS, 0.25, True)
    assert price(*arguments, cash_dividends=dividends, backend=backend) == price(
        *arguments, cash_dividends=alone, backend=backend
    )
    net = TERMS[0] - np.exp(-TERMS[3] * TERMS[2])
    assert price(*arguments, cash_dividends=alone, backend=backend) == pytest.approx(
        price(net, *TERMS[1:], 0.25, True), rel=1e-14
    )
    none = CashDividends.same_for_all([])
    assert price(*arguments, cash_dividends=none, backend=backend) == price(
        *arguments, backend=backend
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_market_in_one_call_is_its_contracts_one_by_one(backend):
    rng = np.random.default_rng(4)
    lists = [[(0.2, 1.0), (0.45, 2.0)], [], [(0.05, 0.3)]]
    group = rng.integers(0, 3, 40)
    years = rng.uniform(0.01, 1.0, 40)
    market = CashDividends.by_group(
        [when for each in lists for when, _ in each],
        [amount for each in lists for _, amount in each],
        [0, 2, 2, 3],
        group,
    )
    strike = rng.uniform(80, 120, 40)
    rate = rng.uniform(0.0, 0.1, 40)
    values = price(100, strike, years, rate, 0, 0.3, False, cash_dividends=market, backend=backend)
    implied, sensitivities = implied_volatility_and_greeks(
        values, 100, strike, years, rate, 0, False, cash_dividends=market, backend=backend
    )
    np.testing.assert_allclose(implied.volatility, 0.3, rtol=1e-8)
    for row in range(40):
        own = CashDividends.same_for_all(lists[group[row]])
        terms = (100, strike[row], years[row], rate[row], 0)
        assert values[row] == price(*terms, 0.3, False, cash_dividends=own, backend=backend)
        alone = greeks(*terms, implied.volatility[row], False, cash_dividends=own, backend=backend)
        np.testing.assert_allclose([column[row] for column in sensitivities], alone, rtol=1e-12)


def test_lists_broadcast_with_the_contracts():
    """A list for each row of a grid of spots and strikes."""
    lists = CashDividends.by_group([0.1, 0.2], [1.0, 5.0], [0, 1, 2], [[0], [1]])
    grid = price(100, [90, 100, 110], 0.5, 0, 0, [[0.2], [0.2]], True, cash_dividends=lists)
    for row, spot in enumerate((99, 95)):
        np.testing.assert_allclose(grid[row], price(spot, [90, 100, 110], 0.5, 0, 0, 0.2, True))
    each = CashDividends([0.1, 0.2], [1.0, 5.0], [0, 1, 2])
    np.testing.assert_array_equal(
        price(100, [90, 100], 0.5, 0, 0, 0.2, True, cash_dividends=each),
        [grid[0, 0], grid[1, 1]],
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_reasons_that_dividends_give(backend):
    cases = [
        ([(0.1, float("nan"))], Status.NO_DIVIDENDS),
        ([(float("nan"), 1.0)], Status.NO_DIVIDENDS),
        ([(0.1, 120.0)], Status.NO_SPOT),
        ([(0.6, float("nan"))], Status.OK),
    ]
    for dividends, status in cases:
        implied = implied_volatility(
            12.0,
            *TERMS,
            True,
            cash_dividends=CashDividends.same_for_all(dividends),
            backend=backend,
        )
        assert Status(int(implied.status)) is status, dividends


def test_escrow_says_how_it_moves_with_the_rate():
    years, rate = np.array([0.3, 0.5]), np.array([0.05, 0.05])
    lists = TWO.aligned((2,))
    here = escrow(lists, years, rate)
    moved = escrow(lists, years, rate + 1e-6).value - escrow(lists, years, rate - 1e-6).value
    np.testing.assert_allclose(here.value[0], 0.5 * np.exp(-0.005), rtol=1e-15)
    np.testing.assert_allclose(here.slope, -moved / 2e-6, rtol=1e-8)


@pytest.mark.parametrize(
    ("lists", "complaint"),
    [
        (([0.1], [1.0, 2.0], [0, 1]), "do not make lists"),
        (([0.1, 0.2], [1.0, 2.0], [0, 1]), "do not make lists"),
        (([0.1, 0.2], [1.0, 2.0], [0, 2, 1, 2]), "do not make lists"),
        (([0.2, 0.1], [1.0, 2.0], [0, 2]), "do not ascend"),
        (([0.2, 0.1], [1.0, 2.0], [0, 1, 2], [0, 2]), "groups 0 to 2"),
    ],
)
def test_lists_that_make_no_sense_are_an_error(lists, complaint):
    with pytest.raises(ValueError, match=complaint):
        CashDividends(*lists)


def test_fewer_lists_than_contracts_is_an_error():
    lists = CashDividends([0.2, 0.1], [1.0, 2.0], [0, 1, 2])
    with pytest.raises(ValueError, match="2 lists of dividends, 3 contracts"):
        price(100, [90, 95, 100], 1, 0, 0, 0.2, True, cash_dividends=lists)
