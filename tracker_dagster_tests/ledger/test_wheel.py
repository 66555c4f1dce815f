"""The wheel by hand: what a cycle is, when it is over, and what it brought."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tracker_dagster.ledger.events import (
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
    events_frame,
)
from tracker_dagster.ledger.holding_events import HoldingsImported, SharesSold
from tracker_dagster.ledger.wheel import CYCLES_FOLD, STATUSES, wheel_cycles

START = datetime(2026, 11, 16, 15, tzinfo=UTC)
PUT, CALL = "O:AAPL261127P00140000", "O:AAPL261204C00150000"

pytestmark = pytest.mark.feature(27)


def on(day):
    return START + timedelta(days=day)


def envelope(day):
    return {"effective_at": on(day), "recorded_at": on(day), "actor": "test"}


def opened(day, symbol, price, account="ira", quantity=-1, fees=0.0):
    return PositionOpened(
        account=account, day=on(day).date(), decision_at=on(day) - timedelta(minutes=1),
        symbol=symbol, quantity=quantity, price=price, fees=fees, **envelope(day),
        stock_source="held" if symbol[-9] == "C" else None,
    )  # fmt: skip


def ended(kind, position, day, **facts):
    return kind(position_id=position.event_id, **facts, **envelope(day))


def cycles(*events, until=30):
    found = wheel_cycles(events_frame(events), on(until))
    assert set(found["status"]) <= set(STATUSES)
    assert list(found.columns) == list(CYCLES_FOLD)
    return found.to_dicts()


FIRST, SECOND, COVERED = opened(0, PUT, 1.0, fees=1.0), opened(5, PUT, 2.0), opened(9, CALL, 3.0)
TURN = (
    FIRST,
    ended(PositionExpired, FIRST, 4),
    SECOND,
    ended(PositionAssigned, SECOND, 8),
    COVERED,
    ended(PositionAssigned, COVERED, 14),
)


def test_a_whole_turn_brings_its_premiums_and_the_rise_of_the_shares():
    (cycle,) = cycles(*TURN)
    assert (cycle["status"], cycle["cycle"]) == ("CALLED_AWAY", 1)
    assert (cycle["puts_sold"], cycle["puts_assigned"]) == (2, 1)
    assert (cycle["calls_sold"], cycle["calls_assigned"]) == (1, 1)
    # 100 - 1 + 200 + 300 of premiums; 100 shares bought at 140 and sold at 150.
    assert cycle["premiums"] == pytest.approx(599)
    assert cycle["stock_result"] == pytest.approx(1000)
    assert cycle["total"] == pytest.approx(1599)
    assert (cycle["started_on"], cycle["ended_on"]) == (date(2026, 11, 16), date(2026, 11, 30))
    assert cycle["days"] == 14


@pytest.mark.parametrize(
    ("length", "status", "shares", "break_even"),
    [
        (1, "PUT_OPEN", 0, None),
        (2, "CASH", 0, None),
        (3, "PUT_OPEN", 0, None),
        # 140 less 2.99 of premiums a share; with the call's, less 5.99.
        (4, "SHARES", 100, 137.01),
        (5, "CALL_OPEN", 100, 134.01),
        (6, "CALLED_AWAY", 0, None),
    ],
)
def test_how_a_cycle_stands_on_its_way(length, status, shares, break_even):
    (cycle,) = cycles(*TURN[:length])
    assert (cycle["status"], cycle["shares"]) == (status, shares)
    assert cycle["break_even"] == (None if break_even is None else pytest.approx(break_even))
    if status != "CALLED_AWAY":
        assert (cycle["ended_on"], cycle["days"]) == (None, 30)


def test_the_next_put_begins_the_next_cycle():
    again = opened(20, PUT, 1.5)
    first, second = cycles(*TURN, again)
    assert (first["total"], first["status"]) == (pytest.approx(1599), "CALLED_AWAY")
    assert (second["cycle"], second["status"], second["premiums"]) == (2, "PUT_OPEN", 150)
    assert second["stock_result"] == 0.0


def test_shares_sold_by_hand_end_it_with_their_loss():
    put = opened(0, PUT, 2.0)
    sold = SharesSold(account="ira", ticker="AAPL", shares=100, price=120, **envelope(9))
    (cycle,) = cycles(put, ended(PositionAssigned, put, 8), sold)
    assert (cycle["status"], cycle["total"]) == ("SOLD", pytest.approx(200 - 2000))


def test_a_put_bought_back_dearer_is_a_loss_and_leaves_cash():
    put = opened(0, PUT, 1.0)
    (cycle,) = cycles(put, ended(PositionClosed, put, 3, price=1.8, fees=1.0))
    assert (cycle["status"], cycle["premiums"]) == ("CASH", pytest.approx(-81))


def test_part_of_the_shares_called_away_is_not_the_end():
    put, call = opened(0, PUT, 1.0, quantity=-3), opened(9, CALL, 1.0, quantity=-2)
    (cycle,) = cycles(put, ended(PositionAssigned, put, 8), call, ended(PositionAssigned, call, 14))
    assert (cycle["status"], cycle["shares"]) == ("SHARES", 100)
    assert cycle["stock_result"] == pytest.approx(2000)


def test_shares_missing_from_the_brokers_list_leave_the_result_unknown():
    put = opened(0, PUT, 2.0)
    listed = HoldingsImported(account="ira", lots=[{"ticker": "MSFT", "shares": 1}], **envelope(10))
    (cycle,) = cycles(put, ended(PositionAssigned, put, 8), listed)
    assert (cycle["status"], cycle["stock_result"], cycle["total"]) == ("GONE", None, None)


def test_accounts_and_tickers_have_wheels_of_their_own_and_buy_writes_have_none():
    other = opened(0, "O:MSFT261127P00400000", 1.0)
    paper = opened(0, PUT, 1.0, account="paper")
    buy_write = PositionOpened(
        day=START.date(), decision_at=START - timedelta(minutes=1), symbol=CALL, quantity=-1,
        price=1.0, stock_basis=148.0, **envelope(1),
    )  # fmt: skip
    found = cycles(FIRST, other, paper, buy_write)
    assert [(row["account"], row["ticker"]) for row in found] == [
        ("ira", "AAPL"), ("ira", "MSFT"), ("paper", "AAPL"),
    ]  # fmt: skip


def test_no_wheel_no_rows():
    assert cycles() == []
