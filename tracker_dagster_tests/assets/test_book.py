"""The paper book over two weeks: opened after deciding, settled before the next; never rewritten.

The market of these tests has three tickers. Every session runs as a person's machine would:
yesterday's files in the morning, the daily job ten minutes before the close.
"""

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import dagster as dg
import polars as pl
import pytest

from tracker_dagster.ledger.commands import disable
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holding_commands import import_holdings
from tracker_dagster.ledger.holding_events import Lot
from tracker_dagster.ledger.position_commands import assign_position, open_position
from tracker_dagster.schemas.decisions import WEEKLY_PICKS
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.trading_calendar import (
    EASTERN,
    decision_time,
    last_sessions,
    next_session,
    previous_session,
    session_on,
    sessions_between,
)
from tracker_dagster_tests.assets.place import PAST, TODAY, Place, checks, failure, recorded_market

FIRST, LAST = date(2026, 6, 3), date(2026, 6, 16)
DAYS = sessions_between(FIRST, LAST)
#: Much cash and any lane, so that more than one position is opened.
GENEROUS = {"seed": 1_000_000, "lane": "ALL", "top_n": 5}
DATED = (
    "positions", "promotions", "openings", "model_compares", "contract_health", "portfolio_risk",
    "portfolio_stress", "summary",
)  # fmt: skip


def at(day, hour, minute):
    return datetime.combine(day, time(hour, minute), EASTERN).astimezone(UTC)


def ledger_of(place, kind):
    return place.rows("ledger").filter(pl.col("kind") == kind)


@pytest.fixture(scope="module")
def market():
    with recorded_market() as (sim, _):
        yield sim


@pytest.fixture(scope="module")
def _lived(market, tmp_path_factory):
    """A home that lived through two weeks, and what its tables said each evening."""
    place = Place(tmp_path_factory.mktemp("lived") / "home", market.url, more_settings=GENEROUS)
    place.enrol()
    market.set_clock(at(FIRST, 11, 30))
    first = last_sessions(previous_session(FIRST), 25)[0]
    assert place.run("flat_files", first, previous_session(FIRST)).success
    evenings = {}
    for day in DAYS:
        if day > FIRST:
            market.set_clock(at(day, 11, 30))
            assert place.run("flat_files", previous_session(day)).success
        market.set_clock(decision_time(day))
        assert place.run("daily", day).success
        evenings[day] = {name: place.rows(name, day) for name in DATED}
    return place.home, evenings


