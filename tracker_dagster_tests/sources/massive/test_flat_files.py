from __future__ import annotations

import gzip
import logging
import os
import random
import re
from collections.abc import Iterator
from datetime import UTC, date
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from pydantic import SecretStr

from tracker_dagster.sources.errors import (
    CursorLoopError,
    MalformedResponseError,
    NotEntitledError,
    NotFoundError,
    RateLimitedError,
    SourceError,
    TransientError,
    UnauthorizedError,
)
from tracker_dagster.sources.massive.flat_file_formats import parse_day_aggs, parse_minute_aggs
from tracker_dagster.sources.massive.flat_files import Dataset, FlatFiles, gunzip
from tracker_dagster_tests.sources.conftest import QUICK, everything_said
from tracker_dagster_tests.sources.scripted_server import Reply, ScriptedServer

REPOSITORY = Path(__file__).parents[3]
REAL_FILES = REPOSITORY.parent / "shared" / "data" / "flatfiles"
ID, SECRET = "id-that-must-not-leak", "secret-that-must-not-leak"
DAY = date(2026, 6, 3)
KEY = "us_options_opra/day_aggs_v1/2026/06/2026-06-03.csv.gz"
CSV = b"ticker,volume,open,close,high,low,window_start,transactions\n" + b"x" * 5000
GZ = gzip.compress(CSV, mtime=0)


def client(url: str, **options: Any) -> FlatFiles:
    options.setdefault("retry", QUICK)
    return FlatFiles(url, SecretStr(ID), SecretStr(SECRET), **options)


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto_url: str) -> Iterator[Any]:
    """An empty bucket, as a boto3 resource to fill."""
    s3 = boto3.resource(
        "s3", endpoint_url=moto_url, region_name="us-east-1",
        aws_access_key_id="x", aws_secret_access_key="x",
    )  # fmt: skip
    made = s3.create_bucket(Bucket="flatfiles")
    yield made
    made.objects.all().delete()
    made.delete()


def test_keys_follow_the_vendor():
    assert FlatFiles.key(Dataset.OPTION_DAY, DAY) == KEY
    assert FlatFiles.key(Dataset.STOCK_MINUTE, date(2003, 9, 10)) == (
        "us_stocks_sip/minute_aggs_v1/2003/09/2003-09-10.csv.gz"
    )
    assert FlatFiles.key(Dataset.INDEX_DAY, DAY).startswith("us_indices/day_aggs_v1/")


@pytest.mark.feature(9)
def test_list_stat_and_fetch(bucket, moto_url):
    put = bucket.put_object(Key=KEY, Body=GZ)
    files = client(moto_url)
    (listed,) = files.list(Dataset.OPTION_DAY, DAY, DAY)
    fetched = files.fetch(Dataset.OPTION_DAY, DAY)
    assert listed == files.stat(Dataset.OPTION_DAY, DAY)
    assert (listed.key, listed.size, listed.day) == (KEY, len(GZ), DAY)
    assert listed.etag == put.e_tag.strip('"') == fetched.remote.etag
    assert fetched.csv == CSV
    assert fetched.remote.size == len(GZ)
    assert listed.last_modified.utcoffset() == UTC.utcoffset(None)


def test_a_range_over_the_turn_of_the_year(bucket, moto_url):
    days = [date(2025, 11, 28), date(2025, 12, 1), date(2025, 12, 31), date(2026, 1, 2)]
    for day in days:
        bucket.put_object(Key=FlatFiles.key(Dataset.STOCK_DAY, day), Body=GZ)
    bucket.put_object(Key="us_stocks_sip/day_aggs_v1/2025/12/readme.txt", Body=b"x")
    listed = client(moto_url).list(Dataset.STOCK_DAY, days[1], days[3])
    assert [f.day for f in listed] == days[1:]
    assert client(moto_url).list(Dataset.STOCK_DAY, days[3], days[1]) == []


def test_a_replaced_file_has_another_etag(bucket, moto_url):
    bucket.put_object(Key=KEY, Body=GZ)
    files = client(moto_url)
    before = files.fetch(Dataset.OPTION_DAY, DAY)
    bucket.put_object(Key=KEY, Body=gzip.compress(CSV + b"y", mtime=0))
    after = files.fetch(Dataset.OPTION_DAY, DAY)
    assert before.remote.etag != after.remote.etag == files.stat(Dataset.OPTION_DAY, DAY).etag
    assert after.csv == CSV + b"y"


def test_what_is_not_there_is_not_found(bucket, moto_url):
    for ask in (client(moto_url).fetch, client(moto_url).stat):
        with pytest.raises(NotFoundError, match="not published, or no session"):
            ask(Dataset.OPTION_DAY, DAY)


# Faults, scripted byte for byte


def s3_error(status: int, code: str) -> Reply:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>"
    return Reply(status, body.encode(), {"Content-Type": "application/xml"})


