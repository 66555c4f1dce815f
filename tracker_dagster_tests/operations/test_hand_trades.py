"""Trades by hand: each is recorded as made when it was made, once, and only where it can be."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holding_commands import import_holdings
from tracker_dagster.ledger.holding_events import Lot
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.endings import close_order, expire_order
from tracker_dagster.operations.positions import Order, open_order
from tracker_dagster.operations.rolls import RollOrder, roll_order
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import current_session, decision_time, session_on
from tracker_dagster.warehouse import Warehouse

#: Wednesday 2025-06-11, 10:30 in New York: long before the decision at 15:50.
NOW = datetime(2025, 6, 11, 14, 30, tzinfo=UTC)
DAY = NOW.date()
FRIDAY = DAY + timedelta(days=2)
CALL, LATER, EARLIER = "O:AAPL250613C00200000", "O:AAPL250620C00200000", "O:AAPL250612C00200000"
MICROSECOND = timedelta(microseconds=1)

pytestmark = pytest.mark.feature(27)


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "tracker.duckdb")


def opened(warehouse, symbol=CALL, price=1.5, *, now=NOW, as_of=None, **changes):
    facts = {"stock_basis": 195.0, "account": "paper", **changes}
    order = Order(symbol, -1, price, **facts)
    day = as_of or current_session(changes.get("at") or now)
    return open_order(warehouse, order, day, now, as_of=as_of is not None, actor="me").recorded


def closed(warehouse, position, *, now=NOW, **changes):
    facts = {"actor": "me", "stock_price": 196.0, **changes}
    return close_order(warehouse, position.event_id, 1.0, now, **facts)


def found(warehouse, **wanted):
    rows = positions_as_of(warehouse.read(LEDGER), NOW + timedelta(days=99)).to_dicts()
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def promoted(warehouse, decision_at, symbol=CALL):
    row = {
        "basis": "snapshot", "decision_at": decision_at, "available_at": decision_at,
        "ticker": "AAPL", "symbol": symbol, "rank": 1, "decision": "promote", "seed": 30_000.0,
        "lane_filter": "ALL", "top_n": 3, "lane": "SAFE", "category": "MEGA_TECH", "gates": "{}",
        "reason": "promoted",
    }  # fmt: skip
    frame = PROMOTIONS.conform(pl.DataFrame([row]), trade_date=DAY)
    unit = {"trade_date": DAY, "basis": "snapshot", "decision_at": decision_at}
    warehouse.replace(PROMOTIONS, frame, unit)


def split(warehouse, ex_date):
    row = {"ticker": "AAPL", "action": "split", "ex_date": ex_date, "action_id": "s", "source": "x",
           "available_at": NOW, "split_from": 1.0, "split_to": 4.0}  # fmt: skip
    frame = CORPORATE_ACTIONS.conform(pl.DataFrame([row]), trade_date=DAY)
    warehouse.replace(CORPORATE_ACTIONS, frame, {"trade_date": DAY})


class TestEachTradeIsItsOwn:
    @pytest.mark.parametrize("pause", [timedelta(0), timedelta(minutes=9)], ids=["stopped", "on"])
    def test_a_contract_that_was_closed_is_traded_again_on_the_same_day(self, warehouse, pause):
        first = opened(warehouse)
        closed(warehouse, first, now=NOW + pause)
        again = opened(warehouse, now=NOW + 2 * pause)
        assert again.is_new
        assert again.event_id != first.event_id
        third = opened(warehouse, now=NOW + 3 * pause)
        assert (third.event_id, third.is_new) == (again.event_id, False)
        assert len(found(warehouse, status="OPEN")) == 1
        assert len(found(warehouse, status="CLOSED")) == 1

    @pytest.mark.parametrize("price", [1.5, 1.7])
    def test_what_is_added_is_a_trade_of_its_own(self, warehouse, price):
        first = opened(warehouse)
        added = opened(warehouse, price=price, add=True)
        assert added.is_new
        assert added.event_id != first.event_id
        assert [row["open_price"] for row in found(warehouse, status="OPEN")].count(price) >= 1
        assert len(found(warehouse, status="OPEN")) == 2

    def test_the_same_again_is_the_same_and_otherwise_is_refused(self, warehouse):
        first = opened(warehouse, fees=0.65)
        later = NOW + timedelta(minutes=20)
        again = opened(warehouse, now=later, price=None, stock_basis=None)
        assert (again.event_id, again.is_new) == (first.event_id, False)
        with pytest.raises(LedgerError, match=r"with price 1.5, not price 1.6"):
            opened(warehouse, now=later, price=1.6)
        with pytest.raises(LedgerError, match=r"with fees 0.65, not fees 1.3"):
            opened(warehouse, now=later, fees=1.3)
        with pytest.raises(UsageError, match="is open already in paper, -1 since 2025-06-11"):
            opened(warehouse, now=NOW + timedelta(days=1))
        assert len(found(warehouse)) == 1

    def test_an_ended_trade_of_a_given_time_was_not_open_already(self, warehouse):
        at, now = NOW - timedelta(minutes=30), NOW
        first = opened(warehouse, at=at)
        assert not opened(warehouse, at=at).is_new
        closed(warehouse, first)
        with pytest.raises(LedgerError, match=r"is CLOSED since 2025-06-11 14:30:00.*--add"):
            opened(warehouse, at=at, now=now)
        assert opened(warehouse, at=at, now=now, add=True).is_new
        past = opened(warehouse, as_of=DAY, symbol=LATER, now=NOW + timedelta(days=1))
        closed(warehouse, past, now=NOW + timedelta(days=1))
        with pytest.raises(LedgerError, match="is CLOSED since"):
            opened(warehouse, as_of=DAY, symbol=LATER, now=NOW + timedelta(days=1))

    def test_a_promoted_pick_is_opened_on_its_decision_once_and_then_by_hand(self, warehouse):
        decided = NOW - timedelta(minutes=15)
        promoted(warehouse, decided)
        first = opened(warehouse, symbol="AAPL")
        (row,) = found(warehouse)
        # One contract of 0.65, as its expected value was reckoned.
        assert (row["decision_at"], row["fees"]) == (decided, 0.65)
        closed(warehouse, first)
        later = NOW + timedelta(minutes=5)
        again = opened(warehouse, symbol="AAPL", now=later)
        assert again.is_new
        (row,) = found(warehouse, status="OPEN")
        assert (row["decision_at"], row["fees"]) == (later - MICROSECOND, 0.0)


class TestWhenItCounts:
    def test_a_trade_counts_from_when_it_was_made(self, warehouse):
        opened(warehouse)
        (row,) = found(warehouse)
        assert (row["opened_at"], row["decision_at"]) == (NOW, NOW - MICROSECOND)
        assert row["opened_at"] < decision_time(DAY)

    def test_the_time_and_the_fees_can_be_given(self, warehouse):
        at = datetime(2025, 6, 10, 15, 5, tzinfo=UTC)
        opened(warehouse, at=at, fees=1.25)
        (row,) = found(warehouse)
        # 100 x 1.50 - 1.25
        assert (row["opened_at"], row["fees"], row["option_cash"]) == (at, 1.25, 148.75)
        with pytest.raises(UsageError, match="still to come"):
            opened(warehouse, symbol=LATER, at=NOW + timedelta(minutes=1))

    def test_a_trade_before_the_decision_is_not_made_on_it(self, warehouse):
        promoted(warehouse, NOW - timedelta(minutes=15))
        at = NOW - timedelta(minutes=40)
        opened(warehouse, at=at)
        (row,) = found(warehouse)
        assert row["decision_at"] == at - MICROSECOND

    def test_a_roll_counts_from_when_it_was_made(self, warehouse):
        first = opened(warehouse, at=NOW - timedelta(hours=1))
        at = NOW - timedelta(minutes=10)
        order = RollOrder(first.event_id, LATER, 1.0, 2.0)
        done = roll_order(warehouse, order, NOW, actor="me", at=at)
        assert done.rolled.opened.is_new
        (new,) = found(warehouse, symbol=LATER)
        (old,) = found(warehouse, symbol=CALL)
        assert new["opened_at"] == old["closed_at"] == at


class TestWhatHasExpired:
    #: Monday after the expiry.
    MONDAY = datetime(2025, 6, 16, 15, 0, tzinfo=UTC)

    def test_it_is_not_opened(self, warehouse):
        bell = session_on(FRIDAY).close
        for now in (self.MONDAY, bell + timedelta(minutes=1)):
            with pytest.raises(LedgerError, match="expired on 2025-06-13"):
                opened(warehouse, now=now)
        assert not found(warehouse)
        assert opened(warehouse, now=self.MONDAY, at=bell - timedelta(minutes=1)).is_new

    def test_it_is_not_closed_after_its_last_bell(self, warehouse):
        first = opened(warehouse)
        for late in (self.MONDAY, self.MONDAY + timedelta(days=18)):
            with pytest.raises(
                LedgerError, match=r"`tracker expire` or .* give --at, 2025-06-13T20"
            ):
                closed(warehouse, first, now=late)
        closed(warehouse, first, now=self.MONDAY, at=session_on(FRIDAY).close)
        assert [row["status"] for row in found(warehouse)] == ["CLOSED"]

    @pytest.mark.parametrize(
        ("now", "to", "words"),
        [
            (NOW, EARLIER, "a roll goes to the same expiry or a later one"),
            (NOW, "O:AAPL240614C00200000", "a roll goes to the same expiry or a later one"),
            (MONDAY, LATER, "expired on 2025-06-13"),
        ],
    )
    def test_nothing_is_rolled_into_it_or_out_of_it(self, warehouse, now, to, words):
        first = opened(warehouse)
        with pytest.raises(LedgerError, match=words):
            roll_order(warehouse, RollOrder(first.event_id, to, 1.0, 2.0), now, actor="me")
        assert len(found(warehouse)) == 1

    def test_no_roll_below_the_basis_where_that_is_asked_for(self, warehouse):
        lots = (Lot(ticker="AAPL", shares=100, basis=198.0),)
        import_holdings(warehouse, "ira", lots, NOW - timedelta(days=1), "me")
        first = opened(warehouse, account="ira", stock_basis=None)
        lower = "O:AAPL250620C00195000"
        order = RollOrder(first.event_id, lower, 1.0, 2.0, floor_at_basis=True)
        with pytest.raises(LedgerError, match=r"the basis of AAPL in ira is 198.00"):
            roll_order(warehouse, order, NOW, actor="me")
        order = RollOrder(first.event_id, lower, 1.0, 2.0)
        assert roll_order(warehouse, order, NOW, actor="me").rolled.opened.is_new


class TestSplits:
    def test_prices_after_a_split_are_not_set_against_the_basis_before(self, warehouse):
        first = opened(warehouse)
        split(warehouse, DAY + timedelta(days=1))
        assert found(warehouse)
        now = NOW + timedelta(days=1)
        for words in ({}, {"stock_price": None, "as_opened": True}):
            with pytest.raises(UsageError, match=r"split 4:1 on 2025-06-12, .*--as-opened"):
                closed(warehouse, first, now=now, **words)
        with pytest.raises(UsageError, match="close it and open the other instead"):
            roll_order(warehouse, RollOrder(first.event_id, LATER, 1.0, 2.0), now, actor="me")
        done = closed(warehouse, first, now=now, as_opened=True)
        # 100 x (1.50 - 1.00) of premium and 100 x (196 - 195).
        assert done.realised_pnl == pytest.approx(150.0)

    def test_nor_is_the_close_at_its_expiry(self, warehouse):
        first = opened(warehouse)
        split(warehouse, DAY + timedelta(days=1))
        now = session_on(FRIDAY).close + timedelta(hours=1)
        with pytest.raises(UsageError, match=r"close it with --price 0, .*--at 2025-06-13T20:00Z"):
            expire_order(warehouse, first.event_id, now, actor="me", stock_price=50.0)

    def test_a_split_on_the_day_it_was_opened_or_to_come_changes_nothing(self, warehouse):
        first = opened(warehouse)
        split(warehouse, DAY)
        closed(warehouse, first, now=NOW + timedelta(days=1))
        second = opened(warehouse, symbol=LATER)
        split(warehouse, DAY + timedelta(days=2))
        closed(warehouse, second, now=NOW + timedelta(days=1))


class TestRollsAgain:
    def test_a_roll_again_is_told_and_otherwise_is_refused(self, warehouse):
        first = opened(warehouse)
        order = RollOrder(first.event_id, LATER, 1.0, 2.0, 1.3)
        done = roll_order(warehouse, order, NOW, actor="me")
        later = NOW + timedelta(minutes=3)
        for again in (order, RollOrder(first.event_id[:12])):
            told = roll_order(warehouse, again, later, actor="me")
            assert told.rolled.opened.event_id == done.rolled.opened.event_id
            assert not told.rolled.opened.is_new
            # 100 x (2.00 - 1.00) - 1.30
            assert told.rolled.net_credit == pytest.approx(98.7)
            assert done.rolled.net_credit == pytest.approx(98.7)
        for other in (
            RollOrder(first.event_id, LATER, 1.1, 2.0),
            RollOrder(first.event_id, "O:AAPL250620C00205000"),
            RollOrder(first.event_id, fees=2.0),
        ):
            with pytest.raises(LedgerError, match="was rolled into O:AAPL250620C00200000 on"):
                roll_order(warehouse, other, later, actor="me")

    def test_there_and_back_at_one_instant(self, warehouse):
        first = opened(warehouse)
        there = roll_order(warehouse, RollOrder(first.event_id, LATER, 1.0, 2.0), NOW, actor="me")
        closed(warehouse, there.rolled.opened)
        second = opened(warehouse, symbol=CALL)
        assert second.is_new
        order = RollOrder(second.event_id, LATER, 1.0, 2.0)
        assert roll_order(warehouse, order, NOW, actor="me").rolled.opened.is_new
        assert len(found(warehouse)) == 4
