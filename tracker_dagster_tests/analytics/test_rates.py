"""Zero rates against arithmetic done by hand, QuantLib's bootstrap, and the simulated market."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.rates import Curve, curve_of, rates_for, zero_rates
from tracker_dagster.marketsim.world.events import MATURITIES, interest_rate
from tracker_dagster.sources.year_end_yields import year_end_yields

BASIS_POINT = 1e-4


def test_short_yields_compound_half_yearly():
    # APY = (1 + I/2)^2 - 1; the Treasury's own example is 8.00 % -> 8.16 %.
    assert np.expm1(zero_rates([1, 6], [8.0, 8.0])) == pytest.approx([0.0816, 0.0816], abs=1e-12)


def test_coupons_are_stripped_from_par_yields():
    # Two half-years at 4 % and 4.5 %: 2.25 * D(0.5) + 102.25 * D(1) = 100.
    half = 1 / 1.02
    whole = (100 - 2.25 * half) / 102.25
    rates = zero_rates([6, 12], [4.0, 4.5])
    assert rates == pytest.approx([-2 * np.log(half), -np.log(whole)], abs=1e-14)


def test_a_flat_par_curve_is_a_flat_zero_curve():
    rates = zero_rates([1, 3, 6, 12, 24, 60, 120, 360], [5.0] * 8)
    assert rates == pytest.approx(2 * np.log(1.025), abs=1e-13)


@pytest.mark.parametrize("day", [date(2009, 12, 31), date(2006, 12, 29), date(2024, 12, 31)])
def test_bonds_at_par_cost_a_hundred(day):
    """Whole par bonds are priced with QuantLib's own discounting of our zero curve."""
    ql = pytest.importorskip("QuantLib")
    curve = year_end_yields().filter(pl.col("date") == day)
    months, percent = curve["months"].to_numpy(), curve["yield_percent"].to_numpy()
    dense = np.arange(6, 366, 6)
    par = np.interp(dense, months, percent)
    zeros = zero_rates(dense, par)
    start = ql.Date(15, 1, 2026)
    ql.Settings.instance().evaluationDate = start
    count = ql.Thirty360(ql.Thirty360.BondBasis)
    dates = [start, *(start + ql.Period(int(month), ql.Months) for month in dense)]
    handle = ql.YieldTermStructureHandle(ql.ZeroCurve(dates, [zeros[0], *zeros], count))
    engine = ql.DiscountingBondEngine(handle)
    for month, coupon in zip(dense, par, strict=True):
        schedule = ql.Schedule(
            start, start + ql.Period(int(month), ql.Months), ql.Period(ql.Semiannual),
            ql.NullCalendar(), ql.Unadjusted, ql.Unadjusted, ql.DateGeneration.Forward, False,
        )  # fmt: skip
        bond = ql.FixedRateBond(0, 100.0, schedule, [coupon / 100], count)
        bond.setPricingEngine(engine)
        assert bond.NPV() == pytest.approx(100.0, abs=1e-9), month
    # What is published only at some maturities gives the same zero rates there.
    assert zero_rates(months, percent)[months >= 6] == pytest.approx(
        zeros[np.isin(dense, months)], abs=1e-12
    )


@pytest.mark.parametrize("day", [date(2012, 3, 1), date(2019, 8, 20), date(2026, 6, 2)])
def test_the_rate_of_the_simulated_market_is_found_within_a_basis_point(day):
    months = [round(12 * years) for years in MATURITIES.values()]
    percent = [
        round(200 * float(np.expm1(interest_rate(day, years) / 2)), 2)
        for years in MATURITIES.values()
    ]
    curve = Curve(np.array(months) / 12, zero_rates(months, percent), "treasury")
    # To three years, the longest option: its yields are of zero bonds, which matters from five on.
    terms = np.linspace(1 / 12, 3, 200)
    assert np.abs(rates_for(curve, terms) - interest_rate(day, terms)).max() < BASIS_POINT
    week = np.array([7 / 365])
    assert np.abs(rates_for(curve, week) - interest_rate(day, week)).max() < 1.6 * BASIS_POINT


CURVE = Curve(np.array([1 / 12, 0.25, 1.0]), np.array([0.05, 0.04, 0.02]), "fallback 2024-12-31")


def test_between_maturities_linear_below_the_first_flat_past_the_last_nothing():
    terms = np.array([[0.0, 1 / 365, 1 / 12], [0.625, 1.0, 1.0000001], [-0.1, np.nan, 30.0]])
    expected = np.array([[0.05, 0.05, 0.05], [0.03, 0.02, np.nan], [np.nan, np.nan, np.nan]])
    np.testing.assert_allclose(rates_for(CURVE, terms), expected, rtol=1e-12)
    assert CURVE.limit == "no rate: the curve (fallback 2024-12-31) ends at 1 years"


def test_nothing_to_discount_coupons_with():
    rates = zero_rates([3, 240], [1.0, 4.0])
    assert np.isfinite(rates).all()
    assert np.isnan(zero_rates([24, 240], [1.0, 4.0])).all()
    assert zero_rates([], []).shape == (0,)
    with pytest.raises(ValueError, match="ascend"):
        zero_rates([6, 3], [1.0, 1.0])


def test_negative_yields_are_rates_like_others():
    assert zero_rates([1, 6], [-0.5, -0.4]) == pytest.approx(
        [2 * np.log(0.9975), 2 * np.log(0.998)], abs=1e-15
    )


def rows(*curves):
    return pl.DataFrame(
        [(day, months, rate, source) for day, source, points in curves for months, rate in points],
        schema=["curve_date", "months", "rate", "source"],
        orient="row",
    )


def test_a_curve_says_where_it_is_from():
    day = date(2026, 6, 2)
    curve = curve_of(rows((day, "massive_rest", [(12, 0.04), (1, 0.05), (24, None)])))
    assert curve.source == "treasury 2026-06-02"
    assert curve.years.tolist() == [1 / 12, 1.0]
    assert curve.rates.tolist() == [0.05, 0.04]
    old = curve_of(rows((date(2024, 12, 31), "fallback", [(1, 0.04)])))
    assert old.source == "fallback 2024-12-31"
    assert curve_of(rows((day, "massive_rest", []))) is None
    with pytest.raises(ValueError, match="2 curves"):
        curve_of(rows((day, "massive_rest", [(1, 0.04)]), (day, "fallback", [(1, 0.04)])))


def test_tracked_curves_are_of_each_year_end_and_lie_in_order():
    curves = year_end_yields()
    days = curves["date"].unique().sort()
    assert [day.year for day in days] == list(range(2003, 2025))
    assert all((day.month, day.day) >= (12, 29) for day in days)
    assert curves["yield_percent"].is_between(0, 6).all()
    assert set(curves.group_by("date").len()["len"]) == {10, 11}
