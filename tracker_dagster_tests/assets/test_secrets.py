"""Keys in use are found nowhere: not in events, logs, errors, metadata, or any file of the home."""

import logging

import pytest

from tracker_dagster.resources import FixedClock
from tracker_dagster_tests.assets.place import (
    DAY,
    NOW,
    TODAY,
    Place,
    failed_steps,
    recorded_market,
    stored_instance,
)

REST_KEY, KEY_ID, SECRET = "r3st-k3y-of-mine", "k3y-id-of-mine", "s3cr3t-of-mine"
KEYS = (REST_KEY, KEY_ID, SECRET)


def keyed(home, url):
    return Place(
        home,
        url,
        more_settings={
            "massive_api_key": REST_KEY,
            "massive_key_id": KEY_ID,
            "massive_secret_key": SECRET,
            "massive_rest_url": url,
            "massive_s3_url": url,
        },
        resources={"clock": FixedClock(NOW)},
    )


def found_in(folder):
    """Files under the folder that hold a key."""
    return [
        (path.name, key)
        for path in folder.rglob("*")
        if path.is_file()
        for key in KEYS
        if key.encode() in path.read_bytes()
    ]


def everything_said(result):
    """All that events carry, with the errors' stacks and causes."""
    said = []
    for event in result.all_events:
        said.append(repr(event))
        if event.is_step_failure:
            said.append(event.step_failure_data.error.to_string())
    return "\n".join(said)


ASSETS = ["stock_day_aggs", "option_day_aggs", "option_contracts", "option_chain", "bars_1m"]


@pytest.mark.feature(37)
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        (None, {}),  # nothing wrong but the key itself
        ("server_error", {"status": 500}),
        ("html", {"status": 200}),
        ("drop_connection", {}),
    ],
)
def test_no_key_is_written_or_said_when_everything_fails(tmp_path, caplog, capfd, fault, options):
    accepted = ["another"] if fault is None else KEYS
    caplog.set_level(logging.DEBUG)
    with recorded_market(accepted_keys=accepted) as (sim, _):
        place = keyed(tmp_path / "home", sim.url)
        if fault:
            sim.fault(fault, "*", **options)
        with stored_instance(place.home / "dagster") as instance:
            day = place.run(["universe", *ASSETS[:2]], DAY, instance=instance)
            today = place.run(["universe", *ASSETS[2:]], TODAY, instance=instance)
            stored = [
                repr(entry)
                for run in instance.get_runs()
                for entry in instance.all_logs(run.run_id)
            ]
    assert set(failed_steps(day)) == {"stock_day_aggs", "option_day_aggs"}
    assert set(failed_steps(today)) == {"option_contracts", "bars_1m"}
    written = capfd.readouterr()
    said = "\n".join(
        [
            everything_said(day),
            everything_said(today),
            *stored,
            caplog.text,
            written.out,
            written.err,
            repr(place.settings),
            repr(place.market),
        ]
    )
    assert len(stored) > 20
    assert [key for key in KEYS if key in said] == []
    assert len(list(place.home.rglob("*"))) > 5
    assert found_in(place.home) == []


@pytest.mark.feature(37)
def test_a_good_day_with_keys_leaves_none_behind(tmp_path):
    with recorded_market(accepted_keys=KEYS) as (sim, _):
        place = keyed(tmp_path / "home", sim.url)
        place.enrol()
        assert place.run("daily", TODAY).success
    assert place.rows("option_chain").height > 0
    assert found_in(place.home) == []


def test_the_search_would_find_a_key(tmp_path):
    (tmp_path / "leak").write_bytes(b"\x00..." + SECRET.encode())
    assert found_in(tmp_path) == [("leak", SECRET)]
