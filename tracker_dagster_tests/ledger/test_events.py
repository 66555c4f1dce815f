from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

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

NOON = datetime(2026, 11, 18, 17, tzinfo=UTC)
ENVELOPE = {"effective_at": NOON, "recorded_at": NOON, "actor": "me"}
OPENING = {
    "day": date(2026, 11, 18),
    "decision_at": NOON,
    "symbol": "O:AAPL261127C00150000",
    "quantity": -1,
    "price": 0.1 + 0.2,
}
EVENTS = [
    UniverseListed(ticker="spy ", category="ETF", **ENVELOPE),
    UniverseEnabled(ticker="BRK.B", revision=3, **ENVELOPE),
    UniverseDisabled(ticker="SPY", **ENVELOPE),
    PositionOpened(**OPENING, **ENVELOPE),
    PositionOpened(**OPENING, stock_basis=148.5, fees=1.3, account="réel", **ENVELOPE),
    PositionClosed(position_id="p", price=0.0, fees=0.65, **ENVELOPE),
    PositionExpired(position_id="p", **ENVELOPE),
    PositionAssigned(position_id="p", **ENVELOPE),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.kind)
def test_an_event_survives_its_row(event):
    (row,) = events_frame([event]).iter_rows(named=True)
    assert Event.from_row(row) == event
    assert Event.from_row(row).event_id == row["event_id"] == event.event_id


def test_identities_differ_and_never_change():
    identities = [event.event_id for event in EVENTS]
    assert len(set(identities)) == len(identities)
    # Frozen on purpose: positions in people's ledgers go by these.
    assert identities[3] == "fd31231c3ceaf03558e4919671927e8d"
    assert identities[0] == "3e49d74c365128f5f879c9a20b041ea3"


def test_the_same_decision_is_the_same_position_whatever_was_paid_and_whenever_recorded():
    later = {
        **ENVELOPE,
        "recorded_at": NOON.replace(hour=20),
        "effective_at": NOON.replace(hour=19),
    }
    again = PositionOpened(**{**OPENING, "price": 9.0, "quantity": -5}, **later)
    assert again.event_id == EVENTS[3].event_id
    other = PositionOpened(**{**OPENING, "decision_at": NOON.replace(hour=18)}, **ENVELOPE)
    assert other.event_id != EVENTS[3].event_id


def test_an_instant_is_the_same_in_any_time_zone():
    eastern = NOON.astimezone(ZoneInfo("America/New_York"))
    event = UniverseDisabled(ticker="SPY", effective_at=eastern, recorded_at=eastern, actor="me")
    assert event.event_id == EVENTS[2].event_id
    assert event.effective_at.tzinfo is UTC


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": "AAPL"},
        {"quantity": 0},
        {"price": -0.01},
        {"price": float("nan")},
        {"shares": 0},
        {"colour": "red"},
        {"effective_at": datetime(2026, 11, 18)},
    ],
    ids=str,
)
def test_nonsense_cannot_be_an_event(wrong):
    with pytest.raises(ValidationError):
        PositionOpened(**{**OPENING, **ENVELOPE, **wrong})


def test_an_unknown_kind_is_an_error_not_a_silence():
    (row,) = events_frame([EVENTS[0]]).iter_rows(named=True)
    with pytest.raises(ValueError, match="universe_sold"):
        Event.from_row({**row, "kind": "universe_sold"})


def test_an_event_does_not_change():
    with pytest.raises(ValidationError):
        EVENTS[0].ticker = "QQQ"
