"""The loader and the valuation unchanged on real files of June 2014, served as a bucket."""

import json
import threading
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import boto3
import dagster as dg
import polars as pl
import pytest
from moto.server import ThreadedMotoServer

from tracker_dagster.analytics.returns import adjust_for_splits
from tracker_dagster.definitions import build_defs
from tracker_dagster.ledger.commands import CANONICAL_SINCE, sync_universe
from tracker_dagster.resources import FixedClock
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.surface import IV_SURFACE, IV_TERM_STRUCTURE
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.seed_files import seed_file
from tracker_dagster.settings import Settings
from tracker_dagster.warehouse import Warehouse

MADE = (
    "universe", "stock_day_aggs", "option_day_aggs", "index_bars", "treasury_yields",
    "corporate_actions", "option_greeks", "iv_surface", "iv_term_structure",
)  # fmt: skip
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


class _FilesAndActions(BaseHTTPRequestHandler):
    """A vendor whose plan has flat files, splits and dividends, and nothing else over REST."""

    actions: ClassVar[dict] = {}

    def do_GET(self):
        kind = self.path.partition("?")[0].rpartition("/")[2]
        if kind in ("splits", "dividends"):
            code, answer = 200, {"status": "OK", "results": self.results(kind)}
        else:
            code, answer = 403, {"status": "NOT_AUTHORIZED", "message": "not in your plan"}
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def results(self, kind):
        asked = parse_qs(urlsplit(self.path).query)
        date_of = {"splits": "execution_date", "dividends": "ex_dividend_date"}[kind]
        first, last = asked[f"{date_of}.gte"][0], asked[f"{date_of}.lte"][0]
        rows = [{**row, "id": f"{row['ticker']}-{row[date_of]}"} for row in self.actions[kind]]
        return [row for row in rows if first <= row[date_of] <= last]

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def rest(real_data):
    _FilesAndActions.actions = json.loads((real_data / "corporate_actions.json").read_text())
    server = ThreadingHTTPServer(("127.0.0.1", 0), _FilesAndActions)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def warehouse(bucket, rest, tmp_path_factory):
    data = tmp_path_factory.mktemp("real")
    settings = Settings(
        data_dir=data,
        massive_api_key="rest",
        massive_key_id="id",
        massive_secret_key="secret",
        massive_s3_url=bucket,
        massive_rest_url=rest,
    )
    clock = FixedClock(datetime(2014, 6, 20, 20, tzinfo=UTC))
    sync_universe(Warehouse(settings.database), seed_file("universe.csv"), CANONICAL_SINCE)
    defs = build_defs(settings, {"clock": clock})
    job = defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey(name) for name in MADE],
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


def test_every_traded_contract_is_valued_or_says_why(warehouse):
    rows = warehouse.read(OPTION_GREEKS)
    traded = warehouse.read(OPTION_DAY_AGGS)
    assert rows.select("trade_date", "symbol").equals(traded.select("trade_date", "symbol"))
    assert set(rows["basis"]) == {"day_file"}
    assert set(rows["style"]) == {"american"}
    # No curve is in the plan: that of the year's end before stands for it, by its name.
    assert set(rows.drop_nulls("rate")["rate_source"]) == {"fallback 2013-12-31"}
    # August's dividend is in the file, but nobody had declared it in June.
    assert set(rows["dividend_source"]) == {"corporate_actions"}
    assert set(rows.drop_nulls("dividends_value")["dividends_value"]) == {0.0}
    ok = rows.filter(pl.col("status") == "OK")
    assert ok.height > 0.85 * rows.height
    stale = {"BELOW_INTRINSIC", "ABOVE_MAX", "IMMEDIATE_EXERCISE", "NO_TIME_VALUE", "EXPIRED"}
    assert set(rows["status"]) <= {"OK", *stale}


def test_saturday_expiries_are_those_of_the_session_before(warehouse):
    """Until 2015 monthly options expired on the Saturday after their last session."""
    rows = warehouse.read(OPTION_GREEKS, where={"trade_date": BEFORE})
    saturday = rows.filter(pl.col("expiry") == date(2014, 6, 21))
    assert saturday.height > 50
    assert saturday["years"].unique().to_list() == pytest.approx([14 / 365])


def test_volatility_goes_on_across_the_split(warehouse):
    """Seven new shares for one change every strike, and nothing about what options cost."""
    terms = warehouse.read(IV_TERM_STRUCTURE).sort("trade_date")
    before, after = terms["iv_30d"]
    assert 0.15 < before < 0.35
    assert after == pytest.approx(before, abs=0.03)
    smiles = warehouse.read(IV_SURFACE, where={"trade_date": AFTER})
    assert (smiles["status"] == "OK").mean() > 0.7
    # Apple reported on July 22: what expires after it costs more than what expires before.
    at_the_money = dict(smiles.select("expiry", "atm_volatility").drop_nulls().iter_rows())
    assert at_the_money[date(2014, 7, 25)] > at_the_money[date(2014, 7, 19)] + 0.01
