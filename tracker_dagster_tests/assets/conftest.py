"""One small market for all tests of assets, and places on it."""

import pytest

from tracker_dagster_tests.assets.place import Place, recorded_market


@pytest.fixture(scope="session")
def recorded():
    with recorded_market() as (sim, requests):
        yield sim, requests


@pytest.fixture
def sim(recorded):
    market, _ = recorded
    yield market
    market.clear_faults()


@pytest.fixture
def place(sim, tmp_path):
    """An empty home on the market, AAPL and SPY enabled."""
    made = Place(tmp_path / "home", sim.url)
    made.enrol()
    return made
