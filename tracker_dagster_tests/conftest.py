"""What every test may use: settings of a temporary home, real data where it is present."""

import os
from pathlib import Path

import pytest

# Before Dagster is imported anywhere: no telemetry, no warnings of its beta interfaces.
os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"

REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
MASSIVE_VARIABLES = ("MASSIVE_", "TRACKER_", "DAGSTER_HOME", "AWS_")


@pytest.fixture(autouse=True)
def _no_ambient_configuration(monkeypatch, tmp_path):
    """No key, address or data folder of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith(MASSIVE_VARIABLES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TRACKER_HOME", str(tmp_path))


@pytest.fixture(scope="session")
def real_data():
    """Folder of real market data; the test is skipped where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"real market data is not at {REAL_DATA}")
    return REAL_DATA


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Forget the storage of Dagster instances that are gone.

    A sensor's context enters the instance that it is handed a second time, and Dagster then never
    leaves it again: whatever loads definitions afterwards in this process asks a dead instance.
    """
    from dagster._core.storage.defs_state.base import _current_storage

    _current_storage.set(None)
