"""The functions for notebooks and scripts say what the assets say, without a run or a network."""

import json
import socket
import subprocess
import sys
from datetime import UTC, date, datetime

import polars as pl
import pytest

import tracker_dagster
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.reports.pick_sections import NO_PICKS
from tracker_dagster.reports.summary import SECTIONS, without_generation_time
from tracker_dagster.schemas.decisions import MODEL_COMPARES, PROMOTIONS
from tracker_dagster.warehouse import Warehouse
from tracker_dagster_tests.assets.place import PAST, TODAY

SEED = 9300.0


@pytest.fixture
def offline(monkeypatch):
    """Whoever opens a connection fails."""

    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.feature(28)
def test_write_summary_gives_the_report_that_the_asset_wrote(settled, offline):
    reports = settled.settings.reports_dir
    before, rows = (reports / "summary.md").read_text(), settled.content()
    runs = settled.instance.get_runs_count()
    text = tracker_dagster.write_summary(settled.settings.database)
    assert without_generation_time(text) == without_generation_time(before)
    assert (reports / "summary.md").read_text() == text
    assert (reports / str(TODAY) / "summary.md").read_text() == text
    assert settled.content() == rows
    assert settled.instance.get_runs_count() == runs
    other = tracker_dagster.write_summary(str(settled.settings.database), seed=12_345.0)
    assert "- Seed asked: 12,345.00 USD; decided with 9,300.00 USD" in other
    # What is stored of the day stays as it was decided, with the seed it was decided with.
    assert settled.content() == rows


@pytest.mark.feature(25)
def test_run_compare_gives_what_the_asset_wrote_and_decides_anew_for_another_seed(settled, offline):
    path = settled.settings.reports_dir / "model_compare.json"
    before, rows = json.loads(path.read_text()), settled.content()
    found = tracker_dagster.run_compare(settled.settings.database)
    assert found == before == json.loads(path.read_text())
    assert settled.content() == rows
    assert "promote" in found["decisions"]["baseline"].values()
    poor = tracker_dagster.run_compare(settled.settings.database, seed=1.0, top_n=3)
    assert (poor["seed"], poor["top_n"]) == (1.0, 3)
    assert set(poor["decisions"]["baseline"].values()) == {"skip"}
    own = {"seed": before["seed"], "top_n": before["top_n"]}
    assert before["decided_with"] == poor["decided_with"] == own
    assert json.loads(path.read_text()) == poor
    assert settled.content() == rows
    # Half of the request is not the request.
    tracker_dagster.run_compare(settled.settings.database, top_n=3)
    assert settled.content() == rows


def test_a_day_decided_with_other_cash_keeps_it_whatever_the_functions_ask_by_default(settled):
    for table in (PROMOTIONS, MODEL_COMPARES):
        rows = settled.rows(table.name, TODAY)
        unit = {name: rows[name][0] for name in table.replace_by}
        settled.warehouse.replace(table, rows.with_columns(seed=pl.lit(20_000.0)), unit)
    tracker_dagster.write_summary(settled.settings.database, seed=20_000.0)
    rows = settled.content()
    text = tracker_dagster.write_summary(settled.settings.database)
    assert "- Seed asked: 9,300.00 USD; decided with 20,000.00 USD" in text
    found = tracker_dagster.run_compare(settled.settings.database)
    assert (found["seed"], found["decided_with"]["seed"]) == (9300.0, 20_000.0)
    assert settled.content() == rows
    for table in ("promotions", "model_compares", "summary"):
        assert set(settled.rows(table, TODAY)["seed"]) == {20_000.0}


def test_a_comparison_of_a_day_that_was_not_compared_is_stored(settled):
    decided_at = settled.rows("model_compares", TODAY)["decision_at"][0]
    basis = settled.rows("model_compares", TODAY)["basis"][0]
    unit = {"trade_date": TODAY, "basis": basis, "decision_at": decided_at}
    before = settled.content()
    settled.warehouse.replace(MODEL_COMPARES, MODEL_COMPARES.empty(), unit, allow_empty=True)
    # The day was promoted with 9,300.
    tracker_dagster.run_compare(settled.settings.database, seed=5.0)
    assert settled.rows("model_compares", TODAY).is_empty()
    tracker_dagster.run_compare(settled.settings.database)
    assert settled.content() == before


def test_a_day_without_picks_is_said(settled):
    database = settled.settings.database
    assert NO_PICKS in tracker_dagster.write_summary(database, day=PAST[0])
    with pytest.raises(ValueError, match=f"no picks of {PAST[0]} are stored"):
        tracker_dagster.run_compare(database, day=PAST[0])
    with pytest.raises(UsageError, match="not a trading session"):
        tracker_dagster.run_compare(database, day=date(2026, 5, 30))


def test_an_empty_database_has_a_report_of_empty_states(tmp_path, offline):
    database = tmp_path / "x.duckdb"
    Warehouse(database).migrate()
    text = tracker_dagster.write_summary(database)
    for number, title in enumerate(SECTIONS, start=1):
        assert f"## {number}. {title}" in text
    assert NO_PICKS in text
    assert (tmp_path / "reports" / "summary.md").read_text() == text


@pytest.mark.parametrize("seed", [0.0, -5.0, float("nan"), float("inf")])
def test_a_seed_that_is_no_sum_of_money_is_refused(tmp_path, seed):
    with pytest.raises(UsageError, match="the seed must be a sum of dollars above zero"):
        tracker_dagster.write_summary(tmp_path / "x.duckdb", seed)
    with pytest.raises(UsageError, match="the seed must be"):
        tracker_dagster.run_compare(tmp_path / "x.duckdb", seed)


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no database .*x\.duckdb"):
        tracker_dagster.write_summary(tmp_path / "x.duckdb")
    with pytest.raises(UsageError, match="must be one or more, not 0"):
        tracker_dagster.run_compare(tmp_path / "x.duckdb", top_n=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.feature(2)
def test_sync_universe_lists_the_tickers_once(tmp_path):
    database = tmp_path / "data" / "x.duckdb"
    first = tracker_dagster.sync_universe(database)
    assert (first.listed, first.recategorised, first.unchanged) == (36, 0, 0)
    mine = tmp_path / "mine.csv"
    mine.write_text("ticker,category\nSPY,INDEX\nKO,STAPLES\n")
    now = datetime(2026, 6, 3, tzinfo=UTC)
    again = tracker_dagster.sync_universe(database, mine, now=now)
    assert (again.listed, again.recategorised, again.unchanged) == (1, 1, 0)


def test_the_functions_are_named_by_the_package_and_loaded_when_they_are_asked_for():
    code = """
import sys, tracker_dagster
assert "write_summary" in dir(tracker_dagster)
assert not {"polars", "dagster", "duckdb"} & set(sys.modules)
from tracker_dagster import run_compare, sync_universe, write_summary
print(write_summary.__module__)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "tracker_dagster.api"
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = tracker_dagster.nonsense
