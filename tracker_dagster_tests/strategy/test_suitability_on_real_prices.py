"""Suitability of Apple around its seven-for-one split of June 2014, from real files."""

from __future__ import annotations

import gzip
import json
import math
import statistics
from datetime import UTC, date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.instruments import parse_option_symbol
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.strategy.premium_estimates import score_premium_estimates
from tracker_dagster.strategy.suitability import suitability_rows
from tracker_dagster_tests.strategy.worlds import black_scholes_call, universe

SPLIT_DAY = date(2014, 6, 9)
#: Bills paid 0.04 % a year.
CURVE = Curve(np.array([1 / 12, 1.0]), np.array([0.0004, 0.001]), "treasury 2014-06-06")
MEMBERS = universe({"AAPL": "MEGACAP_TECH", "IWM": "ETF", "SPY": "ETF"})

pytestmark = pytest.mark.feature(15)


@pytest.fixture(scope="module")
def stocks(real_data: Path) -> pl.DataFrame:
    """Every session's closes as traded, and when its file was out."""
    files = sorted((real_data / "flatfiles/us_stocks_sip/day_aggs_v1").rglob("*.csv.gz"))
    days = [date.fromisoformat(path.name[:10]) for path in files]
    return STOCK_DAY_AGGS.conform(
        pl.concat(
            pl.read_csv(gzip.decompress(path.read_bytes())).select(
                "ticker",
                pl.col("close").cast(pl.Float64),
                trade_date=pl.lit(day),
                available_at=pl.lit(trading_calendar.day_file_available_at(day)),
            )
            for path, day in zip(files, days, strict=True)
        ),
        source="massive_flat_file",
    )


@pytest.fixture(scope="module")
def splits(real_data: Path) -> pl.DataFrame:
    known = json.loads((real_data / "corporate_actions.json").read_text())["splits"]
    return CORPORATE_ACTIONS.conform(
        pl.DataFrame(
            [
                {"ticker": row["ticker"], "action": "split", "action_id": "s",
                 "ex_date": date.fromisoformat(row["execution_date"]),
                 "split_from": row["split_from"], "split_to": row["split_to"]}
                for row in known
            ]
        ),
        trade_date=SPLIT_DAY,
        available_at=trading_calendar.session_on(SPLIT_DAY).open,
    )  # fmt: skip


def rows_of(
    stocks: pl.DataFrame, splits: pl.DataFrame, day: date, known: list[str] | None = None
) -> dict[str, dict[str, Any]]:
    rows = suitability_rows(
        MEMBERS,
        stocks,
        splits,
        day,
        trading_calendar.weekly_expiry(day),
        CURVE,
        pl.DataFrame(
            schema={"underlying": pl.String, "ex_date": pl.Date, "years": pl.Float64,
                    "amount": pl.Float64}
        ),
        pl.DataFrame({"underlying": MEMBERS["ticker"]}).with_columns(
            dividend_source=pl.lit("corporate_actions")
        ),
        splits_known=known,
    )  # fmt: skip
    return {row["ticker"]: row for row in rows.to_dicts()}


def closes_before(stocks: pl.DataFrame, ticker: str, day: date) -> list[float]:
    """The last 252 closes before ``day`` in the shares after the split, one by one."""
    own = stocks.filter((pl.col("ticker") == ticker) & (pl.col("trade_date") < day))
    own = own.sort("trade_date").tail(252)
    return [
        close / 7 if ticker == "AAPL" and when < SPLIT_DAY <= day else close
        for when, close in own.select("trade_date", "close").rows()
    ]


@pytest.mark.parametrize("day", [date(2014, 6, 6), SPLIT_DAY, date(2014, 6, 10), date(2014, 6, 27)])
def test_the_split_is_in_no_statistic(
    stocks: pl.DataFrame, splits: pl.DataFrame, day: date
) -> None:
    row = rows_of(stocks, splits, day)["AAPL"]
    closes = closes_before(stocks, "AAPL", day)
    logs = [math.log(b / a) for a, b in pairwise(closes)]
    assert row["closes_count"] == 252
    assert row["annual_volatility"] == pytest.approx(statistics.stdev(logs) * math.sqrt(252))
    worst = max(1 - close / max(closes[: n + 1]) for n, close in enumerate(closes))
    assert row["max_drawdown"] == pytest.approx(worst)
    assert row["last_close"] == pytest.approx(closes[-1])
    # A year that took Apple from below 60 to above 90: it suits calls, and is volatile enough.
    assert 0.22 < row["annual_volatility"] < 0.26
    assert (row["lane"], row["stats_reason"]) == ("SAFE_HIGH_PAYOUT", None)