@pytest.fixture
def lived(market, _lived, tmp_path):
    """A copy of that home, on the evening of its last day."""
    home, evenings = _lived
    shutil.copytree(home, tmp_path / "home")
    market.set_clock(decision_time(LAST))
    return Place(tmp_path / "home", market.url, more_settings=GENEROUS), evenings


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestTwoWeeks:
    def test_positions_were_opened_and_ended(self, lived):
        place, evenings = lived
        statuses = evenings[LAST]["positions"]["status"].to_list()
        assert "OPEN" in statuses
        assert {"EXPIRED", "ASSIGNED"} & set(statuses)
        expired = evenings[LAST]["positions"].filter(pl.col("status") != "OPEN")
        closes = place.rows("stock_day_aggs").select("trade_date", "ticker", "close")
        for row in expired.join(
            closes, left_on=["expiry", "ticker"], right_on=["trade_date", "ticker"]
        ).to_dicts():
            called = row["close"] >= row["strike"] + 0.01
            assert row["status"] == ("ASSIGNED" if called else "EXPIRED")
            assert row["closed_at"] == session_on(row["expiry"]).close
            sold_at = row["strike"] if called else row["close"]
            assert row["fees"] == pytest.approx(0.65)
            gain = 100 * (row["open_price"] + sold_at - row["stock_basis"]) - 0.65
            assert row["realised_pnl"] == pytest.approx(gain)

    def test_a_ticker_that_expired_on_friday_may_be_sold_again_on_monday(self, lived):
        _, evenings = lived
        friday, monday = date(2026, 6, 12), date(2026, 6, 15)
        held = evenings[friday]["positions"].filter(
            (pl.col("status") == "OPEN") & (pl.col("expiry") == friday)
        )
        assert held.height >= 1
        reasons = dict(evenings[monday]["promotions"].select("ticker", "reason").iter_rows())
        assert not any("open" in reasons[ticker] for ticker in held["ticker"] if ticker in reasons)

    def test_an_opening_is_a_position_from_the_next_session_on(self, lived):
        _, evenings = lived
        for day, following in pairwise(DAYS):
            promoted = evenings[day]["promotions"].filter(pl.col("decision") == "promote")
            opened = evenings[day]["openings"]
            assert sorted(opened["symbol"]) == sorted(promoted["symbol"])
            assert set(opened["status"]) <= {"opened"}
            assert not set(opened["position_id"]) & set(evenings[day]["positions"]["position_id"])
            held = evenings[following]["positions"].filter(pl.col("status") == "OPEN")
            assert set(opened["position_id"]) <= set(held["position_id"])
            # It is judged on its first day already.
            judged = evenings[day]["contract_health"]["position_id"]
            assert set(opened["position_id"]) <= set(judged)

    def test_every_past_day_made_again_is_the_same_to_the_byte(self, lived):
        place, evenings = lived
        before = place.content()
        # As a backfill makes it: one run over the range, with no word on seed or lane.
        assert place.run(DATED, FIRST, DAYS[-2]).success
        for day, tables in evenings.items():
            for name, rows in tables.items():
                assert place.rows(name, day).equals(rows), (name, day)
        assert place.content() == before

    def test_settings_that_changed_since_do_not_change_what_was_decided(self, lived):
        place, _ = lived
        modest = {"seed": 10.0, "lane": "SAFE", "top_n": 1}
        other = Place(place.home, place.url, more_settings=modest)
        day = FIRST
        before = place.content()
        assert other.run(["promotions", "openings", "summary"], day).success
        assert place.content() == before


@pytest.fixture
def generous(settled):
    return replace(settled, more_settings=GENEROUS)


def the_opening(place):
    (row,) = place.rows("openings", TODAY).to_dicts()
    return row


def forget_the_openings(place):
    """The home as it was before its daily job opened anything."""
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute("DELETE FROM ledger WHERE kind LIKE 'position%'")
        for name in ("openings", "contract_health"):
            connection.execute(f"DELETE FROM {name}")


def tagged(place, assets, opening=True):
    return place.run(assets, TODAY, tags={"tracker/open": "paper"} if opening else {})


def test_the_daily_job_after_the_close_opens_at_the_decision_and_shows_it(settled, sim):
    """The schedule runs at 16:20; the quotes it acts on are those of 15:50."""
    forget_the_openings(settled)
    sim.set_clock(at(TODAY, 16, 20))
    try:
        assert settled.run("daily", TODAY).success
    finally:
        sim.set_clock(decision_time(TODAY))
    row = the_opening(settled)
    assert row["status"] == "opened"
    assert row["effective_at"] == decision_time(TODAY) + timedelta(microseconds=1)
    of_decision = {"symbol": row["symbol"], "basis": "snapshot"}
    (pick,) = settled.warehouse.read(WEEKLY_PICKS, where=of_decision).to_dicts()
    assert (row["price"], row["stock_basis"]) == (pick["bid"], pick["price"])
    judged = settled.rows("contract_health", TODAY)
    assert row["position_id"] in judged["position_id"].to_list()
    report = (settled.home / "data/reports/summary.md").read_text()
    assert f"| {row['ticker']} " in report[report.index("## 7.") : report.index("## 8.")]


