"""Every captured or traded contract valued, on a market whose volatilities are known."""

from datetime import timedelta

import polars as pl
import pytest

from tracker_dagster.trading_calendar import day_file_available_at, session_on
from tracker_dagster_tests.assets.place import DAY, NOW, TODAY, checks

REFERENCE = ["universe", "corporate_actions", "treasury_yields"]
FILES = ["stock_day_aggs", "option_day_aggs", "index_bars"]


@pytest.fixture(scope="module")
def valued(recorded, _enrolled, tmp_path_factory):
    """A place with one day file and one captured slot, both valued."""
    import shutil

    from tracker_dagster_tests.assets.place import Place

    home = tmp_path_factory.mktemp("valued") / "home"
    shutil.copytree(_enrolled, home)
    place = Place(home, recorded[0].url)
    assert place.run([*REFERENCE, *FILES, "option_greeks"], DAY).success
    result = place.run([*REFERENCE, "option_chain", "implied_forwards", "option_greeks"], TODAY)
    assert result.success
    return place, result


def with_truth(rows, sim, moment):
    truth = [
        sim.true_volatility(*row, moment)
        for row in rows.select("underlying", "trade_date", "expiry", "strike").iter_rows()
    ]
    return rows.with_columns(
        true=pl.Series(truth),
        moneyness=(pl.col("strike") / pl.col("forward")).log(),
    ).with_columns(is_otm=(pl.col("right") == "C") == (pl.col("moneyness") > 0))


def test_every_captured_contract_is_there_with_a_volatility_or_a_reason(valued):
    place, result = valued
    rows = place.rows("option_greeks", TODAY)
    chain = place.rows("option_chain", TODAY)
    assert set(rows["basis"]) == {"snapshot"}
    assert rows.select("slot", "symbol").equals(chain.select("slot", "symbol"))
    assert rows["open_interest"].equals(chain["open_interest"])
    assert rows.select(pl.col("status").is_not_null().all()).item()
    assert (rows["status"] == "OK").mean() > 0.8
    unquoted = chain.filter(pl.col("quote_status") != "OK")["symbol"]
    named = rows.filter(pl.col("symbol").is_in(unquoted.implode()) & pl.col("is_standard"))
    assert set(named["status"]) == {"NO_QUOTE"}
    assert (
        rows.join(chain.select("symbol", at="available_at"), on="symbol")
        .filter(pl.col("available_at") != pl.col("at"))
        .is_empty()
    )
    assert all(check.passed for check in checks(result, "option_greeks").values())


def test_true_volatilities_lie_within_the_quotes_and_near_the_middle(valued, sim):
    place, _ = valued
    rows = place.rows("option_greeks", TODAY).filter(
        (pl.col("status") == "OK") & (pl.col("underlying") != "VIX")
    )
    judged = with_truth(rows.sample(500, seed=7), sim, NOW).filter("is_otm")
    inside = judged["true"].is_between(judged["bid_volatility"], judged["ask_volatility"])
    assert inside.mean() > 0.95
    width = judged["ask_volatility"] - judged["bid_volatility"]
    error = (judged["implied_volatility"] - judged["true"]).abs()
    assert (error / width).median() < 0.2


def test_the_sources_of_every_input_are_named(valued):
    place, _ = valued
    rows = place.rows("option_greeks", TODAY).filter(pl.col("status") == "OK")
    assert set(rows["rate_source"]) == {"treasury 2026-06-02"}
    assert set(rows["spot_source"]) == {"option_chain"}
    assert set(rows["dividend_source"]) == {"corporate_actions", "index"}
    by_index = rows.filter(pl.col("dividend_source") == "index")
    assert set(by_index["forward_source"]) == {"parity"}
    assert by_index["dividends_value"].null_count() == by_index.height
    assert set(rows.filter(pl.col("underlying") == "AAPL")["style"]) == {"american"}
    assert set(rows.filter(pl.col("underlying") == "SPX")["style"]) == {"european"}


def test_day_files_are_valued_at_the_close_and_known_the_next_morning(valued):
    place, _ = valued
    rows = place.rows("option_greeks", DAY)
    traded = place.rows("option_day_aggs", DAY)
    assert set(rows["basis"]) == {"day_file"}
    assert set(rows["symbol"]) == set(traded["symbol"])
    assert set(rows["slot"]) == {session_on(DAY).close}
    assert set(rows["available_at"]) == {day_file_available_at(DAY)}
    assert rows["open_interest"].null_count() == rows.height, "day files have no open interest"
    closes = dict(place.rows("stock_day_aggs", DAY).select("ticker", "close").iter_rows())
    apple = rows.filter(pl.col("underlying") == "AAPL")
    assert set(apple["spot"]) == {closes["AAPL"]}
    expiring = rows.filter(pl.col("expiry") == DAY)
    assert set(expiring["status"]) <= {"EXPIRED", "ADJUSTED"}
    indices = rows.filter((pl.col("dividend_source") == "index") & (pl.col("status") == "OK"))
    assert indices.height > 100
    assert set(indices["forward_source"]) == {"parity"}, "theory knows of no index's dividends"
    as_of = {"as_of": day_file_available_at(DAY) - timedelta(seconds=1)}
    from tracker_dagster.schemas.registry import TABLES

    assert place.warehouse.read(TABLES["option_greeks"], first=DAY, last=DAY, **as_of).is_empty()


def test_the_same_day_again_gives_the_same_rows_and_the_other_basis_is_left_alone(valued):
    place, _ = valued
    before = place.content()
    assert place.run(["option_greeks"], DAY).success
    assert place.run(["option_greeks"], TODAY).success
    assert place.content() == before


def test_a_day_with_nothing_to_value_writes_nothing_and_fails_nothing(place):
    result = place.run(["option_greeks"], DAY)
    assert result.success
    assert place.rows("option_greeks").is_empty()


def test_without_any_curve_no_contract_has_a_volatility_and_the_check_says_so(place):
    assert place.run(["universe", "option_chain"], TODAY).success
    result = place.run(["option_greeks"], TODAY)
    assert result.success
    rows = place.rows("option_greeks", TODAY)
    assert set(rows["status"]) <= {"NO_RATE", "NO_QUOTE", "ADJUSTED"}
    assert rows["implied_volatility"].null_count() == rows.height
    assert not checks(result, "option_greeks")["mostly_valued"].passed
