"""`dagster dev` on a free port for tests: started as users start it, ended with all it started."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
READY = 100.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Webserver:
    """A webserver that answers."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def get(self, path: str) -> Any:
        with _opener().open(f"{self.url}{path}", timeout=30) as answer:
            return json.load(answer)

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """Data of one GraphQL query."""
        request = urllib.request.Request(
            f"{self.url}/graphql",
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with _opener().open(request, timeout=60) as answer:
            body = json.load(answer)
        assert not body.get("errors"), body["errors"]
        data: dict[str, Any] = body["data"]
        return data

    def said(self) -> str:
        """The last lines it wrote, for a failed assertion."""
        return self.log.read_text(errors="replace")[-4000:]


def _opener() -> urllib.request.OpenerDirector:
    # A proxy in the environment is not for this machine's own ports.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def running_webserver(
    home: Path, sim_url: str, more: Mapping[str, str] | None = None
) -> Iterator[Webserver]:
    """`dagster dev -w workspace.yaml` on an own home; its whole process group ends with the body.

    Args:
        home: folder for data and logs; ``home/data/dagster`` is Dagster's.
        sim_url: the running market.
        more: further environment variables.
    """
    port, log = free_port(), home / "dagster_dev.log"
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("TRACKER_", "MASSIVE_"))},
        "TRACKER_HOME": str(home),
        "TRACKER_SIM_URL": sim_url,
        "DAGSTER_HOME": str(home / "data" / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        **(more or {}),
    }
    command = [
        *(sys.executable, "-m", "dagster", "dev", "-w", str(REPOSITORY / "workspace.yaml")),
        *("--host", "127.0.0.1", "--port", str(port)),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Webserver(f"http://127.0.0.1:{port}", log, process)
    try:
        _wait_until_ready(server)
        yield server
    finally:
        end_group(process)


def _wait_until_ready(server: Webserver) -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise AssertionError(f"dagster dev ended early:\n{server.said()}")
        try:
            server.get("/server_info")
        except (OSError, urllib.error.URLError, ValueError):
            time.sleep(0.3)
        else:
            return
    raise AssertionError(f"no answer within {READY:.0f} s:\n{server.said()}")


def end_group(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """End the process and everything in the group that it leads: politely, then for certain."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and group_is_alive(process):
            time.sleep(0.1)
        if not group_is_alive(process):
            break
    process.wait(timeout=10)


def group_is_alive(process: subprocess.Popen[bytes]) -> bool:
    """Whether any process of the group still runs; a zombie of ours is collected on the way."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
