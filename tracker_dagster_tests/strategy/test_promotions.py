"""Promotions: cash, caps, gates and reasons, each against a case small enough to do by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import polars as pl
import pytest

from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.strategy.promotions import committed_cash, promote
from tracker_dagster.strategy.settings import PromotionSettings
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY

NO_POSITIONS = worlds.positions([])


def picks(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Picks in rank order; each row says only what matters to its test."""
    base = {
        "status": "picked", "category": "GROWTH", "lane": "SAFE_HIGH", "price": 40.0,
        "pack_100_cost": 4000.0, "strike": 42.0, "est_weekly_prem_100": 30.0,
        "premium_at_bid_100": 28.0, "mid": 0.30, "bid": 0.28, "ask": 0.32,
        "premium_yield": 0.0075, "spread_pct": 0.1, "bars_1m_count": 1950,
        "fft_status": "stable", "fractal_status": "stable", "earnings_in_period": False,
        "ex_dividend_in_period": False,
        "expiry": EXPIRY, "gates_not_evaluated": "{}", "rejections": "{}", "inputs": "{}",
    }  # fmt: skip
    full = [
        {**base, "symbol": f"O:{r['ticker']}250613C00042000", "rank": n,
         "rank_score": 1 - n / 100, **r}
        for n, r in enumerate(rows, start=1)
    ]  # fmt: skip
    return WEEKLY_PICKS.conform(
        pl.DataFrame(full, infer_schema_length=None),
        trade_date=DAY,
        basis="snapshot",
        decision_at=DECISION_AT,
        available_at=DECISION_AT,
    )


def decided(frame: pl.DataFrame) -> dict[str, str]:
    return dict(frame.select("ticker", "reason").iter_rows())


def test_cash_is_spent_in_rank_order_and_never_twice() -> None:
    frame = promote(
        picks([{"ticker": "A"}, {"ticker": "B", "pack_100_cost": 6000.0}, {"ticker": "C"},
               {"ticker": "D", "category": "BANK"}]),
        NO_POSITIONS, 9300, "SAFE_HIGH", 3,
    )  # fmt: skip
    assert decided(frame) == {
        "A": "passed_gates", "B": "over_seed", "C": "passed_gates", "D": "over_seed",
    }  # fmt: skip
    assert frame.sort("rank")["cash_before"].to_list() == [9300, 5300, 5300, 1300]
    assert frame.sort("rank")["cash_after"].to_list() == [5300, 5300, 1300, 1300]
    assert PROMOTIONS.schema.filter(frame)[1].counts() == {}


def test_cash_is_net_of_open_positions() -> None:
    held = worlds.positions(
        [
            {"symbol": "O:X250613C00010000", "ticker": "X", "expiry": EXPIRY, "strike": 10.0,
             "open_price": 0.5, "stock_basis": 20.0, "quantity": -2},
            {"symbol": "O:Y250613P00030000", "ticker": "Y", "expiry": EXPIRY, "strike": 30.0,
             "open_price": 0.5, "right": "P"},
            {"symbol": "O:Z250613C00030000", "ticker": "Z", "expiry": EXPIRY, "strike": 30.0,
             "open_price": 0.5, "stock_basis": 90.0, "status": "CLOSED"},
        ]
    )  # fmt: skip
    assert committed_cash(held) == 2 * 100 * 20 + 100 * 30
    frame = promote(picks([{"ticker": "A"}]), held, 9300, "ALL", 3)
    assert frame["cash_before"].item() == pytest.approx(2300)
    assert frame["reason"].item() == "over_seed"


def test_shares_that_are_held_tie_up_their_cost_once() -> None:
    # 100 shares put to the book at 40, a call written on them at 45; 20 a share elsewhere.
    held = worlds.positions(
        [
            {"symbol": "O:X250613C00045000", "ticker": "X", "expiry": EXPIRY, "strike": 45.0,
             "open_price": 0.5, "stock_basis": 40.0, "stock_source": "held"},
            {"symbol": "O:Y250613C00021000", "ticker": "Y", "expiry": EXPIRY, "strike": 21.0,
             "open_price": 0.5, "stock_basis": 20.0, "stock_source": "bought"},
        ]
    )  # fmt: skip
    assert committed_cash(held, 100 * 40) == 100 * 40 + 100 * 20
    frame = promote(picks([{"ticker": "A"}]), held, 9300, "ALL", 3, shares_cost=4000.0)
    assert frame["cash_before"].item() == pytest.approx(3300)


