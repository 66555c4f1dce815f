"""A figure, its goal, and how figures are shown and stored. No timing here."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Figure:
    """One measured value beside what it is compared with.

    Attributes:
        name: what was measured.
        value: the measurement, in ``unit``.
        baseline: what it is divided by: measured in the same run, or a fixed allowance.
        at_most: the largest ratio that is good enough.
        unit: of ``value`` and ``baseline``.
        notes: what else was seen.
    """

    name: str
    value: float
    baseline: float
    at_most: float = 1.0
    unit: str = "s"
    notes: str = ""

    @property
    def ratio(self) -> float:
        """Value over baseline."""
        return self.value / self.baseline

    @property
    def holds(self) -> bool:
        """Whether the goal is met."""
        return self.ratio <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """The figure as it is stored."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "baseline": round(self.baseline, 4),
            "ratio": round(self.ratio, 3),
            "goal": f"<= {self.at_most:g}",
            "holds": self.holds,
            "unit": self.unit,
            "notes": self.notes,
        }


def store(figures: Iterable[Figure], path: Path = RESULTS) -> None:
    """Write the figures as JSON."""
    text = json.dumps([figure.as_json() for figure in figures], indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def show(figures: Iterable[Figure], console: Console) -> None:
    """Print the figures as a table, with what misses its goal in red."""
    table = Table(title="benchmarks")
    table.add_column("figure")
    for heading in ("value", "baseline", "ratio", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:.3g} {figure.unit}",
            f"{figure.baseline:.3g} {figure.unit}",
            f"{figure.ratio:.2f}",
            f"≤ {figure.at_most:g}",
            "[green]holds[/]" if figure.holds else "[bold red]MISSED[/]",
        )
        if figure.notes:
            table.add_row(f"[dim]  {figure.notes}[/]")
    console.print(table)
