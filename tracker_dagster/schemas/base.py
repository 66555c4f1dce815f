"""What a table is: a validated schema, the unit a write replaces, and how it is described.

DDL, documentation, UI column metadata and checks are all derived from here. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

import dataframely as dy
import polars as pl

#: Every instant in a table is UTC with microseconds.
INSTANT = pl.Datetime("us", "UTC")


class Kind(StrEnum):
    """What a table holds, which decides how it may change between versions."""

    MARKET = "market"  # parsed from vendor files or REST history; can be fetched again
    CAPTURED = "captured"  # parsed from raw captures of live answers; nobody can fetch it again
    DERIVED = "derived"  # computed from other tables; may be rebuilt
    DECISION = "decision"  # what was decided, at which instant, from which inputs
    LEDGER = "ledger"  # what people changed; append only
    SYSTEM = "system"  # bookkeeping of the warehouse itself


@dataclass(frozen=True, slots=True)
class ColumnDoc:
    """One column as the documentation and the UI show it."""

    name: str
    sql_type: str
    nullable: bool
    in_key: bool
    unit: str | None
    description: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A warehouse table.

    Attributes:
        name: table name in DuckDB, and asset key where an asset writes it.
        schema: dataframely schema; its primary key is enforced before every write.
        replace_by: the columns whose values name the unit that one write replaces.
        kind: see `Kind`.
        source_preference: where several sources give the same row, best first.
        description: one sentence for people.
    """

    name: str
    schema: type[dy.Schema]
    replace_by: tuple[str, ...]
    kind: Kind
    description: str
    source_preference: tuple[str, ...] = ()
    #: Names of the tables that the rows are made from, for column lineage.
    made_from: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Column names in table order: the key first."""
        return list(_dtypes(self.schema))

    @property
    def key(self) -> list[str]:
        """Primary key columns."""
        return list(_key(self.schema))

    @property
    def polars_schema(self) -> dict[str, pl.DataType]:
        """Column name to polars dtype."""
        return dict(_dtypes(self.schema))

    def empty(self) -> pl.DataFrame:
        """A frame with the table's columns and no rows."""
        return pl.DataFrame(schema=self.polars_schema)

    def conform(self, frame: pl.DataFrame, **constants: Any) -> pl.DataFrame:
        """``frame`` with the table's columns, in order and in type.

        Columns of the schema that ``frame`` lacks are filled from ``constants``, else with null;
        columns it does not know are dropped.
        """
        dtypes = self.polars_schema
        return frame.select(
            (
                pl.col(name)
                if name in frame.columns and name not in constants
                else pl.lit(constants.get(name))
            )
            .cast(dtype)
            .alias(name)
            for name, dtype in dtypes.items()
        )

    def column_docs(self) -> list[ColumnDoc]:
        """The columns in order, with type, unit, rules and description."""
        key = set(self.key)
        columns = self.schema.columns()
        return [
            ColumnDoc(
                name=name,
                sql_type=sql_type(column.dtype),
                nullable=column.nullable,
                in_key=name in key,
                unit=(column.metadata or {}).get("unit"),
                description=column.description or "",
                rules=_column_rules(column),
            )
            for name, column in ((name, columns[name]) for name in self.columns)
        ]

    def row_rules(self) -> dict[str, str]:
        """Rules over whole rows: name to what it promises (the rule's docstring)."""
        own = set(self.schema._schema_validation_rules())
        return {
            name: (getattr(self.schema, name).validation_fn.__doc__ or "").strip()
            for name in sorted(own)
            if name != "primary_key" and hasattr(self.schema, name)
        }


# dataframely works these out anew for every call, and every read and write asks for them.


@cache
def _key(schema: type[dy.Schema]) -> tuple[str, ...]:
    return tuple(schema.primary_key())


@cache
def _dtypes(schema: type[dy.Schema]) -> dict[str, pl.DataType]:
    columns, key = schema.columns(), _key(schema)
    names = [*key, *(name for name in columns if name not in key)]
    return {name: columns[name].dtype for name in names}


