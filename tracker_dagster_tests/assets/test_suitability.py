"""Suitability as the graph makes it: from stored closes, in a range or a day, and its scores."""

import shutil
from datetime import datetime, time, timedelta

import numpy as np
import polars as pl
import pytest

from tracker_dagster.assets.rates import ActionCalendars
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.strategy.picks import target_expiry
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.trading_calendar import (
    EASTERN,
    day_file_available_at,
    day_file_decision_time,
    last_sessions,
    next_session,
    previous_session,
)
from tracker_dagster_tests.assets.place import DAY, PAST, TICKERS, TODAY, Place

pytestmark = pytest.mark.feature(15)

#: Enough closes for statistics on each of the sessions that are looked at.
FIRST_FILE = last_sessions(PAST[0], 26)[0]
FILES = ("universe", "stock_day_aggs", "corporate_actions", "treasury_yields")


@pytest.fixture(scope="module")
def measured(recorded, _enrolled, tmp_path_factory):
    """A home with a month of closes, and the suitability of a week made in one run."""
    home = tmp_path_factory.mktemp("measured") / "home"
    shutil.copytree(_enrolled, home)
    place = Place(home, recorded[0].url)
    assert place.run(FILES, FIRST_FILE, PAST[-1]).success
    assert place.run(("corporate_actions", "treasury_yields"), TODAY).success
    assert place.run(("option_day_aggs",), DAY).success
    assert place.run(("suitability",), PAST[0], TODAY).success
    return place


def of(rows, ticker):
    return rows.filter(pl.col("ticker") == ticker).row(0, named=True)


def test_the_daily_run_measures_every_member_before_it_picks(settled):
    rows = settled.rows("suitability", TODAY)
    assert rows.height == 36
    assert set(rows["available_at"]) == {datetime.combine(TODAY, time(11, 15), EASTERN)}
    row = of(rows, "AAPL")
    closes = settled.rows("stock_day_aggs").filter(pl.col("ticker") == "AAPL")
    assert row["closes_count"] == closes.height == 6
    assert row["last_close"] == closes.sort("trade_date")["close"][-1]
    assert row["stats_reason"] == "6 closes, 20 needed"
    assert row["lane_reason"] == "volatility unknown: by category"
    # Splits and dividends come in one answer, known from the session's opening on.
    calendars = ActionCalendars.read(settled.warehouse, TODAY, TODAY)
    morning = day_file_decision_time(TODAY)
    assert calendars.has_splits(TODAY, morning)
    assert not calendars.has_splits(TODAY, morning - timedelta(hours=3))
    assert not calendars.has_splits(next_session(TODAY), morning + timedelta(days=1))


@pytest.mark.slow
def test_a_row_rests_on_the_stored_closes_of_sessions_before(measured):
    rows = measured.rows("suitability", DAY)
    assert set(rows["available_at"]) == {datetime.combine(DAY, time(11, 15), EASTERN)}
    # Every member has a row, whether or not it is enabled.
    assert rows.height == 36
    assert set(rows.filter("enabled")["ticker"]) == set(TICKERS)
    assert rows["premium_estimate_expiry"].unique().to_list() == [
        target_expiry(DAY, PickSettings())
    ]
    for ticker in TICKERS:
        row = of(rows, ticker)
        closes = measured.warehouse.read(
            STOCK_DAY_AGGS, last=previous_session(DAY), where={"ticker": ticker}
        ).sort("trade_date")["close"]
        returns = np.diff(np.log(closes.to_numpy()))
        assert row["closes_count"] == len(closes) >= 20
        assert row["last_close"] == closes[-1]
        assert row["last_session"] == previous_session(DAY)
        assert row["annual_volatility"] == pytest.approx(np.std(returns, ddof=1) * 252**0.5)
        assert row["premium_estimate_100"] > 0
        assert row["beta_reason"] == f"{len(returns)} returns in common with SPY, 60 needed"
    stranger = of(rows, "MARA")
    assert (stranger["stats_reason"], stranger["suitability"]) == ("no closes known", None)


@pytest.mark.slow
def test_a_range_and_single_days_give_the_same_rows_whatever_is_stored_since(measured):
    together = measured.rows("suitability")
    assert set(together["trade_date"]) == {*PAST, TODAY}
    for day in (TODAY, PAST[2], PAST[0]):
        assert measured.run(("suitability",), day).success
    assert measured.rows("suitability").equals(together)


@pytest.mark.slow
@pytest.mark.feature(19)
def test_estimates_are_scored_by_the_sessions_own_file(measured):
    result = measured.run(("premium_estimate_scores",), DAY, TODAY)
    assert result.success
    said = {
        event.partition: event.step_materialization_data.materialization.metadata
        for event in result.get_asset_materialization_events()
    }
    # Today's files are not out: nothing is written, and the day says so.
    assert "not out before 2026-06-04 11:00 ET" in said[str(TODAY)]["waiting"].value
    scores = measured.rows("premium_estimate_scores")
    assert scores["trade_date"].unique().to_list() == [DAY]
    assert set(scores["available_at"]) == {day_file_available_at(DAY)}
    assert said[str(DAY)]["scored"].value == scores["error_100"].count() > 0
    trades = measured.rows("option_day_aggs", DAY)
    estimates = measured.rows("suitability", DAY)
    for row in scores.drop_nulls("error_100").to_dicts():
        traded = trades.filter(pl.col("symbol") == row["traded_symbol"]).row(0, named=True)
        assert row["traded_100"] == pytest.approx(traded["close"] * 100)
        assert (traded["expiry"], traded["right"]) == (row["expiry"], "C")
        assert row["estimate_100"] == of(estimates, row["ticker"])["premium_estimate_100"]
        rivals = trades.filter(
            (pl.col("underlying") == row["ticker"])
            & (pl.col("right") == "C")
            & (pl.col("expiry") == row["expiry"])
        )
        distance = (rivals["strike"] - row["estimate_strike"]).abs().min()
        assert abs(row["traded_strike"] - row["estimate_strike"]) == pytest.approx(distance)


@pytest.mark.slow
def test_a_day_that_was_never_measured_has_no_scores_and_says_so(place):
    assert place.run(("universe", "option_day_aggs", "stock_day_aggs"), DAY).success
    result = place.run(("premium_estimate_scores",), DAY)
    assert result.success
    (event,) = result.get_asset_materialization_events()
    metadata = event.step_materialization_data.materialization.metadata
    assert metadata["no_estimates"].value == "suitability has no rows of the day"
    assert place.rows("premium_estimate_scores").is_empty()
