"""How the place stands: tables, gaps, quarantine, failed runs, alerts, disk, automation."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl

from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.schemas.system import ALERTS, QUARANTINE
from tracker_dagster.trading_calendar import sessions_between, sessions_from_to
from tracker_dagster.warehouse import Warehouse


@dataclass(frozen=True)
class TableStatus:
    """One table.

    Attributes:
        rows: all of them.
        first: earliest trade date; None for an empty table, or one without trade dates.
        last: latest trade date.
        sessions: trade dates that have rows.
        absent: sessions between first and last without rows.
        behind: sessions from last to the current one; None when either is not known.
        quarantined: rows set aside.
    """

    name: str
    rows: int
    first: date | None
    last: date | None
    sessions: int
    absent: Sequence[date]
    behind: int | None
    quarantined: int


def tables(warehouse: Warehouse, session: date | None) -> list[TableStatus]:
    """Every table, in the order of the documentation.

    Args:
        warehouse: where they are.
        session: the current session, when the market's clock is known.
    """
    aside = _quarantined(warehouse)
    return [_table(warehouse, table, session, aside.get(name, 0)) for name, table in TABLES.items()]


def _quarantined(warehouse: Warehouse) -> dict[str, int]:
    sql = f"SELECT table_name, count(*) FROM {QUARANTINE.name} GROUP BY table_name"  # noqa: S608
    return dict(warehouse.query(sql).iter_rows())


def _table(
    warehouse: Warehouse, table: Table, session: date | None, quarantined: int
) -> TableStatus:
    rows = warehouse.row_count(table)
    dates: list[date] = []
    if "trade_date" in table.columns and rows:
        sql = f"SELECT DISTINCT trade_date FROM {table.name} ORDER BY ALL"  # noqa: S608
        dates = warehouse.query(sql)["trade_date"].to_list()
    first, last = (dates[0], dates[-1]) if dates else (None, None)
    absent: list[date] = []
    if first is not None and last is not None:
        absent = sorted(set(sessions_between(first, last)) - set(dates))
    behind = max(0, sessions_from_to(last, session)) if session and last else None
    return TableStatus(table.name, rows, first, last, len(dates), absent, behind, quarantined)


def gaps(warehouse: Warehouse) -> pl.DataFrame:
    """Captures that were due and are missing, counted: dataset, reason, count, last day."""
    return warehouse.query(
        f"SELECT dataset, reason, count(*) AS gaps, max(trade_date) AS last "  # noqa: S608
        f"FROM {COLLECTION_GAPS.name} GROUP BY ALL ORDER BY gaps DESC, dataset, reason LIMIT 8"
    )


def alerts(warehouse: Warehouse, most: int = 5) -> pl.DataFrame:
    """The latest alerts: raised_at, severity, kind, subject, message."""
    return warehouse.query(
        f"SELECT raised_at, severity, kind, subject, message "  # noqa: S608
        f"FROM {ALERTS.name} ORDER BY raised_at DESC, alert_id LIMIT {int(most)}"
    )


@dataclass(frozen=True)
class RunLine:
    """One Dagster run, for people."""

    run_id: str
    job: str
    day: str
    status: str
    ended_at: datetime | None


def recent_runs(
    instance: dg.DagsterInstance, *, failed_only: bool = False, most: int = 5
) -> list[RunLine]:
    """The latest runs, newest first."""
    statuses = [dg.DagsterRunStatus.FAILURE] if failed_only else None
    lines = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=statuses), limit=most):
        run = record.dagster_run
        span = [
            run.tags[name]
            for name in ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
            if name in run.tags
        ]
        day = run.tags.get("dagster/partition") or " … ".join(span)
        ended = datetime.fromtimestamp(record.end_time, UTC) if record.end_time else None
        lines.append(RunLine(run.run_id, run.job_name, day, run.status.value, ended))
    return lines


def automation(instance: dg.DagsterInstance, defs: dg.Definitions) -> dict[str, bool]:
    """Schedules and sensors of the location: name to whether it is on."""
    running = {state.instigator_name: state.is_running for state in instance.all_instigator_state()}
    repository = defs.get_repository_def()
    declared = {
        **{d.name: d.default_status.value == "RUNNING" for d in repository.schedule_defs},
        **{d.name: d.default_status.value == "RUNNING" for d in repository.sensor_defs},
    }
    return {name: running.get(name, default) for name, default in sorted(declared.items())}


def disk(data_dir: Path) -> dict[str, int]:
    """Bytes under each entry of the data folder, seeds left out, largest first."""
    if not data_dir.is_dir():
        return {}
    sizes = {entry.name: _size(entry) for entry in data_dir.iterdir() if entry.name != "seed"}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:  # a run is at work
                continue
    return total
