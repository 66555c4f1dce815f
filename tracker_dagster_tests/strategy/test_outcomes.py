"""Outcomes against sums done by hand, from real events of the ledger; each position once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from tracker_dagster.ledger.endings import ended_positions, sessions_of_ends
from tracker_dagster.ledger.events import (
    Event,
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
    events_frame,
)
from tracker_dagster.ledger.folds import SETTLEMENT
from tracker_dagster.schemas.outcomes import OUTCOMES
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.strategy.outcomes import outcomes
from tracker_dagster.trading_calendar import decision_time, session_on, sessions_between
from tracker_dagster_tests.strategy.test_promotions import picks as picks_of

MONDAY, FRIDAY, NEXT = date(2025, 6, 9), date(2025, 6, 13), date(2025, 6, 16)
DECIDED = decision_time(MONDAY)
OPENED = DECIDED + timedelta(microseconds=1)
SETTLED = decision_time(NEXT) + timedelta(minutes=2)
BELL = session_on(FRIDAY).close
CALL, PUT = "O:AAA250613C00052000", "O:AAA250613P00048000"


def opening(symbol: str = CALL, **changed: Any) -> PositionOpened:
    facts: dict[str, Any] = {
        "symbol": symbol, "quantity": -1, "price": 0.60, "fees": 0.65, "stock_basis": 50.0,
        "day": MONDAY, "decision_at": DECIDED, "effective_at": OPENED,
        "recorded_at": DECIDED + timedelta(minutes=2), "actor": "daily",
    }  # fmt: skip
    return PositionOpened(**{**facts, **changed})


def ending(kind: type[Event], opened: PositionOpened, **changed: Any) -> Event:
    facts = {"position_id": opened.event_id, "effective_at": BELL, "recorded_at": SETTLED,
             "actor": SETTLEMENT}  # fmt: skip
    return kind(**{**facts, **changed})


def closes(last: float, *path: float) -> pl.DataFrame:
    """Closes of the week: 50 on Monday, ``path`` from Tuesday on, ``last`` on Friday."""
    prices = [50.0, *(path or (50.0, 50.0, 50.0)), last]
    days = sessions_between(MONDAY, FRIDAY)
    return pl.DataFrame({"ticker": ["AAA"] * 5, "trade_date": days, "close": prices})


NO_PRICES = pl.DataFrame(schema={"ticker": pl.String, "trade_date": pl.Date, "price": pl.Float64})


def actions(rows: Sequence[dict[str, Any]] = ()) -> pl.DataFrame:
    if not rows:
        return CORPORATE_ACTIONS.empty()
    return CORPORATE_ACTIONS.conform(
        pl.DataFrame(rows, infer_schema_length=None), ticker="AAA", source="massive_rest",
        available_at=DECIDED,
    )  # fmt: skip


def outcome(
    events: Sequence[Event], bars: pl.DataFrame, *, picks: pl.DataFrame | None = None,
    known: pl.DataFrame | None = None, prices: pl.DataFrame = NO_PRICES, day: date = NEXT,
) -> dict[str, Any]:  # fmt: skip
    ended = ended_positions(events_frame(events), day)
    none = picks_of([{"ticker": "ZZZ"}])
    frame = outcomes(ended, none if picks is None else picks, bars,
                     actions() if known is None else known, prices, day)  # fmt: skip
    assert OUTCOMES.schema.filter(frame)[1].counts() == {}
    (row,) = frame.to_dicts()
    return row


def expired(opened: PositionOpened, sold_at: float | None) -> list[Event]:
    return [opened, ending(PositionExpired, opened, stock_sold_at=sold_at)]


@pytest.mark.feature(31)
def test_a_covered_call_that_expires() -> None:
    row = outcome(expired(opening(), 51.0), closes(51.0, 52.5, 48.0, 50.5))
    # The call brought 60 less 0.65; the shares gained a dollar each.
    assert row["option_result"] == pytest.approx(59.35)
    assert row["buy_hold_pnl"] == pytest.approx(100.0)
    assert row["position_result"] == pytest.approx(159.35)
    assert row["realised_pnl"] == pytest.approx(159.35)
    assert row["versus_hold"] == pytest.approx(59.35)
    assert (row["hit"], row["beat_hold"], row["status"]) == (True, True, "EXPIRED")
    assert row["cost"] == 5000.0
    assert row["max_favourable"] == pytest.approx(0.05)
    assert row["max_adverse"] == pytest.approx(-0.04)
    assert (row["opened_on"], row["ended_on"], row["trade_date"]) == (MONDAY, FRIDAY, NEXT)


@pytest.mark.feature(31)
def test_a_covered_call_that_is_called_away_earns_less_than_its_shares() -> None:
    opened = opening()
    row = outcome([opened, ending(PositionAssigned, opened)], closes(55.0))
    # 59.35 and two dollars a share up to the strike; the shares alone made five.
    assert row["position_result"] == pytest.approx(259.35)
    assert row["realised_pnl"] == pytest.approx(259.35)
    assert row["buy_hold_pnl"] == pytest.approx(500.0)
    assert row["option_result"] == pytest.approx(-240.65)
    assert row["versus_hold"] == pytest.approx(-240.65)
    assert (row["hit"], row["beat_hold"]) == (True, False)


@pytest.mark.feature(31)
@pytest.mark.parametrize("source", ["bought", "held"])
def test_a_fall_beyond_the_premium_is_a_loss_sold_or_not(source: str) -> None:
    opened = opening(stock_source=source, account="broker", stock_basis=50.0)
    row = outcome(expired(opened, 45.0 if source == "bought" else None), closes(45.0))
    assert row["position_result"] == pytest.approx(59.35 - 500.0)
    assert row["hit"] is False
    assert row["beat_hold"] is True
    # The ledger counts a loss of shares that are kept only when they are sold.
    assert row["realised_pnl"] == pytest.approx(-440.65 if source == "bought" else 59.35)


def test_held_shares_are_judged_from_their_price_then_not_from_their_cost() -> None:
    opened = opening(stock_source="held", account="broker", stock_basis=20.0)
    row = outcome(expired(opened, None), closes(49.0))
    assert row["entry_price"] == 50.0
    assert row["entry_source"] == "close of the session, later that day"
    assert row["buy_hold_pnl"] == pytest.approx(-100.0)


def test_quantity_and_a_put_that_is_assigned() -> None:
    opened = opening(PUT, quantity=-2, price=0.80, stock_basis=None, fees=1.30)
    row = outcome([opened, ending(PositionAssigned, opened)], closes(45.0))
    # 160 less 1.30 of fees, less 3 x 200 that the put was worth; cash of 48 x 200 stood behind.
    assert row["option_result"] == row["position_result"] == pytest.approx(-441.30)
    assert row["cost"] == 9600.0
    assert row["buy_hold_pnl"] == pytest.approx(-1000.0)
    assert row["versus_hold"] == pytest.approx(558.70)
    assert row["is_covered"] is False


def test_bought_back_with_the_shares_kept() -> None:
    opened = opening()
    wednesday = datetime(2025, 6, 11, 15, 0, tzinfo=UTC)
    closed = ending(PositionClosed, opened, price=0.10, fees=0.65, effective_at=wednesday,
                    recorded_at=wednesday, actor="me")  # fmt: skip
    prices = pl.DataFrame({"ticker": ["AAA"], "trade_date": [date(2025, 6, 11)], "price": [49.0]})
    bars = closes(45.0).filter(pl.col("trade_date") < date(2025, 6, 11))
    row = outcome([opened, closed], bars, prices=prices, day=date(2025, 6, 11))
    # 60 - 10 - 1.30 of fees, and a dollar lost on each share.
    assert row["option_result"] == pytest.approx(48.70)
    assert row["position_result"] == pytest.approx(-51.30)
    assert row["exit_source"] == "price at the session's decision time"
    # Tuesday's close and Monday's, ten minutes after the opening, lie between.
    assert row["max_favourable"] == 0.0
    unknown = outcome([opened, closed], bars, day=date(2025, 6, 11))
    assert unknown["position_result"] is None
    assert unknown["hit"] is None
    reasons = json.loads(unknown["reasons"])
    assert reasons["exit_price"] == "no price of AAA on 2025-06-11"
    assert reasons["position_result"] == "a price of the stock is not known"


def test_dividends_inside_the_span_count_once_for_both() -> None:
    paid = {"action": "dividend", "action_id": "d1", "ex_date": date(2025, 6, 11),
            "cash_amount": 0.25}  # fmt: skip
    before = {**paid, "action_id": "d0", "ex_date": MONDAY}
    seen = actions([{**row, "trade_date": day} for row in (paid, before)
                    for day in (MONDAY, date(2025, 6, 10))])  # fmt: skip
    row = outcome(expired(opening(), 51.0), closes(51.0), known=seen)
    assert row["dividends"] == pytest.approx(25.0)
    assert row["buy_hold_pnl"] == pytest.approx(125.0)
    assert row["position_result"] == pytest.approx(184.35)
    assert row["versus_hold"] == pytest.approx(59.35)


def test_a_dividend_in_another_currency_leaves_nothing_to_compare() -> None:
    paid = {"action": "dividend", "action_id": "d1", "ex_date": date(2025, 6, 11),
            "cash_amount": 0.25, "currency": "CAD", "trade_date": MONDAY}  # fmt: skip
    row = outcome(expired(opening(), 51.0), closes(51.0), known=actions([paid]))
    assert row["dividends"] is row["buy_hold_pnl"] is row["position_result"] is row["hit"] is None
    # What the call itself brought needs no dividend.
    assert row["option_result"] == pytest.approx(59.35)
    why = "the dividend of 2025-06-11 is not paid in US dollars"
    reasons = json.loads(row["reasons"])
    names = ("dividends", "buy_hold_pnl", "position_result", "versus_hold")
    assert {name: reasons.get(name) for name in names} == dict.fromkeys(names, why)
    in_dollars = actions([{**paid, "currency": "usd"}])
    known = outcome(expired(opening(), 51.0), closes(51.0), known=in_dollars)
    assert known["dividends"] == pytest.approx(25.0)
    # One that went ex before the opening is none of it.
    before = actions([{**paid, "ex_date": MONDAY}])
    assert outcome(expired(opening(), 51.0), closes(51.0), known=before)["dividends"] == 0.0


def test_a_split_in_the_span_leaves_nothing_to_compare() -> None:
    split = {"action": "split", "action_id": "s", "ex_date": date(2025, 6, 11), "split_from": 1.0,
             "split_to": 2.0, "trade_date": MONDAY}  # fmt: skip
    row = outcome(expired(opening(), 25.5), closes(25.5), known=actions([split]))
    assert row["buy_hold_pnl"] is None
    assert row["hit"] is None
    assert row["max_adverse"] is None
    assert json.loads(row["reasons"])["buy_hold_pnl"] == "split on 2025-06-11"


@pytest.mark.feature(31)
def test_predictions_are_those_of_the_pick_it_was_opened_on() -> None:
    pick = picks_of([{"ticker": "AAA", "symbol": CALL, "price": 50.0, "expected_value_100": 12.0,
                      "est_weekly_prem_100": 62.0, "lane": "SAFE"}])  # fmt: skip
    opened = opening(quantity=-3, fees=1.95)
    row = outcome(expired(opened, 51.0), closes(51.0), picks=pick)
    # Three contracts: 180 less 1.95 came, 36 were expected; 186 were promised at the mid.
    assert row["predicted_result"] == pytest.approx(36.0)
    assert row["prediction_error"] == pytest.approx(178.05 - 36.0)
    assert row["predicted_premium"] == pytest.approx(186.0)
    assert row["premium_error"] == pytest.approx(-6.0)
    assert (row["lane"], row["rank"], row["basis"]) == ("SAFE", 1, "snapshot")
    by_hand = outcome(expired(opening(decision_at=DECIDED + timedelta(hours=1)), 51.0),
                      closes(51.0), picks=pick)  # fmt: skip
    assert by_hand["rank"] is None
    assert json.loads(by_hand["reasons"])["prediction_error"] == "it was not opened on a pick"


def sessions_that_count(events: Sequence[Event]) -> list[date]:
    ledger = events_frame(events)
    days = sessions_between(MONDAY, date(2025, 6, 27))
    found = [day for day in days if ended_positions(ledger, day).height]
    assert sorted(sessions_of_ends(ledger, days[-1]).values()) == found
    assert all(sessions_of_ends(ledger, day) == {} for day in days if day < found[0])
    return found


@pytest.mark.feature(31)
def test_each_position_counts_on_one_session_whenever_its_end_is_recorded() -> None:
    opened = opening()
    noon = datetime(2025, 6, 11, 16, 0, tzinfo=UTC)
    by_hand = {"price": 0.1, "actor": "me", "effective_at": noon, "recorded_at": noon}
    late = datetime(2025, 6, 18, 2, 0, tzinfo=UTC)
    # Settled by Monday's run, minutes after its decision time.
    assert sessions_that_count(expired(opened, 51.0)) == [NEXT]
    # By a run of Monday evening; by one days later, when the close had come at last.
    for recorded, session in ((late - timedelta(days=1), NEXT), (late, date(2025, 6, 17))):
        event = ending(PositionExpired, opened, recorded_at=recorded)
        assert sessions_that_count([opened, event]) == [session]
    assert sessions_that_count([opened, ending(PositionClosed, opened, **by_hand)]) == [
        date(2025, 6, 11)
    ]
    # Recorded with an earlier effect, and after Wednesday's decision: Thursday is the first to
    # count with it.
    after = {**by_hand, "recorded_at": datetime(2025, 6, 11, 23, 0, tzinfo=UTC)}
    assert sessions_that_count([opened, ending(PositionClosed, opened, **after)]) == [
        date(2025, 6, 12)
    ]
    # A second end changes nothing.
    twice = [opened, ending(PositionClosed, opened, **by_hand), ending(PositionExpired, opened)]
    assert sessions_that_count(twice) == [date(2025, 6, 11)]
