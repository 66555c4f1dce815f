"""The whole graph on one page: assets, jobs, schedules, sensors and what they are handed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

# One warning an asset for features that have been in beta since 1.8 would bury real ones.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

from tracker_dagster.assets import (  # noqa: E402
    book,
    captures,
    day_files,
    decisions,
    external,
    reference,
    report,
    universe,
)
from tracker_dagster.automation import housekeeping, jobs, schedules, sensors  # noqa: E402
from tracker_dagster.resources import make_resources  # noqa: E402
from tracker_dagster.settings import Settings, load_settings  # noqa: E402


def build_defs(
    settings: Settings | None = None, resources: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """The code location.

    Args:
        settings: where data lies and which market is used; from the environment when None.
        resources: resources that take the place of those made from the settings, by key
            (``warehouse``, ``market``, ``clock``, ``knobs``).
    """
    return dg.Definitions(
        assets=[
            *external.ALL,
            *dg.load_assets_from_modules(
                [universe, reference, day_files, captures, decisions, book, report]
            ),
        ],
        jobs=[*jobs.ALL, *housekeeping.JOBS],
        schedules=list(schedules.ALL),
        sensors=list(sensors.ALL),
        resources={**make_resources(settings or load_settings()), **(resources or {})},
        # Forty light steps: a process for each would take minutes to start.
        executor=dg.in_process_executor,
    )


defs = build_defs()
