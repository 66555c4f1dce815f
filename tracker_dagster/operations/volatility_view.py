"""`tracker volatility` on the screen: what options cost, ticker by ticker, and where gamma lies."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import TYPE_CHECKING

import polars as pl
from rich.console import Console

from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.results import as_table
from tracker_dagster.trading_calendar import EASTERN
from tracker_dagster.warehouse import Warehouse

if TYPE_CHECKING:
    from tracker_dagster.settings import Settings

_COLUMNS = (
    "ticker", "spot", "iv_30d", "iv_rank", "iv_percentile", "change_5d", "rv_20d", "iv/rv",
    "skew_25d", "structure", "put_wall", "flip", "call_wall", "net_gamma_m", "note",
)  # fmt: skip
#: Columns of the output when nobody looks at it: in a file or a pipe no name may be cut.
_WIDE = 180
_UNIT = (
    "iv: annual · rv: of the 20 sessions before, annual · iv rank, percentile: within 252 sessions "
    "· skew: 25-delta put less call, 30 days · walls, flip: US dollars of the underlying · net "
    "gamma: million US dollars for a move of 1 %, dealers taken as long calls and short puts"
)

# The last slot of a session stands for it; captured chains stand before day files.
_ROWS = """
WITH last AS (
    SELECT * FROM iv_term_structure WHERE trade_date = $day
    QUALIFY row_number() OVER (
        PARTITION BY underlying ORDER BY basis = 'snapshot' DESC, slot DESC
    ) = 1
), realised AS (
    SELECT ticker, rv_20d FROM realized_volatility
    WHERE trade_date <= $day AND trade_date > $day - INTERVAL 7 DAY
    QUALIFY row_number() OVER (PARTITION BY ticker ORDER BY trade_date DESC) = 1
)
SELECT
    t.underlying AS ticker, t.basis, t.slot, t.spot, t.iv_30d, p.iv_rank, p.iv_percentile,
    p.change_5d, r.rv_20d, t.iv_30d / r.rv_20d AS "iv/rv",
    t.skew_25d_30d AS skew_25d, t.structure, g.put_wall, g.gamma_flip AS flip, g.call_wall,
    g.net_gamma_naive_usd_per_1pct / 1e6 AS net_gamma_m, p.recommendation, p.reason, t.missing
FROM last t
LEFT JOIN iv_percentile p USING (trade_date, basis, underlying)
LEFT JOIN gamma_exposure g
    ON g.trade_date = t.trade_date AND g.slot = t.slot AND g.underlying = t.underlying
    AND t.basis = 'snapshot'
LEFT JOIN realised r ON r.ticker = t.underlying
ORDER BY ticker
"""


def volatility_rows(warehouse: Warehouse, day: date) -> pl.DataFrame:
    """One row an underlying of the session: its last slot, or its day file."""
    return warehouse.query(_ROWS, {"day": day}).with_columns(
        note=pl.when(pl.col("iv_30d").is_null())
        .then(_about("missing", "iv_30d"))
        .otherwise(pl.coalesce("recommendation", _too_short()))
    )


def _about(column: str, name: str) -> pl.Expr:
    """What ``column`` (``name: reason; name: reason``) says of one name."""
    return pl.col(column).str.extract(rf"{name}: ([^;]*)")


def _too_short() -> pl.Expr:
    """How many sessions there are of those that a rank needs, where that is why it is null."""
    counts = pl.col("reason").str.extract_groups(
        r"rank and percentile: (\d+) of .*?(\d+) are needed"
    )
    return pl.format("{} of {} sessions", counts.struct.field("1"), counts.struct.field("2"))


def last_day(warehouse: Warehouse) -> date | None:
    """The latest session with a term structure."""
    found: date | None = warehouse.query("SELECT max(trade_date) FROM iv_term_structure").item()
    return found


def print_volatility(
    settings: Settings, console: Console, tickers: Collection[str], day: date | None
) -> None:
    """Print the session's volatilities, of all tickers or of those named.

    Raises:
        UsageError: a ticker that has none on the day.
    """
    if not console.is_terminal:
        console.width = max(console.width, _WIDE)
    warehouse = Warehouse(settings.database) if settings.database.exists() else None
    session = day or (last_day(warehouse) if warehouse else None)
    rows = volatility_rows(warehouse, session) if warehouse and session else None
    if rows is None or rows.is_empty():
        when = f" of {session}" if session else ""
        console.print(
            f"no volatilities{when} are here: run `tracker demo`, `tracker daily` or "
            "`tracker backfill FROM TO`",
            highlight=False,
            soft_wrap=True,
        )
        return
    wanted = {ticker.upper() for ticker in tickers}
    if unknown := wanted - set(rows["ticker"]):
        raise UsageError(f"no volatility on {session} of {', '.join(sorted(unknown))}")
    if wanted:
        rows = rows.filter(pl.col("ticker").is_in(sorted(wanted)))
    bases = rows["basis"].unique()
    slot = rows["slot"].max()
    at = f"{slot.astimezone(EASTERN):%H:%M} ET"  # type: ignore[union-attr]
    of = "day files" if bases.to_list() == ["day_file"] else f"captured chains, {at}"
    columns = _COLUMNS if bases.len() == 1 else ("basis", *_COLUMNS)
    console.print(as_table(rows, columns, f"Volatility of {session} ({of})"))
    console.print(f"[dim]{_UNIT}[/]", highlight=False)
