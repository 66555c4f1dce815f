"""Charts: real pictures, small, the same each time, and honest when there is nothing to draw."""

from __future__ import annotations

import base64
import io
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread

from tracker_dagster.reports import charts

DAYS = [date(2024, 1, 1) + timedelta(days=n) for n in range(5000)]
FRAME = pl.DataFrame(
    {
        "day": DAYS,
        "close": 100 + np.cumsum(np.random.default_rng(1).normal(size=5000)),
        "ticker": ["AAA", "BBB"] * 2500,
        "volume": np.random.default_rng(2).lognormal(8, 2, 5000),
    }
)
BARS = pl.DataFrame({"ticker": [f"T{n}" for n in range(36)], "share": np.linspace(0, 1, 36)})


def png_of(markdown: str) -> bytes:
    head, _, data = markdown.rpartition("data:image/png;base64,")
    assert head.startswith("![")
    return base64.b64decode(data.rstrip(")"))


def pixels(markdown: str) -> np.ndarray:
    return imread(io.BytesIO(png_of(markdown)))


DRAWN = {
    "histogram": lambda frame: charts.histogram(frame, "volume", "Volume"),
    "line": lambda frame: charts.line_chart(frame, "day", "close", "Close", band=(90, 110)),
    "log histogram": lambda frame: charts.histogram(frame, "volume", "Volume", log_x=True),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_pictures_are_small_and_repeatable(draw) -> None:  # type: ignore[no-untyped-def]
    once = draw(FRAME)
    assert len(once) < 60_000
    assert draw(FRAME) == once
    assert pixels(once).shape[:2] == (360, 840)
    changed = FRAME.with_columns(pl.col("close", "volume") ** 2)
    assert not np.array_equal(pixels(draw(changed)), pixels(once))


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)
def test_no_rows_draw_a_picture_that_says_so(draw) -> None:  # type: ignore[no-untyped-def]
    empty = pixels(draw(FRAME.clear()))
    assert (empty[..., :3] < 0.5).any()


def test_bars_keep_the_order_of_the_rows() -> None:
    forward = charts.bar_chart(BARS, "ticker", "share", "Share")
    assert len(forward) < 60_000
    assert charts.bar_chart(BARS.reverse(), "ticker", "share", "Share") != forward


def test_a_line_is_broken_where_nothing_is_known() -> None:
    days = FRAME.head(100).select("day", close=pl.lit(100.0))
    whole = charts.line_chart(days, "day", "close", "Close")
    gap = days.with_columns(close=pl.when(pl.int_range(pl.len()).is_between(40, 60)).then(None)
                            .otherwise("close"))  # fmt: skip
    ink = [(pixels(picture)[..., :3] < 0.5).any(axis=-1).sum() for picture in
           (charts.line_chart(gap, "day", "close", "Close"), whole)]  # fmt: skip
    # A fifth of some 750 columns, two pixels thick.
    assert 200 < ink[1] - ink[0] < 400
    assert charts.line_chart(days, "day", "close", "Close", level=100.5) != whole
