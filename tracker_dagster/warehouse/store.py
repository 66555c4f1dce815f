"""The warehouse: replace a unit, read as of a time. The only door to the database file."""

# ruff: noqa: S608 - names come from schemas and are quoted; values are always bound.

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from tracker_dagster.schemas.base import Kind, Table
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.schemas.system import INGESTED_FILES, LEDGER, QUARANTINE
from tracker_dagster.schemas.views import VIEWS, View
from tracker_dagster.warehouse.connections import ROW_GROUP_ROWS, connect, opened, quoted
from tracker_dagster.warehouse.errors import FrameError, UnitMismatchError
from tracker_dagster.warehouse.migrations import (
    MIGRATIONS,
    Migration,
    apply_plan,
    copy_before_migration,
    make_plan,
)
from tracker_dagster.warehouse.ordering import sorted_by
from tracker_dagster.warehouse.reads import require_columns, select
from tracker_dagster.warehouse.turns import turn
from tracker_dagster.warehouse.units import (
    IngestedFile,
    PreparedWrite,
    Unit,
    Value,
    Write,
    WriteResult,
    prepare_all,
)

#: Files this process has compared with the code: which file lay at a path, and with what.
_seen: dict[Path, tuple[Any, ...]] = {}


class Warehouse:
    """One DuckDB file that many threads and processes share by taking turns.

    Nothing is opened before the first use, and nothing stays open after it. A thread that holds
    a `connection` must close it before it calls another method.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        patience: float = 60.0,
        tables: Mapping[str, Table] = TABLES,
        migrations: Sequence[Migration] = MIGRATIONS,
        views: Sequence[View] = VIEWS,
    ) -> None:
        """Name the file.

        Args:
            path: the database file; its folder is created by the first use.
            patience: seconds to wait for a program that holds the file without taking turns.
            tables: the tables the file has.
            migrations: numbered changes since the first release.
            views: named queries over the tables; one that reads a table the file has not is left
                out.
        """
        self.path = Path(path).absolute()
        self.patience = patience
        self._tables = tables
        self._migrations = tuple(migrations)
        self._views = tuple(views)

    def __repr__(self) -> str:
        return f"Warehouse({str(self.path)!r})"

    def migrate(self) -> None:
        """Create or update the tables and views. The first use of the file calls this.

        Raises:
            NewerFileError: a newer version of this package wrote the file.
            SchemaChangeError: a table that cannot be rebuilt differs from the code.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._identity() is not None:
            with connect(self.path, read_only=True, patience=self.patience) as connection:
                plan = make_plan(connection, self._tables, self._migrations, self._views)
            if plan.is_empty:
                self._remember()
                return
        self._apply()
        self._remember()

    def _remember(self) -> None:
        _seen[self.path] = (self._identity(), self._tables, self._migrations, self._views)

    def _is_up_to_date(self) -> bool:
        identity, tables, *rest = _seen.get(self.path, (None, None))
        return (
            identity is not None
            and identity == self._identity()
            and tables is self._tables
            and rest == [self._migrations, self._views]
        )

    def _apply(self) -> None:
        with turn(self.path, exclusive=True):
            if self._identity() is not None:
                with opened(self.path, read_only=False, patience=self.patience) as connection:
                    plan = make_plan(connection, self._tables, self._migrations, self._views)
                    connection.execute("CHECKPOINT")
                if plan.pending and plan.found_version is not None:
                    copy_before_migration(self.path, plan.pending[-1].version)
            with opened(self.path, read_only=False, patience=self.patience) as connection:
                apply_plan(connection, self._tables, self._migrations, self._views)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    @contextmanager
    def connection(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection, in turn, closed at the end whatever happens. Hold it briefly.

        Args:
            read_only: readers share their turn with readers of other processes; a writer is
                alone.

        Raises:
            TurnError: this thread holds a connection already.
            WarehouseHeldError: a program that takes no turns held the file for too long.
            WarehouseFullError: the disk is full.
        """
        if not self._is_up_to_date():
            self.migrate()
        with connect(self.path, read_only=read_only, patience=self.patience) as connection:
            yield connection

    def replace(
        self,
        table: Table,
        frame: pl.DataFrame,
        unit: Unit,
        *,
        rejected: pl.DataFrame | None = None,
        file: IngestedFile | None = None,
        allow_empty: bool = False,
    ) -> WriteResult:
        """Make ``frame`` the rows of one unit of ``table``, in one transaction.

        Rows that break a rule go to the quarantine, exact duplicates collapse into one, rows
        that share a key and differ elsewhere all go to the quarantine. The same frame gives the
        same rows in the same order.

        Args:
            table: where to.
            frame: the table's columns, in any order, and ``_raw`` (the line as it came) if known.
            unit: a value for each of ``table.replace_by``; every row must lie within it.
            rejected: lines that could not be parsed: columns ``raw`` and ``reason``.
            file: the vendor file the rows came from, stored with them.
            allow_empty: leaving the unit without rows is meant.

        Raises:
            EmptyUnitError: no row would be written, and ``allow_empty`` is false.
            UnitMismatchError: ``unit`` has other columns, or a row lies outside it.
            FrameError: the frame has other columns or types than the table.
            AppendOnlyError: the table is append-only.
        """
        write = Write(table, frame, unit, rejected, file, allow_empty)
        return self.replace_many([write])[0]

    def replace_many(self, writes: Sequence[Write]) -> list[WriteResult]:
        """`replace` for several units in one transaction: all of them, or none."""
        prepared = prepare_all(writes)
        units = {(write.table.name, write.unit_json) for write in prepared}
        if len(units) < len(prepared):
            raise UnitMismatchError("the same unit is replaced twice in one transaction")
        if not prepared:
            return []
        with self.connection(read_only=False) as connection, _transaction(connection):
            return [_replace_unit(connection, write) for write in prepared]

    def append_events(self, events: pl.DataFrame) -> int:
        """Add events to the ledger; one that is there already is left as it is.

        Returns:
            How many were new.

        Raises:
            FrameError: an event breaks a rule of the ledger, and none was added.
        """
        events = LEDGER.conform(events).unique("event_id", keep="first", maintain_order=True)
        good, failures = LEDGER.schema.filter(events.select(LEDGER.columns))
        if len(failures):
            raise FrameError(f"the ledger takes no such events: {failures.counts()}")
        if good.is_empty():
            return 0
        with self.connection(read_only=False) as connection, _transaction(connection):
            connection.register("incoming", good.to_arrow())
            fresh = "event_id NOT IN (SELECT event_id FROM ledger)"
            (count,) = connection.execute(
                f"SELECT count(*) FROM incoming WHERE {fresh}"
            ).fetchone() or (0,)
            connection.execute(f"INSERT INTO ledger BY NAME SELECT * FROM incoming WHERE {fresh}")
            connection.unregister("incoming")
        return int(count)

    def read(
        self,
        table: Table,
        *,
        as_of: datetime | None = None,
        first: date | None = None,
        last: date | None = None,
        where: Mapping[str, Any] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """Rows of ``table``, sorted by key, instants in UTC.

        Args:
            table: where from.
            as_of: only what was known then (``available_at`` at or before it), and where the
                table ranks its sources, for each key the best source known by then. Without it
                every row is returned as stored, of all sources.
            first: first ``trade_date``.
            last: last ``trade_date``.
            where: column to the value it must have, or a collection of values it may have.
            columns: only these are read; all when None.

        Raises:
            NoAvailabilityError: ``as_of`` for a table without ``available_at``.
            FrameError: a column that the table does not have.
        """
        selection = select(table, as_of=as_of, first=first, last=last, where=where)
        names = list(columns) if columns is not None else table.columns
        # Units lie in the file in order of their key: looking is cheaper than an ORDER BY.
        needed = [*names, *(name for name in selection.order if name not in names)]
        with self.connection(read_only=True) as connection:
            pick_source = False
            if selection.picks_source:
                sources = connection.execute(
                    selection.sources_sql(), list(selection.parameters)
                ).fetchall()
                # Ranking costs a window over all rows: only where there is a choice.
                pick_source = len(sources) > 1
            sql = selection.sql(needed, pick_source=pick_source)
            rows = connection.execute(sql, list(selection.parameters)).pl()
        return sorted_by(rows, selection.order).select(names)

    def latest_slot(
        self, table: Table, trade_date: date, as_of: datetime | None = None
    ) -> datetime | None:
        """The last capture slot of a session that was known by ``as_of``; None without one."""
        selection = select(table, as_of=as_of, first=trade_date, last=trade_date)
        require_columns(table, ["slot"])
        sql = f"SELECT max(slot) AS slot FROM {quoted(table.name)}{selection.condition}"
        slot: datetime | None = self.query(sql, selection.parameters).item()
        return slot

    def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pl.DataFrame:
        """The result of one read-only statement, values bound as parameters."""
        bound = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
        with self.connection(read_only=True) as connection:
            return connection.execute(sql, bound).pl()

    def row_count(self, table: Table) -> int:
        """Rows of the whole table, all partitions and sources."""
        count: int = self.query(f"SELECT count(*) FROM {quoted(table.name)}").item()
        return count

    def ingested_files(
        self, table: Table, first: date | None = None, last: date | None = None
    ) -> list[IngestedFile]:
        """The vendor files that the partitions from ``first`` to ``last`` were made from."""
        return self._files({"table_name": table.name}, first, last)

    def _files(
        self, where: Mapping[str, Any], first: date | None, last: date | None
    ) -> list[IngestedFile]:
        rows = self.read(INGESTED_FILES, first=first, last=last, where=where)
        return [IngestedFile(**row) for row in rows.iter_rows(named=True)]


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A commit that failed for want of room has been rolled back already.
        with suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        raise


def _replace_unit(connection: duckdb.DuckDBPyConnection, write: PreparedWrite) -> WriteResult:
    _replace_rows(connection, write.table, write.unit, write.rows)
    _replace_rows(
        connection,
        QUARANTINE,
        {"table_name": write.table.name, "unit": write.unit_json},
        write.quarantine,
    )
    unit = write.unit
    replaced_etag: str | None = None
    owner: dict[str, Value] = {"table_name": write.table.name}
    if "trade_date" in unit and write.table.kind in (Kind.MARKET, Kind.CAPTURED):
        owner |= {name: unit[name] for name in ("trade_date", "source") if name in unit}
        rows = INGESTED_FILES.empty()
        if write.file is not None:
            rows = pl.DataFrame(
                [{name: getattr(write.file, name) for name in INGESTED_FILES.columns}],
                schema=INGESTED_FILES.polars_schema,
            )
        found = connection.execute(
            f"SELECT max(etag) FROM ingested_files WHERE {_condition(owner)}", list(owner.values())
        ).fetchone()
        replaced_etag = found[0] if found else None
        _replace_rows(connection, INGESTED_FILES, owner, rows)
    return replace(write.result, replaced_etag=replaced_etag)


def _condition(unit: Mapping[str, Any]) -> str:
    return " AND ".join(f"{quoted(column)} = ?" for column in unit)


def _replace_rows(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    unit: Mapping[str, Any],
    rows: pl.DataFrame,
) -> None:
    name = quoted(table.name)
    connection.execute(f"DELETE FROM {name} WHERE {_condition(unit)}", list(unit.values()))
    if rows.is_empty():
        return
    # Imported here: only writing needs it.
    import pyarrow as pa

    # In batches of a row group DuckDB compresses on all cores, keeps the order, and leaves the
    # next checkpoint no uneven groups to merge.
    arrow = rows.rechunk().to_arrow(compat_level=pl.CompatLevel.newest())
    batches = arrow.to_batches(max_chunksize=ROW_GROUP_ROWS)
    connection.register("incoming", pa.Table.from_batches(batches))
    connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming")
    connection.unregister("incoming")
