import http.server
import json
import threading
import time
import urllib.request
from datetime import UTC, datetime

import pytest

from tracker_dagster.marketsim import MarketSim
from tracker_dagster.operations import market
from tracker_dagster.settings import Settings


@pytest.fixture
def stranger():
    """A web server that is no market, on a port of its own."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def _settings(tmp_path, port):
    return Settings(data_dir=tmp_path / "data", sim_url=f"http://127.0.0.1:{port}")


def _answers(url):
    try:
        return market.server_time(url) is not None
    except market.MarketDownError:
        return False


def test_nothing_there_is_said_in_words():
    with pytest.raises(market.MarketDownError, match="the simulated market is not running: `track"):
        market.server_time(f"http://127.0.0.1:{market.free_port()}")


def test_a_market_that_answers_is_used_and_left_running(tmp_path, monkeypatch):
    with MarketSim(tickers=["AAPL"], now=datetime(2025, 6, 13, 19, 50, tzinfo=UTC)) as sim:
        settings = Settings(data_dir=tmp_path, sim_url=sim.url)
        with market.ensured_market(settings) as reachable:
            assert reachable.sim_url == sim.url
        assert market.server_time(sim.url).startswith("2025-06-13T15:50")


def test_one_is_started_where_none_answers_and_stopped_after(tmp_path, monkeypatch):
    port = market.free_port()
    told = []
    with market.ensured_market(_settings(tmp_path, port), on_start=told.append) as reachable:
        assert told == [reachable.sim_url] == [f"http://127.0.0.1:{port}"]
        assert _answers(reachable.sim_url)
        import os

        assert os.environ["TRACKER_SIM_URL"] == reachable.sim_url
    assert not _answers(f"http://127.0.0.1:{port}")
    assert "TRACKER_SIM_URL" not in os.environ
    assert (tmp_path / "data" / "run" / "marketsim.log").read_text().startswith("simulated market")


def test_the_market_that_is_started_plants_what_the_settings_say(tmp_path):
    settings = _settings(tmp_path, market.free_port()).model_copy(update={"sim_instability": 0.25})
    with (
        market.ensured_market(settings) as reachable,
        urllib.request.urlopen(f"{reachable.sim_url}/_sim/health") as answer,
    ):
        assert json.load(answer)["instability"] == 0.25


def test_a_port_that_a_stranger_has_is_left_to_it(tmp_path, stranger):
    settings = _settings(tmp_path, stranger)
    with market.ensured_market(settings) as reachable:
        assert reachable.sim_url != settings.sim_url
        assert _answers(reachable.sim_url)


def test_a_stranger_is_no_market(tmp_path, stranger):
    with pytest.raises(market.MarketDownError, match="is not a market"):
        market.require_answer(_settings(tmp_path, stranger))


def test_a_market_that_cannot_start_says_what_its_log_says(tmp_path):
    with (
        pytest.raises(market.MarketDownError, match="invalid choice"),
        market.simulated_market(
            tmp_path / "sim.log", market.free_port(), 1, ["--plan", "platinum"]
        ),
    ):
        pytest.fail("it started")


def test_a_vendor_is_not_replaced_by_a_simulation(tmp_path):
    settings = Settings(data_dir=tmp_path, massive_api_key="k", sim_url="http://127.0.0.1:1")
    started = time.monotonic()
    with market.ensured_market(settings) as reachable:
        assert reachable is settings
    assert time.monotonic() - started < 1