def s3_list(*keys: str, token: str | None = None) -> Reply:
    entries = "".join(
        f"<Contents><Key>{k}</Key><LastModified>2026-06-04T15:00:00.000Z</LastModified>"
        f'<ETag>"e1"</ETag><Size>{len(GZ)}</Size></Contents>'
        for k in keys
    )
    more = f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    return Reply(
        200,
        (
            "<?xml version='1.0'?><ListBucketResult><Name>flatfiles</Name>"
            f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>{more}{entries}"
            "</ListBucketResult>"
        ).encode(),
        {"Content-Type": "application/xml"},
    )


def s3_file(body: bytes = GZ, **options: Any) -> Reply:
    headers = {"ETag": '"e1"', "Last-Modified": "Thu, 04 Jun 2026 15:00:00 GMT"}
    return Reply(200, body, headers, **options)


def scripted(serve: Any, *files: Reply, listing: Reply | None = None) -> ScriptedServer:
    turns = list(files)

    def script(path: str) -> Reply:
        if "list-type=2" in path:
            return listing or s3_list(KEY)
        return turns.pop(0) if len(turns) > 1 else turns[0]

    return serve(script)


@pytest.mark.parametrize(
    "fault",
    [s3_file(cut=100), Reply(drop=True), s3_error(503, "SlowDown"), s3_error(500, "InternalError"),
     s3_error(429, "TooManyRequests"), Reply(502, b"<html>bad gateway</html>")],
    ids=["cut", "dropped", "slow down", "500", "429", "html 502"],
)  # fmt: skip
def test_a_passing_fault_is_outlived(serve, fault):
    server = scripted(serve, fault, fault, s3_file())
    assert client(server.url).fetch(Dataset.OPTION_DAY, DAY).csv == CSV
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(s3_file(cut=8), TransientError), (s3_file(chunked=True), TransientError),
     (Reply(drop=True), TransientError),
     (s3_error(503, "SlowDown"), RateLimitedError), (s3_error(500, "x"), TransientError)],
)  # fmt: skip
def test_a_lasting_fault_is_transient(serve, fault, kind):
    server = scripted(serve, fault)
    with pytest.raises(kind) as caught:
        client(server.url).fetch(Dataset.OPTION_DAY, DAY)
    assert type(caught.value) is kind
    assert caught.value.transient
    assert len(server.seen) == QUICK.max_tries


def test_403_of_a_listed_file_is_the_plan(serve):
    server = scripted(serve, s3_error(403, "AccessDenied"))
    with pytest.raises(NotEntitledError, match="published, but the plan") as caught:
        client(server.url).fetch(Dataset.OPTION_DAY, DAY)
    assert (caught.value.status, caught.value.code) == (403, "AccessDenied")
    assert caught.value.url_path == KEY
    assert not caught.value.transient


def test_403_of_an_unlisted_file_is_absence(serve):
    server = scripted(serve, s3_error(403, "AccessDenied"), listing=s3_list())
    with pytest.raises(NotFoundError):
        client(server.url).fetch(Dataset.OPTION_DAY, DAY)