@pytest.mark.parametrize(
    ("sql", "opening", "words"),
    [
        ("UPDATE weekly_picks SET bid = NULL", True, "no bid was captured"),
        ("UPDATE {} SET decision_at = decision_at + INTERVAL 10 MINUTE", True, "closing quotes"),
        ("UPDATE {} SET basis = 'day_file'", True, "decided on day files"),
        (
            "UPDATE option_chain SET available_at = slot + INTERVAL 10 MINUTE",
            True,
            "its chain was complete at 16:00:00 ET, and nothing fills after the close",
        ),
        ("SELECT 1", False, "no run with the tag tracker/open=paper"),
    ],
    ids=["no bid", "closing slot", "day files", "captured late", "not asked to"],
)
def test_what_cannot_be_filled_is_refused_with_the_reason(settled, sql, opening, words):
    forget_the_openings(settled)
    with settled.warehouse.connection(read_only=False) as connection:
        for table in ("promotions", "weekly_picks"):
            connection.execute(sql.format(table))
    assert tagged(settled, ["openings"], opening).success
    row = the_opening(settled)
    assert row["status"] == "refused"
    assert words in row["reason"]
    assert row["position_id"] is None
    assert ledger_of(settled, "position_opened").is_empty()


def test_a_past_day_opens_nothing_even_when_asked(settled, sim):
    forget_the_openings(settled)
    sim.set_clock(decision_time(TODAY) + timedelta(days=1))
    try:
        assert tagged(settled, ["openings"]).success
    finally:
        sim.set_clock(decision_time(TODAY))
    assert the_opening(settled)["status"] == "refused"
    assert ledger_of(settled, "position_opened").is_empty()


def test_a_contract_opened_by_hand_is_not_opened_again(settled):
    symbol = the_opening(settled)["symbol"]
    forget_the_openings(settled)
    decision_at = decision_time(TODAY)
    open_position(
        settled.warehouse, symbol=symbol, quantity=-3, price=9.0, day=TODAY,
        decision_at=decision_at, now=decision_at, actor="cli",
    )  # fmt: skip
    assert tagged(settled, ["openings"]).success
    row = the_opening(settled)
    assert (row["status"], row["quantity"], row["reason"]) == ("already", -3, "by cli")


def test_one_decision_a_day_is_acted_on(settled):
    """A second decision of the same session does not double what the cash was asked for."""
    with settled.warehouse.connection(read_only=False) as connection:
        for table in ("promotions", "weekly_picks"):
            connection.execute(f"UPDATE {table} SET decision_at = decision_at - INTERVAL 5 MINUTE")
    assert tagged(settled, ["openings"]).success
    rows = settled.rows("openings", TODAY)
    assert sorted(rows["status"]) == ["opened", "refused"]
    refused = rows.filter(pl.col("status") == "refused")
    assert "15:50 ET was acted on already" in refused["reason"].item()


