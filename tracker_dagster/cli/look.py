"""Commands that look, and the simulated market in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from tracker_dagster.cli.shared import (
    OK,
    UNREACHABLE,
    Day,
    ExistingDb,
    app,
    console,
    exit_codes,
    settings_or_exit,
)


@app.command(rich_help_panel="Look")
def status(db_path: ExistingDb = None) -> None:
    """Tables with age and gaps, quarantine, failed runs, alerts, disk, schedules and sensors."""
    settings = settings_or_exit()
    with exit_codes():
        from tracker_dagster.operations.status_view import print_status

        print_status(settings, console)


@app.command(rich_help_panel="Look")
def volatility(
    tickers: Annotated[list[str] | None, typer.Argument(help="Only these. [default: all]")] = None,
    day: Day = None,
    db_path: ExistingDb = None,
) -> None:
    """What options cost: implied and realised volatility, IV rank, skew, gamma walls, by ticker."""
    settings = settings_or_exit()
    with exit_codes():
        from tracker_dagster.operations.volatility_view import print_volatility

        print_volatility(settings, console, tickers or (), day)


@app.command("env-check", rich_help_panel="Look")
def env_check() -> None:
    """Every setting and its source, which keys are set, whether the market answers, what is off."""
    settings = settings_or_exit()
    with exit_codes():
        from tracker_dagster.operations.env_view import print_environment
        from tracker_dagster.settings import home

        raise typer.Exit(OK if print_environment(settings, home(), console) else UNREACHABLE)


@app.command(rich_help_panel="Look")
def sim(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on 127.0.0.1.")] = 8765,
    seed: Annotated[int | None, typer.Option(help="Seed of the world. [default: 9300]")] = None,
    profile: Annotated[str, typer.Option(help="small or full.")] = "small",
    now: Annotated[str | None, typer.Option(help="Clock, like 2025-06-13T15:50 (Eastern).")] = None,
    speed: Annotated[float, typer.Option(min=0, help="Simulated seconds a second.")] = 0.0,
    plan: Annotated[str, typer.Option(help="basic, starter, developer or advanced.")] = "advanced",
    instability: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of ticker-weeks with planted instability."),
    ] = None,
) -> None:
    """Run the simulated market in the foreground until Ctrl-C."""
    from tracker_dagster.operations.market import sim_command

    options = ["--profile", profile, "--speed", str(speed), "--plan", plan]
    if now is not None:
        options += ["--now", now]
    wanted = seed if seed is not None else settings_or_exit().sim_seed
    planted = instability if instability is not None else settings_or_exit().sim_instability
    command = sim_command(port, wanted, *options, "--instability", str(planted))
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - our own interpreter and module
