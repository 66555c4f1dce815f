"""The flat files over real sockets with boto3: listing, publication, ranges, replacement."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from botocore.exceptions import ClientError

from tracker_dagster.marketsim import MarketSim
from tracker_dagster.marketsim.server.gzip_members import SizeExceededError, gzip_exact
from tracker_dagster.marketsim.simulator import MarketSim as Sim
from tracker_dagster_tests.marketsim.conftest import NOW, s3_client

BUCKET = "flatfiles"
OPTIONS = "us_options_opra/day_aggs_v1"
STOCKS = "us_stocks_sip/day_aggs_v1"


def key(dataset: str, day: str) -> str:
    return f"{dataset}/{day[:4]}/{day[5:7]}/{day}.csv.gz"


def frame(s3, name: str) -> pl.DataFrame:
    body = s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
    return pl.read_csv(io.BytesIO(gzip.decompress(body)), infer_schema_length=None)


def code(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_a_year_is_listed_in_pages_with_true_sizes(s3) -> None:
    found = []
    pager = s3.get_paginator("list_objects_v2")
    for page in pager.paginate(
        Bucket=BUCKET, Prefix=f"{OPTIONS}/2025/", PaginationConfig={"PageSize": 60}
    ):
        assert page["KeyCount"] <= 60
        found += page["Contents"]
    names = [item["Key"] for item in found]
    assert len(names) == 250
    assert names == sorted(set(names))
    assert key(OPTIONS, "2025-01-09") not in names  # closed for mourning
    item = found[100]
    head = s3.head_object(Bucket=BUCKET, Key=item["Key"])
    got = s3.get_object(Bucket=BUCKET, Key=item["Key"])
    assert head["ContentLength"] == got["ContentLength"] == item["Size"]
    assert len(got["Body"].read()) == item["Size"]
    assert head["ETag"] == got["ETag"] == item["ETag"]
    assert head["LastModified"] == item["LastModified"]


def test_folders_show_with_a_delimiter(s3) -> None:
    top = s3.list_objects_v2(Bucket=BUCKET, Delimiter="/")["CommonPrefixes"]
    assert [p["Prefix"] for p in top] == ["us_indices/", "us_options_opra/", "us_stocks_sip/"]
    years = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{OPTIONS}/", Delimiter="/")
    assert years["CommonPrefixes"][0]["Prefix"] == f"{OPTIONS}/2014/"
    one = s3.list_objects_v2(Bucket=BUCKET, Prefix=key(OPTIONS, "2025-02-03"))
    assert one["KeyCount"] == 1
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="nothing/")["KeyCount"] == 0


def test_a_day_is_published_at_eleven_the_day_after(sim: MarketSim, s3) -> None:
    name = key(STOCKS, "2026-11-13")  # a Friday: out on Saturday
    out = datetime(2026, 11, 14, 16, 0, tzinfo=UTC)
    sim.set_clock(out - timedelta(seconds=1))
    with pytest.raises(ClientError) as error:
        s3.get_object(Bucket=BUCKET, Key=name)
    assert code(error) == (404, "NoSuchKey")
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix=name)["KeyCount"] == 0
    sim.set_clock(out)
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix=name)["KeyCount"] == 1
    assert s3.head_object(Bucket=BUCKET, Key=name)["LastModified"] == out


def test_missing_and_forbidden_are_told_apart(sim: MarketSim, s3) -> None:
    for name in (key(STOCKS, "2026-11-15"), key(STOCKS, "2026-11-26"), "us_stocks_sip/typo", "x"):
        with pytest.raises(ClientError) as error:
            s3.get_object(Bucket=BUCKET, Key=name)
        assert code(error) == (404, "NoSuchKey")
    with pytest.raises(ClientError) as error:
        s3_client(sim.url, "bad").list_objects_v2(Bucket=BUCKET)
    assert code(error) == (403, "InvalidAccessKeyId")
    with Sim(tickers=["AAPL"], now=NOW, plan="basic") as poor:
        client = s3_client(poor.url)
        assert client.list_objects_v2(Bucket=BUCKET, Prefix=f"{STOCKS}/2026/11/")["KeyCount"]
        with pytest.raises(ClientError) as error:
            client.get_object(Bucket=BUCKET, Key=key(STOCKS, "2026-11-18"))
        assert code(error) == (403, "AccessDenied")


def test_ranges(s3) -> None:
    name = key(STOCKS, "2026-11-18")
    whole = s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def part(spec: str) -> bytes:
        return s3.get_object(Bucket=BUCKET, Key=name, Range=spec)["Body"].read()

    assert part("bytes=0-99") == whole[:100]
    assert part("bytes=100-") == whole[100:]
    assert part("bytes=-8") == whole[-8:]
    with pytest.raises(ClientError) as error:
        part(f"bytes={len(whole)}-")
    assert code(error)[0] == 416


def test_files_say_what_the_world_is(sim: MarketSim, s3) -> None:
    stocks = frame(s3, key(STOCKS, "2026-11-18"))
    assert stocks.columns == [
        "ticker",
        "volume",
        "open",
        "close",
        "high",
        "low",
        "window_start",
        "transactions",
    ]
    assert stocks.height > 90
    assert stocks["ticker"].to_list() == sorted(stocks["ticker"].to_list())
    row = stocks.row(by_predicate=pl.col("ticker") == "AAPL", named=True)
    bar = sim.world.day_bar("AAPL", datetime(2026, 11, 18).date())
    assert (row["close"], row["high"]) == (bar.close[0], bar.high[0])
    midnight = datetime(2026, 11, 18, 5, tzinfo=UTC)
    assert set(stocks["window_start"]) == {int(midnight.timestamp()) * 10**9}
    options = frame(s3, key(OPTIONS, "2026-11-18"))
    assert options["ticker"].n_unique() == options.height > 5000
    assert options["ticker"].str.contains(r"^O:[A-Z0-9]{1,6}\d{6}[CP]\d{8}$").all()
    minutes = frame(s3, key("us_options_opra/minute_aggs_v1", "2026-11-18"))
    rolled = minutes.group_by("ticker").agg(pl.col("volume").sum(), pl.col("high").max())
    joined = options.join(rolled, on="ticker", suffix="_minutes")
    assert joined.height == options.height
    assert (joined["volume"] == joined["volume_minutes"]).all()
    assert (joined["high"] == joined["high_minutes"]).all()


def test_volume_becomes_decimal_in_2026(s3) -> None:
    def text(day: str) -> str:
        body = s3.get_object(Bucket=BUCKET, Key=key(STOCKS, day))["Body"].read()
        return gzip.decompress(body).decode().splitlines()[1]

    assert "." not in text("2026-02-20").split(",")[1]
    volume, opening = text("2026-02-23").split(",")[1:3]
    assert len(volume.partition(".")[2]) == len(opening.partition(".")[2]) == 6


def test_index_files_exist_on_holidays(s3) -> None:
    rows = frame(s3, key("us_indices/day_aggs_v1", "2026-09-07"))
    assert rows["ticker"].to_list() == ["I:AAVE100"]
    normal = frame(s3, key("us_indices/day_aggs_v1", "2026-09-08"))
    assert {"I:SPX", "I:VIX", "I:VIX3M"} <= set(normal["ticker"])
    chicago = datetime(2026, 9, 8, 5, tzinfo=UTC)
    assert set(normal["window_start"]) == {int(chicago.timestamp()) * 10**9}


def test_a_replaced_file_has_another_etag_and_other_rows(sim: MarketSim, s3) -> None:
    name = key(OPTIONS, "2026-11-17")
    before, rows = s3.head_object(Bucket=BUCKET, Key=name), frame(s3, name)
    sim.fault("replaced", path=f"*{name}")
    after, revised = s3.head_object(Bucket=BUCKET, Key=name), frame(s3, name)
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=name)["Contents"][0]
    assert before["ETag"] != after["ETag"] == listed["ETag"]
    assert after["LastModified"] > before["LastModified"]
    assert rows.columns == revised.columns
    changed = (rows["volume"] != revised["volume"]).sum()
    assert 0 < changed < rows.height / 10


def test_gzip_of_an_exact_size() -> None:
    content = b"a,b\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(500))
    least = len(gzip_exact(content, None))
    for size in range(least + 20, least + 60):
        packed = gzip_exact(content, size)
        assert len(packed) == size
        assert gzip.decompress(packed) == content
    with pytest.raises(SizeExceededError):
        gzip_exact(content, least)
