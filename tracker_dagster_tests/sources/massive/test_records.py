from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from tracker_dagster.sources.massive.records import (
    Field,
    instant,
    integer,
    number,
    parse_records,
    text,
)

MOMENT = datetime(2026, 6, 3, 19, 45, 1, 234567, tzinfo=UTC)
MICROS = 1_780_515_901_234_567


@pytest.mark.parametrize(
    ("wire", "micros"),
    [
        (MICROS * 1000 + 891, MICROS),
        (MICROS, MICROS),
        (MICROS // 1000, MICROS // 1000 * 1000),
        (MICROS // 10**6, MICROS // 10**6 * 10**6),
        ("2026-06-03T15:45:01.234567-04:00", MICROS),
        ("2026-06-03T19:45:01.234567Z", MICROS),
        # The first trade date of the vendor's stock history, in milliseconds.
        (1_063_166_400_000, 1_063_166_400_000_000),
    ],
)
def test_an_instant_of_any_unit(wire, micros):
    assert instant(wire) == micros


def test_the_moment_and_its_microseconds_agree():
    assert (MOMENT - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() == pytest.approx(
        MICROS / 1e6
    )


@pytest.mark.parametrize("wire", [1.7e18, "2026-06-03T15:45:01", "", "noon", None, True, []])
def test_an_unclear_instant_is_refused(wire):
    with pytest.raises(ValueError):
        instant(wire)


@pytest.mark.parametrize("wire", ["nan", float("inf"), "1,5", True, None, {}, [1]])
def test_what_is_not_a_number(wire):
    with pytest.raises(ValueError):
        number(wire)


def test_fixed_decimals_are_numbers():
    assert number("100.250000") == 100.25
    assert integer("100.0") == integer(100.0) == 100
    with pytest.raises(ValueError):
        integer(100.5)


def test_absence_is_null_and_faults_are_kept():
    layout = (
        Field("name", text, required=True),
        Field("price", number, "quote.price", ("value",)),
        Field("at", instant, "quote.at"),
    )
    frame, rejected = parse_records(
        [
            {"name": "a", "quote": {"price": 1, "at": MICROS}},
            {"name": "b", "value": 2.5, "quote": {}},
            {"name": "c", "quote": None},
            {"name": "d", "quote": {"price": None}, "value": 3},
            {"quote": {"price": 1}},
            {"name": "e", "quote": {"price": "dear"}},
            ["f"],
        ],
        layout,
    )
    assert frame.schema == {"name": pl.String, "price": pl.Float64, "at": pl.Datetime("us", "UTC")}
    assert frame.rows() == [
        ("a", 1.0, MOMENT),
        ("b", 2.5, None),
        ("c", None, None),
        ("d", 3.0, None),
    ]
    assert rejected.select("line", "reason").rows() == [
        (5, "name is missing"),
        (6, "price: could not convert string to float: 'dear'"),
        (7, "not an object"),
    ]
    assert rejected["raw"][1] == '{"name":"e","quote":{"price":"dear"}}'


def test_no_rows_still_have_types():
    frame, rejected = parse_records([], (Field("n", integer),))
    assert frame.schema == {"n": pl.Int64}
    assert rejected.height == 0
