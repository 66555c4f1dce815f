"""Commands that make one step of the day and show its result."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from tracker_dagster.cli.shared import (
    AsOf,
    DbPath,
    Lane,
    Refresh,
    Seed,
    TopN,
    app,
    choice_or_exit,
    console,
    opened_workplace,
    print_done,
)

if TYPE_CHECKING:
    from tracker_dagster.operations.choice import Choice


def _make(
    assets: list[str],
    show: str,
    day: date | None,
    choice: Choice | None = None,
    *,
    refresh: bool = False,
    document: str = "",
) -> None:
    """Make assets, show what came of them, and name the document that was written."""
    chosen = choice or choice_or_exit(None, None, None)
    with opened_workplace() as place:
        from tracker_dagster.operations import results
        from tracker_dagster.operations.rebuild import make

        session = make(place, assets, chosen, day, refresh=refresh)
        parts = getattr(results, show)(place.warehouse, session) if show else []
        for part in parts:
            console.print(part)
        if document:
            print_done(place.settings, document)
        if "promotions" in assets:
            from tracker_dagster.operations.refusals import require_decided

            require_decided(place.warehouse, session)


@app.command("sync-universe", rich_help_panel="Single steps")
def sync_universe(db_path: DbPath = None) -> None:
    """List the canonical tickers in the ledger; nothing is deleted, nobody is enabled anew."""
    with opened_workplace() as place:
        from tracker_dagster.operations.daily import sync

        console.print(sync(place, place.now()), highlight=False)


@app.command(rich_help_panel="Single steps")
def picker(as_of: AsOf = None, refresh: Refresh = False, db_path: DbPath = None) -> None:
    """Make the session's weekly picks, with what they need that is not there yet."""
    _make(["suitability", "pick_candidates", "weekly_picks"], "picks", as_of, refresh=refresh)


@app.command(rich_help_panel="Single steps")
def promote(
    seed: Seed = None,
    lane: Lane = None,
    top_n: TopN = None,
    as_of: AsOf = None,
    db_path: DbPath = None,
) -> None:
    """Decide which picks the cash promotes, and say why; opens nothing."""
    _make(["promotions"], "promotions", as_of, choice_or_exit(seed, lane, top_n))


@app.command(rich_help_panel="Single steps")
def monitor(as_of: AsOf = None, refresh: Refresh = False, db_path: DbPath = None) -> None:
    """Check the open positions: prices, triggers, P&L, what to do; `risk` shows them as a whole."""
    steps = ["positions", "contract_health", "portfolio_risk", "portfolio_stress"]
    _make(steps, "health", as_of, refresh=refresh)


@app.command(rich_help_panel="Single steps")
def compare(
    seed: Seed = None,
    top_n: Annotated[
        int | None, typer.Option("--top-n", min=1, help="Picks per model. [default: 10]")
    ] = None,
    as_of: AsOf = None,
    db_path: DbPath = None,
) -> None:
    """Compare baseline, gated and weighted decisions over the same picks."""
    choice = choice_or_exit(seed, None, top_n)
    _make(["model_compares"], "comparison", as_of, choice, document="model_compare.json")


@app.command(rich_help_panel="Single steps")
def summary(seed: Seed = None, as_of: AsOf = None, db_path: DbPath = None) -> None:
    """Write the session's report from what has been decided."""
    _make(["summary"], "", as_of, choice_or_exit(seed, None, None), document="summary.md")


@app.command(rich_help_panel="Single steps")
def suitability(as_of: AsOf = None, db_path: DbPath = None) -> None:
    """Volatility, tails, scores, lane and estimated premium of every ticker of the universe."""
    _make(["suitability"], "suitability", as_of)


@app.command(rich_help_panel="Single steps")
def monday(as_of: AsOf = None, db_path: DbPath = None) -> None:
    """Write the plan of the week as it stands on the session."""
    _make(["monday_report"], "", as_of, document="monday.md")


@app.command(rich_help_panel="Single steps")
def scorecard(as_of: AsOf = None, db_path: DbPath = None) -> None:
    """Write what became of the positions that ended, against just holding the shares."""
    assets = ["positions", "outcomes", "friday_scorecard"]
    _make(assets, "scores", as_of, document="scorecard.md")
