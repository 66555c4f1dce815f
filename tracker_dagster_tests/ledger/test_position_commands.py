"""Commands on positions: once each, only what makes sense, and rolls that are whole."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holding_commands import import_holdings
from tracker_dagster.ledger.holding_events import Lot
from tracker_dagster.ledger.position_commands import (
    assign_position,
    close_position,
    expire_position,
    open_position,
)
from tracker_dagster.ledger.rolls import roll_position
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
        (
            {"stock_basis": 150.0, "fees": 1.0},
            "not stock_basis 150.0, stock_source bought, fees 1.0",
        ),
    ],
)
def test_the_same_contract_and_decision_with_other_facts_is_refused(store, changed, words):
    opening(store)
    before = store.read(LEDGER)
    with pytest.raises(LedgerError, match=words):
        opening(store, **changed)
    assert store.read(LEDGER).equals(before)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"stock_basis": 0.0}, "0.0 is no stock_basis: input should be greater than 0"),
        ({"account": ""}, "'' is no account"),
        ({"price": -1.0}, "-1.0 is no price"),
        ({"price": float("nan")}, "nan is no price"),
        ({"quantity": 0}, "a position of zero contracts is none"),
        (
            {"symbol": "O:AAPL261117C00150000"},
            "expired on 2026-11-17: none is traded",
        ),
    ],
)
def test_what_is_no_position_is_refused_in_a_sentence(store, changed, words):
    with pytest.raises(LedgerError, match=words):
        opening(store, **changed)
    assert store.read(LEDGER).is_empty()


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


def holding(store, shares=250, basis=140.0, ticker="AAPL", account="ira"):
    lots = (Lot(ticker=ticker, shares=shares, basis=basis),)
    return import_holdings(store, account, lots, NOW - timedelta(hours=1), "me")


@pytest.mark.feature(27)
class TestCallsOnSharesHeld:
    def test_an_account_writes_calls_on_the_shares_it_has_free_and_no_more(self, store):
        holding(store)
        first = opening(store, account="ira", quantity=-2)
        (row,) = positions(store, NOW + timedelta(days=1))
        assert (row["stock_source"], row["stock_basis"]) == ("held", 140.0)
        before = store.read(LEDGER)
        other = "O:AAPL261204C00155000"
        with pytest.raises(LedgerError, match="need 100 shares: ira holds 250, 50 of them free"):
            opening(store, account="ira", symbol=other)
        with pytest.raises(LedgerError, match="ira holds 0, 0 of them free"):
            opening(store, account="ira", symbol="O:MSFT261127C00400000")
        assert store.read(LEDGER).equals(before)
        # Once they are free again they can be written on again; the same is the same.
        expire_position(store, first.event_id, now=NOW + timedelta(days=9), actor="me")
        later = NOW + timedelta(days=10)
        assert opening(store, account="ira", symbol=other, decision_at=later, now=later).is_new
        assert not opening(store, account="ira", quantity=-2).is_new

    def test_shares_of_one_account_cover_no_call_of_another(self, store):
        holding(store)
        with pytest.raises(LedgerError, match="joint holds 0"):
            opening(store, account="joint")

    def test_in_a_real_account_nothing_is_bought_on_the_side(self, store):
        holding(store)
        for facts in ({"stock_basis": 148.0}, {"stock_source": "bought", "stock_basis": 1.0}):
            with pytest.raises(LedgerError, match="written on shares it holds"):
                opening(store, account="ira", **facts)

    def test_the_paper_book_needs_no_shares_unless_it_says_so(self, store):
        assert opening(store, stock_basis=148.0).is_new
        with pytest.raises(LedgerError, match="paper holds 0"):
            opening(store, stock_source="held", symbol="O:AAPL261127C00155000")

    @pytest.mark.parametrize(("basis", "why"), [(150.01, "is 150.01"), (None, "is not known")])
    def test_no_strike_below_the_basis_where_that_is_asked_for(self, store, basis, why):
        holding(store, basis=basis)
        with pytest.raises(LedgerError, match=why):
            opening(store, account="ira", floor_at_basis=True)
        assert opening(store, account="ira").is_new

    def test_a_strike_at_the_basis_is_not_below_it(self, store):
        holding(store, basis=150.0)
        assert opening(store, account="ira", floor_at_basis=True).is_new


@pytest.mark.feature(27)
def test_a_put_that_is_sold_is_secured_by_cash(store):
    put = "O:AAPL261127P00140000"
    with pytest.raises(LedgerError, match=r"need 28,000.00 USD .* 27,999.99 free"):
        opening(store, symbol=put, quantity=-2, cash=27_999.99)
    assert opening(store, symbol=put, quantity=-2, cash=28_000).is_new
    # One that is bought needs none, nor does a call.
    assert opening(store, symbol="O:AAPL261127P00135000", quantity=2, cash=0).is_new
    assert opening(store, cash=0, stock_basis=1.0).is_new


HIGHER = "O:AAPL261204C00155000"


def roll(store, position, **changes):
    facts = {
        "symbol": HIGHER, "close_price": 2.0, "open_price": 3.5, "day": DAY, "close_fees": 1.0,
        "open_fees": 0.5, "decision_at": NOW + timedelta(hours=1), "now": NOW + timedelta(hours=2),
        "actor": "me",
    }  # fmt: skip
    return roll_position(store, position, **{**facts, **changes})


@pytest.mark.feature(27)
class TestRoll:
    def test_both_legs_are_recorded_at_one_instant_with_the_stock_carried(self, store):
        old = opening(store, quantity=-2, stock_basis=148.0).event_id
        rolled = roll(store, old)
        # 2 x 100 x (3.50 - 2.00) - 1.50
        assert rolled.net_credit == pytest.approx(298.5)
        ended, held = sorted(positions(store, NOW + timedelta(days=1)), key=lambda p: p["status"])
        assert (ended["status"], ended["rolled_to"]) == ("CLOSED", held["position_id"])
        assert (held["status"], held["rolled_from"]) == ("OPEN", old)
        assert ended["closed_at"] == held["opened_at"]
        assert (held["quantity"], held["stock_basis"], held["account"]) == (-2, 148.0, "paper")
        # 250 - 400 - 1 of fees: the option alone.
        assert ended["realised_pnl"] == pytest.approx(-151)

    def test_rolling_the_same_again_changes_nothing(self, store):
        old = opening(store, stock_basis=148.0).event_id
        first = roll(store, old)
        before = store.read(LEDGER)
        again = roll(store, old)
        assert (first.opened.is_new, again.opened.is_new) == (True, False)
        assert first.opened.event_id == again.opened.event_id
        assert store.read(LEDGER).equals(before)
        with pytest.raises(LedgerError, match=r"with price 3\.5, not price 4\.0"):
            roll(store, old, open_price=4.0)

    def test_the_call_rolled_to_covers_the_same_shares(self, store):
        holding(store, shares=100)
        old = opening(store, account="ira").event_id
        roll(store, old)
        held = [row for row in positions(store, NOW + timedelta(days=1)) if row["rolled_from"]]
        assert [row["stock_source"] for row in held] == ["held"]
        with pytest.raises(LedgerError, match="0 of them free"):
            opening(store, account="ira", symbol="O:AAPL261127C00160000")

    @pytest.mark.parametrize(
        ("facts", "why"),
        [
            ({"symbol": CALL}, "roll to another contract"),
            ({"symbol": "O:MSFT261204C00155000"}, "stays on AAPL and its calls"),
            ({"symbol": "O:AAPL261204P00155000"}, "stays on AAPL and its calls"),
            ({"effective_at": NOW}, "before the decision"),
        ],
        ids=["same", "other stock", "other right", "too early"],
    )
    def test_what_is_no_roll_records_neither_leg(self, store, facts, why):
        old = opening(store, stock_basis=148.0).event_id
        before = store.read(LEDGER)
        with pytest.raises(LedgerError, match=why):
            roll(store, old, **facts)
        assert store.read(LEDGER).equals(before)

    def test_a_contract_opened_by_itself_on_the_decision_is_not_rolled_into(self, store):
        old = opening(store, stock_basis=148.0).event_id
        decision_at = NOW + timedelta(hours=1)
        opening(store, symbol=HIGHER, decision_at=decision_at, now=decision_at, stock_basis=148.0)
        before = store.read(LEDGER)
        with pytest.raises(LedgerError, match="was opened on this decision by itself"):
            roll(store, old)
        assert store.read(LEDGER).equals(before)

    def test_only_an_open_position_is_rolled(self, store):
        old = opening(store, stock_basis=148.0).event_id
        expire_position(store, old, now=NOW + timedelta(hours=1), actor="me")
        with pytest.raises(LedgerError, match="is EXPIRED"):
            roll(store, old)
        with pytest.raises(LedgerError, match="no position nobody"):
            roll(store, "nobody")
