"""Asset `outcomes`: each position's end has one row, whichever sessions were made, and when."""

import logging
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.assets import scorecard as _loaded  # noqa: F401
from tracker_dagster.assets.ahead import Ahead
from tracker_dagster.assets.wiring import DayRun, done_by
from tracker_dagster.ledger.commands import append
from tracker_dagster.ledger.events import PositionClosed, PositionOpened
from tracker_dagster.resources import FixedClock, Knobs, MarketData
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.outcomes import OUTCOMES
from tracker_dagster.settings import Settings
from tracker_dagster.trading_calendar import (
    day_file_available_at,
    decision_time,
    sessions_between,
)
from tracker_dagster.warehouse import Warehouse

MONDAY, TUESDAY, WEDNESDAY, THURSDAY, FRIDAY = sessions_between(date(2025, 6, 9), date(2025, 6, 13))
NEXT = date(2025, 6, 16)
#: 11:00 and 14:00 in New York on Wednesday.
DAILY, CLOSED = (datetime(2025, 6, 11, hour, tzinfo=UTC) for hour in (15, 18))
#: As of Monday's close and each day's after it: 50, 51, 52 …
CLOSES = {session: 50.0 + number for number, session in enumerate(sessions_between(MONDAY, FRIDAY))}

SOURCE = "massive_flat_files"


def unit(session):
    return {"trade_date": session, "source": SOURCE}


@pytest.fixture
def book(tmp_path):
    """Calls written on Monday on shares that were held, and the week's closes, each with the
    moment from which on it may be read."""
    warehouse = Warehouse(tmp_path / "data" / "x.duckdb")
    warehouse.migrate()
    for session, close in CLOSES.items():
        prices = dict.fromkeys(("open", "high", "low", "close"), close)
        frame = STOCK_DAY_AGGS.conform(
            pl.DataFrame({"ticker": ["AAA"], "volume": [1.0], **prices}),
            trade_date=session, source=SOURCE, available_at=day_file_available_at(session),
        )  # fmt: skip
        warehouse.replace(STOCK_DAY_AGGS, frame, unit(session))
    opened = PositionOpened(
        symbol="O:AAA250620C00060000", quantity=-1, price=0.60, fees=0.0, stock_basis=40.0,
        stock_source="held", account="ira", day=MONDAY, decision_at=decision_time(MONDAY),
        effective_at=decision_time(MONDAY), recorded_at=decision_time(MONDAY), actor="me",
    )  # fmt: skip
    append(warehouse, [opened])
    return warehouse, opened


def close(book, moment=CLOSED, recorded_at=None):
    warehouse, opened = book
    append(warehouse, [PositionClosed(
        position_id=opened.event_id, price=0.10, fees=0.0, effective_at=moment,
        recorded_at=recorded_at or moment, actor="me",
    )])  # fmt: skip


def make(book, day, now=None):
    warehouse, _ = book
    now = now or decision_time(day) + timedelta(minutes=1)
    settings = Settings(data_dir=warehouse.path.parent, sim_url="http://127.0.0.1:1")
    run = DayRun(
        day=day, now=now, clock=FixedClock(now), warehouse=warehouse,
        market=MarketData(settings), knobs=Knobs.from_settings(settings), config={},
        log=logging.getLogger("test"), tags={}, is_first=True, is_last=True, ahead=Ahead([day]),
    )  # fmt: skip
    return done_by("outcomes", run)


def stored(book):
    return book[0].read(OUTCOMES).sort("trade_date", "position_id")


def told_once(book):
    """The one row: counted on Wednesday, at its close of 52 for want of a price of the moment."""
    (row,) = stored(book).to_dicts()
    assert (row["trade_date"], row["ended_on"]) == (WEDNESDAY, WEDNESDAY)
    # 60 came and 10 went; the shares rose from Monday's close to Wednesday's.
    assert row["option_result"] == pytest.approx(50.0)
    assert row["buy_hold_pnl"] == pytest.approx(200.0)
    assert row["position_result"] == pytest.approx(250.0)
    assert row["exit_source"] == "close of the session, later that day"
    assert row["available_at"] == day_file_available_at(WEDNESDAY)
    return row


@pytest.mark.feature(31)
def test_closed_after_the_daily_of_its_session(book):
    for day in (MONDAY, TUESDAY):
        make(book, day)
    make(book, WEDNESDAY, DAILY)
    close(book)
    assert stored(book).is_empty()
    assert make(book, THURSDAY).metadata["told_late_of"] == [str(WEDNESDAY)]
    first = told_once(book)
    # Nothing more on the days after, and none made again changes a thing.
    assert make(book, FRIDAY).metadata["told_late_of"] == []
    for day in (THURSDAY, WEDNESDAY, MONDAY, NEXT):
        make(book, day, decision_time(NEXT))
        assert stored(book).to_dicts() == [first]


@pytest.mark.feature(31)
def test_sessions_that_were_never_made(book):
    make(book, MONDAY)
    close(book)
    make(book, NEXT)
    first = told_once(book)
    # Back-filled later, in any order.
    for day in (FRIDAY, TUESDAY, WEDNESDAY, THURSDAY):
        assert make(book, day, decision_time(NEXT)).metadata["told_late_of"] == []
        assert stored(book).to_dicts() == [first]


def test_what_is_made_late_is_what_would_have_been_made_at_once(book, tmp_path):
    close(book)
    make(book, WEDNESDAY, decision_time(NEXT))
    at_once = told_once(book)
    book[0].replace(OUTCOMES, OUTCOMES.empty(), {"trade_date": WEDNESDAY}, allow_empty=True)
    make(book, NEXT)
    assert told_once(book) == at_once


def test_a_result_that_waited_for_a_close_is_told_when_that_is_there(book):
    warehouse, _ = book
    bars = warehouse.read(STOCK_DAY_AGGS, first=WEDNESDAY, last=WEDNESDAY)
    warehouse.replace(STOCK_DAY_AGGS, STOCK_DAY_AGGS.empty(), unit(WEDNESDAY), allow_empty=True)
    close(book)
    outcome = make(book, WEDNESDAY)
    assert stored(book)["position_result"].to_list() == [None]
    assert not outcome.checks[0].passed
    warehouse.replace(STOCK_DAY_AGGS, bars, unit(WEDNESDAY))
    assert make(book, THURSDAY).metadata["told_late_of"] == [str(WEDNESDAY)]
    told_once(book)


def test_recorded_days_after_with_an_earlier_effect(book):
    for day in (WEDNESDAY, THURSDAY):
        make(book, day)
    close(book, recorded_at=decision_time(THURSDAY) + timedelta(hours=4))
    make(book, NEXT)
    (row,) = stored(book).to_dicts()
    # Friday was the first that could know; nobody made it.
    assert (row["trade_date"], row["ended_on"]) == (FRIDAY, WEDNESDAY)
    make(book, FRIDAY, decision_time(NEXT))
    make(book, THURSDAY, decision_time(NEXT))
    assert stored(book).to_dicts() == [row]
