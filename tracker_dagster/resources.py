"""What assets and sensors are handed: the clock, the warehouse, the market's clients, the knobs.

Nothing here talks to the network before it is used, so that definitions load anywhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import SecretStr

from tracker_dagster.settings import Settings
from tracker_dagster.sources.capture import RawStore
from tracker_dagster.sources.errors import TransientError
from tracker_dagster.warehouse import Warehouse

# The clients bring HTTP stacks, which processes that only load the graph do not need.
if TYPE_CHECKING:
    from tracker_dagster.sources.massive.flat_files import FlatFiles
    from tracker_dagster.sources.massive.rest import MassiveRest
from tracker_dagster.sources.messages import is_loopback

#: Name of a market that lives on this machine: its prices are generated.
SIMULATED = "simulated market"
#: Run tag that holds the run's one reading of the clock.
NOW_TAG = "tracker/now"
#: Run tag that names the capture slot of a refresh.
SLOT_TAG = "tracker/slot"
#: Run tags that name the process a run lives in.
HOST_TAG = "tracker/host"
PID_TAG = "tracker/pid"


class MissingKeyError(RuntimeError):
    """A dataset was asked for whose keys are not set."""


class Clock(Protocol):
    """Where ``now`` comes from."""

    def now(self) -> datetime:
        """The current instant, in UTC."""


class SystemClock:
    """This machine's clock, for real vendors."""

    def now(self) -> datetime:
        """The system's time."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class MarketClock:
    """The market server's own time (``serverTime``), for the simulated market."""

    market: MarketData

    def now(self) -> datetime:
        """The time at the server.

        Raises:
            SourceError: the simulated market does not answer.
        """
        try:
            return self.market.rest.market_status().server_time
        except TransientError as error:
            if error.status is not None:
                raise
            raise TransientError(
                f"the simulated market is not running: `tracker sim` ({error})"
            ) from error


@dataclass(frozen=True)
class FixedClock:
    """A given instant, for rebuilding a past decision and for tests."""

    instant: datetime

    def now(self) -> datetime:
        """Always the same instant."""
        return self.instant


class WarehouseResource(DuckDBResource):
    """The DuckDB file. Every connection takes its turn with other processes and is always closed.

    ``DuckDBResource`` itself opens read-write only and leaks the file's lock when the body raises.
    """

    patience_seconds: float = 60.0

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse on this file."""
        return Warehouse(Path(self.database), patience=self.patience_seconds)

    @contextmanager
    def get_connection(self, *, read_only: bool = False) -> Iterator[Any]:
        """A connection for one turn."""
        with self.warehouse.connection(read_only=read_only) as connection:
            yield connection


@dataclass(frozen=True)
class MarketData:
    """The clients of the market that settings name, made when first used."""

    settings: Settings

    @cached_property
    def rest(self) -> MassiveRest:
        """Massive's REST API."""
        from tracker_dagster.sources.massive.rest import MassiveRest

        key = self.settings.massive_api_key or SecretStr("simulated")
        return MassiveRest(
            self.settings.rest_url,
            key,
            requests_per_minute=self.settings.massive_requests_per_minute,
        )

    @cached_property
    def flat_files(self) -> FlatFiles:
        """Massive's flat files.

        Raises:
            MissingKeyError: a REST key is set but the flat files' keys are not.
        """
        from tracker_dagster.sources.massive.flat_files import FlatFiles

        key_id, secret = self.settings.massive_key_id, self.settings.massive_secret_key
        if key_id is None or secret is None:
            if not self.settings.is_simulated:
                raise MissingKeyError(
                    "flat files need MASSIVE_KEY_ID and MASSIVE_SECRET_KEY; "
                    "Massive's dashboard shows them beside the REST key"
                )
            key_id = secret = SecretStr("simulated")
        return FlatFiles(
            self.settings.s3_url, key_id, secret, bucket=self.settings.massive_s3_bucket
        )

    @cached_property
    def raw(self) -> RawStore:
        """Raw captures on disk."""
        return RawStore(self.settings.raw_dir)

    @property
    def delay(self) -> timedelta:
        """Delay of the plan's REST data."""
        return self.settings.delay

    @property
    def name(self) -> str:
        """Whose market this is: the vendor's host, or the simulated one of this machine."""
        url = self.settings.rest_url
        return SIMULATED if is_loopback(url) else urlsplit(url).hostname or url


