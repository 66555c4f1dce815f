"""Schedules and sensors over whole years of ticks: never a day off, never a future partition."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from tracker_dagster import trading_calendar as cal
from tracker_dagster.assets.partitions import TRADING_DAYS
from tracker_dagster.automation import sensors
from tracker_dagster.automation.schedules import daily_after_close, daily_request
from tracker_dagster.automation.turnstile import daily_lock
from tracker_dagster.resources import SLOT_TAG, Knobs
from tracker_dagster.settings import Settings
from tracker_dagster_tests.automation.runs import run_in

ET = ZoneInfo("America/New_York")


CLOSED = datetime(2026, 11, 20, 16, 20, tzinfo=ET)


@pytest.fixture
def tick(tmp_path):
    """What the daily schedule answers at a moment."""
    with dg.DagsterInstance.ephemeral() as instance:

        def answer(moment):
            return daily_request(instance, tmp_path, moment)

        answer.instance, answer.run_dir = instance, tmp_path
        yield answer


def test_the_schedule_asks_with_the_instance_and_folder_of_its_place(tmp_path):
    knobs = Knobs.from_settings(Settings(data_dir=tmp_path))
    with dg.DagsterInstance.local_temp(
        str(tmp_path), {"telemetry": {"enabled": False}}
    ) as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=CLOSED, resources={"knobs": knobs}
        )
        assert daily_after_close(context).partition_key == "2026-11-20"
        with daily_lock(knobs.run_dir, wait=False):
            assert isinstance(daily_after_close(context), dg.SkipReason)
        run_in(instance, dg.DagsterRunStatus.QUEUED, tracker__lane="daily")
        assert isinstance(daily_after_close(context), dg.SkipReason)


@pytest.mark.feature(38)
@pytest.mark.parametrize(
    ("moment", "partition"),
    [
        (datetime(2026, 11, 20, 16, 20, tzinfo=ET), "2026-11-20"),
        (datetime(2026, 11, 20, 13, 20, tzinfo=ET), None),  # a full day closes later
        (datetime(2026, 11, 27, 13, 20, tzinfo=ET), "2026-11-27"),  # half day
        (datetime(2026, 11, 27, 16, 20, tzinfo=ET), None),
        (datetime(2026, 11, 26, 16, 20, tzinfo=ET), None),  # Thanksgiving
        (datetime(2025, 1, 9, 16, 20, tzinfo=ET), None),  # day of mourning
        (datetime(2026, 3, 9, 16, 20, tzinfo=ET), "2026-03-09"),  # first after the clocks changed
    ],
)
def test_daily_runs_once_after_each_close(tick, moment, partition):
    answer = tick(moment)
    if partition is None:
        assert isinstance(answer, dg.SkipReason)
    else:
        assert answer.partition_key == partition


def test_the_schedule_keeps_still_while_tracker_daily_works(tick):
    with daily_lock(tick.run_dir, wait=False):
        assert "`tracker daily`" in tick(CLOSED).skip_message
        # Nor is it too late a quarter of an hour after.
        waiting = tick(CLOSED + timedelta(minutes=15))
        assert "`tracker daily`" in waiting.skip_message
    assert tick(CLOSED + timedelta(minutes=30)).partition_key == "2026-11-20"
    assert isinstance(tick(CLOSED + timedelta(minutes=45)), dg.SkipReason)


def test_the_schedule_asks_for_the_same_run_at_each_of_its_ticks(tick):
    ticks = [tick(CLOSED + timedelta(minutes=late)) for late in (0, 15, 30)]
    assert len({request.run_key for request in ticks}) == 1


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED])
def test_the_schedule_keeps_still_while_a_daily_run_is_unfinished(tick, status):
    run = run_in(tick.instance, status, tracker__lane="daily")
    assert run.run_id[:8] in tick(CLOSED).skip_message
    tick.instance.report_run_canceled(run)
    assert isinstance(tick(CLOSED), dg.RunRequest)


def test_every_hour_of_a_year_asks_only_for_sessions_that_have_begun(tick):
    """All ticks of the schedule and of both market-hours sensors, each hour of 2026 and 2027."""
    instance = dg.DagsterInstance.ephemeral()
    asked = set()
    hour = datetime(2026, 1, 1, tzinfo=UTC)
    while hour < datetime(2027, 1, 8, tzinfo=UTC):
        requests = {
            hour + timedelta(minutes=20): [tick((hour + timedelta(minutes=20)).astimezone(ET))]
        }
        for minute in (0, 50):
            moment = hour + timedelta(minutes=minute)
            today = cal.trading_date(moment)
            if not cal.is_session(today):
                continue
            five, fifteen = timedelta(minutes=5), timedelta(minutes=15)
            refreshes, chains = cal.capture_slots(today, 5), cal.chain_slots(today)
            requests[moment] = [
                sensors.slot_request(instance, "refresh", refreshes, five, moment),
                sensors.slot_request(instance, "chain_capture", chains, fifteen, moment),
            ]
        for moment, answers in requests.items():
            for request in answers:
                if isinstance(request, dg.RunRequest):
                    key = date.fromisoformat(request.partition_key)
                    assert key == cal.trading_date(moment)
                    assert cal.session_on(key).open <= moment
                    asked.add(key)
        hour += timedelta(hours=1)
    assert asked == set(cal.sessions_between(date(2026, 1, 1), date(2027, 1, 7)))


def test_a_slot_is_asked_for_once_and_never_over_a_run_under_way():
    instance = dg.DagsterInstance.ephemeral()
    day = date(2026, 11, 20)
    slots, tolerance = cal.capture_slots(day, 5), timedelta(minutes=5)

    @dg.job
    def refresh():
        pass

    first = datetime(2026, 11, 20, 10, 1, tzinfo=ET)
    request = sensors.slot_request(instance, "refresh", slots, tolerance, first)
    assert request.partition_key == "2026-11-20"
    assert request.tags[SLOT_TAG] == datetime(2026, 11, 20, 15, 0, tzinfo=UTC).isoformat()
    run = instance.create_run_for_job(refresh, tags=request.tags)
    instance.report_run_canceling(run)

    overlapping = sensors.slot_request(
        instance, "refresh", slots, tolerance, first + timedelta(minutes=5)
    )
    assert "under way" in overlapping.skip_message

    instance.report_run_canceled(run)
    same = sensors.slot_request(instance, "refresh", slots, tolerance, first)
    assert "has its run" in same.skip_message
    following = sensors.slot_request(
        instance, "refresh", slots, tolerance, first + timedelta(minutes=5)
    )
    assert following.tags[SLOT_TAG] == datetime(2026, 11, 20, 15, 5, tzinfo=UTC).isoformat()


@pytest.mark.feature(38)
def test_partitions_are_the_sessions_of_the_calendar():
    now = datetime(2026, 11, 20, 12, tzinfo=ET)
    keys = TRADING_DAYS.get_partition_keys(current_time=now)
    expected = cal.sessions_between(cal.first_session(), date(2026, 11, 20))
    assert keys == [str(day) for day in expected]


@pytest.mark.parametrize("day", ["2026-11-26", "2026-11-21", "2025-01-09", "2012-10-29"])
def test_a_day_off_has_no_partition(day):
    assert not TRADING_DAYS.has_partition_key(day)


@pytest.mark.feature(38)
def test_everything_is_off_until_turned_on():
    from tracker_dagster.automation import schedules

    for schedule in schedules.ALL:
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        assert "off until" in (schedule.description or "").lower()
    for sensor in sensors.ALL:
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
        assert "off until" in (sensor.description or "").lower()