_SQL_TYPES: dict[Any, str] = {
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
    pl.Float64: "DOUBLE",
    pl.Int32: "INTEGER",
    pl.Int64: "BIGINT",
    pl.String: "VARCHAR",
}


def sql_type(dtype: pl.DataType) -> str:
    """DuckDB type of a polars dtype that schemas use.

    Raises:
        TypeError: a dtype no table may have (naive datetimes among them).
    """
    if dtype == INSTANT:
        return "TIMESTAMPTZ"
    try:
        return _SQL_TYPES[dtype.base_type()]
    except KeyError:
        raise TypeError(f"no table may have a column of type {dtype}") from None


def _column_rules(column: Any) -> tuple[str, ...]:
    words = {"min": ">=", "min_exclusive": ">", "max": "<=", "max_exclusive": "<"}
    limits = [
        f"{sign} {value}"
        for name, sign in words.items()
        if (value := getattr(column, name, None)) is not None
    ]
    if pattern := getattr(column, "regex", None):
        limits.append(f"matches `{pattern}`")
    return tuple(limits)


# Columns that mean the same thing in every table.


def trade_date() -> dy.Date:
    """The exchange session (New York date) that the row belongs to."""
    return dy.Date(primary_key=True, description="exchange session, New York date")


def slot() -> dy.Datetime:
    """The capture slot within the session."""
    return dy.Datetime(
        primary_key=True,
        time_unit="us",
        time_zone="UTC",
        description="calendar slot the capture belongs to",
    )


def source() -> dy.String:
    """Which feed the row came from."""
    return dy.String(primary_key=True, description="feed the row came from")


def available_at() -> dy.Datetime:
    """When the row could first have been known."""
    return instant("when this could first be known; reads as of a time use it", nullable=False)


def instant(description: str, *, nullable: bool = True, key: bool = False) -> dy.Datetime:
    """An instant in UTC."""
    return dy.Datetime(
        nullable=nullable and not key,
        primary_key=key,
        time_unit="us",
        time_zone="UTC",
        description=description,
    )


def text(description: str, *, nullable: bool = False, key: bool = False) -> dy.String:
    """A text column."""
    return dy.String(nullable=nullable and not key, primary_key=key, description=description)


def number(
    description: str,
    unit: str,
    *,
    nullable: bool = True,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
) -> dy.Float64:
    """A real number with its unit; NaN and infinity are never allowed."""
    return dy.Float64(
        nullable=nullable,
        min=at_least,
        min_exclusive=above,
        max=at_most,
        description=description,
        metadata={"unit": unit},
    )


def count(description: str, unit: str = "count", *, nullable: bool = True) -> dy.Int64:
    """A whole number that cannot be negative."""
    return dy.Int64(nullable=nullable, min=0, description=description, metadata={"unit": unit})


def price(description: str, *, nullable: bool = False) -> dy.Float64:
    """A price in US dollars per share, above zero."""
    return number(description, "USD per share", nullable=nullable, above=0)


def choice(
    options: tuple[str, ...], description: str, *, nullable: bool = False, key: bool = False
) -> dy.String:
    """A text column that holds one of ``options``."""
    return dy.String(
        nullable=nullable and not key,
        primary_key=key,
        regex=f"^({'|'.join(options)})$",
        description=description,
    )


def flag(description: str, *, nullable: bool = False) -> dy.Bool:
    """A yes or no."""
    return dy.Bool(nullable=nullable, description=description)


class OptionTerms(dy.Schema):
    """What an option contract is, in tables that have a ``trade_date``."""

    underlying = text("ticker of the underlying")
    root = text("option root")
    expiry = dy.Date(nullable=False, description="expiration date")
    right = dy.String(nullable=False, regex=r"^[CP]$", description="C for a call, P for a put")
    strike = price("strike price")

    @dy.rule()
    def not_expired(cls) -> pl.Expr:
        """The contract had not expired before the session."""
        return pl.col("expiry") >= pl.col("trade_date")
