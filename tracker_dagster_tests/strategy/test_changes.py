"""Changes between two decisions: each kind, with the input that moved it put there on purpose."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tracker_dagster import trading_calendar
from tracker_dagster.instruments import build_option_symbol
from tracker_dagster.schemas.changes import PICK_CHANGES
from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.strategy.changes import pick_changes
from tracker_dagster.strategy.lanes import assign_lanes
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster_tests.strategy.worlds import DAY, EXPIRY, black_scholes_call

MONDAY, TUESDAY = DAY, date(2025, 6, 10)
WEIGHTS = PickSettings().weights.normalised()
COMPONENTS = list(WEIGHTS)


def pick(ticker: str, day: date = MONDAY, **changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "ticker": ticker, "status": "picked", "category": "GROWTH", "lane": "SAFE_HIGH",
        "lane_reason": "medium volatility or drawdown", "price": 100.0, "strike": 105.0,
        "expiry": EXPIRY, "annual_volatility": 0.40, "max_drawdown": 0.15, "suitability": 0.5,
        "implied_volatility": 0.40, "target_delta": 0.25, "earnings_in_period": False,
        "ex_dividend_in_period": False, "split_in_period": False, "fft_status": "stable",
        "fractal_status": "stable", **dict.fromkeys(COMPONENTS, 0.5),
    }  # fmt: skip
    row |= changed
    if row["status"] == "missing":
        return {**row, "rank_score": None}
    row["dte"] = (row["expiry"] - day).days
    if "mid" not in row:
        years, volatility = row["dte"] / 365, row["implied_volatility"] or 0.4
        row["mid"] = black_scholes_call(row["price"], row["strike"], years, volatility)[0]
    if "symbol" not in row:
        row["symbol"] = build_option_symbol(ticker, row["expiry"], "C", row["strike"])
    if "rank_score" not in row:
        row["rank_score"] = sum(WEIGHTS[name] * (row[name] or 0.0) for name in COMPONENTS)
    return {**row, "premium_yield": row["mid"] / row["price"],
            "est_weekly_prem_100": 100 * row["mid"]}  # fmt: skip


def decision(rows: list[dict[str, Any]], day: date = MONDAY, basis: str = "snapshot") -> Any:
    frame = pl.DataFrame(rows, infer_schema_length=None)
    at = trading_calendar.decision_time(day)
    ranks = frame.filter(pl.col("rank_score").is_not_null()).sort(
        ["rank_score", "ticker"], descending=[True, False]
    )
    ranks = ranks.select("ticker", rank=pl.int_range(1, pl.len() + 1))
    return WEEKLY_PICKS.conform(
        frame.join(ranks, on="ticker", how="left"), trade_date=day, basis=basis, decision_at=at,
        available_at=at, gates_not_evaluated="{}", rejections="{}", inputs="{}",
    )  # fmt: skip


def found(before: Any, after: Any, **more: Any) -> dict[tuple[str, str], dict[str, Any]]:
    changes = pick_changes(before, after, **more)
    assert PICK_CHANGES.schema.filter(changes)[1].counts() == {}
    assert (changes["since"] == before["trade_date"][0]).all()
    return {(row["ticker"], row["change"]): row for row in changes.iter_rows(named=True)}


def two_days(was: Mapping[str, Any], now: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Changes of A by kind; B stands still."""
    before = decision([pick("A", **was), pick("B")])
    after = decision([pick("A", TUESDAY, **now), pick("B", TUESDAY)], TUESDAY)
    return {change: row for (ticker, change), row in found(before, after, **more).items()
            if ticker == "A"}  # fmt: skip


def test_nothing_changed_and_nothing_to_compare() -> None:
    before = decision([pick("A"), pick("B")])
    assert found(before, decision([pick("A", TUESDAY), pick("B", TUESDAY)], TUESDAY)) == {}
    assert pick_changes(WEEKLY_PICKS.empty(), before).is_empty()
    with pytest.raises(ValueError, match="not compared"):
        pick_changes(before, decision([pick("A", TUESDAY)], TUESDAY, "day_file"))
    with pytest.raises(ValueError, match="among more"):
        pick_changes(pl.concat([before, decision([pick("A", TUESDAY)], TUESDAY)]), before)