def test_betas_are_those_of_a_large_and_of_many_small_companies(
    stocks: pl.DataFrame, splits: pl.DataFrame
) -> None:
    day = date(2014, 6, 27)
    rows = rows_of(stocks, splits, day)
    market = np.diff(np.log(closes_before(stocks, "SPY", day)))
    for ticker in ("AAPL", "IWM"):
        own = np.diff(np.log(closes_before(stocks, ticker, day)))
        assert rows[ticker]["beta"] == pytest.approx(np.polyfit(market, own, 1)[0])
    assert rows["SPY"]["beta"] == pytest.approx(1.0)
    assert 1.1 < rows["IWM"]["beta"] < 1.5
    assert rows["SPY"]["lane"] == rows["IWM"]["lane"] == "SAFE"


def test_a_split_that_was_not_collected_is_doubted_and_not_taken_for_a_crash(
    stocks: pl.DataFrame, splits: pl.DataFrame
) -> None:
    rows = rows_of(stocks, splits.clear(), date(2014, 6, 10), known=[])
    assert rows["AAPL"]["stats_reason"] == (
        "a move of -85.5 % on 2014-06-09 may be a split: splits were not collected"
    )
    assert rows["AAPL"]["max_drawdown"] is None
    assert rows["SPY"]["stats_reason"] is None
    # Asked for and none there: then it is a move.
    asked = rows_of(stocks, splits.clear(), date(2014, 6, 10), known=["AAPL"])
    assert asked["AAPL"]["max_drawdown"] > 0.8


@pytest.mark.feature(19)
def test_an_estimate_against_what_was_paid_on_the_day(
    stocks: pl.DataFrame, splits: pl.DataFrame, real_data: Path
) -> None:
    path = real_data / "flatfiles/us_options_opra/day_aggs_v1/2014/06/2014-06-09.csv.gz"
    raw = pl.read_csv(gzip.decompress(path.read_bytes()))
    terms = [parse_option_symbol(symbol) for symbol in raw["ticker"]]
    traded = OPTION_DAY_AGGS.conform(
        raw.with_columns(
            symbol="ticker",
            underlying=pl.Series([t.root for t in terms]),
            expiry=pl.Series([t.expiry for t in terms]),
            right=pl.Series([t.right for t in terms]),
            strike=pl.Series([float(t.strike) for t in terms]),
        ),
        trade_date=SPLIT_DAY,
        source="massive_flat_file",
        is_adjusted=False,
        available_at=trading_calendar.day_file_available_at(SPLIT_DAY).astimezone(UTC),
    )
    row = rows_of(stocks, splits, SPLIT_DAY)["AAPL"]
    closes = stocks.filter(pl.col("trade_date") == SPLIT_DAY)
    score = score_premium_estimates(pl.DataFrame([row]), traded, closes, SPLIT_DAY)
    scored = score.row(0, named=True)
    # On Friday 645.57, which is 92.22 after the split; 21 returns of 0.87 % a day: an expected
    # move of 1.95 % over five sessions, nine tenths of it to the strike of a SAFE_HIGH_PAYOUT.
    logs = [math.log(b / a) for a, b in pairwise(closes_before(stocks, "AAPL", SPLIT_DAY))]
    move = statistics.stdev(logs[-21:])
    spot = 645.57 / 7
    assert row["premium_estimate_strike"] == pytest.approx(spot * (1 + 0.9 * move * 5**0.5))
    # The file of the day has 93.93 as the nearest of that Friday's calls, last at 0.76.
    assert (scored["traded_symbol"], scored["traded_100"]) == ("O:AAPL140613C00093930", 76.0)
    # Without interest, which is worth a hundredth of a cent here.
    estimated = 100 * black_scholes_call(spot, 93.93, 1.0, move * 5**0.5)[0]
    assert scored["estimate_at_traded_100"] == pytest.approx(estimated, abs=0.05)
    assert scored["error_100"] == pytest.approx(estimated - 76, abs=0.05)
    # Apple rose by 1.6 % that day, to 93.70: most of the error. The rest is what options cost
    # more than the month before had moved.
    at_close = 100 * black_scholes_call(93.70, 93.93, 1.0, move * 4**0.5)[0]
    assert scored["underlying_move"] == pytest.approx(93.70 / spot - 1)
    assert scored["move_error_100"] == pytest.approx(estimated - at_close, abs=0.1)
    assert scored["volatility_error_100"] == pytest.approx(at_close - 76, abs=0.1)
    assert scored["move_error_100"] < scored["volatility_error_100"] < 0
