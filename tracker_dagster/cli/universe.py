"""Commands about the universe: who is in it, who may come, and the changes that people make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tracker_dagster.cli.shared import (
    DbPath,
    ExistingDb,
    PastDay,
    app,
    console,
    exit_codes,
    opened_workplace,
    settings_or_exit,
)

if TYPE_CHECKING:
    from datetime import date, datetime

    from tracker_dagster.operations.workplace import Workplace
    from tracker_dagster.warehouse import Warehouse

_PANEL = "Universe"
#: What `--category` and its like say.
Category = Annotated[
    str | None, typer.Option("--category", help="Category, like MEGA_TECH. [default: none]")
]
Unchecked = Annotated[
    bool,
    typer.Option("--unchecked", help="Do not ask the vendor whether there is such a ticker."),
]


def _warehouse() -> Warehouse | None:
    """The tables, when there are any; a command that only looks makes none."""
    from tracker_dagster.warehouse import Warehouse

    settings = settings_or_exit()
    if settings.database.exists():
        return Warehouse(settings.database)
    console.print(
        f"nothing is here yet ({settings.database}): run `tracker demo` or `tracker init`",
        highlight=False,
        soft_wrap=True,
    )
    return None


def _moment(day: date | None) -> datetime | None:
    from tracker_dagster.trading_calendar import decision_time

    return None if day is None else decision_time(day)


def _ready(place: Workplace) -> datetime:
    """The market's time, with the canonical tickers listed: nobody adds one of those by hand."""
    from tracker_dagster.operations.daily import sync

    now = place.now()
    sync(place, now)
    return now


@app.command(rich_help_panel=_PANEL)
def universe(
    candidates: Annotated[
        bool, typer.Option("--candidates", help="Show the candidates instead.")
    ] = False,
    as_of: PastDay = None,
    db_path: ExistingDb = None,
) -> None:
    """Who picks are made for: category, enabled or not, since when, last price."""
    with exit_codes():
        warehouse = _warehouse()
        if warehouse is None:
            return
        from tracker_dagster.operations import membership_view as view

        show = view.candidates if candidates else view.universe
        for part in show(warehouse, _moment(as_of)):
            console.print(part, highlight=False)


@app.command("candidates", rich_help_panel=_PANEL)
def candidates_command(as_of: PastDay = None, db_path: ExistingDb = None) -> None:
    """Tickers that were proposed, and what became of them."""
    universe(candidates=True, as_of=as_of)


@app.command(rich_help_panel=_PANEL)
def propose(
    tickers: Annotated[list[str] | None, typer.Argument(help="Tickers.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    source: Annotated[str, typer.Option(help="Who or what proposes them.")] = "cli",
    category: Category = None,
    score: Annotated[
        float | None, typer.Option(help="How good it seems; higher is better.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            exists=True,
            dir_okay=False,
            help="CSV (ticker,category,reason,source,score) or a JSON list; all or none are taken.",
        ),
    ] = None,
    unchecked: Unchecked = False,
    db_path: DbPath = None,
) -> None:
    """Put tickers on the list of candidates; `tracker approve` takes one into the universe."""
    if bool(tickers) == bool(file):
        raise typer.BadParameter("give either tickers or --file")
    with exit_codes():
        from tracker_dagster.ledger.candidates import Proposal
        from tracker_dagster.operations.membership import proposals_in, propose_tickers

        proposals = (
            proposals_in(file)
            if file
            else [Proposal(name, source, reason, category, score) for name in tickers or ()]
        )
        with opened_workplace() as place:
            now = _ready(place)
            proposed = propose_tickers(
                place.warehouse, place.market, proposals, now, unchecked=unchecked, actor="cli"
            )
    for name in proposed:
        console.print(f"{name} proposed", highlight=False)
    if again := len(proposals) - len(proposed):
        console.print(f"{again} of {len(proposals)} waited already", highlight=False)


@app.command(rich_help_panel=_PANEL)
def approve(
    ticker: str,
    category: Category = None,
    unchecked: Unchecked = False,
    db_path: DbPath = None,
) -> None:
    """Take a candidate into the universe from now on."""
    with opened_workplace() as place:
        from tracker_dagster.operations.membership import approve_ticker

        now = _ready(place)
        chosen = approve_ticker(
            place.warehouse, place.market, ticker, category, now, unchecked=unchecked, actor="cli"
        )
        console.print(f"{ticker.strip().upper()} approved as {chosen}", highlight=False)


@app.command(rich_help_panel=_PANEL)
def reject(
    ticker: str,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    db_path: DbPath = None,
) -> None:
    """Turn a candidate down; it may be proposed again."""
    with opened_workplace() as place:
        from tracker_dagster.ledger import candidates

        candidates.reject(place.warehouse, ticker, _ready(place), "cli", reason)
        console.print(f"{ticker.strip().upper()} rejected", highlight=False)


@app.command(rich_help_panel=_PANEL)
def add(
    ticker: str,
    category: Category = None,
    unchecked: Unchecked = False,
    db_path: DbPath = None,
) -> None:
    """Bring a ticker into the universe from now on, or move it to another category."""
    with opened_workplace() as place:
        from tracker_dagster.operations.membership import add_ticker

        now = _ready(place)
        changed = add_ticker(
            place.warehouse, place.market, ticker, category, now, unchecked=unchecked, actor="cli"
        )
        name = ticker.strip().upper()
        console.print(f"{name} added" if changed else f"{name} was there already")


def _switch(ticker: str, action: str) -> None:
    with opened_workplace() as place:
        from tracker_dagster.ledger import commands

        changed = getattr(commands, action)(place.warehouse, ticker, _ready(place), "cli")
        name = ticker.strip().upper()
        console.print(f"{name} {action}d" if changed else f"{name} was {action}d already")


@app.command(rich_help_panel=_PANEL)
def enable(ticker: str, db_path: DbPath = None) -> None:
    """Make picks for a ticker again, from now on."""
    _switch(ticker, "enable")


@app.command(rich_help_panel=_PANEL)
def disable(ticker: str, db_path: DbPath = None) -> None:
    """Make no picks for a ticker from now on; past days keep theirs, and nothing is deleted."""
    _switch(ticker, "disable")
