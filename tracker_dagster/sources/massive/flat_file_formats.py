"""Massive's CSV flat files: bytes of one day to typed frames. Pure; fetching is elsewhere.

Speed matters here: a day of all option contracts is 364,000 rows. Numbers are read directly
by the CSV reader; only when a cell is not what it should be is the file read a second time,
line by line, to name the lines at fault.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

import polars as pl

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.massive.records import REJECTED_SCHEMA, UTC_TIME, ParsedRows

NEW_YORK = ZoneInfo("America/New_York")
CHICAGO = ZoneInfo("America/Chicago")

#: A few stray rows of another day are rejected one by one; a file of mostly other days is
#: the wrong file.
MAX_STRAY_SHARE = 0.5


class Dataset(Enum):
    """The files we read, by their folder in the bucket."""

    STOCK_DAY = "us_stocks_sip/day_aggs_v1"
    STOCK_MINUTE = "us_stocks_sip/minute_aggs_v1"
    OPTION_DAY = "us_options_opra/day_aggs_v1"
    OPTION_MINUTE = "us_options_opra/minute_aggs_v1"
    INDEX_DAY = "us_indices/day_aggs_v1"
    INDEX_MINUTE = "us_indices/minute_aggs_v1"

    @property
    def prefix(self) -> str:
        """Key prefix in the bucket, without the year."""
        return self.value

    @property
    def is_index(self) -> bool:
        """Index files have no volume and no transactions."""
        return self.value.startswith("us_indices/")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be in the header, in the vendor's order."""
        prices = ("open", "close", "high", "low", "window_start")
        return (
            ("ticker", *prices) if self.is_index else ("ticker", "volume", *prices, "transactions")
        )


_WIRE: dict[str, pl.DataType] = {
    "ticker": pl.String(),
    "open": pl.Float64(),
    "high": pl.Float64(),
    "low": pl.Float64(),
    "close": pl.Float64(),
    "volume": pl.Float64(),
    "transactions": pl.Int64(),
    "window_start": pl.Int64(),
}


def aggs_schema(dataset: Dataset) -> dict[str, pl.DataType]:
    """Columns and types of the frames: ticker, OHLC, volume, transactions, window_start (UTC)."""
    return {
        name: UTC_TIME if name == "window_start" else dtype
        for name, dtype in _WIRE.items()
        if name in dataset.columns
    }


def header(csv: bytes) -> list[str]:
    """The column names of a file.

    Raises:
        MalformedResponseError: the file is empty, or starts with markup.
    """
    line = csv[: csv.find(b"\n")] if b"\n" in csv[:65_536] else csv[:65_536]
    line = line.removeprefix(b"\xef\xbb\xbf").strip()
    if not line:
        raise MalformedResponseError("an empty file")
    if line.startswith(b"<"):
        raise MalformedResponseError("an HTML or XML page instead of a CSV file")
    return [name.strip().strip('"') for name in line.decode("utf-8", "replace").split(",")]


def unexpected_columns(csv: bytes, dataset: Dataset) -> list[str]:
    """Columns that the format does not know and the parsers ignore; worth telling the user."""
    return [name for name in header(csv) if name not in dataset.columns]


def parse_day_aggs(csv: bytes, day: date, dataset: Dataset = Dataset.STOCK_DAY) -> ParsedRows:
    """Day bars of a whole market.

    Columns are found by name. An empty ``transactions`` is null; every other cell must hold
    a value. Prices and volumes are as traded, never adjusted; their plausibility is not
    judged here.

    Returns:
        ``frame`` (see `aggs_schema`; tickers with their ``O:`` or ``I:``) in file order, and
        ``rejected`` lines (``line`` counts the header as 1).

    Raises:
        MalformedResponseError: not such a file, a column is missing, or most rows are of
            another day in New York.
    """
    return _parse(csv, day, dataset, None)


def parse_minute_aggs(
    csv: bytes,
    day: date,
    tickers: Collection[str] | None = None,
    dataset: Dataset = Dataset.STOCK_MINUTE,
) -> ParsedRows:
    """Minute bars, only of ``tickers`` when given; otherwise as `parse_day_aggs`."""
    return _parse(csv, day, dataset, None if tickers is None else sorted(set(tickers)))


