"""Folds against a slow twin: look at each moment at every event, one rule at a time."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker_dagster.ledger.events import (
    Event,
    PositionAssigned,
    PositionClosed,
    PositionExpired,
    PositionOpened,
    UniverseDisabled,
    UniverseEnabled,
    UniverseListed,
    events_frame,
)
from tracker_dagster.ledger.folds import SETTLEMENT, positions_as_of, positions_on, universe_as_of

START = datetime(2026, 11, 16, 15, tzinfo=UTC)
CALL, PUT = "O:AAPL261127C00150000", "O:AAPL261127P00140000"


def at(hours):
    return START + timedelta(hours=hours)


def envelope(effective, recorded=None):
    return {
        "effective_at": at(effective),
        "recorded_at": at(effective if recorded is None else recorded),
        "actor": "test",
    }


def opened(effective=0, recorded=None, *, quantity=-2, symbol=CALL, account="paper", **facts):
    return PositionOpened(
        account=account,
        day=date(2026, 11, 16),
        decision_at=START - timedelta(hours=1),
        symbol=symbol,
        quantity=quantity,
        price=1.25,
        **facts,
        **envelope(effective, recorded),
    )


hours = st.integers(0, 4)
universe_events = st.lists(
    st.tuples(
        st.sampled_from([UniverseListed, UniverseEnabled, UniverseDisabled]),
        st.sampled_from(["A", "B"]),
        hours,
        hours,
        st.integers(0, 3),
        st.sampled_from(["X", "Y"]),
    ),
    max_size=10,
)


def make_universe(drawn):
    events = {}
    for kind, ticker, effective, recorded, revision, category in drawn:
        facts = {"category": category} if kind is UniverseListed else {}
        event = kind(ticker=ticker, revision=revision, **facts, **envelope(effective, recorded))
        events.setdefault(event.event_id, event)
    return list(events.values())


def latest(events, wanted):
    """The event of these kinds that no other one comes after."""
    found = [event for event in events if isinstance(event, wanted)]
    for event in found:
        if not any(
            (other.effective_at, other.recorded_at, other.revision, other.event_id)
            > (event.effective_at, event.recorded_at, event.revision, event.event_id)
            for other in found
        ):
            return event
    return None


@given(drawn=universe_events, moment=hours, known=st.none() | hours)
@settings(max_examples=150, deadline=None)
def test_the_universe_is_what_the_twin_says(drawn, moment, known):
    events = make_universe(drawn)
    ledger = events_frame(events).sample(fraction=1, shuffle=True, seed=1)
    expected = []
    for ticker in ("A", "B"):
        mine = [
            event
            for event in events
            if event.ticker == ticker
            and event.effective_at <= at(moment)
            and (known is None or event.recorded_at <= at(known))
        ]
        listed = latest(mine, UniverseListed)
        switched = latest(mine, (UniverseEnabled, UniverseDisabled))
        if listed is not None:
            expected.append((ticker, listed.category, not isinstance(switched, UniverseDisabled)))
    found = universe_as_of(ledger, at(moment), known_at=None if known is None else at(known))
    assert found.rows() == expected


position_events = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "expire", "assign"]),
        st.sampled_from([CALL, PUT]),
        st.sampled_from([-3, -1, 2]),
        hours,
        hours,
        st.sampled_from([0.0, 0.5, 2.25]),
    ),
    max_size=10,
)


def make_positions(drawn):
    events = {}
    for what, symbol, quantity, effective, recorded, amount in drawn:
        identity = opened(symbol=symbol).event_id
        times = envelope(effective, recorded)
        event: Event
        if what == "open":
            event = opened(effective, recorded, symbol=symbol, quantity=quantity, fees=amount)
        elif what == "close":
            event = PositionClosed(position_id=identity, price=amount, fees=1.0, **times)
        elif what == "expire":
            event = PositionExpired(position_id=identity, **times)
        else:
            event = PositionAssigned(position_id=identity, fees=amount, **times)
        events.setdefault(event.event_id, event)
    return list(events.values())


@given(drawn=position_events, moment=hours, known=st.none() | hours)
@settings(max_examples=150, deadline=None)
def test_positions_are_what_the_twin_says(drawn, moment, known):
    events = make_positions(drawn)
    expected = []
    in_effect = [
        event
        for event in events
        if event.effective_at <= at(moment) and (known is None or event.recorded_at <= at(known))
    ]
    ended = []
    for opening in in_effect:
        if not isinstance(opening, PositionOpened):
            continue
        ends = [
            event
            for event in in_effect
            if getattr(event, "position_id", None) == opening.event_id
            and event.effective_at >= opening.effective_at
        ]
        end = min(ends, key=lambda e: (e.effective_at, e.recorded_at, e.event_id), default=None)
        ended.append((opening, end))

    def when(pair):
        return (pair[1].effective_at, pair[1].recorded_at, pair[1].event_id)

    over = sorted((pair for pair in ended if pair[1] is not None), key=when)
    # What each single share in the account had cost, the oldest first.
    account = []
    for opening, end in [pair for pair in ended if pair[1] is None] + over:
        contracts, shares = opening.quantity, 100
        option = -contracts * shares * 1.25 - opening.fees
        stock, status, result = 0.0, "OPEN", None
        if isinstance(end, PositionClosed):
            status = "CLOSED"
            option += contracts * shares * end.price - end.fees
            result = option
        elif isinstance(end, PositionExpired):
            status, result = "EXPIRED", option
        elif isinstance(end, PositionAssigned):
            status = "ASSIGNED"
            option -= end.fees
            # Two calls sold at 150: 200 shares leave for 30,000. Puts the other way round.
            called = opening.symbol == CALL
            strike = 150.0 if called else 140.0
            arriving = contracts * shares if called else -contracts * shares
            stock = -arriving * strike
            if arriving > 0:
                account += [strike] * arriving
                result = option
            else:
                leaving, account = account[:-arriving], account[-arriving:]
                # Shares that were never there: what they had cost is not known.
                if len(leaving) == -arriving:
                    result = option + sum(strike - cost for cost in leaving)
        realised = None if end is None else option + stock
        expected.append((opening.event_id, status, option, stock, realised, result))
    found = positions_as_of(
        events_frame(events).sample(fraction=1, shuffle=True, seed=2),
        at(moment),
        known_at=None if known is None else at(known),
    ).select("position_id", "status", "option_cash", "stock_cash", "realised_cash", "realised_pnl")
    assert [row[:5] for row in found.rows()] == [row[:5] for row in sorted(expected)]
    results = [row[5] for row in sorted(expected)]
    assert found["realised_pnl"].to_list() == pytest.approx(results)


def test_a_position_says_what_was_opened():
    ledger = events_frame([opened(0, stock_basis=148.5, shares=100, fees=1.3)])
    (row,) = positions_as_of(ledger, at(0)).to_dicts()
    assert row["opened_at"] == at(0)
    shown = {name: row[name] for name in ("ticker", "right", "strike", "expiry", "quantity")}
    assert shown == {
        "ticker": "AAPL",
        "right": "C",
        "strike": 150.0,
        "expiry": date(2026, 11, 27),
        "quantity": -2,
    }
    assert (row["open_price"], row["stock_basis"], row["fees"]) == (1.25, 148.5, 1.3)
    # Two contracts of 100 shares at 1.25, less fees; nothing is realised while it is open.
    assert row["option_cash"] == pytest.approx(248.7)
    assert row["realised_cash"] is None


def test_an_end_at_the_instant_of_the_opening_is_an_end():
    opening = opened(0)
    closing = PositionClosed(position_id=opening.event_id, price=1.0, **envelope(0))
    for ledger in (events_frame([opening, closing]), events_frame([closing, opening])):
        assert positions_as_of(ledger, at(0))["status"].to_list() == ["CLOSED"]


@pytest.mark.parametrize(
    ("end", "stock_cash", "pnl"),
    [
        # Two calls sold at 1.25 on 200 shares bought at 148.50, 1.30 of fees: 248.70 of premium.
        (lambda p: PositionExpired(position_id=p, stock_sold_at=147.0, **envelope(1)),
         29_400.0, 248.7 - 300.0),
        (lambda p: PositionAssigned(position_id=p, fees=5.0, **envelope(1)),
         30_000.0, 248.7 - 5.0 + 300.0),
        (lambda p: PositionClosed(position_id=p, price=0.25, stock_sold_at=149.0, **envelope(1)),
         29_800.0, 248.7 - 50.0 + 100.0),
        (lambda p: PositionExpired(position_id=p, **envelope(1)), 0.0, None),
    ],
    ids=["expired", "assigned", "bought back", "nothing said of the shares"],
)  # fmt: skip
def test_the_end_of_a_covered_call_is_cash_and_a_result(end, stock_cash, pnl):
    opening = opened(0, stock_basis=148.5, fees=1.3)
    ledger = events_frame([opening, end(opening.event_id)])
    (row,) = positions_as_of(ledger, at(1)).to_dicts()
    assert row["stock_cash"] == pytest.approx(stock_cash)
    assert row["realised_cash"] == pytest.approx(row["option_cash"] + stock_cash)
    assert row["realised_pnl"] == (None if pnl is None else pytest.approx(pnl))


def test_an_end_recorded_before_stock_sales_were_is_read():
    (row,) = events_frame([PositionExpired(position_id="p", **envelope(0))]).to_dicts()
    assert Event.from_row({**row, "payload": '{"position_id":"p"}'}).stock_sold_at is None


def test_what_is_settled_after_a_sessions_turn_was_open_on_it():
    """Friday's expiry settled on Tuesday: Monday went without, and says so for ever."""
    friday, monday, tuesday = date(2026, 11, 27), date(2026, 11, 30), date(2026, 12, 1)
    bell = datetime(2026, 11, 27, 18, tzinfo=UTC)
    opening = opened(0)

    def status(day, recorded_at, opening=opening):
        end = PositionExpired(
            position_id=opening.event_id,
            effective_at=bell,
            recorded_at=recorded_at,
            actor=SETTLEMENT,
        )
        moment = datetime(day.year, day.month, day.day, 20, 50, tzinfo=UTC)
        return positions_on(events_frame([opening, end]), day, moment)["status"].to_list()

    late = datetime(2026, 12, 1, 15, tzinfo=UTC)
    assert status(monday, late) == ["OPEN"]
    assert status(tuesday, late) == ["EXPIRED"]
    # Settled on Monday itself, after the decision even: Monday's fold has it.
    assert status(monday, datetime(2026, 11, 30, 21, 20, tzinfo=UTC)) == ["EXPIRED"]
    # On Friday before the bell it was open, whenever that is asked.
    before_the_bell = datetime(2026, 11, 27, 17, 50, tzinfo=UTC)
    assert positions_on(events_frame([opening]), friday, before_the_bell)["status"][0] == "OPEN"
    # Entered with hindsight, it is settled with hindsight.
    assert status(monday, late, opened(0, recorded=24 * 20)) == ["EXPIRED"]


def test_an_end_without_a_position_is_nothing():
    closing = PositionClosed(position_id="nobody", price=1.0, **envelope(0))
    assert positions_as_of(events_frame([closing]), at(9)).is_empty()


def test_folds_refuse_a_naive_moment():
    with pytest.raises(ValueError, match="naive"):
        universe_as_of(events_frame([]), datetime(2026, 11, 16))


def test_an_identity_once_recorded_stays_the_positions_identity():
    ledger = events_frame([opened()]).with_columns(event_id=pl.lit("recorded-by-an-older-version"))
    assert positions_as_of(ledger, at(0))["position_id"].to_list() == [
        "recorded-by-an-older-version"
    ]
