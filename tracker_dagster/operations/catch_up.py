"""Which published day files are not in the warehouse as the vendor has them now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import date

import dagster as dg

from tracker_dagster.resources import MarketData
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.market import BARS_1M, INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.sources.massive.flat_files import Dataset
from tracker_dagster.trading_calendar import is_session
from tracker_dagster.warehouse import Warehouse

DATASETS: Mapping[Dataset, Table] = {
    Dataset.STOCK_DAY: STOCK_DAY_AGGS,
    Dataset.OPTION_DAY: OPTION_DAY_AGGS,
    Dataset.STOCK_MINUTE: BARS_1M,
    Dataset.INDEX_DAY: INDEX_BARS,
}
#: Their assets, in the order of a run.
DAY_FILES = tuple(table.name for table in DATASETS.values())
#: Metadata by which an asset says that it took REST because the file was not to be had.
_WITHOUT_FILE = {BARS_1M.name: "no_minute_file", INDEX_BARS.name: "no_index_file"}


def due_files(
    market: MarketData,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    days: Sequence[date],
) -> dict[str, list[date]]:
    """For each table, the sessions whose file is new or has been replaced, ascending.

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
    due: dict[str, list[date]] = {}
    if not days:
        return due
    wanted = set(days)
    for dataset, table in DATASETS.items():
        read = {
            file.trade_date: file.etag
            for file in warehouse.ingested_files(table, days[0], days[-1])
        }
        listed = [
            remote.day
            for remote in market.flat_files.list(dataset, days[0], days[-1])
            if remote.day in wanted
            and is_session(remote.day)
            and read.get(remote.day) != remote.etag
        ]
        replaced = {day for day in listed if day in read}
        done_without = _days_without_file(instance, table.name, set(listed) - replaced)
        if found := sorted(set(listed) - done_without):
            due[table.name] = found
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
