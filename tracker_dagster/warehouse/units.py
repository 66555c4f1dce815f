"""Preparing a write with no connection held: validate, collapse, set aside, sort, hash.

Pure: frames in, a `PreparedWrite` out. Nothing here touches a database.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import Kind, Table
from tracker_dagster.schemas.system import QUARANTINE
from tracker_dagster.warehouse.content import content_hash
from tracker_dagster.warehouse.errors import (
    AppendOnlyError,
    EmptyUnitError,
    FrameError,
    UnitMismatchError,
)
from tracker_dagster.warehouse.ordering import sorted_by

#: Column a frame may carry beside its table's: the line as the vendor sent it.
RAW_COLUMN = "_raw"

#: Above so many rows, judging several units together would only take memory.
_TOGETHER_ROWS = 50_000

#: Rule named for rows that share a key and differ in anything else.
CONFLICTING_DUPLICATE = "conflicting_duplicate"

Value = date | datetime | str
Unit = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class IngestedFile:
    """Identity of the vendor file a unit was made from.

    A caller gives the first three (and ``source`` where the unit has none); the warehouse knows
    the rest by the time it stores and returns it.
    """

    object_key: str
    etag: str
    size_bytes: int
    source: str | None = None
    trade_date: date | None = None
    table_name: str | None = None
    rows_read: int | None = None
    rows_kept: int | None = None
    rows_quarantined: int | None = None
    rows_collapsed: int | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One unit to replace; see `Warehouse.replace` for the meaning of the fields."""

    table: Table
    frame: pl.DataFrame
    unit: Unit
    rejected: pl.DataFrame | None = None
    file: IngestedFile | None = None
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of the rows of one write.

    ``rows_read`` (rejected lines included) is the sum of the other three counts. ``rules``
    counts the bad rows by the rule that they broke; a row that broke two counts in both.
    ``data_version`` is a hash of the written rows. ``replaced_etag`` is that of the vendor file
    the unit was made from before, null where there was none.
    """

    table: str
    rows_read: int
    rows_written: int
    rows_quarantined: int
    rows_collapsed: int
    rules: dict[str, int] = field(default_factory=dict)
    data_version: str = ""
    replaced_etag: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class PreparedWrite:
    """A write that needs nothing more than a transaction."""

    table: Table
    unit: dict[str, Value]
    unit_json: str
    rows: pl.DataFrame
    quarantine: pl.DataFrame
    file: IngestedFile | None
    result: WriteResult


def prepare_all(writes: Sequence[Write]) -> list[PreparedWrite]:
    """`prepare` of each; small units of one table are judged together, which costs as one does.

    Raises:
        ValueError: any of those of `prepare`.
    """
    tables = {write.table.name: write.table for write in writes}
    frames: dict[str, list[pl.DataFrame]] = {name: [] for name in tables}
    for write in writes:
        frames[write.table.name].append(write.frame)
    whole = {name for name, parts in frames.items() if _are_all_good(tables[name], parts)}
    return [prepare(write, is_good=write.table.name in whole) for write in writes]


def _are_all_good(table: Table, frames: Sequence[pl.DataFrame]) -> bool:
    """Whether no row of several units breaks a rule; False where that is not worth asking."""
    few_rows = sum(frame.height for frame in frames) <= _TOGETHER_ROWS
    if len(frames) < 2 or not few_rows or table.kind is Kind.LEDGER or table is QUARANTINE:
        return False
    rows = pl.concat(_conformed(table, frame).select(table.columns) for frame in frames)
    return not table.schema.filter(rows)[1].counts()


def prepare(write: Write, *, is_good: bool = False) -> PreparedWrite:
    """Everything about ``write`` that can be done before the database is opened.

    Args:
        write: the rows and their unit.
        is_good: whether it is known already that every row obeys the table's rules.

    Raises:
        AppendOnlyError: the table is the ledger, or the quarantine itself.
        UnitMismatchError: the unit or the rows are not what ``replace_by`` says.
        FrameError: the frame has other columns or types than the table.
        EmptyUnitError: nothing would be written, and the write does not allow that.
    """
    table = write.table
    if table.kind is Kind.LEDGER or table is QUARANTINE:
        raise AppendOnlyError(f"{table.name} is never replaced by itself")
    unit = normalised_unit(table, write.unit)
    unit_json = canonical_json(unit)
    frame = _conformed(table, write.frame)
    _require_within(table, frame, unit)
    rejected = _rejected(write.rejected)
    if is_good:
        rows, collapsed = frame.select(table.columns), 0
        broken, bad_rows = pl.DataFrame(schema=_BROKEN), 0
    else:
        rows, failures, collapsed = _validated(table, frame)
        broken, bad_rows = _broken_rows(table, failures, frame)
    rules = _rule_counts(broken, rejected)
    if rows.is_empty() and not write.allow_empty:
        why = f"; broken rules: {rules}" if rules else ""
        raise EmptyUnitError(
            f"no row to write into {table.name} for {unit_json} "
            f"({frame.height + rejected.height} read){why}; the unit was left as it is"
        )
    rows = sorted_by(rows, [name for name in table.key if name not in unit])
    result = WriteResult(
        table=table.name,
        rows_read=frame.height + rejected.height,
        rows_written=rows.height,
        rows_quarantined=bad_rows + rejected.height,
        rows_collapsed=collapsed,
        rules=rules,
        data_version=content_hash(rows, label=table.name, constant=unit.keys()),
    )
    return PreparedWrite(
        table=table,
        unit=unit,
        unit_json=unit_json,
        rows=rows,
        quarantine=_quarantine(table, unit_json, broken, rejected),
        file=_file(write.file, table, unit, result),
        result=result,
    )


def normalised_unit(table: Table, unit: Unit) -> dict[str, Value]:
    """``unit`` in the order of ``replace_by``, instants in UTC.

    Raises:
        UnitMismatchError: a column is missing, unknown, null or a naive datetime.
    """
    if set(unit) != set(table.replace_by):
        raise UnitMismatchError(
            f"a unit of {table.name} is named by {list(table.replace_by)}, not by {sorted(unit)}"
        )
    normal: dict[str, Value] = {}
    for name in table.replace_by:
        value = unit[name]
        wants_instant = isinstance(table.polars_schema[name], pl.Datetime)
        if isinstance(value, datetime):
            if value.tzinfo is None:
                raise UnitMismatchError(f"{name} of the unit is a naive datetime: {value!r}")
            value = value.astimezone(UTC)
        wanted = datetime if wants_instant else date if _is_date(table, name) else str
        if not isinstance(value, wanted) or (wanted is date and isinstance(value, datetime)):
            raise UnitMismatchError(f"{name} of a unit of {table.name} cannot be {value!r}")
        normal[name] = value
    return normal


def _is_date(table: Table, name: str) -> bool:
    return table.polars_schema[name] == pl.Date


def canonical_json(values: Mapping[str, Any]) -> str:
    """The same text for the same values: sorted names, ISO dates, no spaces."""
    # JSON has no NaN and no infinity: they are spelled out as text.
    spelled = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
    return json.dumps(
        spelled, sort_keys=True, separators=(",", ":"), default=_json_value, ensure_ascii=False
    )


def _json_value(value: Any) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"no canonical JSON for {type(value).__name__}")


def _conformed(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """``frame`` in the table's order and types, `RAW_COLUMN` last where it has one."""
    wanted = table.polars_schema
    if list(frame.schema.items()) == list(wanted.items()):
        return frame
    missing = [name for name in wanted if name not in frame.columns]
    unknown = [name for name in frame.columns if name not in wanted and name != RAW_COLUMN]
    if missing or unknown:
        raise FrameError(
            f"the frame for {table.name} lacks {missing} and has unknown columns {unknown}"
        )
    raw = [RAW_COLUMN] if RAW_COLUMN in frame.columns else []
    frame = frame.select(*wanted, *raw)
    for name, dtype in wanted.items():
        if frame.schema[name] != dtype:
            try:
                frame = frame.with_columns(pl.col(name).cast(dtype, strict=True))
            except pl.exceptions.PolarsError as error:
                raise FrameError(
                    f"{table.name}.{name} is {frame.schema[name]}, which cannot become {dtype}"
                ) from error
    return frame


