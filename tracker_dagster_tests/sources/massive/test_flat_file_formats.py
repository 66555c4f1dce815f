from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.massive.flat_file_formats import (
    Dataset,
    aggs_schema,
    parse_day_aggs,
    parse_minute_aggs,
    unexpected_columns,
)

DAY = date(2026, 6, 3)
HEADER = "ticker,volume,open,close,high,low,window_start,transactions"


def ns(day: date, at: time = time(), zone: str = "America/New_York") -> int:
    return int(datetime.combine(day, at, ZoneInfo(zone)).timestamp()) * 10**9


START = ns(DAY)
A = f"A,10,1.5,2.5,3,1,{START},4"
B = f"B,2036584.149027,115.030000,116,117,114,{START},"


def csv(*rows: str, header: str = HEADER, end: str = "\n") -> bytes:
    return (end.join([header, *rows]) + end).encode()


def test_the_day_file_of_the_documentation():
    frame, rejected = parse_day_aggs(csv(A, B), DAY)
    assert rejected.height == 0
    assert frame.schema == aggs_schema(Dataset.STOCK_DAY) == {
        "ticker": pl.String, "open": pl.Float64, "high": pl.Float64, "low": pl.Float64,
        "close": pl.Float64, "volume": pl.Float64, "transactions": pl.Int64,
        "window_start": pl.Datetime("us", "UTC"),
    }  # fmt: skip
    midnight = datetime(2026, 6, 3, 4, tzinfo=UTC)
    assert frame.rows() == [
        ("A", 1.5, 3.0, 1.0, 2.5, 10.0, 4, midnight),
        ("B", 115.03, 117.0, 114.0, 116.0, 2036584.149027, None, midnight),
    ]


def test_columns_go_by_name_and_extra_ones_are_told():
    names = "transactions,window_start,vwap,low,high,close,open,volume,ticker"
    shuffled = csv(f"4,{START},x,1,3,2.5,1.5,10,A", header=names)
    frame, rejected = parse_day_aggs(shuffled, DAY)
    assert rejected.height == 0
    assert frame.equals(parse_day_aggs(csv(A), DAY).frame)
    assert unexpected_columns(shuffled, Dataset.STOCK_DAY) == ["vwap"]
    assert unexpected_columns(csv(A), Dataset.STOCK_DAY) == []


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(column):
    names = [n for n in HEADER.split(",") if n != column]
    with pytest.raises(MalformedResponseError, match=f"missing column {column}"):
        parse_day_aggs(csv(header=",".join(names)), DAY)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"<!DOCTYPE html>\n<html></html>", "HTML"),
        (b"\x1f\x8b\x00\x01", "missing column"),
        (b"ticker,ticker," + HEADER[7:].encode(), "twice"),
    ],
)
def test_what_is_no_such_file(content, word):
    with pytest.raises(MalformedResponseError, match=word):
        parse_day_aggs(content, DAY)


def test_a_header_alone_is_no_rows():
    for content in (csv(), HEADER.encode()):
        frame, rejected = parse_day_aggs(content, DAY)
        assert (frame.height, rejected.height) == (0, 0)
        assert frame.schema == aggs_schema(Dataset.STOCK_DAY)


