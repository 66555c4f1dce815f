"""The documentation of every table and view, rendered from its schema. Pure but for ``main``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from tracker_dagster.schemas.base import ColumnDoc, Kind, Table
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.schemas.views import VIEWS, View, ViewColumn

_KINDS = {
    Kind.MARKET: "market data: parsed from the vendor's files or history, can be fetched again",
    Kind.CAPTURED: "captured: parsed from raw live answers that nobody can fetch again",
    Kind.DERIVED: "derived: computed from other tables, may be rebuilt",
    Kind.DECISION: "decision: what was decided at an instant, from which inputs",
    Kind.LEDGER: "ledger: what people changed, append only",
    Kind.SYSTEM: "bookkeeping of the warehouse",
}

_HEAD = """\
# Tables

Generated from `tracker_dagster/schemas` by `python -m tracker_dagster.warehouse.docs`; do not
edit. All instants are UTC, all `trade_date`s New York. A write replaces exactly one unit, in one
transaction; rows that break a rule go to `quarantine` instead. The database has no constraints
of its own: keys and rules are checked before each write. Views give some of it the names that the
integration guide uses.
"""


def render(tables: Iterable[Table] = TABLES.values(), views: Iterable[View] = VIEWS) -> str:
    """The page in Markdown: an index, then a section a table and a section a view."""
    tables, views = list(tables), list(views)
    told = [(one.name, one.description) for one in tables]
    told += [(one.name, one.description) for one in views]
    index = [f"| [`{name}`](#{name}) | {description} |" for name, description in told]
    head = [_HEAD, "| table or view | rows |", "|---|---|", *index]
    sections = [*map(_section, tables), *map(_view_section, views)]
    return "\n".join(head) + "\n" + "".join(sections)


def _section(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key) or "none"
    facts = [
        f"* Kind: {_KINDS[table.kind]}.",
        f"* Key: {key}.",
        f"* A write replaces: {', '.join(f'`{name}`' for name in table.replace_by)}.",
    ]
    if table.kind is Kind.LEDGER:
        facts[2] = "* A write adds events that are not there yet; nothing is ever replaced."
    if table.source_preference:
        ranked = ", ".join(f"`{name}`" for name in table.source_preference)
        facts.append(f"* Sources, best first: {ranked}.")
    facts += [f"* Rule `{name}`: {promise}" for name, promise in table.row_rules().items()]
    lines = [
        "",
        f"## {table.name}",
        "",
        table.description,
        "",
        *facts,
        "",
        "| column | type | unit | null | rules | meaning |",
        "|---|---|---|---|---|---|",
        *(_row(doc) for doc in table.column_docs()),
    ]
    return "\n".join(lines) + "\n"


def _view_section(view: View) -> str:
    facts = [f"* View over {', '.join(f'`{name}`' for name in view.reads)}; nobody writes it."]
    if view.left_out:
        facts.append(f"* Left out: {view.left_out}")
    lines = [
        "",
        f"## {view.name}",
        "",
        view.description,
        "",
        *facts,
        "",
        "| column | type | meaning |",
        "|---|---|---|",
        *(_view_row(column) for column in view.columns),
    ]
    return "\n".join(lines) + "\n"


def _view_row(column: ViewColumn) -> str:
    return _cells(f"`{column.name}`", column.sql_type, column.meaning)


def _row(doc: ColumnDoc) -> str:
    return _cells(
        f"`{doc.name}`",
        doc.sql_type,
        doc.unit or "",
        "yes" if doc.nullable else "no",
        ", ".join(doc.rules),
        doc.description,
    )


def _cells(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main(arguments: list[str]) -> None:
    """Write the page to the file named by the first argument, by default ``docs/tables.md``."""
    path = Path(arguments[0] if arguments else "docs/tables.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
