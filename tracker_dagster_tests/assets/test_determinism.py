"""The same day again, the same seed elsewhere, a past day: the same rows, and no live request."""

import shutil
from datetime import timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import disable, enable
from tracker_dagster_tests.assets.place import (
    DAY,
    NOW,
    PAST,
    TODAY,
    Place,
    checks,
    materialised,
    recorded_market,
)

LIVE = ("/v3/snapshot", "/v2/snapshot", "/v2/last", "/v3/quotes", "/v3/trades")


def without_time(text):
    return [line for line in text.splitlines() if not line.startswith("- Generated")]


def summary(place):
    return (place.home / "data/reports/summary.md").read_text()


def test_the_world_of_these_tests_decides_something(settled):
    """Else the tests below would compare empty tables."""
    promoted = settled.rows("promotions").filter(pl.col("decision") == "promote")
    assert promoted.height >= 1
    assert settled.rows("openings").filter(pl.col("status") == "opened").height >= 1
    assert settled.rows("contract_health").height >= 1
    assert "\n| SOFI " in summary(settled)


@pytest.mark.slow
def test_a_day_done_again_changes_no_byte_of_any_row(settled):
    before, report = settled.content(), summary(settled)
    assert settled.run("flat_files", DAY).success
    assert settled.content() == before
    assert settled.run("flat_files", PAST[0], PAST[-1]).success
    assert settled.content() == before
    first = settled.run("daily", TODAY)
    assert first.success
    assert settled.content() == before
    assert summary(settled) == report


@pytest.mark.parametrize("switch", [disable, enable])
def test_a_past_day_is_not_decided_anew_by_what_came_after_it(settled, sim, switch):
    """A ticker is switched after the decisions, and the vendor's clock is a day further on."""
    decisions = ("structure_features", "suitability", "pick_candidates", "weekly_picks")
    before = {name: settled.rows(name, TODAY) for name in decisions}
    ticker = "SOFI" if switch is disable else "WFC"
    decided = ticker in before["weekly_picks"]["ticker"].to_list()
    assert decided is (switch is disable)
    assert switch(settled.warehouse, ticker, NOW + timedelta(minutes=5), actor="test")
    sim.set_clock(NOW + timedelta(days=1))
    try:
        assert settled.run(["universe", *decisions], TODAY).success
    finally:
        sim.set_clock(NOW)
    after = {name: settled.rows(name, TODAY) for name in decisions}
    for name in decisions:
        assert after[name].equals(before[name]), name


@pytest.mark.feature(36)
def test_the_same_rows_have_the_same_data_version(settled):
    def version(result):
        (event,) = result.asset_materializations_for_node("option_day_aggs")
        return event.metadata["data_version"].value

    first = version(settled.run(["option_day_aggs"], DAY))
    assert version(settled.run(["option_day_aggs"], DAY)) == first
    assert version(settled.run(["option_day_aggs"], PAST[0])) != first


@pytest.mark.slow
def test_two_homes_on_two_markets_of_one_seed_come_to_the_same(tmp_path, settled):
    """Another process of the market, another home: the same tables and the same report."""
    with recorded_market() as (sim, _):
        other = Place(tmp_path / "elsewhere", sim.url)
        other.enrol()
        assert other.run("flat_files", PAST[0] - timedelta(days=1), PAST[-1]).success
        assert other.run("daily", TODAY).success
    assert without_time(summary(other)) == without_time(summary(settled))
    assert other.content() == settled.content()


@pytest.mark.slow
def test_another_seed_gives_another_report(tmp_path, settled):
    with recorded_market(seed=7) as (sim, _):
        other = Place(tmp_path / "elsewhere", sim.url)
        other.enrol()
        assert other.run("daily", TODAY).success
    assert without_time(summary(other)) != without_time(summary(settled))


def test_a_past_day_asks_for_no_live_answer_and_states_its_gap(settled, requests):
    before = requests.under(*LIVE)
    day = PAST[2]
    result = settled.run("history", day)
    assert result.success
    assert requests.under(*LIVE) == before
    gaps = settled.rows("collection_gaps", day)
    assert set(gaps["dataset"]) == {"option_chain", "market_last"}
    assert gaps["reason"].str.contains("not captured at the decision time").all()
    for asset in ("option_chain", "market_last"):
        assert not checks(result, asset)["captured_whole"].passed
        assert settled.rows(asset, day).is_empty()
    # It is decided on the day files instead, and the report says so.
    picks = settled.rows("weekly_picks", day)
    assert set(picks["basis"]) == {"day_file"}
    report = (settled.home / f"data/reports/{day}/summary.md").read_text()
    assert "Basis: day_file" in report
    assert "missing: none" not in report
    # The latest session's report is not replaced by one of the past.
    assert str(TODAY) in summary(settled).splitlines()[0]


@pytest.mark.feature(6)
def test_a_captured_day_is_parsed_again_from_raw_after_its_rows_are_lost(settled, sim, requests):
    before, report = settled.content(), summary(settled)
    with settled.warehouse.connection(read_only=False) as connection:
        for table in ("option_chain", "market_last"):
            connection.execute(f"DELETE FROM {table}")
    assert settled.rows("option_chain").is_empty()
    asked = requests.under(*LIVE)
    later = NOW + timedelta(days=1)
    sim.set_clock(later)  # the session is over, its quotes are gone at the vendor
    try:
        result = settled.run(["option_chain", "market_last"], TODAY)
    finally:
        sim.set_clock(NOW)
    assert result.success
    assert materialised(result, "option_chain") == [str(TODAY)]
    assert requests.under(*LIVE) == asked
    assert settled.content() == before
    assert summary(settled) == report


def test_a_damaged_capture_is_refused_and_the_rows_stay(settled, sim):
    before = settled.content()
    pages = sorted((settled.home / "data/raw").rglob("*UBER*"))
    assert pages
    files = [path for page in pages for path in ([page] if page.is_file() else page.rglob("*"))]
    body = max((path for path in files if path.is_file()), key=lambda path: path.stat().st_size)
    body.write_bytes(body.read_bytes()[:-20])
    result = settled.run(["option_chain"], TODAY)
    assert not result.success
    assert settled.content() == before


def test_a_place_moved_elsewhere_is_the_same_place(settled, tmp_path, sim):
    """Nothing stored names the folder it lay in."""
    shutil.move(settled.home, tmp_path / "moved")
    moved = Place(tmp_path / "moved", sim.url)
    before = moved.content()
    assert moved.run("daily", TODAY).success
    assert moved.content() == before
