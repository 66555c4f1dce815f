"""The real webserver over HTTP: the graph it shows, a materialisation and a back-fill it runs."""

import shutil
import subprocess
import sys
import time
import tomllib
from datetime import date
from pathlib import Path

import pytest
import yaml

from tracker_dagster.definitions import defs
from tracker_dagster.operations.environment import dagster_yaml
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.trading_calendar import sessions_between
from tracker_dagster.warehouse import Warehouse
from tracker_dagster_tests.assets.place import DAY, NOW, PAST, TODAY, recorded_market
from tracker_dagster_tests.end_to_end.webserver import (
    REPOSITORY,
    group_is_alive,
    running_webserver,
)

LOCATION, REPO = "tracker_dagster", "__repository__"
MADE = {key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys}
FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}

ASSETS = """
query Assets($repository: RepositorySelector!) {
  repositoryOrError(repositorySelector: $repository) {
    ... on Repository {
      assetNodes {
        assetKey { path }
        groupName
        isMaterializable
        dependencyKeys { path }
        partitionStats { numPartitions numMaterialized }
      }
      schedules { name scheduleState { status } }
      sensors { name sensorState { status } }
      jobs { name }
    }
    ... on PythonError { message }
  }
}
"""
PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys } }
}
"""
LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on InvalidSubsetError { message }
  }
}
"""
BACKFILL = """
mutation Backfill($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
RUN = """
query Run($id: ID!) {
  runOrError(runId: $id) { ... on Run { status stats { ... on RunStatsSnapshot { stepsFailed } } } }
}
"""
BACKFILL_STATE = """
query Backfill($id: String!) {
  partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill {
      status
      numPartitions
      runs { runId status }
      error { message }
    }
  }
}
"""


def wait_for(server, look, seconds, what):
    """The first answer of ``look`` that is not None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.said()
        if (found := look()) is not None:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} took more than {seconds} s\n{server.said()}")


def graph(server):
    selector = {"repositoryName": REPO, "repositoryLocationName": LOCATION}
    return server.query(ASSETS, repository=selector)["repositoryOrError"]


def launch(server, assets, day):
    selector = {
        "repositoryName": REPO,
        "repositoryLocationName": LOCATION,
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": [name]} for name in assets],
    }
    answer = server.query(
        LAUNCH,
        parameters={
            "selector": selector,
            "mode": "default",
            "runConfigData": {},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": str(day)}]},
        },
    )["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return answer["run"]["runId"]


def backfill(server, assets, days):
    answer = server.query(
        BACKFILL,
        parameters={
            "assetSelection": [{"path": [name]} for name in assets],
            "partitionNames": [str(day) for day in days],
        },
    )["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    return answer["backfillId"]


def run_status(server, run):
    status = server.query(RUN, id=run)["runOrError"]["status"]
    return status if status in FINISHED else None


def backfill_state(server, backfill_id):
    state = server.query(BACKFILL_STATE, id=backfill_id)["partitionBackfillOrError"]
    return state if state["status"].startswith(("COMPLETED", "FAILED", "CANCELED")) else None


@pytest.mark.slow
def test_the_webserver_shows_the_graph_and_runs_a_day_and_a_week(tmp_path):
    """One boot for all of it: it takes ten seconds and more."""
    home = tmp_path / "home"
    (home / "data" / "dagster").mkdir(parents=True)
    (home / "data" / "dagster" / "dagster.yaml").write_text(dagster_yaml())
    with recorded_market() as (sim, _), running_webserver(home, sim.url) as server:
        week = backfill(server, ["stock_day_aggs"], PAST)
        one_day = launch(server, ["option_day_aggs"], DAY)

        shown = graph(server)
        nodes = {node["assetKey"]["path"][0]: node for node in shown["assetNodes"]}
        made = {name for name, node in nodes.items() if node["isMaterializable"]}
        assert made == MADE
        assert {node["groupName"] for node in nodes.values()} >= {"market", "decisions", "reports"}
        upstream = {key["path"][0] for key in nodes["summary"]["dependencyKeys"]}
        assert {"weekly_picks", "promotions", "contract_health", "model_compares"} <= upstream
        for name in made:
            keys = server.query(PARTITIONS, key={"path": [name]})
            keys = keys["assetNodeOrError"]["partitionKeys"]
            days = [date.fromisoformat(key) for key in keys]
            assert days == sessions_between(date(2003, 9, 10), days[-1])
            assert nodes[name]["partitionStats"]["numPartitions"] == len(days)
        assert "2026-05-25" not in keys  # Memorial Day
        states = [s["scheduleState"]["status"] for s in shown["schedules"]]
        states += [s["sensorState"]["status"] for s in shown["sensors"]]
        assert len(states) >= 7
        assert set(states) == {"STOPPED"}
        assert {"daily", "flat_files", "history", "refresh"} <= {j["name"] for j in shown["jobs"]}

        status = wait_for(server, lambda: run_status(server, one_day), 60, "the day's run")
        assert status == "SUCCESS", server.said()
        state = wait_for(server, lambda: backfill_state(server, week), 90, "the back-fill")
        assert state["status"] == "COMPLETED_SUCCESS", (state, server.said())
        assert len(state["runs"]) == 1
        assert state["numPartitions"] == len(PAST)

        stats = {n["assetKey"]["path"][0]: n["partitionStats"] for n in graph(server)["assetNodes"]}
        assert stats["stock_day_aggs"]["numMaterialized"] == len(PAST)
        assert stats["option_day_aggs"]["numMaterialized"] == 1

    assert not group_is_alive(server.process)
    warehouse = Warehouse(home / "data" / "tracker.duckdb")
    stocks = warehouse.read(STOCK_DAY_AGGS)
    assert sorted(set(stocks["trade_date"])) == PAST
    assert set(warehouse.read(OPTION_DAY_AGGS)["trade_date"]) == {DAY}
    assert NOW.date() == TODAY
    assert TODAY not in set(stocks["trade_date"])


def test_workspace_and_pyproject_name_the_same_graph():
    (entry,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    package = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    module = entry["python_module"]
    assert module["module_name"] == package["code_location_target_module"]
    assert module["module_name"].startswith(package["root_module"] + ".")
    assert module["attribute"] == "defs"
    # `dg` names the location after the project; runs carry that name.
    assert module["location_name"] == package["root_module"] == LOCATION


@pytest.mark.slow
def test_dg_finds_the_definitions_sound():
    dg = Path(sys.executable).with_name("dg")
    assert dg.exists() or shutil.which("dg")
    done = subprocess.run(
        [str(dg), "check", "defs"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "successfully" in done.stdout + done.stderr
