"""Sections beyond the first eight, the Monday report and the scorecard: what is in which cell."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from tracker_dagster.reports.book_sections import health, holding_calls, portfolio_risk
from tracker_dagster.reports.change_section import changes
from tracker_dagster.reports.monday import monday_row, render_monday
from tracker_dagster.reports.pick_sections import buckets
from tracker_dagster.reports.scorecard import render_scorecard
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.changes import PICK_CHANGES
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.schemas.holdings import HOLDING_CALLS
from tracker_dagster.schemas.outcomes import FRIDAY_SCORECARD, MONDAY_REPORT
from tracker_dagster.schemas.portfolio_risk import PORTFOLIO_RISK, PORTFOLIO_STRESS, SCENARIOS
from tracker_dagster.schemas.suitability import PREMIUM_ESTIMATE_SCORES, SUITABILITY
from tracker_dagster.strategy.promotions import promote
from tracker_dagster.strategy.scorecard import scorecard
from tracker_dagster_tests.reports.test_summary import some_picks, table
from tracker_dagster_tests.strategy import test_scorecard
from tracker_dagster_tests.strategy.test_promotions import NO_POSITIONS, picks
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY, SLOT

NOW = datetime(2025, 6, 18, 20, 0, tzinfo=UTC)


def part(markdown: str, heading: str) -> str:
    """The text under a heading, up to the next of its level."""
    start = markdown.index(f"{heading}")
    level = heading.split(" ")[0]
    end = markdown.find(f"\n{level} ", start + 1)
    return markdown[start : end if end > 0 else None]


@pytest.mark.feature(22)
def test_what_each_pick_pays_and_risks() -> None:
    rows = [
        {"ticker": "A", "pack_100_cost": 4000.0, "dte": 4, "annualised_yield": 0.684,
         "static_return": 0.0075, "if_called_return": 0.0575, "break_even": 39.7,
         "downside_protection": 0.0075, "assignment_probability": 0.237,
         "expected_value_100": -3.456, "strike_quality": 0.61, "iv_rank": 0.4,
         "earnings_in_period": True, "earnings_note": "2025-06-12 amc", "fft_status": "unstable"},
        {"ticker": "B", "pack_100_cost": 5000.0},
    ]  # fmt: skip
    text = buckets(picks(rows).with_columns(cost_bucket=pl.lit("<= 5k")), 10)
    first, second = table(part(text, "### What each pick pays and risks (2 picks)"))
    assert first == {
        "ticker": "A", "lane": "SAFE_HIGH", "dte": "4", "annualised_yield": "68.40 %",
        "static_return": "0.75 %", "if_called_return": "5.75 %", "break_even": "39.70",
        "downside_protection": "0.75 %", "assignment_probability": "24 %",
        "expected_value_100": "-3.46", "strike_quality": "0.610", "iv_rank": "40 %",
        "flags": "earnings 2025-06-12 amc; unstable fft",
    }  # fmt: skip
    assert second["expected_value_100"] == second["flags"] == "–"
    assert "Earnings before the expiry: A 2025-06-12 amc." in text


def some_changes(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return PICK_CHANGES.conform(
        pl.DataFrame(rows, infer_schema_length=None), trade_date=DAY, basis="snapshot",
        decision_at=DECISION_AT, available_at=DECISION_AT, since=date(2025, 6, 6),
        since_decision_at=DECISION_AT, detail="{}",
    )  # fmt: skip


def test_changes_are_told_by_kind_the_largest_first() -> None:
    rows = [
        {"ticker": f"T{n:02}", "change": "rank", "before": "9", "after": "1", "moved_by": "calm",
         "why": "own score", "size": float(n if n % 2 else -n)}
        for n in range(1, 14)
    ]  # fmt: skip
    rows += [
        {"ticker": ticker, "change": "expiry_rolled", "before": "2025-06-13",
         "after": "2025-06-20", "moved_by": "calendar", "why": "few"}
        for ticker in ("T05", "T01")
    ]  # fmt: skip
    text = changes(some_changes(rows))
    assert text.startswith("Since 2025-06-06: 13 tickers with a change. Moved by: calm 13.")
    ranks = table(part(text, "### Ranks (13)"))
    assert [row["ticker"] for row in ranks] == [f"T{n:02}" for n in range(13, 3, -1)]
    assert "2025-06-13 → 2025-06-20: T01, T05." in part(text, "### Expiries that rolled (2)")
    assert text.index("### Expiries") < text.index("### Ranks")
    assert "The 10 that moved most, of 13." in text
    anew = [{"ticker": t, "change": "strike", "before": "10", "after": "11", "moved_by": by,
             "why": "", "size": 1.0} for t, by in (("A", "expiry"), ("B", "price"))]  # fmt: skip
    strikes = part(changes(some_changes(anew)), "### Strikes (2)")
    assert "Chosen anew with the expiry: A 10 → 11." in strikes
    assert [row["ticker"] for row in table(strikes)] == ["B"]
    assert changes(PICK_CHANGES.empty()) == "Nothing changed."
    assert changes(None, "Monday was not decided.") == "Monday was not decided."


@pytest.mark.feature(26)
def test_health_shows_the_roll_and_every_alarm() -> None:
    row = {
        "position_id": "p", "account": "paper", "symbol": "O:AAA250613C00051000", "ticker": "AAA",
        "expiry": EXPIRY, "right": "C", "strike": 51.0, "quantity": -2, "shares": 100.0,
        "stock_price": 50.0, "bid": 0.9, "ask": 1.1, "mid": 1.0, "dte": 4, "near_strike": True,
        "early_assignment": True, "recommendation": "ROLL_UP_AND_OUT", "anomalies": "[]",
        "reasons": json.dumps(["near the strike", "a credit is paid"]), "total_pnl": -25.5,
        "roll_symbol": "O:AAA250620C00052000", "roll_strike": 52.0,
        "roll_expiry": date(2025, 6, 20), "roll_credit": 31.0, "inputs": "{}",
        "fft_status": "unstable",
    }  # fmt: skip
    frame = CONTRACT_HEALTH.conform(
        pl.DataFrame([row]), trade_date=DAY, slot=SLOT, available_at=SLOT
    )
    (cells,) = table(health(frame, 1))
    assert cells["roll"] == "52 of 2025-06-20 for +31.00"
    assert cells["alerts"] == "near_strike, early_assignment"
    assert cells["why"] == "near the strike; a credit is paid"
    assert (cells["fft_status"], cells["total_pnl"], cells["qty"]) == ("unstable", "-25.50", "-2")


def test_risk_by_account_with_what_is_left_out_and_every_shock() -> None:
    base = {"positions_count": 2, "tickers_count": 2, "valued_count": 1, "inputs": "{}",
            "capital": 5000.0, "net_delta_usd": 2370.4, "theta_day": 5.4,
            "beta_reason": "no beta of SOFI", "uncovered_call_shares": 100.0}  # fmt: skip
    risk = PORTFOLIO_RISK.conform(
        pl.DataFrame(
            [{**base, "account": "paper", "left_out": json.dumps({"XYZ": "no quote"})},
             {**base, "account": "ALL real", "left_out": "{}", "beta_reason": None,
              "uncovered_call_shares": 0.0}]
        ),
        trade_date=DAY, slot=SLOT, available_at=SLOT,
    )  # fmt: skip
    stress = PORTFOLIO_STRESS.conform(
        pl.DataFrame(
            [{"account": "paper", "scenario": "down_10", "move": "plain", "ticker": ticker,
              "pnl": pnl, "pnl_share": pnl / 5000}
             for ticker, pnl in (("*", -278.0), ("AAA", -200.0))]
            + [{"account": "paper", "scenario": scenario, "move": "beta", "ticker": "*",
                "reason": "SOFI: no beta"} for scenario in ("down_5", "down_10")],
            infer_schema_length=None,
        ),
        trade_date=DAY, slot=SLOT, available_at=SLOT,
    )  # fmt: skip
    text = portfolio_risk(risk, stress, 2)
    assert [row["account"] for row in table(text.split("### Shocks")[0])] == ["ALL real", "paper"]
    assert "- paper: no sums of Greeks, as these cannot be valued: XYZ (no quote)" in text
    assert "- paper: no beta of SOFI" in text
    assert "- paper: 100 shares are owed by sold calls that none are held against" in text
    assert "ALL real: 0" not in text
    shocks = {row["shock"]: row for row in table(part(text, "### Shocks"))}
    assert list(shocks) == list(SCENARIOS.values())
    assert shocks["−10 %"]["paper, plain"] == "-278.00 (-5.56 %)"
    assert shocks["−10 %"]["paper, beta"] == "–"
    told = "- paper: no sum of 2 shocks (beta), as one part of it is not known: SOFI: no beta"
    assert told in part(text, "### Shocks")
    assert portfolio_risk(risk.clear(), stress.clear(), 0).startswith("Nothing is held")
    assert portfolio_risk(risk.clear(), stress.clear(), 1).endswith("Run risk.")


def test_calls_on_holdings_or_why_none() -> None:
    rows = [
        {"account": "ira", "ticker": "AAA", "free": 250.0, "average_basis": 41.0, "price": 40.0,
         "contracts": 2, "symbol": "O:AAA250613C00042000", "expiry": EXPIRY, "strike": 42.0,
         "premium": 0.30, "premium_total": 60.0, "yield_on_price": 0.0075,
         "at_basis_or_above": True},
        {"account": "ira", "ticker": "BBB", "free": 100.0, "reason": "no strike at 90 or above",
         "at_basis_or_above": True},
    ]  # fmt: skip
    frame = HOLDING_CALLS.conform(
        pl.DataFrame(rows, infer_schema_length=None), trade_date=DAY, available_at=DECISION_AT
    )
    first, second = table(holding_calls(frame))
    assert (first["contracts"], first["strike"], first["premium_total"]) == ("2", "42", "60.00")
    assert second["reason"] == "no strike at 90 or above"
    assert holding_calls(None).startswith("No holdings are known.")


def monday(**changed: Any) -> str:
    base: dict[str, Any] = {
        "day": DAY, "decision_at": DECISION_AT, "basis": "snapshot", "market": "simulated market",
        "generated_at": NOW, "universe": None, "prices": None, "structure": None,
        "picks": picks([{"ticker": "Z"}]).clear(), "promotions": PROMOTIONS.empty(),
        "suitability": None, "health": CONTRACT_HEALTH.empty(), "gaps": None,
        "cards": FRIDAY_SCORECARD.empty(), "open_positions": 0,
    }  # fmt: skip
    return render_monday(**{**base, **changed})


@pytest.mark.feature(30)
def test_the_monday_report_is_a_plan() -> None:
    chosen = some_picks({"A": 4000.0, "B": 9000.0, "C": 4100.0}, history_status="weekly_stable",
                        break_even=39.5)  # fmt: skip
    lost = picks([{"ticker": "D", "status": "missing", "stage": "chain", "reason": "no_calls",
                   "rank": None, "rank_score": None}])  # fmt: skip
    every = pl.concat([chosen, lost])
    suited = SUITABILITY.conform(
        pl.DataFrame(
            [{"ticker": t, "suitability": s, "enabled": t != "X", "lane": "SAFE", "category": "C"}
             for t, s in (("A", 0.5), ("D", 0.7), ("X", 0.9))]
        ),
        trade_date=DAY, available_at=DECISION_AT,
    )  # fmt: skip
    promotions = promote(every, NO_POSITIONS, 9300, "SAFE_HIGH", 3)
    cards = scorecard(
        test_scorecard.outcomes(
            [{"position_result": 10.0, "buy_hold_pnl": 5.0},
             {"position_result": -4.0, "buy_hold_pnl": 5.0}]
        ),
        test_scorecard.DAY,
    )  # fmt: skip
    text = monday(picks=every, promotions=promotions, suitability=suited, cards=cards)
    assert text.startswith("# Week of 2025-06-09, as of 2025-06-09")
    plan = part(text, "## 2. Plan of the week")
    # A and C cost 4,000 and 4,100 of 9,300; B did not fit in between.
    assert "2 calls to sell, one contract each: 8,100.00 USD of shares, 60.00 USD" in plan
    assert "1,200.00 USD of 9,300.00 USD are left." in plan
    assert "Skipped: over_seed 1." in plan
    assert [row["ticker"] for row in table(plan)] == ["A", "C"]
    ready = {row["ticker"]: row["readiness"] for row in table(part(text, "## 5. Best suited"))}
    assert ready == {"D": "no pick: chain", "A": "weekly_stable; ready"}
    costs = {row["bucket"]: row for row in table(part(text, "## 6. Picks by cost"))}
    assert (costs["<= 5k"]["picks"], costs["<= 5k"]["best"]) == ("2", "A, C")
    assert table(part(text, "## 7. Without")) == [{"stage": "chain", "tickers": "1", "who": "D"}]
    assert "- paper: 1 of 2 positions gained (9 % to 91 %), +6.00 USD; the shares alone " in text
    row = monday_row(text, day=DAY, decision_at=DECISION_AT, basis="snapshot", picks=every,
                     promotions=promotions, open_positions=0)  # fmt: skip
    assert MONDAY_REPORT.schema.filter(row)[1].counts() == {}
    assert (row["picks_count"].item(), row["promoted_count"].item()) == (3, 2)


@pytest.mark.feature(30)
def test_a_monday_without_anything_still_has_its_report() -> None:
    text = monday(decision_at=None, basis=None)
    for words in ("No weekly picks computed yet. Run picker.", "Suitability not computed yet.",
                  "No open positions.", "No position has ended yet."):  # fmt: skip
        assert words in text


@pytest.mark.feature(31)
def test_the_scorecard_keeps_books_apart_and_scores_estimates() -> None:
    outcomes = test_scorecard.outcomes(
        [
            {"position_result": 159.35, "buy_hold_pnl": 100.0, "prediction_error": 10.0,
             "max_favourable": 0.05, "max_adverse": -0.04, "rank": 1,
             "predicted_result": -5.28434},
            {"position_result": -440.65, "buy_hold_pnl": -500.0},
            {"position_result": 20.0, "buy_hold_pnl": 50.0, "account": "ira"},
        ]
    )  # fmt: skip
    estimates = PREMIUM_ESTIMATE_SCORES.conform(
        pl.DataFrame(
            {"ticker": ["A", "B", "C"], "error_100": [4.0, -8.0, None],
             "error_pct": [0.1, -0.2, None]}
        ),
        trade_date=date(2025, 6, 17),
    )  # fmt: skip
    text = render_scorecard(
        day=test_scorecard.DAY, market="simulated market", generated_at=NOW,
        cards=scorecard(outcomes, test_scorecard.DAY), outcomes=outcomes, estimates=estimates,
        measured="Nothing measured.",
    )  # fmt: skip
    assert text.index("## Book: ira") < text.index("## Book: paper")
    paper = {row["measure"]: row for row in table(part(text, "## Book: paper").split("Results")[0])}
    # One of two, Wilson's 9 % to 91 %.
    assert paper["hit rate"]["week before"] == "50 % (9 % to 91 %), 1 of 2"
    assert paper["result, USD"]["all so far"] == "-281.30"
    assert paper["difference, USD"]["all so far"] == "+118.70"
    assert paper["hit rate"]["week to date"] == "–"
    assert paper["prediction error, mean USD"]["week before"] == "+10.00 (n = 1)"
    first = table(part(text, "## Positions that ended"))[1]
    assert (first["path"], first["rank"]) == ("-4.0 to +5.0 %", "1")
    assert first["predicted_result"] == "-5.28"
    (week, _) = table(part(text, "## Estimated premiums"))
    assert week == {
        "week": "week to date", "estimates": "3", "traded": "2", "mean error": "-2.00",
        "median size": "6.00", "median error": "-5.00 %",
    }  # fmt: skip
    assert "Nothing measured." in text
