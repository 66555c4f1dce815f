"""How a per-day function becomes an asset: the day loop, metadata, checks and lineage.

An asset's own function sees one trading day (`DayRun`), or a few at once, and says of each what it
did (`Outcome`). Everything that all assets share happens here, once.
"""

import functools
import hashlib
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any, Self

import dagster as dg

from tracker_dagster.assets.ahead import Ahead
from tracker_dagster.assets.one_market import remember_market, require_same_market
from tracker_dagster.assets.partitions import (
    TRADING_DAYS,
    has_started,
    require_partition,
    require_started,
)
from tracker_dagster.assets.table_metadata import column_lineage, column_schema, description
from tracker_dagster.resources import (
    SLOT_TAG,
    Clock,
    Knobs,
    MarketData,
    MissingKeyError,
    WarehouseResource,
    run_now,
)
from tracker_dagster.schemas.base import Table
from tracker_dagster.sources.errors import SourceError
from tracker_dagster.trading_calendar import trading_date
from tracker_dagster.warehouse import Warehouse, WarehouseError, WriteResult

OWNERS = ("team:tracker",)
#: Metadata of a materialisation: how long the asset's own work took, without Dagster's.
SECONDS = "seconds"
#: Share of a unit's rows that may be set aside before the check on it fails.
QUARANTINE_TOLERANCE = 0.01
#: Errors whose own sentence says what is wrong; any other is shown with where it came from.
_EXPLAINED = (SourceError, MissingKeyError, WarehouseError, ValueError, OSError)


@dataclass(frozen=True)
class DayRun:
    """One trading day of one run, as an asset's function sees it."""

    day: date
    #: The run's one reading of the clock: what it computes and decides is as of then.
    now: datetime
    #: The clock itself, for what must know when it really happens: captures of live answers.
    clock: Clock
    warehouse: Warehouse
    market: MarketData
    knobs: Knobs
    config: Mapping[str, Any]
    log: Any
    tags: Mapping[str, str]
    #: Whether this is the first day of the run: what concerns no day in particular is done then.
    is_first: bool
    #: Whether no later day follows in this run: pictures are drawn once, not for a whole range.
    is_last: bool
    #: Fetches files of the next day meanwhile.
    ahead: Ahead

    @cached_property
    def slot(self) -> datetime | None:
        """The capture slot that the run was launched for; None when it names none."""
        tagged = self.tags.get(SLOT_TAG)
        return datetime.fromisoformat(tagged) if tagged else None

    @property
    def is_today(self) -> bool:
        """Whether the day is the date in New York at the run's ``now``."""
        return self.day == trading_date(self.now)


@dataclass(frozen=True)
class Check:
    """The outcome of a promise that an asset makes about its rows."""

    name: str
    passed: bool
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What one day's run of an asset did."""

    results: Sequence[WriteResult] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[Check] = ()

    @property
    def rows_written(self) -> int:
        """Rows written over all units."""
        return sum(result.rows_written for result in self.results)

    @property
    def data_version(self) -> str:
        """A hash of the rows written: the same rows give the same version."""
        versions = [result.data_version for result in self.results]
        if len(versions) == 1:
            return versions[0]
        return hashlib.sha256("|".join(versions).encode()).hexdigest()[:32]

    def with_metadata(self, **more: Any) -> Self:
        """The same outcome with more said about it."""
        return replace(self, metadata={**self.metadata, **more})

    def partition_metadata(self) -> dict[str, Any]:
        """Metadata of the day's materialisation."""
        return {
            "dagster/partition_row_count": self.rows_written,
            "rows_read": sum(result.rows_read for result in self.results),
            "rows_quarantined": sum(result.rows_quarantined for result in self.results),
            "rows_collapsed": sum(result.rows_collapsed for result in self.results),
            "data_version": self.data_version,
            **self.metadata,
        }


def picture(run: DayRun, name: str, draw: Callable[[], str]) -> dict[str, dg.MetadataValue]:
    """Metadata with a picture, on the last day of a run; ``draw`` gives it as markdown."""
    return {name: dg.MetadataValue.md(draw())} if run.is_last else {}


DayFunction = Callable[[DayRun], Outcome]
#: Does some days of one run at once, in order, and says of each what it did.
DaysFunction = Callable[[Sequence[DayRun]], Sequence[Outcome]]
#: What each asset does, by its key: the Python functions do the same without a Dagster run.
_FUNCTIONS: dict[str, DaysFunction] = {}


