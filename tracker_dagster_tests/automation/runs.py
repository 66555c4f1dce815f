"""Runs made by hand in a state that tests need."""

import dagster as dg

from tracker_dagster.operations.runs import _origin


@dg.job
def daily():
    """Stands for the real job; only its name and tags are looked at."""


def run_in(instance, status, **tags):
    """A run of ``daily`` in the state; the queue takes only runs of a known code location."""
    named = {name.replace("__", "/"): value for name, value in tags.items()}
    return instance.create_run_for_job(
        daily, tags=named, status=status, remote_job_origin=_origin("daily")
    )
