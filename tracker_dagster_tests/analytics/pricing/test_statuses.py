"""Every contract that has no volatility says why; shapes, missing numbers, and wrong arguments."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.pricing import (
    CashDividends,
    Greeks,
    Status,
    black76_implied_volatility,
    greeks,
    implied_volatility,
    implied_volatility_and_greeks,
    price,
    status_names,
)
from tracker_dagster_tests.analytics.pricing.books import BACKENDS

NAN, INF = float("nan"), float("inf")

#: A call in the money by five dollars, and what is changed of it.
SOUND = {
    "price": 8.0,
    "spot": 105.0,
    "strike": 100.0,
    "years": 0.5,
    "rate": 0.0,
    "dividend_yield": 0.0,
    "is_call": True,
}
REASONS = [
    ({}, Status.OK),
    ({"price": NAN}, Status.NO_PRICE),
    ({"spot": NAN}, Status.NO_SPOT),
    ({"spot": 0.0}, Status.NO_SPOT),
    ({"strike": NAN}, Status.NO_STRIKE),
    ({"strike": 0.0}, Status.NO_STRIKE),
    ({"rate": NAN}, Status.NO_RATE),
    ({"dividend_yield": NAN}, Status.NO_DIVIDENDS),
    ({"years": 0.0}, Status.EXPIRED),
    ({"years": -0.1}, Status.EXPIRED),
    ({"years": NAN}, Status.BAD_INPUT),
    ({"years": INF}, Status.BAD_INPUT),
    ({"price": -1.0}, Status.BAD_INPUT),
    ({"price": INF}, Status.BAD_INPUT),
    ({"spot": -105.0}, Status.BAD_INPUT),
    ({"spot": INF}, Status.BAD_INPUT),
    ({"strike": -1.0}, Status.BAD_INPUT),
    ({"rate": -INF}, Status.BAD_INPUT),
    ({"dividend_yield": INF}, Status.BAD_INPUT),
    # Finite, but not in a sum.
    ({"spot": 1.7e308, "strike": 1.7e308}, Status.BAD_INPUT),
    ({"price": 4.99}, Status.BELOW_INTRINSIC),
    ({"price": 0.0}, Status.BELOW_INTRINSIC),
    ({"price": 5.0}, Status.NO_TIME_VALUE),
    ({"price": 5.0 + 1e-14}, Status.NO_TIME_VALUE),
    ({"price": 0.0, "strike": 110.0}, Status.NO_TIME_VALUE),
    ({"price": 1e-200, "strike": 110.0}, Status.OK),
    ({"price": 105.0}, Status.ABOVE_MAX),
    ({"price": 200.0}, Status.ABOVE_MAX),
    ({"price": 104.99}, Status.OK),
    ({"price": 100.0, "is_call": False}, Status.ABOVE_MAX),
    # With interest the bounds are those of the forward, not of the spot.
    ({"price": 5.5, "rate": 0.05}, Status.BELOW_INTRINSIC),
    ({"price": 4.99, "dividend_yield": 0.05}, Status.OK),
    # The strongest reason is told: what is missing before what is wrong.
    ({"price": NAN, "spot": NAN, "years": 0.0}, Status.NO_PRICE),
    ({"spot": NAN, "years": 0.0}, Status.NO_SPOT),
    ({"rate": NAN, "years": -1.0}, Status.NO_RATE),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("change", "status"), REASONS, ids=str)
def test_reason(change, status, backend):
    implied, sensitivities = implied_volatility_and_greeks(**(SOUND | change), backend=backend)
    assert Status(int(implied.status)) is status
    assert np.isfinite(implied.volatility) == (status is Status.OK)
    assert np.isfinite(sensitivities).all() == (status is Status.OK)
    assert np.isnan(sensitivities).all() == (status is not Status.OK)
    alone = implied_volatility(**(SOUND | change), backend=backend)
    np.testing.assert_array_equal(alone, implied)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_bad_row_does_not_touch_the_others(backend):
    columns = {name: np.full(len(REASONS), value) for name, value in SOUND.items()}
    for row, (change, _) in enumerate(REASONS):
        for name, value in change.items():
            columns[name][row] = value
    implied = implied_volatility(**columns, backend=backend)
    assert list(implied.status) == [int(status) for _, status in REASONS]
    assert implied.status.dtype == np.int8
    np.testing.assert_array_equal(np.isfinite(implied.volatility), implied.status == Status.OK)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_without_volatility_or_time(backend):
    """Limits: the discounted pay-off at the forward without volatility, the pay-off at expiry."""
    terms = {"rate": 0.1, "dividend_yield": 0.02, "backend": backend}
    assert price(100, 90, 1.0, volatility=0.0, is_call=True, **terms) == pytest.approx(
        100 * np.exp(-0.02) - 90 * np.exp(-0.1), rel=1e-15
    )
    assert price(100, 90, 1.0, volatility=0.0, is_call=False, **terms) == 0.0
    assert price(100, 110, 0.0, volatility=0.3, is_call=False, **terms) == 10.0
    assert price(100, 110, 0.0, volatility=0.3, is_call=True, **terms) == 0.0
    assert price(100, 100, 0.0, volatility=0.3, is_call=True, **terms) == 0.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "change",
    [
        {"volatility": -0.1},
        {"volatility": NAN},
        {"volatility": INF},
        {"spot": 0.0},
        {"strike": -1.0},
        {"years": -0.5},
        {"rate": NAN},
    ],
    ids=str,
)
def test_values_of_nonsense_are_missing(change, backend):
    sound = {name: value for name, value in SOUND.items() if name != "price"}
    terms = sound | {"volatility": 0.2} | change
    assert np.isnan(price(**terms, backend=backend))
    assert np.isnan(greeks(**terms, backend=backend)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_expired_contracts_and_still_ones_have_no_greeks(backend):
    for years, volatility in ((0.0, 0.2), (0.5, 0.0)):
        ours = greeks(105, 100, years, 0.0, 0.0, volatility, True, backend=backend)
        assert np.isnan(ours).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_arguments_broadcast(backend):
    spot = np.array([[90.0], [100.0]])
    strike = np.array([95.0, 100.0, 105.0])
    values = price(spot, strike, 0.25, 0.04, 0, 0.3, True, backend=backend)
    assert values.shape == (2, 3)
    alone = [
        [float(price(s, k, 0.25, 0.04, 0, 0.3, True, backend=backend)) for k in strike]
        for s in spot[:, 0]
    ]
    np.testing.assert_array_equal(values, alone)
    implied = implied_volatility(values, spot, strike, 0.25, 0.04, 0, True, backend=backend)
    assert implied.volatility.shape == implied.status.shape == (2, 3)
    np.testing.assert_allclose(implied.volatility, 0.3, rtol=1e-13)
    sensitivities = greeks(spot, strike, 0.25, 0.04, 0, 0.3, True, backend=backend)
    assert isinstance(sensitivities, Greeks)
    assert {column.shape for column in sensitivities} == {(2, 3)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_scalars_empty_and_read_only(backend):
    assert price(100, 100, 1, 0, 0, 0.2, True, backend=backend).shape == ()
    assert price([], 100, 1, 0, 0, 0.2, True, backend=backend).shape == (0,)
    implied, sensitivities = implied_volatility_and_greeks(
        np.empty((0, 4)), 100, 100, 1, 0, 0, True, backend=backend
    )
    assert implied.status.shape == sensitivities.delta.shape == (0, 4)
    column = pl.Series([99.0, None, 101.0]).to_numpy()
    column.flags.writeable = False
    values = price(column, 100, 1, 0, 0, 0.2, True, backend=backend)
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    strided = np.arange(80.0, 120.0)[::7]
    np.testing.assert_array_equal(
        price(strided, 100, 1, 0, 0, 0.2, True, backend=backend),
        price(strided.copy(), 100, 1, 0, 0, 0.2, True, backend=backend),
    )


def test_arguments_are_left_as_they_were():
    spot = np.array([100.0, 101.0])
    dividends = CashDividends.same_for_all([(0.1, 1.0)])
    before = spot.copy()
    greeks(spot, 100, 1, 0, 0, 0.2, True, cash_dividends=dividends)
    np.testing.assert_array_equal(spot, before)


def test_shapes_that_do_not_broadcast_are_an_error():
    with pytest.raises(ValueError, match="broadcast"):
        price([1.0, 2.0], [1.0, 2.0, 3.0], 1, 0, 0, 0.2, True)


def test_unknown_style_or_backend_is_an_error():
    with pytest.raises(ValueError, match="bermudan"):
        price(100, 100, 1, 0, 0, 0.2, True, "bermudan")
    with pytest.raises(ValueError, match="torch"):
        price(100, 100, 1, 0, 0, 0.2, True, backend="torch")


def test_names_of_codes():
    codes = np.array([Status.OK, Status.NO_TIME_VALUE, Status.CHAIN_CONTRADICTS_VENDOR], np.int8)
    names = status_names(codes)
    assert names.dtype == pl.String
    assert names.to_list() == ["OK", "NO_TIME_VALUE", "CHAIN_CONTRADICTS_VENDOR"]
    assert status_names(np.array([], np.int8)).to_list() == []
    assert status_names(np.array(list(Status))).to_list() == [status.name for status in Status]


def test_black_76_has_the_same_reasons():
    implied = black76_implied_volatility(
        [NAN, 8.0, 4.0, 8.0], [105, NAN, 105, 105], 100, [0.5, 0.5, 0.5, 0], 0.0, True
    )
    assert status_names(implied.status).to_list() == [
        "NO_PRICE",
        "NO_SPOT",
        "BELOW_INTRINSIC",
        "EXPIRED",
    ]
