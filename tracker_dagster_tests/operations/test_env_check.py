import io

import pytest
from rich.console import Console

from tracker_dagster.marketsim import MarketSim
from tracker_dagster.operations.env_check import hints, market_findings, setting_lines
from tracker_dagster.operations.env_view import print_environment
from tracker_dagster.operations.market import free_port
from tracker_dagster.schemas.decisions import LANES
from tracker_dagster.settings import Settings, load_settings

KEY, KEY_ID, SECRET = "rk_VeryPrivate77", "id_AlsoPrivate88", "sk_MostPrivate99"


def _keyed(url):
    return Settings(
        massive_api_key=KEY,
        massive_key_id=KEY_ID,
        massive_secret_key=SECRET,
        massive_rest_url=url,
        massive_s3_url=url,
    )


@pytest.mark.feature(37)
def test_no_part_of_a_key_is_shown(tmp_path):
    with MarketSim(tickers=["AAPL"], accepted_keys=[KEY]) as sim:
        output = io.StringIO()
        console = Console(file=output, width=200)
        assert print_environment(_keyed(sim.url), tmp_path, console)
    text = output.getvalue()
    for secret in (KEY, KEY_ID, SECRET):
        for length in (4, 6, len(secret)):
            assert secret[:length] not in text
            assert secret[-length:] not in text
    assert "MASSIVE_API_KEY" in text
    assert "not set" in text


def test_a_wrong_key_is_told_without_it(tmp_path):
    with MarketSim(tickers=["AAPL"], accepted_keys=["other"]) as sim:
        (finding,) = market_findings(_keyed(sim.url))
    assert finding.ok is False
    assert "check the key" in finding.detail
    assert KEY not in finding.detail


@pytest.mark.parametrize("lane", ["FOO", " ", "SAFE_LOW", "SAFE,ALL"])
def test_a_lane_that_there_is_not_is_refused(lane, monkeypatch):
    monkeypatch.setenv("TRACKER_LANE", lane)
    with pytest.raises(ValueError, match="one of SAFE, SAFE_HIGH, SAFE_HIGH_PAYOUT"):
        Settings()


@pytest.mark.parametrize("lane", [*LANES, "ALL"])
def test_lanes_may_be_written_in_either_case(lane, monkeypatch):
    for written in (lane, lane.lower(), f" {lane.title()} "):
        monkeypatch.setenv("TRACKER_LANE", written)
        assert Settings().lane == lane


@pytest.mark.feature(34)
def test_each_value_comes_with_its_source(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("TRACKER_LANE=SAFE\nMASSIVE_API_KEY=abc\n")
    monkeypatch.setenv("TRACKER_HOME", str(tmp_path))
    monkeypatch.setenv("TRACKER_SEED", "5000")
    lines = setting_lines(load_settings(), (tmp_path / ".env").read_text())
    found = {line.variable: (line.value, line.source) for line in lines}
    assert found["TRACKER_LANE"] == ("SAFE", ".env")
    assert found["TRACKER_SEED"] == ("5000.0", "environment")
    assert found["TRACKER_TOP_N"] == ("3", "default")
    assert found["MASSIVE_API_KEY"] == ("set", ".env")
    assert all(line.description for line in lines)


def test_credentials_in_an_address_are_masked():
    settings = Settings(massive_rest_url="https://me:hunter2@proxy.example/massive")
    found = {line.variable: line.value for line in setting_lines(settings, "")}
    assert "hunter2" not in found["MASSIVE_REST_URL"]
    assert "proxy.example" in found["MASSIVE_REST_URL"]


@pytest.mark.feature(34)
def test_a_plan_without_snapshots_is_named(tmp_path):
    with MarketSim(tickers=["AAPL"], plan="basic") as sim:
        found = {finding.what: finding for finding in market_findings(_keyed(sim.url))}
    assert found["option chain snapshots"].ok is None
    assert "plan" in found["option chain snapshots"].detail


def test_an_absent_simulated_market_is_no_failure():
    (finding,) = market_findings(Settings(sim_url=f"http://127.0.0.1:{free_port()}"))
    assert finding.ok is None
    assert "the simulated market is not running: `tracker sim`" in finding.detail


def test_what_is_off_is_said():
    text = " ".join(hints(Settings(massive_api_key="k")))
    assert "MASSIVE_KEY_ID" in text
    assert "MASSIVE_REQUESTS_PER_MINUTE" in text
    assert "simulated market" in " ".join(hints(Settings()))


def test_a_file_that_is_not_there_is_named(tmp_path):
    gone, there = tmp_path / "gone.csv", tmp_path / "there.csv"
    there.touch()
    named = hints(Settings(vix_futures_csv=gone, earnings_csv=there))
    assert [line for line in named if "_CSV" in line] == [
        f"TRACKER_VIX_FUTURES_CSV names {gone}, which is not a file."
    ]
