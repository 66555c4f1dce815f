"""What of a captured answer becomes a row: volume of the session, and what a contract delivers."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tracker_dagster.assets.captures import SNAPSHOT, _chain_rows
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.sources.capture import RawCapture, RawPage

DAY = date(2026, 6, 3)
SLOT = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
SYMBOL = "O:AAPL260619C00150000"


def parsed(symbol: str = SYMBOL, **sent: Any) -> dict[str, Any]:
    """The row of one contract as sent; ``shares=None`` leaves their number out."""
    shares = sent.pop("shares", 100)
    body = {
        "details": {
            "contract_type": "call", "exercise_style": "american",
            "expiration_date": "2026-06-19", "strike_price": 150, "ticker": symbol,
            **({} if shares is None else {"shares_per_contract": shares}),
        },
        "last_quote": {"bid": 20.9, "ask": 21.25},
        **sent,
    }  # fmt: skip
    page = json.dumps({"status": "OK", "results": [body]}).encode()
    capture = RawCapture(
        SNAPSHOT, "option_chain", DAY, SLOT, "AAPL", Path(), (RawPage(page, SLOT, "/"),)
    )
    rows, rejected = _chain_rows(cast(DayRun, SimpleNamespace(day=DAY)), capture)
    assert rejected.is_empty()
    rows = OPTION_CHAIN.conform(rows, trade_date=DAY, slot=SLOT, source=SNAPSHOT)
    good, failures = OPTION_CHAIN.schema.filter(rows)
    assert failures.counts() == {}
    return good.row(0, named=True)


def bar(at: datetime | None, volume: int | None = 37) -> dict[str, Any]:
    body: dict[str, Any] = {} if volume is None else {"volume": volume}
    return body if at is None else {**body, "last_updated": int(at.timestamp()) * 1_000_000_000}


@pytest.mark.parametrize(
    ("day", "volume"),
    [
        (bar(SLOT), 37.0),
        (bar(SLOT - timedelta(days=1)), 0.0),
        # 20:01 in New York of the day before, though the day has begun in Greenwich.
        (bar(datetime(2026, 6, 3, 0, 1, tzinfo=UTC)), 0.0),
        (bar(SLOT - timedelta(days=30), None), 0.0),
        (bar(None), None),
        ({}, None),
    ],
    ids=["today", "yesterday", "last night", "a month ago", "no time", "no bar"],
)
def test_what_last_traded_on_an_earlier_day_has_no_volume_today(
    day: dict[str, Any], volume: float | None
) -> None:
    assert parsed(day=day)["day_volume"] == volume


@pytest.mark.parametrize(
    ("symbol", "shares", "is_standard"),
    [
        (SYMBOL, 100, True),
        (SYMBOL, 150, False),
        (SYMBOL, None, None),
        # The digit of an adjusted contract says it without the number.
        ("O:AAPL1260619C00150000", None, False),
        ("O:AAPL1260619C00150000", 100, False),
    ],
)
def test_a_contract_is_not_standard_because_nobody_said_otherwise(
    symbol: str, shares: int | None, is_standard: bool | None
) -> None:
    assert parsed(symbol, shares=shares)["is_standard"] is is_standard
