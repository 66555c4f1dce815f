"""tracker_dagster: options income research as a Dagster asset graph on DuckDB."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_FUNCTIONS = ("SyncResult", "run_compare", "sync_universe", "write_summary")


def __getattr__(name: str) -> Any:
    """What notebooks and scripts call, loaded when it is asked for: every command starts here."""
    if name in _FUNCTIONS:
        return getattr(import_module("tracker_dagster.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_FUNCTIONS])
