"""What the assets that value options share: bases, the slots to make, a captured chain to value."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from tracker_dagster.analytics.captured_chains import moment_shown, with_spots
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.trading_calendar import EASTERN, decision_time, session_on
from tracker_dagster.warehouse import Unit

SNAPSHOT, DAY_FILE = "snapshot", "day_file"
_NEEDED = ("underlying", "underlying_price", "underlying_at")


def slots_to_make(run: DayRun, table: Table, made: Table) -> list[datetime]:
    """Captured slots of the day in ``table`` that ``made`` is to be computed for, ascending.

    The slot that the run was launched for; without one all of a past day's, and of today's those
    that ``made`` lacks and the one that decisions rest on: between a capture and its decision there
    is no time to compute the whole day anew.
    """
    units = _to_make(run, _units_in(run, table), _units_in(run, made))
    return [slot for basis, slot in units if basis == SNAPSHOT]


def units_to_make(run: DayRun, table: Table, made: Table) -> list[Unit]:
    """The same of tables on both bases; day files are made where no slot was asked for."""
    return [
        {"trade_date": run.day, "basis": basis, "slot": slot}
        for basis, slot in _to_make(run, _units_in(run, table), _units_in(run, made))
    ]


def _units_in(run: DayRun, table: Table) -> set[tuple[str, datetime]]:
    names = [name for name in ("basis", "slot") if name in table.columns]
    rows = run.warehouse.read(table, first=run.day, last=run.day, columns=names).unique()
    if "basis" not in names:
        rows = rows.with_columns(basis=pl.lit(SNAPSHOT))
    return set(rows.select("basis", "slot").iter_rows())


def _to_make(
    run: DayRun, there: Collection[tuple[str, datetime]], made: Collection[tuple[str, datetime]]
) -> Sequence[tuple[str, datetime]]:
    units = sorted(there)
    if run.slot is not None:
        return [unit for unit in units if unit == (SNAPSHOT, run.slot)]
    if run.is_today:
        decision = (SNAPSHOT, decision_time(run.day))
        return [unit for unit in units if unit not in made or unit == decision]
    return units


def in_words(unit: Unit) -> str:
    """A unit of a day, for people."""
    slot = unit["slot"]
    assert isinstance(slot, datetime)
    if unit.get("basis") == DAY_FILE:
        return f"{unit['trade_date']}, last trades"
    return f"{slot.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"


def captured_chain(
    run: DayRun, slot: datetime, columns: Sequence[str]
) -> tuple[pl.DataFrame, datetime]:
    """The chains of a slot with usable spots (`with_spots`), and the moment that they show."""
    of_slot: dict[str, Any] = {"first": run.day, "last": run.day, "where": {"slot": slot}}
    chain = run.warehouse.read(
        OPTION_CHAIN, columns=[*dict.fromkeys((*columns, *_NEEDED))], **of_slot
    )
    last = run.warehouse.read(MARKET_LAST, columns=["ticker", "price", "price_at"], **of_slot)
    spotted = with_spots(chain, last, slot, session_on(run.day).close)
    return spotted, moment_shown(spotted, slot)
