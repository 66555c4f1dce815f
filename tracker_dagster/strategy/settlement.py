"""What becomes of positions at their expiry: proposals for the ledger, recorded elsewhere."""

from __future__ import annotations

from datetime import date

import polars as pl

from tracker_dagster import trading_calendar

#: Dollars in the money from which the clearing house exercises by itself (OCC rule 805).
EXERCISE_THRESHOLD = 0.01

SETTLEMENT_SCHEMA: dict[str, pl.DataType] = {
    "position_id": pl.String(),
    "symbol": pl.String(),
    "outcome": pl.String(),
    "effective_at": pl.Datetime("us", "UTC"),
    "settlement_price": pl.Float64(),
    "reason": pl.String(),
}


def settle(positions: pl.DataFrame, closes: pl.DataFrame, day: date) -> pl.DataFrame:
    """One proposal for each open position whose expiry has come.

    Args:
        positions: rows of positions.
        closes: ``ticker``, ``trade_date``, ``close`` as traded (strikes are, too).
        day: the last session that is over; later expiries are not settled.

    Returns:
        `SETTLEMENT_SCHEMA`; ``outcome`` is ``ASSIGNED`` at least a cent in the money,
        ``EXPIRED`` otherwise, and null, with a reason, where the close of the expiration
        session is not known. ``effective_at`` is the closing bell of that session.
    """
    due = positions.filter((pl.col("status") == "OPEN") & (pl.col("expiry") <= day))
    known = {
        (ticker, session): close
        for ticker, session, close in closes.select("ticker", "trade_date", "close").iter_rows()
    }
    rows = []
    for position in due.sort("position_id").iter_rows(named=True):
        session = trading_calendar.session_or_previous(position["expiry"])
        close = known.get((position["ticker"], session))
        row = {
            "position_id": position["position_id"],
            "symbol": position["symbol"],
            "effective_at": trading_calendar.session_on(session).close,
            "settlement_price": close,
        }
        if close is None:
            reason = f"no close of {position['ticker']} on {session}"
            rows.append({**row, "outcome": None, "reason": reason})
            continue
        gap = close - position["strike"]
        inside = round(gap if position["right"] == "C" else -gap, 6)
        exercised = inside >= EXERCISE_THRESHOLD
        rows.append(
            {
                **row,
                "outcome": "ASSIGNED" if exercised else "EXPIRED",
                "reason": f"{abs(inside):.2f} {'in' if inside > 0 else 'out of'} the money",
            }
        )
    return pl.DataFrame(rows, schema=SETTLEMENT_SCHEMA)
