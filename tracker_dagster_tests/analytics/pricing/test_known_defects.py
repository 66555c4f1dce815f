"""Mistakes that public libraries shipped; each test fails where the mistake is made again."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import QuantLib as ql  # noqa: N813

from tracker_dagster.analytics.pricing import (
    Status,
    greeks,
    implied_volatility,
    implied_volatility_and_greeks,
    price,
)
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster_tests.analytics.pricing.books import BACKENDS

NEW_YORK = ZoneInfo("America/New_York")

backends = pytest.mark.parametrize("backend", BACKENDS)


@backends
def test_days_to_expiry_are_not_clamped(backend):
    """nautilus_trader #3581: a least number of days inflated volatility by the root of days."""
    for moment, expiry in (
        (datetime(2026, 11, 20, 15, 0, tzinfo=NEW_YORK), date(2026, 11, 20)),
        (datetime(2026, 11, 20, 15, 0, tzinfo=NEW_YORK), date(2028, 12, 15)),
    ):
        years = years_to_expiry(moment, expiry)
        # QuantLib's formula, with the time counted by hand.
        seconds = (datetime(*expiry.timetuple()[:3], 16, tzinfo=NEW_YORK) - moment).total_seconds()
        deviation = 0.326 * (seconds / 365 / 86400) ** 0.5
        value = ql.blackFormula(ql.Option.Call, 101.0, 100.0, deviation)
        implied = implied_volatility(value, 100, 101, years, 0, 0, True, backend=backend)
        assert implied.volatility == pytest.approx(0.326, rel=1e-9)


def test_more_than_a_day_is_not_its_seconds_alone():
    """OpenBB #3660: ``timedelta.seconds`` drops the days."""
    moment = datetime(2026, 11, 10, 10, 0, tzinfo=NEW_YORK)
    years = years_to_expiry(moment, date(2026, 11, 20))
    assert years == pytest.approx((10 + 6 / 24) / 365)


@backends
@pytest.mark.parametrize(
    "price_",
    [0.0, 4.0, 4.999, 104.999999999999999, 106.0, float("nan"), 1e-320],
)
@pytest.mark.parametrize("is_call", [True, False])
def test_failure_is_neither_zero_nor_a_default(price_, is_call, backend):
    """Lean returned 0 where its solver failed, zerogex a configured volatility."""
    implied, sensitivities = implied_volatility_and_greeks(
        price_, 105, 100, 0.5, 0, 0, is_call, backend=backend
    )
    if implied.status == Status.OK:
        again = price(105, 100, 0.5, 0, 0, implied.volatility, is_call, backend=backend)
        assert again == pytest.approx(price_, rel=1e-9, abs=1e-320)
    else:
        assert np.isnan(implied.volatility)
        assert np.isnan(sensitivities).all()


@backends
def test_dividend_yield_is_in_d1(backend):
    """Lean #7742: the yield discounted the spot but was missing in d1."""
    terms = (100.0, 100.0, 1.0, 0.03)
    value = price(*terms, 0.06, 0.2, True, backend=backend)
    calculator = ql.BlackCalculator(
        ql.PlainVanillaPayoff(ql.Option.Call, 100.0),
        100.0 * np.exp(0.03 - 0.06),
        0.2,
        np.exp(-0.03),
    )
    assert value == pytest.approx(calculator.value(), rel=1e-12)
    delta = greeks(*terms, 0.06, 0.2, True, backend=backend).delta
    assert delta == pytest.approx(calculator.delta(100.0), rel=1e-12)
    implied = implied_volatility(value, *terms, 0.06, True, backend=backend)
    assert implied.volatility == pytest.approx(0.2, rel=1e-13)
