"""Health, risk and stress of real accounts and the paper book, on a captured market."""

import json
from datetime import date, timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import disable
from tracker_dagster.ledger.holding_commands import import_holdings, read_holdings
from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.schemas.portfolio_risk import ALL_REAL, ALL_TICKERS
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.trading_calendar import decision_time
from tracker_dagster_tests.assets.place import TODAY, checks

SLOT = decision_time(TODAY)
MADE = ["contract_health", "portfolio_risk", "portfolio_stress"]


def contract(place, ticker, right):
    """A quoted contract just out of the money, of a Thursday: the Friday is a holiday."""
    chain = place.rows("option_chain", TODAY).filter(
        (pl.col("underlying") == ticker)
        & (pl.col("right") == right)
        & (pl.col("expiry") == date(2026, 6, 18))
        & (pl.col("quote_status") == "OK")
        & ((pl.col("strike") > pl.col("underlying_price")) == (right == "C"))
    )
    return chain.sort("strike", descending=right == "P").row(0, named=True)


def sell(place, quote, account, **facts):
    return open_position(
        place.warehouse, symbol=quote["symbol"], quantity=-1, price=quote["bid"], day=TODAY,
        decision_at=SLOT - timedelta(minutes=1), now=SLOT, actor="me", account=account, **facts,
    ).event_id  # fmt: skip


@pytest.fixture
def held(settled):
    """Beside the paper book's call: 300 AAPL with a call on 100 of them, and a put on SOFI."""
    lots = read_holdings("ticker,shares,basis\nAAPL,300,190.00\n")
    import_holdings(settled.warehouse, "ira", lots, SLOT - timedelta(hours=1), "me")
    call, put = (contract(settled, *kind) for kind in (("AAPL", "C"), ("SOFI", "P")))
    sell(settled, call, "ira", stock_source="held")
    sell(settled, put, "ira")
    assert settled.run(MADE, TODAY).success
    return settled, call, put


def greeks_of(place, symbol):
    rows = place.rows("option_greeks", TODAY)
    mine = rows.filter(
        (pl.col("symbol") == symbol) & (pl.col("basis") == "snapshot") & (pl.col("slot") == SLOT)
    )
    return mine.row(0, named=True)


def price_of(place, ticker):
    rows = place.rows("market_last", TODAY)
    return rows.filter((pl.col("ticker") == ticker) & (pl.col("slot") == SLOT))["price"].item()


@pytest.mark.feature(26)
def test_risk_of_a_real_account_is_that_of_its_shares_and_options(held):
    place, call, put = held
    rows = {row["account"]: row for row in place.rows("portfolio_risk", TODAY).to_dicts()}
    assert sorted(rows) == [ALL_REAL, "ira", "paper"]
    of_call, of_put = (greeks_of(place, quote["symbol"]) for quote in (call, put))
    aapl, sofi = price_of(place, "AAPL"), price_of(place, "SOFI")
    ira = rows["ira"]
    assert (ira["positions_count"], ira["tickers_count"], ira["valued_count"]) == (2, 2, 2)
    shares_aapl, shares_sofi = 300 - 100 * of_call["delta"], -100 * of_put["delta"]
    assert ira["net_delta_shares"] == pytest.approx(shares_aapl + shares_sofi)
    assert ira["net_delta_usd"] == pytest.approx(shares_aapl * aapl + shares_sofi * sofi)
    assert ira["theta_day"] == pytest.approx(-100 * (of_call["theta"] + of_put["theta"]))
    assert ira["vega_point"] == pytest.approx(-(of_call["vega"] + of_put["vega"]))
    assert ira["stock_value"] == pytest.approx(300 * aapl)
    assert ira["cash_secured"] == pytest.approx(100 * put["strike"])
    assert ira["largest_ticker"] == "AAPL"
    # A month of closes is too short for a beta, and the row says whose.
    assert ira["beta_delta_usd"] is None
    assert ira["beta_reason"] == "no beta of AAPL, SOFI"
    for name in ("net_delta_usd", "theta_day", "vega_point", "capital"):
        assert rows[ALL_REAL][name] == pytest.approx(ira[name])
    (opened,) = place.rows("openings", TODAY).to_dicts()
    of_opened = greeks_of(place, opened["symbol"])
    assert rows["paper"]["net_delta_shares"] == pytest.approx(100 - 100 * of_opened["delta"])


