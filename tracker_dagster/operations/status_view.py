"""`tracker status` on the screen."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as RichTable

from tracker_dagster.operations import status
from tracker_dagster.operations.market import NOT_RUNNING
from tracker_dagster.operations.positions import open_positions
from tracker_dagster.operations.results import NOTHING, as_table
from tracker_dagster.operations.runs import definitions, opened_instance
from tracker_dagster.resources import MarketData, make_clock
from tracker_dagster.sources.errors import SourceError
from tracker_dagster.trading_calendar import EASTERN, current_session
from tracker_dagster.warehouse import Warehouse

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

_SHOWN_ABSENT = 3
_SHOWN_SIZE = 2**16
#: Columns of the output when nobody looks at it: in a file or a pipe no name may be cut.
_WIDE = 140


def print_status(settings: Settings, console: Console) -> None:
    """Print how the place stands. Works without a market; ages are then left out."""
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    if not settings.database.exists():
        console.print(
            f"nothing is here yet ({settings.database}): run `tracker demo` or `tracker daily`",
            highlight=False,
            soft_wrap=True,
        )
        return
    now = _now(settings, console)
    warehouse = Warehouse(settings.database)
    console.print(_tables(status.tables(warehouse, current_session(now) if now else None)))
    held = open_positions(warehouse)
    if held.height:
        columns = ("position_id", "account", "symbol", "quantity", "open_price", "stock_basis")
        console.print(
            as_table(held, columns, "Open positions (`tracker close POSITION_ID` ends one)")
        )
    gaps = status.gaps(warehouse)
    if gaps.height:
        console.print(as_table(gaps, gaps.columns, "Captures that are missing"))
    alerts = status.alerts(warehouse)
    if alerts.height:
        console.print(as_table(alerts, alerts.columns, "Latest alerts"))
    with opened_instance(settings) as instance:
        failed = status.recent_runs(instance, failed_only=True)
        console.print(_runs(status.recent_runs(instance), "Latest runs"))
        if failed:
            console.print(_runs(failed, "Latest failed runs"))
        on_off = status.automation(instance, definitions(settings))
    switches = ", ".join(
        f"{name} {'[green]on[/]' if on else '[yellow]off[/]'}" for name, on in on_off.items()
    )
    console.print(f"[bold]Automation[/]  {switches}", highlight=False)
    if not all(on_off.values()):
        console.print("            what is off runs when you turn it on in `tracker up`")
    sizes = ", ".join(
        f"{name} {size / 2**20:,.1f} MiB"
        for name, size in status.disk(settings.data_dir).items()
        if size > _SHOWN_SIZE
    )
    console.print(f"[bold]Disk[/]        {sizes}", highlight=False)


def _now(settings: Settings, console: Console) -> datetime | None:
    market = MarketData(settings)
    if settings.uses_simulated_clock:
        from tracker_dagster.operations.market import MarketDownError, server_time

        try:
            server_time(settings.rest_url)
        except MarketDownError:
            console.print(f"[yellow]{NOT_RUNNING}[/] (ages are left out)", highlight=False)
            return None
    try:
        now = make_clock(settings, market).now()
    except SourceError as error:
        console.print(f"[yellow]the market's clock: {error}[/]", highlight=False)
        return None
    kind = "simulated clock" if settings.uses_simulated_clock else "clock"
    console.print(
        f"[bold]{kind}[/] {now.astimezone(EASTERN):%Y-%m-%d %H:%M} ET, "
        f"session {current_session(now)}",
        highlight=False,
    )
    return now


def _tables(found: list[status.TableStatus]) -> RichTable:
    table = RichTable(title="Tables", title_justify="left", title_style="bold")
    for name in ("table", "rows", "sessions", "first", "last", "behind", "absent", "quarantined"):
        right = name in ("rows", "sessions", "behind", "quarantined")
        table.add_column(name, justify="right" if right else "left")
    for line in found:
        absent = " ".join(map(str, line.absent[:_SHOWN_ABSENT]))
        more = len(line.absent) - _SHOWN_ABSENT
        table.add_row(
            line.name,
            f"{line.rows:,}" if line.rows else "[dim]0[/]",
            str(line.sessions) if line.sessions else NOTHING,
            str(line.first or NOTHING),
            str(line.last or NOTHING),
            NOTHING if line.behind is None else str(line.behind),
            (absent + (f" +{more}" if more > 0 else "")) or NOTHING,
            f"[yellow]{line.quarantined:,}[/]" if line.quarantined else NOTHING,
        )
    return table


def _runs(lines: list[status.RunLine], title: str) -> RichTable:
    table = RichTable(title=title, title_justify="left", title_style="bold")
    for name in ("run", "job", "session", "status", "ended (UTC)"):
        table.add_column(name)
    colours = {"SUCCESS": "green", "FAILURE": "red", "CANCELED": "red"}
    for line in lines:
        colour = colours.get(line.status, "yellow")
        ended = f"{line.ended_at:%Y-%m-%d %H:%M}" if line.ended_at else NOTHING
        table.add_row(
            line.run_id[:8], line.job, line.day or NOTHING, f"[{colour}]{line.status}[/]", ended
        )
    return table
