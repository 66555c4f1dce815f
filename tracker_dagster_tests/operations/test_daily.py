import io
import socket
import subprocess
import sys
from functools import cached_property

import dagster as dg
import pytest
import yaml
from pydantic import SecretStr
from rich.console import Console

from tracker_dagster.automation.turnstile import BusyError
from tracker_dagster.definitions import build_defs
from tracker_dagster.operations.choice import Choice
from tracker_dagster.operations.daily import daily
from tracker_dagster.operations.environment import dagster_yaml
from tracker_dagster.operations.market import MarketDownError, free_port
from tracker_dagster.operations.runs import opened_instance
from tracker_dagster.operations.workplace import RunFailedError, Workplace
from tracker_dagster.settings import Settings
from tracker_dagster_tests.assets.place import QuickMarket
from tracker_dagster_tests.automation.runs import run_in
from tracker_dagster_tests.sources.scripted_server import Reply, ScriptedServer


@pytest.fixture
def place(tmp_path):
    # Nobody answers there: whoever is refused has asked the market nothing.
    settings = Settings(data_dir=tmp_path, sim_url="http://127.0.0.1:9")
    with opened_instance(settings) as instance:
        yield Workplace(settings, Console(file=io.StringIO()), instance)


def test_a_daily_by_hand_is_refused_while_a_scheduled_one_runs(place):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        run = run_in(
            place.instance,
            dg.DagsterRunStatus.STARTED,
            tracker__lane="daily",
            tracker__host=socket.gethostname(),
            tracker__pid=str(worker.pid),
        )
        with pytest.raises(BusyError, match=run.run_id[:8]):
            daily(place, Choice(), wait=False)


@pytest.mark.parametrize("lane", ["daily", "flat_files"])
def test_the_queue_lets_one_run_of_a_lane_out_at_a_time(lane):
    limits = yaml.safe_load(dagster_yaml())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert {"key": "tracker/lane", "value": lane, "limit": 1} in limits


class QuickWorkplace(Workplace):
    """A workplace whose clients do not insist for minutes."""

    @cached_property
    def market(self):
        return QuickMarket(self.settings)

    @cached_property
    def definitions(self):
        return build_defs(self.settings, {"market": self.market})


def vendor(tmp_path, url):
    """Settings of a real vendor's account whose addresses are ``url``."""
    return Settings(
        data_dir=tmp_path,
        massive_api_key=SecretStr("key"),
        massive_key_id=SecretStr("id"),
        massive_secret_key=SecretStr("secret"),
        massive_rest_url=url,
        massive_s3_url=url,
    )


def workplace_of(settings, instance):
    return QuickWorkplace(settings, Console(file=io.StringIO()), instance)


@pytest.mark.slow
def test_a_daily_against_a_vendor_that_is_silent_says_so(tmp_path):
    settings = vendor(tmp_path, f"http://127.0.0.1:{free_port()}")
    silent = pytest.raises(MarketDownError, match=r"failed; .* does not answer")
    with opened_instance(settings) as instance, silent:
        daily(workplace_of(settings, instance), Choice())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(503, b"upstream"), MarketDownError),
        (Reply(drop=True), MarketDownError),
        (Reply(429), RunFailedError),
        (Reply(401, b'{"status":"ERROR","error":"Unknown API Key"}'), RunFailedError),
        (Reply(200, b"<html>"), RunFailedError),
    ],
)
def test_a_failed_run_is_the_markets_silence_only_where_it_is_silent(tmp_path, reply, kind):
    server = ScriptedServer([reply])
    try:
        with dg.DagsterInstance.ephemeral() as instance:
            failed = workplace_of(vendor(tmp_path, server.url), instance).failed("it failed")
    finally:
        server.close()
    assert type(failed) is kind
    assert str(failed).startswith("it failed")
    assert len(server.seen) == 1
