import os
import stat

import pytest
import yaml

from tracker_dagster.operations.environment import (
    adopt_env_file,
    assignments,
    dagster_yaml,
    prepare_place,
    write_env_file,
)
from tracker_dagster.settings import Settings


def test_users_lines_survive_and_both_homes_are_absolute(tmp_path):
    env = tmp_path / ".env"
    env.write_text("# my keys\nMASSIVE_API_KEY=abc def\n\nexport TRACKER_LANE='SAFE'\n")
    assert write_env_file(tmp_path, tmp_path / "data") == ["DAGSTER_HOME", "TRACKER_HOME"]
    text = env.read_text()
    assert text.startswith("# my keys\nMASSIVE_API_KEY=abc def\n\nexport TRACKER_LANE='SAFE'\n")
    found = assignments(text)
    assert found["DAGSTER_HOME"] == str(tmp_path / "data" / "dagster")
    assert found["TRACKER_HOME"] == str(tmp_path)


def test_writing_twice_changes_nothing(tmp_path):
    write_env_file(tmp_path, tmp_path / "data")
    before = (tmp_path / ".env").read_bytes()
    assert write_env_file(tmp_path, tmp_path / "data") == []
    assert (tmp_path / ".env").read_bytes() == before


def test_dagster_home_of_the_users_own_is_kept(tmp_path):
    (tmp_path / ".env").write_text("DAGSTER_HOME=/srv/dagster\n")
    assert write_env_file(tmp_path, tmp_path / "data") == ["TRACKER_HOME"]
    assert assignments((tmp_path / ".env").read_text())["DAGSTER_HOME"] == "/srv/dagster"


def test_a_moved_checkout_is_corrected(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new place"
    old.mkdir()
    write_env_file(old, old / "data")
    old.rename(new)
    assert write_env_file(new, new / "data") == ["DAGSTER_HOME", "TRACKER_HOME"]
    text = (new / ".env").read_text()
    assert "/old/" not in text
    assert assignments(text)["DAGSTER_HOME"] == str(new / "data" / "dagster")


def test_nobody_else_may_read_the_file(tmp_path):
    write_env_file(tmp_path, tmp_path / "data")
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600


def test_env_file_names_dagster_home_unless_the_environment_does(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text('DAGSTER_HOME="/from/file"\n')
    monkeypatch.setenv("DAGSTER_HOME", "/from/environment")
    adopt_env_file(tmp_path)
    assert os.environ["DAGSTER_HOME"] == "/from/environment"
    monkeypatch.delenv("DAGSTER_HOME")
    adopt_env_file(tmp_path)
    assert os.environ["DAGSTER_HOME"] == "/from/file"


def test_instance_settings_are_put_down_once(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(data_dir=tmp_path / "data")
    home = prepare_place(settings)
    assert yaml.safe_load((home / "dagster.yaml").read_text())["telemetry"] == {"enabled": False}
    (home / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    prepare_place(settings)
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: true}\n"


@pytest.mark.parametrize("absent", ["pools", "default_op_concurrency_limit", "postgres_db"])
def test_no_pools_and_no_server_by_default(absent):
    def keys(node):
        return (
            set(node) | {key for value in node.values() for key in keys(value)}
            if isinstance(node, dict)
            else set()
        )

    assert absent not in keys(yaml.safe_load(dagster_yaml()))


def test_dagster_takes_the_instance_settings(tmp_path):
    from dagster._core.instance.config import dagster_instance_config

    (tmp_path / "dagster.yaml").write_text(dagster_yaml())
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["concurrency"]["runs"]["max_concurrent_runs"] == 2
    assert config["run_monitoring"]["enabled"] is True
