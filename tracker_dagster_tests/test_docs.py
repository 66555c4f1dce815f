"""Every command in README, CONTRIBUTING and docs is run here, as it stands there."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tracker_dagster.reports.summary import SECTIONS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Targets that CI itself runs, and what the rest of them do for a stranger.
MAKE_TARGETS = {
    "demo": "tracker demo",
    "ui": "tracker up",
    "test": "CI",
    "test-slow": "CI",
    "lint": "CI",
    "bench": "python -m benchmarks",
}


def commands():
    """(page, command) of each line of each bash block."""
    return [
        (page.relative_to(ROOT).as_posix(), line.strip())
        for page in PAGES
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
        for line in block.strip().splitlines()
        if line.strip() and not line.startswith("#")
    ]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tracker(command, home, timeout=300):
    words = shlex.split(command)
    assert words[0] == "tracker"
    return subprocess.run(
        [sys.executable, "-m", "tracker_dagster.cli", *words[1:]],
        env=home,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The environment of a stranger: an empty home, no keys, a market port of its own."""
    folder = tmp_path_factory.mktemp("stranger")
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return {
        **kept,
        "HOME": str(folder),
        "TRACKER_HOME": str(folder),
        "TRACKER_SIM_URL": f"http://127.0.0.1:{free_port()}",
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def test_pages_hold_commands_of_known_kinds_only():
    for page, command in commands():
        words = shlex.split(command)
        assert words[0] in {"make", "tracker"}, f"{page}: {command} is run by no test"
        if words[0] == "make":
            assert words[1] in MAKE_TARGETS, f"{page}: {command} is run by no test"


def test_make_targets_do_what_the_pages_say():
    for target, what in MAKE_TARGETS.items():
        recipe = subprocess.run(
            ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        if what != "CI":
            assert what.removeprefix("tracker ").split()[-1] in recipe
    assert (ROOT / ".ci" / "run").read_text().count("make ") == 3


def test_linked_pages_and_pictures_exist():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links {target}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_tracker_command_of_the_pages_runs(home):
    demo = tracker("tracker demo --sessions 8", home, timeout=600)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    report = Path(home["TRACKER_HOME"]) / "data" / "reports" / "summary.md"
    headings = [line for line in report.read_text().splitlines() if line.startswith("## ")]
    assert headings == [f"## {number}. {title}" for number, title in enumerate(SECTIONS, start=1)]
    for page, command in commands():
        if not command.startswith("tracker ") or command.startswith("tracker up"):
            continue
        done = tracker(command, home)
        expected = {0, 69} if command == "tracker env-check" else {0}
        assert done.returncode in expected, f"{page}: {command}\n{done.stdout}\n{done.stderr}"
        if command.startswith("tracker daily"):
            assert "Done → " in done.stdout
            assert "summary.md" in done.stdout


def graphql(port, query):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"]


STATES = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
  ... on RepositoryLocation { repositories {
    schedules { name scheduleState { status } } sensors { name sensorState { status } }
} } } } } } }"""


def automation_states(port):
    entries = graphql(port, STATES)["workspaceOrError"]["locationEntries"]
    (entry,) = [entry for entry in entries if entry["locationOrLoadError"]]
    (repository,) = entry["locationOrLoadError"]["repositories"]
    return {
        **{each["name"]: each["scheduleState"]["status"] for each in repository["schedules"]},
        **{each["name"]: each["sensorState"]["status"] for each in repository["sensors"]},
    }


@pytest.mark.slow
def test_tracker_up_serves_the_ui_and_turns_automation_on(home):
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tracker_dagster.cli", "up", "--automation", "--port", str(port)],
        env=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 150
        states = {}
        while not states or set(states.values()) != {"RUNNING"}:
            assert process.poll() is None
            assert time.monotonic() < deadline, states
            time.sleep(1)
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                states = automation_states(port)
        assert "daily_after_close" in states
        assert "market_hours_chains" in states
    finally:
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
