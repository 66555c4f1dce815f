import tomllib
from pathlib import Path

import yaml

from tracker_dagster.operations.runs import LOCATION, MODULE
from tracker_dagster.operations.supervision import next_free_port, workspace_file

CHECKOUT = Path(__file__).parents[2]


def _module(path):
    (entry,) = yaml.safe_load(path.read_text())["load_from"]
    return entry["python_module"]


def test_checkout_package_and_dg_agree_on_the_code_location(tmp_path):
    generated = _module(workspace_file(tmp_path, tmp_path))
    assert generated == _module(CHECKOUT / "workspace.yaml")
    assert generated == {"module_name": MODULE, "attribute": "defs", "location_name": LOCATION}
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert (project["code_location_target_module"], project["code_location_name"]) == (
        MODULE,
        LOCATION,
    )


def test_the_checkouts_own_workspace_is_served(tmp_path):
    (tmp_path / "workspace.yaml").write_text("load_from: []\n")
    assert workspace_file(tmp_path, tmp_path / "run") == tmp_path / "workspace.yaml"


def test_a_taken_port_is_passed_over():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert next_free_port(port) > port