def test_promotions_that_were_acted_on_are_not_decided_otherwise(settled, generous):
    before = settled.content()
    assert settled.run(["promotions"], TODAY).success
    assert settled.content() == before
    job = settled.definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        run_config={
            "ops": {"promotions": {"config": {"seed": 10.0}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        asset_selection=[dg.AssetKey("promotions")],
        tags={"dagster/partition": str(TODAY)},
        instance=settled.instance,
        raise_on_error=False,
    )
    assert "as promoted with seed 9,300.00, lane SAFE_HIGH, top 3" in failure(result)
    assert settled.content() == before
    forget_the_openings(settled)
    assert generous.run(["promotions"], TODAY).success
    assert set(settled.rows("promotions", TODAY)["seed"]) == {1_000_000.0}


def test_what_was_opened_and_is_no_longer_promoted_is_told(settled):
    assert checks(tagged(settled, ["openings"]), "openings")["acted_on_agrees"].passed
    with settled.warehouse.connection(read_only=False) as connection:
        connection.execute("UPDATE promotions SET decision = 'skip'")
    found = checks(tagged(settled, ["openings"]), "openings")["acted_on_agrees"]
    assert not found.passed


def expired_position(place, symbol, **facts):
    opened_at = decision_time(date(2026, 5, 27))
    return open_position(
        place.warehouse, symbol=symbol, quantity=-1, price=1.0, day=opened_at.date(),
        decision_at=opened_at, now=opened_at, actor="me", **facts,
    ).event_id  # fmt: skip


def state(place, position_id, moment=None):
    held = positions_as_of(place.rows("ledger"), moment or decision_time(TODAY))
    return held.filter(pl.col("position_id") == position_id).to_dicts()[0]


def test_settlement_waits_aloud_for_a_close_that_is_due(settled):
    position = expired_position(settled, "O:SOFI260529C00001000")
    with settled.warehouse.connection(read_only=False) as connection:
        connection.execute("DELETE FROM stock_day_aggs WHERE trade_date = '2026-05-29'")
    found = checks(settled.run(["positions"], TODAY), "positions")["settled_what_expired"]
    assert not found.passed
    assert "no close of SOFI on 2026-05-29" in str(found.metadata)
    assert state(settled, position)["status"] == "OPEN"
    assert settled.run("flat_files", date(2026, 5, 29)).success
    found = checks(settled.run(["positions"], TODAY), "positions")["settled_what_expired"]
    assert found.passed
    assert state(settled, position)["status"] == "ASSIGNED"


def test_index_options_settle_on_the_index_or_say_why_not(settled):
    afternoon = expired_position(settled, "O:SPXW260529C00001000")
    morning = expired_position(settled, "O:SPX260529C00001000")
    found = checks(settled.run(["positions"], TODAY), "positions")["settled_what_expired"]
    (close,) = settled.rows("index_bars", date(2026, 5, 29)).filter(pl.col("ticker") == "SPX")[
        "close"
    ]
    row = state(settled, afternoon)
    assert row["status"] == "CLOSED"
    assert row["close_price"] == pytest.approx(close - 1)
    assert row["realised_pnl"] == pytest.approx(100 * (1.0 - (close - 1)))
    assert state(settled, morning)["status"] == "OPEN"
    assert not found.passed
    assert "opening prices" in str(found.metadata)


def test_an_end_that_was_recorded_for_later_is_not_recorded_twice(settled):
    position = expired_position(settled, "O:SOFI260529C00001000")
    assign_position(
        settled.warehouse, position, now=decision_time(TODAY), actor="me",
        effective_at=decision_time(TODAY) + timedelta(days=9),
    )  # fmt: skip
    assert settled.run(["positions"], TODAY).success


def test_the_tables_of_the_book_obey_their_schemas(settled):
    for name in ("openings", "positions"):
        rows = settled.rows(name, TODAY)
        assert TABLES[name].schema.filter(rows)[1].counts() == {}


@pytest.mark.feature(26)
def test_a_position_in_a_ticker_that_left_the_universe_is_priced_judged_and_settled(settled, sim):
    """UBER is disabled with a call open: its chain is still captured, its end still recorded."""
    with settled.warehouse.connection(read_only=True) as connection:
        (symbol, strike, bid) = connection.execute(
            "SELECT symbol, strike, bid FROM option_chain WHERE underlying = 'UBER' "
            "AND \"right\" = 'C' AND bid > 0.2 ORDER BY expiry, strike DESC LIMIT 1"
        ).fetchone()
    opened_at = decision_time(TODAY)
    position = open_position(
        settled.warehouse, symbol=symbol, quantity=-1, price=bid, day=TODAY, stock_basis=strike,
        decision_at=opened_at - timedelta(minutes=5), now=opened_at, actor="me",
    ).event_id  # fmt: skip
    disable(settled.warehouse, "UBER", opened_at, "me")
    following = next_session(TODAY)
    try:
        sim.set_clock(at(following, 11, 30))
        assert settled.run("flat_files", TODAY).success
        sim.set_clock(decision_time(following))
        assert settled.run("daily", following).success
        assert settled.rows("weekly_picks", following).filter(pl.col("ticker") == "UBER").is_empty()
        chains = settled.rows("option_chain", following)["underlying"].unique().to_list()
        assert "UBER" in chains
        judged = settled.rows("contract_health", following)
        row = judged.row(by_predicate=pl.col("position_id") == position, named=True)
        assert row["stock_price"] is not None
        assert row["mid"] is not None
        expiry = datetime.strptime(symbol[-15:-9], "%y%m%d").date()  # noqa: DTZ007
        after = next_session(expiry)
        sim.set_clock(at(after, 11, 30))
        assert settled.run("flat_files", expiry).success
        assert settled.run(["positions"], after).success
        assert state(settled, position, decision_time(after))["status"] in ("EXPIRED", "ASSIGNED")
    finally:
        sim.set_clock(decision_time(TODAY))


def plant_dividend(place, ticker, ex_date, amount):
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute(
            "INSERT INTO corporate_actions BY NAME SELECT ? AS trade_date, ? AS ticker, "
            "'dividend' AS action, ? AS ex_date, 'planted' AS action_id, 'test' AS source, "
            "? AS available_at, ? AS cash_amount",
            [PAST[-1], ticker, ex_date, decision_time(PAST[-2]), amount],
        )


@pytest.mark.feature(26)
@pytest.mark.parametrize("account", ["paper", "ira"])
def test_a_deep_call_is_exercised_for_the_dividend_in_the_paper_book_only(settled, account):
    """Exercising at 1 dollar gives up two cents; today's dividend is 30."""
    before = PAST[-1]
    symbol = "O:SOFI260605C00001000"
    (close,) = settled.rows("stock_day_aggs", before).filter(pl.col("ticker") == "SOFI")["close"]
    plant_dividend(settled, "SOFI", TODAY, 0.30)
    with settled.warehouse.connection(read_only=False) as connection:
        connection.execute(
            "INSERT INTO option_chain BY NAME SELECT * REPLACE "
            "(? AS trade_date, ? AS symbol, 1.0 AS strike, 'P' AS \"right\", 0.02 AS mid, "
            "? AS underlying_price, ? AS slot, ? AS available_at) FROM option_chain "
            "WHERE underlying = 'SOFI' AND \"right\" = 'C' LIMIT 1",
            [before, symbol.replace("C0", "P0"), close, *[decision_time(before)] * 2],
        )
    if account != "paper":
        lots = (Lot(ticker="SOFI", shares=100, basis=5.0),)
        import_holdings(settled.warehouse, account, lots, decision_time(date(2026, 5, 26)), "me")
    bought = {"stock_basis": 10.0} if account == "paper" else {}
    position = expired_position(settled, symbol, account=account, **bought)
    result = settled.run(["positions"], TODAY)
    row = state(settled, position)
    found = checks(result, "positions")["told_what_was_assigned_early"]
    if account == "paper":
        assert (row["status"], row["closed_at"]) == ("ASSIGNED", session_on(before).close)
        # Sold for 1.00 against shares of 10: called away at 1.
        assert row["realised_pnl"] == pytest.approx(100 * (1.0 + 1.0 - 10.0))
        assert found.passed
    else:
        assert row["status"] == "OPEN"
        assert not found.passed
        why = "dividend 0.30 is more than the 0.02 given up by exercising"
        assert why in str(found.metadata)
        # Who looks at the monitor alone is told, too.
        assert settled.run(["contract_health"], TODAY).success
        health = settled.rows("contract_health", TODAY)
        judged = health.row(by_predicate=pl.col("position_id") == position, named=True)
        assert "likely_assigned_early" in judged["anomalies"]
        assert why in judged["reasons"]
    # Doing the day again records nothing more.
    events = settled.rows("ledger").height
    assert settled.run(["positions"], TODAY).success
    assert settled.rows("ledger").height == events