@dataclass(frozen=True)
class Knobs:
    """What the user may turn, free of secrets."""

    reports_dir: Path
    database: Path
    seed: float
    lane: str
    top_n: int
    compare_top_n: int
    compare_penalty: float
    holdings_strike_floor: bool
    benchmarks: tuple[str, ...]
    earnings_csv: Path | None
    vix_futures_csv: Path | None
    refresh_run_days: int
    vendor_greeks: bool
    vendor_open_interest: bool
    run_dir: Path

    @classmethod
    def from_settings(cls, settings: Settings) -> Knobs:
        """The knobs of ``settings``."""
        return cls(
            reports_dir=settings.reports_dir,
            database=settings.database,
            seed=settings.seed,
            lane=settings.lane,
            top_n=settings.top_n,
            compare_top_n=settings.compare_top_n,
            compare_penalty=settings.compare_penalty,
            holdings_strike_floor=settings.holdings_strike_floor,
            benchmarks=settings.benchmarks,
            earnings_csv=settings.earnings_csv,
            vix_futures_csv=settings.vix_futures_csv,
            refresh_run_days=settings.refresh_run_days,
            vendor_greeks=settings.vendor_greeks,
            vendor_open_interest=settings.vendor_open_interest,
            run_dir=settings.run_dir,
        )


def process_tags() -> dict[str, str]:
    """Run tags that name this process."""
    return {HOST_TAG: socket.gethostname(), PID_TAG: str(os.getpid())}


def make_clock(settings: Settings, market: MarketData) -> Clock:
    """The clock that fits the market: its own when simulated, else the system's."""
    return MarketClock(market) if settings.uses_simulated_clock else SystemClock()


def inherited(instance: dg.DagsterInstance, run: dg.DagsterRun, *names: str) -> bool:
    """Whether a run that repeats another one has no tags of its own by these names.

    Dagster copies the tags of the run that is repeated, what it wrote itself included.
    """
    if run.parent_run_id is None:
        return False
    parent = instance.get_run_by_id(run.parent_run_id)
    return parent is not None and all(run.tags.get(name) == parent.tags.get(name) for name in names)


def run_now(context: dg.AssetExecutionContext | dg.OpExecutionContext, clock: Clock) -> datetime:
    """The run's ``now``: read from the clock once and kept as the run tag ``tracker/now``.

    A tag that the run was launched with stands. A run that repeats another one (a retry, a
    re-execution) has its parent's tags: the parent's instant is not its own, so the clock is read
    anew, unless whoever launched it gave it another instant.

    The tags of host and process always name this process, so that a run whose process dies can be
    found.

    Raises:
        SourceError: the clock does not answer.
    """
    run = context.instance.get_run_by_id(context.run_id)
    if run is None:
        return clock.now()
    tag_process(context.instance, run)
    if NOW_TAG in run.tags and not inherited(context.instance, run, NOW_TAG):
        return datetime.fromisoformat(run.tags[NOW_TAG])
    now = clock.now()
    if run.tags.get(NOW_TAG) != now.isoformat():
        context.instance.add_run_tags(context.run_id, {NOW_TAG: now.isoformat()})
    return now


def tag_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Name this host and process by tags of the run, whatever they named before."""
    tags = process_tags()
    if any(run.tags.get(name) != value for name, value in tags.items()):
        instance.add_run_tags(run.run_id, tags)


def make_resources(settings: Settings) -> dict[str, Any]:
    """Every resource of the location, by key."""
    market = MarketData(settings)
    return {
        "warehouse": WarehouseResource(database=str(settings.database)),
        "market": market,
        "clock": make_clock(settings, market),
        "knobs": Knobs.from_settings(settings),
    }
