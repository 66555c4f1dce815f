"""Calendars that the vendor overwrites, what a plan refuses, splits behind the prices."""

import shutil
from datetime import UTC, date, datetime, time

import numpy as np
import polars as pl
import pytest

from tracker_dagster.trading_calendar import EASTERN, decision_time, last_sessions, previous_session
from tracker_dagster_tests.assets.place import DAY, TODAY, Place, checks, recorded_market

#: Everything that a pick is made of on the day itself.
PICKS = ("suitability", "pick_candidates", "weekly_picks")


def at(day, hour, minute):
    return datetime.combine(day, time(hour, minute), EASTERN).astimezone(UTC)


@pytest.fixture
def new_place(tmp_path):
    """Makes enrolled homes on a market of the test's own."""

    def make(sim, enabled, name="home", **settings):
        place = Place(tmp_path / name, sim.url, enabled=enabled, more_settings=settings)
        place.enrol()
        return place

    return make


def flags(place, day, *columns):
    """The day_file decision's flags by ticker; it needs no captures."""
    rows = place.rows("weekly_picks", day).filter(pl.col("basis") == "day_file")
    return {row[0]: row[1:] for row in rows.select("ticker", *columns).rows()}


@pytest.mark.slow
def test_a_split_of_two_weeks_ago_is_known_without_its_days_partition(new_place):
    day = date(2026, 3, 23)
    with recorded_market(tickers=["AVGO", "SPY"], now=at(day, 15, 50)) as (sim, _):
        place = new_place(sim, ("AVGO",))
        days = last_sessions(previous_session(day), 30)
        assert place.run(["stock_day_aggs"], days[0], days[-1]).success
        assert place.run(["corporate_actions", *PICKS], day).success
        (pick,) = place.rows("weekly_picks", day).to_dicts()
        adjusted = place.market.rest.aggregates("AVGO", 1, "day", days[0], days[-1], adjusted=True)
    returns = np.diff(np.log(adjusted.sort("start")["close"].to_numpy()))
    assert pick["closes_count"] == 30
    assert pick["annual_volatility"] == pytest.approx(returns.std(ddof=1) * 252**0.5, rel=1e-3)
    assert pick["lane"] != "AGGRESSIVE"


@pytest.mark.slow
def test_an_announced_split_is_known_from_when_it_was_stored(new_place):
    first, second = date(2026, 3, 5), date(2026, 3, 6)
    with recorded_market(tickers=["AVGO", "AAPL", "SPY"], now=at(first, 15, 50)) as (sim, asked):
        place = new_place(sim, ("AVGO", "AAPL"))
        assert place.run(["corporate_actions", *PICKS], first).success
        # At 11:15 nobody had stored what is ahead.
        assert flags(place, first, "split_in_period") == {"AAPL": (None,), "AVGO": (None,)}
        ahead = place.rows("corporate_actions", first).filter(pl.col("ex_date") > first)
        assert ahead.filter(pl.col("action") == "split").select(
            "ticker", "available_at"
        ).rows() == [("AVGO", at(first, 15, 50))]
        sim.set_clock(at(second, 15, 50))
        assert place.run(["corporate_actions", *PICKS], second).success
        assert flags(place, second, "split_in_period") == {"AAPL": (False,), "AVGO": (True,)}
        # Rebuilt later, the days say what they said; the vendor is not asked again.
        before, requests = place.content(), asked.under("/stocks/v1")
        result = place.run(["corporate_actions", *PICKS], first)
        assert place.content() == before
        assert asked.under("/stocks/v1") == requests
        (event,) = result.asset_materializations_for_node("corporate_actions")
        assert "kept" in event.metadata["massive_rest"].value
        # A home that began on the second day cannot tell for the first.
        late = new_place(sim, ("AVGO", "AAPL"), "late")
        assert late.run(["corporate_actions", *PICKS], first).success
        assert flags(late, first, "split_in_period") == {"AAPL": (None,), "AVGO": (None,)}
        assert set(flags(late, first, "ex_dividend_in_period").values()) <= {(True,), (False,)}


