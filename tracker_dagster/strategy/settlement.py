"""What becomes of positions at their expiry: proposals for the ledger, recorded elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.instruments import (
    AM_SETTLED_ROOTS,
    INDEX_ROOTS,
    OptionSymbol,
    parse_option_symbol,
)

#: Dollars in the money from which the clearing house exercises by itself (OCC rule 805).
EXERCISE_THRESHOLD = 0.01

ASSIGNED, EXPIRED, CASH_SETTLED = "ASSIGNED", "EXPIRED", "CASH_SETTLED"

SETTLEMENT_SCHEMA: dict[str, pl.DataType] = {
    "position_id": pl.String(),
    "symbol": pl.String(),
    "expired_on": pl.Date(),
    "outcome": pl.String(),
    "effective_at": pl.Datetime("us", "UTC"),
    "settlement_price": pl.Float64(),
    "close_price": pl.Float64(),
    "stock_sold_at": pl.Float64(),
    "reason": pl.String(),
}


def settle(
    positions: pl.DataFrame,
    closes: pl.DataFrame,
    day: date,
    *,
    index_closes: pl.DataFrame | None = None,
    corporate_actions: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """One proposal for each open position whose expiry has come.

    Index options settle in cash at what they are worth, those that settle in the afternoon on
    the close of the index. The shares of a buy-write whose call expires worthless are sold at
    that session's close, so that each cycle of the paper book ends in cash with its result; shares
    that the account held before stay in it.

    Args:
        positions: rows of positions.
        closes: stocks' ``ticker``, ``trade_date``, ``close`` as traded (strikes are, too).
        day: the last session that is over; later expiries are not settled.
        index_closes: the same of indices, without the ``I:`` prefix.
        corporate_actions: rows of corporate_actions since the positions were opened.

    Returns:
        `SETTLEMENT_SCHEMA`; ``outcome`` is ``ASSIGNED`` (in cash: ``CASH_SETTLED``, with what a
        share of the contract paid as ``close_price``) at least a cent in the money, ``EXPIRED``
        otherwise, and null, with a reason, where it cannot be told: the close of the expiration
        session is not known, an index settles on its opening prices, or a split since the
        opening has changed the contract. ``effective_at`` is that session's closing bell, or the
        opening where that was even later.
    """
    due = positions.filter((pl.col("status") == "OPEN") & (pl.col("expiry") <= day))
    known, index_known = _by_session(closes), _by_session(index_closes)
    rows = []
    for position in due.sort("position_id").iter_rows(named=True):
        contract = parse_option_symbol(position["symbol"])
        is_index = contract.root in INDEX_ROOTS
        session = trading_calendar.session_or_previous(position["expiry"])
        close = (index_known if is_index else known).get((position["ticker"], session))
        obstacle = _obstacle(position, contract, close, session, corporate_actions)
        rows.append(
            {
                "position_id": position["position_id"],
                "symbol": position["symbol"],
                "expired_on": session,
                "effective_at": max(
                    trading_calendar.session_on(session).close, position["opened_at"]
                ),
                "settlement_price": close,
                **(
                    {"reason": obstacle}
                    if obstacle is not None or close is None
                    else _outcome(position, close, in_cash=is_index)
                ),
            }
        )
    return pl.DataFrame(rows, schema=SETTLEMENT_SCHEMA)


def _by_session(closes: pl.DataFrame | None) -> dict[tuple[str, date], float]:
    if closes is None:
        return {}
    rows = closes.select("ticker", "trade_date", "close").iter_rows()
    return {(ticker, session): close for ticker, session, close in rows}


def _outcome(position: Mapping[str, Any], close: float, *, in_cash: bool) -> dict[str, Any]:
    gap = close - position["strike"]
    inside = round(gap if position["right"] == "C" else -gap, 6)
    exercised = inside >= EXERCISE_THRESHOLD
    # Shares that the account holds stay in it; those bought with the call are sold.
    covered = (
        position["right"] == "C"
        and position["quantity"] < 0
        and position["stock_basis"] is not None
        and position["stock_source"] != "held"
    )
    return {
        "outcome": EXPIRED if not exercised else CASH_SETTLED if in_cash else ASSIGNED,
        "close_price": inside if exercised and in_cash else None,
        "stock_sold_at": close if covered and not exercised and not in_cash else None,
        "reason": f"{abs(inside):.2f} {'in' if inside > 0 else 'out of'} the money",
    }


def _obstacle(
    position: Mapping[str, Any],
    contract: OptionSymbol,
    close: float | None,
    session: date,
    actions: pl.DataFrame | None,
) -> str | None:
    """Why the outcome cannot be told, or None."""
    if contract.root in AM_SETTLED_ROOTS:
        return f"{contract.root} settles on opening prices, which no table holds: close it by hand"
    if contract.is_adjusted:
        return f"{contract.root} is an adjusted contract: close it by hand"
    if actions is not None:
        opened = trading_calendar.trading_date(position["opened_at"])
        splits = actions.filter(
            (pl.col("action") == "split")
            & (pl.col("ticker") == position["ticker"])
            & (pl.col("ex_date") > opened)
            & (pl.col("ex_date") <= session)
        )
        if splits.height:
            ex_date: date = splits.sort("ex_date").item(0, "ex_date")
            return (
                f"{position['ticker']} split on {ex_date}, after the opening: "
                "the strike is not the contract's any more, close it by hand"
            )
    if close is None:
        return f"no close of {position['ticker']} on {session}"
    return None
