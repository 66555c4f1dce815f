"""The SQL of reads: as of a time, from the best source known by then. Pure."""

# ruff: noqa: S608 - names come from schemas and are quoted; values are always bound.

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from tracker_dagster.schemas.base import Table
from tracker_dagster.warehouse.connections import quoted
from tracker_dagster.warehouse.errors import FrameError, NoAvailabilityError


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows of one table: a condition in SQL with its parameters, and what is known to be fixed."""

    table: Table
    condition: str
    parameters: tuple[Any, ...]
    fixed: frozenset[str]
    as_of: datetime | None

    @property
    def picks_source(self) -> bool:
        """Whether the best source known by then is to be picked key by key."""
        return (
            self.as_of is not None
            and bool(self.table.source_preference)
            and "source" in self.table.key
            and "source" not in self.fixed
        )

    def sources_sql(self) -> str:
        """Which sources the selected rows come from."""
        return f"SELECT DISTINCT source FROM {quoted(self.table.name)}{self.condition}"

    @property
    def order(self) -> list[str]:
        """The columns that rows are sorted by: the key, without what is the same in all."""
        return [name for name in self.table.key if name not in self.fixed]

    def sql(self, columns: Sequence[str], *, pick_source: bool) -> str:
        """The rows as they lie in the file; of several sources the preferred one on demand."""
        require_columns(self.table, columns)
        qualify = self._best_source() if pick_source else ""
        names = ", ".join(map(quoted, columns))
        return f"SELECT {names} FROM {quoted(self.table.name)}{self.condition}{qualify}"

    def _best_source(self) -> str:
        per = ", ".join(quoted(name) for name in self.table.key if name != "source")
        ranks = " ".join(
            f"WHEN '{source}' THEN {rank}"
            for rank, source in enumerate(self.table.source_preference)
        )
        # A source nobody ranked comes last, and of several such the first by name.
        rank = f"CASE source {ranks} ELSE {len(self.table.source_preference)} END"
        return f" QUALIFY row_number() OVER (PARTITION BY {per} ORDER BY {rank}, source) = 1"


def select(
    table: Table,
    *,
    as_of: datetime | None = None,
    first: date | None = None,
    last: date | None = None,
    where: Mapping[str, Any] | None = None,
) -> Selection:
    """The rows of ``table`` known by ``as_of``, from ``first`` to ``last``, that match ``where``.

    Raises:
        NoAvailabilityError: ``as_of`` for a table without ``available_at``.
        FrameError: a condition on a column that the table does not have, or a naive datetime.
    """
    conditions: list[str] = []
    parameters: list[Any] = []
    fixed: set[str] = set()

    def add(name: str, sign: str, value: Any) -> None:
        require_columns(table, [name])
        conditions.append(f"{quoted(name)} {sign} ?")
        parameters.append(_bound(value))

    if first is not None and first == last:
        fixed.add("trade_date")
        add("trade_date", "=", first)
    else:
        if first is not None:
            add("trade_date", ">=", first)
        if last is not None:
            add("trade_date", "<=", last)
    for name, value in (where or {}).items():
        require_columns(table, [name])
        if value is None:
            conditions.append(f"{quoted(name)} IS NULL")
            fixed.add(name)
        elif isinstance(value, Collection) and not isinstance(value, str | bytes):
            values = [_bound(item) for item in value]
            if not values:
                conditions.append("false")
            else:
                conditions.append(f"{quoted(name)} IN ({', '.join('?' * len(values))})")
            parameters.extend(values)
        else:
            fixed.add(name)
            add(name, "=", value)
    if as_of is not None:
        if "available_at" not in table.columns:
            raise NoAvailabilityError(
                f"{table.name} does not say when its rows were known (no available_at): "
                "read it without as_of, or say why that is safe"
            )
        add("available_at", "<=", as_of)
    return Selection(
        table=table,
        condition=" WHERE " + " AND ".join(conditions) if conditions else "",
        parameters=tuple(parameters),
        fixed=frozenset(fixed),
        as_of=as_of,
    )


def require_columns(table: Table, names: Collection[str]) -> None:
    """Raises `FrameError` when ``table`` has no such columns."""
    unknown = sorted(set(names) - set(table.columns))
    if unknown:
        raise FrameError(f"{table.name} has no column {', '.join(unknown)}")


def _bound(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FrameError(f"naive datetime {value!r}: pass one with a timezone")
        return value.astimezone(UTC)
    return value
