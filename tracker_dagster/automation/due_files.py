"""Which published day files are not in the warehouse as the vendor has them now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from tracker_dagster.resources import MarketData
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.market import BARS_1M, INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS
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
    """A published file that the warehouse does not have as the vendor has it now."""

    table: Table
    remote: RemoteFile
    is_replaced: bool

    @property
    def day(self) -> date:
        """The session of the file."""
        return self.remote.day


def due_files(
    market: MarketData,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    days: Sequence[date],
) -> list[DueFile]:
    """The files of sessions that are new or have been replaced, by table and day.

    A file that the plan does not include, and whose rows therefore came over REST, is not due.

    Args:
        market: the vendor's clients.
        warehouse: which files were read.
        instance: how earlier runs did without a file.
        days: sessions to look at, ascending.

    Raises:
        SourceError: the bucket cannot be listed.
        MissingKeyError: the flat files' keys are not set.
    """
    due: list[DueFile] = []
    if not days:
        return due
    wanted = {day for day in days if is_session(day)}
    for dataset, table in DATASETS.items():
        files = warehouse.ingested_files(table, days[0], days[-1])
        etags = {file.trade_date: file.etag for file in files}
        changed = [
            DueFile(table, remote, is_replaced=remote.day in etags)
            for remote in market.flat_files.list(dataset, days[0], days[-1])
            if remote.day in wanted and etags.get(remote.day) != remote.etag
        ]
        new = {file.day for file in changed if not file.is_replaced}
        done_without = _days_without_file(instance, table.name, new)
        due += [file for file in changed if file.is_replaced or file.day not in done_without]
    return due


def _days_without_file(
    instance: dg.DagsterInstance, asset: str, days: Collection[date]
) -> set[date]:
    flag = _WITHOUT_FILE.get(asset)
    if flag is None or not days:
        return set()
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(asset), asset_partitions=[str(day) for day in days]
        ),
        limit=1000,
    ).records
    latest: dict[str, bool] = {}
    for record in records:  # newest first
        event = record.asset_materialization
        if event is not None and event.partition is not None:
            latest.setdefault(event.partition, flag in event.metadata)
    return {date.fromisoformat(day) for day, without in latest.items() if without}
