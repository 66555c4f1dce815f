"""`python -m benchmarks`: run them, show them, store them in `benchmarks/results.json`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import (
    american_pricing,
    commands,
    iv_percentile,
    option_day,
    option_pricing,
    through_dagster,
    weekly,
    whole_market,
)
from benchmarks.figures import RESULTS, Figure, show, store
from benchmarks.option_files import Originals
from benchmarks.timing import ROUNDS

YEAR_RESULTS = RESULTS.with_name("results_year.json")


def main(
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when a goal is missed.")] = False,
    year: Annotated[
        bool, typer.Option("--year", help="Load a year of option days instead.")
    ] = False,
    days: Annotated[int, typer.Option(min=12, help="Days behind the figure of a late day.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the back-fill.")] = ROUNDS,
    only: Annotated[str, typer.Option(help="A word in the names of the groups to run.")] = "",
) -> None:
    """Time the pipeline against baselines of the same run."""
    console = Console()
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    for name in [name for name in os.environ if name.startswith(("MASSIVE_", "TRACKER_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="tracker-bench-") as folder:
        home = Path(folder)
        os.environ.pop("DAGSTER_HOME", None)
        figures = list(_figures(home, console, year=year, days=days, rounds=rounds, only=only))
    show(figures, console)
    if not only:
        path = YEAR_RESULTS if year else RESULTS
        store(figures, path)
        console.print(f"→ {path}")
    missed = [figure.name for figure in figures if not figure.holds]
    if missed:
        console.print(f"[bold red]{len(missed)} of {len(figures)} goals are missed[/]")
    raise typer.Exit(1 if check and missed else 0)


def _figures(
    home: Path, console: Console, *, year: bool, days: int, rounds: int, only: str
) -> Iterator[Figure]:
    originals = Originals.made(5 if year else 1)
    groups: dict[str, Callable[[], Iterator[Figure]]] = {
        "loading": commands.loading,
        "pricing": option_pricing.european,
        "american": american_pricing.american,
        "daily": lambda: commands.daily(home),
        "one-day": lambda: option_day.one_day(originals, home),
        "asset": lambda: through_dagster.one_day(originals, home),
        "backfill": lambda: through_dagster.backfill(originals, home, rounds),
        "whole-market": lambda: whole_market.whole_market(home),
        "iv_percentile": lambda: iv_percentile.year(home),
        "weekly": lambda: weekly.weekly(home),
        "picks-year": lambda: weekly.year_of_picks(home),
        "many-days": lambda: option_day.many_days(originals, home, days),
    }
    if year:
        groups = {"year": lambda: through_dagster.year(originals, home)}
    for name, group in groups.items():
        if only not in name:
            continue
        with console.status(name):
            for figure in group():
                console.print(
                    f"{figure.name}: {figure.ratio:.2f} ({'holds' if figure.holds else 'MISSED'})",
                    highlight=False,
                )
                yield figure


if __name__ == "__main__":
    typer.run(main)