def test_new_and_gone_say_what_stood_in_the_way() -> None:
    lost = {"status": "missing", "stage": "price", "reason": "stale_price: 06-09 14:00Z"}
    before = decision([pick("A", **lost), pick("B"), pick("C")])
    after = decision([pick("A", TUESDAY), pick("B", TUESDAY, **lost), pick("D", TUESDAY)], TUESDAY)
    rows = found(before, after)
    assert rows["A", "new"]["moved_by"] == "price"
    assert rows["A", "new"]["why"] == "before: stale_price: 06-09 14:00Z"
    assert rows["A", "new"]["after"] == "105 of 2025-06-13"
    assert rows["B", "gone"]["moved_by"] == "price"
    assert rows["C", "gone"]["moved_by"] == rows["D", "new"]["moved_by"] == "universe"
    assert rows["C", "gone"]["why"] == "not an enabled ticker any more"


def test_an_expiry_that_rolls_takes_its_strike_with_it() -> None:
    rows = two_days({}, {"expiry": EXPIRY + timedelta(days=7), "strike": 107.0})
    assert rows["expiry_rolled"]["before"] == "2025-06-13"
    assert rows["strike"]["moved_by"] == "expiry"
    assert rows["strike"]["size"] == 2.0


@pytest.mark.parametrize(
    ("was", "now", "mover"),
    [
        ({}, {"price": 104.0, "strike": 109.0}, "price"),
        ({}, {"implied_volatility": 0.80, "strike": 109.0}, "volatility"),
        ({}, {"strike": 104.0}, "time"),
        # Without an implied volatility on both days, the realised one of both is used.
        ({"implied_volatility": None}, {"annual_volatility": 0.9, "strike": 110.0}, "volatility"),
    ],
)
def test_a_strike_that_one_input_moved(
    was: dict[str, Any], now: dict[str, Any], mover: str
) -> None:
    row = two_days(was, now)["strike"]
    assert row["moved_by"] == mover
    parts = json.loads(row["detail"])["target_strike"]
    assert max(parts, key=lambda name: abs(parts[name])) == mover


def test_a_strike_that_no_input_explains_says_so() -> None:
    # A day less brings the target nearer; the strike went further out.
    assert two_days({}, {"strike": 106.0})["strike"]["moved_by"] == "not told"


def candidates(**failed: str | None) -> pl.DataFrame:
    symbols = [build_option_symbol("A", EXPIRY, "C", int(name[1:])) for name in failed]
    return pl.DataFrame({"symbol": symbols, "failed_gate": list(failed.values())})


def test_a_strike_that_a_gate_moved() -> None:
    now = {"strike": 107.0}
    fell = two_days({}, now, candidates_after=candidates(k105="open_interest", k107=None))
    assert fell["strike"]["moved_by"] == "gate open_interest"
    assert fell["strike"]["why"] == "105 fails open_interest now"
    rose = two_days(
        {}, now, candidates_after=candidates(k105=None, k107=None),
        candidates_before=candidates(k105=None, k107="spread"),
    )  # fmt: skip
    assert rose["strike"]["why"] == "107 failed spread before"
    # The price rose by four: what was five above it is now too near.
    near = two_days({}, {"price": 104.0, **now}, candidates_after=candidates(k105="min_otm"))
    assert near["strike"]["moved_by"] == "gate min_otm (price)"
    assert near["strike"]["why"].startswith("105 fails min_otm now; the strike at the lane's")
    gone = two_days({}, now, candidates_after=candidates(k107=None))
    assert gone["strike"]["moved_by"] == "listing"


def test_a_lane_is_moved_by_the_input_that_puts_it_back() -> None:
    settings = PickSettings()

    def lane(**changed: Any) -> dict[str, Any]:
        row = {**pick("A"), **changed}
        ruled = assign_lanes(pl.DataFrame([row]).drop("lane", "lane_reason"), settings.lanes)
        return {**changed, **ruled.select("lane", "lane_reason").row(0, named=True)}

    one = two_days(lane(), lane(annual_volatility=0.60, max_drawdown=0.16))["lane"]
    assert (one["before"], one["after"]) == ("SAFE_HIGH", "AGGRESSIVE")
    assert one["moved_by"] == "annual_volatility"
    assert "annual_volatility 0.400 → 0.600" in one["why"]
    # SAFE_HIGH by its fall alone at the calm volatility: only both together put it back.
    calm = lane(annual_volatility=0.22, max_drawdown=0.10)
    both = two_days(calm, lane(annual_volatility=0.40, max_drawdown=0.30))["lane"]
    assert both["moved_by"] == "several inputs"


def promotions(day: date, decisions: Mapping[str, tuple[str, str]], seed: float = 9300.0) -> Any:
    rows = [
        {"ticker": ticker, "decision": decided, "reason": reason}
        for ticker, (decided, reason) in decisions.items()
    ]
    at = trading_calendar.decision_time(day)
    return PROMOTIONS.conform(
        pl.DataFrame(rows), trade_date=day, basis="snapshot", decision_at=at, available_at=at,
        seed=seed, lane_filter="SAFE_HIGH", top_n=3, gates="[]",
    )  # fmt: skip


