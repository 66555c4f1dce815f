"""A whole place for tests at the level of assets: a small market, an empty home, the real graph."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import SecretStr

from tracker_dagster.definitions import build_defs
from tracker_dagster.ledger.commands import CANONICAL_SINCE, disable, sync_universe
from tracker_dagster.marketsim import MarketSim, simulator
from tracker_dagster.resources import MarketData, make_clock
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.seed_files import seed_file
from tracker_dagster.settings import Settings
from tracker_dagster.sources.http import RetryPolicy
from tracker_dagster.sources.massive.flat_files import FlatFiles
from tracker_dagster.sources.massive.rest import MassiveRest
from tracker_dagster.warehouse import Warehouse

#: The session of the tests, ten minutes before its close, and the five before it.
TODAY = date(2026, 6, 3)
NOW = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
PAST = [date(2026, 5, day) for day in (27, 28, 29)] + [date(2026, 6, 1), date(2026, 6, 2)]
DAY = PAST[-1]
#: Two of them have a pick on that session; SPY is only the benchmark.
TICKERS = ("AAPL", "SOFI", "UBER")

QUICK = RetryPolicy(max_tries=3, backoff=0.001, backoff_cap=0.01, rate_limit_backoff=0.001)
PARTITION = "dagster/partition"
FIRST, LAST = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


class QuickMarket(MarketData):
    """The market's clients as they are, but for how long they insist."""

    @cached_property
    def rest(self) -> MassiveRest:
        key = self.settings.massive_api_key or SecretStr("simulated")
        return MassiveRest(self.settings.rest_url, key, retry=QUICK)

    @cached_property
    def flat_files(self) -> FlatFiles:
        key_id = self.settings.massive_key_id or SecretStr("simulated")
        secret = self.settings.massive_secret_key or SecretStr("simulated")
        return FlatFiles(self.settings.s3_url, key_id, secret, retry=QUICK)


@dataclass
class Requests:
    """What was asked of a market, by path."""

    paths: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, path: str) -> None:
        with self.lock:
            self.paths[path] += 1

    def under(self, *prefixes: str) -> int:
        """Requests whose path starts with one of the prefixes."""
        return sum(n for path, n in self.paths.items() if path.startswith(prefixes))


@contextmanager
def recorded_market(**options: Any) -> Iterator[tuple[MarketSim, Requests]]:
    """A simulated market, with every request that reaches it counted on the wire."""
    requests, build = Requests(), simulator.build_app

    def build_recorded(simulation: Any) -> Any:
        app = build(simulation)

        async def recorded(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                requests.note(scope["path"])
            await app(scope, receive, send)

        return recorded

    simulator.build_app = build_recorded
    try:
        sim = MarketSim(**{"tickers": [*TICKERS, "SPY"], "now": NOW, **options})
        with sim:
            yield sim, requests
    finally:
        simulator.build_app = build


@dataclass
class Place:
    """A home with its graph on one market."""

    home: Path
    url: str
    enabled: Sequence[str] = TICKERS
    more_settings: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    instance: dg.DagsterInstance = field(default_factory=dg.DagsterInstance.ephemeral)

    @cached_property
    def settings(self) -> Settings:
        return Settings(data_dir=self.home / "data", sim_url=self.url, **self.more_settings)

    @cached_property
    def market(self) -> MarketData:
        return QuickMarket(self.settings)

    @cached_property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.settings.database)

    @cached_property
    def definitions(self) -> dg.Definitions:
        market = self.market
        made = {"market": market, "clock": make_clock(self.settings, market), **self.resources}
        return build_defs(self.settings, made)

    def enrol(self) -> None:
        """Leave only the tickers of the small market enabled, ever since the ledger begins."""
        sync_universe(self.warehouse, seed_file("universe.csv"), CANONICAL_SINCE)
        for line in seed_file("universe.csv").read_text().splitlines()[1:]:
            if (ticker := line.split(",")[0]) not in self.enabled:
                disable(self.warehouse, ticker, CANONICAL_SINCE, actor="test")

    def run(
        self,
        what: str | Sequence[str],
        first: date,
        last: date | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        instance: dg.DagsterInstance | None = None,
    ) -> dg.ExecuteInProcessResult:
        """A job by name, or some assets, for a session or a range; a failed step does not raise."""
        span = (
            {PARTITION: str(first)}
            if last is None or last == first
            else {FIRST: str(first), LAST: str(last)}
        )
        if isinstance(what, str):
            job, selection = self.definitions.resolve_job_def(what), None
        else:
            job = self.definitions.resolve_implicit_global_asset_job_def()
            selection = [dg.AssetKey(name) for name in what]
        return job.execute_in_process(
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance or self.instance,
            asset_selection=selection,
            tags={**span, **(tags or {})},
            raise_on_error=False,
        )

    def rows(self, table: str, day: date | None = None) -> pl.DataFrame:
        return self.warehouse.read(TABLES[table], first=day, last=day)

    def content(self, *leave_out: str) -> dict[str, str]:
        """A hash of every table's rows, whatever their order."""
        found = {}
        with self.warehouse.connection(read_only=True) as connection:
            for name in TABLES:
                if name not in leave_out:
                    rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
                    text = "\n".join(sorted(map(repr, rows)))
                    found[name] = f"{len(rows)} {hashlib.sha256(text.encode()).hexdigest()}"
        return found

    def quarantined(self, table: str, day: date) -> list[dict[str, Any]]:
        return self.warehouse.query(
            "SELECT rule, row_key, raw FROM quarantine WHERE table_name = ? AND unit LIKE ?",
            [table, f"%{day}%"],
        ).to_dicts()


def stored_instance(folder: Path) -> dg.DagsterInstance:
    """Dagster's instance in files of ``folder``, which other processes can open too."""
    folder.mkdir(parents=True, exist_ok=True)
    return dg.DagsterInstance.local_temp(str(folder), {"telemetry": {"enabled": False}})


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the UI shows of the one step that failed: the Failure's description."""
    failed = [event for event in result.all_events if event.is_step_failure]
    assert len(failed) == 1, [event.step_key for event in failed]
    data = failed[0].step_failure_data
    assert data.user_failure_data is not None, data.error
    return str(data.user_failure_data.description)


def failed_steps(result: dg.ExecuteInProcessResult) -> list[str]:
    return [str(event.step_key) for event in result.all_events if event.is_step_failure]


def materialised(result: dg.ExecuteInProcessResult, asset: str) -> list[str]:
    """Partitions of the asset that the run reported."""
    events = result.asset_materializations_for_node(asset)
    return [str(event.partition) for event in events if event.partition]


def checks(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """Outcomes of the asset's checks, by name."""
    return {
        found.check_name: found
        for found in result.get_asset_check_evaluations()
        if found.asset_key.to_user_string() == asset
    }


MakePlace = Callable[..., Place]
