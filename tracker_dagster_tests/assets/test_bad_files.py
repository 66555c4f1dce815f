"""Day files as they should not be: a clear failure or quarantined rows, the partition as it was."""

import gzip
import io
import re
from datetime import date

import boto3
import dagster as dg
import polars as pl
import pytest

from tracker_dagster.automation.sensors import day_files_published
from tracker_dagster.resources import FixedClock
from tracker_dagster_tests.assets.place import (
    DAY,
    NOW,
    PAST,
    TODAY,
    checks,
    failure,
    materialised,
)

STOCKS, OPTIONS = "*us_stocks_sip/day_aggs*", "*us_options_opra/day_aggs*"


def file_of(place, dataset="us_stocks_sip/day_aggs_v1", day=DAY):
    """The vendor's rows, read without our loader."""
    client = boto3.client(
        "s3",
        endpoint_url=place.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    body = client.get_object(Bucket="flatfiles", Key=f"{dataset}/{day:%Y/%m}/{day}.csv.gz")["Body"]
    return pl.read_csv(io.BytesIO(gzip.decompress(body.read())))


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("truncated_gzip", {}, "the gzip file is cut"),
        ("wrong_crc", {}, "CRC check failed"),
        ("empty_file", {}, "an empty file"),
        ("html_file", {}, "HTML"),
        ("html", {"status": 200}, "expected a file"),
        ("wrong_day", {}, "a file of another day: .* the first is of 2026-06-01"),
        (
            "missing_file",
            {},
            "the vendor has no .* file of 2026-06-02; it was due 2026-06-03 11:00",
        ),
        ("rate_limit", {}, "too many downloads at once .*429"),
        ("server_error", {"status": 503}, "the bucket failed .*503"),
        ("cut_body", {}, "the bucket failed"),
        ("half_json", {}, "the gzip file is cut"),
        ("drop_connection", {}, "the bucket failed"),
    ],
)
def test_an_unreadable_file_fails_the_day_and_leaves_it_as_it_was(
    settled, sim, kind, options, said
):
    before = settled.content()
    sim.fault(kind, STOCKS, **options)
    result = settled.run(["stock_day_aggs"], DAY)
    assert not result.success
    text = failure(result)
    assert text.startswith(f"stock_day_aggs {DAY}: ")
    assert re.search(said, text), text
    assert materialised(result, "stock_day_aggs") == []
    assert settled.content() == before


def test_option_files_outside_the_plan_are_a_stated_gap_and_stop_nothing_else(settled, sim):
    """Stocks have REST to fall back on; a market of option day bars is in no REST answer."""
    before = settled.content("collection_gaps")
    sim.fault("unentitled_file", OPTIONS)
    result = settled.run(["option_day_aggs", "option_greeks"], DAY)
    assert result.success
    said = checks(result, "option_day_aggs")["in_plan"]
    assert not said.passed
    assert re.search(
        "does not include it .*403", said.metadata["failed"].value[str(DAY)]["not_in_plan"]
    )
    assert settled.content("collection_gaps") == before, "what was read before stays"
    gaps = settled.rows("collection_gaps", DAY).filter(pl.col("dataset") == "option_day_aggs")
    assert gaps.height == 1
    sim.clear_faults()
    assert settled.run(["option_day_aggs"], DAY).success
    gaps = settled.rows("collection_gaps", DAY).filter(pl.col("dataset") == "option_day_aggs")
    assert gaps.is_empty(), "a plan that includes the file closes the gap"


def test_a_wrong_key_fails_the_day_and_names_no_key(place, sim):
    place.more_settings = {
        "massive_api_key": "bad",
        "massive_key_id": "bad",
        "massive_secret_key": "s3cret",
        "massive_rest_url": sim.url,
        "massive_s3_url": sim.url,
    }
    place.resources = {"clock": FixedClock(NOW)}
    before = place.content()
    assert "the bucket does not know this key" in failure(place.run(["stock_day_aggs"], DAY))
    assert "401" in failure(place.run(["option_contracts"], DAY))
    assert place.content() == before