def _parse(csv: bytes, day: date, dataset: Dataset, tickers: Sequence[str] | None) -> ParsedRows:
    names = header(csv)
    missing = [name for name in dataset.columns if name not in names]
    if missing:
        raise MalformedResponseError(f"missing column {', '.join(missing)} in {dataset.name} file")
    if len(set(names)) != len(names):
        raise MalformedResponseError(f"a column twice in the header of a {dataset.name} file")
    rejected = pl.DataFrame(schema=REJECTED_SCHEMA)
    frame = _read_directly(csv, names, dataset, tickers)
    lines: pl.DataFrame | None = None
    if frame is None:
        lines, rejected = _read_by_line(csv, names, dataset, tickers)
        frame = lines.select(n for n in _WIRE if n in dataset.columns)
    first, end = _bounds(day, dataset)
    start = frame["window_start"]
    if frame.height and not (start.min() >= first and start.max() < end):  # type: ignore[operator]
        frame, strays = _without_strays(csv, names, day, dataset, tickers)
        rejected = pl.concat([rejected, strays]).sort("line")
    return ParsedRows(
        frame.with_columns((pl.col("window_start") // 1_000).cast(UTC_TIME)), rejected
    )


def _read_directly(
    csv: bytes, names: Sequence[str], dataset: Dataset, tickers: Sequence[str] | None
) -> pl.DataFrame | None:
    """The whole file in one pass, or None when any cell is not what it should be."""
    # Quotes and blanks would become part of a ticker.
    if any(mark in csv for mark in (b'"', b" ", b"\t")):
        return None
    wanted = [name for name in _WIRE if name in dataset.columns]
    try:
        lazy = pl.scan_csv(
            csv,
            schema_overrides={name: _WIRE[name] for name in wanted},
            infer_schema=False,
            truncate_ragged_lines=False,
            quote_char=None,
        ).select(wanted)
        if tickers is not None:
            lazy = lazy.filter(pl.col("ticker").is_in(tickers))
        frame = lazy.collect()
    except (pl.exceptions.PolarsError, ValueError):
        return None
    floats = [name for name in wanted if _WIRE[name] == pl.Float64]
    if any(frame[name].null_count() for name in wanted if name != "transactions"):
        return None
    # The reader fills a short line with nulls, which an optional last column would hide.
    optional_end = names[-1] not in wanted or frame[names[-1]].null_count() > 0
    if optional_end and csv.count(b",") != (len(names) - 1) * _line_count(csv):
        return None
    sound = frame.select(pl.all_horizontal(pl.col(n).is_finite().all() for n in floats)).item()
    return frame if sound else None


def _as_utf8(csv: bytes) -> bytes:
    """The text as valid UTF-8 without a byte-order mark; bad bytes become U+FFFD."""
    text = csv.removeprefix(b"\xef\xbb\xbf")
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("utf-8", "replace").encode()
    return text


def _line_count(csv: bytes) -> int:
    return csv.count(b"\n") + (not csv.endswith(b"\n"))


def _read_by_line(
    csv: bytes, names: Sequence[str], dataset: Dataset, tickers: Sequence[str] | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good rows (with their ``line``), and rejected ones."""
    rows = (
        pl.scan_lines(_as_utf8(csv), name="raw", row_index_name="line", row_index_offset=1)
        .filter(pl.col("line") > 1, pl.col("raw") != "")
        .with_columns(pl.col("line").cast(pl.Int64))
    )
    if tickers is not None:
        # Before the cells are split: all of a minute file's would not fit in a gigabyte.
        before = f"(?:[^,]*,){{{names.index('ticker')}}}"
        found = pl.col("raw").str.extract(f'^{before}[" \\t]*([^,"]*)').str.strip_chars_end()
        rows = rows.filter(found.is_in(tickers))
    lines = rows.with_columns(pl.col("raw").str.split(",").alias("cells")).collect()
    cells = {n: pl.col("cells").list.get(names.index(n), null_on_oob=True) for n in dataset.columns}
    lines = lines.with_columns(
        **{f"_{n}": cell.str.strip_chars('" \t\r') for n, cell in cells.items()},
    )
    width, ticker = pl.col("cells").list.len(), pl.col("_ticker")
    faults = [
        pl.when(width != len(names)).then(
            pl.format("{} fields where the header has {}", width, pl.lit(len(names)))
        ),
        pl.when(ticker.is_null() | (ticker == "")).then(pl.lit("ticker is missing")),
        pl.when(ticker.str.contains("\ufffd", literal=True)).then(pl.lit("ticker is not UTF-8")),
    ]
    parsed: dict[str, pl.Expr] = {"ticker": ticker}
    for name, dtype in _WIRE.items():
        if name not in dataset.columns or name == "ticker":
            continue
        cell = pl.col(f"_{name}")
        value = _whole_number(cell) if dtype == pl.Int64 else cell.cast(pl.Float64, strict=False)
        parsed[name] = value
        if name != "transactions":
            faults.append(pl.when(cell == "").then(pl.lit(f"{name} is missing")))
        unreadable = (cell != "") & (value.is_null() | ~value.is_finite())
        faults.append(pl.when(unreadable).then(pl.format(name + " {} is not a number", cell)))
    judged = lines.with_columns(pl.coalesce(faults).alias("reason"))
    good = judged.filter(pl.col("reason").is_null())
    bad_lines = judged.filter(pl.col("reason").is_not_null())
    return (
        good.select("line", "raw", **parsed),
        bad_lines.select(list(REJECTED_SCHEMA)).cast(REJECTED_SCHEMA),  # type: ignore[arg-type]
    )


def _whole_number(cell: pl.Expr) -> pl.Expr:
    """An integer, also when written with zero decimals (``12.000000``)."""
    plain = cell.str.replace(r"\.0*$", "")
    return plain.cast(pl.Int64, strict=False)


def _without_strays(
    csv: bytes, names: Sequence[str], day: date, dataset: Dataset, tickers: Sequence[str] | None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of ``day``, and the others as rejected lines."""
    lines, _ = _read_by_line(csv, names, dataset, tickers)
    first, end = _bounds(day, dataset)
    inside = pl.col("window_start").is_between(first, end, closed="left")
    good, strays = lines.filter(inside), lines.filter(~inside)
    if strays.height > MAX_STRAY_SHARE * lines.height:
        other = datetime.fromtimestamp(strays["window_start"][0] // 10**9, NEW_YORK).date()
        raise MalformedResponseError(
            f"a file of another day: {strays.height} of {lines.height} rows are not of {day}; "
            f"the first is of {other}"
        )
    return good.select(n for n in _WIRE if n in dataset.columns), strays.select(
        "line", "raw", pl.lit(f"window_start is not on {day} in New York").alias("reason")
    )


def _bounds(day: date, dataset: Dataset) -> tuple[int, int]:
    """The nanoseconds that belong to ``day``: first included, end excluded.

    Days are New York's. Index minutes run to midnight in Chicago, where the vendor anchors
    the days of indices.
    """
    zone = CHICAGO if dataset is Dataset.INDEX_MINUTE else NEW_YORK
    start = datetime.combine(day, time(), NEW_YORK)
    end = datetime.combine(day + timedelta(days=1), time(), zone)
    return int(start.timestamp()) * 10**9, int(end.timestamp()) * 10**9
