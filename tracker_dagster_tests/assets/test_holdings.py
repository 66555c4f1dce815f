"""Holdings and the calls to write on them, on the day's real decision."""

from datetime import date, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import disable
from tracker_dagster.ledger.events import PositionAssigned, events_frame
from tracker_dagster.ledger.folds import SETTLEMENT
from tracker_dagster.ledger.holding_commands import import_holdings
from tracker_dagster.ledger.holding_events import Lot
from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.trading_calendar import decision_time, next_session, session_on
from tracker_dagster_tests.assets.place import DAY, TODAY, checks

pytestmark = pytest.mark.feature(27)

#: Before the week of the tests.
EARLY = decision_time(date(2026, 5, 26))


def hold(place, *lots, account="ira", moment=EARLY):
    wanted = tuple(Lot(ticker=ticker, shares=shares, basis=basis) for ticker, shares, basis in lots)
    import_holdings(place.warehouse, account, wanted, moment, "me")


def made(place, day=TODAY):
    result = place.run(["holdings", "holding_calls"], day)
    assert result.success
    for name in ("holdings", "holding_calls"):
        assert TABLES[name].schema.filter(place.rows(name, day))[1].counts() == {}
    return result, place.rows("holdings", day), place.rows("holding_calls", day)


def picked(place):
    picks = place.rows("weekly_picks", TODAY)
    return picks.filter((pl.col("status") == "picked") & (pl.col("basis") == "snapshot"))


def test_the_call_to_write_is_the_tickers_pick(settled):
    pick = picked(settled).row(0, named=True)
    hold(settled, (pick["ticker"], 250, 1.0), ("NOBODY", 100, 5.0), ("SPY", 99, 500.0))
    result, held, calls = made(settled)
    assert held.select("ticker", "shares", "covered", "free", "cost").rows() == [
        ("NOBODY", 100, 0, 100, 500),
        (pick["ticker"], 250, 0, 250, 250),
        ("SPY", 99, 0, 99, 49_500),
    ]
    rows = {row["ticker"]: row for row in calls.to_dicts()}
    assert set(rows) == {"NOBODY", pick["ticker"]}
    row = rows[pick["ticker"]]
    assert (row["symbol"], row["contracts"]) == (pick["symbol"], 2)
    assert row["premium_total"] == pytest.approx(200 * pick["bid"])
    assert row["decision_at"] == pick["decision_at"]
    assert "not enabled in the universe" in rows["NOBODY"]["reason"]
    assert checks(result, "holdings")["holdings_are_current"].passed


def test_covered_shares_are_not_written_on_again_and_the_past_stays_as_it_was(settled):
    pick = picked(settled).row(0, named=True)
    hold(settled, (pick["ticker"], 150, 1.0))
    position = open_position(
        settled.warehouse, symbol=pick["symbol"], quantity=-1, price=1.0, day=DAY, account="ira",
        decision_at=decision_time(DAY), now=decision_time(DAY), actor="me",
    ).event_id  # fmt: skip
    _, held, calls = made(settled)
    assert held.select("covered", "free").rows() == [(100, 50)]
    assert calls.is_empty()
    # Settled a week later with effect from before the decision: it was not known today.
    late = session_on(next_session(TODAY, 5)).open
    end = PositionAssigned(
        position_id=position, actor=SETTLEMENT, recorded_at=late,
        effective_at=decision_time(TODAY) - timedelta(hours=1),
    )  # fmt: skip
    settled.warehouse.append_events(events_frame([end]))
    assert made(settled)[1].equals(held)


def test_a_split_since_the_import_stops_calls_and_is_told(settled):
    """A split inside the week."""
    pick = picked(settled).row(0, named=True)
    hold(settled, (pick["ticker"], 100, 1.0))
    with settled.warehouse.connection(read_only=False) as connection:
        connection.execute(
            "INSERT INTO corporate_actions BY NAME SELECT ? AS trade_date, ? AS ticker, "
            "'split' AS action, ? AS ex_date, 'planted' AS action_id, 'test' AS source, "
            "? AS available_at, 1.0 AS split_from, 4.0 AS split_to",
            [DAY, pick["ticker"], DAY, session_on(DAY).open],
        )
    result, held, calls = made(settled)
    assert held.select("split_on", "free").rows() == [(DAY, None)]
    assert "import them anew" in calls["reason"][0]
    found = checks(result, "holdings")["holdings_are_current"]
    assert not found.passed
    assert pick["ticker"] in str(found.metadata)


def test_more_calls_than_shares_are_told(settled):
    pick = picked(settled).row(0, named=True)
    hold(settled, (pick["ticker"], 100, 1.0))
    open_position(
        settled.warehouse, symbol=pick["symbol"], quantity=-1, price=1.0, day=DAY, account="ira",
        decision_at=decision_time(DAY), now=decision_time(DAY), actor="me",
    )  # fmt: skip
    hold(settled, (pick["ticker"], 60, 1.0), moment=decision_time(DAY) + timedelta(hours=1))
    result, held, _ = made(settled)
    assert held["free"].to_list() == [-40]
    assert not checks(result, "holdings")["holdings_are_current"].passed


def test_the_floor_at_the_basis_is_a_setting(settled):
    pick = picked(settled).row(0, named=True)
    hold(settled, (pick["ticker"], 100, pick["strike"] + 0.01))
    assert made(settled)[2]["symbol"].to_list() == [pick["symbol"]]
    floored = type(settled)(
        settled.home, settled.url, more_settings={"holdings_strike_floor": True}
    )
    (row,) = made(floored)[2].to_dicts()
    assert row["at_basis_or_above"]
    assert row["symbol"] is None or row["strike"] > pick["strike"]


def test_nobody_holds_anything(settled):
    result, held, calls = made(settled)
    assert (held.height, calls.height) == (0, 0)
    assert checks(result, "holdings")["holdings_are_current"].passed


def test_shares_held_in_a_ticker_that_left_the_universe_are_still_priced(place, sim):
    """Their chain and their last price are captured, as those of positions are."""
    disable(place.warehouse, "UBER", EARLY, "me")
    hold(place, ("UBER", 10, 50.0))
    sim.set_clock(decision_time(TODAY))
    assert place.run(["option_chain", "market_last"], TODAY).success
    assert "UBER" in place.rows("option_chain", TODAY)["underlying"].to_list()
    assert "UBER" in place.rows("market_last", TODAY)["ticker"].to_list()


def test_what_is_entered_with_hindsight_was_nobodys_to_capture(place, sim):
    disable(place.warehouse, "UBER", EARLY, "me")
    later = datetime.fromisoformat("2026-06-20T15:00:00+00:00")
    lots = (Lot(ticker="UBER", shares=10),)
    import_holdings(place.warehouse, "ira", lots, later, "me", effective_at=EARLY)
    sim.set_clock(decision_time(TODAY))
    assert place.run(["option_chain"], TODAY).success
    assert "UBER" not in place.rows("option_chain", TODAY)["underlying"].to_list()
