"""Rows of realized_volatility: splits, dividends, holes, tapes, and real bars around a split."""

from __future__ import annotations

import gzip
import math
import statistics
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster import trading_calendar as calendar
from tracker_dagster.analytics.volatility.realized_history import bar_sessions, realized_history
from tracker_dagster.schemas.base import INSTANT
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS

DAY = date(2026, 6, 3)
SESSIONS = bar_sessions(DAY)
ACROSS = ("rv_5d", "rv_10d", "rv_20d", "rv_30d", "rv_60d", "rv_252d", "yang_zhang_20d", "intraday")
RANGES = ("parkinson_20d", "garman_klass_20d")


def bars(ticker: str = "AAA", sessions: Sequence[date] = SESSIONS, seed: int = 1) -> pl.DataFrame:
    """A plain walk of about 25 % a year; the same seed is the same walk whatever the sessions."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.016, len(sessions))))
    opened = close * np.exp(rng.normal(0, 0.008, len(sessions)))
    reach = np.exp(np.abs(rng.normal(0, 0.01, (2, len(sessions)))))
    return pl.DataFrame(
        {
            "ticker": ticker,
            "trade_date": list(sessions),
            "open": opened,
            "high": np.maximum(opened, close) * reach[0],
            "low": np.minimum(opened, close) / reach[1],
            "close": close,
        }
    )


def minutes(
    prices: Mapping[int, float], ticker: str = "AAA", day: date = DAY, *, regular: bool = True
) -> pl.DataFrame:
    """Bars that start so many minutes after the open and do not move within."""
    opening = calendar.session_on(day).open
    return pl.DataFrame(
        {
            "ticker": ticker,
            "start": [opening + timedelta(minutes=n) for n in prices],
            "open": list(prices.values()),
            "close": list(prices.values()),
            "is_regular": regular,
        },
        schema={"ticker": pl.String, "start": INSTANT, "open": pl.Float64, "close": pl.Float64,
                "is_regular": pl.Boolean},
    )  # fmt: skip


def tape(first: float, day: date = DAY, ticker: str = "AAA", seed: int = 2) -> pl.DataFrame:
    count = calendar.session_on(day).minutes
    steps = np.random.default_rng(seed).normal(0, 0.0008, count)
    steps[0] = 0
    path = first * np.exp(np.cumsum(steps))
    return minutes(dict(enumerate(path.tolist())), ticker, day)


def actions(*rows: Mapping[str, object], day: date = DAY) -> pl.DataFrame:
    made = [{"ticker": "AAA", "action_id": "x", "trade_date": day, **row} for row in rows]
    if not made:
        return CORPORATE_ACTIONS.empty()
    return CORPORATE_ACTIONS.conform(
        pl.DataFrame(made), source="s", available_at=calendar.session_on(day).open
    )


def dividend(ex_date: date, amount: float, day: date | None = None) -> dict[str, object]:
    return {"action": "dividend", "ex_date": ex_date, "cash_amount": amount,
            "trade_date": day or ex_date}  # fmt: skip


def split(ex_date: date, before: float, after: float) -> dict[str, object]:
    return {"action": "split", "ex_date": ex_date, "split_from": before, "split_to": after}


def collected(sessions: Sequence[date] = SESSIONS, ticker: str = "AAA") -> pl.DataFrame:
    return pl.DataFrame(
        {"ticker": ticker, "trade_date": list(sessions)},
        schema={"ticker": pl.String, "trade_date": pl.Date},
    )


def row(
    daily: pl.DataFrame,
    of_day: pl.DataFrame | None = None,
    known: pl.DataFrame | None = None,
    answered: pl.DataFrame | None = None,
    day: date = DAY,
) -> dict[str, object]:
    (found,) = realized_history(
        ["AAA"],
        daily,
        tape(daily["open"][-1], day) if of_day is None else of_day,
        actions() if known is None else known,
        collected() if answered is None else answered,
        day,
    ).to_dicts()
    return found


def test_figures_of_a_plain_year() -> None:
    daily = bars()
    found = row(daily)
    logs = [math.log(b / a) for a, b in pairwise(daily["close"])]
    for count in (5, 10, 20, 30, 60, 252):
        expected = statistics.stdev(logs[-count:]) * math.sqrt(252)
        assert found[f"rv_{count}d"] == pytest.approx(expected)
    for name in (*RANGES, "yang_zhang_20d"):
        assert 0.15 < found[name] < 0.40
    assert found["reason"] is None
    assert found["dividends_known_since"] == SESSIONS[0]


def test_intraday_is_of_five_minute_prices_and_the_night() -> None:
    daily = bars()
    of_day = tape(daily["open"][-1])
    prices = of_day["close"].to_list()
    marks = [of_day["open"][0], *prices[4::5]]
    assert len(marks) == 79
    squares = sum(math.log(b / a) ** 2 for a, b in pairwise(marks))
    night = math.log(marks[0] / daily["close"][-2])
    found = row(daily, of_day)["intraday"]
    assert found == pytest.approx(math.sqrt(252 * (squares + night**2)))
    # Extended hours are no part of the session.
    early = minutes({-300: 1.0, 700: 900.0}, regular=False)
    assert row(daily, pl.concat([early, of_day]))["intraday"] == found


def test_a_minute_without_a_trade_keeps_the_last_price() -> None:
    daily = bars()
    of_day = tape(daily["open"][-1])
    # The last minutes of the second and third interval: the trade before stands for them.
    quiet = of_day.filter(~pl.int_range(pl.len()).is_in([8, 9, *range(10, 15)]))
    carried = of_day["close"].to_list()
    marks = [of_day["open"][0], carried[4], carried[7], carried[7], *carried[19::5]]
    squares = sum(math.log(b / a) ** 2 for a, b in pairwise(marks))
    night = math.log(marks[0] / daily["close"][-2])
    assert row(daily, quiet)["intraday"] == pytest.approx(math.sqrt(252 * (squares + night**2)))


def test_half_a_tape_is_no_session() -> None:
    daily = bars()
    found = row(daily, tape(daily["open"][-1]).head(345))
    assert found["intraday"] is None
    expected = "intraday: 69 of 78 five-minute intervals have a trade, 71 are needed"
    assert found["reason"] == expected
    assert row(daily, tape(1.0).clear())["reason"] == f"intraday: no minute bars of {DAY}"


def test_a_half_day_is_whole_with_42_intervals() -> None:
    half = date(2025, 11, 28)
    daily = bars(sessions=bar_sessions(half))
    of_day = tape(daily["open"][-1], half)
    assert len(of_day) == 210
    found = row(daily, of_day, answered=collected(bar_sessions(half)), day=half)
    assert found["intraday"] > 0
    assert found["reason"] is None


def as_traded(daily: pl.DataFrame, ex_date: date, ratio: float) -> pl.DataFrame:
    """The bars as they were traded, where each share before ``ex_date`` became ``ratio``."""
    prices = pl.col("open", "high", "low", "close")
    before = pl.col("trade_date") < ex_date
    return daily.with_columns(pl.when(before).then(prices * ratio).otherwise(prices))


@pytest.mark.parametrize("ex_date", [SESSIONS[-8], DAY])
def test_a_split_changes_nothing(ex_date) -> None:  # type: ignore[no-untyped-def]
    daily = bars()
    plain = row(daily)
    found = row(as_traded(daily, ex_date, 7.0), known=actions(split(ex_date, 1, 7)))
    for name in (*ACROSS, *RANGES):
        assert found[name] == pytest.approx(plain[name]), name


def test_without_the_days_corporate_actions_a_split_may_hide() -> None:
    daily = as_traded(bars(), SESSIONS[-8], 7.0)
    found = row(daily, answered=collected(SESSIONS[:-1]))
    assert all(found[name] is None for name in ACROSS)
    assert "a split would pass for a return" in found["reason"]
    # Within a session prices are in the same shares.
    assert all(found[name] == pytest.approx(row(bars())[name]) for name in RANGES)
    assert found["dividends_known_since"] is None


def test_a_split_that_was_called_off_changes_nothing() -> None:
    announced = actions(split(SESSIONS[-3], 1, 7), day=SESSIONS[-20])
    assert row(bars(), known=announced) == row(bars())


def test_a_dividend_is_no_loss() -> None:
    """The close falls by the dividend: who holds the share has lost nothing."""
    daily, ex_date = bars(), SESSIONS[-8]
    plain = row(daily)
    paid = daily.filter(trade_date=SESSIONS[-9])["close"][0] * 0.1
    prices = pl.col("open", "high", "low", "close")
    before = pl.col("trade_date") < ex_date
    # Before the ex-date a share was worth a ninth more: it carried the dividend.
    carrying = daily.with_columns(pl.when(before).then(prices / 0.9).otherwise(prices))
    paid = carrying.filter(trade_date=SESSIONS[-9])["close"][0] * 0.1
    found = row(carrying, known=actions(dividend(ex_date, paid)))
    for name in (*ACROSS, *RANGES):
        assert found[name] == pytest.approx(plain[name]), name
    unknown = row(carrying)
    assert unknown["rv_20d"] > 1.3 * plain["rv_20d"]


def test_a_dividend_before_a_split_is_in_shares_of_its_time() -> None:
    daily, ex_date, split_on = bars(), SESSIONS[-8], SESSIONS[-4]
    prices = pl.col("open", "high", "low", "close")
    before = pl.col("trade_date") < ex_date
    carrying = daily.with_columns(pl.when(before).then(prices / 0.9).otherwise(prices))
    traded = as_traded(carrying, split_on, 7.0)
    paid = traded.filter(trade_date=SESSIONS[-9])["close"][0] * 0.1
    known = pl.concat([actions(dividend(ex_date, paid)), actions(split(split_on, 1, 7))])
    found = row(traded, known=known)
    assert found["rv_20d"] == pytest.approx(row(daily)["rv_20d"])


def test_a_dividend_named_on_many_sessions_counts_once_and_a_moved_one_where_it_went() -> None:
    daily, ex_date = bars(), SESSIONS[-8]
    once = row(daily, known=actions(dividend(ex_date, 1.0)))
    seen = [dividend(ex_date, 1.0, day) for day in SESSIONS[-30:-7]]
    assert row(daily, known=actions(*seen)) == once
    moved = [dividend(SESSIONS[-10], 1.0, day) for day in SESSIONS[-30:-20]]
    moved += [dividend(ex_date, 1.0, day) for day in SESSIONS[-20:-7]]
    assert row(daily, known=actions(*moved)) == once
    # Of a session without an answer the last one before it is what is known.
    some = collected([day for day in SESSIONS if day not in SESSIONS[-12:-6]])
    found = row(daily, known=actions(*seen), answered=some)
    assert found["rv_20d"] == once["rv_20d"]
    assert found["dividends_known_since"] == SESSIONS[-6]


def test_a_session_without_a_bar_takes_every_window_over_it() -> None:
    hole = SESSIONS[-25]
    found = row(bars().filter(pl.col("trade_date") != hole))
    null = [name for name in (*ACROSS, *RANGES) if found[name] is None]
    assert null == ["rv_30d", "rv_60d", "rv_252d"]
    assert found["reason"] == f"rv_30d, rv_60d, rv_252d: no bar on {hole}"
    last = row(bars().filter(pl.col("trade_date") != DAY))
    # The night and the tape do not need the close of the day.
    assert [name for name in (*ACROSS, *RANGES) if last[name] is not None] == ["intraday"]
    assert last["reason"].endswith(f"no bar on {DAY}")


def test_a_ticker_nobody_knows_has_a_row_that_says_so() -> None:
    answered = pl.concat([collected(), collected(ticker="ZZZ")])
    found = realized_history(
        ["AAA", "ZZZ"], bars(), tape(100.0), actions(), answered, DAY
    ).to_dicts()
    assert [each["ticker"] for each in found] == ["AAA", "ZZZ"]
    assert all(found[1][name] is None for name in (*ACROSS, *RANGES))
    assert f"no bar on {DAY}" in found[1]["reason"]
    assert f"no minute bars of {DAY}" in found[1]["reason"]
    assert realized_history([], bars(), tape(1.0), actions(), collected(), DAY).is_empty()


def test_the_first_sessions_of_the_calendar_have_what_they_can() -> None:
    day = calendar.next_session(calendar.first_session(), 15)
    sessions = bar_sessions(day)
    assert len(sessions) == 16
    found = row(bars(sessions=sessions), answered=collected(sessions), day=day)
    assert found["rv_10d"] > 0
    assert found["rv_20d"] is None
    assert found["parkinson_20d"] is None
    assert f"no session before {sessions[0]}" in found["reason"]


def test_later_sessions_change_nothing() -> None:
    late = calendar.next_session(DAY)
    sessions = [*SESSIONS, late]
    daily = bars(sessions=sessions)
    known = pl.concat(
        [
            actions(dividend(SESSIONS[-4], 0.5)),
            actions(dividend(late, 3.0), split(late, 1, 2), day=late),
            actions(dividend(late, 3.0, DAY)),
        ]
    )
    of_day = tape(100.0)
    whole = realized_history(["AAA"], daily, of_day, known, collected(sessions), DAY)
    until = realized_history(
        ["AAA"],
        daily.filter(pl.col("trade_date") <= DAY),
        of_day,
        known.filter(pl.col("ex_date") <= DAY),
        collected(),
        DAY,
    )
    assert_frame_equal(whole, until)


@pytest.fixture(scope="module")
def apple(real_data):  # type: ignore[no-untyped-def]
    """Daily bars of AAPL as traded, around its split of seven for one on 2014-06-09."""
    root = real_data / "flatfiles" / "us_stocks_sip"
    files = sorted((root / "day_aggs_v1").rglob("*.csv.gz"))
    frames = [
        pl.read_csv(gzip.decompress(file.read_bytes())).with_columns(
            trade_date=pl.lit(date.fromisoformat(file.name[:10]))
        )
        for file in files
    ]
    traded = pl.concat(frames, how="vertical_relaxed").filter(ticker="AAPL")
    columns = ("ticker", "trade_date", "open", "high", "low", "close")
    daily = traded.select(*columns).with_columns(pl.col(columns[2:]).cast(pl.Float64))
    minute = root / "minute_aggs_v1" / "2014" / "06" / "2014-06-09.csv.gz"
    return daily, pl.read_csv(gzip.decompress(minute.read_bytes())).filter(ticker="AAPL")


#: Ex-date and US dollars a share as paid (Apple's dividend history).
APPLE_DIVIDENDS = {date(2013, 8, 8): 3.05, date(2013, 11, 6): 3.05, date(2014, 2, 6): 3.05,
                   date(2014, 5, 8): 3.29}  # fmt: skip
APPLE_SPLIT = date(2014, 6, 9)


@pytest.mark.parametrize("day", [date(2014, 6, 6), APPLE_SPLIT, date(2014, 6, 30)])
def test_apple_around_its_split_agrees_with_pandas(apple, day) -> None:  # type: ignore[no-untyped-def]
    daily, _ = apple
    rows = [dividend(ex, amount) for ex, amount in APPLE_DIVIDENDS.items()]
    known = pl.concat([actions(*rows), actions(split(APPLE_SPLIT, 1, 7), day=day)]).with_columns(
        ticker=pl.lit("AAPL")
    )
    answered = collected(bar_sessions(day), "AAPL")
    (found,) = realized_history(
        ["AAPL"], daily, tape(90.0, day, "AAPL"), known, answered, day
    ).to_dicts()
    frame = daily.to_pandas().set_index("trade_date")
    frame.index = pd.to_datetime(frame.index)
    frame = frame.loc[: pd.Timestamp(day)]
    shares = np.where(frame.index < pd.Timestamp(APPLE_SPLIT), 7.0, 1.0)
    close = frame["close"] / shares
    paid = pd.Series(0.0, frame.index)
    for ex, amount in APPLE_DIVIDENDS.items():
        paid[pd.Timestamp(ex)] = amount / 7
    returns = np.log(close / (close.shift(1) - paid)).dropna()
    for count in (5, 20, 60, 252):
        expected = returns.iloc[-count:].std() * math.sqrt(252)
        if len(returns) < count:
            assert found[f"rv_{count}d"] is None
        else:
            assert found[f"rv_{count}d"] == pytest.approx(expected, rel=1e-12)
    # Apple in June 2014: a fifth a year. A split taken for a return would show thousands.
    assert 0.10 < found["rv_20d"] < 0.25
    assert 0.10 < found["yang_zhang_20d"] < 0.25


def test_apples_own_minutes_on_the_day_of_the_split(apple) -> None:  # type: ignore[no-untyped-def]
    daily, minute = apple
    session = calendar.session_on(APPLE_SPLIT)
    start = pl.from_epoch("window_start", time_unit="ns").dt.replace_time_zone("UTC")
    of_day = minute.with_columns(start=start.cast(INSTANT)).select(
        "ticker",
        "start",
        pl.col("open", "close").cast(pl.Float64),
        is_regular=(pl.col("start") >= session.open) & (pl.col("start") < session.close),
    )
    known = actions(split(APPLE_SPLIT, 1, 7), day=APPLE_SPLIT).with_columns(ticker=pl.lit("AAPL"))
    answered = collected(bar_sessions(APPLE_SPLIT), "AAPL")
    (found,) = realized_history(["AAPL"], daily, of_day, known, answered, APPLE_SPLIT).to_dicts()
    frame = of_day.filter("is_regular").to_pandas().set_index("start")
    marks = frame["close"].resample("5min").last().ffill()
    first = frame["open"].iloc[0]
    night = math.log(first / (645.57 / 7))
    squares = (np.log(marks / marks.shift(1).fillna(first)) ** 2).sum() + night**2
    assert found["intraday"] == pytest.approx(math.sqrt(252 * squares))
    assert 0.10 < found["intraday"] < 0.40
