"""Smiles and term structures of captured chains, on a market whose smiles are known."""

import shutil
from datetime import date, timedelta

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster.ledger.commands import disable
from tracker_dagster.marketsim.world.surface import at_the_money_variance, shape_of
from tracker_dagster.resources import SLOT_TAG
from tracker_dagster.schemas.surface import SLICE
from tracker_dagster.trading_calendar import day_file_available_at, session_on
from tracker_dagster_tests.assets.place import DAY, NOW, TODAY, Place, checks

CHAIN = ["universe", "corporate_actions", "treasury_yields", "option_chain", "implied_forwards"]
SURFACE = ["option_greeks", "iv_surface", "iv_term_structure"]
#: The slot before the decision's.
EARLY = NOW - timedelta(minutes=5)
UNDERLYINGS = {"AAPL", "SOFI", "UBER", "SPX", "NDX", "RUT", "VIX"}


@pytest.fixture(scope="module")
def _surfaced(recorded, _enrolled, tmp_path_factory):
    home = tmp_path_factory.mktemp("surfaced") / "home"
    shutil.copytree(_enrolled, home)
    sim, place = recorded[0], Place(home, recorded[0].url)
    try:
        sim.set_clock(EARLY, speed=0)
        assert place.run(["universe", "option_chain"], TODAY).success
    finally:
        sim.set_clock(NOW, speed=0)
    result = place.run([*CHAIN, *SURFACE], TODAY)
    assert result.success
    return home, result


@pytest.fixture
def surfaced(recorded, _surfaced, tmp_path):
    """A place with two captures of today and their surfaces, and the run that made them."""
    home, result = _surfaced
    shutil.copytree(home, tmp_path / "home")
    return Place(tmp_path / "home", recorded[0].url), result


def metadata(result, asset):
    (event,) = [e for e in result.asset_materializations_for_node(asset) if e.partition]
    return event.metadata


def at(rows, slot=NOW):
    return rows.filter(pl.col("slot") == slot)


def with_truth(place, sim):
    """Out-of-the-money quotes, the smile's volatility at their strikes, and the market's own."""
    smiles = at(place.rows("iv_surface", TODAY)).filter(pl.col("status") == "OK")
    morning = pl.when(pl.col("root").is_in(["SPX", "NDX", "RUT"])).then(pl.lit("AM"))
    quotes = (
        at(place.rows("option_greeks", TODAY))
        .filter((pl.col("status") == "OK") & (pl.col("underlying") != "VIX"))
        .with_columns(
            settlement=morning.otherwise(pl.lit("PM")),
            k=(pl.col("strike") / pl.col("forward")).log(),
        )
        .filter((pl.col("k") >= 0) == (pl.col("right") == "C"))
        .join(
            smiles.select("underlying", "expiry", "settlement", *SLICE, "lowest", "highest"),
            on=["underlying", "expiry", "settlement"],
        )
        .filter(pl.col("k").is_between("lowest", "highest"))
    )
    states = {name: sim.simulation.chains.state(name, NOW) for name in set(quotes["underlying"])}
    true = {
        symbol: volatility
        for state in states.values()
        for symbol, volatility in zip(state.chain.ticker, state.volatility, strict=True)
    }
    x = pl.col("k") - pl.col("svi_m")
    variance = pl.col("svi_a") + pl.col("svi_b") * (
        pl.col("svi_rho") * x + (x**2 + pl.col("svi_sigma") ** 2).sqrt()
    )
    return quotes.with_columns(
        smile=(variance / pl.col("years")).sqrt(),
        true=pl.col("symbol").replace_strict(true, return_dtype=pl.Float64),
    )


def test_the_markets_own_smile_is_found_within_its_quotes(surfaced, sim):
    place, _ = surfaced
    found = with_truth(place, sim)
    assert found.height > 500
    assert set(found["underlying"]) == UNDERLYINGS - {"VIX"}
    off = (found["smile"] - found["true"]).abs()
    assert off.median() < 0.0004
    half = (found["ask_volatility"] - found["bid_volatility"]) / 2
    assert (off <= half).mean() > 0.99
    # The smile knows the truth better than the middle of a quote does.
    assert off.mean() < 0.8 * (found["implied_volatility"] - found["true"]).abs().mean()


def test_volatility_at_fixed_terms_is_the_markets_own(surfaced, sim):
    """Between its expiries the market's total variance is bent by earnings: two points at most."""
    place, _ = surfaced
    rows = {row["underlying"]: row for row in at(place.rows("iv_term_structure")).to_dicts()}
    assert set(rows) == UNDERLYINGS
    chains, world = sim.simulation.chains, sim.simulation.world
    for name in ("SPX", "NDX", "RUT"):
        own = chains.listings.option_class(name)
        current = world.volatility_at(own.path, NOW)
        shape = shape_of(own.category, own.volatility)
        for days in (14, 30, 60, 90, 180):
            variance = at_the_money_variance(shape, current, days / 365)
            assert rows[name][f"iv_{days}d"] == pytest.approx(
                (variance / (days / 365)) ** 0.5, abs=0.002
            ), (name, days)
    for name in ("AAPL", "SOFI", "UBER"):
        month = rows[name]["iv_30d"]
        around = [
            sim.simulation.chains.true_volatility(name, TODAY, expiry, rows[name]["spot"], NOW)
            for expiry in (date(2026, 6, 26), date(2026, 7, 17))
        ]
        assert min(around) - 0.01 < month < max(around) + 0.01


