"""The loader unchanged on real files of June 2014, served as a bucket."""

from datetime import UTC, date, datetime

import boto3
import dagster as dg
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from tracker_dagster.analytics.returns import adjust_for_splits
from tracker_dagster.definitions import build_defs
from tracker_dagster.resources import FixedClock
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.settings import Settings
from tracker_dagster.warehouse import Warehouse

BEFORE, AFTER = date(2014, 6, 6), date(2014, 6, 9)


@pytest.fixture(scope="module")
def bucket(real_data):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="flatfiles")
    root = real_data / "flatfiles"
    for path in root.rglob("*.csv.gz"):
        client.upload_file(str(path), "flatfiles", str(path.relative_to(root)))
    yield url
    server.stop()


@pytest.fixture(scope="module")
def warehouse(bucket, tmp_path_factory):
    data = tmp_path_factory.mktemp("real")
    settings = Settings(
        data_dir=data,
        massive_api_key="rest",
        massive_key_id="id",
        massive_secret_key="secret",
        massive_s3_url=bucket,
        massive_rest_url="http://127.0.0.1:1",
    )
    clock = FixedClock(datetime(2014, 6, 20, 20, tzinfo=UTC))
    defs = build_defs(settings, {"clock": clock})
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey("stock_day_aggs"), dg.AssetKey("option_day_aggs")],
        tags={
            "dagster/asset_partition_range_start": str(BEFORE),
            "dagster/asset_partition_range_end": str(AFTER),
        },
    )
    assert result.success
    return Warehouse(settings.database)


def test_both_sessions_of_options_and_stocks_land(warehouse, real_data):
    for table, folder in [(STOCK_DAY_AGGS, "us_stocks_sip"), (OPTION_DAY_AGGS, "us_options_opra")]:
        rows = warehouse.read(table)
        for day in (BEFORE, AFTER):
            file = real_data / "flatfiles" / folder / "day_aggs_v1/2014/06" / f"{day}.csv.gz"
            lines = pl.read_csv(file, infer_schema=False)
            stored = rows.filter(pl.col("trade_date") == day)
            aside = warehouse.query(
                "SELECT count(*) FROM quarantine WHERE table_name = ? AND unit LIKE ?",
                [table.name, f"%{day}%"],
            ).item()
            assert stored.height + aside == lines.height
            assert stored.height > 0
        assert rows["transactions"].null_count() == rows.height


def test_stored_prices_stay_as_traded_and_the_adjusted_series_has_no_jump(warehouse):
    rows = warehouse.read(STOCK_DAY_AGGS, where={"ticker": "AAPL"})
    traded = dict(rows.select("trade_date", "close").iter_rows())
    assert traded[BEFORE] / traded[AFTER] == pytest.approx(7, rel=0.05)
    split = pl.DataFrame(
        {
            "trade_date": [AFTER],
            "ticker": ["AAPL"],
            "action": ["split"],
            "ex_date": [AFTER],
            "action_id": ["2014"],
            "split_from": [1.0],
            "split_to": [7.0],
        }
    )
    adjusted = dict(adjust_for_splits(rows, split, AFTER).select("trade_date", "close").iter_rows())
    assert adjusted[AFTER] / adjusted[BEFORE] == pytest.approx(1, abs=0.03)
    assert warehouse.read(STOCK_DAY_AGGS, where={"ticker": "AAPL"}).equals(rows)


def test_option_terms_are_those_of_the_symbol(warehouse):
    rows = warehouse.read(OPTION_DAY_AGGS, where={"trade_date": AFTER})
    assert set(rows["underlying"]) == {"AAPL"}
    assert set(rows["right"]) == {"C", "P"}
    assert (rows["expiry"] >= AFTER).all()
