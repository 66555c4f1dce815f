"""American options on shares that pay cash: formulas of books, grids of others, ex-dates."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

from tracker_dagster.analytics.pricing import (
    CashDividends,
    Status,
    greeks,
    implied_volatility,
    implied_volatility_and_greeks,
    price,
)
from tracker_dagster_tests.analytics.pricing.american_books import finite_difference_price
from tracker_dagster_tests.analytics.pricing.books import BACKENDS

every = CashDividends.same_for_all


def roll_geske_whaley(spot, strike, ex_date, years, rate, amount, volatility):
    """Haug, The Complete Guide to Option Pricing Formulas (1998), page 22, re-typed."""

    def european(price_then: float) -> float:
        left = years - ex_date
        spread = volatility * np.sqrt(left)
        d1 = (np.log(price_then / strike) + rate * left) / spread + 0.5 * spread
        return price_then * norm.cdf(d1) - strike * np.exp(-rate * left) * norm.cdf(d1 - spread)

    def both(a: float, b: float) -> float:
        return multivariate_normal.cdf([a, b], cov=[[1.0, correlation], [correlation, 1.0]])

    net = spot - amount * np.exp(-rate * ex_date)
    critical = brentq(lambda x: european(x) - x - amount + strike, 1e-3 * spot, 1e3 * spot)
    correlation = -np.sqrt(ex_date / years)
    wide, narrow = volatility * np.sqrt(years), volatility * np.sqrt(ex_date)
    a1 = (np.log(net / strike) + rate * years) / wide + 0.5 * wide
    b1 = (np.log(net / critical) + rate * ex_date) / narrow + 0.5 * narrow
    return (
        net * norm.cdf(b1)
        + net * both(a1, -b1)
        - strike * np.exp(-rate * years) * both(a1 - wide, -(b1 - narrow))
        - (strike - amount) * np.exp(-rate * ex_date) * norm.cdf(b1 - narrow)
    )


def payers(count: int, seed: int) -> list[tuple[tuple[float, ...], list[tuple[float, float]]]]:
    """Contracts of ten days to two years and their quarterly dividends, on whole days."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        days = int(np.exp(rng.uniform(np.log(10), np.log(730))))
        first = int(rng.integers(1, min(91, days) + 1))
        rate = float(rng.choice([0.002, 0.02, 0.045, 0.06]))
        volatility = float(np.exp(rng.uniform(np.log(0.12), np.log(0.8))))
        amount = float(np.exp(rng.uniform(np.log(0.1), np.log(1.5))))
        years = days / 365
        away = rng.uniform(-2.0, 2.0) * volatility * np.sqrt(years)
        strike = float(100.0 * np.exp(rate * years + away))
        is_call = bool(rng.random() < 0.5)
        ex_dates = [(day / 365, amount) for day in range(first, days + 1, 91)]
        rows.append(((100.0, strike, years, rate, 0.0, volatility, is_call), ex_dates))
    return rows


def as_market(rows):
    """Columns, and one list of dividends a contract."""
    columns = [np.array(column) for column in zip(*(row for row, _ in rows), strict=True)]
    pairs = [pair for _, dividends in rows for pair in dividends]
    offsets = np.cumsum([0, *(len(dividends) for _, dividends in rows)])
    years, amounts = np.array(pairs).T
    return columns, CashDividends(years, amounts, offsets)


