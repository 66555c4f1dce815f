"""A year of iv_percentile as one back-fill, over a warehouse with the year before it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.figures import Figure
from benchmarks.timing import seconds
from benchmarks.work import work_seconds
from tracker_dagster.definitions import build_defs
from tracker_dagster.ledger.commands import CANONICAL_SINCE, sync_universe
from tracker_dagster.operations.runs import opened_instance, run_job
from tracker_dagster.resources import FixedClock
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.reference import EARNINGS_CALENDAR, REFERENCE_COLLECTIONS
from tracker_dagster.schemas.surface import IV_TERM_STRUCTURE, MATURITIES
from tracker_dagster.seed_files import seed_file
from tracker_dagster.settings import Settings
from tracker_dagster.trading_calendar import (
    chain_slots,
    day_file_available_at,
    last_sessions,
    session_on,
)
from tracker_dagster.warehouse import Warehouse

LAST_DAY = date(2026, 6, 2)
#: After its files were published.
NOW = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
YEAR = 252
#: Sessions of the first day's past: a year, and the month before that its first ramp needs.
PAST = YEAR + 22
#: What the back-fill may take, seconds.
ALLOWANCE = 10.0
#: Days between the reports of an underlying.
_QUARTER = 91


def _universe() -> list[str]:
    return [line.split(",")[0] for line in seed_file("universe.csv").read_text().splitlines()[1:]]


def term_structures(tickers: list[str], day: date, *, with_captures: bool) -> list[pl.DataFrame]:
    """Rows of a session: of its files, and of every slot of a whole day of captures."""
    units = [("day_file", session_on(day).close, day_file_available_at(day))]
    if with_captures:
        units += [("snapshot", slot, slot + timedelta(seconds=8)) for slot in chain_slots(day)]
    rng = np.random.default_rng(day.toordinal())
    frames = []
    for basis, slot, available_at in units:
        level = rng.uniform(0.2, 0.5, len(tickers))
        terms = {f"iv_{days}d": level * rng.normal(1, 0.02) for days in MATURITIES}
        rows = pl.DataFrame({"underlying": tickers, "skew_25d_30d": level * 0.1, **terms})
        frames.append(
            IV_TERM_STRUCTURE.conform(
                rows,
                trade_date=day,
                basis=basis,
                slot=slot,
                available_at=available_at,
                spot=100.0,
                expiries_count=9,
                slope_30_90=0.01,
                structure="flat",
            )
        )
    return frames


def calendars(tickers: list[str], day: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The earnings calendar of a session, and that it was answered as a whole."""
    opening = session_on(day).open
    reports = pl.DataFrame(
        {
            "ticker": tickers,
            "report_date": [
                day + timedelta(days=(number * 7 - day.toordinal()) % _QUARTER)
                for number in range(len(tickers))
            ],
        }
    ).filter(pl.col("report_date") <= day + timedelta(days=60))
    rows = EARNINGS_CALENDAR.conform(
        reports,
        trade_date=day,
        source="massive_benzinga",
        available_at=opening,
        report_time="amc",
        status="confirmed",
    )
    answer = REFERENCE_COLLECTIONS.conform(
        pl.DataFrame({"rows_count": [rows.height]}),
        trade_date=day,
        dataset=EARNINGS_CALENDAR.name,
        subject="*",
        source="massive_benzinga",
        available_at=opening,
    )
    return rows, answer


def _fill(warehouse: Warehouse, table: Table, frames: list[pl.DataFrame]) -> None:
    # All at once: filling is not what is timed.
    with warehouse.connection(read_only=False) as connection:
        connection.register("incoming", pl.concat(frames).to_arrow())
        connection.execute(f'INSERT INTO "{table.name}" BY NAME SELECT * FROM incoming')


def made(place: Path) -> Settings:
    """A warehouse of two years of day files, the second with captures every 15 minutes."""
    settings = Settings(data_dir=place)
    warehouse = Warehouse(settings.database)
    sync_universe(warehouse, seed_file("universe.csv"), CANONICAL_SINCE)
    tickers, days = _universe(), last_sessions(LAST_DAY, PAST + YEAR)
    rows = [
        frame
        for number, day in enumerate(days)
        for frame in term_structures(tickers, day, with_captures=number >= PAST)
    ]
    _fill(warehouse, IV_TERM_STRUCTURE, rows)
    known = [calendars(tickers, day) for day in days]
    _fill(warehouse, EARNINGS_CALENDAR, [rows for rows, _ in known])
    _fill(warehouse, REFERENCE_COLLECTIONS, [answer for _, answer in known])
    return settings


def year(home: Path) -> Iterator[Figure]:
    """A year of the universe on both bases, from the run's start to its end."""
    settings = made(home / "iv_percentile")
    days = last_sessions(LAST_DAY, YEAR)
    definitions = build_defs(settings, {"clock": FixedClock(NOW)})
    with opened_instance(settings) as instance:

        def backfill() -> str:
            report = run_job(
                instance,
                definitions,
                None,
                first=days[0],
                last=days[-1],
                assets=["iv_percentile"],
                now=NOW,
            )
            if not report.success:
                raise RuntimeError(f"the run failed: {report.failures}")
            return report.run_id

        runs: list[str] = []
        total = min(seconds(lambda: runs.append(backfill())) for _ in range(3))
        work = sum(work_seconds(instance, runs[-1]).values())
    counts = "SELECT count(*), count(iv_percentile), count(event_ahead) FROM iv_percentile"
    ((count, *known),) = Warehouse(settings.database).query(counts).rows()
    # What is timed is the whole of it: a year of ranks, each with its calendar.
    assert count == 2 * YEAR * len(_universe())
    assert known == [count, count]
    yield Figure(
        f"iv_percentile of {YEAR} sessions as one back-fill / 10 s",
        total,
        ALLOWANCE,
        notes=f"{count:,} rows of {len(_universe())} names on two bases; {work:.1f} s without "
        "Dagster's own",
    )
