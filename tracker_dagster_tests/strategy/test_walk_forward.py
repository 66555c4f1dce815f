"""Outcomes of the models' picks, worked by hand, and what many weeks of them prove."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tracker_dagster import trading_calendar
from tracker_dagster.reports.model_compare import NO_SCORES, model_scores_text
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.market import BARS_1M, STOCK_DAY_AGGS
from tracker_dagster.schemas.models import MODEL_OUTCOMES, MODEL_SCORES
from tracker_dagster.schemas.option_bars import OPTION_BARS_1M
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS, REFERENCE_COLLECTIONS
from tracker_dagster.strategy.settings import WalkForwardSettings
from tracker_dagster.strategy.walk_forward import (
    decisions_of_week,
    model_outcomes,
    model_scores,
    weekly_returns,
)
from tracker_dagster_tests.strategy.test_promotions import picks
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY

#: 11:15 ET on the Monday.
MORNING = trading_calendar.day_file_decision_time(DAY)
#: No cost but what each test says.
FREE = WalkForwardSettings(fill_cost=0.0)


def decided(rows: list[dict[str, Any]], basis: str = "day_file", day: date = DAY) -> pl.DataFrame:
    at = MORNING if basis == "day_file" else DECISION_AT
    return picks([{"fees_100": 0.65, **row} for row in rows]).with_columns(
        basis=pl.lit(basis), decision_at=at, trade_date=pl.lit(day)
    )


def bars(table: Any, name: str, traded: list[tuple[str, datetime, float]]) -> pl.DataFrame:
    rows = [
        {name: key, "start": at, "open": price, "trade_date": trading_calendar.trading_date(at)}
        for key, at, price in traded
    ]
    schema = {n: table.polars_schema[n] for n in (name, "start", "open", "trade_date")}
    return table.conform(pl.DataFrame(rows, schema=schema), is_regular=True, source="x")


def closes(prices: dict[str, float]) -> pl.DataFrame:
    return STOCK_DAY_AGGS.conform(
        pl.DataFrame({"ticker": list(prices), "close": list(prices.values())}),
        trade_date=EXPIRY, source="massive_flat_file",
        available_at=trading_calendar.day_file_available_at(EXPIRY),
    )  # fmt: skip


def actions(rows: list[dict[str, Any]]) -> pl.DataFrame:
    if not rows:
        return CORPORATE_ACTIONS.empty()
    full = [{"action_id": str(n), "ticker": "A", **row} for n, row in enumerate(rows)]
    return CORPORATE_ACTIONS.conform(
        pl.DataFrame(full, infer_schema_length=None),
        trade_date=DAY, available_at=trading_calendar.session_on(DAY).open,
    )  # fmt: skip


def ended(close: float | None = 43.0, **changes: Any) -> dict[str, Any]:
    """The baseline outcome of one pick: A at 42, sold at 11:20, with the shares at 40.10."""
    symbol = "O:A250613C00042000"
    minute = timedelta(minutes=1)
    given: dict[str, Any] = {
        "option_bars": bars(
            OPTION_BARS_1M, "symbol",
            [(symbol, MORNING - minute, 0.90), (symbol, MORNING + 5 * minute, 0.32),
             (symbol, MORNING + 9 * minute, 0.10)],
        ),
        "stock_bars": bars(
            BARS_1M, "ticker",
            [("A", MORNING, 39.0), ("A", MORNING + 5 * minute, 40.10),
             ("A", MORNING + 6 * minute, 50.0)],
        ),
        "closes": closes({} if close is None else {"A": close}),
        "corporate_actions": actions([]),
        "settings": WalkForwardSettings(fill_cost=0.02),
    } | changes  # fmt: skip
    rows = given.pop("picks", decided([{"ticker": "A"}]))
    frame = model_outcomes(rows, PICK_CANDIDATES.empty(), EXPIRY, **given)
    assert MODEL_OUTCOMES.schema.filter(frame)[1].counts() == {}
    return frame.row(by_predicate=pl.col("model") == "baseline", named=True)


def test_shares_called_away() -> None:
    """100 x (42 - 40.10 + 0.32 - 0.02) - 0.65 = 219.35; the shares alone 100 x 2.90."""
    row = ended(43.0)
    assert row["filled_at"] == MORNING + timedelta(minutes=5)
    assert (row["stock_entry"], row["option_entry"], row["is_assigned"]) == (40.10, 0.30, True)
    assert row["pnl_100"] == pytest.approx(219.35)
    assert row["hold_pnl_100"] == pytest.approx(290.0)
    assert row["model_return"] == pytest.approx(219.35 / 4010)
    assert row["hold_return"] == pytest.approx(290 / 4010)
    assert row["decided_on"] == DAY
    assert row["trade_date"] == EXPIRY
    assert row["reason"] is None


def test_shares_kept_lose_what_they_lose_less_the_premium() -> None:
    """100 x (39 - 40.10 + 0.30) - 0.65 = -80.65; the shares alone -110."""
    row = ended(39.0)
    assert row["is_assigned"] is False
    assert row["pnl_100"] == pytest.approx(-80.65)
    assert row["hold_pnl_100"] == pytest.approx(-110.0)


@pytest.mark.parametrize(("close", "assigned"), [(41.99, False), (42.0, False), (42.01, True)])
def test_a_cent_in_the_money_is_exercised(close: float, assigned: bool) -> None:
    assert ended(close)["is_assigned"] is assigned


def test_dividends_after_the_decision_are_the_holders() -> None:
    """Ex on the Monday is too late for a Monday's buyer; Wednesday's and Friday's are paid."""
    paid = [
        {
            "action": "dividend",
            "ex_date": DAY + timedelta(days=n),
            "cash_amount": cash,
            "currency": "usd",
        }
        for n, cash in ((0, 5.0), (2, 0.25), (4, 0.10), (7, 5.0))
    ]
    row = ended(39.0, corporate_actions=actions(paid))
    assert row["dividends"] == pytest.approx(0.35)
    assert row["pnl_100"] == pytest.approx(-80.65 + 35)
    assert row["hold_pnl_100"] == pytest.approx(-110 + 35)


