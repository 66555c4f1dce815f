"""How long the assets' own work took in a run, from what the run recorded."""

from __future__ import annotations

import dagster as dg

from tracker_dagster.assets.wiring import SECONDS


def work_seconds(instance: dg.DagsterInstance, run_id: str) -> dict[tuple[str, str], float]:
    """Seconds without Dagster's own, by asset and partition, in order of time."""
    records = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records
    found = {}
    for record in records:
        made = record.asset_materialization
        if made is not None and made.partition is not None:
            seconds = made.metadata[SECONDS].value
            assert isinstance(seconds, float)
            found[made.asset_key.to_user_string(), made.partition] = seconds
    return found