def test_top_n_counts_promotions() -> None:
    rows = [{"ticker": "A", "pack_100_cost": 1e6}] + [
        {"ticker": t, "pack_100_cost": 100.0, "category": t} for t in "BCDE"
    ]
    frame = promote(picks(rows), NO_POSITIONS, 9300, "ALL", 3)
    assert decided(frame) == {
        "A": "over_seed", "B": "passed_gates", "C": "passed_gates", "D": "passed_gates",
        "E": "top_n_reached",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"lane": "SAFE_HIGH_PAYOUT"}, "other_lane"),
        ({"pack_100_cost": 9300.01}, "over_seed"),
        ({"pack_100_cost": 9300.0}, "passed_gates"),
        ({"fft_status": "unstable"}, "unstable_fft"),
        ({"fractal_status": "unstable"}, "unstable_fractal"),
        ({"strike": 39.99}, "strike_below_spot"),
        # Four sessions are left: 0.2 % x sqrt(4 / 5).
        ({"premium_yield": 0.00178}, "low_yield"),
        ({"premium_yield": 0.00179}, "passed_gates"),
        ({"premium_yield": 0.00199, "expiry": date(2025, 6, 16)}, "low_yield"),
        ({"spread_pct": 0.21}, "wide_spread"),
        ({"earnings_in_period": True}, "passed_gates"),
    ],
)
def test_each_gate(changed: dict[str, Any], reason: str) -> None:
    frame = promote(picks([{"ticker": "A", **changed}]), NO_POSITIONS, 9300, "SAFE_HIGH", 3)
    assert frame["reason"].item() == reason
    assert frame["decision"].item() == ("promote" if reason == "passed_gates" else "skip")


def test_every_gate_is_told_even_after_the_first_failure() -> None:
    frame = promote(
        picks([{"ticker": "A", "pack_100_cost": 1e5, "fft_status": "unstable",
                "spread_pct": None, "bars_1m_count": 80, "earnings_in_period": None}]),
        NO_POSITIONS, 9300, "SAFE_HIGH", 3,
    )  # fmt: skip
    gates = {gate["gate"]: gate for gate in json.loads(frame["gates"].item())}
    assert gates["cash"]["outcome"] == "fail"
    assert gates["cash"]["value"] == 1e5
    assert gates["cash"]["limit"] == 9300
    assert gates["fft"]["outcome"] == "fail"
    assert gates["fractal"]["outcome"] == "pass"
    assert {name for name, gate in gates.items() if gate["outcome"] == "not_evaluated"} == {
        "history", "spread", "earnings",
    }  # fmt: skip


@pytest.mark.feature(24)
def test_every_reason_is_stored_in_order_and_what_was_left_open() -> None:
    frame = promote(
        picks([{"ticker": "A", "lane": "SAFE", "pack_100_cost": 1e5, "fractal_status": "unstable",
                "strike": 39.0, "spread_pct": None, "earnings_in_period": None,
                "earnings_note": "no earnings calendar known",
                "gates_not_evaluated": '{"open_interest": "day files hold no open interest"}'}]),
        NO_POSITIONS, 9300, "SAFE_HIGH", 3,
    )  # fmt: skip
    assert json.loads(frame["reasons"].item()) == [
        "other_lane", "over_seed", "unstable_fractal", "strike_below_spot",
    ]  # fmt: skip
    assert frame["reason"].item() == "other_lane"
    assert json.loads(frame["not_evaluated"].item()) == {
        "open_interest": "day files hold no open interest",
        "spread": "no quotes",
        "earnings": "no earnings calendar known",
    }
    good = promote(picks([{"ticker": "A"}]), NO_POSITIONS, 9300, "SAFE_HIGH", 3)
    assert (good["reasons"].item(), good["not_evaluated"].item()) == ("[]", "{}")


def test_an_ex_date_blocks_where_asked_and_is_told_otherwise() -> None:
    paying = picks([{"ticker": "A", "ex_dividend_in_period": True,
                     "ex_dividend_note": "2025-06-11 (0.5 USD)"}])  # fmt: skip
    strict = PromotionSettings(block_on_ex_dividend=True)
    frame = promote(paying, NO_POSITIONS, 9300, "ALL", 3, strict)
    assert frame["reason"].item() == "ex_dividend_in_period"
    told = json.loads(promote(paying, NO_POSITIONS, 9300, "ALL", 3)["gates"].item())[-1]
    assert (told["gate"], told["outcome"], told["note"]) == (
        "ex_dividend", "pass", "2025-06-11 (0.5 USD)",
    )  # fmt: skip


