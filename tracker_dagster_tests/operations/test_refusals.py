"""A decision that is an error fails the command that asked for it; one that is none does not."""

import pytest
from typer.testing import CliRunner

from tracker_dagster.cli import app
from tracker_dagster.operations import rebuild
from tracker_dagster.operations.refusals import require_decided
from tracker_dagster.operations.workplace import RunFailedError
from tracker_dagster.warehouse import Warehouse
from tracker_dagster_tests.operations.test_results import decided, pick
from tracker_dagster_tests.strategy.worlds import DAY


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "data" / "tracker.duckdb")


def refused(store):
    decided(store, [{**pick(None, "*", "error", "unknown_lane"), "lane": None}])


def test_an_error_is_a_failure_and_skips_are_none(store):
    store.migrate()
    require_decided(store, DAY)
    decided(store, [pick(1, "AAA", "skip", "cash")])
    require_decided(store, DAY)
    refused(store)
    with pytest.raises(RunFailedError, match=f"nothing was decided on {DAY}: unknown_lane"):
        require_decided(store, DAY)


def test_promote_exits_with_one(store, monkeypatch):
    refused(store)
    monkeypatch.setenv("TRACKER_HOME", str(store.path.parent.parent))
    monkeypatch.setattr(rebuild, "make", lambda *_, **__: DAY)
    result = CliRunner().invoke(app, ["promote"])
    assert result.exit_code == 1
    assert "unknown_lane" in result.stderr


def test_a_lane_of_the_settings_that_there_is_not_is_wrong_usage(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKER_HOME", str(tmp_path))
    (tmp_path / ".env").write_text("TRACKER_LANE=FOO\n")
    result = CliRunner().invoke(app, ["promote"])
    assert result.exit_code == 2
    assert "unknown lane 'FOO': one of SAFE" in result.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("command", ["daily", "risk", "picker", "promote", "summary"])
@pytest.mark.parametrize("option", ["--day", "--as-of"])
def test_the_session_is_named_by_either_option(command, option):
    # 4 July 2025: both are understood, and tell what is wrong with it.
    result = CliRunner().invoke(app, [command, option, "2025-07-04"])
    assert result.exit_code == 2
    assert "2025-07-04 is not a trading session" in " ".join(result.stderr.split())