def test_the_same_rows_in_another_order_of_columns_or_with_one_more_are_the_same_rows(settled, sim):
    before = settled.content("ingested_files", "alerts")
    sim.fault("reordered_header", STOCKS)
    assert settled.run(["stock_day_aggs"], DAY).success
    assert settled.content("ingested_files", "alerts") == before
    sim.clear_faults()
    sim.fault("extra_column", STOCKS)
    result = settled.run(["stock_day_aggs"], DAY)
    assert settled.content("ingested_files", "alerts") == before
    (event,) = result.asset_materializations_for_node("stock_day_aggs")
    assert event.metadata["unknown_columns"].value == ["surprise"]


def test_fractional_volumes_are_kept_as_they_are(settled):
    sent = file_of(settled).select("ticker", "volume").sort("ticker")
    stored = settled.rows("stock_day_aggs", DAY).select("ticker", "volume").sort("ticker")
    assert (sent["volume"] % 1 != 0).any()
    assert stored.equals(sent)


def test_a_negative_price_is_set_aside_with_its_rule_and_the_rest_lands(settled, sim):
    whole = settled.rows("stock_day_aggs", DAY)
    sim.fault("negative_price", STOCKS)
    (bad,) = file_of(settled).filter(pl.col("close") < 0)["ticker"]
    result = settled.run(["stock_day_aggs"], DAY)
    assert result.success
    assert settled.rows("stock_day_aggs", DAY).equals(whole.filter(pl.col("ticker") != bad))
    aside = settled.quarantined("stock_day_aggs", DAY)
    assert {bad in row["row_key"] for row in aside} == {True}
    assert any("close" in row["rule"] for row in aside)
    found = checks(result, "stock_day_aggs")["rows_obey_schema"]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.ERROR  # one row of 64 is more than a hundredth
    # The vendor's repaired file takes the rows out of quarantine again.
    sim.clear_faults()
    assert checks(settled.run(["stock_day_aggs"], DAY), "stock_day_aggs")["rows_obey_schema"].passed
    assert settled.rows("stock_day_aggs", DAY).equals(whole)
    assert settled.quarantined("stock_day_aggs", DAY) == []


def test_equal_duplicates_become_one_row_and_are_counted(settled, sim):
    before = settled.rows("stock_day_aggs", DAY)
    sim.fault("duplicate_rows", STOCKS)
    assert file_of(settled)["ticker"].is_duplicated().sum() == 2
    result = settled.run(["stock_day_aggs"], DAY)
    (event,) = result.asset_materializations_for_node("stock_day_aggs")
    assert event.metadata["rows_collapsed"].value == 1
    assert settled.rows("stock_day_aggs", DAY).equals(before)
    assert settled.quarantined("stock_day_aggs", DAY) == []


def test_conflicting_duplicates_are_all_set_aside(settled, sim):
    whole = settled.rows("stock_day_aggs", DAY)
    sim.fault("conflicting_rows", STOCKS)
    sent = file_of(settled)
    (twice,) = set(sent.filter(sent["ticker"].is_duplicated())["ticker"])
    result = settled.run(["stock_day_aggs"], DAY)
    assert not checks(result, "stock_day_aggs")["rows_obey_schema"].passed
    assert settled.rows("stock_day_aggs", DAY).equals(whole.filter(pl.col("ticker") != twice))
    aside = settled.quarantined("stock_day_aggs", DAY)
    assert [row["rule"] for row in aside] == ["conflicting_duplicate"] * 2
    assert len({row["raw"] for row in aside}) == 2


