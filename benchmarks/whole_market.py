"""A day of all option contracts valued: bars, closes, rates and dividends to committed greeks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.figures import Figure
from benchmarks.option_day import NOW
from benchmarks.option_files import LAST_DAY
from benchmarks.timing import best_of
from tracker_dagster.analytics.rates import zero_rates
from tracker_dagster.assets.ahead import Ahead
from tracker_dagster.assets.day_files import FLAT_FILE, option_day_rows
from tracker_dagster.assets.option_greeks import priced_units, value
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.ledger.commands import CANONICAL_SINCE, sync_universe
from tracker_dagster.marketsim import Simulation
from tracker_dagster.marketsim.world.day_files import INDICES_DAY, OPTIONS_DAY, STOCKS_DAY
from tracker_dagster.resources import FixedClock, Knobs, MarketData
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.market import INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.rates import TREASURY_YIELDS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS, REFERENCE_COLLECTIONS
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.seed_files import seed_file
from tracker_dagster.settings import Settings
from tracker_dagster.sources.massive.flat_file_formats import Dataset, parse_day_aggs
from tracker_dagster.sources.year_end_yields import year_end_yields
from tracker_dagster.strategy.events import ALL_DIVIDENDS, DIVIDENDS
from tracker_dagster.trading_calendar import day_file_available_at, previous_session, session_on
from tracker_dagster.warehouse import Warehouse, Write

#: What one day may take, seconds.
ALLOWANCE = 3.0
_HORIZON = timedelta(days=60)
_QUARTER = timedelta(days=91)


def _csv(simulation: Simulation, dataset: str) -> bytes:
    return simulation.files.table(dataset, LAST_DAY).write_csv().encode()


def _fill(warehouse: Warehouse, simulation: Simulation) -> None:
    """The inputs of the day, as the assets upstream leave them."""
    known = day_file_available_at(LAST_DAY)
    file: dict[str, Any] = {"source": FLAT_FILE, "available_at": known, "trade_date": LAST_DAY}
    options = option_day_rows(_csv(simulation, OPTIONS_DAY), LAST_DAY).frame
    stocks = parse_day_aggs(_csv(simulation, STOCKS_DAY), LAST_DAY).frame
    indices = parse_day_aggs(_csv(simulation, INDICES_DAY), LAST_DAY, Dataset.INDEX_DAY).frame
    indices = indices.with_columns(pl.col("ticker").str.strip_prefix("I:"))
    for table, frame in (
        (OPTION_DAY_AGGS, options),
        (STOCK_DAY_AGGS, stocks),
        (INDEX_BARS, indices),
    ):
        unit = {"trade_date": LAST_DAY, "source": FLAT_FILE}
        warehouse.replace(table, table.conform(frame, **file), unit)
    opening = session_on(LAST_DAY).open
    latest = year_end_yields().filter(pl.col("date") == pl.col("date").max()).sort("months")
    curve = latest.select(
        "months",
        "yield_percent",
        rate=pl.Series(zero_rates(latest["months"].to_numpy(), latest["yield_percent"].to_numpy())),
    )
    _replace(
        warehouse, TREASURY_YIELDS, curve, source="massive_rest", available_at=opening,
        curve_date=previous_session(LAST_DAY),
    )  # fmt: skip
    _replace(
        warehouse, CORPORATE_ACTIONS, _dividends(stocks), action="dividend", source="bench",
        available_at=opening,
    )  # fmt: skip
    asked = pl.DataFrame({"subject": [DIVIDENDS, ALL_DIVIDENDS], "rows_count": [1, 1]})
    unit = {"dataset": CORPORATE_ACTIONS.name, "source": "bench"}
    _replace(warehouse, REFERENCE_COLLECTIONS, asked, available_at=opening, **unit)


def _replace(warehouse: Warehouse, table: Table, rows: pl.DataFrame, **same: Any) -> None:
    frame = table.conform(rows, trade_date=LAST_DAY, **same)
    unit = {name: frame[name][0] for name in table.replace_by}
    warehouse.replace(table, frame, unit)


def _dividends(stocks: pl.DataFrame) -> pl.DataFrame:
    """One of three stocks pays half a percent a quarter, on a day of its own."""
    rng = np.random.default_rng(LAST_DAY.toordinal())
    payers = stocks.sort("ticker").gather_every(3)
    ahead = rng.integers(1, _QUARTER.days + 1, payers.height)
    return payers.select(
        "ticker",
        ex_date=pl.lit(LAST_DAY) + pl.duration(days=pl.Series(ahead)),
        cash_amount=(pl.col("close") * 0.005).round(2),
        action_id="ticker",
    ).filter(pl.col("cash_amount") > 0, pl.col("ex_date") <= LAST_DAY + _HORIZON)


def whole_market(home: Path) -> Iterator[Figure]:
    """One OPRA day from its bars to its committed greeks, and what it found."""
    settings = Settings(data_dir=home / "whole_market")
    settings.data_dir.mkdir()
    warehouse = Warehouse(settings.database)
    warehouse.migrate()
    sync_universe(warehouse, seed_file("universe.csv"), CANONICAL_SINCE)
    _fill(warehouse, Simulation(profile="full"))
    run = DayRun(
        day=LAST_DAY,
        now=NOW,
        clock=FixedClock(NOW),
        warehouse=warehouse,
        market=MarketData(settings),
        knobs=Knobs.from_settings(settings),
        config={},
        log=None,
        tags={},
        is_first=True,
        is_last=False,
        ahead=Ahead(),
    )
    statuses: dict[str, int] = {}

    def day() -> None:
        for priced in priced_units(run):
            rows = value(run, priced)
            warehouse.replace_many([Write(OPTION_GREEKS, rows, priced.unit)])
            statuses.update(rows["status"].value_counts(sort=True).iter_rows())

    (ours,) = best_of([day])
    total = sum(statuses.values())
    size = settings.database.stat().st_size / 1024**2
    yield Figure(
        "one OPRA day, option_day_aggs to committed option_greeks / 3 s",
        ours,
        ALLOWANCE,
        notes=f"{total:,} contracts, {statuses.get('OK', 0) / total:.1%} OK, file {size:.0f} MiB",
    )
