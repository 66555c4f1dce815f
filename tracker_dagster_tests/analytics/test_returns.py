"""Split adjustment and daily statistics against hand-computed and slow versions."""

from __future__ import annotations

import math
import statistics
from datetime import date, timedelta
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tracker_dagster.analytics import returns
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster_tests.strategy.worlds import actions


def bars(closes: list[float], first: date = date(2014, 6, 2), ticker: str = "AAPL") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "ticker": [ticker] * len(closes),
            "trade_date": [first + timedelta(days=n) for n in range(len(closes))],
            "open": closes,
            "high": closes,
            "low": closes,
            "close": closes,
            "volume": [700.0] * len(closes),
        }
    )


def split(ex_date: date, before: float, after: float, ticker: str = "AAPL") -> dict[str, object]:
    return {"ticker": ticker, "action": "split", "ex_date": ex_date,
            "split_from": before, "split_to": after}  # fmt: skip


def test_a_seven_for_one_split_leaves_no_jump_and_the_stored_rows_as_traded() -> None:
    stored = bars([644.0, 645.57, 93.70, 94.25])
    as_traded = stored.clone()
    known = actions([split(date(2014, 6, 4), 1, 7)], day=date(2014, 6, 4))
    adjusted = returns.adjust_for_splits(stored, known, date(2014, 6, 5))
    assert adjusted["close"].to_list() == pytest.approx([92.0, 92.2242857, 93.70, 94.25])
    assert adjusted["volume"].to_list() == pytest.approx([4900.0, 4900.0, 700.0, 700.0])
    assert np.abs(np.diff(np.log(adjusted["close"].to_numpy()))).max() < 0.02
    assert_frame_equal(stored, as_traded)


def test_a_split_that_has_not_executed_changes_nothing() -> None:
    known = actions([split(date(2014, 6, 4), 1, 7)], day=date(2014, 6, 2))
    adjusted = returns.adjust_for_splits(bars([644.0, 645.57]), known, date(2014, 6, 3))
    assert adjusted["close"].to_list() == [644.0, 645.57]


def test_a_split_seen_on_many_sessions_counts_once() -> None:
    row = split(date(2014, 6, 4), 1, 7)
    seen = pl.concat([actions([row], day=date(2014, 6, day)) for day in (2, 3, 4)])
    adjusted = returns.adjust_for_splits(bars([70.0, 70.0, 10.0]), seen, date(2014, 6, 4))
    assert adjusted["close"].to_list() == pytest.approx([10.0, 10.0, 10.0])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from([(1, 2), (1, 7), (10, 1), (2, 3)])),
        max_size=4,
        unique_by=lambda item: item[0],
    ),
    st.integers(0, 10),
    st.randoms(use_true_random=False),
)
def test_adjustment_agrees_with_one_bar_at_a_time(splits, as_of, random) -> None:  # type: ignore[no-untyped-def]
    first = date(2020, 1, 1)
    history = pl.concat([bars([float(100 + n) for n in range(10)], first, t) for t in "AB"])
    when = first + timedelta(days=as_of)
    rows = [split(first + timedelta(days=n), a, b, ticker="A") for n, (a, b) in splits]
    random.shuffle(rows)
    known = (
        actions(rows, day=date(2020, 1, 2))
        if rows
        else actions(
            [{"ticker": "A", "action": "dividend", "ex_date": first, "cash_amount": 1.0}],
            day=date(2020, 1, 2),
        )
    )
    adjusted = returns.adjust_for_splits(history, known, when)
    for ticker, day, close in adjusted.select("ticker", "trade_date", "close").iter_rows():
        expected = 100.0 + (day - first).days
        for n, (before, after) in splits:
            ex_date = first + timedelta(days=n)
            if ticker == "A" and day < ex_date <= when:
                expected *= before / after
        assert close == pytest.approx(expected)


def test_statistics_by_hand() -> None:
    rng = np.random.default_rng(3)
    closes = list(100 * np.exp(np.cumsum(rng.normal(0.001, 0.02, 60))))
    row = returns.return_statistics(bars(closes)).row(0, named=True)
    logs = [math.log(b / a) for a, b in pairwise(closes)]
    deviation = statistics.stdev(logs)
    assert row["annual_volatility"] == pytest.approx(deviation * math.sqrt(252))
    assert row["sharpe"] == pytest.approx(statistics.mean(logs) / deviation * math.sqrt(252))
    assert row["daily_move"] == pytest.approx(statistics.stdev(logs[-21:]))
    worst = max(1 - low / max(closes[: n + 1]) for n, low in enumerate(closes))
    assert row["max_drawdown"] == pytest.approx(worst)
    fives = sorted(math.log(b / a) for a, b in zip(closes, closes[5:], strict=False))
    position = 0.10 * (len(fives) - 1)
    low = int(position)
    tenth = fives[low] + (position - low) * (fives[low + 1] - fives[low])
    assert row["downside_5d"] == pytest.approx(tenth)
    recent = closes[-20:]
    mean = statistics.mean(recent)
    slope = sum((n - 9.5) * (close - mean) for n, close in enumerate(recent)) / 665.0
    assert row["regime"] == pytest.approx(slope / mean)
    assert row["stats_reason"] is None
    assert 0 <= row["return_entropy"] <= 1


