"""Implied forwards of a captured slot: what they rest on, and what is said when it is poor."""

import numpy as np
import polars as pl
import pytest

from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster_tests.assets.place import NOW, PAST, TODAY

INPUTS = ["option_chain", "corporate_actions", "treasury_yields"]


@pytest.fixture
def captured(place):
    assert place.run(INPUTS, TODAY).success
    return place


def checks(result):
    evaluations = result.get_asset_check_evaluations()
    return {e.check_name: e for e in evaluations if e.asset_key.path == ["implied_forwards"]}


def test_every_expiry_of_a_slot_has_a_forward_or_a_reason(captured):
    result = captured.run(["implied_forwards"], TODAY)
    assert result.success
    assert all(check.passed for check in checks(result).values())
    rows = captured.rows("implied_forwards", TODAY)
    chain = captured.rows("option_chain", TODAY)
    assert set(rows["slot"]) == {NOW}
    listed = chain.filter(pl.col("is_standard")).select("underlying", "expiry").unique()
    assert rows.select("underlying", "expiry").unique().sort(pl.all()).equals(listed.sort(pl.all()))
    arrived = chain.group_by("underlying").agg(pl.col("available_at").max())
    known = rows.select("underlying", "available_at").unique()
    assert known.sort("underlying").equals(arrived.sort("underlying"))
    assert dict(rows.select("underlying", "dividend_source").unique().rows()) == {
        **dict.fromkeys(["AAPL", "SOFI", "UBER"], "corporate_actions"),
        **dict.fromkeys(["SPX", "NDX", "RUT", "VIX"], "index"),
    }
    assert set(rows["rate_source"]) == {"treasury 2026-06-02"}
    parity = rows.filter(pl.col("forward_source") == "parity")
    assert parity.height > 0.75 * rows.height
    years = parity["years"].to_numpy()
    index = (parity["dividend_source"] == "index").to_numpy()
    truth = parity["spot"].to_numpy() * np.exp(interest_rate(TODAY, years) * years)
    assert np.abs(parity["forward"].to_numpy() / truth - 1)[index].max() < 1e-3
    # AAPL's dividend of June 18 is in the forwards past it.
    paid = rows.filter((pl.col("underlying") == "AAPL") & (pl.col("years") > 0.05))
    assert (paid["dividends_value"] > 0.29).all()


def test_the_same_slot_again_gives_the_same_rows(captured):
    assert captured.run(["implied_forwards"], TODAY).success
    before = captured.content()
    assert captured.run(["implied_forwards"], TODAY).success
    assert captured.content() == before
    other = {"tracker/slot": "2026-06-03T14:45:00+00:00"}
    result = captured.run(["implied_forwards"], TODAY, tags=other)
    assert captured.content() == before
    (event,) = result.asset_materializations_for_node("implied_forwards")
    assert event.metadata["slots"].value == 0


def test_rates_that_stand_in_are_named_and_checked(place, sim):
    sim.fault("server_error", "/fed/*", status=403)
    assert place.run(INPUTS, TODAY).success
    result = place.run(["implied_forwards"], TODAY)
    assert result.success
    assert not checks(result)["rates_are_current"].passed
    assert checks(result)["parity_holds"].passed
    assert set(place.rows("implied_forwards")["rate_source"]) == {"fallback 2024-12-31"}


def test_a_day_without_captures_has_no_forwards(place):
    result = place.run(["implied_forwards"], PAST[0])
    assert result.success
    assert place.rows("implied_forwards").is_empty()
