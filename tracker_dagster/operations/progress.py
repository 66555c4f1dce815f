"""What the user sees while a run is under way: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

if TYPE_CHECKING:
    from dagster import EventLogEntry

    from tracker_dagster.operations.runs import Listener

#: Assets end their line of a day in a range run with "(3 of 25)".
_DAY_DONE = re.compile(r"\((\d+) of (\d+)\)$")
#: Seconds between two plain lines on the days of one asset.
_PLAIN_INTERVAL = 5.0


class RunProgress:
    """Follows the events of one run. Steps of a range run count once a day."""

    def __init__(self, console: Console, title: str, steps: Sequence[str], days: int) -> None:
        self._console = console
        self._title = title
        self._days = max(days, 1)
        self._done_of_step = dict.fromkeys(steps, 0)
        self._started: dict[str, float] = {}
        self._rows: dict[str, int] = {}
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> RunProgress:
        total = len(self._done_of_step) * self._days
        if self._console.is_terminal:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("[bold]{task.fields[title]}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}"),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=total, title=self._title)
        else:
            steps = len(self._done_of_step)
            over = f" over {self._days} sessions" if self._days > 1 else ""
            self._console.print(f"{self._title}: {steps} step{'s' * (steps != 1)}{over}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def handle(self, entry: EventLogEntry) -> None:
        """Take one event of the run."""
        event = entry.dagster_event
        if event is None:
            self._heard(entry.step_key, entry.user_message)
        elif event.step_key is None:
            return
        elif event.is_step_start:
            self._started[event.step_key] = time.monotonic()
            self._describe(event.step_key)
        elif event.is_step_materialization:
            self._count_rows(event.step_key, event.materialization.metadata)
        elif event.is_step_success:
            self._finished(event.step_key, "[green]✓[/]")
        elif event.is_step_failure:
            self._finished(event.step_key, "[red]✗[/]")
        elif event.is_step_skipped:
            self._finished(event.step_key, "[yellow]–[/]")

    def _count_rows(self, step: str, metadata: object) -> None:
        value = getattr(
            metadata.get("dagster/partition_row_count") if isinstance(metadata, dict) else None,
            "value",
            None,
        )
        if isinstance(value, int):
            self._rows[step] = self._rows.get(step, 0) + value

    def _heard(self, step: str | None, message: str) -> None:
        match = _DAY_DONE.search(message)
        if match is None or step not in self._done_of_step:
            return
        done = int(match[1])
        self._advance(step, done - self._done_of_step[step])
        self._done_of_step[step] = done
        self._describe(f"{step} {done} of {match[2]}")
        if self._bar is None and time.monotonic() - self._last_line > _PLAIN_INTERVAL:
            self._line(f"  … {message}")

    def _finished(self, step: str, mark: str) -> None:
        if step not in self._done_of_step:
            return
        self._advance(step, self._days - self._done_of_step[step])
        self._done_of_step[step] = self._days
        seconds = time.monotonic() - self._started.get(step, time.monotonic())
        rows = f"{self._rows[step]:>10,} rows" if step in self._rows else " " * 15
        self._line(f"  {mark} {step:<20}{rows} {seconds:6.1f} s")

    def _line(self, text: str) -> None:
        self._last_line = time.monotonic()
        self._console.print(text, highlight=False)

    def _advance(self, step: str, by: int) -> None:
        if self._bar is not None and self._task is not None and by > 0:
            self._bar.advance(self._task, by)

    def _describe(self, text: str) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=text)


class ProgressFactory:
    """Makes a run's listener when its steps are known, and closes its bar at the end."""

    def __init__(self, console: Console, title: str, days: int) -> None:
        self._console = console
        self._title = title
        self._days = days
        self._current: RunProgress | None = None

    def __call__(self, run_id: str, steps: Sequence[str]) -> Listener:
        """The listener of a run that is about to start."""
        self._current = RunProgress(self._console, self._title, steps, self._days).__enter__()
        return self._current.handle

    def close(self) -> None:
        """Take the bar away."""
        if self._current is not None:
            self._current.__exit__()


@contextmanager
def shown(console: Console, title: str, days: int = 1) -> Iterator[ProgressFactory]:
    """A factory for `run_job`'s ``listener``; the bar is gone after the body."""
    factory = ProgressFactory(console, title, days)
    try:
        yield factory
    finally:
        factory.close()
