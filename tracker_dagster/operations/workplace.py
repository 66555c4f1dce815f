"""What a command that runs jobs stands on: a market that answers, Dagster's instance, the graph."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg
from rich.console import Console

from tracker_dagster.operations import market as markets
from tracker_dagster.operations.progress import shown
from tracker_dagster.operations.runs import (
    RunReport,
    definitions,
    materialised_days,
    opened_instance,
    run_job,
)
from tracker_dagster.resources import MarketData, make_clock
from tracker_dagster.sources.errors import SourceError, TransientError
from tracker_dagster.trading_calendar import sessions_between
from tracker_dagster.warehouse import Warehouse

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings


class RunFailedError(RuntimeError):
    """A Dagster run did not succeed; what failed has been printed."""


@dataclass(frozen=True)
class Workplace:
    """One command's surroundings."""

    settings: Settings
    console: Console
    instance: dg.DagsterInstance

    @cached_property
    def market(self) -> MarketData:
        """The market's clients."""
        return MarketData(self.settings)

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables."""
        return Warehouse(self.settings.database)

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The graph on these settings."""
        return definitions(self.settings)

    def now(self) -> datetime:
        """The market's time.

        Raises:
            MarketDownError: the simulated market, whose clock it is, does not answer.
        """
        try:
            return make_clock(self.settings, self.market).now()
        except TransientError as error:
            raise markets.MarketDownError(markets.NOT_RUNNING) from error
        except SourceError as error:
            raise markets.MarketDownError(f"the market's clock: {error}") from error

    def failed(self, message: str) -> Exception:
        """What to raise after a failed run: that the market is silent, where it is."""
        silence = markets.silence_of(self.settings)
        if silence is None:
            return RunFailedError(message)
        return markets.MarketDownError(f"{message}; {self.market.name} does not answer: {silence}")

    def materialised(self, asset: str, day: date) -> bool:
        """Whether the asset's partition of ``day`` has been made."""
        return str(day) in materialised_days(self.instance, asset)

    def run(
        self,
        title: str,
        job: str | None,
        *,
        first: date | None = None,
        last: date | None = None,
        assets: Sequence[str] | None = None,
        run_config: Mapping[str, Any] | None = None,
        now: datetime | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunReport:
        """Run a job as one run, with its progress shown; the failures are printed."""
        days = len(sessions_between(first, last)) if first and last else 1
        with shown(self.console, title, days) as listener:
            report = run_job(
                self.instance,
                self.definitions,
                job,
                first=first,
                last=last,
                assets=assets,
                run_config=run_config,
                now=now,
                tags=tags,
                listener=listener,
            )
        for failure in report.failures:
            self.console.print(f"[red]✗ {failure.step}[/]: {failure.reason}", highlight=False)
        if not report.success:
            self.console.print(f"[red]run {report.run_id} of {report.job} failed[/]")
        return report


@contextmanager
def workplace(
    settings: Settings, console: Console, *, market_options: Sequence[str] = ()
) -> Iterator[Workplace]:
    """A workplace for the body; a simulated market that had to be started is stopped after it.

    Raises:
        MarketDownError: the simulated market could not be started, or does not answer.
    """

    def on_start(url: str) -> None:
        console.print(f"[dim]simulated market started on {url}[/]", highlight=False)

    # What has been imported by now stays to the end: the collector need not look it over again.
    gc.freeze()
    with markets.ensured_market(settings, options=market_options, on_start=on_start) as reachable:
        markets.require_answer(reachable)
        with opened_instance(reachable) as instance:
            yield Workplace(reachable, console, instance)
