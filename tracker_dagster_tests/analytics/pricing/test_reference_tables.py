"""Numbers printed in books and shipped with other libraries, at their printed precision."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tracker_dagster.analytics.pricing import (
    CashDividends,
    black76_implied_volatility,
    black76_price,
    greeks,
    implied_volatility,
    price,
)
from tracker_dagster_tests.analytics.pricing.books import BACKENDS

VOLLIB_CASES = Path(__file__).parents[4] / "shared" / "reference" / "pyvollib_bs_test_data.csv"

#: Haug, The Complete Guide to Option Pricing Formulas (1998), pages 2-8, 24 and 27, as tabulated
#: in QuantLib's test suite: is_call, strike, spot, yield, rate, years, volatility, value.
HAUG_VALUES = np.array([
    (1, 65, 60, 0, .08, .25, .3, 2.1334), (0, 95, 100, .05, .1, .5, .2, 2.4648),
    (0, 19, 19, .1, .1, .75, .28, 1.7011), (1, 19, 19, .1, .1, .75, .28, 1.7011),
    (1, 1.6, 1.56, .08, .06, .5, .12, .0291), (0, 70, 75, .05, .1, .5, .35, 4.087),
    (1, 100, 90, .1, .1, .1, .15, .0205), (1, 100, 100, .1, .1, .1, .15, 1.8734),
    (1, 100, 110, .1, .1, .1, .15, 9.9413), (1, 100, 90, .1, .1, .1, .25, .315),
    (1, 100, 100, .1, .1, .1, .25, 3.1217), (1, 100, 110, .1, .1, .1, .25, 10.3556),
    (1, 100, 90, .1, .1, .1, .35, .9474), (1, 100, 100, .1, .1, .1, .35, 4.3693),
    (1, 100, 110, .1, .1, .1, .35, 11.1381), (1, 100, 90, .1, .1, .5, .15, .8069),
    (1, 100, 100, .1, .1, .5, .15, 4.0232), (1, 100, 110, .1, .1, .5, .15, 10.5769),
    (1, 100, 90, .1, .1, .5, .25, 2.7026), (1, 100, 100, .1, .1, .5, .25, 6.6997),
    (1, 100, 110, .1, .1, .5, .25, 12.7857), (1, 100, 90, .1, .1, .5, .35, 4.9329),
    (1, 100, 100, .1, .1, .5, .35, 9.3679), (1, 100, 110, .1, .1, .5, .35, 15.3086),
    (0, 100, 90, .1, .1, .1, .15, 9.921), (0, 100, 100, .1, .1, .1, .15, 1.8734),
    (0, 100, 110, .1, .1, .1, .15, .0408), (0, 100, 90, .1, .1, .1, .25, 10.2155),
    (0, 100, 100, .1, .1, .1, .25, 3.1217), (0, 100, 110, .1, .1, .1, .25, .4551),
    (0, 100, 90, .1, .1, .1, .35, 10.8479), (0, 100, 100, .1, .1, .1, .35, 4.3693),
    (0, 100, 110, .1, .1, .1, .35, 1.2376), (0, 100, 90, .1, .1, .5, .15, 10.3192),
    (0, 100, 100, .1, .1, .5, .15, 4.0232), (0, 100, 110, .1, .1, .5, .15, 1.0646),
    (0, 100, 90, .1, .1, .5, .25, 12.2149), (0, 100, 100, .1, .1, .5, .25, 6.6997),
    (0, 100, 110, .1, .1, .5, .25, 3.2734), (0, 100, 90, .1, .1, .5, .35, 14.4452),
    (0, 100, 100, .1, .1, .5, .35, 9.3679), (0, 100, 110, .1, .1, .5, .35, 5.7963),
    (1, 40, 42, .08, .04, .75, .35, 5.0975),
]).T  # fmt: skip

#: Haug (1998), pages 11-16, as tabulated in QuantLib's test suite; theta there is per year.
HAUG_GREEKS = [
    ("delta", 1, 100, 105, 0.1, 0.1, 0.5, 0.36, 0.5946),
    ("delta", 0, 100, 105, 0.1, 0.1, 0.5, 0.36, -0.3566),
    ("gamma", 1, 60, 55, 0, 0.1, 0.75, 0.3, 0.0278),
    ("gamma", 0, 60, 55, 0, 0.1, 0.75, 0.3, 0.0278),
    ("vega", 1, 60, 55, 0, 0.1, 0.75, 0.3, 18.9358),
    ("vega", 0, 60, 55, 0, 0.1, 0.75, 0.3, 18.9358),
    ("theta", 0, 405, 430, 0.05, 0.07, 1 / 12, 0.2, -31.1924),
    ("rho", 1, 75, 72, 0, 0.09, 1, 0.19, 38.7325),
]

#: vollib's test data (github.com/vollib/py_vollib, tests): spot, strike 1000, rate 0.05, years,
#: volatility; value, delta, gamma, theta per year, vega, rho of the call; then of the put.
VOLLIB = [
    (550, .5, .3, .163719571, .004739001, .000118152, -1.730475724, 5.361130589, 1.221365477,
     425.4736316, -.995260999, .000118152, 47.03501988, 5.361130589, -486.4335905),
    (1000, .5, .3, 96.34876628, .588589114, .001834072, -107.1452397, 275.110741, 246.1201737,
     71.65867831, -.411410886, .001834072, -58.37974406, 275.110741, -241.5347824),
    (1900, .5, .3, 924.755619, .999422255, 5.04e-6, -49.52608587, 2.729175317, 487.0733328,
     .065530987, -.000577745, 5.04e-6, -.760590272, 2.729175317, -.581623235),
    (650, .1, .3, 5.60661e-5, 4.4831e-6, 3.379e-7, -.006566639, .004282495, .000285794,
     345.0125353, -.999995517, 3.379e-7, 49.74405732, .004282495, -99.50096213),
    (1100, .1, .3, 112.3867216, .865376068, .002076594, -155.0469083, 75.38037377, 83.95269533,
     7.399200751, -.134623932, .002076594, -105.2962844, 75.38037377, -15.54855259),
    (1000, .01, 2, 79.88595116, .540820094, .00198426, -3991.567523, 39.68520816, 4.609341424,
     79.38607614, -.459179906, .00198426, -3941.592517, 39.68520816, -5.385659826),
]  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_of_haug(backend):
    is_call, strike, spot, dividend_yield, rate, years, volatility, value = HAUG_VALUES
    ours = price(spot, strike, years, rate, dividend_yield, volatility, is_call, backend=backend)
    # Not half of it: 1.87334 is printed as 1.8734.
    np.testing.assert_allclose(ours, value, atol=1e-4, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("row", HAUG_GREEKS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_greeks_of_haug(row, backend):
    name, is_call, strike, spot, dividend_yield, rate, years, volatility, value = row
    ours = greeks(spot, strike, years, rate, dividend_yield, volatility, is_call, backend=backend)
    per_printed_unit = 365 if name == "theta" else 1
    assert getattr(ours, name) * per_printed_unit == pytest.approx(value, abs=0.51e-4)


def test_theta_of_haug_is_per_calendar_day():
    theta = greeks(430, 405, 1 / 12, 0.07, 0.05, 0.2, False).theta
    assert theta == pytest.approx(-0.0855, abs=0.5e-4)


@pytest.mark.parametrize(
    ("name", "scale", "value", "precision"),
    [
        ("delta", 1, 0.522, 0.0005),
        ("theta", 365, -4.31, 0.005),
        ("gamma", 1, 0.066, 0.0005),
        ("vega", 0.01, 0.121, 0.0005),
        ("rho", 0.01, 0.0891, 0.00005),
    ],
)
def test_greeks_of_hull(name, scale, value, precision):
    """Hull, 7th ed., examples 17.1 to 17.7: per point of volatility and rate, per year."""
    ours = getattr(greeks(49, 50, 0.3846, 0.05, 0, 0.2, True), name) * scale
    assert ours == pytest.approx(value, abs=precision)


def test_value_of_hull():
    """Hull, 7th ed., example 13.6: 4.76 and 0.81."""
    np.testing.assert_allclose(
        price(42, 40, 0.5, 0.1, 0, 0.2, [True, False]), [4.76, 0.81], atol=0.005
    )


def test_black_76_of_hull():
    """Hull, 7th ed., examples 16.6 and 16.7, digits as in vollib's doctests."""
    terms = ([20, 620], [20, 600], [4 / 12, 0.5], [0.09, 0.05])
    values = black76_price(*terms, [0.25, 0.2], [False, True])
    np.testing.assert_allclose(values, [1.11664145656, 44.1868533121], rtol=1e-11)
    implied = black76_implied_volatility(values, *terms, [False, True])
    np.testing.assert_allclose(implied.volatility, [0.25, 0.2], rtol=1e-14)


