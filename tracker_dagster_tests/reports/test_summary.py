"""The summary: headings and empty states word for word, buckets, order, one timestamp."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from tracker_dagster.reports.summary import (
    render_summary,
    summary_row,
    without_generation_time,
)
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster.schemas.decisions import PROMOTIONS, SUMMARY
from tracker_dagster.strategy.comparison import compare_models
from tracker_dagster.strategy.picks import cost_bucket
from tracker_dagster.strategy.positions import contract_health
from tracker_dagster.strategy.promotions import promote
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.test_promotions import NO_POSITIONS, picks
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY, SLOT

NOW = datetime(2025, 6, 9, 20, 5, tzinfo=UTC)
HEADINGS = [
    "## 1. Header",
    "## 2. Universe Status",
    "## 3. Weekly Picks (Grouped by Pack Cost Buckets)",
    "## 4. Top 5 Safest",
    "## 5. Top 5 Premium Leaders",
    "## 6. Promoted This Run",
    "## 7. Active Contract Health",
    "## 8. Side-by-Side Decision Changes",
    "## 9. What Changed Since Last Session",
    "## 10. Portfolio Risk",
    "## 11. Calls on Your Holdings",
]
BUCKETS = ["<= 5k", "<= 10k", "<= 25k", "<= 50k", "> 50k"]


def render(**frames: Any) -> str:
    base: dict[str, Any] = {
        "day": DAY, "decision_at": DECISION_AT, "basis": "snapshot", "seed": 9300.0,
        "db_path": "data/tracker.duckdb", "market": "simulated market", "generated_at": NOW,
    }  # fmt: skip
    return render_summary(**{**base, **frames})


def section(markdown: str, number: int) -> str:
    start = markdown.index(f"## {number}. ")
    end = markdown.find(f"\n## {number + 1}. ", start)
    return markdown[start : end if end > 0 else None]


def table(text: str) -> list[dict[str, str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def bucket(markdown: str, label: str) -> str:
    text = section(markdown, 3)
    start = text.index(f"### {label} ")
    end = text.find("\n### ", start + 1)
    return text[start : end if end > 0 else None]


def some_picks(costs: Mapping[str, float], **columns: Any) -> pl.DataFrame:
    rows = [
        {"ticker": ticker, "price": cost / 100, "pack_100_cost": cost, **columns}
        for ticker, cost in costs.items()
    ]
    return picks(rows).with_columns(cost_bucket=cost_bucket(pl.col("pack_100_cost")))


@pytest.mark.feature(28)
def test_nothing_computed_yet() -> None:
    markdown = render(decision_at=None, basis=None)
    assert [line for line in markdown.splitlines() if line.startswith("## ")] == HEADINGS
    assert "No weekly picks computed yet. Run picker." in section(markdown, 3)
    assert [line.split(" (")[0] for line in markdown.splitlines() if line.startswith("### ")] == [
        f"### {label}" for label in BUCKETS
    ]
    assert section(markdown, 3).count("| ticker | category | price | pack_100_cost | lane |") == 5
    assert "No pick in lane SAFE." in section(markdown, 4)
    assert "No promotions decided yet. Run promote." in section(markdown, 6)
    assert "No open positions." in section(markdown, 7)
    assert (
        "Side-by-side compare not generated yet. Run `python -m tracker_dagster.cli compare`."
        in section(markdown, 8)
    )
    assert "Changes not computed yet. Run picker." in section(markdown, 9)
    assert "Portfolio risk not computed yet. Run risk." in section(markdown, 10)
    assert "No holdings are known." in section(markdown, 11)
    assert "not known (universe was not read)" in section(markdown, 2)


def test_the_header_names_time_database_seed_and_basis() -> None:
    header = section(render(), 1)
    assert "- Generated (UTC): 2025-06-09 20:05:00" in header
    assert "`data/tracker.duckdb`" in header
    assert "9,300.00 USD" in header
    assert "2025-06-09 19:50:00 UTC" in header
    assert "snapshot" in header


def test_two_renderings_differ_in_one_line() -> None:
    chosen = some_picks({"A": 4000.0})
    one = render(picks=chosen).splitlines()
    two = render(picks=chosen, generated_at=NOW.replace(hour=21)).splitlines()
    assert sum(a != b for a, b in zip(one, two, strict=True)) == 1
    assert without_generation_time("\n".join(one)) == without_generation_time("\n".join(two))


def test_universe_status_counts_prices_and_bars() -> None:
    names = ["A", "B", "C", "D"]
    prices = worlds.last_prices({"A": 1.0, "B": 2.0}).with_columns(
        price=pl.when(pl.col("ticker") == "B").then(None).otherwise("price"),
        status=pl.when(pl.col("ticker") == "B").then(pl.lit("HTTP_404")).otherwise("status"),
    )
    structure = pl.concat(
        [
            worlds.structure(["A"]),
            worlds.structure(["B"], bars=389),
            worlds.structure(["C"], bars=119),
        ]
    )
    gaps = COLLECTION_GAPS.conform(
        pl.DataFrame({"subject": ["*"]}), trade_date=DAY, slot=SLOT, dataset="option_chain",
        source="massive_snapshot", reason="429 for ten minutes",
    )  # fmt: skip
    status = section(
        render(
            universe=worlds.universe(dict.fromkeys(names, "GROWTH")),
            prices=prices,
            structure=structure,
            gaps=gaps,
            notes=["The minute file is late."],
        ),
        2,
    )
    assert "- Tickers in universe (enabled): 4" in status
    assert "- Tickers missing price in market_last: 3" in status
    assert "  - HTTP_404: B" in status
    assert "  - not captured: C, D" in status
    assert "- Tickers with at least 120 one-minute bars: 2" in status
    assert "- Tickers with at least 390 one-minute bars: 1" in status
    assert "- Gap in option_chain: 429 for ten minutes (1)" in status
    assert "- The minute file is late." in status


@pytest.mark.parametrize(
    ("cost", "label"),
    [(5000.0, "<= 5k"), (5000.01, "<= 10k"), (10000.0, "<= 10k"), (25000.0, "<= 25k"),
     (25000.01, "<= 50k"), (50000.0, "<= 50k"), (50000.01, "> 50k")],
)  # fmt: skip
def test_a_pick_lies_in_one_bucket(cost: float, label: str) -> None:
    markdown = render(picks=some_picks({"A": cost}))
    for name in BUCKETS:
        assert len(table(bucket(markdown, name))) == (name == label)


@pytest.mark.feature(28)
def test_buckets_count_all_and_show_the_ten_best_in_order() -> None:
    chosen = some_picks({f"T{n:02}": 4000.0 for n in range(14)}).sample(
        fraction=1, shuffle=True, seed=2
    )
    text = bucket(render(picks=chosen), "<= 5k")
    assert "(14 picks, best 10 shown)" in text
    rows = table(text)
    assert [row["ticker"] for row in rows] == [f"T{n:02}" for n in range(10)]
    assert list(rows[0]) == [
        "ticker", "category", "price", "pack_100_cost", "lane", "expiry", "strike",
        "est_weekly_prem_100", "premium_yield", "bars_1m_count", "fft_status", "fractal_status",
        "rank_score",
    ]  # fmt: skip
    assert rows[0]["price"] == "40.00"
    assert rows[0]["premium_yield"] == "0.75 %"


def test_missing_numbers_are_dashes_and_missing_picks_have_reasons() -> None:
    chosen = some_picks({"A": 4000.0}, bars_1m_count=None, fft_status=None)
    lost = picks([{"ticker": "B", "status": "missing", "stage": "price", "reason": "no | price",
                   "rank": None, "rank_score": None}])  # fmt: skip
    markdown = render(picks=pl.concat([chosen, lost]))
    (row,) = table(bucket(markdown, "<= 5k"))
    assert row["bars_1m_count"] == "–"
    assert row["fft_status"] == "–"
    without = table(section(markdown, 3)[section(markdown, 3).index("### Without a pick (1)") :])
    assert without == [
        {"ticker": "B", "category": "GROWTH", "lane": "SAFE_HIGH", "stage": "price",
         "reason": "no \\| price"}
    ]  # fmt: skip
    assert "No ticker has a pick" in section(render(picks=lost), 3)


def test_gates_that_could_not_be_evaluated_are_named_with_their_count() -> None:
    chosen = some_picks({"A": 4000.0, "B": 4000.0}).with_columns(
        gates_not_evaluated=pl.lit('{"spread": "day files hold no quotes"}')
    )
    status = section(render(picks=chosen, basis="day_file"), 2)
    assert "  - spread: 2, day files hold no quotes" in status
    assert "closes of the session before" in status


def test_safest_and_premium_leaders_take_five_in_order() -> None:
    rows = [
        {"ticker": f"T{n}", "lane": "SAFE" if n % 2 else "AGGRESSIVE", "premium_yield": 0.001 * n}
        for n in range(1, 13)
    ]
    chosen = picks(rows).with_columns(cost_bucket=pl.lit("<= 5k"))
    markdown = render(picks=chosen)
    assert [row["ticker"] for row in table(section(markdown, 4))] == ["T1", "T3", "T5", "T7", "T9"]
    assert [row["ticker"] for row in table(section(markdown, 5))] == [
        "T12", "T11", "T10", "T9", "T8",
    ]  # fmt: skip


@pytest.mark.feature(28)
def test_promotions_health_and_comparison_are_shown() -> None:
    chosen = some_picks({"A": 6000.0, "B": 9000.0}, fft_status="unstable", price=40.0)
    chosen = pl.concat([chosen, some_picks({"C": 4000.0}, rank=3, lane="SAFE", category="C")])
    promotions = promote(chosen, NO_POSITIONS, 9300, "SAFE_HIGH", 3)
    held = worlds.positions([{"symbol": "O:AAA250613C00051000", "ticker": "AAA", "expiry": EXPIRY,
                              "strike": 51.0, "open_price": 1.5, "stock_basis": 49.0}])  # fmt: skip
    health = contract_health(
        held, worlds.last_prices({"AAA": 50.0}), worlds.chain({"AAA": 50.0}, {"AAA": 0.3}),
        worlds.daily({"AAA": 50.0}, {"AAA": 0.3}, sessions=3), None,
        worlds.structure(["AAA"], unstable=["AAA"]), DAY, DECISION_AT,
    )  # fmt: skip
    markdown = render(
        picks=chosen,
        promotions=promotions,
        health=health,
        compares=compare_models(chosen, PICK_CANDIDATES.empty(), NO_POSITIONS, 9300.0),
        open_positions=1,
    )
    promoted = table(section(markdown, 6))
    assert list(promoted[0]) == [
        "ts", "ticker", "expiry", "strike", "lane", "seed", "decision", "reason",
    ]  # fmt: skip
    assert {row["ticker"]: row["reason"] for row in promoted} == {
        "A": "unstable_fft", "B": "unstable_fft",
    }  # fmt: skip
    assert "0 promoted, 3 skipped (other_lane 1, unstable_fft 2)" in section(markdown, 6)
    (row,) = table(section(markdown, 7))
    assert row["qty"] == "-1"
    assert row["right"] == "C"
    assert row["fft_status"] == "unstable"
    assert row["alerts"] == "near_strike"
    assert row["recommendation"] == "CLOSE_EARLY"
    changes = {row["ticker"]: row for row in table(section(markdown, 8))}
    assert changes["A"]["baseline"] == "promote @ 42 (passed_gates)"
    assert changes["A"]["gated"] == "skip @ 42 (unstable_fft)"
    assert changes["C"]["gated"] == "promote @ 42 (passed_gates)"


def test_a_skipped_pick_is_shown_with_every_gate_that_it_failed() -> None:
    # 100 shares for 6,000 and 9,000 dollars, both above the cash, and both unstable.
    chosen = some_picks(
        {"A": 6000.0, "B": 9000.0}, price=40.0, fft_status="unstable", fractal_status="unstable"
    )
    promotions = promote(chosen, NO_POSITIONS, 5000, "SAFE_HIGH", 3)
    shown = section(render(picks=chosen, promotions=promotions), 6)
    assert {row["ticker"]: row["reason"] for row in table(shown)} == dict.fromkeys(
        "AB", "over_seed, unstable_fft, unstable_fractal"
    )
    # They are counted by the first, and rows from before all were stored show that alone.
    assert "2 skipped (over_seed 2)" in shown
    old = promotions.with_columns(reasons=pl.lit(None, dtype=pl.String))
    rows = table(section(render(picks=chosen, promotions=old), 6))
    assert {row["reason"] for row in rows} == {"over_seed"}


def test_open_positions_that_nobody_checked_are_not_called_none() -> None:
    assert "not checked yet. Run monitor." in section(render(open_positions=2), 7)


def test_the_stored_row_has_no_generation_time() -> None:
    chosen = some_picks({"A": 4000.0})
    rows = [
        summary_row(
            render(picks=chosen, generated_at=moment), day=DAY, decision_at=DECISION_AT,
            basis="snapshot", seed=9300.0, lane_filter="SAFE_HIGH", picks=chosen,
            promotions=PROMOTIONS.empty(),
        )
        for moment in (NOW, NOW.replace(hour=23))
    ]  # fmt: skip
    assert rows[0].equals(rows[1])
    assert SUMMARY.schema.filter(rows[0])[1].counts() == {}
    assert rows[0]["picks_count"].item() == 1


def test_a_seed_that_the_promotions_were_not_decided_with_is_named_beside_theirs() -> None:
    decided = promote(some_picks({"A": 5_000.0}), NO_POSITIONS, 9_300.0, "ALL", 3)
    assert "\n- Seed: 9,300.00 USD\n" in render(promotions=decided)
    other = render(promotions=decided, seed=20_000.0)
    assert "\n- Seed asked: 20,000.00 USD; decided with 9,300.00 USD\n" in other
    # Nothing decided, nothing to tell apart.
    assert "\n- Seed: 20,000.00 USD\n" in render(seed=20_000.0)
