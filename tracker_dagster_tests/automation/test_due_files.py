from datetime import UTC, date, datetime

import dagster as dg
import polars as pl
import pytest

from tracker_dagster.automation.due_files import due_files
from tracker_dagster.marketsim import MarketSim
from tracker_dagster.resources import MarketData
from tracker_dagster.schemas.market import BARS_1M, STOCK_DAY_AGGS
from tracker_dagster.settings import Settings
from tracker_dagster.sources.massive.flat_files import Dataset
from tracker_dagster.trading_calendar import day_file_available_at, sessions_between
from tracker_dagster.warehouse import IngestedFile, Warehouse

NOW = datetime(2025, 6, 12, 19, 50, tzinfo=UTC)
DAYS = sessions_between(date(2025, 6, 9), date(2025, 6, 11))


@pytest.fixture(scope="module")
def sim():
    with MarketSim(tickers=["AAPL"], now=NOW) as running:
        yield running


@pytest.fixture
def market(sim, tmp_path):
    sim.clear_faults()
    return MarketData(Settings(data_dir=tmp_path, sim_url=sim.url))


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "tracker.duckdb")


def _ingest(warehouse, remote):
    day = remote.day
    frame = STOCK_DAY_AGGS.conform(
        pl.DataFrame({"ticker": ["AAPL"], "open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}),
        trade_date=day,
        source="massive_flat_file",
        available_at=day_file_available_at(day),
        volume=1.0,
    )
    warehouse.replace(
        STOCK_DAY_AGGS,
        frame,
        {"trade_date": day, "source": "massive_flat_file"},
        file=IngestedFile(object_key=remote.key, etag=remote.etag, size_bytes=remote.size),
    )


def days_by_table(due):
    found = {}
    for file in due:
        found.setdefault(file.table.name, []).append(file.day)
    return found


def test_every_published_file_of_an_empty_warehouse_is_due(market, warehouse):
    with dg.DagsterInstance.ephemeral() as instance:
        due = days_by_table(due_files(market, warehouse, instance, [*DAYS, date(2025, 6, 12)]))
    assert set(due) == {"stock_day_aggs", "option_day_aggs", "bars_1m", "index_bars"}
    # The last session's files are not out yet.
    assert due["stock_day_aggs"] == DAYS


@pytest.mark.feature(40)
def test_a_file_that_was_read_is_not_due_until_it_is_replaced(market, warehouse):
    for remote in market.flat_files.list(Dataset.STOCK_DAY, DAYS[0], DAYS[-1]):
        _ingest(warehouse, remote)
    with dg.DagsterInstance.ephemeral() as instance:
        due = days_by_table(due_files(market, warehouse, instance, DAYS))
        assert "stock_day_aggs" not in due
        other = market.flat_files.stat(Dataset.STOCK_DAY, DAYS[1])
        _ingest(warehouse, type(other)(other.day, other.key, other.size, "old", NOW))
        replaced = [
            file for file in due_files(market, warehouse, instance, DAYS) if file.is_replaced
        ]
        assert days_by_table(replaced) == {"stock_day_aggs": [DAYS[1]]}


@pytest.mark.parametrize(
    ("table", "flag"), [(BARS_1M, "no_minute_file"), (STOCK_DAY_AGGS, "no_day_file")]
)
def test_a_file_outside_the_plan_is_asked_for_once(market, warehouse, table, flag):
    with dg.DagsterInstance.ephemeral() as instance:
        for day, metadata in ((DAYS[0], {flag: "not entitled"}), (DAYS[1], {})):
            instance.report_runless_asset_event(
                dg.AssetMaterialization(table.name, partition=str(day), metadata=metadata)
            )
        due = days_by_table(due_files(market, warehouse, instance, DAYS))
    # The second came over REST while its session ran: its file is still wanted.
    assert due[table.name] == DAYS[1:]


def test_nothing_is_asked_of_the_vendor_for_no_days(tmp_path, warehouse):
    unreachable = MarketData(Settings(data_dir=tmp_path, sim_url="http://127.0.0.1:1"))
    with dg.DagsterInstance.ephemeral() as instance:
        assert due_files(unreachable, warehouse, instance, []) == []
