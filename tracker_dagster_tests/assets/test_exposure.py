"""Gamma exposure of captured chains, on a market whose gamma and open interest are known."""

import shutil
from datetime import timedelta

import polars as pl
import pytest

from tracker_dagster.resources import SLOT_TAG
from tracker_dagster.trading_calendar import decision_time
from tracker_dagster_tests.assets.place import DAY, NOW, TODAY, Place, checks

REFERENCE = ["universe", "corporate_actions", "treasury_yields"]
CAPTURE = ["universe", "option_chain"]
VALUE = ["implied_forwards", "option_greeks"]
EXPOSURE = ["gamma_by_strike", "gamma_by_expiry", "gamma_exposure"]
#: The slot before the decision's.
EARLY = NOW - timedelta(minutes=5)
SNAPSHOTS = ("/v3/snapshot/options",)


def captured_at(place, sim, *moments):
    """The place after its chains were captured at each moment, on the moment's own day."""
    try:
        for moment in moments:
            sim.set_clock(moment, speed=0)
            assert place.run(CAPTURE, moment.date()).success
    finally:
        sim.set_clock(NOW, speed=0)
    return place


@pytest.fixture(scope="module")
def _exposed(recorded, _enrolled, tmp_path_factory):
    home = tmp_path_factory.mktemp("exposed") / "home"
    shutil.copytree(_enrolled, home)
    place = Place(home, recorded[0].url)
    captured_at(place, recorded[0], decision_time(DAY), EARLY, NOW)
    result = place.run([*REFERENCE, *VALUE, *EXPOSURE], TODAY)
    assert result.success
    return home, result


@pytest.fixture
def exposed(recorded, _exposed, tmp_path):
    """A place with yesterday's capture and two of today's, and today's exposure at both."""
    home, result = _exposed
    shutil.copytree(home, tmp_path / "home")
    return Place(tmp_path / "home", recorded[0].url), result


def metadata(result, asset):
    (event,) = [e for e in result.asset_materializations_for_node(asset) if e.partition]
    return event.metadata


def at(rows, slot=NOW):
    return rows.filter(pl.col("slot") == slot)


def test_exposures_are_near_those_of_the_markets_own_gamma(exposed, sim):
    place, _ = exposed
    ours = {row["underlying"]: row for row in at(place.rows("gamma_exposure")).to_dicts()}
    assert set(ours) == {"AAPL", "SOFI", "UBER", "SPX", "NDX", "RUT", "VIX"}
    greeks = at(place.rows("option_greeks", TODAY)).filter(pl.col("status") == "OK")
    # VIX options are worth what its future is, which the market's own gamma does not know.
    for underlying in set(ours) - {"VIX"}:
        truth, row = sim.simulation.chains.state(underlying, NOW), ours[underlying]
        standard = truth.chain.factor == 1.0
        assert row["spot"] == pytest.approx(truth.spot, abs=0.005)
        counted = pl.Series(truth.chain.ticker).is_in(greeks["symbol"].to_list()).to_numpy()
        dollars = truth.greeks.gamma * truth.open_interest * truth.spot**2
        for is_call, side in ((True, "call"), (False, "put")):
            here = standard & (truth.chain.is_call == is_call)
            assert row[f"{side}_open_interest"] == truth.open_interest[here].sum()
            gamma = row[f"{side}_gamma_usd_per_1pct"]
            assert gamma == pytest.approx(dollars[here & counted].sum(), rel=0.02), underlying
            # What nobody bids for is left out; its share is small and the coverage says so.
            assert gamma == pytest.approx(dollars[here].sum(), rel=0.1), underlying


def test_open_interest_is_what_the_market_had_the_evening_before(exposed, sim):
    place, _ = exposed
    rows = at(place.rows("gamma_by_expiry", TODAY)).filter(pl.col("underlying") == "AAPL")
    chain = sim.simulation.chains.state("AAPL", NOW).chain
    # The market's own figure for this evening is another: it is not known yet.
    yesterday = sim.simulation.chains.open_interest(chain, TODAY)
    tonight = sim.simulation.chains.open_interest(chain, TODAY + timedelta(days=1))
    held = rows["call_open_interest"].sum() + rows["put_open_interest"].sum()
    assert held == yesterday.sum() != tonight.sum()
    assert set(rows["open_interest_session"]) == {DAY}


def test_both_roots_of_the_index_are_in_its_sums(exposed):
    place, _ = exposed
    chain = at(place.rows("option_chain", TODAY)).filter(pl.col("underlying") == "SPX")
    assert set(chain["root"]) == {"SPX", "SPXW"}
    (row,) = at(place.rows("gamma_exposure")).filter(pl.col("underlying") == "SPX").to_dicts()
    total = row["call_open_interest"] + row["put_open_interest"]
    assert total == chain["open_interest"].sum()
    # Those that expire this afternoon are alive still.
    assert TODAY in set(at(place.rows("gamma_by_expiry"))["expiry"])


def test_every_slot_has_its_own_rows_and_they_agree_between_tables(exposed):
    place, result = exposed
    whole = place.rows("gamma_exposure", TODAY)
    assert set(whole["slot"]) == {EARLY, NOW}
    for table in ("gamma_by_strike", "gamma_by_expiry"):
        rows = place.rows(table, TODAY)
        assert set(rows["slot"]) == {EARLY, NOW}
        for column in ("call_gamma_usd_per_1pct", "put_open_interest", "counted_count"):
            sums = rows.group_by("slot", "underlying").agg(pl.col(column).sum())
            both = whole.join(sums, on=["slot", "underlying"], suffix="_sum")
            apart = (both[column] - both[f"{column}_sum"]).abs() / both[column]
            assert apart.max() < 1e-9, (table, column)
    assert metadata(result, "gamma_exposure")["slots"].value == ["15:45", "15:50"]