BAD_LINES = {
    f",10,1,1,1,1,{START},4": "ticker is missing",
    f"A,x,1,1,1,1,{START},4": "volume x is not a number",
    f"A,,1,1,1,1,{START},4": "volume is missing",
    f"A,10,,1,1,1,{START},4": "open is missing",
    f"A,10,1,nan,1,1,{START},4": "close nan is not a number",
    f"A,10,1,1,inf,1,{START},4": "high inf is not a number",
    f"A,10,1,1,1,1e999,{START},4": "low 1e999 is not a number",
    "A,10,1,1,1,1,,4": "window_start is missing",
    "A,10,1,1,1,1,yesterday,4": "window_start yesterday is not a number",
    f"A,10,1,1,1,1,{START},many": "transactions many is not a number",
    f"A,10,1,1,1,1,{START},1.5": "transactions 1.5 is not a number",
    f"A,10,1,1,1,1,{START}": "7 fields where the header has 8",
    f"A,10,1,1,1,1,{START},4,5": "9 fields where the header has 8",
    "A": "1 fields where the header has 8",
    f"A,10,0x10,1,1,1,{START},4": "open 0x10 is not a number",
    f"A,10,1_000,1,1,1,{START},4": "open 1_000 is not a number",
    f"A,10,1,1,1,1,{START}0,4": f"window_start {START}0 is not a number",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_stands_aside_with_its_number_and_text(line):
    frame, rejected = parse_day_aggs(csv(A, line, B), DAY)
    assert frame.equals(parse_day_aggs(csv(A, B), DAY).frame)
    assert rejected.rows() == [(3, line, BAD_LINES[line])]


def test_all_bad_lines_at_once():
    lines = [line for bad in BAD_LINES for line in (A, bad)]
    frame, rejected = parse_day_aggs(csv(*lines), DAY)
    assert frame.height == len(BAD_LINES)
    assert dict(zip(rejected["raw"], rejected["reason"], strict=True)) == BAD_LINES
    assert rejected["line"].to_list() == [3 + 2 * n for n in range(len(BAD_LINES))]


def test_bytes_that_are_not_utf8_cost_their_line_only():
    content = csv(A) + f"\ufffd,10,1,1,1,1,{START},4\n".encode().replace(
        "\ufffd".encode(), b"\xff\xfe"
    )
    frame, rejected = parse_day_aggs(content, DAY)
    assert frame["ticker"].to_list() == ["A"]
    assert rejected["reason"].to_list() == ["ticker is not UTF-8"]


@pytest.mark.parametrize(
    "content",
    [
        csv(A, B, end="\r\n"),
        csv(A, B).rstrip(b"\n"),
        b"\xef\xbb\xbf" + csv(A, B),
        csv(A, B) + b"\n\n",
        csv(A, B, header=",".join(f'"{n}"' for n in HEADER.split(","))),
        csv(A.replace(",4", ",4.000000").replace("A,", '"A",'), B),
    ],
    ids=["crlf", "no last newline", "bom", "blank lines", "quoted header", "quoted, decimals"],
)
def test_harmless_variations_read_the_same(content):
    frame, rejected = parse_day_aggs(content, DAY)
    assert rejected.rows() == []
    assert frame.equals(parse_day_aggs(csv(A, B), DAY).frame)


def test_tickers_that_look_like_something_else_stay_text():
    odd = ["NA", "NULL", "TRUE", "NAN", "INF", "1", "KIMpL", "ABC.WS", "O:A260618C00100000"]
    rows = [f"{t},1,1,1,1,1,{START},1" for t in odd]
    assert parse_day_aggs(csv(*rows), DAY).frame["ticker"].to_list() == odd


def test_negative_prices_are_read_as_they_are():
    frame, _ = parse_day_aggs(csv(f"A,10,-1.5,2,3,1,{START},4"), DAY)
    assert frame["open"].to_list() == [-1.5]


def test_both_ways_of_reading_agree():
    rng = random.Random(7)
    rows = [
        f"T{n},{rng.random() * 10 ** rng.randrange(9)!r},{rng.random() * 1e3!r},"
        f"{rng.random():.6f},{rng.random() * 1e-5!r},{rng.randrange(10**6)},{START},{n}"
        for n in range(3000)
    ]
    quick = parse_day_aggs(csv(*rows), DAY).frame
    slow = parse_day_aggs(csv(*rows, "broken"), DAY)
    assert slow.rejected.height == 1
    assert quick.equals(slow.frame)
    assert quick["volume"].to_list() == [float(r.split(",")[1]) for r in rows]


@pytest.mark.parametrize("other", [date(2026, 6, 2), date(2026, 6, 4)])
def test_the_file_of_another_day_is_refused(other):
    with pytest.raises(MalformedResponseError, match=f"another day.*the first is of {other}"):
        parse_day_aggs(csv(*(r.replace(str(START), str(ns(other))) for r in (A, B))), DAY)


def test_a_stray_row_of_another_day_stands_aside():
    stray = A.replace(str(START), str(ns(date(2026, 5, 1))))
    frame, rejected = parse_day_aggs(csv(A, stray, B, "?"), DAY)
    assert frame["ticker"].to_list() == ["A", "B"]
    assert rejected["line"].to_list() == [3, 5]
    assert rejected["reason"][0] == "window_start is not on 2026-06-03 in New York"


INDEX_HEADER = "ticker,open,close,high,low,window_start"


def test_index_days_start_at_midnight_in_chicago():
    # The sample row of the vendor's documentation.
    row = "I:AAVE100,96.767,99.2175,100.4065,95.5217,1701756000000000000"
    day = date(2023, 12, 5)
    frame, rejected = parse_day_aggs(csv(row, header=INDEX_HEADER), day, Dataset.INDEX_DAY)
    assert rejected.height == 0
    assert frame.columns == ["ticker", "open", "high", "low", "close", "window_start"]
    assert frame.row(0)[-1] == datetime(2023, 12, 5, 6, tzinfo=UTC)
    with pytest.raises(MalformedResponseError, match="another day"):
        parse_day_aggs(csv(row, header=INDEX_HEADER), date(2023, 12, 4), Dataset.INDEX_DAY)


@pytest.mark.parametrize("day", [date(2026, 3, 8), date(2026, 11, 1), DAY])
def test_a_day_is_as_long_as_new_york_says(day):
    first = ns(day)
    last = ns(day + timedelta(days=1)) - 60 * 10**9
    rows = [f"A,1,1,1,1,1,{at},1" for at in range(first, last + 1, 60 * 10**9)]
    hours = {date(2026, 3, 8): 23, date(2026, 11, 1): 25, DAY: 24}[day]
    assert len(rows) == hours * 60
    assert parse_minute_aggs(csv(*rows), day).frame.height == len(rows)
    beyond = f"A,1,1,1,1,1,{last + 60 * 10**9},1"
    assert parse_minute_aggs(csv(*rows, beyond), day).rejected.height == 1


def test_minutes_of_some_tickers_only():
    rows = [
        f"{ticker},1,1,1,1,1,{ns(DAY, time(9, 30 + minute))},1"
        for ticker in ("A", "AA", "B")
        for minute in range(3)
    ]
    broken = f"B,?,1,1,1,1,{ns(DAY, time(10))},1"
    frame, rejected = parse_minute_aggs(csv(*rows, broken), DAY, {"A", "NOPE"})
    assert frame["ticker"].to_list() == ["A"] * 3
    assert rejected.height == 0
    assert frame["window_start"][0] == datetime(2026, 6, 3, 13, 30, tzinfo=UTC)
    frame, rejected = parse_minute_aggs(csv(*rows, broken), DAY, ["B"])
    assert (frame.height, rejected["line"].to_list()) == (3, [11])
    assert parse_minute_aggs(csv(*rows), DAY, []).frame.height == 0
    assert parse_minute_aggs(csv(*rows), DAY).frame.height == 9


@pytest.mark.parametrize("written", ['"A"', " A", "A ", "\tA"])
def test_a_quoted_or_padded_ticker_is_not_lost_to_the_filter(written):
    content = csv(A.replace("A,", f"{written},"), B)
    frame, rejected = parse_minute_aggs(content, DAY, ["A"])
    assert rejected.height == 0
    assert frame.equals(parse_minute_aggs(csv(A), DAY, ["A"]).frame)
