"""The run's one reading of the clock, and whose it is when a run is repeated."""

from datetime import UTC, datetime

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from tracker_dagster.resources import (
    HOST_TAG,
    NOW_TAG,
    PID_TAG,
    SLOT_TAG,
    FixedClock,
    process_tags,
    run_now,
)

PARENTS, OWN, CLOCK = (datetime(2026, 6, 3, hour, tzinfo=UTC) for hour in (14, 15, 16))


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def repeat(instance):
    """Run two steps that ask for ``now``; with ``parent``, as a repetition of that run."""

    def run(tags, parent=None):
        seen = []

        @dg.op(out=dg.Out(dg.Nothing))
        def first(context):
            seen.append(run_now(context, FixedClock(CLOCK)))

        @dg.op(ins={"after": dg.In(dg.Nothing)})
        def second(context):
            # By now the clock has moved on.
            seen.append(run_now(context, FixedClock(CLOCK if parent is None else seen[0])))

        @dg.job(executor_def=dg.in_process_executor)
        def job():
            second(first())

        parent_id = parent.run_id if parent else None
        made = instance.create_run_for_job(
            job, tags=tags, parent_run_id=parent_id, root_run_id=parent_id
        )
        assert execute_run(InMemoryJob(job), made, instance).success
        assert len(set(seen)) == 1
        return seen[0], instance.get_run_by_id(made.run_id)

    return run


def test_now_is_read_once_and_kept_as_a_tag(repeat):
    now, run = repeat({})
    assert now == CLOCK
    assert run.tags[NOW_TAG] == CLOCK.isoformat()
    assert {name: run.tags[name] for name in process_tags()} == process_tags()


def test_a_run_keeps_the_now_that_it_was_launched_with(repeat):
    now, run = repeat({NOW_TAG: OWN.isoformat()})
    assert now == OWN
    assert run.tags[NOW_TAG] == OWN.isoformat()


def test_a_repeated_run_does_not_live_in_its_parents_past(repeat):
    """Dagster copies the parent's tags; its process is dead and its hour is over."""
    dead = {HOST_TAG: "elsewhere", PID_TAG: "1", SLOT_TAG: PARENTS.isoformat()}
    _, parent = repeat({NOW_TAG: PARENTS.isoformat(), SLOT_TAG: PARENTS.isoformat()})
    now, run = repeat({**parent.tags, **dead}, parent)
    assert now == CLOCK
    assert run.tags[NOW_TAG] == CLOCK.isoformat()
    assert {name: run.tags[name] for name in process_tags()} == process_tags()


def test_a_repeated_run_may_be_given_an_instant_of_its_own(repeat):
    _, parent = repeat({NOW_TAG: PARENTS.isoformat()})
    now, _ = repeat({**parent.tags, NOW_TAG: OWN.isoformat()}, parent)
    assert now == OWN
