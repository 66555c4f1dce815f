"""Looking behind a decision that the graph made: nothing differs, until somebody changes it."""

import csv

import polars as pl
import pytest

from tracker_dagster.operations import explain
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.schemas.decisions import WEEKLY_PICKS
from tracker_dagster.trading_calendar import weekly_expiry
from tracker_dagster_tests.assets.place import DAY, PAST, TODAY


def audited(place, day, **options):
    return explain.audit(place.warehouse, place.settings.reports_dir, day, **options)


@pytest.mark.feature(32)
def test_every_number_of_a_decision_follows_from_what_was_captured(settled):
    found = audited(settled, TODAY)
    assert (found.basis, found.differing.height, found.unchecked.height) == ("snapshot", 0, 0)
    assert {"premium_yield", "pack_100_cost", "cash_after"} <= set(found.rows["field"])
    folder = settled.settings.reports_dir / str(TODAY)
    with (folder / "audit.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == found.rows.height
    assert {row["ok"] for row in rows} == {"true"}
    text = (folder / "audit.md").read_text()
    assert f"{found.rows.height} numbers of" in text
    assert "none differs" in text


@pytest.mark.feature(32)
def test_a_decision_on_day_files_is_audited_against_the_files(settled):
    assert settled.run(["suitability", "pick_candidates", "weekly_picks"], DAY).success
    found = audited(settled, DAY)
    assert (found.basis, found.differing.height, found.unchecked.height) == ("day_file", 0, 0)
    assert "spread_pct" not in set(found.rows["field"])


@pytest.mark.feature(32)
def test_a_number_that_was_changed_afterwards_is_found(settled):
    picks = settled.rows("weekly_picks", TODAY).filter(basis="snapshot")
    changed = picks.with_columns(est_weekly_prem_100=pl.col("est_weekly_prem_100") + 1.0)
    unit = {name: picks[name][0] for name in ("trade_date", "basis", "decision_at")}
    settled.warehouse.replace(WEEKLY_PICKS, changed, unit)
    found = audited(settled, TODAY)
    assert set(found.differing["field"]) == {"est_weekly_prem_100"}
    assert found.differing["difference"].to_list() == pytest.approx([1.0] * found.differing.height)
    assert "| differs |" in (settled.settings.reports_dir / "audit.md").read_text()


def test_an_audit_may_be_of_some_picks(settled):
    expiry = settled.rows("weekly_picks", TODAY)["expiry"].drop_nulls()[0]
    some = audited(settled, TODAY, expiry=expiry, top=1)
    assert some.rows["ticker"].n_unique() == 1
    with pytest.raises(UsageError, match=r"no picks of .* that expire on 2030-01-04"):
        audited(settled, TODAY, expiry=weekly_expiry(TODAY).replace(2030, 1, 4))
    with pytest.raises(UsageError, match="no picks of"):
        audited(settled, PAST[0])


@pytest.mark.feature(29)
def test_calls_are_ranked_over_the_expiries_that_were_captured(settled):
    found = explain.calls(settled.warehouse, None, (), expiries=2, per_ticker=3)
    assert found.expiries == [weekly_expiry(TODAY), weekly_expiry(weekly_expiry(TODAY))]
    assert set(found.rows["expiry"]) <= set(found.expiries)
    assert found.rows.group_by("ticker").len()["len"].max() <= 3
    chain = settled.rows("option_chain", TODAY).filter(slot=found.slot)
    mids = dict(chain.select("symbol", "mid").iter_rows())
    stock = dict(settled.rows("market_last", TODAY).filter(slot=found.slot).select(
        "ticker", "price").iter_rows())  # fmt: skip
    for row in found.rows.iter_rows(named=True):
        expected = mids[row["symbol"]] / stock[row["ticker"]] / (row["expiry"] - TODAY).days
        assert row["yield_per_day"] == pytest.approx(expected)
    only = explain.calls(settled.warehouse, TODAY, ["uber"], expiries=1, per_ticker=3)
    assert set(only.rows["ticker"]) <= {"UBER"}
    with pytest.raises(UsageError, match="no chain was captured on 2026-05-27"):
        explain.calls(settled.warehouse, PAST[0], (), expiries=1, per_ticker=3)
    with pytest.raises(UsageError, match="has nothing of KO"):
        explain.calls(settled.warehouse, TODAY, ["KO"], expiries=1, per_ticker=3)


@pytest.mark.feature(21)
def test_every_strike_that_was_considered_is_shown_with_why_it_fell(settled):
    rows = explain.strikes(settled.warehouse, TODAY, ["uber"])
    picks = settled.rows("weekly_picks", TODAY).filter(basis="snapshot", ticker="UBER")
    chosen = rows.filter(choice_rank=1)
    assert chosen["symbol"].to_list() == picks["symbol"].drop_nulls().to_list()
    fell = rows.filter(pl.col("failed_gate").is_not_null())
    assert fell.height
    assert (fell["failed_gates"] != "[]").all()
    with pytest.raises(UsageError, match="has nothing of NOPE"):
        explain.strikes(settled.warehouse, TODAY, ["nope"])