def test_too_short_a_history_blocks_only_where_it_is_asked_to() -> None:
    young = picks([{"ticker": "A", "bars_1m_count": 0, "fft_status": "insufficient_history",
                    "fractal_status": "insufficient_history"}])  # fmt: skip
    assert decided(promote(young, NO_POSITIONS, 9300, "ALL", 3)) == {"A": "passed_gates"}
    strict = PromotionSettings(require_history=True)
    assert decided(promote(young, NO_POSITIONS, 9300, "ALL", 3, strict)) == {
        "A": "insufficient_bars"
    }


def test_earnings_block_where_asked() -> None:
    strict = PromotionSettings(block_on_earnings=True)
    frame = promote(
        picks([{"ticker": "A", "earnings_in_period": True}]), NO_POSITIONS, 9300, "ALL", 3, strict
    )
    assert frame["reason"].item() == "earnings_in_period"


@pytest.mark.parametrize(
    ("strike", "reason"), [(42.0, "already_open"), (45.0, "ticker_already_open")]
)
def test_a_ticker_is_not_sold_twice(strike: float, reason: str) -> None:
    held = worlds.positions(
        [{"symbol": f"O:A250613C000{int(strike)}000", "ticker": "A", "expiry": EXPIRY,
          "strike": strike, "open_price": 0.3, "stock_basis": 1.0}]
    )  # fmt: skip
    frame = promote(picks([{"ticker": "A"}]), held, 9300, "ALL", 3)
    assert frame["reason"].item() == reason


def test_a_category_is_capped_with_open_positions_counted() -> None:
    held = worlds.positions(
        [{"symbol": "O:A250613C00045000", "ticker": "A", "expiry": EXPIRY, "strike": 45.0,
          "open_price": 0.3, "stock_basis": 1.0}]
    )  # fmt: skip
    rows = [{"ticker": t, "pack_100_cost": 100.0} for t in "ABC"]
    assert decided(promote(picks(rows), held, 9300, "ALL", 3)) == {
        "A": "ticker_already_open", "B": "passed_gates", "C": "category_cap",
    }  # fmt: skip


def test_a_held_ticker_counts_for_its_category_without_a_pick_of_its_own() -> None:
    """It was disabled after it was opened: it is no longer among the day's picks."""
    held = worlds.positions(
        [{"symbol": "O:H250613C00045000", "ticker": "H", "expiry": EXPIRY, "strike": 45.0,
          "open_price": 0.3, "stock_basis": 1.0}]
    )  # fmt: skip
    rows = [{"ticker": t, "pack_100_cost": 100.0} for t in "AB"]
    members = worlds.universe({"A": "GROWTH", "B": "GROWTH", "H": "GROWTH"})
    frame = promote(picks(rows), held, 9300, "ALL", 3, universe=members)
    assert decided(frame) == {"A": "passed_gates", "B": "category_cap"}


@pytest.mark.parametrize(
    ("seed", "lane", "top_n", "words"),
    [
        (-5.0, "ALL", 3, "above zero"),
        (0.0, "ALL", 3, "above zero"),
        (float("nan"), "ALL", 3, "above zero"),
        (9300.0, "SAVE", 3, "unknown lane SAVE"),
        (9300.0, "ALL", -1, "must not be negative"),
    ],
)
def test_a_senseless_request_is_one_error_row(
    seed: float, lane: str, top_n: int, words: str
) -> None:
    frame = promote(picks([{"ticker": "A"}]), NO_POSITIONS, seed, lane, top_n)
    assert frame["decision"].to_list() == ["error"]
    assert frame["ticker"].item() == "*"
    assert json.loads(frame["reasons"].item()) == [frame["reason"].item()]
    assert words in frame["reason"].item()
    assert PROMOTIONS.schema.filter(frame)[1].counts() == {}


def test_no_picks_no_rows() -> None:
    assert promote(WEEKLY_PICKS.empty(), NO_POSITIONS, 9300, "ALL", 3).is_empty()
    none = picks([{"ticker": "A", "status": "missing", "symbol": None, "rank": None}])
    assert promote(none, NO_POSITIONS, 9300, "ALL", 3).is_empty()
