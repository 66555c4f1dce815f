"""The vendor's history of open interest: on demand, not used early, compared with captures."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from tracker_dagster.schemas.vendor_open_interest import VENDOR_OPEN_INTEREST
from tracker_dagster.trading_calendar import decision_time, session_on
from tracker_dagster_tests.assets.place import DAY, NOW, PAST, TICKERS, TODAY, checks

ASSET, PATH = "vendor_open_interest", "/options/v1/open-interest"
CHECK = "agrees_with_captures"
FRIDAY, MONDAY = PAST[-3], PAST[-2]


@pytest.fixture
def asking(place):
    """A home whose settings want the vendor's open interest."""
    place.more_settings = {"vendor_open_interest": True}
    return place


def metadata(result, name):
    (event,) = result.asset_materializations_for_node(ASSET)
    return event.metadata[name].value


def told(result, day=DAY):
    """Whether the check passed, and what it says."""
    found = checks(result, ASSET)[CHECK]
    said = {name: value.value for name, value in found.metadata.items()}
    return found.passed, said if found.passed else said["failed"][str(day)]


def captured(place, sim, moment):
    """The place after its chains were captured at a moment."""
    try:
        sim.set_clock(moment, speed=0)
        assert place.run(["universe", "option_chain"], moment.date()).success
    finally:
        sim.set_clock(NOW, speed=0)
    return place


def test_nobody_is_asked_unless_the_setting_is_on(place, requests):
    before = requests.under(PATH)
    result = place.run([ASSET], DAY)
    assert result.success
    assert requests.under(PATH) == before
    assert "TRACKER_VENDOR_OPEN_INTEREST" in metadata(result, "off")
    assert place.rows(ASSET).is_empty()
    assert place.rows("collection_gaps").is_empty()


def test_rows_are_of_the_session_and_known_from_the_next_bell(asking, sim):
    assert asking.run([ASSET], DAY).success
    rows = asking.rows(ASSET, DAY)
    assert set(rows["underlying"]) == {*TICKERS, "SPY", "SPX", "NDX", "RUT", "VIX"}
    assert {"SPX", "SPXW"} <= set(rows["root"])
    bell = session_on(TODAY).open
    assert rows["available_at"].unique().to_list() == [bell]
    for moment, count in ((bell - timedelta(seconds=1), 0), (bell, rows.height)):
        known = asking.warehouse.read(VENDOR_OPEN_INTEREST, as_of=moment)
        assert known.height == count
    # What was open that evening is what the market's own book of the next morning says.
    chain = sim.simulation.chains.state("AAPL", NOW).chain
    truth = dict(
        zip(
            chain.ticker.tolist(),
            sim.simulation.chains.open_interest(chain, TODAY).tolist(),
            strict=True,
        )
    )
    ours = dict(rows.filter(underlying="AAPL").select("symbol", "open_interest").iter_rows())
    both = ours.keys() & truth.keys()
    assert len(both) > 100
    assert {name: ours[name] for name in both} == {name: truth[name] for name in both}
    before = asking.content()
    assert asking.run([ASSET], DAY).success
    assert asking.content() == before


def test_today_has_none_and_is_not_asked_for(asking, requests):
    before = requests.under(PATH)
    result = asking.run([ASSET], TODAY)
    assert result.success
    assert requests.under(PATH) == before
    assert metadata(result, "none") == "not out before 2026-06-04 09:30 ET"
    (gap,) = asking.rows("collection_gaps", TODAY).to_dicts()
    assert (gap["dataset"], gap["reason"]) == (ASSET, "not out before 2026-06-04 09:30 ET")


def test_a_fridays_figures_come_with_mondays(asking, sim):
    try:
        sim.set_clock(session_on(FRIDAY).close + timedelta(days=1), speed=0)
        assert asking.run([ASSET], FRIDAY).success
        assert asking.rows(ASSET).is_empty()
        assert asking.rows("collection_gaps", FRIDAY).height == 1
    finally:
        sim.set_clock(NOW, speed=0)
    assert asking.run([ASSET], MONDAY).success
    assert set(asking.rows(ASSET)["trade_date"]) == {FRIDAY, MONDAY}
    assert asking.rows("collection_gaps").is_empty()
    friday = asking.rows(ASSET, FRIDAY)
    assert friday["available_at"].unique().to_list() == [session_on(MONDAY).open]


def test_captures_of_the_session_after_are_compared(asking, sim):
    passed, said = told(asking.run([ASSET], DAY))
    assert (passed, said["compared"]) == (True, 0)
    captured(asking, sim, NOW)
    passed, said = told(asking.run([ASSET], DAY))
    assert passed
    chain = asking.rows("option_chain", TODAY)
    both = chain.join(asking.rows(ASSET, DAY), on="symbol")
    assert said["compared"] == both.height > 500


@pytest.mark.parametrize("day", [DAY, TODAY])
def test_a_capture_that_shows_another_sessions_figures_is_named(asking, sim, day):
    # On the run of the figures' own session, and on that of the session which showed them.
    assert asking.run([ASSET], DAY).success
    sim.fault("open_interest_flip_flop", "/v3/snapshot/options/UBER*")
    captured(asking, sim, NOW)
    sim.clear_faults()
    passed, said = told(asking.run([ASSET], day), day)
    assert not passed
    (named,) = [name for name in said if name != "compared"]
    assert named == f"{DAY} UBER"
    changed, _, of = said[named].split()
    assert int(of) / 2 < int(changed) <= int(of)


def test_the_session_before_is_never_compared_with_its_own_capture(asking, sim):
    # A capture of a session shows the evening before it, not its own.
    captured(asking, sim, decision_time(DAY))
    passed, said = told(asking.run([ASSET], DAY))
    assert (passed, said["compared"]) == (True, 0)
    assert asking.run([ASSET], MONDAY).success
    passed, said = told(asking.run([ASSET], DAY))
    assert passed
    assert said["compared"] > 500


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_without_it_is_a_gap(asking, sim, status):
    sim.fault("server_error", f"{PATH}*", status=status)
    result = asking.run([ASSET], DAY)
    assert result.success
    assert not told(result)[0]
    (gap,) = asking.rows("collection_gaps", DAY).to_dicts()
    assert (gap["dataset"], gap["subject"]) == (ASSET, "*")
    sim.clear_faults()
    assert asking.run([ASSET], DAY).success
    assert asking.rows("collection_gaps", DAY).is_empty()


def test_a_row_cannot_be_known_on_its_own_day():
    row = {
        "symbol": "O:AAPL260605C00300000", "underlying": "AAPL", "root": "AAPL", "right": "C",
        "expiry": TODAY + timedelta(days=2), "strike": 300.0, "open_interest": 5,
    }  # fmt: skip
    frame = VENDOR_OPEN_INTEREST.conform(
        pl.DataFrame([row]), trade_date=DAY, source="massive_rest", available_at=NOW
    )
    assert len(VENDOR_OPEN_INTEREST.schema.filter(frame)[0]) == 1
    early = frame.with_columns(available_at=pl.lit(session_on(DAY).close))
    assert len(VENDOR_OPEN_INTEREST.schema.filter(early)[0]) == 0
