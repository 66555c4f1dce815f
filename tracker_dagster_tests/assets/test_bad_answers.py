"""REST answers as they should not be, at the level of assets: a failure or a named gap."""

import shutil
from datetime import timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import add
from tracker_dagster_tests.assets.place import (
    DAY,
    NOW,
    TICKERS,
    TODAY,
    Place,
    checks,
    failed_steps,
    failure,
    recorded_market,
)

LASTING = [
    ("rate_limit", {}, "429"),
    ("rate_limit", {"body": False}, "429"),
    ("server_error", {"status": 500}, "500"),
    ("html", {"status": 200}, "HTML"),
    ("html", {"status": 502}, "502"),
    ("half_json", {}, "cut or damaged"),
    ("cut_body", {}, "cut short"),
    ("drop_connection", {}, "no connection"),
]


@pytest.mark.parametrize(("kind", "options", "said"), LASTING)
def test_a_reference_request_that_fails_for_good_fails_the_asset(settled, sim, kind, options, said):
    before = settled.content()
    sim.fault(kind, "/v3/reference/options/*", **options)
    result = settled.run(["option_contracts"], TODAY)
    assert not result.success
    text = failure(result)
    assert text.startswith(f"option_contracts {TODAY}: ")
    assert said in text
    assert settled.content() == before


def test_a_fault_that_passes_is_not_seen(settled, sim):
    before = settled.content()
    sim.fault("server_error", "/v3/reference/options/*", count=1, status=503)
    assert settled.run(["option_contracts"], TODAY).success
    assert settled.content() == before


@pytest.mark.parametrize(
    ("kind", "options", "said"), [*LASTING, ("repeat_cursor", {}, "next_url repeats")]
)
def test_one_chain_that_cannot_be_had_is_a_gap_and_the_others_land(place, sim, kind, options, said):
    sim.fault(kind, "/v3/snapshot/options/UBER", **options)
    result = place.run(["option_chain"], TODAY)
    assert result.success
    gaps = place.rows("collection_gaps").to_dicts()
    assert [(gap["subject"], gap["slot"]) for gap in gaps] == [("UBER", NOW)]
    assert said in gaps[0]["reason"]
    assert not checks(result, "option_chain")["captured_whole"].passed
    assert set(place.rows("option_chain")["underlying"]) > {"AAPL", "SOFI", "SPX"}
    assert "UBER" not in set(place.rows("option_chain")["underlying"])
    # Nothing half-read is left on disk to be taken for a chain later.
    names = place.market.raw.names("massive_snapshot", "option_chain", TODAY, NOW)
    assert "UBER" not in names
    # While its slot lasts the chain is asked for again, and the gap is gone.
    sim.clear_faults()
    again = place.run(["option_chain"], TODAY)
    assert checks(again, "option_chain")["captured_whole"].passed
    assert place.rows("collection_gaps").is_empty()
    assert "UBER" in set(place.rows("option_chain")["underlying"])


def test_no_chain_at_all_is_one_gap_and_keeps_what_was_captured(settled, sim):
    captured = settled.rows("option_chain")
    sim.fault("server_error", "/v3/snapshot/options/*")
    sim.set_clock(NOW + timedelta(minutes=10))
    try:
        result = settled.run(["option_chain"], TODAY)
    finally:
        sim.set_clock(NOW)
    assert result.success
    (gap,) = settled.rows("collection_gaps").to_dicts()
    assert gap["subject"] == "*"
    assert "nothing was captured" in gap["reason"]
    assert not checks(result, "option_chain")["captured_whole"].passed
    assert settled.rows("option_chain").equals(captured)


def test_an_unknown_ticker_is_named_and_stops_nobody_else(place):
    add(place.warehouse, "ZZZQ", NOW - timedelta(hours=1), "me", category="ETF")
    assert place.run(["universe", "stock_day_aggs"], DAY).success
    result = place.run("daily", TODAY)
    assert result.success
    covered = checks(result, "bars_1m")["universe_covered"]
    assert not covered.passed
    assert "ZZZQ" in str(covered.metadata)
    (last,) = place.rows("market_last").filter(pl.col("ticker") == "ZZZQ").to_dicts()
    assert (last["price"], last["status"]) == (None, "NOT_FOUND")
    picks = place.rows("weekly_picks").filter(pl.col("ticker") == "ZZZQ")
    assert set(picks["status"]) == {"missing"}
    assert picks["reason"].str.contains("price").all()
    others = place.rows("market_last").filter(pl.col("ticker").is_in(TICKERS))
    assert set(others["status"]) == {"OK"}
    assert "ZZZQ" in (place.home / "data/reports/summary.md").read_text()


def test_a_plan_without_snapshots_ends_in_named_gaps(place, tmp_path):
    with recorded_market(plan="basic") as (sim, _):
        poor = Place(tmp_path / "poor", sim.url)
        shutil.copytree(place.home, poor.home)
        result = poor.run(["option_chain", "market_last", "stock_day_aggs"], TODAY)
        # A day file that the plan does not include fails its asset and no other.
        assert failed_steps(result) == ["stock_day_aggs"]
        gaps = poor.rows("collection_gaps")
        assert set(gaps["dataset"]) == {"option_chain", "market_last"}
        assert gaps["reason"].str.contains("(?i)plan|entitled|upgrade").all(), gaps[
            "reason"
        ].to_list()
        assert poor.rows("option_chain").is_empty()


def test_a_market_that_is_not_running_is_said_so(tmp_path):
    place = Place(tmp_path / "home", "http://127.0.0.1:1")
    text = failure(place.run(["stock_day_aggs"], DAY))
    assert "the simulated market is not running: `tracker sim`" in text
