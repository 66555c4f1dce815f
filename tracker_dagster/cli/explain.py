"""Commands that look behind a decision: strikes, statistics, calls ranked, numbers checked."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from tracker_dagster.cli.shared import (
    FAILED,
    Day,
    ExistingDb,
    app,
    calendar_date,
    console,
    exit_codes,
    settings_or_exit,
)

if TYPE_CHECKING:
    from tracker_dagster.warehouse import Warehouse

_PANEL = "Explain"
Tickers = Annotated[list[str] | None, typer.Argument(help="Only these. [default: all]")]


def _warehouse() -> Warehouse:
    from tracker_dagster.operations.choice import UsageError
    from tracker_dagster.warehouse import Warehouse

    settings = settings_or_exit()
    if not settings.database.exists():
        raise UsageError(f"nothing is here yet ({settings.database}): run `tracker daily`")
    return Warehouse(settings.database)


@app.command(rich_help_panel=_PANEL)
def strikes(
    tickers: Annotated[list[str], typer.Argument(help="Tickers.")],
    day: Day = None,
    db_path: ExistingDb = None,
) -> None:
    """Every call that the decision considered for a ticker: what it pays, and why it fell."""
    with exit_codes():
        from tracker_dagster.operations import explain, explain_view

        warehouse = _warehouse()
        session = day or explain.last_decided(warehouse)
        rows = explain.strikes(warehouse, session, tickers)
        for part in explain_view.strikes(rows, session):
            console.print(part)


@app.command(rich_help_panel=_PANEL)
def calls(
    tickers: Tickers = None,
    expiries: Annotated[
        int, typer.Option("--expiries", min=1, max=8, help="Weekly expiries looked at.")
    ] = 2,
    top: Annotated[int, typer.Option("--top", min=1, help="Calls of each ticker.")] = 5,
    day: Day = None,
    db_path: ExistingDb = None,
) -> None:
    """The calls of the next two expiries that pay most a day, whether or not they are picks."""
    with exit_codes():
        from tracker_dagster.operations import explain, explain_view

        found = explain.calls(_warehouse(), day, tickers or (), expiries=expiries, per_ticker=top)
        for part in explain_view.calls(found):
            console.print(part)


@app.command(rich_help_panel=_PANEL)
def audit(
    expiry: Annotated[
        date | None,
        typer.Option(
            "--expiry", parser=calendar_date, metavar="DATE", help="Only picks that expire then."
        ),
    ] = None,
    top: Annotated[int | None, typer.Option("--top", min=1, help="Only the best picks.")] = None,
    day: Day = None,
    db_path: ExistingDb = None,
) -> None:
    """Work the numbers of a decision out again from captures and files; exits with 1 on a doubt.

    Every number goes into audit.csv and audit.md beside the session's summary.
    """
    with exit_codes():
        from tracker_dagster.operations import explain, explain_view

        warehouse = _warehouse()
        session = day or explain.last_decided(warehouse)
        reports_dir = settings_or_exit().reports_dir
        found = explain.audit(warehouse, reports_dir, session, expiry=expiry, top=top)
        for part in explain_view.audit(found):
            console.print(part, highlight=False, soft_wrap=isinstance(part, str))
        if found.differing.height:
            raise typer.Exit(FAILED)
