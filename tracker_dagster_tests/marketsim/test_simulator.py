"""The simulator as a process: clock, control endpoints, ports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import requests

from tracker_dagster.marketsim import MarketSim, PortInUseError
from tracker_dagster.marketsim.clock import ClockError, SimClock, default_now
from tracker_dagster_tests.marketsim.conftest import NOW


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        (datetime(2026, 11, 20, 15, 0, tzinfo=UTC), NOW),  # before Friday's close: Thursday
        (datetime(2026, 11, 22, 12, 0, tzinfo=UTC), datetime(2026, 11, 20, 20, 50, tzinfo=UTC)),
        (datetime(2026, 11, 28, 12, 0, tzinfo=UTC), datetime(2026, 11, 27, 17, 50, tzinfo=UTC)),
    ],
)
def test_the_default_moment_is_ten_minutes_before_the_last_close(
    wall: datetime, expected: datetime
) -> None:
    assert default_now(wall) == expected


def test_a_clock_is_frozen_or_runs() -> None:
    clock = SimClock(NOW)
    time.sleep(0.01)
    assert clock.now() == NOW
    clock.set(speed=3600)
    time.sleep(0.05)
    assert (clock.now() - NOW).total_seconds() > 120
    with pytest.raises(ClockError, match="naive"):
        clock.set(datetime(2026, 1, 5, 12))
    with pytest.raises(ClockError, match="outside"):
        clock.set(datetime(1999, 1, 5, 12, tzinfo=UTC))


def test_controls(sim: MarketSim) -> None:
    health = requests.get(f"{sim.url}/_sim/health").json()
    assert (health["status"], health["seed"]) == ("ok", 9300)
    moved = requests.post(
        f"{sim.url}/_sim/clock", json={"now": "2025-06-02T15:50:00-04:00", "speed": 0}
    )
    assert moved.json()["now"] == "2025-06-02T19:50:00+00:00"
    assert sim.simulation.clock.now() == datetime(2025, 6, 2, 19, 50, tzinfo=UTC)
    refused = requests.post(f"{sim.url}/_sim/clock", json={"now": "2025-06-02T15:50:00"})
    assert refused.status_code == 400
    requests.post(f"{sim.url}/_sim/faults", json={"kind": "server_error", "count": 1})
    key = {"apiKey": "k"}
    assert requests.get(f"{sim.url}/v1/marketstatus/now", params=key).status_code == 500
    assert requests.post(f"{sim.url}/_sim/faults", json={"kind": "no"}).status_code == 400
    assert requests.delete(f"{sim.url}/_sim/faults").json() == []
    query = {"ticker": "AAPL", "date": "2026-11-18", "expiry": "2026-12-18", "strike": "240"}
    truth = requests.get(f"{sim.url}/_sim/truth/volatility", params=query).json()
    assert 0.1 < truth["volatility"] < 1


def test_a_foreground_process_starts_quickly_and_names_a_taken_port() -> None:
    with MarketSim(tickers=["AAPL"]) as running:
        port = running.url.rpartition(":")[2]
        refused = subprocess.run(
            [sys.executable, "-m", "tracker_dagster.marketsim", "--port", port],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert refused.returncode == 2
        assert f"port {port} is already in use" in refused.stderr
        with pytest.raises(PortInUseError, match=port):
            MarketSim(port=int(port)).__enter__()
    process = subprocess.Popen(
        [sys.executable, "-m", "tracker_dagster.marketsim", "--port", port, "--seed", "5"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        for _ in range(200):
            try:
                health = requests.get(f"http://127.0.0.1:{port}/_sim/health", timeout=1).json()
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        else:
            pytest.fail("the simulated market did not come up")
        assert health["seed"] == 5
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
