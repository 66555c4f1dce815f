"""Positions, holdings and wheels on the screen."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
from rich.console import RenderableType

from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holdings import holdings_as_of, lots_as_of
from tracker_dagster.ledger.wheel import wheel_cycles
from tracker_dagster.operations.results import as_table
from tracker_dagster.schemas.holdings import HOLDING_CALLS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import decision_time
from tracker_dagster.warehouse import Warehouse

#: As of now, whatever the clock of the market: nothing is recorded for later than this.
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)


def positions(
    warehouse: Warehouse,
    moment: datetime | None = None,
    account: str | None = None,
    *,
    ended: bool = False,
) -> list[RenderableType]:
    """Open positions, or all there ever were with what they brought."""
    rows = _of(positions_as_of(warehouse.read(LEDGER), moment or FOREVER), account)
    if not ended:
        rows = rows.filter(pl.col("status") == "OPEN")
    if rows.is_empty():
        return ["No position was ever opened." if ended else "No position is open."]
    rows = rows.sort("opened_at", "symbol").with_columns(
        opened_on=pl.col("opened_at").dt.date(), ended_on=pl.col("closed_at").dt.date()
    )
    columns = [
        "position_id", "account", "symbol", "quantity", "open_price", "stock_basis",
        "stock_source", "opened_on",
    ]  # fmt: skip
    if not ended:
        return [as_table(rows, columns, "Open positions (`tracker close POSITION_ID` ends one)")]
    shown = [*columns, "status", "ended_on", "close_price", "realised_pnl"]
    known = rows.drop_nulls("realised_pnl")
    told = (
        f"{known.height} ended with {known['realised_pnl'].sum():+,.2f} USD, dividends on their "
        "shares left out (`tracker scorecard` counts them)"
    )
    unknown = rows.filter((pl.col("status") != "OPEN") & pl.col("realised_pnl").is_null()).height
    if unknown:
        told += f"; the result of {unknown} is not known: what their shares had cost or brought"
    return [as_table(rows, shown, "Positions"), told]


def holdings(
    warehouse: Warehouse, moment: datetime | None = None, account: str | None = None
) -> list[RenderableType]:
    """Shares of each account with what is free, their lots, and the calls to write on them."""
    ledger = warehouse.read(LEDGER)
    rows = _of(holdings_as_of(ledger, moment or FOREVER), account)
    if rows.is_empty():
        return [
            "No account holds shares: `tracker holdings import FILE --account NAME` reads them."
        ]
    columns = (
        "account", "ticker", "lots", "shares", "average_basis", "first_acquired_on", "covered",
        "free",
    )  # fmt: skip
    parts: list[RenderableType] = [as_table(rows, columns, "Holdings")]
    lots = _of(lots_as_of(ledger, moment or FOREVER), account)
    if lots.height > rows.height:
        shown = ("account", "ticker", "number", "shares", "lot_basis", "acquired_on", "source")
        named = lots.rename({"basis": "lot_basis"})
        parts.append(as_table(named, shown, "Lots, in the order in which they leave"))
    short = rows.filter(pl.col("free") < 0)
    if short.height:
        parts.append(
            f"[yellow]More calls are open than shares are there[/]: {', '.join(short['ticker'])}"
        )
    if moment is None:
        parts += _calls(warehouse, account)
    return parts


def _calls(warehouse: Warehouse, account: str | None) -> list[RenderableType]:
    day = warehouse.query("SELECT max(trade_date) AS day FROM holding_calls")["day"][0]
    if day is None:
        return []
    calls = _of(warehouse.read(HOLDING_CALLS, first=day, last=day), account)
    if calls.is_empty():
        return []
    columns = (
        "account", "ticker", "contracts", "symbol", "strike", "premium", "premium_total",
        "yield_on_price", "yield_on_basis", "reason",
    )  # fmt: skip
    return [as_table(calls, columns, f"Calls to write on them, {day}")]


def wheel(
    warehouse: Warehouse, moment: datetime | None = None, account: str | None = None
) -> list[RenderableType]:
    """Every cycle: puts sold until assigned, calls on the shares until they are called away."""
    rows = _of(wheel_cycles(warehouse.read(LEDGER), moment or _latest(warehouse)), account)
    if rows.is_empty():
        return ["No wheel was begun: a put that is sold begins one."]
    shown = rows.with_columns(
        puts=pl.format("{}/{}", "puts_assigned", "puts_sold"),
        calls=pl.format("{}/{}", "calls_assigned", "calls_sold"),
    )
    columns = (
        "account", "ticker", "cycle", "status", "started_on", "days", "puts", "calls", "shares",
        "break_even", "premiums", "stock_result", "total",
    )  # fmt: skip
    return [as_table(shown, columns, "Wheel (puts and calls: assigned/sold)")]


def _latest(warehouse: Warehouse) -> datetime:
    """When the book was looked at last: an open cycle has lasted until then."""
    of_book = pl.col("kind").str.contains("^(?:position_|shares_|holdings_)")
    ledger = warehouse.read(LEDGER).filter(of_book)
    day = warehouse.query("SELECT max(trade_date) AS day FROM positions")["day"][0]
    seen = [] if day is None else [decision_time(day)]
    return max([*ledger["effective_at"], *seen], default=FOREVER)


def _of(rows: pl.DataFrame, account: str | None) -> pl.DataFrame:
    return rows if account is None else rows.filter(pl.col("account") == account)