def test_too_few_closes_give_null_and_say_why() -> None:
    row = returns.return_statistics(bars([10.0 + n for n in range(19)])).row(0, named=True)
    assert row["annual_volatility"] is None
    assert row["max_drawdown"] is None
    assert row["stats_reason"] == "19 closes, 20 needed"
    enough = returns.return_statistics(bars([10.0 + n for n in range(20)])).row(0, named=True)
    assert enough["annual_volatility"] is not None


def test_only_the_lookback_counts_and_row_order_does_not() -> None:
    rng = np.random.default_rng(4)
    closes = list(50 * np.exp(np.cumsum(rng.normal(0, 0.03, 80))))
    whole = bars(closes)
    tail = returns.return_statistics(whole.tail(40))
    assert_frame_equal(returns.return_statistics(whole, lookback=40), tail)
    assert_frame_equal(returns.return_statistics(whole.sample(fraction=1, shuffle=True, seed=1),
                                                 lookback=40), tail)  # fmt: skip


def test_entropy_is_one_for_even_bins_and_zero_for_a_single_value() -> None:
    even = np.arange(200.0)
    rows = np.stack([even, np.zeros(200), even / 1e6, np.where(even < 100, even, np.nan)])
    assert returns.normalised_entropy(rows) == pytest.approx([1.0, 0.0, 1.0, 1.0])


def one_at_a_time(closes: np.ndarray) -> dict[str, float]:
    """The statistics of one ticker by numpy's own functions."""
    logs = np.diff(np.log(closes))
    recent = closes[-20:]
    counts, _ = np.histogram(logs, bins=20)
    shares = counts[counts > 0] / counts.sum()
    first, tenth = np.quantile(logs, [0.01, 0.10])
    return {
        "closes_count": len(closes),
        "last_close": closes[-1],
        "annual_volatility": np.std(logs, ddof=1) * 252**0.5,
        "sharpe": np.mean(logs) / np.std(logs, ddof=1) * 252**0.5,
        "max_drawdown": np.max(1 - closes / np.maximum.accumulate(closes)),
        "daily_move": np.std(logs[-21:], ddof=1),
        "downside_5d": np.quantile(np.log(closes[5:] / closes[:-5]), 0.10),
        "regime": np.polyfit(np.arange(len(recent)), recent, 1)[0] / recent.mean(),
        "tail_width": abs(first - tenth),
        "return_entropy": -np.sum(shares * np.log(shares)) / np.log(20),
    }


def walk(rng: np.random.Generator, sessions: int, deviation: float = 0.02) -> np.ndarray:
    steps: np.ndarray = rng.normal(0.0005, deviation, sessions)
    return 50 * np.exp(np.cumsum(steps))


@pytest.mark.feature(18)
def test_many_tickers_at_once_agree_with_one_at_a_time() -> None:
    rng = np.random.default_rng(7)
    # Of every length from too few to more than the look-back, in turn.
    lengths = [*range(3, 60), 251, 252, 253, 400]
    paths = {f"T{n:03}": walk(rng, n, 0.005 * (1 + n % 9)) for n in lengths}
    rows = returns.return_statistics(
        pl.concat(bars(list(path), ticker=name) for name, path in paths.items()).sample(
            fraction=1, shuffle=True, seed=2
        ),
        minimum=12,
        lookback=252,
    )
    assert rows["ticker"].to_list() == sorted(paths)
    for row in rows.iter_rows(named=True):
        path = paths[row["ticker"]][-252:]
        if len(path) < 12:
            assert row["stats_reason"] == f"{len(path)} closes, 12 needed"
            assert all(row[name] is None for name in ("annual_volatility", "regime", "sharpe"))
        else:
            expected = one_at_a_time(path)
            assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)
            assert row["stats_reason"] is None


def days_of(frame: pl.DataFrame) -> list[date]:
    return frame["trade_date"].to_list()


def test_a_return_over_a_missing_session_is_not_a_daily_one() -> None:
    path = walk(np.random.default_rng(21), 90)
    whole = bars(list(path))
    gaps = {10, 11, 40, 75}
    kept = whole.with_row_index().filter(~pl.col("index").is_in(sorted(gaps))).drop("index")
    row = returns.return_statistics(kept, sessions=days_of(whole)).row(0, named=True)
    # Three gaps, each with one return over it; the four sessions next to them keep theirs.
    logs = np.log(path)
    daily = [logs[n] - logs[n - 1] for n in range(1, 90) if not {n, n - 1} & gaps]
    fives = [logs[n] - logs[n - 5] for n in range(5, 90) if not {n, n - 5} & gaps]
    recent = np.array([n for n in range(70, 90) if n not in gaps])
    known = np.delete(path, sorted(gaps))
    first, tenth = np.quantile(daily, [0.01, 0.10])
    expected = {
        "closes_count": 86,
        "annual_volatility": np.std(daily, ddof=1) * 252**0.5,
        "sharpe": np.mean(daily) / np.std(daily, ddof=1) * 252**0.5,
        "max_drawdown": np.max(1 - known / np.maximum.accumulate(known)),
        "daily_move": np.std(daily[-21:], ddof=1),
        "downside_5d": np.quantile(fives, 0.10),
        "regime": np.polyfit(recent, path[recent], 1)[0] / path[recent].mean(),
        "tail_width": abs(first - tenth),
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, rel=1e-9)
    assert row["stats_reason"] == "returns over missing sessions left out: 3"


