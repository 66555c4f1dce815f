"""Our session table against the vendor's holidays, in both directions."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from tracker_dagster.automation.housekeeping import calendar_check, calendar_disagreements
from tracker_dagster.marketsim import MarketSim
from tracker_dagster.resources import FixedClock, MarketData, WarehouseResource
from tracker_dagster.schemas.system import ALERTS
from tracker_dagster.settings import Settings

#: A Friday; Thanksgiving is the 26th, with an early close on the 27th and on Christmas Eve.
TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 13, tzinfo=UTC)
AT_ONE = [datetime(2026, 11, 27, 18, tzinfo=UTC), datetime(2026, 12, 24, 18, tzinfo=UTC)]


def listed(*rows, exchange="NYSE"):
    return pl.DataFrame(
        [(day, exchange, status, "Some Day", close) for day, status, close in rows],
        schema={
            "date": pl.Date,
            "exchange": pl.String,
            "status": pl.String,
            "name": pl.String,
            "close": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )


VENDOR = (
    (date(2026, 11, 26), "closed", None),
    (date(2026, 11, 27), "early-close", AT_ONE[0]),
    (date(2026, 12, 24), "early-close", AT_ONE[1]),
    (date(2026, 12, 25), "closed", None),
)


def without(day):
    return listed(*(row for row in VENDOR if row[0] != day))


def test_two_calendars_that_agree():
    assert calendar_disagreements(listed(*VENDOR), TODAY) == []


@pytest.mark.parametrize(
    ("day", "said"),
    [
        (date(2026, 11, 26), "our table is closed, the vendor lists no holiday"),
        (date(2026, 11, 27), "our table closes early, the vendor lists no early close"),
        (date(2026, 12, 24), "our table closes early, the vendor lists no early close"),
    ],
)
def test_what_the_vendor_does_not_list_is_a_difference(day, said):
    assert calendar_disagreements(without(day), TODAY) == [f"{day}: {said}"]


def test_what_our_table_does_not_have_is_a_difference():
    more = [(date(2026, 12, 1), "closed", None), (date(2026, 12, 2), "early-close", None)]
    wrong = (date(2026, 11, 27), "early-close", AT_ONE[0].replace(hour=19))
    found = calendar_disagreements(listed(VENDOR[0], wrong, *VENDOR[2:], more[0]), TODAY)
    assert [line[:10] for line in found] == ["2026-11-27", "2026-12-01"]
    assert "19:00 UTC, our table at 18:00 UTC" in found[0]


def test_the_vendors_list_answers_for_no_day_after_its_last():
    # Christmas is not listed yet, and neither is its eve.
    assert calendar_disagreements(listed(*VENDOR[:2]), TODAY) == []


def test_a_holiday_of_today_is_not_upcoming_any_more():
    assert calendar_disagreements(listed(*VENDOR[1:]), date(2026, 11, 26)) == []


def test_other_exchanges_are_not_asked():
    assert calendar_disagreements(listed(VENDOR[0], exchange="OTC"), TODAY) == []


@pytest.fixture(scope="module")
def sim():
    with MarketSim(tickers=["AAPL"], now=NOW) as running:
        yield running


def check(tmp_path, url, answer=None):
    market = MarketData(Settings(data_dir=tmp_path, sim_url=url))
    if answer is not None:
        market.rest.upcoming_holidays = lambda: answer
    warehouse = WarehouseResource(database=str(tmp_path / "tracker.duckdb"))
    result = calendar_check.execute_in_process(
        resources={"market": market, "clock": FixedClock(NOW), "warehouse": warehouse},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )
    return result, warehouse.warehouse.read(ALERTS)


def test_the_simulated_vendor_agrees(tmp_path, sim):
    result, alerts = check(tmp_path, sim.url)
    assert result.success
    assert alerts.is_empty()


def test_a_vendor_that_lists_nothing_is_worth_a_warning(tmp_path, sim):
    result, alerts = check(tmp_path, sim.url, listed())
    assert result.success
    assert alerts.select("severity", "kind").rows() == [("warning", "calendar")]


def test_a_difference_is_an_alert_and_a_failed_run(tmp_path, sim):
    result, alerts = check(tmp_path, sim.url, without(date(2026, 11, 26)))
    assert not result.success
    assert alerts["severity"].to_list() == ["error"]
    assert "2026-11-26" in alerts["message"][0]
