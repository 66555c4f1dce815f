"""What decisions read, as assets: slots that count, gaps that are named, files that are told."""

import json

import polars as pl
import pytest

from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster_tests.assets.place import NOW, PAST, TODAY

DECIDE = ("pick_candidates", "weekly_picks")


def change(place, *statements):
    with place.warehouse.connection(read_only=False) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def undecided(settled):
    """A home with its captures, in which nothing of the day is decided yet."""
    change(settled, *(f"DELETE FROM {table} WHERE trade_date = '{TODAY}'"
                      for table in (*DECIDE, "promotions")))  # fmt: skip
    return settled


def test_the_chain_of_an_index_alone_is_no_snapshot(undecided):
    change(undecided, "UPDATE option_chain SET underlying = 'SPX'")
    result = undecided.run([*DECIDE, "promotions"], TODAY)
    assert result.success
    picks = undecided.rows("weekly_picks", TODAY)
    assert set(picks["basis"]) == {"day_file"}
    assert set(undecided.rows("promotions", TODAY)["basis"]) == {"day_file"}
    (said,) = result.asset_materializations_for_node("weekly_picks")
    assert said.metadata["snapshot"].value == (
        "no chain of an enabled ticker was captured at the decision time"
    )


def test_who_was_not_captured_is_told_with_the_cause(undecided):
    change(undecided, "UPDATE option_chain SET underlying = 'SPX' WHERE underlying <> 'AAPL'")
    slot = undecided.rows("option_chain", TODAY)["slot"][0]
    gap = {"subject": ["UBER"], "reason": ["the vendor answered 502"], "dataset": "option_chain"}
    unit = {"trade_date": TODAY, "dataset": "option_chain", "source": "test", "slot": slot}
    undecided.warehouse.replace(
        COLLECTION_GAPS, COLLECTION_GAPS.conform(pl.DataFrame(gap), **unit), unit
    )
    assert undecided.run(DECIDE, TODAY).success
    picks = undecided.rows("weekly_picks", TODAY).filter(pl.col("basis") == "snapshot")
    told = {row["ticker"]: (row["stage"], row["reason"]) for row in picks.to_dicts()}
    assert told["UBER"] == ("chain", "chain_not_captured: the vendor answered 502")
    assert told["SOFI"] == (
        "chain",
        "chain_not_captured: the slot holds none of its contracts, and no cause was told",
    )
    assert told["AAPL"][0] != "chain"


@pytest.mark.slow
def test_a_range_with_a_file_missing_decides_as_its_days_alone(undecided):
    change(undecided, f"DELETE FROM option_day_aggs WHERE trade_date = '{PAST[2]}'")
    assert undecided.run(DECIDE, PAST[-1], TODAY).success
    together = {name: undecided.rows(name) for name in DECIDE}
    qualities = together["pick_candidates"].filter(pl.col("trade_date") == TODAY)["strike_quality"]
    assert qualities.drop_nulls().gt(0).any()
    assert undecided.run(DECIDE, TODAY).success
    for name, rows in together.items():
        assert undecided.rows(name).equals(rows), name


@pytest.mark.feature(36)
def test_a_decision_names_what_it_read_and_another_file_changes_the_name(undecided):
    def read(basis):
        assert undecided.run(["weekly_picks"], TODAY).success
        rows = undecided.rows("weekly_picks", TODAY).filter(pl.col("basis") == basis)
        (inputs,) = set(rows["inputs"])
        assert len(inputs) < 1500
        return json.loads(inputs)

    assert undecided.run(["pick_candidates"], TODAY).success
    before = read("snapshot")
    assert before["option_chain"] == before["option_greeks"] == NOW.isoformat()
    assert before["suitability"] == before["structure_features"] == str(TODAY)
    # Six files of a week, and minutes of the session itself, which no file holds yet.
    assert before["stock_day_aggs"]["files"] == 6
    assert (before["bars_1m"]["last"], before["bars_1m"]["files"]) == (str(TODAY), 5)
    morning = read("day_file")
    assert morning["option_greeks"] == str(PAST[-1])
    assert "option_chain" not in morning
    change(
        undecided,
        "UPDATE ingested_files SET etag = 'another' "
        f"WHERE table_name = 'stock_day_aggs' AND trade_date = '{PAST[0]}'",
    )
    after = read("snapshot")
    assert after["stock_day_aggs"]["etags"] != before["stock_day_aggs"]["etags"]
    del after["stock_day_aggs"], before["stock_day_aggs"]
    assert after == before
