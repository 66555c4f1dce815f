"""Dagster runs in this process, recorded so that the UI shows them as its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from tracker_dagster.automation.orphans import fail_orphaned_runs
from tracker_dagster.operations.environment import prepare_place
from tracker_dagster.operations.event_log import kept_open
from tracker_dagster.resources import NOW_TAG, process_tags

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

#: Name of the code location in workspace.yaml and in [tool.dg].
LOCATION = "tracker_dagster"
MODULE = "tracker_dagster.definitions"
_REPOSITORY = "__repository__"
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
#: Steps of our own runs write nothing to stdout that the event log does not have, and capturing
#: it takes four processes a run.
_OVERRIDES = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
#: Dagster's own console lines would drown ours.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

Listener = Callable[[dg.EventLogEntry], None]


@dataclass(frozen=True)
class StepFailure:
    """A step that failed, and the sentence that says why."""

    step: str
    reason: str


@dataclass(frozen=True)
class RunReport:
    """How a run ended."""

    run_id: str
    job: str
    success: bool
    seconds: float
    failures: Sequence[StepFailure] = field(default_factory=tuple)
    skipped: Sequence[str] = field(default_factory=tuple)


@contextmanager
def opened_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Dagster's persistent instance, with the runs that died reported as failed."""
    home = prepare_place(settings)
    reference = InstanceRef.from_dir(str(home), overrides=_OVERRIDES)
    with dg.DagsterInstance.from_ref(reference) as instance, kept_open(home):
        fail_orphaned_runs(instance)
        yield instance


def definitions(settings: Settings) -> dg.Definitions:
    """The graph on the given settings."""
    from tracker_dagster.definitions import build_defs

    return build_defs(settings)


def _origin(job: str) -> RemoteJobOrigin:
    # Without it a run is recorded, but the UI cannot tell which code location it belongs to.
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        loadable_target_origin=LoadableTargetOrigin(module_name=MODULE, attribute="defs"),
        location_name=LOCATION,
    )
    return RemoteRepositoryOrigin(location, _REPOSITORY).get_job_origin(job)


def run_job(
    instance: dg.DagsterInstance,
    defs: dg.Definitions,
    job: str | None,
    *,
    first: date | None = None,
    last: date | None = None,
    assets: Sequence[str] | None = None,
    run_config: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    tags: Mapping[str, str] | None = None,
    listener: Callable[[str, Sequence[str]], Listener] | None = None,
) -> RunReport:
    """Run a job here and now, as one run, and wait for its end.

    Args:
        instance: where the run is recorded.
        defs: the graph.
        job: name of a job; None for just ``assets``.
        first: first session of the run; None for a job without partitions.
        last: last session, for a range; ``first`` when None.
        assets: keys to run alone.
        run_config: configuration of steps.
        now: the run's ``now``, when the caller has read the clock already.
        tags: further run tags.
        listener: given the run id and its steps, returns what every event is told to.

    Returns:
        How it ended; a failed step does not raise.

    Raises:
        KeyboardInterrupt: Ctrl-C, or a signal that means the same; the run is recorded as failed.
    """
    definition = (
        defs.resolve_job_def(job)
        if job is not None
        else defs.resolve_implicit_global_asset_job_def()
    )
    selection = {dg.AssetKey(name) for name in assets} if assets else None
    all_tags = {
        **definition.run_tags,
        **process_tags(),
        **({NOW_TAG: now.isoformat()} if now else {}),
        **_partition_tags(first, last or first),
        **(tags or {}),
    }
    started = time.monotonic()
    run = instance.create_run_for_job(
        definition,
        run_config={**_QUIET, **(run_config or {})},
        tags=all_tags,
        asset_selection=selection,
        remote_job_origin=_origin(definition.name),
    )
    if listener is not None:
        steps = list(run.step_keys_to_execute or ())
        instance.add_event_listener(run.run_id, listener(run.run_id, steps))
    with kept_open(Path(instance.root_directory), run.run_id):
        result = execute_run(InMemoryJob(definition), run, instance, raise_on_error=False)
    if any(_was_interrupted(event) for event in result.all_events):
        # Dagster records the interruption as a failed step and goes on; the user meant us all.
        raise KeyboardInterrupt
    return RunReport(
        run_id=run.run_id,
        job=definition.name,
        success=result.success,
        seconds=time.monotonic() - started,
        failures=_failures(result),
        skipped=[e.step_key or "" for e in result.all_events if e.is_step_skipped],
    )


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error if event.is_step_failure else None
    while error is not None:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause
    return False


def _partition_tags(first: date | None, last: date | None) -> dict[str, str]:
    if first is None or last is None:
        return {}
    if first == last:
        return {PARTITION_TAG: str(first)}
    return {RANGE_START_TAG: str(first), RANGE_END_TAG: str(last)}


def _failures(result: dg.JobExecutionResult) -> list[StepFailure]:
    found = [
        StepFailure(event.step_key or "?", failure_reason(event))
        for event in result.all_events
        if event.is_step_failure
    ]
    if not found and not result.success:
        found = [
            StepFailure(result.job_def.name, event.message or "the run failed outside its steps")
            for event in result.all_events
            if event.is_job_failure
        ]
    return found


def failure_reason(event: dg.DagsterEvent) -> str:
    """One sentence on why a step failed: what the asset said, else the innermost error."""
    data = event.step_failure_data
    if data.user_failure_data is not None and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return event.message or "unknown"
    return error.message.strip().splitlines()[0]


def materialised_days(instance: dg.DagsterInstance, asset: str) -> set[str]:
    """Partition keys of an asset that have been materialised."""
    return instance.get_materialized_partitions(dg.AssetKey(asset))
