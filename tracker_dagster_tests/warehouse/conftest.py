import pytest

from tracker_dagster.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "data" / "tracker.duckdb", patience=2.0)