def _require_within(table: Table, frame: pl.DataFrame, unit: Mapping[str, Value]) -> None:
    for name, value in unit.items():
        constant = pl.lit(value, dtype=frame.schema[name])
        count = frame.select(pl.col(name).ne_missing(constant).sum()).item()
        if count:
            raise UnitMismatchError(
                f"{count} of {frame.height} rows for {table.name} lie outside {name}={value}"
            )


def _validated(table: Table, frame: pl.DataFrame) -> tuple[pl.DataFrame, dy.FailureInfo, int]:
    """Good rows, failures, and how many exact duplicates were collapsed."""
    columns = table.columns
    good, failures = table.schema.filter(frame.select(columns))
    # Rows that are equal throughout share their key, so without a shared key there are none.
    if "primary_key" not in failures.counts():
        return good.select(columns), failures, 0
    once = frame.unique(subset=columns, keep="first", maintain_order=True)
    good, failures = table.schema.filter(once.select(columns))
    return good.select(columns), failures, frame.height - once.height


def _broken_rows(
    table: Table, failures: dy.FailureInfo, frame: pl.DataFrame
) -> tuple[pl.DataFrame, int]:
    """One row a bad row and broken rule (rule, row_key, raw), and the number of bad rows."""
    counts = failures.counts()
    if not counts:
        return pl.DataFrame(schema=_BROKEN), 0
    details = failures.details()
    bad = details.select(table.columns)
    if RAW_COLUMN in frame.columns:
        first = frame.unique(subset=table.columns, keep="first", maintain_order=True)
        bad = bad.join(first, on=table.columns, how="left", nulls_equal=True, maintain_order="left")
    records: list[dict[str, str | None]] = []
    rules = {
        rule: details.get_column(rule).cast(pl.String).eq_missing("invalid") for rule in counts
    }
    for position, row in enumerate(bad.iter_rows(named=True)):
        raw = row.pop(RAW_COLUMN, None)
        key = {name: row[name] for name in table.key}
        records.extend(
            {
                "rule": CONFLICTING_DUPLICATE if rule == "primary_key" else rule,
                "row_key": canonical_json(key) if key else None,
                "raw": canonical_json(row) if raw is None else str(raw),
            }
            for rule, broke in rules.items()
            if broke[position]
        )
    return pl.DataFrame(records, schema=_BROKEN), bad.height


