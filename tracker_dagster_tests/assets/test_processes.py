"""Runs among other processes: killed, out of disk, beside writers and readers."""

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager

import dagster as dg
import pytest

from tracker_dagster.automation.orphans import fail_orphaned_runs
from tracker_dagster.automation.sensors import day_files_published, market_hours_refresh
from tracker_dagster.resources import HOST_TAG, PID_TAG, SLOT_TAG, WarehouseResource
from tracker_dagster_tests.assets.place import DAY, NOW, PAST, failure, stored_instance
from tracker_dagster_tests.warehouse.children import child, finished, hears

RUNNER = """
from tracker_dagster_tests.assets.place import *
place = Place(path, sys.argv[2])
"""
SLOW_DISK = """
from tracker_dagster.warehouse import store
write = store._replace_unit
def midway(connection, prepared):
    result = write(connection, prepared)
    if prepared.table.name == "stock_day_aggs":
        say("midway")
        time.sleep(60)
    return result
store._replace_unit = midway
"""


INSTANCE = """
instance = stored_instance(path / "dagster")
"""


def run_in_child(place, body):
    return child(RUNNER + body, place.home, place.url)


@contextmanager
def patient_for(place, seconds):
    """The place, giving a stranger that holds the file only so long."""
    resource = WarehouseResource(database=str(place.settings.database), patience_seconds=seconds)
    place.resources = {"warehouse": resource}
    yield place


def test_a_kill_in_the_middle_of_a_materialisation_leaves_the_partition_whole(settled, sim):
    before = settled.content()
    sim.fault("replaced", "*us_stocks_sip/day_aggs*")  # so that there is something to change
    with run_in_child(settled, SLOW_DISK + "place.run(['stock_day_aggs'], DAY)\n") as writer:
        hears(writer, "midway")
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert settled.content() == before
    assert settled.run(["stock_day_aggs"], DAY).success
    assert settled.content()["stock_day_aggs"] != before["stock_day_aggs"]


FULL_DISK = """
import resource
limit = {limit}
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
result = place.run(["option_day_aggs"], PAST[0], PAST[-1])
say(f"{{result.success}} {{failure(result)}}")
"""


def test_a_full_disk_fails_the_day_and_leaves_it_as_it_was(settled, sim):
    before = settled.content()
    sim.fault("replaced", "*us_options_opra/day_aggs*")
    with run_in_child(settled, FULL_DISK.format(limit=100_000)) as writer:
        said = finished(writer).strip().splitlines()[-1]
    assert said.startswith(f"False option_day_aggs {PAST[0]}: no room to write tracker.duckdb")
    assert settled.content() == before
    assert settled.run(["option_day_aggs"], PAST[0], PAST[-1]).success
    assert settled.content()["option_day_aggs"] != before["option_day_aggs"]


def test_a_disk_that_fills_after_the_commit_loses_nothing(settled, sim):
    """There was room for the log, none to merge it into the file."""
    sim.fault("replaced", "*us_options_opra/day_aggs*")
    before = {day: settled.rows("option_day_aggs", day) for day in PAST}
    limit = settled.settings.database.stat().st_size + 20_000
    with run_in_child(settled, FULL_DISK.format(limit=limit)) as writer:
        said = finished(writer).strip().splitlines()[-1]
    assert said.startswith("False option_day_aggs ")
    assert "no room to merge the log of tracker.duckdb" in said
    after = {day: settled.rows("option_day_aggs", day) for day in PAST}
    assert settled.run(["option_day_aggs"], PAST[0], PAST[-1]).success
    done = {day: settled.rows("option_day_aggs", day) for day in PAST}
    assert all(not done[day].equals(before[day]) for day in PAST)
    # Each day is wholly as it was or wholly as it came.
    assert all(after[day].equals(before[day]) or after[day].equals(done[day]) for day in PAST)
    assert after[PAST[0]].equals(done[PAST[0]])
    assert after[PAST[-1]].equals(before[PAST[-1]])


def test_two_runs_write_at_once_and_both_land(place):
    body = "say(place.run(['option_day_aggs'], PAST[0], PAST[-1]).success)\n"
    with run_in_child(place, body) as other:
        assert place.run(["stock_day_aggs"], PAST[0], PAST[-1]).success
        assert finished(other).strip().splitlines()[-1] == "True"
    for table in ("stock_day_aggs", "option_day_aggs"):
        assert sorted(set(place.rows(table)["trade_date"])) == PAST


HOLD = """
with place.warehouse.connection(read_only=sys.argv[3] == "read"):
    say("in")
    time.sleep(1.0)
"""


@pytest.mark.parametrize("how", ["read", "write"])
def test_a_run_waits_for_whoever_has_the_turn(settled, how):
    with child(RUNNER + HOLD, settled.home, settled.url, how) as holder:
        hears(holder, "in")
        assert settled.run(["stock_day_aggs"], DAY).success
        finished(holder)