def test_a_malformed_option_symbol_is_set_aside_and_the_others_land(settled, sim):
    before = settled.rows("option_day_aggs", DAY)
    replaced = file_of(settled, "us_options_opra/day_aggs_v1")["ticker"][3]
    sim.fault("malformed_symbol", OPTIONS)
    result = settled.run(["option_day_aggs"], DAY)
    assert settled.rows("option_day_aggs", DAY).equals(before.filter(pl.col("symbol") != replaced))
    aside = settled.quarantined("option_day_aggs", DAY)
    assert {"O:AAPL211022C000150000" in row["raw"] for row in aside} == {True}
    found = checks(result, "option_day_aggs")["rows_obey_schema"]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN


def test_a_bad_day_in_a_range_keeps_the_days_before_it_and_touches_none_after(place, sim):
    bad = PAST[2]
    sim.fault("wrong_crc", f"*us_stocks_sip/day_aggs_v1/*{bad}*")
    result = place.run(["stock_day_aggs"], PAST[0], PAST[-1])
    assert not result.success
    assert failure(result).startswith(f"stock_day_aggs {bad}: ")
    done = place.instance.get_materialized_partitions(dg.AssetKey("stock_day_aggs"))
    assert done == {str(day) for day in PAST[:2]}
    assert sorted(set(place.rows("stock_day_aggs")["trade_date"])) == PAST[:2]
    sim.clear_faults()
    assert place.run(["stock_day_aggs"], bad, PAST[-1]).success
    assert sorted(set(place.rows("stock_day_aggs")["trade_date"])) == PAST


def test_a_future_session_and_a_day_off_are_refused(settled):
    before = settled.content()
    text = failure(settled.run(["stock_day_aggs"], TODAY))
    assert "it is due 2026-06-04 11:00 ET" in text
    text = failure(settled.run(["universe"], date(2026, 6, 4)))
    assert "has not opened yet: the market's clock is at 2026-06-03 15:50 ET" in text
    # A tag that names Memorial Day must not quietly do the Tuesday after it.
    text = failure(settled.run(["universe"], date(2026, 5, 25)))
    assert "2026-05-25 has no partition" in text
    assert settled.content() == before


def sensor_tick(place):
    resources = place.definitions.resources
    context = dg.build_sensor_context(
        instance=place.instance,
        resources={name: resources[name] for name in ("clock", "knobs", "market", "warehouse")},
    )
    return day_files_published(context)


def test_a_replaced_file_is_noticed_and_read_again_and_the_same_one_is_not(settled, sim):
    quiet = sensor_tick(settled)
    assert isinstance(quiet, dg.SkipReason)
    assert "no new or replaced file" in quiet.skip_message
    before = settled.rows("stock_day_aggs")
    sim.fault("replaced", f"*us_stocks_sip/day_aggs_v1/*{PAST[-2]}*")
    (request,) = sensor_tick(settled).run_requests
    assert request.partition_key == str(PAST[-2])
    result = settled.run("flat_files", PAST[-2], tags=request.tags)
    assert result.success
    after = settled.rows("stock_day_aggs")
    other_days = pl.col("trade_date") != PAST[-2]
    assert after.filter(other_days).equals(before.filter(other_days))
    sent = file_of(settled, day=PAST[-2]).sort("ticker")
    assert after.filter(~other_days)["close"].to_list() == sent["close"].to_list()
    assert not after.equals(before)
    assert isinstance(sensor_tick(settled), dg.SkipReason)
    content = settled.content()
    assert settled.run("flat_files", PAST[-2]).success
    assert settled.content() == content


def test_a_file_that_stays_unreadable_is_tried_three_times_and_no_more(settled, sim):
    sim.fault("wrong_crc", f"*us_stocks_sip/day_aggs_v1/*{PAST[-2]}*")
    keys = set()
    for _ in range(3):
        (request,) = sensor_tick(settled).run_requests
        keys.add(request.run_key)
        assert not settled.run("flat_files", PAST[-2], tags=request.tags).success
    assert len(keys) == 3
    given_up = sensor_tick(settled)
    assert isinstance(given_up, dg.SkipReason)
    assert str(PAST[-2]) in given_up.skip_message
