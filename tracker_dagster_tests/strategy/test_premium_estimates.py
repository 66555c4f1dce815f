"""Estimated premiums against the formula by hand, and their scores against chosen trades."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.instruments import build_option_symbol
from tracker_dagster.schemas.market import OPTION_DAY_AGGS
from tracker_dagster.schemas.suitability import PREMIUM_ESTIMATE_SCORES
from tracker_dagster.strategy.premium_estimates import premium_estimates, score_premium_estimates
from tracker_dagster.strategy.settings import LaneSettings
from tracker_dagster_tests.strategy.worlds import DAY, EXPIRY

MORNING = trading_calendar.day_file_decision_time(DAY)
BEFORE = trading_calendar.previous_session(DAY)
CURVE = Curve(np.array([1 / 12, 1.0]), np.array([0.04, 0.04]), "treasury 2025-06-06")
#: Monday 11:15 to Friday 16:00: four days and four and three quarter hours.
YEARS = (4 * 24 + 4.75) / (365 * 24)

pytestmark = pytest.mark.feature(19)


def call(spot: float, strike: float, deviation: float, discount: float) -> float:
    """Black-Scholes by its formula; ``deviation`` is that of the whole time to expiry."""

    def normal(x: float) -> float:
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    d1 = (math.log(spot / (strike * discount)) + deviation**2 / 2) / deviation
    return spot * normal(d1) - strike * discount * normal(d1 - deviation)


def tickers(**changes: Any) -> pl.DataFrame:
    row = {
        "ticker": "AAA",
        "lane": "SAFE",
        "last_close": 100.0,
        "last_session": BEFORE,
        "daily_move": 0.02,
        "stats_reason": None,
    }
    return pl.DataFrame(
        [{**row, **changes}],
        schema_overrides={
            "last_close": pl.Float64,
            "daily_move": pl.Float64,
            "stats_reason": pl.String,
            "last_session": pl.Date,
        },
    )


def dividends(*rows: tuple[str, date, float, float]) -> pl.DataFrame:
    return pl.DataFrame(
        rows,
        schema={"underlying": pl.String, "ex_date": pl.Date, "years": pl.Float64,
                "amount": pl.Float64}, orient="row",
    )  # fmt: skip


def known(source: str = "corporate_actions") -> pl.DataFrame:
    return pl.DataFrame({"underlying": ["AAA"], "dividend_source": [source]})


def estimate(
    rows: pl.DataFrame | None = None,
    *,
    day: date = DAY,
    expiry: date = EXPIRY,
    curve: Curve | None = CURVE,
    paid: pl.DataFrame | None = None,
    sources: pl.DataFrame | None = None,
) -> dict[str, Any]:
    return premium_estimates(
        tickers() if rows is None else rows,
        day,
        expiry,
        trading_calendar.day_file_decision_time(day),
        curve,
        dividends() if paid is None else paid,
        known() if sources is None else sources,
        LaneSettings(),
    ).row(0, named=True)


def test_an_estimate_by_hand() -> None:
    row = estimate()
    # One expected move over five sessions: 2 % x sqrt 5 = 4.47 %, all of it for SAFE.
    assert row["premium_estimate_strike"] == pytest.approx(104.47214, abs=1e-4)
    # d1 = (ln(100 / 104.47214) + 0.00046 + 0.001) / 0.0447214 = -0.9456, d2 = -0.9903:
    # 100 x 0.17218 - 104.47214 x 0.99954 x 0.16101 = 0.405 a share.
    assert row["premium_estimate_100"] == pytest.approx(40.5, abs=0.3)
    expected = call(100, 100 * (1 + 0.02 * 5**0.5), 0.02 * 5**0.5, math.exp(-0.04 * YEARS))
    assert row["premium_estimate_100"] == pytest.approx(100 * expected)
    assert row["premium_estimate_method"] == "bsm_realised_volatility"
    assert row["premium_estimate_expiry"] == EXPIRY
    assert row["premium_estimate_years"] == pytest.approx(YEARS)
    # The whole variance is that of five sessions, however many hours they span.
    assert row["premium_estimate_volatility"] * YEARS**0.5 == pytest.approx(0.02 * 5**0.5)
    assert row["premium_estimate_reason"] is None


@pytest.mark.parametrize(
    ("lane", "moves"),
    [("SAFE", 1.0), ("SAFE_HIGH", 0.8), ("SAFE_HIGH_PAYOUT", 0.9), ("AGGRESSIVE", 0.8)],
)
def test_each_lane_aims_at_its_own_distance(lane: str, moves: float) -> None:
    row = estimate(tickers(lane=lane))
    assert row["premium_estimate_strike"] == pytest.approx(100 * (1 + moves * 0.02 * 5**0.5))


def test_a_holiday_takes_its_session_out_of_the_estimate() -> None:
    # Juneteenth 2025 is a Thursday: from Monday to Friday there are four sessions.
    row = estimate(tickers(last_session=date(2025, 6, 13)), day=date(2025, 6, 16),
                   expiry=date(2025, 6, 20))  # fmt: skip
    assert row["premium_estimate_strike"] == pytest.approx(100 * (1 + 0.02 * 4**0.5))


def test_a_declared_dividend_is_taken_off_the_spot_and_one_past_the_expiry_is_not() -> None:
    wednesday, later = timedelta(days=2), timedelta(days=30)
    paid = dividends(
        ("AAA", DAY + wednesday, 2 / 365, 0.75),
        ("AAA", DAY + later, 30 / 365, 9.0),
        ("BBB", DAY + wednesday, 2 / 365, 5.0),
    )
    row = estimate(paid=paid)
    worth = 0.75 * math.exp(-0.04 * 2 / 365)
    assert row["premium_estimate_dividends"] == pytest.approx(worth)
    expected = call(100 - worth, 100 * (1 + 0.02 * 5**0.5), 0.02 * 5**0.5, math.exp(-0.04 * YEARS))
    assert row["premium_estimate_100"] == pytest.approx(100 * expected)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rows": tickers(daily_move=None, stats_reason="7 closes, 20 needed")}, "7 closes"),
        ({"rows": tickers(last_session=date(2025, 5, 30))}, "latest close known is of 2025-05-30"),
        ({"rows": tickers(daily_move=0.0)}, "do not vary"),
        ({"curve": None}, "no rate is known"),
        ({"sources": known("not_collected")}, "not known: not_collected"),
        ({"sources": known().clear()}, "not known: not asked for"),
        ({"expiry": date(2025, 6, 6)}, "no time is left"),
    ],
)
def test_what_is_missing_gives_no_estimate_but_a_reason(
    changes: dict[str, Any], reason: str
) -> None:
    row = estimate(**changes)
    assert reason in row["premium_estimate_reason"]
    assert row["premium_estimate_100"] is None
    assert row["premium_estimate_strike"] is None
    assert row["premium_estimate_method"] is None


def trades(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"underlying": "AAA", "root": "AAA", "expiry": EXPIRY, "right": "C", "volume": 5.0,
            "is_adjusted": False, "trade_date": DAY}  # fmt: skip
    whole = [{**base, **row} for row in rows]
    frame = pl.DataFrame(
        [
            {
                **row,
                "symbol": build_option_symbol(
                    row["underlying"], row["expiry"], row["right"], row["strike"]
                ),
                "open": row["close"], "high": row["close"], "low": row["close"],
            }
            for row in whole
        ]
    )  # fmt: skip
    return OPTION_DAY_AGGS.conform(
        frame, source="massive_flat_file", available_at=datetime(2025, 6, 10, 15, tzinfo=UTC)
    )


def score(
    bars: pl.DataFrame,
    rows: pl.DataFrame | None = None,
    close: float = 101.0,
    strike: float | None = None,
) -> Any:
    estimates = premium_estimates(
        tickers() if rows is None else rows,
        DAY, EXPIRY, MORNING, CURVE, dividends(), known(), LaneSettings(),
    )  # fmt: skip
    if strike is not None:
        estimates = estimates.with_columns(premium_estimate_strike=pl.lit(strike))
    closes = pl.DataFrame({"ticker": ["AAA"], "close": [close]})
    return score_premium_estimates(estimates, bars, closes, DAY).row(0, named=True)


def test_a_score_by_hand() -> None:
    row = score(trades({"strike": 104.0, "close": 0.55}, {"strike": 106.0, "close": 0.20}))
    # The estimate is for 104.47: 104 is 0.47 away, 106 is 1.53.
    assert row["traded_strike"] == 104.0
    assert row["traded_symbol"] == "O:AAA250613C00104000"
    assert row["traded_100"] == pytest.approx(55.0)
    deviation = 0.02 * 5**0.5
    moved = 100 * call(100, 104, deviation, math.exp(-0.04 * YEARS))
    assert row["estimate_at_traded_100"] == pytest.approx(moved)
    assert row["error_100"] == pytest.approx(moved - 55)
    assert row["error_pct"] == pytest.approx((moved - 55) / 55)
    assert row["error_yield"] == pytest.approx((moved - 55) / 10_000)
    # At the close four sessions of variance and four days of interest are left, at 101.
    at_close = 100 * call(101, 104, 0.02 * 4**0.5, math.exp(-0.04 * 4 / 365))
    assert row["estimate_at_close_100"] == pytest.approx(at_close)
    assert row["move_error_100"] == pytest.approx(moved - at_close)
    assert row["volatility_error_100"] == pytest.approx(at_close - 55)
    assert row["underlying_move"] == pytest.approx(0.01)
    assert row["reason"] is None


def test_a_market_that_trades_at_the_estimate_s_volatility_makes_no_error_of_volatility() -> None:
    at_close = call(103, 105, 0.02 * 4**0.5, math.exp(-0.04 * 4 / 365))
    row = score(trades({"strike": 105.0, "close": at_close}), close=103.0)
    assert row["volatility_error_100"] == pytest.approx(0.0, abs=1e-9)
    assert row["error_100"] == pytest.approx(row["move_error_100"])


def test_only_standard_calls_of_the_expiry_that_traded_that_day_are_compared() -> None:
    nearer = {"strike": 104.5, "close": 9.0}
    row = score(
        trades(
            {**nearer, "right": "P"},
            {**nearer, "expiry": EXPIRY + timedelta(days=7)},
            {**nearer, "is_adjusted": True},
            {**nearer, "volume": 0.0},
            {**nearer, "underlying": "BBB"},
            {**nearer, "trade_date": BEFORE},
            {"strike": 107.0, "close": 0.1},
        )
    )
    assert (row["traded_strike"], row["traded_100"]) == (107.0, pytest.approx(10.0))


@pytest.mark.parametrize("strikes", [(103.5, 106.5), (106.5, 103.5)])
def test_of_two_strikes_at_the_same_distance_the_lower_counts(strikes: tuple[float, ...]) -> None:
    bars = trades(*({"strike": strike, "close": 1.0} for strike in strikes))
    assert score(bars, strike=105.0)["traded_strike"] == 103.5


def test_a_strike_far_from_the_estimate_s_is_no_comparison() -> None:
    near, far = (trades({"strike": strike, "close": 1.0}) for strike in (105.0, 106.0))
    assert score(near, strike=100.0)["error_100"] is not None
    row = score(far, strike=100.0)
    assert row["error_100"] is None
    assert row["traded_100"] is None
    assert row["reason"].endswith("is 6.0 % away")


def test_without_trades_or_without_an_estimate_the_score_says_so() -> None:
    puts = trades({"strike": 104.0, "close": 1.0, "right": "P"})
    assert score(puts)["reason"] == "no call of the expiry traded"
    calls = trades({"strike": 104.0, "close": 1.0})
    unknown = score(calls, tickers(daily_move=None, stats_reason="no closes known"))
    assert unknown["reason"] == "no estimate: no closes known"
    assert unknown["error_100"] is None


def test_scores_obey_their_table() -> None:
    estimates = premium_estimates(
        pl.concat([tickers(), tickers(ticker="BBB")]),
        DAY, EXPIRY, MORNING, CURVE, dividends(), known(), LaneSettings(),
    )  # fmt: skip
    closes = pl.DataFrame({"ticker": ["AAA"], "close": [101.0]})
    rows = PREMIUM_ESTIMATE_SCORES.conform(
        score_premium_estimates(estimates, trades({"strike": 104.0, "close": 1.0}), closes, DAY),
        trade_date=DAY,
        available_at=MORNING,
    )
    PREMIUM_ESTIMATE_SCORES.schema.validate(rows)
    assert rows["error_100"].is_null().to_list() == [False, True]
