"""Rows of suitability: what counts, what is known at 11:15, every lane on a simulated half year."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.marketsim.world.world import World
from tracker_dagster.schemas.decisions import LANES
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.suitability import SUITABILITY
from tracker_dagster.seed_files import seed_file
from tracker_dagster.strategy.picks import target_expiry
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.suitability import suitability_rows, suitability_scores
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, EXPIRY

pytestmark = pytest.mark.feature(15)

PRICES = {"AAA": 100.0, "BBB": 40.0, "SPY": 520.0}
VOLS = {"AAA": 0.24, "BBB": 0.60, "SPY": 0.13}
CATEGORIES = {"AAA": "ETF", "BBB": "SPEC", "CCC": "BANK"}
BARS = worlds.daily(PRICES, VOLS, drifts={"AAA": 0.36})
BEFORE = trading_calendar.previous_session(DAY)
CURVE = Curve(np.array([1 / 12, 1.0]), np.array([0.04, 0.04]), "treasury 2025-06-06")
NO_DIVIDENDS = pl.DataFrame(
    schema={"underlying": pl.String, "ex_date": pl.Date, "years": pl.Float64, "amount": pl.Float64}
)


def rows_of(
    bars: pl.DataFrame = BARS,
    *,
    members: pl.DataFrame | None = None,
    corporate_actions: pl.DataFrame | None = None,
    day: date = DAY,
    expiry: date = EXPIRY,
    splits_known: list[str] | None = None,
) -> pl.DataFrame:
    whole = worlds.universe(CATEGORIES) if members is None else members
    sources = pl.DataFrame({"underlying": whole["ticker"]}).with_columns(
        dividend_source=pl.lit("corporate_actions")
    )
    rows = suitability_rows(
        whole,
        bars,
        corporate_actions,
        day,
        expiry,
        CURVE,
        NO_DIVIDENDS,
        sources,
        splits_known=splits_known,
    )
    SUITABILITY.schema.validate(rows)
    return rows


def of(rows: pl.DataFrame, ticker: str) -> dict[str, Any]:
    return rows.filter(pl.col("ticker") == ticker).row(0, named=True)


def test_a_row_by_hand() -> None:
    row = of(rows_of(), "AAA")
    # The walk has a volatility of 24 % and a drift of 36 % to the digit: 120 closes, Sharpe 1.5.
    assert row["closes_count"] == 120
    assert row["annual_volatility"] == pytest.approx(0.24)
    assert row["sharpe"] == pytest.approx(1.5)
    assert row["stability"] == pytest.approx(1 / 1.24)
    assert row["tail_calm"] == pytest.approx(1 / (1 + 100 * row["tail_width"]))
    # 0.5 x 0.806452 + 0.3 x 0.5 + 0.2 x tail calm; (1.5 + 3 x 0.806452) / 5, both gates passed.
    assert row["suitability"] == pytest.approx(0.553226 + 0.2 * row["tail_calm"], abs=1e-6)
    assert row["coherence"] == pytest.approx(0.783871, abs=1e-6)
    assert (row["internal_gate"], row["outer_gate"]) == (True, True)
    assert row["last_close"] == pytest.approx(100.0)
    assert row["last_session"] == BEFORE
    assert row["expected_move_5d"] == pytest.approx(100 * row["daily_move"] * 5**0.5)
    assert row["available_at"] == datetime.combine(DAY, time(11, 15), trading_calendar.EASTERN)
    assert row["premium_estimate_expiry"] == EXPIRY
    assert row["premium_estimate_100"] > 0


def test_gates_at_their_boundaries_and_where_nothing_is_known() -> None:
    scored = suitability_scores(
        pl.DataFrame(
            {
                "annual_volatility": [0.25, 0.25, None],
                "sharpe": [0.5, 0.5001, None],
                "tail_width": [0.0799, 0.08, None],
            }
        )
    )
    assert scored["internal_gate"].to_list() == [False, True, None]
    assert scored["outer_gate"].to_list() == [True, False, None]
    # (0.5 + 2.4) / 5 = 0.58 less a quarter; (0.5001 + 2.4) / 5 less 15 %.
    assert scored["coherence"].to_list() == [
        pytest.approx(0.58 * 0.75), pytest.approx(0.58002 * 0.85), None,
    ]  # fmt: skip


def test_every_member_has_a_row_and_one_without_closes_says_so() -> None:
    members = worlds.universe(CATEGORIES).with_columns(enabled=pl.col("ticker") != "BBB")
    rows = rows_of(members=members)
    assert rows["ticker"].to_list() == ["AAA", "BBB", "CCC"]
    assert rows["enabled"].to_list() == [True, False, True]
    assert of(rows, "BBB")["annual_volatility"] == pytest.approx(0.60)
    unknown = of(rows, "CCC")
    assert unknown["closes_count"] == 0
    assert unknown["stats_reason"] == "no closes known"
    assert unknown["suitability"] is None
    assert unknown["beta_reason"] == "0 returns in common with SPY, 60 needed"
    assert (unknown["lane"], unknown["lane_reason"]) == (
        "SAFE_HIGH", "volatility unknown: by category",
    )  # fmt: skip
    assert unknown["premium_estimate_reason"] == "no closes known"


def later(bars: pl.DataFrame) -> pl.DataFrame:
    """Closes of the session itself and of the next, both already in the frame."""
    last = bars.filter(pl.col("trade_date") == BEFORE)
    return pl.concat(
        [bars]
        + [
            last.with_columns(
                trade_date=pl.lit(day),
                close=pl.col("close") * 3,
                available_at=pl.lit(trading_calendar.session_on(DAY).open),
            )
            for day in (DAY, trading_calendar.next_session(DAY))
        ]
    )


def published_at_noon(bars: pl.DataFrame) -> pl.DataFrame:
    """A second version of every close, which nobody had at 11:15."""
    noon = trading_calendar.day_file_decision_time(DAY) + timedelta(minutes=45)
    return pl.concat([bars, bars.with_columns(close=pl.col("close") * 2, source=pl.lit("a"),
                                              available_at=pl.lit(noon))])  # fmt: skip


@pytest.mark.parametrize(
    "change", [later, published_at_noon, lambda bars: bars.sample(fraction=1, shuffle=True, seed=3)]
)
def test_what_came_later_and_the_order_of_rows_change_nothing(
    change: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    assert_frame_equal(rows_of(change(BARS)), rows_of())


def test_a_file_that_was_late_leaves_the_close_before_and_no_statistics() -> None:
    noon = trading_calendar.day_file_decision_time(DAY) + timedelta(minutes=45)
    late = BARS.with_columns(
        available_at=pl.when(pl.col("trade_date") == BEFORE)
        .then(pl.lit(noon))
        .otherwise("available_at")
    )
    row = of(rows_of(late), "AAA")
    day_before = trading_calendar.previous_session(BEFORE)
    assert (row["closes_count"], row["last_session"]) == (119, day_before)
    why = f"the latest close known is of {day_before}"
    assert {row[f"{name}_reason"] for name in ("premium_estimate", "stats", "beta")} == {why}
    assert all(row[name] is None for name in ("annual_volatility", "suitability", "beta"))
    assert row["lane_reason"] == "volatility unknown: by category"


def test_files_that_are_missing_do_not_make_a_ticker_look_wilder() -> None:
    days = sorted(set(BARS["trade_date"]))
    logs = np.log(BARS.filter(ticker="AAA").sort("trade_date")["close"].to_numpy())
    # Of 120 sessions the 31st is missing: 117 of 119 returns are left, one lies over it.
    one = of(rows_of(BARS.filter(pl.col("trade_date") != days[30])), "AAA")
    daily = np.delete(np.diff(logs), [29, 30])
    assert one["annual_volatility"] == pytest.approx(np.std(daily, ddof=1) * 252**0.5)
    assert (one["closes_count"], one["stats_reason"]) == (
        119, "returns over missing sessions left out: 1",
    )  # fmt: skip
    # From the last backwards every other one: the deviation of two days is no daily one.
    other = of(rows_of(BARS.filter(pl.col("trade_date").is_in(days[1::2]))), "AAA")
    assert (other["closes_count"], other["last_session"]) == (60, BEFORE)
    assert other["annual_volatility"] is None
    assert other["stats_reason"].startswith("0 returns between neighbouring sessions, 19 needed")


def test_a_split_is_no_crash_and_one_that_is_still_ahead_is_not_yet_one() -> None:
    def split(ex_date: date) -> pl.DataFrame:
        return worlds.actions([{"ticker": "AAA", "action": "split", "ex_date": ex_date,
                                "split_from": 1.0, "split_to": 2.0}])  # fmt: skip

    plain = of(rows_of(), "AAA")
    today = of(rows_of(corporate_actions=split(DAY)), "AAA")
    # Closes are in the shares of the day: all of them halve, and nothing else changes.
    assert today["last_close"] == pytest.approx(50.0)
    assert today["annual_volatility"] == pytest.approx(plain["annual_volatility"])
    assert today["max_drawdown"] == pytest.approx(plain["max_drawdown"])
    assert today["beta"] == pytest.approx(plain["beta"])
    ahead = of(rows_of(corporate_actions=split(DAY + timedelta(days=1))), "AAA")
    assert ahead["last_close"] == pytest.approx(100.0)
    raw = BARS.with_columns(
        close=pl.when((pl.col("ticker") == "AAA") & (pl.col("trade_date") < date(2025, 5, 1)))
        .then(pl.col("close") * 2)
        .otherwise("close")
    )
    mended = of(rows_of(raw, corporate_actions=split(date(2025, 5, 1))), "AAA")
    assert mended["max_drawdown"] == pytest.approx(plain["max_drawdown"])
    assert of(rows_of(raw, corporate_actions=worlds.no_actions()), "AAA")["max_drawdown"] > 0.4


@pytest.mark.parametrize("factor", [4 / 3, 2.0, 0.1])
def test_a_split_that_may_hide_in_the_closes_leaves_no_statistics(factor: float) -> None:
    day = date(2025, 5, 1)
    # The day's own return is made zero, so that the move is the split alone.
    own = (
        BARS.filter(pl.col("ticker") == "AAA")
        .sort("trade_date")
        .with_columns(move=pl.col("close") / pl.col("close").shift())
    )
    flat = float(own.filter(pl.col("trade_date") == day)["move"].item())
    raw = BARS.with_columns(
        close=pl.when((pl.col("ticker") == "AAA") & (pl.col("trade_date") < day))
        .then(pl.col("close") * factor * flat)
        .otherwise("close")
    )
    no_splits = worlds.no_actions()
    asked = rows_of(raw, corporate_actions=no_splits)
    assert of(asked, "AAA")["annual_volatility"] > 0.24
    for rows in (
        rows_of(raw, corporate_actions=None),
        rows_of(raw, corporate_actions=no_splits, splits_known=["BBB"]),
    ):
        row = of(rows, "AAA")
        moved = round((1 / factor - 1) * 100, 1)
        doubt = f"a move of {moved} % on {day} may be a split: splits were not collected"
        assert (row["stats_reason"], row["beta_reason"]) == (doubt, doubt)
        assert row["premium_estimate_reason"] == doubt
        assert all(row[name] is None for name in ("annual_volatility", "suitability", "beta"))
        assert (row["closes_count"], row["last_close"]) == (120, pytest.approx(100.0))
        assert row["lane_reason"] == "volatility unknown: by category"
        # Of the other nothing is in doubt: no move of it is as large as a split.
        assert_frame_equal(rows.filter(ticker="BBB"), asked.filter(ticker="BBB"))


def test_beta_is_told_against_spy_which_need_not_be_a_member() -> None:
    closes = {
        name: BARS.filter(pl.col("ticker") == name).sort("trade_date")["close"].to_numpy()
        for name in ("AAA", "SPY")
    }
    x, y = np.diff(np.log(closes["SPY"])), np.diff(np.log(closes["AAA"]))
    row = of(rows_of(), "AAA")
    assert row["beta"] == pytest.approx(np.polyfit(x, y, 1)[0])
    assert row["beta_reason"] is None
    without = of(rows_of(BARS.filter(pl.col("ticker") != "SPY")), "AAA")
    assert (without["beta"], without["beta_reason"]) == (
        None, "0 returns in common with SPY, 60 needed",
    )  # fmt: skip


@pytest.mark.feature(20)
def test_every_lane_is_reached_from_closes() -> None:
    """Walks whose volatility, drift and fall put them into a lane, and each rule of the ladder."""
    built = {  # volatility, drift: Sharpe 2 at 15 % is on merit, Sharpe 2 at 30 % pays
        "MERIT": (0.15, 0.30), "PAYS": (0.30, 0.60), "CALM": (0.24, 0.0), "MEDIUM": (0.40, 0.0),
        "WILD": (0.90, 0.0),
    }  # fmt: skip
    bars = worlds.daily(
        dict.fromkeys(built, 50.0),
        {name: volatility for name, (volatility, _) in built.items()},
        drifts={name: drift for name, (_, drift) in built.items()},
        seed=1,
    )
    rows = rows_of(bars, members=worlds.universe(dict.fromkeys([*built, "NEW"], "SPEC")))
    lanes = {row["ticker"]: (row["lane"], row["lane_reason"]) for row in rows.to_dicts()}
    assert lanes == {
        "MERIT": ("SAFE", "suitability, volatility and drawdown within the limits of SAFE"),
        "PAYS": ("SAFE_HIGH_PAYOUT", "suitable, and volatile enough to pay"),
        "CALM": ("SAFE", "low volatility and drawdown"),
        "MEDIUM": ("SAFE_HIGH", "medium volatility or drawdown"),
        "WILD": ("AGGRESSIVE", "high volatility"),
        "NEW": ("AGGRESSIVE", "volatility unknown: by category"),
    }


@pytest.mark.slow
@pytest.mark.feature(20)
def test_every_lane_is_reached_in_a_simulated_half_year() -> None:
    world, first, last = World(), date(2025, 12, 3), date(2026, 6, 3)
    universe = pl.read_csv(seed_file("universe.csv")).with_columns(enabled=pl.lit(True))
    days = trading_calendar.last_sessions(last, 252 + 125)
    known = pl.DataFrame(
        {"trade_date": days,
         "available_at": [trading_calendar.day_file_available_at(day) for day in days]},
    )  # fmt: skip
    closes = pl.concat(
        pl.DataFrame({"trade_date": days, "close": [world.close(ticker, day) for day in days]})
        .with_columns(ticker=pl.lit(ticker))
        .join(known, on="trade_date")
        for ticker in universe["ticker"]
    )
    bars = STOCK_DAY_AGGS.conform(closes, source="massive_flat_file")
    splits = CORPORATE_ACTIONS.conform(
        pl.DataFrame(
            [
                {"action_id": str(n), "ticker": s.ticker, "action": "split",
                 "ex_date": s.execution_date, "trade_date": s.execution_date,
                 "split_from": 1.0, "split_to": s.ratio}
                for n, s in enumerate(world.splits())
            ]
        ),
        available_at=trading_calendar.session_on(days[0]).open,
    )  # fmt: skip
    settings = PickSettings()
    rows = pl.concat(
        rows_of(
            bars,
            members=universe,
            corporate_actions=splits,
            day=day,
            expiry=target_expiry(day, settings),
        )
        for day in trading_calendar.sessions_between(first, last)
    )
    counts = dict(rows["lane"].value_counts().iter_rows())
    assert set(counts) == set(LANES)
    # Every ticker-day has its numbers: nothing is put into a lane by its category.
    assert rows["suitability"].null_count() == 0
    assert rows["premium_estimate_100"].null_count() == 0
