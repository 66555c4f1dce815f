"""A ticker that is enabled after files were read: its minutes are read again, once."""

import shutil
from datetime import date, timedelta

import dagster as dg
import polars as pl
import pytest

from tracker_dagster.automation.due_files import due_files, followed_tickers
from tracker_dagster.automation.sensors import day_files_published
from tracker_dagster.ledger.commands import CANONICAL_SINCE, disable, enable
from tracker_dagster.trading_calendar import sessions_between
from tracker_dagster_tests.assets.place import FIRST, LAST, NOW, PAST, TODAY, Place, checks

FILES = ["stock_day_aggs", "option_day_aggs", "bars_1m", "index_bars"]
#: The six sessions that the sensor looks at.
DAYS = sessions_between(date(2026, 5, 26), PAST[-1])
LATE = "SOFI"


@pytest.fixture(scope="module")
def _read(recorded, _enrolled, tmp_path_factory):
    home = tmp_path_factory.mktemp("read") / "home"
    shutil.copytree(_enrolled, home)
    place = Place(home, recorded[0].url)
    disable(place.warehouse, LATE, CANONICAL_SINCE + timedelta(days=1), actor="test")
    assert place.run(FILES, DAYS[0], DAYS[-1]).success
    assert place.rows("bars_1m").filter(ticker=LATE).is_empty()
    return home


@pytest.fixture
def before(sim, tmp_path, _read):
    """A home that read its files while nobody followed the ticker."""
    shutil.copytree(_read, tmp_path / "home")
    return Place(tmp_path / "home", sim.url)


def tick(place):
    resources = place.definitions.resources
    wanted = day_files_published.required_resource_keys
    context = dg.build_sensor_context(
        instance=place.instance, resources={name: resources[name] for name in wanted}
    )
    return day_files_published(context)


@pytest.mark.feature(11)
def test_its_minutes_of_past_sessions_are_read_again_once(before):
    assert isinstance(tick(before), dg.SkipReason)
    others = before.rows("bars_1m")
    enable(before.warehouse, LATE, NOW - timedelta(hours=1), actor="test")
    (request,) = tick(before).run_requests
    assert (request.tags[FIRST], request.tags[LAST]) == (str(DAYS[0]), str(DAYS[-1]))
    assert before.run(["bars_1m"], DAYS[0], DAYS[-1], tags=request.tags).success
    assert isinstance(tick(before), dg.SkipReason)
    rows = before.rows("bars_1m")
    assert rows.filter(pl.col("ticker") != LATE).equals(others)
    closes = rows.filter(ticker=LATE, is_regular=True).sort("start")
    lows = closes.group_by("trade_date").agg(pl.col("low").min()).sort("trade_date")
    days = before.rows("stock_day_aggs").filter(ticker=LATE).sort("trade_date")
    assert lows.rows() == days.select("trade_date", "low").rows()
    # What is decided today looks back over the sessions before it was enabled.
    assert before.run(["structure_features"], TODAY).success
    features = before.rows("structure_features", TODAY).filter(ticker=LATE)
    assert features["bars_1m_count"].item() >= 4 * 390


def test_a_ticker_that_did_not_trade_is_not_waited_for(before):
    enable(before.warehouse, "HOOD", NOW - timedelta(hours=1), actor="test")
    assert isinstance(tick(before), dg.SkipReason)
    result = before.run(["bars_1m"], DAYS[0])
    assert checks(result, "bars_1m")["universe_covered"].passed


def test_only_the_minutes_are_due_and_for_whom_is_said(before):
    enable(before.warehouse, LATE, NOW - timedelta(hours=1), actor="test")
    followed = followed_tickers(before.warehouse, NOW, ("SPY",))
    assert followed == {"AAPL", "SOFI", "UBER", "SPY"}
    due = due_files(before.market, before.warehouse, before.instance, DAYS, followed)
    assert {(file.table.name, file.lacking, file.is_replaced) for file in due} == {
        ("bars_1m", (LATE,), False)
    }
    assert [file.day for file in due] == DAYS
    assert len({file.identity for file in due}) == len(DAYS)
    earlier = followed_tickers(before.warehouse, NOW - timedelta(hours=2), ("SPY",))
    assert due_files(before.market, before.warehouse, before.instance, DAYS, earlier) == []


@pytest.mark.feature(11)
def test_nothing_is_deleted_of_a_ticker_that_is_disabled(settled):
    kept = settled.rows("bars_1m", DAYS[-1]).filter(ticker=LATE)
    assert kept.height
    disable(settled.warehouse, LATE, NOW - timedelta(hours=1), actor="test")
    assert settled.rows("bars_1m", DAYS[-1]).filter(ticker=LATE).equals(kept)
    # Even read again, the file of a day on which it was enabled gives its minutes.
    assert settled.run(["bars_1m"], DAYS[-1]).success
    assert settled.rows("bars_1m", DAYS[-1]).filter(ticker=LATE).equals(kept)
    assert followed_tickers(settled.warehouse, NOW, ()) == {"AAPL", "UBER"}