@pytest.mark.slow
def test_a_past_day_does_not_forget_who_was_to_report(new_place):
    day, tickers = date(2026, 4, 17), ("AAPL", "SOFI", "UBER", "WFC", "BAC", "PLTR")
    with recorded_market(tickers=[*tickers, "SPY"], now=at(day, 15, 50)) as (sim, asked):
        place = new_place(sim, tickers)
        assert place.run(["earnings_calendar", *PICKS], day).success
        told = flags(place, day, "earnings_in_period")
        assert {(True,), (False,)} == set(told.values())
        sim.set_clock(at(date(2026, 4, 27), 12, 0))
        requests = asked.under("/benzinga")
        assert place.run(["earnings_calendar", *PICKS], day).success
        assert flags(place, day, "earnings_in_period") == told
        assert asked.under("/benzinga") == requests
        late = new_place(sim, tickers, "late")
        assert late.run(["earnings_calendar", *PICKS], day).success
        rebuilt = flags(late, day, "earnings_in_period", "earnings_note")
    for ticker, (flag, note) in rebuilt.items():
        assert flag in (None, told[ticker][0]), ticker
        assert "changed after the decision" in note or flag is not None
    assert any(flag is None for flag, _ in rebuilt.values())


REFUSED = {
    "bars_1m": ("/v2/aggs/*", "universe_covered", "massive_rest"),
    "option_contracts": ("/v3/reference/options/*", "in_plan", "massive_rest"),
    "corporate_actions": ("/stocks/v1/*", "in_plan", "massive_rest"),
    "earnings_calendar": ("/benzinga/*", "has_a_source", "massive_benzinga"),
}


@pytest.mark.parametrize("asset", REFUSED)
def test_what_the_plan_refuses_is_stated_and_stops_nothing(place, sim, asset):
    path, check, source = REFUSED[asset]
    sim.fault("server_error", path, status=403)
    if asset == "corporate_actions":
        sim.fault("server_error", "/v3/reference/*", status=403)
    result = place.run([asset], TODAY)
    assert result.success
    assert not checks(result, asset)[check].passed
    (gap,) = place.rows("collection_gaps").to_dicts()
    assert (gap["dataset"], gap["source"], gap["subject"]) == (asset, source, "*")
    assert gap["slot"] == decision_time(TODAY)
    assert "not in the plan" in gap["reason"]
    assert place.rows(asset).is_empty()
    assert place.rows("reference_collections").is_empty()
    sim.clear_faults()
    again = place.run([asset], TODAY)
    assert checks(again, asset)[check].passed
    assert place.rows("collection_gaps").is_empty()
    assert place.rows(asset).height > 0


@pytest.mark.feature(40)
def test_stock_bars_of_a_plan_without_flat_files_come_over_rest(place, tmp_path):
    with recorded_market(plan="basic") as (sim, asked):
        poor = Place(tmp_path / "poor", sim.url)
        shutil.copytree(place.home, poor.home)
        result = poor.run(["stock_day_aggs"], DAY)
        assert result.success
        (event,) = result.asset_materializations_for_node("stock_day_aggs")
        assert event.metadata["no_day_file"].value
        assert asked.under("/v2/aggs/grouped") == 1
    assert place.run(["stock_day_aggs"], DAY).success
    columns = ["ticker", "open", "high", "low", "close", "available_at"]
    over_rest = poor.rows("stock_day_aggs", DAY)
    assert set(over_rest["source"]) == {"massive_rest"}
    assert over_rest.select(columns).equals(place.rows("stock_day_aggs", DAY).select(columns))


def test_stock_bars_of_the_running_session_are_not_taken_over_rest(tmp_path, place):
    with recorded_market(plan="basic") as (sim, asked):
        poor = Place(tmp_path / "poor", sim.url)
        shutil.copytree(place.home, poor.home)
        assert not poor.run(["stock_day_aggs"], TODAY).success
        assert asked.under("/v2/aggs/grouped") == 0


def _replaced(place, table, day):
    """Run the table's day as if its file had been another one before; the alerts there are then."""
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute(
            "UPDATE ingested_files SET etag = 'another' WHERE table_name = ? AND trade_date = ?",
            [table, day],
        )
    assert place.run([table], day).success
    return place.rows("alerts").filter(pl.col("kind") == "stale_decision")["subject"].to_list()


@pytest.mark.feature(36)
def test_a_replaced_file_alerts_every_decision_that_read_its_day(settled):
    old = date(2026, 5, 28)
    assert _replaced(settled, "stock_day_aggs", old) == [f"stock_day_aggs {old}"]
    assert _replaced(settled, "bars_1m", old) == [f"bars_1m {old}", f"stock_day_aggs {old}"]
    assert settled.rows("weekly_picks")["inputs"].str.contains("another").sum() == 0


def test_a_replaced_file_that_no_decision_read_alerts_nobody(settled):
    assert _replaced(settled, "bars_1m", date(2026, 5, 26)) == []
    assert _replaced(settled, "option_day_aggs", date(2026, 5, 26)) == []
