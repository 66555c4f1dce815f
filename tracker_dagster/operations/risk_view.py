"""`tracker risk` on the screen: what each account is exposed to, and what shocks would cost it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table as RichTable

from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.results import NOTHING
from tracker_dagster.reports.book_sections import untold_shocks
from tracker_dagster.schemas.portfolio_risk import (
    ALL_TICKERS,
    PORTFOLIO_RISK,
    PORTFOLIO_STRESS,
    SCENARIOS,
)
from tracker_dagster.trading_calendar import EASTERN
from tracker_dagster.warehouse import Warehouse

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

#: Column, what it is called on the screen, and how its numbers are written.
_RISK = (
    ("account", "account", "{}"),
    ("positions_count", "options", "{}"),
    ("tickers_count", "tickers", "{}"),
    ("net_delta_shares", "delta shares", "{:+,.1f}"),
    ("net_delta_usd", "delta USD", "{:+,.0f}"),
    ("beta_delta_usd", "beta delta USD", "{:+,.0f}"),
    ("beta_delta_spy", "in SPY", "{:+,.1f}"),
    ("net_gamma_usd_per_1pct", "gamma 1 %", "{:+,.0f}"),
    ("theta_day", "theta a day", "{:+,.2f}"),
    ("vega_point", "vega a point", "{:+,.2f}"),
)
_CAPITAL = (
    ("account", "account", "{}"),
    ("capital", "capital", "{:,.0f}"),
    ("stock_value", "shares", "{:,.0f}"),
    ("option_value", "options", "{:+,.0f}"),
    ("cash_secured", "cash secured", "{:,.0f}"),
    ("largest_ticker", "largest", "{}"),
    ("largest_share", "its share", "{:.0%}"),
    ("ticker_hhi", "HHI tickers", "{:.2f}"),
    ("largest_category", "category", "{}"),
    ("category_hhi", "HHI categories", "{:.2f}"),
    ("uncovered_call_shares", "uncovered", "{:,g}"),
)
_UNIT = (
    "delta: what all tickers rising brings, per dollar and in dollars for 100 % · beta delta: the "
    "same for SPY, each by its beta · gamma: dollar delta gained as all rise 1 % · theta, vega: US "
    "dollars for a calendar day and a volatility point · HHI: 1 is all in one"
)
Layout = Sequence[tuple[str, str, str]]


def print_risk(settings: Settings, console: Console, day: date | None, account: str | None) -> None:
    """Print risk and stress of the last slot of a session, of all accounts or of one.

    Raises:
        UsageError: an account that holds nothing on the day.
    """
    warehouse = Warehouse(settings.database) if settings.database.exists() else None
    session = day or (last_day(warehouse) if warehouse else None)
    rows = _last_slot(warehouse, session) if warehouse and session else None
    if warehouse is None or session is None or rows is None or rows.is_empty():
        when = f" on {session}" if session else ""
        console.print(
            f"nothing is held{when}, or its risk was not worked out: run `tracker daily`",
            highlight=False,
            soft_wrap=True,
        )
        return
    if account is not None:
        wanted = rows.filter(pl.col("account").str.to_lowercase() == account.lower())
        if wanted.is_empty():
            there = ", ".join(rows["account"])
            raise UsageError(f"the account {account!r} holds nothing on {session} (there: {there})")
        rows = wanted
    slot = rows["slot"][0]
    at = f"{session} {slot.astimezone(EASTERN):%H:%M} ET"
    console.print(_table(rows, _RISK, f"Risk {at}"))
    console.print(_table(rows, _CAPITAL, "Capital and concentration, US dollars"))
    stress = warehouse.read(PORTFOLIO_STRESS, first=session, last=session, where={"slot": slot})
    stress = stress.join(rows.select("account"), on="account", how="semi")
    console.print(_stress_table(stress))
    for line in (*_notes(rows), *(escape(line) for line in untold_shocks(stress))):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"[dim]{_UNIT}[/]", highlight=False)


def last_day(warehouse: Warehouse) -> date | None:
    """The latest session with a row of portfolio_risk."""
    found: date | None = warehouse.query("SELECT max(trade_date) FROM portfolio_risk").item()
    return found


def _last_slot(warehouse: Warehouse, day: date) -> pl.DataFrame:
    rows = warehouse.read(PORTFOLIO_RISK, first=day, last=day)
    return rows.filter(pl.col("slot") == pl.col("slot").max()).sort("account")


def _table(rows: pl.DataFrame, layout: Layout, title: str) -> RichTable:
    table = RichTable(title=title, title_justify="left", title_style="bold")
    for name, label, _ in layout:
        table.add_column(label, justify="right" if rows.schema[name].is_numeric() else "left")
    for row in rows.iter_rows(named=True):
        table.add_row(
            *(
                NOTHING if row[name] is None else escape(written.format(row[name]))
                for name, _, written in layout
            )
        )
    return table


def _stress_table(stress: pl.DataFrame) -> RenderableType:
    """Profit or loss of each account, a column a scenario; all tickers together."""
    totals = stress.filter(pl.col("ticker") == ALL_TICKERS)
    table = RichTable(
        title="What shocks would bring or cost, US dollars", title_justify="left",
        title_style="bold",
    )  # fmt: skip
    table.add_column("account")
    table.add_column("every ticker moves")
    for label in SCENARIOS.values():
        table.add_column(label, justify="right")
    for account in totals["account"].unique().sort():
        for move, words in (("plain", "as far"), ("beta", "by its beta")):
            mine = totals.filter((pl.col("account") == account) & (pl.col("move") == move))
            pnl = dict(mine.select("scenario", "pnl").iter_rows())
            table.add_row(
                escape(account),
                words,
                *(NOTHING if pnl.get(s) is None else f"{pnl[s]:+,.0f}" for s in SCENARIOS),
            )
    return table


def _notes(rows: pl.DataFrame) -> list[str]:
    """What has no number, and how some were come by, account by account."""
    notes = []
    for row in rows.iter_rows(named=True):
        parts = [f"{ticker}: {why}" for ticker, why in json.loads(row["left_out"]).items()]
        parts += [row[name] for name in ("beta_reason", "capital_reason") if row[name]]
        if parts:
            notes.append(escape(f"{row['account']}, not known: {'; '.join(parts)}"))
        valued = json.loads(row["notes"] or "{}").values()
        notes += [escape(f"{row['account']}: {text}") for text in valued]
    return notes
