"""The whole graph on one page: assets, jobs, schedules, sensors and what they are handed."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

import dagster as dg

from tracker_dagster.assets import (
    book,
    captures,
    changes,
    day_files,
    decisions,
    exposure,
    external,
    forwards,
    health,
    holdings,
    models,
    monday,
    openings,
    option_bars,
    option_greeks,
    picks,
    portfolio_risk,
    rates,
    reference,
    report,
    scorecard,
    suitability,
    surface,
    universe,
    vendor_greeks,
    vendor_open_interest,
    volatility_series,
)
from tracker_dagster.automation import housekeeping, jobs, schedules, sensors
from tracker_dagster.resources import make_resources
from tracker_dagster.settings import Settings, load_settings


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
                [
                    universe,
                    reference,
                    rates,
                    day_files,
                    captures,
                    forwards,
                    option_greeks,
                    vendor_greeks,
                    vendor_open_interest,
                    surface,
                    exposure,
                    suitability,
                    picks,
                    decisions,
                    models,
                    openings,
                    book,
                    holdings,
                    health,
                    portfolio_risk,
                    option_bars,
                    volatility_series,
                    changes,
                    scorecard,
                    monday,
                    report,
                ]
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

# The graph and all it imports stay to the end: the collector need not look them over again, which
# takes a tenth of a second every time, and three at exit.
gc.freeze()
