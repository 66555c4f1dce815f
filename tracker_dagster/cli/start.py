"""Commands that set up or open the whole place."""

from __future__ import annotations

from typing import Annotated

import typer

from tracker_dagster.cli.shared import (
    FAILED,
    DbPath,
    app,
    console,
    exit_codes,
    opened_workplace,
    print_done,
    problems,
    settings_or_exit,
)


@app.command(rich_help_panel="Start here")
def demo(
    sessions: Annotated[
        int, typer.Option(min=6, max=250, help="Past sessions to load before today's.")
    ] = 30,
    db_path: DbPath = None,
) -> None:
    """Build weeks of history and today's summary, on the simulated market when no key is set."""
    with opened_workplace() as place:
        from tracker_dagster.operations.demo import run_demo

        missing = run_demo(place, sessions)
        if missing:
            problems.print(f"[red]the summary lacks[/] {', '.join(missing)}", highlight=False)
            raise typer.Exit(FAILED)
        print_done(place.settings)
        console.print(
            "Look at the report, ask [bold]tracker status[/], or open the graph with "
            "[bold]tracker up[/].",
            highlight=False,
        )


@app.command(rich_help_panel="Start here")
def init(
    env_only: Annotated[
        bool, typer.Option("--env-only", help="Write .env and nothing else.")
    ] = False,
    db_path: DbPath = None,
) -> None:
    """Make the data folders, .env, Dagster's home, the tables, and list the universe.

    Lines of your own in .env are kept.
    """
    from tracker_dagster.operations.environment import ENV_FILE, write_env_file
    from tracker_dagster.settings import home

    settings = settings_or_exit()
    # .env is of the usual place, not of a database that was named for once.
    if db_path is None:
        changed = write_env_file(home(), settings.data_dir)
        what = f"wrote {', '.join(changed)}" if changed else "is complete"
        console.print(f"{home() / ENV_FILE} {what}", highlight=False, soft_wrap=True)
    if env_only:
        return
    with opened_workplace() as place:
        from tracker_dagster.operations.daily import sync

        place.warehouse.migrate()
        console.print(f"{place.settings.database} is ready", highlight=False, soft_wrap=True)
        console.print(sync(place, place.now()), highlight=False)


@app.command(rich_help_panel="Start here")
def up(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port of the UI.")] = 3000,
    automation: Annotated[
        bool | None,
        typer.Option(
            "--automation/--no-automation",
            help="Turn schedules and sensors on, or leave them; asks on a terminal.",
        ),
    ] = None,
    db_path: DbPath = None,
) -> None:
    """Open the Dagster UI with its daemon, and the simulated market when no key is set."""
    settings = settings_or_exit()
    with exit_codes():
        from tracker_dagster.operations.up import run_up
        from tracker_dagster.settings import home

        raise typer.Exit(run_up(settings, home(), console, port, automation))


@app.command(rich_help_panel="Start here")
def smoke() -> None:
    """Run one whole day in a temporary folder, on a simulated market of its own."""
    from tracker_dagster.operations.smoke import run_smoke

    raise typer.Exit(run_smoke(console))
