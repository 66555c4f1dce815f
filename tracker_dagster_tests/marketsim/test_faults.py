"""Each fault switch does on the wire what its name says."""

from __future__ import annotations

import gzip
import io
import json
import time
import zlib

import polars as pl
import pytest
import requests
from botocore.exceptions import ClientError

from tracker_dagster.marketsim import MarketSim

BUCKET = "flatfiles"
NAME = "us_options_opra/day_aggs_v1/2026/11/2026-11-18.csv.gz"
CHAIN = "/v3/snapshot/options/AAPL"


def content(s3) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=NAME)["Body"].read()


def rows(s3) -> pl.DataFrame:
    text = gzip.decompress(content(s3))
    return pl.read_csv(io.BytesIO(text), infer_schema_length=None)


def test_rate_limit(sim: MarketSim, http: requests.Session) -> None:
    sim.fault("rate_limit", path="/v3/*", count=1, retry_after=2)
    sim.fault("rate_limit", path="/v3/*", count=1, body=False)
    first, second, third = (http.get(sim.url + CHAIN) for _ in range(3))
    assert (first.status_code, first.headers["Retry-After"]) == (429, "2")
    assert "exceeded" in first.json()["error"]
    assert (second.status_code, second.content) == (429, b"")
    assert "Retry-After" not in second.headers
    assert third.status_code == 200
    assert http.get(f"{sim.url}/v1/marketstatus/now").status_code == 200


def test_server_error_and_html(sim: MarketSim, http: requests.Session) -> None:
    sim.fault("server_error", count=1, status=503)
    sim.fault("html", count=1, status=502)
    sim.fault("html", count=1, status=200)
    assert http.get(sim.url + CHAIN).status_code == 503
    for status in (502, 200):
        answer = http.get(sim.url + CHAIN)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "text/html"
        assert "<html>" in answer.text


def test_slow(sim: MarketSim, http: requests.Session) -> None:
    http.get(sim.url + CHAIN)
    sim.fault("slow", count=1, seconds=0.4)
    started = time.monotonic()
    assert http.get(sim.url + CHAIN).status_code == 200
    assert time.monotonic() - started >= 0.4


def test_body_cut_on_the_wire(sim: MarketSim, http: requests.Session) -> None:
    sim.fault("cut_body", count=1)
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        _ = http.get(sim.url + CHAIN).content
    assert http.get(sim.url + CHAIN).status_code == 200


def test_dropped_connection(sim: MarketSim, http: requests.Session) -> None:
    sim.fault("drop_connection", count=1)
    with pytest.raises(requests.ConnectionError):
        http.get(sim.url + CHAIN)
    assert http.get(sim.url + CHAIN).status_code == 200


def test_json_cut_in_half(sim: MarketSim, http: requests.Session) -> None:
    sim.fault("half_json", count=1)
    answer = http.get(sim.url + CHAIN)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


@pytest.mark.parametrize(
    "path", [CHAIN, "/v2/aggs/ticker/AAPL/range/1/minute/2026-11-17/2026-11-18?limit=300"]
)
def test_repeating_cursor(sim: MarketSim, http: requests.Session, path: str) -> None:
    sim.fault("repeat_cursor")
    first = http.get(sim.url + path).json()
    second = http.get(first["next_url"]).json()
    assert second["next_url"] == first["next_url"]


def test_dropped_greeks(sim: MarketSim, http: requests.Session) -> None:
    sim.fault("drop_greeks")
    page = http.get(sim.url + CHAIN, params={"limit": 250}).json()["results"]
    assert not any("greeks" in row or "implied_volatility" in row for row in page)


def test_open_interest_flip_flop(sim: MarketSim, http: requests.Session) -> None:
    def interest() -> list[int]:
        body = http.get(sim.url + CHAIN, params={"limit": 250}).json()
        return [row["open_interest"] for row in body["results"]]

    usual = interest()
    sim.fault("open_interest_flip_flop", count=1)
    assert interest() != usual
    assert interest() == usual


def test_truncated_and_corrupt_gzip(sim: MarketSim, s3) -> None:
    sim.fault("truncated_gzip", path=f"*{NAME}")
    body = content(s3)
    assert len(body) == s3.head_object(Bucket=BUCKET, Key=NAME)["ContentLength"]
    assert len(body) == s3.list_objects_v2(Bucket=BUCKET, Prefix=NAME)["Contents"][0]["Size"]
    with pytest.raises(EOFError):
        gzip.decompress(body)
    assert zlib.decompressobj(-15).decompress(body[10:]).startswith(b"ticker,volume")
    sim.clear_faults()
    sim.fault("wrong_crc", path=f"*{NAME}")
    with pytest.raises(gzip.BadGzipFile, match="CRC"):
        gzip.decompress(content(s3))


def test_wrong_files(sim: MarketSim, s3) -> None:
    usual = rows(s3)
    sim.fault("empty_file", path=f"*{NAME}")
    assert content(s3) == b""
    sim.clear_faults()
    sim.fault("html_file", path=f"*{NAME}")
    assert content(s3).startswith(b"<html>")
    sim.clear_faults()
    sim.fault("wrong_day", path=f"*{NAME}")
    assert set(rows(s3)["window_start"]) == {usual["window_start"][0] - 86_400 * 10**9}
    sim.clear_faults()
    sim.fault("missing_file", path=f"*{NAME}")
    with pytest.raises(ClientError, match="NoSuchKey"):
        content(s3)
    sim.clear_faults()
    sim.fault("unentitled_file", path=f"*{NAME}")
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix=NAME)["KeyCount"] == 1
    with pytest.raises(ClientError, match="AccessDenied"):
        content(s3)
    sim.clear_faults()
    assert rows(s3).equals(usual)


def test_wrong_columns(sim: MarketSim, s3) -> None:
    usual = rows(s3)
    sim.fault("extra_column", path=f"*{NAME}")
    assert rows(s3).columns == [*usual.columns, "surprise"]
    sim.clear_faults()
    sim.fault("reordered_header", path=f"*{NAME}")
    assert rows(s3).columns == usual.columns[::-1]
    assert rows(s3).select(usual.columns).equals(usual)


def test_wrong_rows(sim: MarketSim, s3) -> None:
    usual = rows(s3)
    for kind in ("malformed_symbol", "negative_price", "duplicate_rows", "conflicting_rows"):
        sim.fault(kind, path=f"*{NAME}")
    spoiled = rows(s3)
    assert "O:AAPL211022C000150000" in set(spoiled["ticker"])
    assert (spoiled["close"] < 0).sum() == 1
    assert spoiled.height == usual.height + 2
    assert spoiled.is_duplicated().sum() == 2
    assert spoiled["ticker"].is_duplicated().sum() == 4


def test_probability_and_unknown_kinds(sim: MarketSim, http: requests.Session) -> None:
    sim.fault("server_error", probability=0.5)
    codes = [http.get(f"{sim.url}/v1/marketstatus/now").status_code for _ in range(60)]
    assert 10 < codes.count(500) < 50
    with pytest.raises(ValueError, match="gremlin"):
        sim.fault("gremlin")