def test_decisions_name_the_gate_and_changed_requests() -> None:
    skip, promote = ("skip", "over_seed"), ("promote", "passed_gates")
    before = promotions(MONDAY, {"A": promote, "B": skip, "C": skip})
    after = {"A": skip, "B": promote, "C": ("skip", "other_lane"), "D": promote}
    picks = [decision([pick(t, day) for t in "ABCD"], day) for day in (MONDAY, TUESDAY)]
    rows = found(*picks, promotions_before=before, promotions_after=promotions(TUESDAY, after))
    told = {ticker: (row["moved_by"], row["why"]) for (ticker, _), row in rows.items()}
    assert told == {
        "A": ("over_seed", "over_seed"),
        "B": ("over_seed", "before: over_seed"),
        "D": ("no pick", "before: no pick"),
    }
    richer = found(
        *picks, promotions_before=before, promotions_after=promotions(TUESDAY, after, 50_000.0)
    )
    assert richer["B", "decision"]["moved_by"] == "request"
    assert "seed 50,000" in richer["B", "decision"]["why"]


def test_flags_that_turn_are_told_and_those_that_become_known_are_not() -> None:
    rows = two_days(
        {"ex_dividend_in_period": None},
        {"earnings_in_period": True, "earnings_note": "2025-06-12 amc", "fft_status": "unstable"},
    )
    assert rows["flag"]["moved_by"] == "earnings, fft"
    assert rows["flag"]["after"] == "earnings on 2025-06-12 amc; fft unstable"


def test_a_rank_is_moved_by_its_largest_component() -> None:
    rows = two_days({"score_calm": 0.2, "score_trend": 0.6}, {"score_calm": 0.9})
    assert rows["rank"]["moved_by"] == "calm"
    assert (rows["rank"]["before"], rows["rank"]["after"], rows["rank"]["size"]) == ("2", "1", 1)
    detail = json.loads(rows["rank"]["detail"])
    assert detail["ranks"] == {"own": 1, "others": 0}
    assert detail["rank_score"]["score_calm"] == pytest.approx(0.7 * WEIGHTS["score_calm"])
    assert detail["rank_score"]["unexplained"] == pytest.approx(0.0)


def test_a_yield_that_leads_is_traced_to_its_own_input() -> None:
    rows = two_days(
        {"score_yield": 0.1, "implied_volatility": 0.25},
        {"score_yield": 0.9, "implied_volatility": 0.60},
    )
    assert rows["rank"]["moved_by"] == "yield (volatility)"


def test_who_stood_still_was_moved_by_others() -> None:
    before = decision([pick("A", score_calm=0.9), pick("B"), pick("C", score_calm=0.1)])
    after = decision(
        [pick("A", TUESDAY, score_calm=0.0), pick("B", TUESDAY),
         pick("C", TUESDAY, score_calm=0.1)], TUESDAY,
    )  # fmt: skip
    rows = found(before, after)
    assert rows["B", "rank"]["moved_by"] == "others"
    assert json.loads(rows["B", "rank"]["detail"])["ranks"] == {"own": 0, "others": 1}
    assert rows["A", "rank"]["moved_by"] == "calm"


def test_rank_moves_of_many_against_sorting_them_anew() -> None:
    rng = np.random.default_rng(8)
    names = [f"T{n:03}" for n in range(120)]
    scores = rng.uniform(size=(2, 120))
    still = rng.uniform(size=120) < 0.3
    scores[1, still] = scores[0, still]
    before, after = (
        decision(
            [
                pick(n, day, rank_score=float(s), mid=1.0, symbol=n)
                for n, s in zip(names, row, strict=True)
            ],
            day,
        )
        for day, row in zip((MONDAY, TUESDAY), scores, strict=True)
    )
    rows = found(before, after)
    ranks = [dict(frame.select("ticker", "rank").iter_rows()) for frame in (before, after)]
    assert {ticker for ticker, _ in rows} == {n for n in names if ranks[0][n] != ranks[1][n]}
    for number, name in enumerate(names):
        if (name, "rank") not in rows:
            continue
        mixed = scores[0].copy()
        mixed[number] = scores[1, number]
        alone = int((-mixed).argsort().tolist().index(number)) + 1
        moves = json.loads(rows[name, "rank"]["detail"])["ranks"]
        assert moves == {"own": ranks[0][name] - alone, "others": alone - ranks[1][name]}
