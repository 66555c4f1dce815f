"""Markdown tables: numbers, missing values, and text that would break a row."""

from __future__ import annotations

from datetime import UTC, date, datetime

import polars as pl

from tracker_dagster.reports import tables


def test_a_table_word_for_word() -> None:
    frame = pl.DataFrame(
        {
            "name": ["a|b", None],
            "cost": [1234.5, None],
            "share": [0.01234, 0.0],
            "day": [date(2025, 6, 9), None],
            "at": [datetime(2025, 6, 9, 19, 50, 30, tzinfo=UTC), None],
            "yes": [True, False],
        }
    )
    text = tables.markdown_table(
        frame, frame.columns, {"cost": tables.dollars, "share": tables.percent}
    )
    assert text.splitlines() == [
        "| name | cost | share | day | at | yes |",
        "| --- | ---: | ---: | --- | --- | --- |",
        "| a\\|b | 1,234.50 | 1.23 % | 2025-06-09 | 2025-06-09 19:50Z | yes |",
        "| – | – | 0.00 % | – | – | no |",
    ]


def test_no_rows_give_the_head_alone() -> None:
    frame = pl.DataFrame({"a": []}, schema={"a": pl.Int64})
    assert tables.markdown_table(frame, ["a"]).splitlines() == ["| a |", "| ---: |"]


def test_strikes_lose_only_zeros_that_say_nothing() -> None:
    assert [tables.strike(value) for value in (100.0, 52.5, 16.125, 1050.0)] == [
        "100", "52.5", "16.125", "1,050",
    ]  # fmt: skip
