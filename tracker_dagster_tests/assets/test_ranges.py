"""A range that ends early: what was committed is known to Dagster, whatever ended it."""

import dagster as dg
import duckdb
import polars as pl
import pytest

from tracker_dagster.assets import day_files
from tracker_dagster_tests.assets.place import PAST, failed_steps

BAD = PAST[2]


@pytest.fixture
def breaks(monkeypatch):
    """Make the reading of one day of the range end with an error."""
    real = day_files.parse_day_aggs

    def with_error(error):
        def parse(csv, day, *more):
            if day == BAD:
                raise error
            return real(csv, day, *more)

        monkeypatch.setattr(day_files, "parse_day_aggs", parse)

    return with_error


def assert_the_first_two_are_known(place):
    assert sorted(set(place.rows("stock_day_aggs")["trade_date"])) == PAST[:2]
    known = place.instance.get_materialized_partitions(dg.AssetKey("stock_day_aggs"))
    assert sorted(known) == [str(day) for day in PAST[:2]]


@pytest.mark.feature(10)
@pytest.mark.parametrize(
    "error",
    [
        pl.exceptions.ComputeError("could not parse"),
        duckdb.IOException("IO Error: read failed"),
        RuntimeError("anything at all"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_days_before_an_unforeseen_error_are_kept(place, breaks, error):
    breaks(error)
    result = place.run(["stock_day_aggs"], PAST[0], PAST[-1])
    assert failed_steps(result) == ["stock_day_aggs"]
    assert_the_first_two_are_known(place)
    # The error is shown as it is, not dressed as one that we know.
    (failed,) = (event for event in result.all_events if event.is_step_failure)
    shown = failed.step_failure_data.error
    assert type(error).__name__ in str(shown.cause or shown)


def test_days_before_an_interruption_are_kept(place, breaks):
    breaks(KeyboardInterrupt())
    assert not place.run(["stock_day_aggs"], PAST[0], PAST[-1]).success
    assert_the_first_two_are_known(place)
