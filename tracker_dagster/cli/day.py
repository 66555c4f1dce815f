"""Commands that run sessions: one, a range, or a replay."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import typer

from tracker_dagster.cli.shared import (
    Day,
    DbPath,
    First,
    Lane,
    Last,
    Seed,
    TopN,
    app,
    calendar_date,
    choice_or_exit,
    console,
    opened_workplace,
    print_done,
)


@app.command(rich_help_panel="Every day")
def daily(
    seed: Seed = None,
    lane: Lane = None,
    top_n: TopN = None,
    day: Day = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for another daily, or exit with 75.")
    ] = True,
    db_path: DbPath = None,
) -> None:
    """Sync, read day files that are due, then decide the session in one Dagster run."""
    choice = choice_or_exit(seed, lane, top_n)
    with opened_workplace() as place:
        from tracker_dagster.operations.daily import daily as run_daily
        from tracker_dagster.operations.refusals import require_decided
        from tracker_dagster.operations.results import promotions

        session = run_daily(place, choice, day, wait=wait)
        for part in promotions(place.warehouse, session):
            console.print(part)
        print_done(place.settings)
        require_decided(place.warehouse, session)


@app.command("run", rich_help_panel="Every day")
def run_command(
    assets: Annotated[list[str], typer.Argument(help="Asset keys, as in the UI.")],
    day: Day = None,
    first: Annotated[
        date | None,
        typer.Option("--from", parser=calendar_date, metavar="DATE", help="First of a range."),
    ] = None,
    last: Annotated[
        date | None,
        typer.Option("--to", parser=calendar_date, metavar="DATE", help="Last of a range."),
    ] = None,
    db_path: DbPath = None,
) -> None:
    """Materialise chosen assets for a session, or for a range of sessions as one run."""
    if day is not None and (first or last):
        raise typer.BadParameter("give either --day or --from and --to")
    if (first is None) != (last is None):
        raise typer.BadParameter("--from and --to belong together")
    with opened_workplace() as place:
        from tracker_dagster.operations.daily import session_of
        from tracker_dagster.operations.rebuild import run_assets

        start = first or session_of(day, place.now())
        report = run_assets(place, assets, start, last or start)
        console.print(f"[green]run {report.run_id[:8]} is done[/] in {report.seconds:.1f} s")


@app.command(rich_help_panel="Every day")
def backfill(
    first: First,
    last: Last,
    assets: Annotated[
        str | None, typer.Option(help="Only these assets, separated by commas.")
    ] = None,
    db_path: DbPath = None,
) -> None:
    """Rebuild a range of past sessions as one run; clipped to sessions with published day files."""
    with opened_workplace() as place:
        from tracker_dagster.operations.rebuild import backfill as run_backfill

        chosen = [name.strip() for name in assets.split(",") if name.strip()] if assets else None
        span = run_backfill(place, first, last, chosen)
        console.print(f"[green]{len(span.days)} sessions are done[/]", highlight=False)


@app.command(rich_help_panel="Every day")
def replay(
    first: First,
    last: Last,
    seed: Seed = None,
    lane: Lane = None,
    top_n: TopN = None,
    db_path: DbPath = None,
) -> None:
    """Live through past sessions on the simulated clock: each gets captured chains and decisions.

    The clock stands ten minutes before each close; it is put back at the end. Refused with a real
    vendor.
    """
    choice = choice_or_exit(seed, lane, top_n)
    with opened_workplace() as place:
        from tracker_dagster.automation.turnstile import await_daily_run, daily_lock
        from tracker_dagster.operations.simulation import replay as run_replay

        with daily_lock(place.settings.run_dir, wait=False):
            await_daily_run(place.instance, wait=False)
            days = run_replay(place, first, last, choice)
        console.print(f"[green]{len(days)} sessions were lived through[/]", highlight=False)
