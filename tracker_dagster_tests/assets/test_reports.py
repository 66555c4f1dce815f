"""Reports of real runs: every document there, an outcome once a position, changes since before."""

import json
from datetime import UTC, date, datetime

import pytest

from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.reports.summary import SECTIONS
from tracker_dagster_tests.assets.place import PAST, TODAY

CALL = "O:AAPL260529C00990000"
OPENED = datetime(2026, 5, 26, 19, 50, tzinfo=UTC)
REPORTS = ("outcomes", "friday_scorecard", "monday_report", "summary")


def document(place, name, day=None):
    folder = place.settings.data_dir / "reports"
    return (folder / str(day) / name if day else folder / name).read_text()


@pytest.mark.feature(28)
@pytest.mark.feature(30)
def test_a_daily_writes_every_report(settled):
    for name in ("summary.md", "summary.html", "monday.md", "scorecard.md"):
        assert document(settled, name) == document(settled, name, TODAY)
        assert "Generated (UTC): 2026-06-03 19:50:00" in document(settled, name)
    headings = [f"## {number}. {title}" for number, title in enumerate(SECTIONS, start=1)]
    text = document(settled, "summary.md")
    assert [line for line in text.splitlines() if line.startswith("## ")] == headings
    assert "No position has ended yet" in document(settled, "scorecard.md")
    assert "# Week of 2026-06-01, as of 2026-06-03" in document(settled, "monday.md")
    page = document(settled, "summary.html")
    assert page.count("<svg ") >= 3
    stored = settled.rows("monday_report", TODAY).to_dicts()
    assert [row["promoted_count"] for row in stored] == [
        settled.rows("promotions", TODAY)["decision"].to_list().count("promote")
    ]
    assert "Generated" not in stored[0]["markdown"]


@pytest.mark.feature(31)
def test_a_position_has_one_outcome_however_often_it_is_run(settled):
    opened = open_position(
        settled.warehouse, symbol=CALL, quantity=-1, price=2.0, stock_basis=200.0,
        day=date(2026, 5, 26), decision_at=OPENED, now=OPENED, actor="me", fees=0.65,
    )  # fmt: skip
    for _ in range(2):
        assert settled.run(["positions", *REPORTS], TODAY).success
    assert settled.run(["outcomes"], PAST[0], TODAY).success
    (row,) = settled.rows("outcomes").to_dicts()
    assert row["position_id"] == opened.event_id
    assert (row["trade_date"], row["ended_on"]) == (TODAY, date(2026, 5, 29))
    (close,) = settled.warehouse.query(
        "SELECT close FROM stock_day_aggs WHERE ticker = 'AAPL' AND trade_date = '2026-05-29'"
    )["close"]
    # Sold at the close, as the paper book does; the call brought 200 less its fee.
    assert row["exit_price"] == pytest.approx(close)
    assert row["position_result"] == pytest.approx(100 * (close - 200.0) + 199.35)
    assert row["position_result"] == pytest.approx(row["realised_pnl"] + row["dividends"])
    assert json.loads(row["reasons"])["prediction_error"] == "it was not opened on a pick"
    cards = {r["period"]: r for r in settled.rows("friday_scorecard", TODAY).to_dicts()}
    assert {period: card["ended"] for period, card in cards.items()} == {
        "this_week": 0, "last_week": 1, "all": 1,
    }  # fmt: skip
    scorecard = document(settled, "scorecard.md")
    assert "| paper | 2026-05-29 | AAPL | 990 C 2026-05-29 | EXPIRED | -1 |" in scorecard
    assert "1 of 1" in document(settled, "monday.md") or "0 of 1" in document(settled, "monday.md")
    assert "Book paper: ended positions, added up" in document(settled, "summary.html")


@pytest.mark.slow
def test_changes_since_the_session_before_are_told(settled):
    assert settled.rows("pick_changes", TODAY).is_empty()
    assert "Nothing was decided on basis snapshot since 2026-05-19" in document(
        settled, "summary.md"
    )
    again = ["suitability", "pick_candidates", "weekly_picks", "promotions", "pick_changes"]
    assert settled.run(again, PAST[-1], TODAY).success
    changes = settled.rows("pick_changes", TODAY)
    # Yesterday has day files alone: the snapshot is compared with nothing.
    assert set(changes["basis"]) <= {"day_file"}
    picks = {day: settled.rows("weekly_picks", day) for day in (PAST[-1], TODAY)}
    by_hand = {}
    for day, rows in picks.items():
        mine = rows.filter(basis="day_file", status="picked")
        by_hand[day] = dict(mine.select("ticker", "strike").iter_rows())
    both = by_hand[PAST[-1]].keys() & by_hand[TODAY].keys()
    moved = {t for t in both if by_hand[PAST[-1]][t] != by_hand[TODAY][t]}
    assert set(changes.filter(change="strike")["ticker"]) == moved
    new = by_hand[TODAY].keys() - by_hand[PAST[-1]].keys()
    assert set(changes.filter(change="new")["ticker"]) == new
