"""Bringing a file to the shape the code expects, without losing what nobody can fetch again.

Missing tables are created and missing nullable columns added. A table that can be filled again
(market, derived) is dropped and created empty when its shape changed otherwise. Captured,
decision, ledger and bookkeeping tables change only by the numbered `MIGRATIONS`, after a copy of
the file. Views hold nothing and are replaced whenever their query has changed.
"""

# ruff: noqa: S608 - names come from schemas and are quoted; values are always bound.

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tracker_dagster.schemas.base import Kind, Table, sql_type
from tracker_dagster.schemas.views import View
from tracker_dagster.warehouse.connections import quoted
from tracker_dagster.warehouse.errors import (
    NewerFileError,
    SchemaChangeError,
    TableRebuiltWarning,
)

#: Version of a file to which no migration has been applied.
FIRST_VERSION = 1

_CAN_BE_FILLED_AGAIN = frozenset({Kind.MARKET, Kind.DERIVED})


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered change of tables that cannot be rebuilt.

    Attributes:
        version: the file's version afterwards: one more than the migration before.
        name: what it does, in a few words.
        apply: does it, inside a transaction that the caller commits.
    """

    version: int
    name: str
    apply: Callable[[duckdb.DuckDBPyConnection], object]


#: Every migration since the first release, ascending from version 2.
MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        2,
        "alternatives of a pick are rows of pick_candidates",
        lambda connection: connection.execute(
            "ALTER TABLE IF EXISTS weekly_picks DROP COLUMN IF EXISTS alternatives"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file needs: version found, statements to run, tables that lose their rows."""

    found_version: int | None
    pending: tuple[Migration, ...]
    statements: tuple[str, ...]
    rebuilt: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the file is as the code expects it."""
        return self.found_version is not None and not self.pending and not self.statements


def code_version(migrations: Sequence[Migration]) -> int:
    """The version of a file to which all ``migrations`` were applied.

    Raises:
        ValueError: their numbers leave a gap.
    """
    numbers = [migration.version for migration in migrations]
    expected = list(range(FIRST_VERSION + 1, FIRST_VERSION + 1 + len(numbers)))
    if numbers != expected:
        raise ValueError(f"migrations are numbered {numbers}, not {expected}")
    return FIRST_VERSION + len(numbers)


def make_plan(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, Table],
    migrations: Sequence[Migration],
    views: Sequence[View] = (),
) -> Plan:
    """Compare the open file with the code. Changes nothing.

    Raises:
        NewerFileError: the file has a higher version than the code.
        SchemaChangeError: a table that cannot be rebuilt differs, and no migration is pending; or
            a table that is not ours has the name of a view.
    """
    version = file_version(connection)
    newest = code_version(migrations)
    if version is not None and version > newest:
        raise NewerFileError(
            f"the file has version {version}, this package knows up to {newest}: "
            "install the newer package, or open another file"
        )
    pending = tuple(
        migration for migration in migrations if version is not None and migration.version > version
    )
    statements: list[str] = []
    rebuilt: list[str] = []
    shapes = _shapes(connection)
    for table in tables.values():
        found = shapes.get(table.name, {})
        if not found:
            statements.append(create_sql(table))
            continue
        additions = _missing_nullable(table, found)
        if {**found, **dict(additions)} == _expected(table):
            statements.extend(
                f"ALTER TABLE {quoted(table.name)} ADD COLUMN {quoted(name)} {kind}"
                for name, kind in additions
            )
        elif table.kind in _CAN_BE_FILLED_AGAIN:
            rebuilt.append(table.name)
            statements += [f"DROP TABLE {quoted(table.name)}", create_sql(table)]
            statements += [
                f"DELETE FROM {name} WHERE table_name = '{table.name}'"
                for name in ("ingested_files", "quarantine")
                if name in shapes
            ]
        elif not pending:
            raise SchemaChangeError(_difference(table, found))
    statements += _view_statements(connection, tables, views, shapes)
    return Plan(version, pending, tuple(statements), tuple(rebuilt))


def apply_plan(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, Table],
    migrations: Sequence[Migration],
    views: Sequence[View] = (),
) -> None:
    """Run what the file needs in one transaction: numbered migrations, then shapes, then views."""
    connection.execute("BEGIN")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER, name VARCHAR)"
        )
        plan = make_plan(connection, tables, migrations, views)
        if plan.found_version is None:
            _record(connection, code_version(migrations), "created")
        for migration in plan.pending:
            migration.apply(connection)
            _record(connection, migration.version, migration.name)
        if plan.pending:
            plan = make_plan(connection, tables, migrations, views)
        for statement in plan.statements:
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise
    for name in plan.rebuilt:
        warnings.warn(
            f"table {name} changed its shape and was emptied: materialise its partitions again",
            TableRebuiltWarning,
            stacklevel=4,
        )


def file_version(connection: duckdb.DuckDBPyConnection) -> int | None:
    """The version of the open file; None for a file that has no tables of ours."""
    if "schema_version" not in _shapes(connection):
        return None
    row = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    return row[0] if row else None


def copy_before_migration(path: Path, version: int) -> Path:
    """Copy a file that no connection has open, to ``<name>.before-v<version>``."""
    copy = path.with_name(f"{path.name}.before-v{version}")
    partial = copy.with_name(copy.name + ".partial")
    shutil.copyfile(path, partial)
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(copy)
    return copy


def create_sql(table: Table) -> str:
    """DDL of a table. No keys: dataframely enforces them before a write.

    Measured over 20 days of OPRA: with a primary key the file is 5 times as large and rewriting
    a day takes 30 times as long.
    """
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in _expected(table).items())
    return f"CREATE TABLE {quoted(table.name)} ({columns})"


def _record(connection: duckdb.DuckDBPyConnection, version: int, name: str) -> None:
    connection.execute("INSERT INTO schema_version VALUES (?, ?)", [version, name])


_LONG_NAMES = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}


def _shapes(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """Every table of the file: columns in order, and their types."""
    # All at once: the catalogue takes as long for one table as for all.
    rows = connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() "
        "WHERE database_name = current_database() ORDER BY table_name, column_index"
    ).fetchall()
    shapes: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        shapes.setdefault(table, {})[column] = _LONG_NAMES.get(kind, kind)
    return shapes


def _view_statements(
    connection: duckdb.DuckDBPyConnection,
    tables: Mapping[str, Table],
    views: Sequence[View],
    shapes: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """What brings the views up to date; those over tables that the code does not have are left out.

    A view's comment ends with an identity of its query, because DuckDB keeps the query itself in
    words of its own. It binds the query anew at every use, so a table may change behind it.
    """
    rows = connection.execute(
        "SELECT view_name, comment FROM duckdb_views() "
        "WHERE NOT internal AND database_name = current_database()"
    ).fetchall()
    comments = dict(rows)
    statements: list[str] = []
    for view in views:
        if not set(view.reads) <= set(tables):
            continue
        if view.name in shapes and view.name not in comments:
            raise SchemaChangeError(
                f"{view.name} is a table of this file and the name of a view: rename the table"
            )
        identity = hashlib.sha256(view.sql.encode()).hexdigest()[:12]
        comment = f"{view.description} [{identity}]"
        if comments.get(view.name) != comment:
            told = comment.replace("'", "''")
            statements += [
                f"CREATE OR REPLACE VIEW {quoted(view.name)} AS {view.sql}",
                f"COMMENT ON VIEW {quoted(view.name)} IS '{told}'",
            ]
    return statements


def _expected(table: Table) -> dict[str, str]:
    return {name: sql_type(dtype) for name, dtype in table.polars_schema.items()}


def _missing_nullable(table: Table, found: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (doc.name, doc.sql_type)
        for doc in table.column_docs()
        if doc.name not in found and doc.nullable
    ]


def _difference(table: Table, found: Mapping[str, str]) -> str:
    expected = _expected(table)
    missing = sorted(set(expected) - set(found))
    unknown = sorted(set(found) - set(expected))
    changed = sorted(
        f"{name} ({found[name]}, not {expected[name]})"
        for name in set(found) & set(expected)
        if found[name] != expected[name]
    )
    return (
        f"table {table.name} cannot be filled again and has another shape than the code expects "
        f"(missing {missing}, unknown {unknown}, changed {changed}): it needs a numbered migration"
    )