def test_two_cash_dividends_of_hull():
    """Hull, 5th ed., example 12.8: a call worth 3.67 with 50 cents in two and in five months."""
    dividends = CashDividends.same_for_all([(2 / 12, 0.5), (5 / 12, 0.5)])
    value = price(40, 40, 0.5, 0.09, 0, 0.3, True, cash_dividends=dividends)
    assert value == pytest.approx(3.67, abs=0.005)
    implied = implied_volatility(value, 40, 40, 0.5, 0.09, 0, True, cash_dividends=dividends)
    assert implied.volatility == pytest.approx(0.3, rel=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", VOLLIB, ids=lambda case: f"{case[0]}-{case[1]}")
def test_vollib(case, backend):
    spot, years, volatility, *printed = case
    for is_call, expected in ((True, printed[:6]), (False, printed[6:])):
        terms = (spot, 1000, years, 0.05, 0, volatility, is_call)
        ours = greeks(*terms, backend=backend)
        found = [
            price(*terms, backend=backend),
            *(ours.delta, ours.gamma, ours.theta * 365, ours.vega, ours.rho),
        ]
        np.testing.assert_allclose(found, expected, rtol=6e-10, atol=6e-10)


def test_the_whole_table_of_vollib():
    if not VOLLIB_CASES.exists():
        pytest.skip(f"vollib's test data is not at {VOLLIB_CASES}")
    with VOLLIB_CASES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    table = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    assert len(rows) == 101
    for is_call, letter, value in ((True, "C", "bs_call"), (False, "P", "bs_put")):
        terms = (table["S"], table["K"], table["t"], table["R"], 0, table["v"], is_call)
        ours = greeks(*terms)
        found = {
            value: price(*terms),
            f"{letter}D": ours.delta,
            f"{letter}G": ours.gamma,
            f"{letter}T": ours.theta * 365,
            f"{letter}V": ours.vega,
            f"{letter}R": ours.rho,
        }
        for name, column in found.items():
            np.testing.assert_allclose(column, table[name], rtol=6e-10, atol=6e-10, err_msg=name)