def test_all_promises_hold_on_a_sound_market(exposed):
    _, result = exposed
    for asset in EXPOSURE:
        for name, check in checks(result, asset).items():
            assert check.passed, (asset, name, check.metadata)


def test_the_flip_is_told_where_the_sign_is_plausible_and_the_profile_drawn(exposed):
    place, result = exposed
    shown = metadata(result, "gamma_exposure")
    assert set(shown["flips"].value) == {"SPX", "NDX", "RUT"}
    (row,) = at(place.rows("gamma_exposure")).filter(pl.col("underlying") == "SPX").to_dicts()
    assert shown["flips"].value["SPX"].startswith(f"{row['gamma_flip']:.2f}")
    picture = shown["gamma_profile"].value
    assert picture.startswith("![SPX gamma, 2026-06-03 15:50](data:image/png;base64,")


def test_a_run_of_one_slot_leaves_the_others_alone_and_says_what_is_amiss(exposed):
    place, _ = exposed
    before = {table: place.rows(table, TODAY) for table in EXPOSURE}
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute("UPDATE option_greeks SET gamma = 2 * gamma")
        connection.execute(
            "UPDATE option_greeks SET gamma = NULL WHERE underlying = 'SOFI' AND \"right\" = 'C'"
        )
        connection.execute("UPDATE option_greeks SET open_interest = NULL WHERE root = 'VIX'")
    tags = {SLOT_TAG: NOW.isoformat()}
    result = place.run(EXPOSURE, TODAY, tags=tags)
    assert result.success
    assert metadata(result, "gamma_exposure")["slots"].value == ["15:50"]
    for table in EXPOSURE:
        after = place.rows(table, TODAY)
        assert at(after, EARLY).equals(at(before[table], EARLY))
        column = "gross_gamma_usd_per_1pct"
        both = (
            rows.filter(pl.col("underlying") == "SPX")[column].sum()
            for rows in (at(after), at(before[table]))
        )
        assert next(both) == pytest.approx(2 * next(both)), table
    # Our gammas are no longer those of the volatilities beside them, and it shows.
    agrees = checks(result, "gamma_exposure")["repricing_agrees"]
    assert not agrees.passed
    assert "15:50 SPX" in agrees.metadata["failed"].value[str(TODAY)]
    covered = checks(result, "gamma_exposure")["open_interest_covered"]
    assert not covered.passed
    # Without the calls a half is left of one, and nothing where no interest is known.
    shares = covered.metadata["failed"].value[str(TODAY)]
    assert set(shares) == {"15:50 SOFI", "15:50 VIX"}
    assert 0.3 < shares["15:50 SOFI"] < 0.5
    assert shares["15:50 VIX"] == 0
    (row,) = at(place.rows("gamma_exposure")).filter(pl.col("underlying") == "VIX").to_dicts()
    assert row["reason"] == "no contract counts"


def test_a_past_day_without_a_capture_has_no_exposure(place, sim, requests):
    # Its day file gives every contract a gamma, and the vendor would answer with today's interest.
    assert place.run(
        [*REFERENCE, "stock_day_aggs", "option_day_aggs", "option_greeks"], DAY
    ).success
    greeks = place.rows("option_greeks", DAY)
    assert set(greeks["basis"]) == {"day_file"}
    assert greeks["gamma"].is_not_null().any()
    assert greeks["open_interest"].is_null().all()
    before = requests.under(*SNAPSHOTS)
    result = place.run([*CAPTURE, *EXPOSURE], DAY)
    assert result.success
    assert requests.under(*SNAPSHOTS) == before
    for table in EXPOSURE:
        assert place.rows(table).is_empty()
        assert "whatever date is asked for" in metadata(result, table)["no_open_interest"].value


def test_a_day_made_again_later_keeps_its_own_open_interest(exposed, sim):
    place, result = exposed
    before = place.rows("gamma_exposure", TODAY)
    try:
        sim.set_clock(NOW + timedelta(days=1), speed=0)
        again = place.run([*CAPTURE, *VALUE, *EXPOSURE], TODAY)
    finally:
        sim.set_clock(NOW, speed=0)
    assert again.success
    assert place.rows("gamma_exposure", TODAY).equals(before)
    assert (
        metadata(again, "gamma_exposure")["data_version"]
        == metadata(result, "gamma_exposure")["data_version"]
    )


def test_open_interest_of_another_session_is_named(place, sim):
    # The feed shows the evening before the last one: of one chain first, then of another.
    captured_at(place, sim, decision_time(DAY))
    for moment, stale in ((EARLY, "AAPL"), (NOW, "UBER")):
        sim.fault("open_interest_flip_flop", f"/v3/snapshot/options/{stale}*")
        captured_at(place, sim, moment)
        sim.clear_faults()
    # Nothing need be valued to look at open interest.
    result = place.run(["option_greeks", "gamma_exposure"], TODAY)
    assert result.success
    found = checks(result, "gamma_exposure")
    for name, expected in (
        ("open_interest_steady", {"15:50 AAPL", "15:50 UBER"}),
        ("open_interest_renewed", {"15:45 AAPL", "15:50 UBER"}),
    ):
        assert not found[name].passed
        assert set(found[name].metadata["failed"].value[str(TODAY)]) == expected
