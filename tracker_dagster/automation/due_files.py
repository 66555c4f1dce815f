"""Which published day files are not in the warehouse as the vendor has them, or not in full."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from tracker_dagster.assets.day_files import ETAG, READ_FOR
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.resources import MarketData
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.market import BARS_1M, INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.sources.massive.flat_file_formats import Dataset
from tracker_dagster.trading_calendar import is_session
from tracker_dagster.warehouse import Warehouse

if TYPE_CHECKING:
    from tracker_dagster.sources.massive.flat_files import RemoteFile

DATASETS: Mapping[Dataset, Table] = {
    Dataset.STOCK_DAY: STOCK_DAY_AGGS,
    Dataset.OPTION_DAY: OPTION_DAY_AGGS,
    Dataset.STOCK_MINUTE: BARS_1M,
    Dataset.INDEX_DAY: INDEX_BARS,
}
#: Metadata by which an asset says that it took REST because the file was not to be had.
_WITHOUT_FILE = {
    STOCK_DAY_AGGS.name: "no_day_file",
    BARS_1M.name: "no_minute_file",
    INDEX_BARS.name: "no_index_file",
}


@dataclass(frozen=True, slots=True)
class DueFile:
    """A published file that the warehouse does not have as the vendor has it now, or in part.

    ``lacking`` are tickers that have been enabled since the file was read: only followed tickers
    are kept of a minute file.
    """

    table: Table
    remote: RemoteFile
    is_replaced: bool
    lacking: tuple[str, ...] = ()

    @property
    def day(self) -> date:
        """The session of the file."""
        return self.remote.day

    @property
    def identity(self) -> str:
        """What is to be read: key, ETag and the tickers that it is read for."""
        return " ".join([self.remote.key, self.remote.etag, *self.lacking])


def followed_tickers(
    warehouse: Warehouse, now: datetime, benchmarks: Collection[str]
) -> frozenset[str]:
    """Tickers whose minutes are kept: enabled ones, and the benchmarks."""
    members = universe_as_of(warehouse.read(LEDGER), now)
    return frozenset({*members.filter(pl.col("enabled"))["ticker"], *benchmarks})


def due_files(
    market: MarketData,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    days: Sequence[date],
    followed: Collection[str] = (),
) -> list[DueFile]:
    """The files of sessions that are new or have been replaced, by table and day.

    A file that the plan does not include, and whose rows therefore came over REST, is not due.
    Minutes that were read before a ticker was followed are due again for it, once. So is a file
    whose rows are there but whose asset was never reported: its run was killed in between, and
    nobody could tell what is older than it.

    Args:
        market: the vendor's clients.
        warehouse: which files were read.
        instance: how earlier runs did without a file, and whom they read minutes for.
        days: sessions to look at, ascending.
        followed: tickers whose minutes must be there of each session in which they traded.

    Raises:
        SourceError: the bucket cannot be listed.
        MissingKeyError: the flat files' keys are not set.
    """
    due: list[DueFile] = []
    if not days:
        return due
    wanted = {day for day in days if is_session(day)}
    lacking = _lacking_minutes(warehouse, instance, days[0], days[-1], followed)
    for dataset, table in DATASETS.items():
        files = warehouse.ingested_files(table, days[0], days[-1])
        etags = {file.trade_date: file.etag for file in files if file.trade_date}
        listed = [
            remote
            for remote in market.flat_files.list(dataset, days[0], days[-1])
            if remote.day in wanted
        ]
        changed = {remote.day for remote in listed if etags.get(remote.day) != remote.etag}
        changed -= _days_without_file(instance, table.name, changed - etags.keys())
        changed |= _unreported(
            instance, table.name, {day: tag for day, tag in etags.items() if day not in changed}
        )
        for remote in listed:
            if remote.day in changed:
                due.append(DueFile(table, remote, is_replaced=remote.day in etags))
            elif table is BARS_1M and remote.day in lacking:
                due.append(DueFile(table, remote, is_replaced=False, lacking=lacking[remote.day]))
    return due


def last_events(
    instance: dg.DagsterInstance,
    asset: str,
    days: Collection[date],
    event: dg.DagsterEventType = dg.DagsterEventType.ASSET_MATERIALIZATION,
) -> dict[date, int]:
    """Storage id of the asset's last event of a kind, by day; ids grow with time."""
    if not days:
        return {}
    found = instance.get_latest_storage_id_by_partition(
        dg.AssetKey(asset), event, {str(day) for day in days}
    )
    return {date.fromisoformat(day): storage_id for day, storage_id in found.items()}


def _last_metadata(
    instance: dg.DagsterInstance, asset: str, days: Collection[date]
) -> dict[date, Mapping[str, Any]]:
    """What the asset's last materialisation of each day said."""
    # By id: a day of refreshes has eighty of them.
    ids = last_events(instance, asset, days)
    if not ids:
        return {}
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), storage_ids=list(ids.values())),
        limit=len(ids),
    ).records
    days_of = {storage_id: day for day, storage_id in ids.items()}
    return {
        days_of[record.storage_id]: {
            name: value.value for name, value in record.asset_materialization.metadata.items()
        }
        for record in records
        if record.asset_materialization is not None
    }


def _lacking_minutes(
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    first: date,
    last: date,
    tickers: Collection[str],
) -> dict[date, tuple[str, ...]]:
    """Tickers that traded on a session whose minutes are there, and have none themselves.

    One that the session's minutes were already asked for traded outside of every minute of them.
    """
    if not tickers:
        return {}
    rows = warehouse.query(
        "SELECT trade_date, list(DISTINCT ticker ORDER BY ticker) AS tickers "
        "FROM stock_day_aggs d "
        "WHERE trade_date BETWEEN ? AND ? AND list_contains(?, ticker) "
        "AND trade_date IN (SELECT trade_date FROM bars_1m) "
        "AND NOT EXISTS (FROM bars_1m b "
        "WHERE b.trade_date = d.trade_date AND b.ticker = d.ticker) "
        "GROUP BY trade_date",
        [first, last, sorted(tickers)],
    )
    absent = dict(rows.iter_rows())
    said = _last_metadata(instance, BARS_1M.name, absent.keys())
    lacking = {
        day: tuple(name for name in names if name not in said.get(day, {}).get(READ_FOR, ()))
        for day, names in absent.items()
    }
    return {day: names for day, names in lacking.items() if names}


def _unreported(instance: dg.DagsterInstance, asset: str, etags: Mapping[date, str]) -> set[date]:
    """Days whose file is in the warehouse, but whose last materialisation is not of this file."""
    planned = last_events(
        instance, asset, etags.keys(), dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    )
    made = last_events(instance, asset, etags.keys())
    broken_off = {day for day, event in planned.items() if event > made.get(day, 0)}
    said = _last_metadata(instance, asset, broken_off)
    return {day for day in broken_off if said.get(day, {}).get(ETAG) != etags[day]}


def _days_without_file(
    instance: dg.DagsterInstance, asset: str, days: Collection[date]
) -> set[date]:
    flag = _WITHOUT_FILE.get(asset)
    if flag is None or not days:
        return set()
    said = _last_metadata(instance, asset, days)
    return {day for day, metadata in said.items() if flag in metadata}