def test_a_dividend_listed_on_several_days_is_paid_once() -> None:
    listed = actions([{"action": "dividend", "ex_date": DAY + timedelta(days=2),
                       "cash_amount": 0.25}])  # fmt: skip
    again = listed.with_columns(
        trade_date=pl.lit(DAY + timedelta(days=1)),
        available_at=trading_calendar.session_on(DAY + timedelta(days=1)).open,
    )
    assert ended(39.0, corporate_actions=pl.concat([listed, again]))["dividends"] == 0.25


def test_a_captured_chain_sells_at_its_bid() -> None:
    """At the decision: shares 40.00, bid 0.28, nothing given up besides: 100 x 2.28 - 0.65."""
    row = ended(43.0, picks=decided([{"ticker": "A"}], "snapshot"))
    assert (row["filled_at"], row["stock_entry"], row["option_entry"]) == (DECISION_AT, 40.0, 0.28)
    assert row["fill_cost"] == 0
    assert row["pnl_100"] == pytest.approx(227.35)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"option_bars": OPTION_BARS_1M.empty()},
         "no trade of the call after the decision is known"),
        ({"stock_bars": BARS_1M.empty()}, "no trade of the shares after the call's is known"),
        ({"close": None}, "no close of 2025-06-13 is known"),
        ({"corporate_actions": actions([{"action": "split", "ex_date": DAY + timedelta(days=2),
                                         "split_from": 1.0, "split_to": 4.0}])},
         "split on 2025-06-11"),
        ({"corporate_actions": actions([{"action": "dividend", "ex_date": DAY + timedelta(days=2),
                                         "cash_amount": 0.25, "currency": "cad"}])},
         "the dividend of 2025-06-11 is not paid in US dollars"),
        ({"collections": REFERENCE_COLLECTIONS.empty()},
         "dividends of the week were not collected"),
        ({"picks": decided([{"ticker": "A", "bid": None}], "snapshot")}, "nobody bid for the call"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_is_null_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    row = ended(**changes)
    assert row["reason"] == reason
    assert row["pnl_100"] is row["model_return"] is row["hold_return"] is None


def test_a_calendar_collected_from_the_week_s_second_session_on_is_enough() -> None:
    def collected(day: date) -> pl.DataFrame:
        return REFERENCE_COLLECTIONS.conform(
            pl.DataFrame({"dataset": ["corporate_actions"], "subject": ["dividends"]}),
            trade_date=day, source="x", available_at=MORNING, rows_count=0,
        )  # fmt: skip

    assert ended(collections=collected(DAY + timedelta(days=1)))["reason"] is None
    late = ended(collections=collected(DAY + timedelta(days=3)))
    assert late["reason"] == "dividends of the week were not collected"


def test_a_close_that_was_not_known_that_evening_does_not_count() -> None:
    late = closes({"A": 43.0}).with_columns(
        available_at=trading_calendar.day_file_available_at(EXPIRY) + timedelta(minutes=1)
    )
    assert ended(closes=late)["reason"] == "no close of 2025-06-13 is known"


def test_a_week_is_judged_by_its_first_session_on_each_basis_by_itself() -> None:
    monday, tuesday = DAY, DAY + timedelta(days=1)
    rows = pl.concat(
        [
            decided([{"ticker": "A"}], day=tuesday),
            decided([{"ticker": "A"}, {"ticker": "B"}], day=monday),
            decided([{"ticker": "C"}], "snapshot", day=tuesday),
            # Decided the Thursday before with the same expiry: another week's business.
            decided([{"ticker": "D"}], "snapshot", day=monday - timedelta(days=4)),
            decided([{"ticker": "E", "expiry": EXPIRY + timedelta(days=7)}], day=monday),
        ]
    )
    judged = decisions_of_week(rows, EXPIRY)
    assert sorted(judged.select("trade_date", "basis", "ticker").rows()) == [
        (monday, "day_file", "A"), (monday, "day_file", "B"), (tuesday, "snapshot", "C"),
    ]  # fmt: skip


def outcomes(rows: list[dict[str, Any]]) -> pl.DataFrame:
    frame = MODEL_OUTCOMES.conform(
        pl.DataFrame(rows, infer_schema_length=None),
        decided_on=DAY, decision_at=MORNING, symbol="O:X", strike=1.0,
    )  # fmt: skip
    return frame.with_columns(
        basis=pl.col("basis").fill_null("day_file"),
        available_at=pl.col("trade_date")
        .cast(pl.Datetime("us", "UTC"))
        .add(timedelta(days=1, hours=15)),
    )


def weeks(differences: np.ndarray, base: np.ndarray | None = None) -> pl.DataFrame:
    """A week each, of two picks: B is turned down by the gate and returns what makes the
    difference."""
    start = date(2024, 1, 5)
    rows = []
    for n, difference in enumerate(differences):
        common = 0.002 if base is None else float(base[n])
        for model in ("baseline", "gated", "weighted"):
            for ticker, value in (("A", common), ("B", common - 2 * float(difference))):
                weight = 0.0 if (model, ticker) == ("gated", "B") else 1.0
                rows.append(
                    {"trade_date": start + timedelta(weeks=n), "model": model, "ticker": ticker,
                     "weight": weight, "model_return": value, "hold_return": 0.001}
                )  # fmt: skip
    return outcomes(rows)


def test_a_weeks_return_is_the_weighted_mean_of_what_every_model_can_tell() -> None:
    week = date(2024, 1, 5)
    returns = {
        ("baseline", "A"): (1.0, 0.01), ("gated", "A"): (1.0, 0.01), ("weighted", "A"): (1.0, 0.01),
        ("baseline", "B"): (1.0, -0.03), ("gated", "B"): (0.0, -0.03),
        ("weighted", "B"): (0.5, -0.02),
        # The weighted model's strike of C did not trade: C counts under none.
        ("baseline", "C"): (1.0, -0.50), ("gated", "C"): (0.0, -0.50),
        ("weighted", "C"): (0.5, None),
    }  # fmt: skip
    frame = outcomes(
        [
            {"trade_date": week, "model": model, "ticker": ticker, "weight": weight,
             "model_return": value, "hold_return": value, "reason": None if value else "no fill"}
            for (model, ticker), (weight, value) in returns.items()
        ]
    )  # fmt: skip
    found = weekly_returns(frame)
    assert found["model"].to_list() == ["baseline", "gated", "weighted"]
    # (0.01 - 0.03) / 2; 0.01; (0.01 x 1 - 0.02 x 0.5) / 1.5.
    assert found["model_return"].to_list() == pytest.approx([-0.01, 0.01, 0.0])
    assert found["picks_count"].to_list() == [2, 2, 2]
    assert found["accepted_count"].to_list() == [2, 1, 2]
    assert model_scores(frame, week)["untold_count"].to_list() == [1, 1, 1]


def test_a_week_that_accepts_none_is_cash() -> None:
    frame = weeks(np.zeros(1)).with_columns(
        weight=pl.when(pl.col("model") == "gated").then(0.0).otherwise("weight")
    )
    found = weekly_returns(frame)
    assert found.filter(pl.col("model") == "gated")["model_return"].to_list() == [0.0]


def test_a_gate_that_helps_is_said_to_help() -> None:
    rng = np.random.default_rng(1)
    frame = weeks(0.004 + rng.normal(0, 0.004, 52), rng.normal(0, 0.03, 52))
    scores = model_scores(frame, frame["trade_date"].max())
    assert MODEL_SCORES.schema.filter(scores)[1].counts() == {}
    gated = scores.row(by_predicate=pl.col("model") == "gated", named=True)
    assert gated["difference"] == pytest.approx(0.004, abs=0.002)
    assert 0 < gated["low"] < gated["difference"] < gated["high"]
    assert gated["verdict"].startswith("gated helped: +0.")
    assert gated["weeks_count"] == 52
    assert gated["block_weeks"] == 4
    # The market's 3 % a week is in both models and out of their difference.
    assert gated["high"] - gated["low"] < 0.004
    assert gated["hold_verdict"].startswith("no difference can be told")


def test_a_gate_that_hurts_and_one_that_does_nothing_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    hurts = weeks(-0.004 + rng.normal(0, 0.004, 52))
    verdicts = model_scores(hurts, date(2025, 6, 1))
    assert verdicts.filter(pl.col("model") == "gated")["verdict"][0].startswith(
        "gated made it worse: -0."
    )
    idle = model_scores(weeks(rng.normal(0, 0.004, 52)), date(2025, 6, 1))
    said = idle.filter(pl.col("model") == "gated")["verdict"][0]
    assert said.startswith("no difference can be told: ")
    # The weighted model of these weeks is the baseline.
    same = idle.row(by_predicate=pl.col("model") == "weighted", named=True)
    assert (same["difference"], same["low"], same["high"]) == (0, 0, 0)


def test_few_weeks_prove_nothing() -> None:
    frame = weeks(np.full(11, 0.01))
    gated = model_scores(frame, date(2025, 1, 3)).row(
        by_predicate=pl.col("model") == "gated", named=True
    )
    assert gated["difference"] == pytest.approx(0.01)
    assert gated["low"] is gated["high"] is None
    assert gated["verdict"] == "no difference can be told yet: 11 of 12 weeks"


def test_scores_of_a_day_do_not_know_later_weeks() -> None:
    frame = weeks(np.linspace(-0.01, 0.03, 30))
    day = date(2024, 4, 5)
    known = frame.filter(pl.col("trade_date") <= day)
    assert model_scores(frame, day).equals(model_scores(known, day))
    assert model_scores(frame, day)["weeks_count"].to_list() == [14, 14, 14]
    assert model_scores(frame, date(2024, 1, 4)).is_empty()


def test_bases_are_scored_apart() -> None:
    rng = np.random.default_rng(3)
    files = weeks(rng.normal(0, 0.004, 30))
    chains = weeks(rng.normal(0.02, 0.004, 30)).with_columns(basis=pl.lit("snapshot"))
    both = model_scores(pl.concat([files, chains]), date(2025, 6, 1))
    alone = pl.concat([model_scores(files, date(2025, 6, 1)),
                       model_scores(chains, date(2025, 6, 1))])  # fmt: skip
    assert both.equals(alone.sort(MODEL_SCORES.key))


def test_the_report_says_it_in_words() -> None:
    rng = np.random.default_rng(1)
    frame = weeks(0.004 + rng.normal(0, 0.004, 52))
    text = model_scores_text(model_scores(frame, frame["trade_date"].max()))
    assert "Basis day_file, weeks: 52, 2024-01-05 to 2024-12-27. Candidate picks: 104" in text
    assert "- gated against baseline: gated helped: +0." in text
    assert "- weighted against baseline: no difference can be told" in text
    assert "- gated against its shares alone: " in text
    assert "block bootstrap, blocks of 4 weeks" in text
    assert model_scores_text(MODEL_SCORES.empty()) == NO_SCORES
