import io
from datetime import date

import dagster as dg
import pytest
from rich.console import Console

from tracker_dagster.operations.progress import shown
from tracker_dagster.operations.runs import opened_instance, run_job
from tracker_dagster.resources import HOST_TAG, PID_TAG
from tracker_dagster.settings import Settings

DAYS = dg.DailyPartitionsDefinition("2025-06-09")
MONDAY, TUESDAY, FRIDAY = date(2025, 6, 9), date(2025, 6, 10), date(2025, 6, 13)


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def bars(context: dg.AssetExecutionContext) -> None:
    keys = context.partition_keys
    for number, key in enumerate(keys, start=1):
        context.add_asset_metadata({"dagster/partition_row_count": 1000}, partition_key=key)
        context.log.info(f"bars {key}: 1000 rows ({number} of {len(keys)})")


@dg.asset(partitions_def=DAYS, deps=[bars], backfill_policy=dg.BackfillPolicy.single_run())
def picks(context: dg.AssetExecutionContext) -> None:
    if "2025-06-10" in context.partition_keys:
        raise dg.Failure(description="no chain was captured", allow_retries=False)


@dg.asset(partitions_def=DAYS, deps=[picks], backfill_policy=dg.BackfillPolicy.single_run())
def summary() -> None:
    raise AssertionError("never reached in these tests")


@pytest.fixture(scope="module")
def defs():
    job = dg.define_asset_job("daily", selection="*", partitions_def=DAYS)
    return dg.Definitions(
        assets=[bars, picks, summary], jobs=[job], executor=dg.in_process_executor
    )


@pytest.fixture
def instance(tmp_path):
    with opened_instance(Settings(data_dir=tmp_path)) as made:
        yield made


def test_a_run_is_recorded_as_the_code_locations_own(instance, defs):
    report = run_job(instance, defs, "daily", first=MONDAY, assets=["bars"], tags={"a": "b"})
    assert report.success
    record = instance.get_run_record_by_id(report.run_id)
    run = record.dagster_run
    assert run.job_name == "daily"
    assert run.tags["dagster/partition"] == "2025-06-09"
    assert run.tags["a"] == "b"
    assert {HOST_TAG, PID_TAG} <= set(run.tags)
    origin = run.remote_job_origin.repository_origin
    assert origin.repository_name == "__repository__"
    assert origin.code_location_origin.location_name == "tracker_dagster"
    assert instance.get_materialized_partitions(dg.AssetKey("bars")) == {"2025-06-09"}
    assert instance.get_materialized_partitions(dg.AssetKey("picks")) == set()


def test_a_range_is_one_run(instance, defs):
    report = run_job(instance, defs, None, first=MONDAY, last=FRIDAY, assets=["bars"])
    assert report.success
    assert len(instance.get_runs()) == 1
    assert len(instance.get_materialized_partitions(dg.AssetKey("bars"))) == 5


def test_a_failure_is_told_in_the_assets_own_words(instance, defs):
    report = run_job(instance, defs, "daily", first=TUESDAY)
    assert not report.success
    assert [(f.step, f.reason) for f in report.failures] == [("picks", "no chain was captured")]
    assert report.skipped == [] or report.skipped == ["summary"]
    assert instance.get_run_by_id(report.run_id).status is dg.DagsterRunStatus.FAILURE


def test_progress_without_a_terminal_is_plain_lines(instance, defs):
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=False)
    with shown(console, "history", 5) as listener:
        run_job(instance, defs, "daily", first=MONDAY, last=FRIDAY, listener=listener)
    lines = output.getvalue().splitlines()
    assert lines[0] == "history: 3 steps over 5 sessions"
    bars_line = next(line for line in lines if "✓ bars" in line)
    assert "5,000 rows" in bars_line
    assert any("✗ picks" in line for line in lines)
    assert "\x1b" not in output.getvalue()


def test_progress_on_a_terminal_reaches_the_end(instance, defs):
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True)
    with shown(console, "bars", 5) as listener:
        run_job(instance, defs, None, first=MONDAY, last=FRIDAY, assets=["bars"], listener=listener)
    assert "5/5" in output.getvalue()