def test_each_slot_has_its_own_surface_and_what_it_says_is_known_when_it_came(surfaced):
    place, result = surfaced
    for table in ("iv_surface", "iv_term_structure"):
        rows = place.rows(table, TODAY)
        assert set(rows["slot"]) == {EARLY, NOW}
        assert set(rows["basis"]) == {"snapshot"}
        chain = place.rows("option_chain", TODAY).group_by("slot", "underlying")
        latest = chain.agg(pl.col("available_at").max().alias("captured"))
        both = rows.join(latest, on=["slot", "underlying"])
        assert both.height == rows.height
        assert (both["available_at"] == both["captured"]).all()
    assert list(metadata(result, "iv_surface")["statuses"].value) == [
        "2026-06-03 15:45 ET",
        "2026-06-03 15:50 ET",
    ]


def test_a_later_capture_changes_nothing_of_an_earlier_one(surfaced, sim):
    place, _ = surfaced
    before = {t: at(place.rows(t), EARLY) for t in ("iv_surface", "iv_term_structure")}
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute("DELETE FROM option_greeks WHERE slot = ?", [NOW])
    assert place.run(["iv_surface", "iv_term_structure"], TODAY).success
    for table, rows in before.items():
        assert_frame_equal(at(place.rows(table), EARLY), rows)


def test_a_run_for_a_slot_makes_that_slots_surface_alone(surfaced):
    place, _ = surfaced
    with place.warehouse.connection(read_only=False) as connection:
        for table in ("iv_surface", "iv_term_structure"):
            connection.execute(f"DELETE FROM {table}")
    tags = {SLOT_TAG: EARLY.isoformat()}
    assert place.run(["iv_surface", "iv_term_structure"], TODAY, tags=tags).success
    for table in ("iv_surface", "iv_term_structure"):
        assert set(place.rows(table)["slot"]) == {EARLY}


def test_the_same_quotes_give_the_same_rows(surfaced):
    place, _ = surfaced
    before = {table: place.rows(table) for table in ("iv_surface", "iv_term_structure")}
    assert place.run(["iv_surface", "iv_term_structure"], TODAY).success
    for table, rows in before.items():
        assert_frame_equal(place.rows(table), rows)


def test_all_promises_hold_on_a_sound_market_and_pictures_are_drawn(surfaced):
    _, result = surfaced
    for asset, pictured in (("iv_surface", "smile"), ("iv_term_structure", "term_structure")):
        assert all(check.passed for check in checks(result, asset).values())
        assert "data:image/png;base64," in metadata(result, asset)[pictured].value


def test_a_vendor_that_contradicts_its_quotes_is_named_and_not_fitted(surfaced):
    place, _ = surfaced
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute(
            "UPDATE option_greeks SET vendor_volatility = vendor_volatility + 0.2 "
            "WHERE underlying = 'SOFI'"
        )
    result = place.run(["iv_surface", "iv_term_structure"], TODAY)
    assert result.success
    check = checks(result, "iv_surface")["agrees_with_vendor"]
    assert not check.passed
    assert "SOFI" in str(check.metadata)
    rows = at(place.rows("iv_surface")).filter(pl.col("underlying") == "SOFI")
    assert "OK" not in set(rows["status"])
    (row,) = at(place.rows("iv_term_structure")).filter(pl.col("underlying") == "SOFI").to_dicts()
    assert row["iv_30d"] is None
    assert "iv_30d: no expiry has one" in row["missing"]


def test_last_trades_of_a_day_are_known_the_next_morning(settled, sim):
    place = settled
    reference = ["universe", "corporate_actions", "treasury_yields"]
    assert place.run([*reference, *SURFACE], DAY).success
    surface = place.rows("iv_surface", DAY)
    assert set(surface["underlying"]) >= {"AAPL", "SOFI", "UBER", "SPY"}
    terms = place.rows("iv_term_structure", DAY)
    for rows in (surface, terms):
        assert set(rows["basis"]) == {"day_file"}
        assert set(rows["slot"]) == {session_on(DAY).close}
        assert set(rows["available_at"]) == {day_file_available_at(DAY)}
    assert terms["model_free_30d"].null_count() == terms.height
    assert terms["missing"].str.contains("model_free_30d: last trades of a day").all()
    (row,) = terms.filter(pl.col("underlying") == "AAPL").to_dicts()
    true = sim.true_volatility("AAPL", DAY, date(2026, 7, 2), row["spot"])
    assert row["iv_30d"] == pytest.approx(true, abs=0.02)


def test_only_who_is_followed_has_a_smile(surfaced):
    """A ticker that was disabled before the day's close, beside the benchmarks and indices."""
    place, _ = surfaced
    disable(place.warehouse, "SOFI", NOW - timedelta(hours=1), actor="test")
    assert place.run(["iv_surface", "iv_term_structure"], TODAY).success
    assert "SOFI" in set(place.rows("option_greeks", TODAY)["underlying"])
    for table in ("iv_surface", "iv_term_structure"):
        assert set(at(place.rows(table))["underlying"]) == UNDERLYINGS - {"SOFI"}
        earlier = place.rows(table).filter(pl.col("slot") < NOW)
        assert set(earlier["underlying"]) == UNDERLYINGS, "what is there of today is left alone"


def test_a_day_without_any_price_has_no_surface(place):
    result = place.run(["universe", "iv_surface", "iv_term_structure"], DAY)
    assert result.success
    assert place.rows("iv_surface").is_empty()
    assert all(check.passed for check in checks(result, "iv_surface").values())
