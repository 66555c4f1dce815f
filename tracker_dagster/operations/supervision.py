"""`tracker up`: the market and `dagster dev` as children, watched and stopped together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracker_dagster.operations.market import die_with_parent, port_is_free
from tracker_dagster.operations.runs import LOCATION, MODULE

HOST = "127.0.0.1"
WORKSPACE = "workspace.yaml"
#: Seconds until the location has loaded, on a busy machine.
START_TIMEOUT = 240.0
_STOP_PATIENCE = 30.0

_LOCATION_QUERY = """
query Location {
  workspaceOrError {
    ... on Workspace {
      locationEntries {
        name
        loadStatus
        locationOrLoadError {
          __typename
          ... on PythonError { message }
          ... on RepositoryLocation {
            repositories {
              name
              schedules { name scheduleState { status } }
              sensors { name sensorState { status } }
            }
          }
        }
      }
    }
  }
}
"""
_START_SCHEDULE = """
mutation Start($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) {
    __typename
    ... on PythonError { message }
  }
}
"""
_START_SENSOR = """
mutation Start($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) {
    __typename
    ... on PythonError { message }
  }
}
"""


class UpError(RuntimeError):
    """The webserver ended, or its code location does not load."""


def next_free_port(wanted: int, tries: int = 50) -> int:
    """``wanted``, or the next port of 127.0.0.1 that nothing listens on.

    Raises:
        UpError: none of ``tries`` ports is free.
    """
    for port in range(wanted, wanted + tries):
        if port_is_free(port):
            return port
    raise UpError(f"no free port from {wanted} to {wanted + tries - 1}")


def workspace_file(home: Path, run_dir: Path) -> Path:
    """The workspace to serve: the checkout's, or one of the same content for a package alone.

    The location's name in it is what runs, schedules and sensors are recorded under.
    """
    if (home / WORKSPACE).is_file():
        return home / WORKSPACE
    path = run_dir / WORKSPACE
    path.write_text(
        "load_from:\n"
        "  - python_module:\n"
        f"      module_name: {MODULE}\n"
        "      attribute: defs\n"
        f"      location_name: {LOCATION}\n",
        encoding="utf-8",
    )
    return path


@contextmanager
def dagster_dev(
    workspace: Path, home: Path, port: int, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """``dagster dev`` for the body; webserver, daemon and code servers end with it."""
    command = [sys.executable, "-m", "dagster", "dev", "--host", HOST, "--port", str(port)]
    child = subprocess.Popen(
        [*command, "-w", str(workspace)],
        cwd=home,
        # Newer dg commands are for development; this one serves a workspace file.
        env={**environment, "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded"},
        stdin=subprocess.DEVNULL,
        # Ctrl-C is for us: Dagster's processes are then ended in their own order.
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        yield child
    finally:
        _stop_group(child)


def _stop_group(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        # dagster dev ends its children on SIGINT, and waits for them.
        child.send_signal(signal.SIGINT)
        try:
            child.wait(_STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            child.terminate()
    try:
        # It leads a session of its own: whatever is left of it has its group.
        os.killpg(child.pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _STOP_PATIENCE
    while time.monotonic() < deadline:
        child.poll()
        try:
            os.killpg(child.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.killpg(child.pid, signal.SIGKILL)


def graphql(url: str, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Data of one GraphQL answer of the webserver at ``url``.

    Raises:
        UpError: the webserver answers with errors.
        OSError: it does not answer.
    """
    request = urllib.request.Request(  # noqa: S310 - our own webserver
        f"{url}/graphql",
        data=json.dumps({"query": query, "variables": dict(variables or {})}).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        body: dict[str, Any] = json.load(answer)
    if body.get("errors"):
        raise UpError(f"GraphQL: {body['errors'][0].get('message')}")
    data: dict[str, Any] = body["data"]
    return data


def wait_for_location(
    url: str, is_alive: Callable[[], bool], timeout: float = START_TIMEOUT
) -> dict[str, Any]:
    """The loaded code location, as GraphQL describes it.

    Raises:
        UpError: the webserver ended, the location does not load, or it took too long.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if not is_alive():
            raise UpError("dagster dev ended; its last lines above say why")
        try:
            entries = graphql(url, _LOCATION_QUERY)["workspaceOrError"].get("locationEntries", [])
        except (OSError, ValueError):
            entries = []
        for entry in entries:
            loaded: dict[str, Any] = entry["locationOrLoadError"] or {}
            if loaded.get("__typename") == "PythonError":
                raise UpError(f"the code location does not load: {loaded['message']}")
            if entry["loadStatus"] == "LOADED" and loaded.get("repositories"):
                repository: dict[str, Any] = loaded["repositories"][0]
                return {**repository, "location": entry["name"]}
        time.sleep(0.5)
    raise UpError(f"the code location did not load within {timeout:.0f} s")


def automation_state(location: Mapping[str, Any]) -> dict[str, bool]:
    """Schedules and sensors of the location: name to whether it is on."""
    states = {s["name"]: s["scheduleState"]["status"] for s in location["schedules"]}
    states |= {s["name"]: s["sensorState"]["status"] for s in location["sensors"]}
    return {name: status == "RUNNING" for name, status in sorted(states.items())}


def start_automation(url: str, location: Mapping[str, Any]) -> list[str]:
    """Turn on every schedule and sensor that is off; the names of those turned on.

    Raises:
        UpError: one could not be turned on.
    """
    started = []
    off = {name for name, on in automation_state(location).items() if not on}
    kinds = (
        ("schedules", "scheduleName", _START_SCHEDULE),
        ("sensors", "sensorName", _START_SENSOR),
    )
    for kind, key, mutation in kinds:
        for item in location[kind]:
            if item["name"] not in off:
                continue
            selector = {
                "repositoryLocationName": location["location"],
                "repositoryName": location["name"],
                key: item["name"],
            }
            answer = next(iter(graphql(url, mutation, {"selector": selector}).values()))
            if answer["__typename"] not in ("ScheduleStateResult", "Sensor"):
                raise UpError(f"{item['name']}: {answer.get('message', answer['__typename'])}")
            started.append(item["name"])
    return started
