"""JSON rows to typed columns by a declared layout. No endpoint and no HTTP here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

import polars as pl

UTC_TIME = pl.Datetime("us", "UTC")

#: What could not be parsed: its line or row number, its text, and why.
REJECTED_SCHEMA: dict[str, pl.DataType] = {
    "line": pl.Int64(),
    "raw": pl.String(),
    "reason": pl.String(),
}


class ParsedRows(NamedTuple):
    """Rows that parsed, and rows that did not (``line``, ``raw``, ``reason``)."""

    frame: pl.DataFrame
    rejected: pl.DataFrame


def number(value: Any) -> float:
    """A finite number; text is accepted for the vendor's fixed-decimal twins."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a number")
    result = float(value)
    if not math.isfinite(result):
        raise ValueError("not finite")
    return result


def integer(value: Any) -> int:
    """A whole number, however written (100, 100.0)."""
    if type(value) is int:
        return value
    result = number(value)
    if not result.is_integer():
        raise ValueError("not a whole number")
    return int(result)


def text(value: Any) -> str:
    """Non-empty text."""
    if not isinstance(value, str) or not value:
        raise ValueError("not text")
    return value


def day(value: Any) -> date:
    """A plain date, ``2026-06-18``."""
    return date.fromisoformat(text(value))


def clock_time(value: Any) -> time:
    """A time of day, ``16:05:00``."""
    return time.fromisoformat(text(value))


def instant(value: Any) -> int:
    """Microseconds since the epoch from a Unix time of any unit, or RFC 3339 text.

    The vendor mixes seconds, milliseconds, microseconds and nanoseconds; their magnitudes
    do not overlap for any date between 1973 and 2286. Integers only: a float has already
    lost its last digits.
    """
    if type(value) is int:
        size = abs(value)
        if size < 10**11:
            return value * 1_000_000
        if size < 10**14:
            return value * 1_000
        return value if size < 10**17 else value // 1_000
    moment = datetime.fromisoformat(text(value))
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    # Whole-number arithmetic: timestamp() would round through a float.
    delta = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def json_text(value: Any) -> str:
    """Any nested value, as compact JSON."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


_DTYPES: dict[Callable[[Any], Any], pl.DataType] = {
    number: pl.Float64(),
    integer: pl.Int64(),
    text: pl.String(),
    json_text: pl.String(),
    day: pl.Date(),
    clock_time: pl.Time(),
    instant: UTC_TIME,
}


@dataclass(frozen=True, slots=True)
class Field:
    """One column: where it stands in the record, and how to read it.

    Attributes:
        column: its name in the frame.
        kind: one of the readers of this module.
        path: keys from the record down, joined by dots; the column's name by default.
        otherwise: further places to look when the first is absent.
        required: a record without it is rejected.
    """

    column: str
    kind: Callable[[Any], Any]
    path: str = ""
    otherwise: tuple[str, ...] = ()
    required: bool = False

    @property
    def places(self) -> tuple[tuple[str, ...], ...]:
        """Where to look, in order, as key sequences."""
        return tuple(tuple(p.split(".")) for p in (self.path or self.column, *self.otherwise))


Layout = Sequence[Field]


def schema(layout: Layout) -> dict[str, pl.DataType]:
    """Column names and types of a layout."""
    return {field.column: _DTYPES[field.kind] for field in layout}


def parse_records(records: Iterable[Any], layout: Layout) -> ParsedRows:
    """Turn JSON objects into a frame with the columns of ``layout``.

    What is absent, null or an empty object is null; nothing gets a default. A record that
    lacks a required field or holds an unreadable value is rejected whole, with its JSON.
    """
    readers = [(f.column, f.kind, f.places, f.required) for f in layout]
    rows: list[list[Any]] = []
    bad: list[tuple[int, str, str]] = []
    for line, record in enumerate(records, start=1):
        try:
            rows.append(_read(record, readers))
        except ValueError as exc:
            bad.append((line, json.dumps(record, separators=(",", ":")), str(exc)))
    wire = {name: pl.Int64() if d == UTC_TIME else d for name, d in schema(layout).items()}
    frame = pl.DataFrame(rows, schema=wire, orient="row").with_columns(
        pl.col(name).cast(dtype) for name, dtype in schema(layout).items() if dtype == UTC_TIME
    )
    return ParsedRows(frame, rejected_frame(bad))


def rejected_frame(rows: Sequence[tuple[int, str, str]]) -> pl.DataFrame:
    """A frame of rejected rows."""
    return pl.DataFrame(rows, schema=REJECTED_SCHEMA, orient="row")


def _read(record: Any, readers: Sequence[tuple[str, Any, Any, bool]]) -> list[Any]:
    if not isinstance(record, dict):
        raise ValueError("not an object")
    row: list[Any] = []
    for column, kind, places, required in readers:
        value: Any = None
        for place in places:
            value = record
            for key in place:
                value = value.get(key) if isinstance(value, dict) else None
                if value is None:
                    break
            if value is not None:
                break
        if value is None or value == "":
            if required:
                raise ValueError(f"{column} is missing")
            row.append(None)
            continue
        try:
            row.append(kind(value))
        except (ValueError, OverflowError) as exc:
            raise ValueError(f"{column}: {exc}") from None
    return row
