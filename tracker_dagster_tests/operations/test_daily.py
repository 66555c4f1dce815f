import io
import socket
import subprocess
import sys

import dagster as dg
import pytest
import yaml
from rich.console import Console

from tracker_dagster.automation.turnstile import BusyError
from tracker_dagster.operations.choice import Choice
from tracker_dagster.operations.daily import daily
from tracker_dagster.operations.environment import dagster_yaml
from tracker_dagster.operations.runs import opened_instance
from tracker_dagster.operations.workplace import Workplace
from tracker_dagster.settings import Settings
from tracker_dagster_tests.automation.runs import run_in


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


def test_the_queue_lets_one_daily_out_at_a_time():
    limits = yaml.safe_load(dagster_yaml())["concurrency"]["runs"]["tag_concurrency_limits"]
    assert {"key": "tracker/lane", "value": "daily", "limit": 1} in limits
