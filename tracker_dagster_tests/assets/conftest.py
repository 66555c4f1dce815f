"""One small market for all tests of assets, and places on it."""

import shutil
from datetime import date

import pytest

from tracker_dagster_tests.assets.place import PAST, TODAY, Place, recorded_market


@pytest.fixture(scope="session")
def recorded():
    """The market and what was asked of it; faults are cleared after each test."""
    with recorded_market() as (sim, requests):
        yield sim, requests


@pytest.fixture
def sim(recorded):
    market, _ = recorded
    yield market
    market.clear_faults()


@pytest.fixture
def requests(recorded):
    return recorded[1]


@pytest.fixture(scope="session")
def _enrolled(recorded, tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("enrolled"), recorded[0].url)
    place.enrol()
    return place.home


@pytest.fixture(scope="session")
def _settled(recorded, _enrolled, tmp_path_factory):
    home = tmp_path_factory.mktemp("settled") / "home"
    shutil.copytree(_enrolled, home)
    place = Place(home, recorded[0].url)
    assert place.run("flat_files", date(2026, 5, 26), PAST[-1]).success
    assert place.run("daily", TODAY).success
    return home


@pytest.fixture
def place(sim, tmp_path, _enrolled):
    """An empty home on the market, with its small universe."""
    shutil.copytree(_enrolled, tmp_path / "home")
    return Place(tmp_path / "home", sim.url)


@pytest.fixture
def settled(sim, tmp_path, _settled):
    """A home with a week of day files and today's decisions."""
    shutil.copytree(_settled, tmp_path / "home")
    return Place(tmp_path / "home", sim.url)
