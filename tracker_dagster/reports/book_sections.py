"""Sections about what is held: health of contracts, risk of the books, calls on holdings."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import polars as pl

from tracker_dagster.reports.columns import joined, table
from tracker_dagster.reports.tables import MISSING, percent, signed_dollars, strike
from tracker_dagster.schemas.portfolio_risk import ALL_TICKERS, MOVES, SCENARIOS

NO_POSITIONS = "No open positions."
NO_HEALTH = "Open positions were not checked yet. Run monitor."
NO_RISK = "Nothing is held, so nothing is at risk."
RISK_NOT_COMPUTED = "Portfolio risk not computed yet. Run risk."
NO_HOLDINGS = (
    "No holdings are known. `tracker holdings import FILE --account NAME` reads a broker's list."
)
_ALERTS = ("near_strike", "deep_itm", "rapid_up", "early_assignment", "wide_spread")
_RISK_COLUMNS = (
    "account", "positions_count", "capital", "net_delta_shares", "net_delta_usd",
    "beta_delta_spy", "theta_day", "vega_point", "largest_ticker", "largest_share",
    "category_hhi",
)  # fmt: skip


def health(rows: pl.DataFrame, open_positions: int) -> str:
    """Open positions at a slot: prices, result, advice, the roll, alerts and gates.

    Args:
        rows: rows of contract_health of one slot.
        open_positions: how many positions are open, checked or not.
    """
    if rows.is_empty():
        return NO_HEALTH if open_positions else NO_POSITIONS
    alerts = pl.concat_list(
        pl.when(pl.col(name).fill_null(value=False)).then(pl.lit(name))
        for name in _ALERTS
        if name in rows.columns
    ).list.drop_nulls()
    ordered = rows.sort("expiry", "ticker", "strike", "position_id").rename({"quantity": "qty"})
    shown = ordered.with_columns(
        pl.Series("roll", [_roll(row) for row in ordered.iter_rows(named=True)], pl.String),
        alerts=pl.when(alerts.list.len() > 0).then(alerts.list.join(", ")),
        why=pl.col("reasons").map_elements(joined, return_dtype=pl.String),
    )
    columns = (
        "ticker", "expiry", "strike", "right", "qty", "stock_price", "bid", "mid", "ask",
        "premium_captured", "total_pnl", "recommendation", "why", "roll", "alerts", "fft_status",
        "fractal_status", "account",
    )  # fmt: skip
    slot = rows["slot"].max()
    assert isinstance(slot, datetime)
    return f"As of {slot:%Y-%m-%d %H:%M} UTC.\n\n" + table(shown, columns)


def _roll(row: dict[str, Any]) -> str | None:
    """``52.5 of 2025-06-20 for +31.00``, or None where there is none."""
    if row["roll_symbol"] is None:
        return None
    place = row["roll_symbol"]
    if row.get("roll_strike") is not None and row.get("roll_expiry") is not None:
        place = f"{strike(row['roll_strike'])} of {row['roll_expiry']}"
    credit = row["roll_credit"]
    return place if credit is None else f"{place} for {signed_dollars(credit)}"


def portfolio_risk(
    risk: pl.DataFrame | None, stress: pl.DataFrame | None, open_positions: int
) -> str:
    """Greeks, capital and concentration of each account, and what shocks would cost it.

    Args:
        risk: rows of portfolio_risk of one slot; None where not read.
        stress: rows of portfolio_stress of the same slot.
        open_positions: how many positions are open.
    """
    if risk is None or risk.is_empty():
        return RISK_NOT_COMPUTED if risk is None or open_positions else NO_RISK
    rows = risk.sort("account")
    slot = rows["slot"].max()
    assert isinstance(slot, datetime)
    parts = [f"As of {slot:%Y-%m-%d %H:%M} UTC.", table(rows, _RISK_COLUMNS)]
    notes = [
        f"- {row['account']}: {text}"
        for row in rows.iter_rows(named=True)
        for text in (
            _left_out(row["left_out"]),
            row["beta_reason"],
            row["capital_reason"],
            *json.loads(row.get("notes") or "{}").values(),
        )
        if text
    ]
    notes += [
        f"- {row['account']}: {row['uncovered_call_shares']:,.0f} shares are owed by sold calls "
        "that none are held against"
        for row in rows.iter_rows(named=True)
        if row["uncovered_call_shares"]
    ]
    if notes:
        parts.append("\n".join(notes))
    if stress is not None and len(stress):
        parts += ["### Shocks", _shocks(stress), _SHOCKS_NOTE]
        if untold := untold_shocks(stress):
            parts.append("\n".join(f"- {line}" for line in untold))
    return "\n\n".join(parts)


_SHOCKS_NOTE = (
    "Dollars, and in brackets the share of the account's capital. Plain: each stock falls as far "
    "as stated; beta: its beta times as far. At once, with every option valued anew."
)


def _left_out(text: str | None) -> str | None:
    found = json.loads(text or "{}")
    told = "; ".join(f"{ticker} ({why})" for ticker, why in sorted(found.items()))
    return f"no sums of Greeks, as these cannot be valued: {told}" if told else None


def untold_shocks(stress: pl.DataFrame) -> list[str]:
    """A sentence for each account and reason why some of its shocks have no sum.

    Args:
        stress: rows of portfolio_stress of one slot.
    """
    missing = stress.filter((pl.col("ticker") == ALL_TICKERS) & pl.col("pnl").is_null())
    groups = missing.group_by("account", "reason").agg(
        pl.struct("scenario", "move").n_unique().alias("untold"),
        pl.col("move").unique().sort().str.join(" and "),
    )
    every = len(SCENARIOS) * len(MOVES)
    return [
        f"{row['account']}: no sum of {'any' if row['untold'] == every else row['untold']} "
        f"{'shock' if row['untold'] == 1 or row['untold'] == every else 'shocks'} "
        f"({row['move']}), as one part of it is not known: {row['reason']}"
        for row in groups.sort("account", "reason").iter_rows(named=True)
    ]


def _shocks(stress: pl.DataFrame) -> str:
    totals = stress.filter(pl.col("ticker") == ALL_TICKERS)
    cells = {
        (row["account"], row["scenario"], row["move"]): _shock(row)
        for row in totals.iter_rows(named=True)
    }
    accounts = sorted(set(totals["account"]))
    columns = [(account, move) for account in accounts for move in MOVES]
    frame = pl.DataFrame(
        {
            "shock": list(SCENARIOS.values()),
            **{
                f"{account}, {move}": [
                    cells.get((account, scenario, move)) for scenario in SCENARIOS
                ]
                for account, move in columns
            },
        }
    )
    return table(frame, frame.columns)


def _shock(row: dict[str, Any]) -> str | None:
    if row["pnl"] is None:
        return None
    share = MISSING if row["pnl_share"] is None else percent(row["pnl_share"])
    return f"{signed_dollars(row['pnl'])} ({share})"


#: What is shown of holding_calls, as far as the rows have it.
_HOLDING_COLUMNS = (
    "account", "ticker", "free", "average_basis", "price", "contracts", "expiry", "strike",
    "premium", "premium_total", "yield_on_price", "yield_on_basis", "called_return_on_basis",
    "assignment_probability", "reason",
)  # fmt: skip


def holding_calls(rows: pl.DataFrame | None) -> str:
    """Which call to write on each holding, or why none.

    Args:
        rows: rows of holding_calls of the day; None where not read.
    """
    if rows is None or rows.is_empty():
        return NO_HOLDINGS
    shown = [name for name in _HOLDING_COLUMNS if name in rows.columns]
    return table(rows.sort("account", "ticker"), shown)
