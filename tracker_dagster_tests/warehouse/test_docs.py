from pathlib import Path

import duckdb
import pytest

from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.warehouse.docs import render
from tracker_dagster.warehouse.migrations import create_sql

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"


def test_the_committed_page_is_what_the_schemas_say():
    assert PAGE.read_text(encoding="utf-8") == render(), (
        "run `python -m tracker_dagster.warehouse.docs` and commit docs/tables.md"
    )


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_the_page_lists_the_columns_that_the_database_gets(table):
    with duckdb.connect() as connection:
        connection.execute(create_sql(table))
        described = connection.execute(f"DESCRIBE {table.name}").fetchall()
    section = render([table], []).split(f"\n## {table.name}\n")[1]
    cells = [
        [cell.strip() for cell in line.split(" | ")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    names = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    assert [(cell[0].strip("|` "), cell[1]) for cell in cells] == [
        (row[0], names.get(row[1], row[1])) for row in described
    ]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_and_every_number_is_explained(table):
    for doc in table.column_docs():
        assert doc.description, doc.name
        if doc.sql_type in ("DOUBLE", "BIGINT", "INTEGER"):
            assert doc.unit, doc.name


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_units_name_columns(table):
    assert table.replace_by
    assert set(table.replace_by) <= set(table.columns)
