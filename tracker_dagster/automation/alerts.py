"""Alert rows for failed runs and for a calendar that disagrees with the vendor's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import dagster as dg
import polars as pl

from tracker_dagster.schemas.system import alert_row


def failure_alert(
    run: dg.DagsterRun, message: str | None, steps: Sequence[dg.DagsterEvent], ended_at: datetime
) -> pl.DataFrame:
    """The alert of a failed run: the same run gives the same row however often it is asked for."""
    parts = [
        f"{event.step_key}: {error.message.strip().splitlines()[0]}"
        for event in steps
        if (error := event.step_failure_data.error) is not None
    ]
    day = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start")
    return alert_row(
        f"run_failure/{run.run_id}",
        ended_at,
        "error",
        "run_failure",
        f"{run.job_name} {day or ''}".strip(),
        "; ".join(parts) or message or "the run failed outside its steps",
    )
