"""The `tracker` command: options in, `operations` called, rich output and an exit code out.

Nothing heavy is imported before a command runs: `--help` answers at once, without a key.
"""

from __future__ import annotations

import gc
import signal
import sys

from tracker_dagster.cli.shared import INTERRUPTED, app, problems

# Importing a module registers its commands; the help page has them in this order.
# isort: off
from tracker_dagster.cli import start
from tracker_dagster.cli import day
from tracker_dagster.cli import steps
from tracker_dagster.cli import universe
from tracker_dagster.cli import ledger
from tracker_dagster.cli import holdings
from tracker_dagster.cli import explain
from tracker_dagster.cli import risk
from tracker_dagster.cli import look
# isort: on

__all__ = [
    "app",
    "day",
    "explain",
    "holdings",
    "ledger",
    "look",
    "main",
    "risk",
    "start",
    "steps",
    "universe",
]


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the `tracker` command."""
    # A polite kill ends like Ctrl-C: children are stopped, the run is recorded as it stands.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except KeyboardInterrupt:
        problems.print("interrupted")
        sys.exit(INTERRUPTED)
    finally:
        # Python would look the whole heap over once more before it exits, for half a second.
        gc.freeze()