_BROKEN = {"rule": pl.String, "row_key": pl.String, "raw": pl.String}


def _rejected(rejected: pl.DataFrame | None) -> pl.DataFrame:
    """Lines that could not be parsed, as (rule, row_key, raw)."""
    if rejected is None:
        return pl.DataFrame(schema=_BROKEN)
    if not {"raw", "reason"} <= set(rejected.columns):
        raise FrameError(f"rejected rows have columns raw and reason, not {rejected.columns}")
    return rejected.select(
        pl.col("reason").cast(pl.String).fill_null("unreadable").alias("rule"),
        pl.lit(None, pl.String).alias("row_key"),
        pl.col("raw").cast(pl.String).fill_null(""),
    )


def _rule_counts(*frames: pl.DataFrame) -> dict[str, int]:
    counted = pl.concat(frames).get_column("rule").value_counts().sort("rule")
    return dict(counted.iter_rows())


def _quarantine(
    table: Table, unit_json: str, broken: pl.DataFrame, rejected: pl.DataFrame
) -> pl.DataFrame:
    return (
        pl.concat([broken, rejected])
        .select(
            pl.lit(table.name).alias("table_name"),
            pl.lit(unit_json).alias("unit"),
            "rule",
            "row_key",
            "raw",
        )
        .sort("rule", "row_key", "raw")
        .select(QUARANTINE.columns)
    )


def _file(
    file: IngestedFile | None, table: Table, unit: Mapping[str, Value], result: WriteResult
) -> IngestedFile | None:
    if file is None:
        return None
    source = unit.get("source", file.source)
    day = unit.get("trade_date")
    if not isinstance(source, str) or not isinstance(day, date):
        raise UnitMismatchError(f"a file of {table.name} needs a trade_date and a source")
    return replace(
        file,
        source=source,
        trade_date=day,
        table_name=table.name,
        rows_read=result.rows_read,
        rows_kept=result.rows_written,
        rows_quarantined=result.rows_quarantined,
        rows_collapsed=result.rows_collapsed,
    )