def test_a_stranger_that_keeps_the_file_open_is_named(settled):
    before = settled.content()
    code = """
import duckdb
with duckdb.connect(path, read_only=True):
    say("in")
    time.sleep(60)
"""
    with child(code, settled.settings.database) as stranger:
        hears(stranger, "in")
        with patient_for(settled, 1.0):
            text = failure(settled.run(["index_bars"], DAY))
        assert f"PID {stranger.pid}" in text
    assert settled.content() == before
    assert settled.run(["index_bars"], DAY).success


def test_a_reader_polling_beside_a_backfill_sees_whole_days_and_no_error(place):
    seen, errors, done = [], [], threading.Event()

    def poll():
        # A second object on the same file, as another part of the program would have.
        while not done.is_set():
            try:
                rows = place.warehouse.query(
                    "SELECT trade_date, count(*) AS n FROM option_day_aggs GROUP BY 1"
                )
                seen.append(dict(rows.iter_rows()))
            except Exception as error:
                errors.append(error)
            time.sleep(0.01)

    body = """
while not (path / "stop").exists():
    rows = place.warehouse.query("SELECT count(*) AS n FROM option_day_aggs")
    say(rows["n"].item())
"""
    reader = threading.Thread(target=poll)
    with run_in_child(place, body) as other:
        hears(other, "0")
        reader.start()
        try:
            result = place.run(["option_day_aggs"], PAST[0], PAST[-1])
        finally:
            done.set()
            reader.join(30)
            (place.home / "stop").touch()
        counts = [int(line) for line in finished(other).split()]
    assert result.success
    assert errors == []
    whole = dict(place.rows("option_day_aggs").group_by("trade_date").len().iter_rows())
    sums = [sum([whole[day] for day in PAST][:number]) for number in range(6)]
    assert set(counts) <= set(sums)
    assert counts == sorted(counts)
    assert all(found.items() <= whole.items() for found in seen)
    assert seen


@contextmanager
def persistent(place):
    with stored_instance(place.home / "dagster") as instance:
        yield instance


def killed_run(place, body):
    """A run in a process of its own that is killed with its first table half written."""
    code = (
        SLOW_DISK
        + f"""
instance = stored_instance(path / "dagster")
{body}
"""
    )
    with run_in_child(place, code) as writer:
        hears(writer, "midway")
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        return writer.pid


def tick(sensor, place, instance):
    resources = place.definitions.resources
    wanted = sensor.required_resource_keys
    context = dg.build_sensor_context(
        instance=instance, resources={name: resources[name] for name in wanted}
    )
    return sensor(context)


@pytest.mark.slow
def test_a_killed_run_does_not_keep_the_sensor_waiting(settled, sim):
    sim.fault("replaced", f"*us_stocks_sip/day_aggs_v1/*{PAST[-2]}*")
    with persistent(settled) as instance:
        (request,) = tick(day_files_published, settled, instance).run_requests
        body = f"place.run('flat_files', PAST[-2], instance=instance, tags={request.tags!r})"
        pid = killed_run(settled, body)
        (stuck,) = instance.get_runs()
        assert stuck.status is dg.DagsterRunStatus.STARTED
        assert stuck.tags[PID_TAG] == str(pid)
        (again,) = tick(day_files_published, settled, instance).run_requests
        assert again.partition_key == str(PAST[-2])
        assert again.run_key != request.run_key
        assert instance.get_run_by_id(stuck.run_id).status is dg.DagsterRunStatus.FAILURE
        assert settled.run("flat_files", PAST[-2], instance=instance, tags=again.tags).success
        assert isinstance(tick(day_files_published, settled, instance), dg.SkipReason)


def test_a_run_of_a_living_process_or_of_another_host_is_let_be(settled):
    with persistent(settled) as instance:
        job = settled.definitions.resolve_job_def("refresh")
        alive = {HOST_TAG: socket.gethostname(), PID_TAG: str(os.getpid())}
        elsewhere = {HOST_TAG: "another-host", PID_TAG: "1"}
        runs = [instance.create_run_for_job(job, tags=tags) for tags in (alive, elsewhere)]
        for run in runs:
            instance.report_run_canceling(run)
        assert fail_orphaned_runs(instance) == []


def test_the_slot_of_a_killed_refresh_is_free_for_the_next(settled, sim):
    with persistent(settled) as instance:
        request = tick(market_hours_refresh, settled, instance)
        assert request.tags[SLOT_TAG] == NOW.isoformat()
        code = (
            SLOW_DISK.replace("stock_day_aggs", "market_last")
            + f"""
instance = stored_instance(path / "dagster")
place.run("refresh", TODAY, instance=instance, tags={request.tags!r})
"""
        )
        with run_in_child(settled, code) as writer:
            hears(writer, "midway")
            busy = tick(market_hours_refresh, settled, instance)
            assert "still under way" in busy.skip_message
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        sim.set_clock(NOW.replace(minute=55))
        try:
            following = tick(market_hours_refresh, settled, instance)
        finally:
            sim.set_clock(NOW)
        assert following.tags[SLOT_TAG] == NOW.replace(minute=55).isoformat()
        (stuck,) = instance.get_runs()
        assert stuck.status is dg.DagsterRunStatus.FAILURE
