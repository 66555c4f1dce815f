"""What belongs to a slot, by the clock at the answer's arrival, and what a session decides once."""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tracker_dagster.ledger.commands import disable, enable
from tracker_dagster.resources import NOW_TAG, SLOT_TAG
from tracker_dagster_tests.assets.place import DAY, NOW, PAST, TODAY, checks

ET = ZoneInfo("America/New_York")
LIVE = ("/v3/snapshot",)
TOMORROW = date(2026, 6, 4)


def at(hour, minute, day=TODAY):
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ET)


@pytest.fixture
def clock(sim):
    """Sets the market's clock for one test."""
    yield sim.set_clock
    sim.set_clock(NOW, speed=0)


@pytest.fixture
def fresh(settled):
    """A home with day files whose captures and decisions of the day are still to come."""
    with settled.warehouse.connection(read_only=False) as connection:
        for table in ("option_chain", "market_last", "weekly_picks", "promotions", "ledger"):
            where = "kind LIKE 'position%'" if table == "ledger" else f"trade_date = '{TODAY}'"
            connection.execute(f"DELETE FROM {table} WHERE {where}")
    captured = settled.home / "data/raw/massive_snapshot"
    for folder in captured.glob(f"*/{TODAY}"):
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    return settled


def test_a_run_that_waited_until_the_next_day_captures_nothing(fresh, clock, requests):
    clock(at(11, 0, TOMORROW))
    before = requests.under(*LIVE)
    tags = {NOW_TAG: NOW.isoformat(), SLOT_TAG: NOW.isoformat()}
    result = fresh.run("chain_capture", TODAY, tags=tags)
    assert result.success
    assert requests.under(*LIVE) == before
    assert fresh.rows("option_chain", TODAY).is_empty()
    gaps = fresh.rows("collection_gaps", TODAY).filter(pl.col("dataset") == "option_chain")
    assert gaps["slot"].to_list() == [NOW]
    assert not checks(result, "option_chain")["captured_whole"].passed


def test_an_answer_that_comes_after_its_slot_is_a_gap(fresh, sim, clock):
    sim.fault("slow", "/v3/snapshot/options/AAPL*", seconds=1.5)
    sim.set_clock(NOW, speed=3600)  # a second of waiting is an hour of the market
    tags = {NOW_TAG: NOW.isoformat(), SLOT_TAG: NOW.isoformat()}
    assert fresh.run("chain_capture", TODAY, tags=tags).success
    assert fresh.rows("option_chain", TODAY).filter(pl.col("underlying") == "AAPL").is_empty()
    raw = fresh.home / "data/raw/massive_snapshot/option_chain" / str(TODAY)
    assert not [path for path in raw.rglob("*") if path.name == "AAPL"]
    gaps = fresh.rows("collection_gaps", TODAY).filter(pl.col("dataset") == "option_chain")
    assert gaps["reason"].str.contains("too late").any()


@pytest.mark.feature(6)
def test_every_row_of_a_slot_was_seen_within_its_quarter_of_an_hour(settled):
    rows = settled.rows("option_chain", TODAY)
    assert (rows["available_at"] - rows["slot"]).max() <= timedelta(minutes=15)
    assert (rows["available_at"] >= rows["slot"]).all()


@pytest.mark.feature(7)
def test_until_the_close_the_decision_still_has_its_prices(fresh, clock):
    clock(at(15, 59))
    assert fresh.run("daily", TODAY).success
    picks = fresh.rows("weekly_picks", TODAY).filter(pl.col("basis") == "snapshot")
    assert set(picks["decision_at"]) == {NOW}
    assert "picked" in set(picks["status"])


@pytest.mark.slow
def test_nothing_is_opened_on_a_chain_that_was_seen_after_the_close(fresh, clock):
    clock(at(16, 3))
    assert fresh.run("daily", TODAY).success
    assert fresh.rows("option_chain", TODAY).height > 0
    assert fresh.rows("openings", TODAY).filter(pl.col("status") == "opened").is_empty()


@pytest.mark.slow
def test_a_session_is_decided_at_one_slot_however_often_it_is_asked(fresh, clock):
    clock(at(15, 46))
    early = fresh.run("daily", TODAY)
    assert early.success
    assert set(fresh.rows("weekly_picks", TODAY)["basis"]) == {"day_file"}
    # Nothing is missing yet: the decision time has not come.
    gaps = fresh.rows("collection_gaps", TODAY)
    assert gaps.filter(pl.col("subject") == "*").is_empty()
    for moment in (at(15, 51), at(16, 5), at(16, 10)):
        clock(moment)
        assert fresh.run("daily", TODAY).success
    picks = fresh.rows("weekly_picks", TODAY).filter(pl.col("basis") == "snapshot")
    assert set(picks["decision_at"]) == {NOW}


def test_in_the_evening_nothing_is_captured_and_the_gap_is_named(fresh, clock, requests):
    clock(at(19, 30))
    before = requests.under(*LIVE)
    assert fresh.run("daily", TODAY).success
    assert requests.under(*LIVE) == before
    assert set(fresh.rows("weekly_picks", TODAY)["basis"]) == {"day_file"}
    gaps = fresh.rows("collection_gaps", TODAY).filter(pl.col("subject") == "*")
    assert set(gaps["dataset"]) == {"option_chain", "market_last"}
    report = (fresh.home / "data/reports/summary.md").read_text()
    assert "Basis: day_file" in report


def test_who_was_enabled_later_takes_no_part_in_a_decision(settled):
    before = settled.rows("weekly_picks", TODAY)
    disable(settled.warehouse, "SOFI", at(15, 55), "me")
    enable(settled.warehouse, "IWM", at(14, 0), "me")
    assert settled.run(["pick_candidates", "weekly_picks"], TODAY).success
    after = settled.rows("weekly_picks", TODAY)
    morning = after.filter(pl.col("basis") == "day_file")
    assert morning.equals(before.filter(pl.col("basis") == "day_file"))
    afternoon = after.filter(pl.col("basis") == "snapshot")
    assert set(afternoon["ticker"]) - set(before["ticker"]) == {"IWM"}
    assert "SOFI" in set(afternoon["ticker"])


def test_decisions_say_which_sessions_they_read(settled):
    (inputs,) = set(
        settled.rows("weekly_picks", TODAY).filter(pl.col("basis") == "snapshot")["inputs"]
    )
    read = pl.Series([inputs]).str.json_decode(
        pl.Struct({"stock_day_aggs": pl.Struct({"first": pl.String, "last": pl.String})})
    )
    assert read[0]["stock_day_aggs"]["last"] == str(DAY)
    assert read[0]["stock_day_aggs"]["first"] < str(PAST[0])
