"""Markdown tables: how numbers, dates and missing values are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

#: How a missing value is written.
MISSING = "–"


def dollars(value: float) -> str:
    """``1234.5`` as ``1,234.50``."""
    return f"{value:,.2f}"


def signed_dollars(value: float) -> str:
    """``1234.5`` as ``+1,234.50``; what rounds to nothing has no sign."""
    text = f"{value:+,.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def percent(value: float) -> str:
    """``0.0123`` as ``1.23 %``."""
    return f"{value * 100:.2f} %"


def score(value: float) -> str:
    """A score with three decimals."""
    return f"{value:.3f}"


def strike(value: float) -> str:
    """A strike without zeros that say nothing: ``105`` or ``52.5``."""
    return f"{value:,.3f}".rstrip("0").rstrip(".")


def plain(value: Any) -> str:
    """Any value as a table cell: instants to the minute in UTC, text with its pipes escaped."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace("|", "\\|").replace("\n", " ")


Formats = Mapping[str, Callable[[Any], str]]


def markdown_table(
    frame: pl.DataFrame, columns: Sequence[str], formats: Formats | None = None
) -> str:
    """``columns`` of ``frame`` as a markdown table; null is `MISSING`, no rows give the head only.

    Columns with a format, and whole numbers, are aligned to the right.
    """
    formats = formats or {}
    numeric = {name for name, dtype in frame.schema.items() if dtype.is_numeric()}
    rule = ["---:" if name in numeric else "---" for name in columns]
    lines = [_line(columns), _line(rule)]
    lines += [
        _line(
            [
                MISSING if value is None else formats.get(name, plain)(value)
                for name, value in zip(columns, row, strict=True)
            ]
        )
        for row in frame.select(columns).iter_rows()
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
