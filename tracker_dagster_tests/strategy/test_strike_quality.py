"""Strike quality from traded option bars, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import polars as pl
import pytest

from tracker_dagster import trading_calendar
from tracker_dagster.strategy.settings import StrikeQualityWeights
from tracker_dagster.strategy.strike_quality import strike_quality
from tracker_dagster.strategy.tickers import decision_of
from tracker_dagster_tests.strategy.picking import MORNING
from tracker_dagster_tests.strategy.worlds import DAY

DECISION = decision_of("day_file", DAY, MORNING.astimezone(trading_calendar.UTC))
DAYS = trading_calendar.last_sessions(trading_calendar.previous_session(DAY), 7)
CALLS = pl.DataFrame({"symbol": ["A1", "A2", "A3", "B1"], "ticker": ["A", "A", "A", "B"]})


def bars(rows: Sequence[tuple[date, str, float, int | None]], **changes: Any) -> pl.DataFrame:
    """Volume and trades; high 1.1 and low 0.9 about a close of 1.0."""
    return pl.DataFrame(
        [
            {"trade_date": day, "symbol": symbol, "volume": volume, "transactions": trades,
             "high": 1.1, "low": 0.9, "close": 1.0, "underlying": symbol[0],
             "expiry": DECISION.expiry,
             "available_at": trading_calendar.day_file_available_at(day), **changes}
            for day, symbol, volume, trades in rows
        ],
        schema_overrides={"transactions": pl.Int64},
    )  # fmt: skip


def quality(traded: pl.DataFrame | None, **weights: float) -> dict[str, tuple[float, str]]:
    rows = strike_quality(CALLS, traded, DECISION, StrikeQualityWeights(**weights))
    columns = ("symbol", "strike_quality", "strike_quality_reason")
    return {symbol: (value, why) for symbol, value, why in rows.select(columns).rows()}


@pytest.mark.feature(39)
def test_the_quality_of_three_strikes_by_hand() -> None:
    five = DAYS[-5:]
    traded = bars(
        [(day, "A1", 100.0, 10) for day in five]
        + [(five[0], "A2", 50.0, 5), (five[3], "A2", 150.0, 15)]
        + [(five[1], "B1", 7.0, 1)]
    )
    found = quality(traded)
    # A1 trades 100 contracts and 10 times a session, A2 (50 + 150) / 5 = 40 and 4 times: the
    # medians are 70 and 7. Range (1.1 - 0.9) / 1 = 0.2, stability 1 / 1.2.
    steady = 0.2 / 1.2
    expected = 0.3 * 1.0 + 0.3 * 100 / 170 + 0.2 * 10 / 17 + steady
    assert found["A1"] == (pytest.approx(expected), None)
    expected = 0.3 * 2 / 5 + 0.3 * 40 / 110 + 0.2 * 4 / 11 + steady
    assert found["A2"] == (pytest.approx(expected), None)
    assert found["A3"] == (0.0, "not traded in the 5 published of the last 5 sessions")
    # Alone it is its own median.
    assert found["B1"] == (pytest.approx(0.3 / 5 + 0.15 + 0.1 + steady), None)


def test_only_the_last_five_sessions_count() -> None:
    recent = bars([(day, "A1", 10.0, 1) for day in DAYS[-5:]])
    older = bars([(day, "A1", 9999.0, 999) for day in DAYS[:2]])
    today = bars([(DAY, "A2", 9999.0, 999)], available_at=DECISION.decision_at)
    late = bars([(DAYS[-1], "A2", 9999.0, 999)], available_at=trading_calendar.decision_time(DAY))
    assert quality(pl.concat([older, recent, today, late])) == quality(recent)


def test_without_published_bars_there_is_no_quality() -> None:
    nothing = (None, "no option bars were published by the decision")
    assert set(quality(None).values()) == {nothing}
    assert set(quality(bars([(DAY, "A1", 5.0, 1)])).values()) == {nothing}


def test_a_feed_that_does_not_tell_trades_is_judged_by_the_rest() -> None:
    found = quality(bars([(day, "A1", 10.0, None) for day in DAYS[-5:]]))
    # Presence 1, volume at its own median 0.5, stability 1 / 1.2, over weights 0.3, 0.3, 0.2.
    assert found["A1"][0] == pytest.approx((0.3 + 0.15 + 0.2 / 1.2) / 0.8)


def test_a_session_without_volume_is_no_trading() -> None:
    traded = bars([(day, "A1", 10.0, 1) for day in DAYS[-4:]] + [(DAYS[-5], "A1", 0.0, 0)])
    assert quality(traded, presence=1, volume=0, trades=0, stability=0)["A1"][0] == 0.8


def test_a_missing_file_is_left_out_and_no_older_one_stands_in_for_it() -> None:
    last = DAYS[-5:]
    traded = bars([(day, "A1", 10.0, 1) for day in last if day != last[2]])
    presence = {"presence": 1.0, "volume": 0.0, "trades": 0.0, "stability": 0.0}
    alone = quality(traded, **presence)
    # Four files, in all of which it traded.
    assert alone["A1"] == (1.0, None)
    assert alone["A3"] == (0.0, "not traded in the 4 published of the last 5 sessions")
    # What else a range reads: an older file, other expiries and tickers of the missing session.
    older = bars([(DAYS[1], "A1", 0.0, 0), (DAYS[1], "A2", 9.0, 1)])
    other_expiry = bars([(last[2], "A2", 9.0, 1)], expiry=DAYS[-1])
    other_ticker = bars([(last[2], "C1", 9.0, 1)])
    assert quality(pl.concat([older, traded, other_expiry, other_ticker]), **presence) == alone