@pytest.mark.feature(26)
def test_stress_adds_up_and_falls_hurt_who_is_long(held):
    place, _, _ = held
    rows = place.rows("portfolio_stress", TODAY).filter(pl.col("move") == "plain")
    for account in (ALL_REAL, "ira", "paper"):
        mine = rows.filter(pl.col("account") == account)
        by_scenario = dict(
            mine.filter(pl.col("ticker") != ALL_TICKERS)
            .group_by("scenario")
            .agg(pl.col("pnl").sum())
            .iter_rows()
        )
        total = dict(
            mine.filter(pl.col("ticker") == ALL_TICKERS).select("scenario", "pnl").iter_rows()
        )
        assert total == pytest.approx(by_scenario)
        assert total["down_20"] < total["down_10"] < total["down_5"] < 0
        # Options sold cost more to buy back where volatility rises.
        assert total["vol_up_10"] < 0 < total["vol_down_10"]
        assert total["down_10_vol_up_10"] < total["down_10"]
    # To first order a small fall is the delta's; gamma of sold options makes it worse.
    risk = {row["account"]: row for row in place.rows("portfolio_risk", TODAY).to_dicts()}
    ira = rows.filter(pl.col("account") == "ira", pl.col("ticker") == ALL_TICKERS)
    fall = ira.filter(pl.col("scenario") == "down_5")["pnl"].item()
    assert fall < -0.05 * risk["ira"]["net_delta_usd"]
    assert fall == pytest.approx(-0.05 * risk["ira"]["net_delta_usd"], rel=0.1)


def test_tables_obey_their_schemas_and_come_out_the_same_again(held):
    place, _, _ = held
    before = place.content()
    for name in MADE:
        rows = place.rows(name, TODAY)
        assert rows.height
        assert TABLES[name].schema.filter(rows)[1].counts() == {}, name
    assert place.run(MADE, TODAY).success
    assert place.content() == before


@pytest.mark.feature(26)
def test_health_of_each_position_has_greeks_and_a_roll(held):
    place, call, put = held
    rows = {row["symbol"]: row for row in place.rows("contract_health", TODAY).to_dicts()}
    assert {call["symbol"], put["symbol"]} < set(rows)
    for quote in (call, put):
        row = rows[quote["symbol"]]
        of_ours = greeks_of(place, quote["symbol"])
        assert (row["delta"], row["greeks_source"]) == (of_ours["delta"], "ours")
        assert row["time_value"] == pytest.approx(quote["mid"])
        if row["roll_symbol"] is not None:
            assert row["roll_expiry"] > quote["expiry"]
    assert rows[put["symbol"]]["stock_pnl"] is None
    assert rows[call["symbol"]]["stock_pnl"] == pytest.approx(
        100 * (price_of(place, "AAPL") - 190.0)
    )


def test_a_position_in_a_ticker_that_left_the_universe_is_still_judged(held):
    place, call, _ = held
    disable(place.warehouse, "AAPL", SLOT, actor="me")
    assert place.run(MADE, TODAY).success
    judged = place.rows("contract_health", TODAY).filter(pl.col("symbol") == call["symbol"])
    assert judged["stock_price"].is_not_null().all()
    risk = place.rows("portfolio_risk", TODAY).filter(pl.col("account") == "ira")
    assert risk["left_out"].item() == "{}"


def test_what_was_not_captured_is_left_out_aloud(held):
    place, _, put = held
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute("DELETE FROM option_greeks WHERE underlying = 'SOFI'")
    found = checks(place.run(MADE, TODAY), "portfolio_risk")["valued_as_a_whole"]
    assert not found.passed
    risk = place.rows("portfolio_risk", TODAY).filter(pl.col("account") == "ira")
    why = {"SOFI": f"{put['symbol']} not in the chain of the slot"}
    assert json.loads(risk["left_out"].item()) == why


def test_a_day_without_anything_held_has_no_rows(place, sim):
    assert place.run(MADE, TODAY).success
    for name in MADE:
        assert place.rows(name, TODAY).is_empty()
