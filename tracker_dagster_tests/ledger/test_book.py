"""The book's arithmetic, by hand: every way in which shares and premiums come and go."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.events import (
    Event,
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
    events_frame,
)
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holding_events import HoldingsImported, Lot, SharesBought, SharesSold
from tracker_dagster.ledger.holdings import holdings_as_of, lots_as_of, sales_as_of

START = datetime(2026, 11, 16, 15, tzinfo=UTC)
CALL, HIGHER, PUT = "O:AAPL261127C00150000", "O:AAPL261204C00155000", "O:AAPL261127P00140000"


def at(hours):
    return START + timedelta(hours=hours)


def envelope(hours):
    return {"effective_at": at(hours), "recorded_at": at(hours), "actor": "test"}


def opened(hours, symbol=CALL, **facts):
    base = {"account": "ira", "quantity": -2, "price": 1.25}
    return PositionOpened(
        **{**base, **facts}, symbol=symbol, day=date(2026, 11, 16),
        decision_at=at(hours) - timedelta(minutes=1), **envelope(hours),
    )  # fmt: skip


def lots(hours, *rows, account="ira"):
    return HoldingsImported(
        account=account,
        lots=[dict(zip(("ticker", "shares", "basis", "acquired_on"), row)) for row in rows],  # noqa: B905
        **envelope(hours),
    )


def position(events, of, hours=99):
    found = positions_as_of(events_frame(events), at(hours))
    return found.row(by_predicate=pl.col("position_id") == of.event_id, named=True)


def holding(events, hours=99, ticker="AAPL"):
    found = holdings_as_of(events_frame(events), at(hours)).filter(pl.col("ticker") == ticker)
    return found.row(0, named=True) if found.height else None


IN_TWO_LOTS = lots(
    0, ("AAPL", 150, 120.0, date(2025, 3, 3)), ("AAPL", 100, 100.0, date(2024, 1, 5))
)


@pytest.mark.feature(27)
class TestCallsOnSharesHeld:
    def test_shares_stay_when_the_call_expires(self):
        call = opened(1, stock_source="held", stock_basis=112.0, fees=1.3)
        events = [IN_TWO_LOTS, call, PositionExpired(position_id=call.event_id, **envelope(2))]
        # 2 contracts x 100 shares x 1.25 - 1.30 of fees.
        assert position(events, call)["realised_pnl"] == pytest.approx(248.7)
        assert position(events, call)["stock_cash"] == 0.0
        assert holding(events)["shares"] == 250

    def test_called_shares_leave_the_oldest_first(self):
        call = opened(1, stock_source="held", stock_basis=112.0)
        events = [IN_TWO_LOTS, call, PositionAssigned(position_id=call.event_id, fees=5.0,
                                                      **envelope(2))]  # fmt: skip
        row = position(events, call)
        # 100 shares of 2024 bought at 100 and 100 of 2025 at 120, all sold at 150, not 112.
        assert row["realised_pnl"] == pytest.approx(250 - 5 + 100 * 50 + 100 * 30)
        assert row["stock_cash"] == pytest.approx(30_000)
        left = lots_as_of(events_frame(events), at(99)).to_dicts()
        assert [(lot["shares"], lot["basis"]) for lot in left] == [(50, 120.0)]
        sales = sales_as_of(events_frame(events), at(99))
        assert sales.select("shares", "basis", "price", "gain").rows() == [
            (100, 100.0, 150.0, 5000.0),
            (100, 120.0, 150.0, 3000.0),
        ]
        assert set(sales["position_id"]) == {call.event_id}

    def test_what_called_shares_brought_is_not_known_without_their_basis(self):
        call = opened(1, stock_source="held", quantity=-1)
        events = [
            lots(0, ("AAPL", 100)),
            call,
            PositionAssigned(position_id=call.event_id, **envelope(2)),
        ]
        row = position(events, call)
        assert row["realised_pnl"] is None
        assert row["realised_cash"] == pytest.approx(125 + 15_000)

    def test_bought_back_it_is_worth_the_options_cash_alone(self):
        call = opened(1, stock_source="held", stock_basis=112.0, fees=1.3)
        end = PositionClosed(position_id=call.event_id, price=0.4, fees=1.3, **envelope(2))
        # 200 x (1.25 - 0.40) - 2.60
        assert position([IN_TWO_LOTS, call, end], call)["realised_pnl"] == pytest.approx(167.4)

    def test_covered_shares_are_not_free_until_the_call_has_ended(self):
        call = opened(1, stock_source="held")
        end = PositionExpired(position_id=call.event_id, **envelope(3))
        events = [IN_TWO_LOTS, call, end]
        free = [holding(events, hours)["free"] for hours in (0, 1, 3)]
        assert free == [250, 50, 250]
        assert holding(events, 1)["covered"] == 200


@pytest.mark.feature(27)
class TestCashSecuredPuts:
    def test_expired_the_premium_is_the_result(self):
        put = opened(1, PUT, fees=1.3)
        end = PositionExpired(position_id=put.event_id, **envelope(2))
        assert position([put, end], put)["realised_pnl"] == pytest.approx(248.7)
        assert holding([put, end]) is None

    def test_assigned_the_shares_arrive_at_the_strike(self):
        put = opened(1, PUT)
        events = [put, PositionAssigned(position_id=put.event_id, fees=5.0, **envelope(2))]
        row = position(events, put)
        # The premium less fees; 200 shares at 140 for 28,000, worth what they cost.
        assert row["realised_pnl"] == pytest.approx(245)
        assert row["stock_cash"] == pytest.approx(-28_000)
        (lot,) = lots_as_of(events_frame(events), at(99)).to_dicts()
        assert (lot["shares"], lot["basis"], lot["source"]) == (200, 140.0, "assigned")
        assert lot["acquired_on"] == date(2026, 11, 16)

    def test_bought_back(self):
        put = opened(1, PUT, quantity=-1)
        end = PositionClosed(position_id=put.event_id, price=2.0, **envelope(2))
        assert position([put, end], put)["realised_pnl"] == pytest.approx(125 - 200)

    def test_a_put_then_a_call_on_its_shares_add_up(self):
        put = opened(1, PUT, quantity=-1)
        call = opened(3, CALL, quantity=-1, stock_source="held", stock_basis=140.0, price=2.0)
        events = [
            put, PositionAssigned(position_id=put.event_id, **envelope(2)),
            call, PositionAssigned(position_id=call.event_id, **envelope(4)),
        ]  # fmt: skip
        # 125 of the put; 200 of the call and 100 x (150 - 140).
        assert position(events, put)["realised_pnl"] == pytest.approx(125)
        assert position(events, call)["realised_pnl"] == pytest.approx(1200)
        cash = sum(position(events, each)["realised_cash"] for each in (put, call))
        assert cash == pytest.approx(125 + 1200)
        assert holding(events) is None


@pytest.mark.feature(27)
class TestRolls:
    def test_a_rolled_buy_write_hands_its_shares_on(self):
        first = opened(1, quantity=-1, stock_basis=148.0, account="paper")
        second = opened(2, HIGHER, quantity=-1, stock_basis=148.0, price=3.0, account="paper",
                        rolled_from=first.event_id)  # fmt: skip
        events = [
            first,
            PositionClosed(position_id=first.event_id, price=2.0, rolled_to=second.event_id,
                           **envelope(2)),
            second,
            PositionExpired(position_id=second.event_id, stock_sold_at=151.0, **envelope(5)),
        ]  # fmt: skip
        rolled, held = position(events, first), position(events, second)
        # 100 x (1.25 - 2.00); no share was sold.
        assert (rolled["realised_pnl"], rolled["stock_cash"]) == (pytest.approx(-75), 0.0)
        assert rolled["rolled_to"] == second.event_id
        assert held["rolled_from"] == first.event_id
        # 300 of premium and 100 x (151 - 148): the basis is still the first one.
        assert held["realised_pnl"] == pytest.approx(600)


@pytest.mark.feature(27)
class TestShares:
    def test_an_import_takes_the_place_of_what_the_account_held(self):
        other = lots(0, ("MSFT", 10, 400.0, None), account="joint")
        again = lots(2, ("AAPL", 30, 90.0, None))
        found = holdings_as_of(events_frame([IN_TWO_LOTS, other, again]), at(9))
        assert found.select("account", "ticker", "lots", "shares", "average_basis").rows() == [
            ("ira", "AAPL", 1, 30, 90.0),
            ("joint", "MSFT", 1, 10, 400.0),
        ]
        before = holding([IN_TWO_LOTS, other, again], 1)
        # (150 x 120 + 100 x 100) / 250
        assert (before["lots"], before["average_basis"]) == (2, pytest.approx(112.0))
        assert before["first_acquired_on"] == date(2024, 1, 5)

    def test_fees_are_part_of_what_shares_cost_and_bring(self):
        bought = SharesBought(account="ira", ticker="AAPL", shares=50, price=100, fees=5,
                              **envelope(1))  # fmt: skip
        sold = SharesSold(account="ira", ticker="AAPL", shares=20, price=110, fees=1,
                          **envelope(2))  # fmt: skip
        events = [bought, sold]
        assert holding(events)["average_basis"] == pytest.approx(100.1)
        assert holding(events)["shares"] == pytest.approx(30)
        (gain,) = sales_as_of(events_frame(events), at(9))["gain"]
        assert gain == pytest.approx(20 * (109.95 - 100.1))

    def test_one_lot_without_a_basis_leaves_the_average_unknown(self):
        events = [lots(0, ("AAPL", 100, 90.0, None), ("AAPL", 5, None, None))]
        assert holding(events)["average_basis"] is None

    def test_lots_without_a_date_leave_first(self):
        sold = SharesSold(account="ira", ticker="AAPL", shares=5, price=110, **envelope(2))
        events = [lots(0, ("AAPL", 5, 90.0, date(2020, 1, 2)), ("AAPL", 5, 80.0, None)), sold]
        assert sales_as_of(events_frame(events), at(9))["basis"].to_list() == [80.0]

    def test_fractions_that_add_up_to_nothing_are_no_holding(self):
        parts = [lots(0, *[("AAPL", 0.1, 90.0, None)] * 3)]
        sold = SharesSold(account="ira", ticker="AAPL", shares=0.3, price=110, **envelope(2))
        assert holding([*parts, sold]) is None


@pytest.mark.feature(27)
def test_events_of_older_versions_are_read_as_they_were_meant():
    """A recorded payload without the newer facts: its shares were bought with it."""
    row = events_frame([opened(0, account="paper", stock_basis=148.0)]).row(0, named=True)
    old = (
        '{"account":"paper","day":"2026-11-16","decision_at":"2026-11-16T14:59:00Z","fees":0.0,'
        '"price":1.25,"quantity":-2,"shares":100.0,"stock_basis":148.0,'
        '"symbol":"O:AAPL261127C00150000"}'
    )
    event = Event.from_row({**row, "payload": old})
    assert event.event_id == row["event_id"]
    assert (event.stock_source, event.rolled_from) == ("bought", None)
    closed = PositionClosed(position_id="p", price=1.0, **envelope(0))
    row = events_frame([closed]).row(0, named=True)
    old = '{"fees":0.0,"position_id":"p","price":1.0,"stock_sold_at":null}'
    assert Event.from_row({**row, "payload": old}) == closed


@pytest.mark.parametrize("event", [
    IN_TWO_LOTS,
    SharesBought(account="ira", ticker="aapl", shares=0.5, price=1, **envelope(0)),
    SharesSold(account="ira", ticker="AAPL", shares=0.5, price=1, fees=2, **envelope(0)),
    opened(0, stock_source="held"),
], ids=lambda event: event.kind)  # fmt: skip
def test_events_about_shares_survive_their_rows(event):
    (row,) = events_frame([event]).iter_rows(named=True)
    assert Event.from_row(row) == event
    assert Event.from_row(row).event_id == row["event_id"]


def test_identities_of_events_about_shares_never_change():
    # Frozen on purpose: a list imported twice is one import for as long as they stay.
    assert IN_TWO_LOTS.event_id == "c9ccba99e4e93f7a40f073e40c2b6a52"
    assert Lot(ticker="aapl", shares=1).ticker == "AAPL"


@pytest.mark.parametrize("facts", [
    {"symbol": PUT, "stock_source": "held"},
    {"quantity": 1, "stock_source": "held"},
    {"stock_source": "bought"},
    {"stock_source": "borrowed"},
], ids=str)  # fmt: skip
def test_a_stock_leg_that_cannot_be_is_no_event(facts):
    with pytest.raises(ValueError, match=r"stock_source|calls that are sold|cost"):
        opened(0, **facts)
