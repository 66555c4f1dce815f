"""The yield curve of a session: which one it is, what is asked for it, and what stands in."""

import logging
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.rates import curve_of, rates_for
from tracker_dagster.assets.ahead import Ahead
from tracker_dagster.assets.rates import curve_on, dividends_on
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster.resources import FixedClock, Knobs
from tracker_dagster_tests.assets.place import NOW, PAST, TODAY, Place, recorded_market

PATH = "/fed/v1/treasury-yields"


def day_run(place, day, now):
    return DayRun(
        day=day, now=now, clock=FixedClock(now), warehouse=place.warehouse, market=place.market,
        knobs=Knobs.from_settings(place.settings), config={}, log=logging.getLogger("test"),
        tags={}, is_first=True, is_last=True, ahead=Ahead([day]),
    )  # fmt: skip


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
    assert curve_of(today).source == "treasury 2026-06-02"
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


def test_a_moment_sees_the_curve_only_once_it_was_published(place):
    assert place.run(["treasury_yields"], TODAY).success
    run = day_run(place, TODAY, NOW)
    assert curve_on(run, NOW).source == "treasury 2026-06-02"
    assert curve_on(run, datetime(2026, 6, 2, 21, 59, tzinfo=UTC)) is None


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


def test_dividends_are_those_the_simulated_market_prices_with_as_far_as_declared(tmp_path):
    """CSCO has a special distribution ahead, which its contracts are adjusted for."""
    day = date(2026, 4, 15)
    moment = datetime(2026, 4, 15, 19, 50, tzinfo=UTC)
    payers = ("AAPL", "CSCO", "BAC", "SOFI")
    with recorded_market(tickers=[*payers, "SPY"], now=moment) as (sim, _):
        place = Place(tmp_path / "home", sim.url, enabled=payers)
        place.enrol()
        assert place.run(["corporate_actions"], day).success
        run = day_run(place, day, moment)
        ahead, sources = dividends_on(run, moment, [*payers, "GE", "SPX"])
        before, unknown = dividends_on(run, moment - timedelta(hours=7), payers)
        truth = []
        for name in payers:
            known = [
                paid.ex_dividend_date
                for paid in sim.world.dividends(name)
                if paid.declaration_date <= day < paid.ex_dividend_date and not paid.special
            ]
            option_class = sim.simulation.chains.listings.option_class(name)
            priced = sim.simulation.chains.dividends_ahead(option_class, moment)[: len(known)]
            truth += [(name, *row) for row in zip(known, *priced.T, strict=True)]
    stored = place.rows("corporate_actions", day)
    assert stored.filter(distribution_type="special")["ticker"].to_list() == ["CSCO"]
    assert {row[0] for row in truth} == {"BAC", "CSCO"}
    truth.sort()
    assert ahead.select("underlying", "ex_date").rows() == [row[:2] for row in truth]
    for name, column in (("years", 2), ("amount", 3)):
        assert ahead[name].to_list() == pytest.approx([row[column] for row in truth], rel=1e-9)
    # Every ticker was asked for: of one without a row it is known that it pays none.
    assert dict(sources.rows()) == {
        **dict.fromkeys([*payers, "GE"], "corporate_actions"), "SPX": "index"
    }  # fmt: skip
    # Before the session opened its calendar was not known as a whole.
    assert set(unknown["dividend_source"]) == {"incomplete", "not_collected"}
    assert before.height == len(truth)
