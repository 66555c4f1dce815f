"""Commands on positions: once each, only what makes sense, and rolls that are whole."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.position_commands import (
    assign_position,
    close_position,
    expire_position,
    open_position,
    roll_position,
)
from tracker_dagster.schemas.book import POSITIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.warehouse import Warehouse

NOW = datetime(2026, 11, 18, 20, 50, tzinfo=UTC)
DAY = date(2026, 11, 18)
CALL = "O:AAPL261127C00150000"


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "x.duckdb")


def positions(store, moment):
    return positions_as_of(store.read(LEDGER), moment).to_dicts()


def opening(store, **changes):
    facts = {
        "symbol": CALL,
        "quantity": -1,
        "price": 1.25,
        "day": DAY,
        "decision_at": NOW,
        "now": NOW,
        "actor": "me",
    }
    return open_position(store, **{**facts, **changes})


def test_opening_again_on_the_same_decision_is_the_same_position(store):
    first = opening(store)
    again = opening(store, now=NOW + timedelta(minutes=3))
    assert first.is_new
    assert not again.is_new
    assert first.event_id == again.event_id
    (position,) = positions(store, NOW + timedelta(days=1))
    assert position["open_price"] == 1.25


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"price": 9.0}, "with price 1.25, not price 9.0"),
        ({"quantity": -5}, "with quantity -1, not quantity -5"),
        ({"stock_basis": 150.0, "fees": 1.0}, "not stock_basis 150.0, stock_source bought, fees 1.0"),
    ],
)
def test_the_same_contract_and_decision_with_other_facts_is_refused(store, changed, words):
    opening(store)
    before = store.read(LEDGER)
    with pytest.raises(LedgerError, match=words):
        opening(store, **changed)
    assert store.read(LEDGER).equals(before)


def test_a_position_does_not_exist_yet_at_the_decision_that_opened_it(store):
    opening(store)
    assert positions(store, NOW) == []
    assert len(positions(store, NOW + timedelta(seconds=1))) == 1
    with pytest.raises(LedgerError, match="before the decision"):
        opening(store, effective_at=NOW, account="other")


def test_positions_fit_their_table(store):
    opening(store, stock_basis=148.5)
    found = positions_as_of(store.read(LEDGER), NOW + timedelta(days=1))
    frame = POSITIONS.conform(found, trade_date=DAY, available_at=NOW)
    assert store.replace(POSITIONS, frame, {"trade_date": DAY}).rows_written == 1


@pytest.mark.parametrize("moment", [NOW, NOW + timedelta(days=1)], ids=["stopped", "next day"])
def test_a_position_ends_once(store, moment):
    position = opening(store).event_id
    assert close_position(store, position, price=0.25, now=moment, actor="me", fees=0.65).is_new
    for again in (
        lambda: close_position(store, position, price=0.3, now=moment, actor="me"),
        lambda: expire_position(store, position, now=moment, actor="me"),
        lambda: assign_position(store, position, now=moment, actor="me"),
    ):
        with pytest.raises(LedgerError, match="CLOSED"):
            again()
    (row,) = positions(store, moment + timedelta(hours=1))
    assert row["status"] == "CLOSED"
    assert row["realised_cash"] == pytest.approx(125 - 25 - 0.65)


def test_only_positions_there_are_can_end(store):
    with pytest.raises(LedgerError, match="no position"):
        close_position(store, "nobody", price=1.0, now=NOW, actor="me")
    position = opening(store).event_id
    with pytest.raises(LedgerError, match="not open before"):
        close_position(
            store,
            position,
            price=1.0,
            now=NOW,
            actor="me",
            effective_at=NOW - timedelta(hours=1),
        )


def test_what_is_recorded_late_counts_from_its_effect_but_was_not_known(store):
    position = opening(store).event_id
    expiry = datetime(2026, 11, 27, 18, tzinfo=UTC)
    monday = expiry + timedelta(days=3)
    expire_position(store, position, now=monday, actor="me", effective_at=expiry)
    ledger = store.read(LEDGER)
    assert positions_as_of(ledger, expiry)["status"].to_list() == ["EXPIRED"]
    assert positions_as_of(ledger, expiry, known_at=expiry)["status"].to_list() == ["OPEN"]
