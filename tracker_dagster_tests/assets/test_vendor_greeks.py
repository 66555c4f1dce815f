"""The vendor's own Greeks: asked for only on demand, stored as sent, and compared with ours."""

from datetime import timedelta

import polars as pl
import pytest

from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.trading_calendar import day_file_available_at, session_on
from tracker_dagster_tests.assets.place import DAY, TICKERS, TODAY, checks, failure

ASSET, PATH = "vendor_greeks", "/options/v1/"
CHECK = "agrees_with_ours"
AT_1545 = session_on(DAY).close - timedelta(minutes=15)


@pytest.fixture
def asking(place):
    """A home whose settings want the vendor's Greeks."""
    place.more_settings = {"vendor_greeks": True}
    return place


def metadata(result, name):
    (event,) = result.asset_materializations_for_node(ASSET)
    return event.metadata[name].value


def told(result):
    """Whether the check passed, and what it says."""
    found = checks(result, ASSET)[CHECK]
    said = {name: value.value for name, value in found.metadata.items()}
    return found.passed, said if found.passed else said["failed"][str(DAY)]


def ours(place, rows, basis, slot, shift):
    """Rows of option_greeks whose volatility differs from the vendor's by ``shift``."""
    rows = rows.filter(pl.col("status") == "OK")
    frame = rows.select(
        *("symbol", "underlying", "root", "expiry", "right", "strike", "status"),
        implied_volatility=pl.col("implied_volatility") + shift,
        delta=pl.col("delta").clip(-1, 1),
        gamma=pl.lit(0.01),
        theta=pl.lit(-0.01),
        vega=pl.lit(1.0),
        rho=pl.lit(1.0),
        price_source=pl.lit("mid"),
        style=pl.lit("american"),
        is_standard=pl.lit(True),
        available_at=pl.lit(slot),
    )
    unit = {"trade_date": DAY, "basis": basis, "slot": slot}
    place.warehouse.replace(OPTION_GREEKS, OPTION_GREEKS.conform(frame, **unit), unit)


def test_nobody_is_asked_unless_the_setting_is_on(place, requests):
    before = requests.under(PATH)
    result = place.run([ASSET], DAY)
    assert result.success
    assert requests.under(PATH) == before
    assert "TRACKER_VENDOR_GREEKS" in metadata(result, "off")
    assert place.rows(ASSET).is_empty()


def test_rows_are_what_the_vendor_sends(asking, sim):
    result = asking.run([ASSET], DAY)
    assert result.success
    rows = asking.rows(ASSET, DAY)
    assert set(rows["underlying"]) == {*TICKERS, "SPY"}
    for ticker in TICKERS:
        listed = asking.market.rest.option_contracts(ticker, as_of=DAY)
        assert set(rows.filter(underlying=ticker)["symbol"]) == set(listed["symbol"])
    priced = rows.filter(pl.col("status") == "OK")
    assert metadata(result, "status") == {
        "OK": priced.height,
        "NOT_PRICED": rows.height - priced.height,
    }
    assert rows["computed_at"].unique().to_list() == [AT_1545]
    assert rows["available_at"].unique().to_list() == [day_file_available_at(DAY)]
    some = priced.filter((pl.col("underlying") == "SOFI") & pl.col("delta").is_between(0.3, 0.6))
    for row in some.head(3).iter_rows(named=True):
        expiry, strike = row["expiry"], row["strike"]
        true = sim.true_volatility("SOFI", DAY, expiry, strike, AT_1545)
        assert row["implied_volatility"] == pytest.approx(true, abs=0.05)
    assert rows["underlying_price"].null_count() == 0
    before = asking.content()
    assert asking.run([ASSET], DAY).success
    assert asking.content() == before


def test_it_is_not_asked_for_before_the_files_of_the_day_are_due(asking, requests):
    before = requests.under(PATH)
    result = asking.run([ASSET], TODAY)
    assert result.success
    assert "not before 2026-06-04 11:00 ET" in metadata(result, "waiting")
    assert requests.under(PATH) == before


@pytest.mark.parametrize(
    ("basis", "slot", "shift", "agrees"),
    [
        ("snapshot", AT_1545, 0.009, True),
        ("snapshot", AT_1545, 0.011, False),
        ("day_file", session_on(DAY).close, 0.029, True),
        ("day_file", session_on(DAY).close, 0.031, False),
    ],
)
def test_ours_are_compared_by_what_they_rest_on(asking, basis, slot, shift, agrees):
    assert asking.run([ASSET], DAY).success
    rows = asking.rows(ASSET, DAY)
    ours(asking, rows, basis, slot, shift)
    passed, said = told(asking.run([ASSET], DAY))
    assert passed is agrees
    assert said["basis"] == basis
    assert said["median"] == pytest.approx(shift)
    assert 0 < said["compared"] < rows.height


def test_the_slot_nearest_to_the_vendors_is_compared_and_files_only_without_one(asking):
    assert asking.run([ASSET], DAY).success
    rows = asking.rows(ASSET, DAY)
    ours(asking, rows, "day_file", session_on(DAY).close, 0.5)
    ours(asking, rows, "snapshot", AT_1545 + timedelta(minutes=5), 0.002)
    ours(asking, rows, "snapshot", AT_1545 - timedelta(minutes=15), 0.3)
    passed, said = told(asking.run([ASSET], DAY))
    assert (passed, said["basis"]) == (True, "snapshot")
    assert said["median"] == pytest.approx(0.002)


def test_without_ours_nothing_is_claimed(asking):
    passed, said = told(asking.run([ASSET], DAY))
    assert passed
    assert (said["basis"], said["compared"], said["median"]) == ("none", 0, None)


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


def test_a_holiday_has_none(asking):
    result = asking.run([ASSET], DAY.replace(month=5, day=25))
    assert not result.success
    assert "not a trading session" in failure(result)