def done_by(asset: str, run: DayRun) -> Outcome:
    """What ``asset`` does with one trading day, done here and now; its module must be loaded."""
    (outcome,) = _FUNCTIONS[asset]([run])
    return outcome


def trading_day_asset(table: Table, **options: Any) -> Callable[[DayFunction], dg.AssetsDefinition]:
    """Make an asset of a function that does one trading day; arguments as `trading_days_asset`."""

    def decorate(function: DayFunction) -> dg.AssetsDefinition:
        @functools.wraps(function)
        def of_days(runs: Sequence[DayRun]) -> list[Outcome]:
            return [function(run) for run in runs]

        return trading_days_asset(table, days_at_once=1, **options)(of_days)

    return decorate


def trading_days_asset(
    table: Table,
    *,
    days_at_once: int,
    group: str,
    deps: Iterable[str] = (),
    kinds: Iterable[str] = (),
    checks: Mapping[str, str] | None = None,
    config: type[dg.Config] | None = None,
    code_version: str = "1",
) -> Callable[[DaysFunction], dg.AssetsDefinition]:
    """Make an asset of a function that does a few trading days of a run at once.

    For tables whose days read nearly the same rows and are small themselves: what a day costs is
    then the reading and the commit. The function commits all of its days or none.

    Args:
        table: the table that the asset fills; gives its key, description and columns.
        days_at_once: the most that the function is given.
        group: group in the UI.
        deps: keys of the assets it reads.
        kinds: what it is made with, beside DuckDB.
        checks: promises beyond the schema's: name to description; the function returns each.
        config: run configuration that the function reads from ``DayRun.config``.
        code_version: raise when the same inputs would give other rows.
    """
    promised = {
        "rows_obey_schema": "No row was set aside; the quarantine table holds those that were.",
        **(checks or {}),
    }
    specs = [
        dg.AssetCheckSpec(name, asset=table.name, description=text)
        for name, text in promised.items()
    ]

    def decorate(function: DaysFunction) -> dg.AssetsDefinition:
        _FUNCTIONS[table.name] = function

        def run(
            context: dg.AssetExecutionContext,
            warehouse: WarehouseResource,
            market: dg.ResourceParam[MarketData],
            clock: dg.ResourceParam[Clock],
            knobs: dg.ResourceParam[Knobs],
        ) -> dg.MaterializeResult:
            return _run_days(
                context,
                table,
                function,
                days_at_once,
                list(promised),
                warehouse,
                market,
                clock,
                knobs,
            )

        with warnings.catch_warnings():
            # Back-fill policies have been in beta for years; a warning an asset buries real ones.
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.asset(
                name=table.name,
                description=description(table, function),
                group_name=group,
                deps=list(deps),
                kinds={"duckdb", *kinds},
                owners=list(OWNERS),
                partitions_def=TRADING_DAYS,
                backfill_policy=dg.BackfillPolicy.single_run(),
                code_version=code_version,
                check_specs=specs,
                config_schema=config.to_config_schema().as_field() if config else None,
                metadata={
                    "dagster/table_name": f"main.{table.name}",
                    "dagster/column_schema": column_schema(table),
                    "dagster/storage_kind": "duckdb",
                    "replace_by": ", ".join(table.replace_by),
                },
            )(run)

    return decorate