def test_a_close_on_every_other_session_gives_no_volatility_instead_of_a_larger_one() -> None:
    whole = bars(list(walk(np.random.default_rng(22), 200)))
    row = returns.return_statistics(whole.gather_every(2), sessions=days_of(whole)).row(
        0, named=True
    )
    assert row["closes_count"] == 100
    assert row["stats_reason"] == (
        "0 returns between neighbouring sessions, 19 needed; returns over missing sessions left "
        "out: 99"
    )
    assert all(row[name] is None for name in ("annual_volatility", "max_drawdown", "daily_move"))
    # Nineteen whole days first, then a gap: enough of them, and no five-session return is asked of
    # sessions that have no close.
    some = pl.concat([whole.head(20), whole.tail(1)])
    row = returns.return_statistics(some, sessions=days_of(whole)).row(0, named=True)
    daily = np.diff(np.log(whole["close"].head(20).to_numpy()))
    assert row["annual_volatility"] == pytest.approx(np.std(daily, ddof=1) * 252**0.5)
    assert row["regime"] is None


def test_closes_that_do_not_vary_have_no_sharpe_ratio_and_say_why() -> None:
    frozen = pl.concat([bars([7.0] * 30, ticker="A"), bars(list(walk(np.random.default_rng(1), 40)),
                                                          ticker="B")])  # fmt: skip
    flat, moving = returns.return_statistics(frozen).to_dicts()
    assert (flat["annual_volatility"], flat["max_drawdown"], flat["regime"]) == (0.0, 0.0, 0.0)
    assert flat["sharpe"] is None
    assert flat["stats_reason"] == "closes do not vary"
    assert moving["stats_reason"] is None


def test_beta_by_hand() -> None:
    # Market returns +1 %, -1 %, +2 %, the stock's twice that and, in the last, half a point more.
    market = 100 * np.exp(np.cumsum([0.0, 0.01, -0.01, 0.02]))
    stock = 50 * np.exp(np.cumsum([0.0, 0.02, -0.02, 0.045]))
    row = returns.betas(
        bars(list(stock)), bars(list(market), ticker="SPY"), minimum=3, lookback=252
    ).row(0, named=True)
    # Means 2/300 and 4.5/300; sums of products of deviations: covariance
    # (.01-.02/3)(.02-.015) + (-.01-.02/3)(-.02-.015) + (.02-.02/3)(.045-.015) = 0.001
    # variance (.01-.02/3)^2 + (-.01-.02/3)^2 + (.02-.02/3)^2 = 0.000466667
    assert row["common_returns"] == 3
    assert row["beta"] == pytest.approx(0.001 / 0.000466666667)


def test_beta_compares_only_returns_between_the_same_sessions() -> None:
    rng = np.random.default_rng(11)
    market, own = walk(rng, 90, 0.01), rng.normal(0, 0.01, 89)
    stock = 20 * np.exp(np.concatenate([[0.0], np.cumsum(1.5 * np.diff(np.log(market)) + own)]))
    gaps = {10, 11, 40, 89}
    whole = bars(list(stock))
    kept = whole.with_row_index().filter(~pl.col("index").is_in(sorted(gaps))).drop("index")
    row = returns.betas(kept, bars(list(market), ticker="SPY")).row(0, named=True)
    pairs = [n for n in range(1, 90) if not {n, n - 1} & gaps]
    x, y = np.diff(np.log(market)), np.diff(np.log(stock))
    at = [n - 1 for n in pairs]
    assert row["common_returns"] == len(pairs)
    assert row["beta"] == pytest.approx(np.polyfit(x[at], y[at], 1)[0])


def test_beta_is_null_where_too_little_is_in_common_or_the_market_stands_still() -> None:
    rng = np.random.default_rng(5)
    stock, market = bars(list(walk(rng, 61))), bars(list(walk(rng, 61)), ticker="SPY")
    assert returns.betas(stock, market)["beta"].item() is not None
    assert returns.betas(stock, market.tail(60)).row(0) == ("AAPL", 59, None)
    assert returns.betas(stock, bars([9.0] * 61, ticker="SPY")).row(0) == ("AAPL", 60, None)
    assert returns.betas(stock, market.clear()).is_empty()


def test_the_market_s_own_beta_is_one() -> None:
    market = bars(list(walk(np.random.default_rng(2), 300)), ticker="SPY")
    assert returns.betas(market, market).row(0) == ("SPY", 251, pytest.approx(1.0))


def test_statistics_accept_the_tables_columns() -> None:
    assert returns.return_statistics(STOCK_DAY_AGGS.empty()).is_empty()
