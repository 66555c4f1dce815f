"""`tracker up`: the whole place running in the foreground until Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.prompt import Confirm

from tracker_dagster.operations.daily import sync
from tracker_dagster.operations.environment import child_environment
from tracker_dagster.operations.market import ensured_market
from tracker_dagster.operations.runs import opened_instance
from tracker_dagster.operations.supervision import (
    HOST,
    UpError,
    automation_state,
    dagster_dev,
    next_free_port,
    start_automation,
    wait_for_location,
    workspace_file,
)
from tracker_dagster.operations.workplace import Workplace

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings


def run_up(
    settings: Settings, home: Path, console: Console, port: int, automation: bool | None
) -> int:
    """Run market, webserver and daemon until Ctrl-C or until one of them ends.

    Args:
        settings: what the user configured.
        home: folder that holds ``data/`` and perhaps ``workspace.yaml``.
        console: where to say what happens.
        port: wanted port of the UI; the next free one is taken.
        automation: turn schedules and sensors on (True), leave them (False), or ask (None).

    Returns:
        Exit code: 0 after Ctrl-C.

    Raises:
        MarketDownError: the simulated market does not start.
        UpError: the webserver ended, or the code location does not load.
    """

    def on_start(url: str) -> None:
        console.print(f"simulated market on {url}", highlight=False)

    with ensured_market(settings, on_start=on_start) as reachable:
        # Opened, it makes the storage, and reports runs that died while nothing was up.
        with opened_instance(reachable) as instance:
            place = Workplace(reachable, console, instance)
            place.warehouse.migrate()
            console.print(sync(place, place.now()), highlight=False)
        chosen = next_free_port(port)
        if chosen != port:
            console.print(f"[yellow]port {port} is taken: using {chosen}[/]", highlight=False)
        url = f"http://{HOST}:{chosen}"
        environment = child_environment(reachable, home)
        workspace = workspace_file(home, reachable.run_dir)
        with dagster_dev(workspace, home, chosen, environment) as child:
            console.print(f"starting Dagster on {url} …", highlight=False)
            location = wait_for_location(url, lambda: child.poll() is None)
            _switch_automation(console, url, automation_state(location), location, automation)
            console.print(f"[bold green]ready[/] → {url}   (Ctrl-C stops everything)")
            return _watch(child)


def _switch_automation(
    console: Console,
    url: str,
    state: dict[str, bool],
    location: dict[str, object],
    automation: bool | None,
) -> None:
    off = [name for name, on in state.items() if not on]
    if off and automation is None:
        automation = sys.stdin.isatty() and Confirm.ask(
            f"Turn on {', '.join(off)}?", console=console, default=False
        )
    if off and automation:
        started = start_automation(url, location)
        console.print(f"turned on: {', '.join(started)}", highlight=False)
    elif off:
        console.print(
            f"[yellow]off:[/] {', '.join(off)}; turn them on in the UI or with "
            "`tracker up --automation`",
            highlight=False,
        )


def _watch(child: subprocess.Popen[bytes]) -> int:
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    former = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not stopped:
            if child.poll() is not None:
                raise UpError(f"dagster dev ended with code {child.returncode}")
            time.sleep(0.3)
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
    return 0
