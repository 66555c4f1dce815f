"""What the UI shows of a table: its description, its columns, and what they are made from."""

import inspect
from collections.abc import Callable

import dagster as dg

from tracker_dagster.schemas.base import Table


def description(table: Table, function: Callable[..., object]) -> str:
    """What the table holds and how it is made, as the UI's markdown."""
    made = inspect.getdoc(function) or ""
    return f"{table.description}\n\n{made.replace('``', '`')}".strip()


def column_schema(table: Table) -> dg.TableSchema:
    """The table's columns as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=column.sql_type,
                description=column.description + (f" [{column.unit}]" if column.unit else ""),
                constraints=dg.TableColumnConstraints(
                    nullable=column.nullable,
                    other=[*(["key"] if column.in_key else []), *column.rules],
                ),
            )
            for column in table.column_docs()
        ],
        constraints=dg.TableConstraints(other=list(table.row_rules().values())),
    )


def column_lineage(table: Table) -> dg.TableColumnLineage:
    """Which upstream columns each column is made from."""
    return dg.TableColumnLineage(
        deps_by_column={
            column: [
                dg.TableColumnDep(asset_key=dg.AssetKey(upstream), column_name=name)
                for upstream, name in sources
            ]
            for column, sources in table.made_from.items()
        }
    )