def test_the_example_of_roll_geske_and_whaley():
    """Haug (1998), page 22: 4.3860 with four months written as 0.3333."""
    terms = (80.0, 82.0, 0.3333, 0.06, 0.0, 0.3, True)
    value = price(*terms, "american", cash_dividends=every([(0.25, 4.0)]))
    assert value == pytest.approx(roll_geske_whaley(80, 82, 0.25, 0.3333, 0.06, 4.0, 0.3), abs=1e-5)
    assert value == pytest.approx(4.3860, abs=2e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_with_one_ex_date_are_the_formula(backend):
    rng = np.random.default_rng(1)
    for _ in range(25):
        spot, years = 100.0, rng.uniform(0.05, 1.5)
        ex_date = years * rng.uniform(0.05, 0.98)
        rate, volatility = rng.uniform(0.001, 0.07), rng.uniform(0.1, 0.7)
        strike, amount = rng.uniform(70.0, 130.0), rng.uniform(0.2, 5.0)
        value = price(
            spot, strike, years, rate, 0.0, volatility, True, "american",
            cash_dividends=every([(ex_date, amount)]), backend=backend,
        )  # fmt: skip
        if amount <= strike * -np.expm1(-rate * (years - ex_date)):
            terms = (spot, strike, years, rate, 0.0, volatility, True)
            assert value == price(*terms, cash_dividends=every([(ex_date, amount)]))
        else:
            exact = roll_geske_whaley(spot, strike, ex_date, years, rate, amount, volatility)
            assert value == pytest.approx(exact, abs=1e-4)


def test_random_payers_agree_with_quantlib():
    rows = payers(24, seed=2)
    columns, dividends = as_market(rows)
    values = price(*columns, "american", cash_dividends=dividends)
    exact = np.array([finite_difference_price(row, ex_dates, 150) for row, ex_dates in rows])
    error = np.abs(values - exact) / 100.0
    assert np.quantile(error, 0.5) < 3e-6
    assert error.max() < 1e-4


@pytest.mark.slow
def test_many_random_payers_agree_with_quantlib():
    rows = payers(400, seed=3)
    columns, dividends = as_market(rows)
    values = price(*columns, "american", cash_dividends=dividends)
    exact = np.array([finite_difference_price(row, ex_dates) for row, ex_dates in rows])
    error = np.abs(values - exact) / 100.0
    assert np.quantile(error, 0.5) < 1e-6
    assert np.quantile(error, 0.9) < 1e-5
    assert np.quantile(error, 0.99) < 5e-5
    assert error.max() < 2e-4


@pytest.mark.parametrize(
    ("is_call", "dividend_yield", "strike"),
    [
        (True, 0.03, 95.0),
        (True, 0.004, 95.0),
        (True, 0.0, 85.0),
        (True, -0.01, 90.0),
        (False, 0.01, 105.0),
        (False, -0.02, 105.0),
    ],
)
def test_a_yield_besides_the_dividends(is_call, dividend_yield, strike):
    """A slow twin: backward through a lattice of the spot net of dividends."""
    ex_dates = [(0.2, 0.7), (0.45, 1.2)]
    terms = (100.0, strike, 0.6, 0.04, dividend_yield, 0.3, is_call)
    value = price(*terms, "american", cash_dividends=every(ex_dates))
    assert value == pytest.approx(lattice_price(*terms, ex_dates), abs=4e-3)


def test_with_a_negative_yield_only_some_spots_are_exercised_at():
    """High above the strike the carry of the shares is worth more than the dividend."""
    ex_dates = [(0.45, 3.0)]
    for strike, dividend_yield in ((50.0, -0.2), (60.0, -0.2), (75.0, -0.1)):
        terms = (100.0, strike, 0.6, 0.04, dividend_yield, 0.3, True)
        value = price(*terms, "american", cash_dividends=every(ex_dates))
        assert value == pytest.approx(lattice_price(*terms, ex_dates), abs=2e-3)
        assert value > price(*terms, cash_dividends=every(ex_dates)) + 0.01


def test_values_do_not_jump_between_formula_and_grid():
    """A yield that comes to more than the interest on the strike is where the grid takes over."""
    yields = np.linspace(0.0, 0.04, 161)
    for spot in (95.0, 130.0):
        values = price(
            spot, 100.0, 0.5, 0.04, yields, 0.3, True, "american",
            cash_dividends=every([(0.3, 1.5)]),
        )  # fmt: skip
        steps = np.diff(values)
        assert (steps < 0.0).all()
        assert np.abs(np.diff(steps)).max() < 2e-3


def lattice_price(spot, strike, years, rate, dividend_yield, volatility, is_call, ex_dates):
    """A trinomial lattice with two numbers of steps, extrapolated."""
    values = []
    for count in (1200, 2400):
        step = years / count
        width = volatility * np.sqrt(3.0 * step)
        net = spot - sum(amount * np.exp(-rate * when) for when, amount in ex_dates)
        drift = rate - dividend_yield - 0.5 * volatility**2
        nodes = np.arange(-count, count + 1) * width
        sign = 1.0 if is_call else -1.0
        value = np.maximum(sign * (net * np.exp(nodes + drift * years) - strike), 0.0)
        for n in range(count - 1, -1, -1):
            now = n * step
            nodes = nodes[1:-1]
            value = np.exp(-rate * step) * (value[2:] + 4.0 * value[1:-1] + value[:-2]) / 6.0
            lognormal = net * np.exp(nodes + drift * now)
            # Just before an ex-date, and just after.
            for moment in (now - 1e-9, now + 1e-9):
                ahead = sum(
                    amount * np.exp(-rate * (when - now))
                    for when, amount in ex_dates
                    if when > moment
                )
                value = np.maximum(value, sign * (lognormal + ahead - strike))
        values.append(value[0])
    return 2.0 * values[1] - values[0]


def test_without_dividends_before_expiry_nothing_changes():
    terms = (100.0, [90.0, 100.0, 110.0], 0.5, 0.05, 0.01, 0.3, False)
    plain = price(*terms, "american")
    for dividends in ([], [(0.6, 2.0)], [(-0.1, 2.0), (0.0, 1.0)], [(0.2, 0.0)]):
        with_them = price(*terms, "american", cash_dividends=every(dividends))
        np.testing.assert_array_equal(with_them, plain)


def test_a_small_dividend_moves_values_little():
    terms = (100.0, np.linspace(80.0, 120.0, 9), 0.5, 0.05, 0.0, 0.3)
    for is_call in (False, True):
        plain = price(*terms, is_call, "american")
        nearly = price(*terms, is_call, "american", cash_dividends=every([(0.25, 1e-4)]))
        np.testing.assert_allclose(nearly, plain, atol=4e-3)


def test_a_call_is_exercised_before_the_ex_date():
    """In the money with less time value than the dividend: it is worth what exercise pays.

    Assignment models that leave dividends out never exercise it.
    """
    terms = (130.0, 100.0, 30 / 365, 0.03, 0.0, 0.25)
    tomorrow = every([(1 / 365, 1.5)])
    value = price(*terms, True, "american", cash_dividends=tomorrow)
    european = price(*terms, True, cash_dividends=tomorrow)
    assert european < 30.0 - 1.0
    assert value == pytest.approx(130.0 - 100.0 * np.exp(-0.03 / 365), abs=1e-4)
    sensitivities = greeks(*terms, True, "american", cash_dividends=tomorrow)
    assert sensitivities.delta == pytest.approx(1.0, abs=1e-3)
    assert sensitivities.vega < 0.01
    implied = implied_volatility(
        30.0, *terms[:5], True, "american", cash_dividends=every([(0.5 / 365, 1.5)])
    )
    assert implied.status == Status.BELOW_INTRINSIC
    # European inversion would report a volatility for a price that says nothing of it.
    quoted = 30.0 + 1e-4
    naive = implied_volatility(quoted, *terms[:5], True, cash_dividends=tomorrow)
    right = implied_volatility(quoted, *terms[:5], True, "american", cash_dividends=tomorrow)
    assert naive.status == Status.OK
    assert naive.volatility > 0.4
    assert right.status in (Status.BELOW_INTRINSIC, Status.NO_TIME_VALUE, Status.IMMEDIATE_EXERCISE)


def test_a_put_waits_for_the_ex_date():
    """Deep in the money: exercised at once without the dividend, held for it with it."""
    terms = (60.0, 100.0, 0.5, 0.05, 0.0, 0.2, False)
    assert greeks(*terms, "american").delta == -1.0
    assert price(*terms, "american") == 40.0
    soon = every([(10 / 365, 2.0)])
    value = price(*terms, "american", cash_dividends=soon)
    # Exercise just after the dividend: the strike then, less the spot that fell by it.
    waits = (100.0 + 2.0) * np.exp(-0.05 * 10 / 365) - 60.0
    assert value == pytest.approx(waits, abs=2e-3)
    assert greeks(*terms, "american", cash_dividends=soon).delta == pytest.approx(-1.0, abs=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_and_greeks_hold_together(backend):
    count = 24 if backend == "numpy" else 400
    columns, dividends = as_market(payers(count, seed=4))
    values = price(*columns, "american", cash_dividends=dividends, backend=backend)
    european = price(*columns, cash_dividends=dividends)
    spot, strike, years, _, _, volatility, is_call = columns
    pays = np.maximum(np.where(is_call, spot - strike, strike - spot), 0.0)
    assert (values >= european).all()
    assert (values >= pays).all()
    ours = greeks(*columns, "american", cash_dividends=dividends, backend=backend)
    inside = values > pays + 0.02
    deviation = volatility * np.sqrt(years)

    def slope(position, step):
        up, down = (
            price(
                *(column + shift if n == position else column for n, column in enumerate(columns)),
                "american", cash_dividends=dividends, backend=backend,
            )
            for shift in (step, -step)
        )  # fmt: skip
        return (up - down) / (2.0 * step)

    delta = slope(0, 0.02 * deviation * spot)
    assert np.quantile(np.abs(ours.delta - delta)[inside], 0.99) < 5e-3
    vega = slope(5, 0.01 * volatility) / (spot * np.sqrt(years))
    assert np.quantile(np.abs(ours.vega / (spot * np.sqrt(years)) - vega)[inside], 0.99) < 5e-3
    rho = slope(3, 1e-4) / (strike * years)
    assert np.quantile(np.abs(ours.rho / (strike * years) - rho)[inside], 0.98) < 1e-2
    assert (ours.gamma[inside] > -1e-4).all()
    # As time passes the ex-dates come nearer, and the whole spot stays.
    hours = 6.0 / 24.0 / 365.0
    later, sooner = (
        price(
            *columns[:2], years - shift, *columns[3:], "american",
            cash_dividends=CashDividends(
                dividends.years - shift, dividends.amounts, dividends.offsets
            ),
            backend=backend,
        )
        for shift in (hours, -hours)
    )  # fmt: skip
    theta, scale = 2.0 * (later - sooner), spot * volatility / np.sqrt(years) / 365
    none_goes = inside & (
        np.add.reduceat(dividends.years < 2.0 * hours, dividends.offsets[:-1]) == 0
    )
    assert np.quantile((np.abs(ours.theta - theta) / scale)[none_goes], 0.9) < 3e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_volatilities_come_back(backend):
    count = 16 if backend == "numpy" else 600
    columns, dividends = as_market(payers(count, seed=5))
    values = price(*columns, "american", cash_dividends=dividends, backend=backend)
    terms = (*columns[:5], columns[6])
    implied, fused = implied_volatility_and_greeks(
        values, *terms, "american", cash_dividends=dividends, backend=backend
    )
    found = implied.status == Status.OK
    assert found.mean() > 0.9
    assert set(implied.status[~found].tolist()) <= {
        Status.IMMEDIATE_EXERCISE, Status.NO_TIME_VALUE,
    }  # fmt: skip
    error = np.abs(implied.volatility - columns[5])[found]
    assert np.quantile(error, 0.98) < 1e-8
    columns[5] = implied.volatility
    alone = greeks(*columns, "american", cash_dividends=dividends, backend=backend)
    for ours, theirs in zip(fused, alone, strict=True):
        np.testing.assert_array_equal(ours[found], theirs[found])


def test_twins_agree():
    columns, dividends = as_market(payers(16, seed=6))
    values, sensitivities = [], []
    for backend in BACKENDS:
        values.append(price(*columns, "american", cash_dividends=dividends, backend=backend))
        sensitivities.append(
            greeks(*columns, "american", cash_dividends=dividends, backend=backend)
        )
    np.testing.assert_allclose(values[0], values[1], rtol=0, atol=1e-10)
    for ours, theirs in zip(*sensitivities, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_contracts_may_come_in_any_order_and_share_lists():
    """A market is computed kind by kind; results stand where their contracts do."""
    rows = payers(120, seed=7)
    columns, dividends = as_market(rows)
    values = price(*columns, "american", cash_dividends=dividends)
    order = np.random.default_rng(8).permutation(120)
    shared = CashDividends.by_group(dividends.years, dividends.amounts, dividends.offsets, order)
    again = price(*(column[order] for column in columns), "american", cash_dividends=shared)
    np.testing.assert_allclose(again, values[order], rtol=1e-13)
    one = [float(price(*row, "american", cash_dividends=every(dates))) for row, dates in rows[:20]]
    np.testing.assert_allclose(one, values[:20], rtol=1e-12)


def test_reasons():
    terms = (100.0, 100.0, 0.5, 0.04, 0.0)
    for dividends, reason in (
        ([(0.2, float("nan"))], Status.NO_DIVIDENDS),
        ([(0.2, 150.0)], Status.NO_SPOT),
        ([(0.2, 1.0)], Status.OK),
    ):
        cash = every(dividends)
        implied = implied_volatility(9.0, *terms, False, "american", cash_dividends=cash)
        assert implied.status == reason
        value = price(*terms, 0.3, False, "american", cash_dividends=cash)
        assert np.isnan(value) == (reason is not Status.OK)
    cash = every([(0.2, 1.0)])
    for quoted, spot, reason in (
        (19.5, 80.0, Status.BELOW_INTRINSIC),
        (100.0, 80.0, Status.ABOVE_MAX),
        (0.0, 120.0, Status.NO_TIME_VALUE),
    ):
        implied = implied_volatility(
            quoted, spot, *terms[1:], False, "american", cash_dividends=cash
        )
        assert Status(int(implied.status)) is reason
