"""What commands show of a decision: every reason, and what could not be told."""

import json

import polars as pl
import pytest
from rich.console import Console

from tracker_dagster.operations import results
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.warehouse import Warehouse
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT


def gate(name, outcome, note=""):
    return {"gate": name, "outcome": outcome, "value": None, "limit": None, "note": note}


def shown(parts):
    console = Console(width=200, record=True, file=None, quiet=True)
    with console.capture() as captured:
        quiet, console.quiet = console.quiet, False
        for part in parts:
            console.print(part)
        console.quiet = quiet
    return " ".join(captured.get().split())


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "x.duckdb")


def decided(store, rows):
    frame = PROMOTIONS.conform(
        pl.DataFrame(rows, infer_schema_length=None),
        trade_date=DAY,
        basis="snapshot",
        decision_at=DECISION_AT,
        available_at=DECISION_AT,
        seed=9300.0,
        lane_filter="SAFE_HIGH",
        top_n=1,
    )
    unit = {"trade_date": DAY, "basis": "snapshot", "decision_at": DECISION_AT}
    assert not store.replace(PROMOTIONS, frame, unit).rows_quarantined


def pick(rank, ticker, decision, reason, *gates):
    return {
        "rank": rank,
        "ticker": ticker,
        "lane": "SAFE_HIGH",
        "decision": decision,
        "reason": reason,
        "gates": json.dumps(gates),
    }


@pytest.mark.feature(24)
def test_every_reason_of_every_pick_is_printed_and_what_could_not_be_evaluated(store):
    unknown = gate("spread", "not_evaluated", "no quotes")
    decided(
        store,
        [
            pick(1, "AAPL", "promote", "passed_gates", gate("cash", "pass"), unknown),
            pick(
                2, "SOFI", "skip", "over_seed",
                gate("cash", "fail", "over_seed"), gate("yield", "fail", "low_yield"), unknown,
                gate("history", "not_evaluated"),
            ),
            pick(3, "UBER", "skip", "top_n_reached", gate("top_n", "fail", "top_n_reached")),
        ],
    )  # fmt: skip
    text = shown(results.promotions(store, DAY))
    assert "Promoted 2025-06-09 (seed 9,300, lane SAFE_HIGH, top 1)" in text
    assert "passed_gates │ spread: no quotes │" in text
    assert (
        "│ 2 │ SOFI │ SAFE_HIGH │ skip │ over_seed, low_yield │ spread: no quotes; history │"
        in (text)
    )
    assert "│ 3 │ UBER │ SAFE_HIGH │ skip │ top_n_reached │ – │" in text
    cut = shown(results.promotions(store, DAY, most=1))
    assert "UBER" not in cut
    assert "… and 1 more (top_n_reached 1)." in cut


def test_a_request_that_was_wrong_is_told_in_its_own_words(store):
    decided(store, [pick(None, "*", "error", "seed must be above zero, not -5.0")])
    text = shown(results.promotions(store, DAY))
    assert "Nothing was promoted on 2025-06-09" in text
    assert "error │ seed must be above zero, not -5.0 │" in text
    assert shown(results.promotions(store, DAY.replace(day=10))) == (
        "No promotions were decided on 2025-06-10."
    )
