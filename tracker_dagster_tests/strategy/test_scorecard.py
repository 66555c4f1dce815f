"""The scorecard: rates and sums by hand, spans, accounts apart, ranks against SciPy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from tracker_dagster.schemas.outcomes import FRIDAY_SCORECARD, OUTCOMES
from tracker_dagster.strategy.scorecard import scorecard
from tracker_dagster.trading_calendar import decision_time

#: A Wednesday; the week before ended on the 13th.
DAY = date(2025, 6, 18)


def outcomes(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    base = {
        "account": "paper", "symbol": "O:A250613C00052000", "ticker": "A", "right": "C",
        "expiry": date(2025, 6, 13), "strike": 52.0, "quantity": -1, "status": "EXPIRED",
        "is_covered": True, "opened_on": date(2025, 6, 9), "ended_on": date(2025, 6, 13),
        "opened_at": decision_time(date(2025, 6, 9)),
        "ended_at": datetime(2025, 6, 13, 20, tzinfo=UTC),
        "trade_date": date(2025, 6, 16), "cost": 5000.0, "premium": 60.0, "reasons": "{}",
        "decision_at": decision_time(date(2025, 6, 9)), "basis": "snapshot",
    }  # fmt: skip
    full = []
    for number, row in enumerate(rows):
        result, hold = row.get("position_result"), row.get("buy_hold_pnl")
        known = None if None in (result, hold) else result - hold
        full.append(
            {**base, "position_id": f"p{number}", "hit": None if result is None else result > 0,
             "versus_hold": known, "beat_hold": None if known is None else known > 0, **row}
        )  # fmt: skip
    frame = pl.DataFrame(full, infer_schema_length=None)
    return OUTCOMES.conform(frame, available_at=decision_time(date(2025, 6, 16)))


def cards(rows: pl.DataFrame, day: date = DAY) -> dict[tuple[str, str], dict[str, Any]]:
    frame = scorecard(rows, day)
    assert FRIDAY_SCORECARD.schema.filter(frame)[1].counts() == {}
    return {(row["account"], row["period"]): row for row in frame.to_dicts()}


@pytest.mark.feature(31)
def test_rates_and_sums_by_hand() -> None:
    card = cards(
        outcomes(
            [
                {"position_result": 159.35, "buy_hold_pnl": 100.0, "prediction_error": 10.0,
                 "premium_error": -2.0},
                {"position_result": 259.35, "buy_hold_pnl": 500.0, "prediction_error": -250.0,
                 "premium_error": -4.0},
                {"position_result": -440.65, "buy_hold_pnl": -500.0},
                {"position_result": None, "buy_hold_pnl": None, "cost": None},
            ]
        )
    )["paper", "last_week"]  # fmt: skip
    assert (card["ended"], card["scored"], card["hits"], card["beat_hold"]) == (4, 3, 2, 2)
    assert card["hit_rate"] == pytest.approx(2 / 3)
    # Wilson of 2 in 3: (0.6667 + 3.8415 / 6 ± 1.96 sqrt(0.2222 / 3 + 3.8415 / 36)) / 2.2805.
    assert (card["hit_low"], card["hit_high"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert card["position_result"] == pytest.approx(-21.95)
    assert card["buy_hold_pnl"] == pytest.approx(100.0)
    assert card["versus_hold"] == pytest.approx(-121.95)
    assert card["cost"] == 15_000.0
    assert (card["predicted"], card["prediction_error"]) == (2, -120.0)
    assert card["prediction_error_abs"] == 130.0
    assert card["premium_error"] == -3.0


def test_spans_and_accounts_are_kept_apart() -> None:
    good = {"position_result": 10.0, "buy_hold_pnl": 5.0}
    found = cards(
        outcomes(
            [
                {**good, "ended_on": date(2025, 6, 6)},
                {**good, "ended_on": date(2025, 6, 9)},
                {**good, "ended_on": date(2025, 6, 15)},
                {**good, "ended_on": date(2025, 6, 16)},
                {**good, "ended_on": date(2025, 6, 18), "account": "broker"},
                {**good, "trade_date": date(2025, 6, 20), "ended_on": date(2025, 6, 18)},
            ]
        )
    )
    assert {key: card["ended"] for key, card in found.items()} == {
        ("paper", "this_week"): 1, ("paper", "last_week"): 2, ("paper", "all"): 4,
        ("broker", "this_week"): 1, ("broker", "last_week"): 0, ("broker", "all"): 1,
    }  # fmt: skip
    empty = found["broker", "last_week"]
    assert (empty["hits"], empty["hit_rate"], empty["position_result"]) == (0, None, None)


def test_nothing_has_ended_and_nothing_counts_twice() -> None:
    assert scorecard(OUTCOMES.empty(), DAY).is_empty()
    row = outcomes([{"position_result": 1.0, "buy_hold_pnl": 0.0}])
    again = row.with_columns(trade_date=date(2025, 6, 17))
    with pytest.raises(ValueError, match="more than one outcome"):
        scorecard(pl.concat([row, again]), DAY)


@pytest.mark.feature(31)
def test_rank_drift_by_hand_and_correlation_as_scipy_has_it() -> None:
    rng = np.random.default_rng(4)
    results = rng.normal(size=9)
    rows = [
        {"rank": rank, "position_result": float(result), "buy_hold_pnl": 0.0}
        for rank, result in zip((2, 3, 5, 8, 9, 11, 12, 20, 40), results, strict=True)
    ]
    alone = {"rank": 1, "position_result": 9.0, "buy_hold_pnl": 0.0,
             "decision_at": decision_time(date(2025, 6, 2))}  # fmt: skip
    card = cards(outcomes([*rows, alone]))["paper", "all"]
    assert card["ranked"] == 9
    assert card["rank_correlation"] == pytest.approx(spearmanr(range(9), -results).statistic)
    by_return = np.argsort(np.argsort(-results))
    assert card["rank_drift"] == pytest.approx(np.abs(np.arange(9) - by_return).mean())
    two = cards(outcomes(rows[:2]))["paper", "all"]
    assert two["rank_correlation"] is None
    assert two["rank_drift"] in (0.0, 1.0)