def _run_days(
    context: dg.AssetExecutionContext,
    table: Table,
    function: DaysFunction,
    days_at_once: int,
    promised: Sequence[str],
    warehouse: WarehouseResource,
    market: MarketData,
    clock: Clock,
    knobs: Knobs,
) -> dg.MaterializeResult:
    require_partition(context, table.name)
    try:
        now = run_now(context, clock)
    except SourceError as error:
        raise dg.Failure(
            description=f"{table.name}: the market's clock does not answer: {error}",
            metadata={"error": type(error).__name__},
            allow_retries=False,
        ) from error
    days = [date.fromisoformat(key) for key in context.partition_keys]
    store = warehouse.warehouse
    config, tags = context.op_execution_context.op_config or {}, context.run.tags
    outcomes: dict[date, Outcome] = {}
    shown = ""
    try:
        with Ahead(days) as ahead:
            runs = [
                DayRun(
                    day=day,
                    now=now,
                    clock=clock,
                    warehouse=store,
                    market=market,
                    knobs=knobs,
                    config=config,
                    log=context.log,
                    tags=tags,
                    is_first=number == 1,
                    is_last=number == len(days),
                    ahead=ahead,
                )
                for number, day in enumerate(days, start=1)
            ]
            while left := runs[len(outcomes) :]:
                shown = str(left[0].day)
                require_started(left[0].day, now)
                # A session that has not opened must not take those before it with it.
                together = [run for run in left[:days_at_once] if has_started(run.day, now)]
                if len(together) > 1:
                    shown += f" to {together[-1].day}"
                if not outcomes:
                    require_same_market(store, market)
                began = time.perf_counter()
                done = function(together)
                seconds = round((time.perf_counter() - began) / len(together), 3)
                if not outcomes:
                    remember_market(store, market)
                for run, outcome in zip(together, done, strict=True):
                    outcomes[run.day] = outcome.with_metadata(**{SECONDS: seconds})
                if len(days) > 1:
                    rows = sum(outcome.rows_written for outcome in done)
                    context.log.info(
                        f"{table.name} {shown}: {rows} rows ({len(outcomes)} of {len(days)})"
                    )
        rows_of_table = store.row_count(table)
    except BaseException as error:
        # Whatever ends a range early, Ctrl-C too: days that are committed must not look undone.
        _keep_finished_days(context, table, outcomes)
        if len(days) > 1:
            kept = f"{len(outcomes)} of {len(days)} days are kept"
            context.log.error(f"{table.name} {shown}: {type(error).__name__}; {kept}")
        if not isinstance(error, _EXPLAINED):
            raise
        raise dg.Failure(
            description=f"{table.name} {shown}: {error}",
            metadata={
                "trade_date": shown,
                "error": type(error).__name__,
                "days_done": len(outcomes),
                "days_asked": len(days),
            },
            # Sources have retried what can pass already; the rest stays wrong.
            allow_retries=False,
        ) from error
    for day, outcome in outcomes.items():
        context.add_asset_metadata(outcome.partition_metadata(), partition_key=str(day))
    # What is said of the table goes with the last day, which the UI shows it from: Dagster would
    # store the result's own metadata with each day, and lineage is long.
    of_table = {
        "dagster/row_count": rows_of_table,
        **({"dagster/column_lineage": column_lineage(table)} if table.made_from else {}),
    }
    context.add_asset_metadata(of_table, partition_key=str(days[-1]))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(outcomes[days[0]].data_version) if len(days) == 1 else None,
        check_results=_check_results(table, promised, outcomes),
    )


def _keep_finished_days(
    context: dg.AssetExecutionContext, table: Table, outcomes: Mapping[date, Outcome]
) -> None:
    """Record the days of a range that were committed before another one failed.

    Dagster itself reports all partitions of a run or none.
    """
    for day, outcome in outcomes.items():
        context.log_event(
            dg.AssetMaterialization(
                asset_key=table.name, partition=str(day), metadata=outcome.partition_metadata()
            )
        )


def _check_results(
    table: Table, promised: Sequence[str], outcomes: Mapping[date, Outcome]
) -> list[dg.AssetCheckResult]:
    """One result a promise, over all days of the run; a warning never fails the run."""
    failed: dict[str, dict[str, Any]] = {name: {} for name in promised}
    shown: dict[str, dict[str, Any]] = {name: {} for name in promised}
    for day, outcome in outcomes.items():
        read = sum(result.rows_read for result in outcome.results)
        aside = sum(result.rows_quarantined for result in outcome.results)
        rules: dict[str, int] = {}
        for result in outcome.results:
            for rule, broken in result.rules.items():
                rules[rule] = rules.get(rule, 0) + broken
        if aside:
            failed["rows_obey_schema"][str(day)] = f"{aside} of {read} rows: {rules}"
        for check in outcome.checks:
            shown[check.name].update(check.metadata)
            if not check.passed:
                failed[check.name][str(day)] = dict(check.metadata) or "failed"
    serious = {
        str(day)
        for day, outcome in outcomes.items()
        for result in outcome.results
        if result.rows_quarantined > QUARANTINE_TOLERANCE * max(result.rows_read, 1)
    }
    return [
        dg.AssetCheckResult(
            check_name=name,
            asset_key=table.name,
            passed=not failed[name],
            severity=dg.AssetCheckSeverity.ERROR
            if name == "rows_obey_schema" and serious
            else dg.AssetCheckSeverity.WARN,
            metadata={
                "days": len(outcomes),
                **({} if failed[name] or len(outcomes) > 1 else shown[name]),
                **({"failed": failed[name]} if failed[name] else {}),
            },
        )
        for name in promised
    ]
