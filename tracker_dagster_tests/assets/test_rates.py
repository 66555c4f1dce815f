"""The yield curve of a session: which one it is, what is asked for it, and what stands in."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.rates import curve_of, rates_for
from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster_tests.assets.place import PAST, TODAY

PATH = "/fed/v1/treasury-yields"


def check(result):
    (event,) = [e for e in result.get_asset_check_evaluations() if "curve" in e.check_name]
    return event


def test_a_range_of_sessions_costs_one_request_and_each_has_the_curve_before_it(place, requests):
    asked = requests.under(PATH)
    result = place.run(["treasury_yields"], PAST[0], TODAY)
    assert result.success
    assert requests.under(PATH) == asked + 1
    curves = place.rows("treasury_yields").select("trade_date", "curve_date", "source").unique()
    assert curves.sort("trade_date").rows() == [
        (date(2026, 5, 27), date(2026, 5, 26), "massive_rest"),
        (date(2026, 5, 28), date(2026, 5, 27), "massive_rest"),
        (date(2026, 5, 29), date(2026, 5, 28), "massive_rest"),
        (date(2026, 6, 1), date(2026, 5, 29), "massive_rest"),
        (date(2026, 6, 2), date(2026, 6, 1), "massive_rest"),
        (date(2026, 6, 3), date(2026, 6, 2), "massive_rest"),
    ]
    today = place.rows("treasury_yields", TODAY)
    # Published in the evening of its day: known before the session opens.
    assert set(today["available_at"]) == {datetime(2026, 6, 2, 22, tzinfo=UTC)}
    terms = np.array([1 / 12, 0.3, 1.0, 2.5])
    truth = interest_rate(date(2026, 6, 2), terms)
    assert rates_for(curve_of(today), terms) == pytest.approx(truth, abs=1e-4)
    assert check(result).passed


def test_a_plan_without_yields_has_the_year_end_before_and_says_so(place, sim, requests):
    sim.fault("server_error", "/fed/*", status=403)
    asked = requests.under(PATH)
    result = place.run(["treasury_yields"], date(2024, 12, 31), date(2025, 1, 3))
    assert result.success
    assert requests.under(PATH) == asked + 1
    curves = place.rows("treasury_yields").select("trade_date", "curve_date", "source").unique()
    assert curves.sort("trade_date").rows() == [
        # The curve of the last day of the year is not known on that day.
        (date(2024, 12, 31), date(2023, 12, 29), "fallback"),
        (date(2025, 1, 2), date(2024, 12, 31), "fallback"),
        (date(2025, 1, 3), date(2024, 12, 31), "fallback"),
    ]
    assert curve_of(place.rows("treasury_yields", date(2025, 1, 3))).source == "fallback 2024-12-31"
    gaps = place.rows("collection_gaps")
    assert gaps["dataset"].to_list() == ["treasury_yields"] * 3
    assert gaps["reason"].str.contains("not in the plan").all()
    assert not check(result).passed
    # Subscribed later, the day gets its own curve and the gap closes.
    sim.clear_faults()
    assert check(place.run(["treasury_yields"], date(2025, 1, 3))).passed
    day = place.rows("treasury_yields", date(2025, 1, 3))
    assert set(day["source"]) == {"massive_rest"}
    assert set(day["curve_date"]) == {date(2025, 1, 2)}
    assert place.rows("collection_gaps")["trade_date"].max() == date(2025, 1, 2)


def test_what_is_stored_outlives_the_plan(place, sim):
    assert place.run(["treasury_yields"], TODAY).success
    before = place.rows("treasury_yields")
    sim.fault("server_error", "/fed/*", status=403)
    assert place.run(["treasury_yields"], TODAY).success
    assert place.rows("treasury_yields").equals(before)


def test_a_day_before_every_known_curve_has_none_and_says_so(place):
    day = date(2003, 9, 10)
    result = place.run(["treasury_yields"], day)
    assert result.success
    assert place.rows("treasury_yields").is_empty()
    assert "no curve" in place.rows("collection_gaps")["reason"].item()
    assert not check(result).passed


def test_an_old_curve_of_the_vendors_is_not_passed_off_as_the_sessions(place, monkeypatch):
    stale = pl.DataFrame({"date": [date(2026, 5, 20)], "months": [1], "yield_percent": [4.0]})
    monkeypatch.setattr(place.market.rest, "treasury_yields", lambda first, last: stale)
    result = place.run(["treasury_yields"], TODAY)
    assert result.success
    assert set(place.rows("treasury_yields")["source"]) == {"fallback"}
    assert "10 days before" in place.rows("collection_gaps")["reason"].item()
    assert not check(result).passed