@pytest.mark.parametrize("code", ["InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_bad_credentials_are_their_own_error(serve, code):
    server = scripted(serve, s3_error(403, code), listing=s3_error(403, code))
    for ask in (client(server.url).fetch, client(server.url).stat):
        with pytest.raises(UnauthorizedError):
            ask(Dataset.OPTION_DAY, DAY)


def test_listing_follows_continuation_to_the_end(serve):
    pages = {
        None: s3_list(KEY, token="t/1+="),
        "t%2F1%2B%3D": s3_list(KEY.replace("-03.", "-04."), token="t2"),
        "t2": s3_list(KEY.replace("-03.", "-05.")),
    }

    def script(path: str) -> Reply:
        token = re.search(r"continuation-token=([^&]+)", path)
        return pages[token[1] if token else None]

    listed = client(serve(script).url).list(Dataset.OPTION_DAY, DAY, date(2026, 6, 30))
    assert [f.day.day for f in listed] == [3, 4, 5]


def test_a_continuation_that_repeats_ends_in_an_error(serve):
    server = serve(s3_list(KEY, token="again"))
    with pytest.raises(CursorLoopError):
        client(server.url).list(Dataset.OPTION_DAY, DAY, DAY)
    assert len(server.seen) == 2


@pytest.mark.feature(9)
@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b"<html>Service page</html>", "HTML"),
        (CSV, "expected gzip"),
        (GZ[:-8], "cut"),
        (GZ[:-1], "cut"),
        (GZ[: len(GZ) // 2], "cut"),
        (GZ[:-8] + b"\0\0\0\0" + GZ[-4:], "damaged"),
        (GZ[:-4] + b"\1\0\0\0", "damaged"),
        (GZ + b"garbage", "damaged"),
        (GZ + GZ[:-3], "cut"),
        (GZ[:20] + b"\xff\xff\xff" + GZ[23:], "damaged"),
    ],
    ids=["empty", "html", "plain", "no trailer", "short", "half", "crc", "length", "garbage",
         "second member cut", "flipped"],
)  # fmt: skip
def test_a_file_that_is_not_whole_is_refused(serve, body, word):
    server = scripted(serve, s3_file(body))
    with pytest.raises(MalformedResponseError, match=word) as caught:
        client(server.url).fetch(Dataset.OPTION_DAY, DAY)
    assert caught.value.url_path == KEY


def test_several_members_are_one_file():
    assert gunzip(GZ + gzip.compress(b"more"), "x") == CSV + b"more"


def test_a_bucket_that_is_not_there(serve):
    server = scripted(serve, s3_error(404, "NoSuchBucket"))
    with pytest.raises(NotFoundError, match="no such bucket"):
        client(server.url).fetch(Dataset.OPTION_DAY, DAY)


def test_requests_are_signed_and_path_style(serve):
    server = scripted(serve, s3_file())
    client(server.url).fetch(Dataset.OPTION_DAY, DAY)
    assert server.seen[0].path == f"/flatfiles/{KEY}"
    assert server.seen[0].headers["Authorization"].startswith("AWS4-HMAC-SHA256 ")
    assert SECRET not in str(server.seen)


@pytest.mark.parametrize(
    "fault",
    [s3_error(403, "SignatureDoesNotMatch"), Reply(drop=True), s3_file(GZ[:-8]), s3_error(500, ID)],
)
def test_no_credential_is_ever_told(serve, fault, caplog):
    server = scripted(serve, fault)
    files = client(server.url)
    with caplog.at_level(logging.INFO), pytest.raises(SourceError) as caught:
        files.fetch(Dataset.OPTION_DAY, DAY)
    said = everything_said(caught.value) + repr(files) + repr(vars(files)) + caplog.text
    assert SECRET not in said
    assert ID not in said


# Real prices, when the folder is there


needs_real_files = pytest.mark.skipif(
    not REAL_FILES.is_dir(), reason="../shared/data/flatfiles is not on this machine"
)


@pytest.fixture
def real(bucket: Any, moto_url: str) -> FlatFiles:
    for path in REAL_FILES.rglob("2014-06-0[69].csv.gz"):
        bucket.upload_file(os.fspath(path), path.relative_to(REAL_FILES).as_posix())
    return client(moto_url)


@pytest.mark.feature(9)
@needs_real_files
@pytest.mark.parametrize("dataset", [Dataset.STOCK_DAY, Dataset.OPTION_DAY])
@pytest.mark.parametrize("day", [date(2014, 6, 6), date(2014, 6, 9)])
def test_real_day_files_land_whole(real, dataset, day):
    fetched = real.fetch(dataset, day)
    frame, rejected = parse_day_aggs(fetched.csv, day, dataset)
    assert rejected.height == 0
    assert frame.height == len(fetched.csv.decode().strip().split("\n")) - 1 > 0
    assert frame["transactions"].null_count() == frame.height
    assert frame.select("open", "volume").null_count().row(0) == (0, 0)


@needs_real_files
def test_real_apple_is_as_traded_across_its_split(real):
    closes = {}
    for day in (date(2014, 6, 6), date(2014, 6, 9)):
        frame, _ = parse_day_aggs(real.fetch(Dataset.STOCK_DAY, day).csv, day)
        closes[day.day] = frame.filter(frame["ticker"] == "AAPL")["close"].item()
    assert closes == {6: 645.57, 9: 93.70}


@needs_real_files
def test_real_minutes_of_one_ticker(real):
    day = date(2014, 6, 9)
    csv = real.fetch(Dataset.STOCK_MINUTE, day).csv
    frame, rejected = parse_minute_aggs(csv, day, ["AAPL"])
    assert rejected.height == 0
    assert frame["ticker"].unique().to_list() == ["AAPL"]
    assert frame.height == sum(line.startswith("AAPL,") for line in csv.decode().split("\n"))
    assert frame["window_start"].is_sorted()


@needs_real_files
def test_real_options_keep_their_prefix_and_listing_finds_both_days(real):
    listed = real.list(Dataset.OPTION_DAY, date(2014, 6, 1), date(2014, 6, 30))
    assert [f.day for f in listed] == [date(2014, 6, 6), date(2014, 6, 9)]
    frame, _ = parse_day_aggs(
        real.fetch(Dataset.OPTION_DAY, date(2014, 6, 9)).csv, date(2014, 6, 9), Dataset.OPTION_DAY
    )
    assert frame["ticker"].str.starts_with("O:AAPL").all()


def test_fetching_in_threads_shares_one_client(serve):
    from concurrent.futures import ThreadPoolExecutor

    server = scripted(serve, s3_file())
    files = client(server.url, rng=random.Random(1))
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: files.fetch(Dataset.OPTION_DAY, DAY).csv, range(8)))
    assert got == [CSV] * 8
