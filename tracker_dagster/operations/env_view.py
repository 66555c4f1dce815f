"""`tracker env-check` on the screen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from tracker_dagster.operations.env_check import hints, market_findings, setting_lines
from tracker_dagster.operations.environment import ENV_FILE

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

_MARKS = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]–[/]"}


def print_environment(settings: Settings, home: Path, console: Console) -> bool:
    """Print what is configured and what answers; whether the market answers."""
    path = home / ENV_FILE
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    table = RichTable(title="Settings", title_justify="left", title_style="bold")
    for name in ("variable", "value", "from", "what"):
        table.add_column(name, overflow="fold")
    for line in setting_lines(settings, text):
        table.add_row(line.variable, escape(line.value), line.source, escape(line.description))
    console.print(table)
    console.print(f"home {home}", f"Dagster {settings.dagster_home}", sep="\n", highlight=False)
    findings = market_findings(settings)
    for finding in findings:
        console.print(
            f"{_MARKS[finding.ok]} [bold]{finding.what}[/]: {escape(finding.detail)}",
            highlight=False,
        )
    for hint in hints(settings):
        console.print(f"[yellow]•[/] {escape(hint)}", highlight=False)
    return findings[0].ok is not False
