"""Command about the risk of all that is open."""

from __future__ import annotations

from typing import Annotated

import typer

from tracker_dagster.cli.shared import (
    Day,
    ExistingDb,
    app,
    console,
    exit_codes,
    settings_or_exit,
)


@app.command(rich_help_panel="Look")
def risk(
    account: Annotated[
        str | None, typer.Option("--account", help="Only this account. [default: all]")
    ] = None,
    day: Day = None,
    db_path: ExistingDb = None,
) -> None:
    """Greeks, beta to SPY, capital, concentration and stress of each account, paper and real."""
    settings = settings_or_exit()
    with exit_codes():
        from tracker_dagster.operations.risk_view import print_risk

        print_risk(settings, console, day, account)
