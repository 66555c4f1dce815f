"""What became of a position: its result, its shares alone over the same span, what was predicted.

A covered call is judged with its shares, whether they were sold or not: a week in which the stock
fell by more than the premium is a loss. What the call itself added is ``option_result``, which is
the difference to holding the shares alone, and what ``expected_value_100`` was a forecast of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.dividends import is_foreign
from tracker_dagster.schemas.outcomes import OUTCOMES

Row = dict[str, Any]
_PICK = (
    "decision_at", "symbol", "basis", "lane", "rank", "price", "expected_value_100",
    "est_weekly_prem_100",
)  # fmt: skip
#: Contracts of a pick's numbers: they are for 100 shares.
_PICK_SHARES = 100.0
#: Where a price is from that was made after the moment it stands for.
LATER_CLOSE = "close of the session, later that day"


def outcomes(
    ended: pl.DataFrame,
    picks: pl.DataFrame,
    closes: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    prices: pl.DataFrame,
    day: date,
) -> pl.DataFrame:
    """Rows of outcomes, one a position.

    Args:
        ended: rows of `ledger.endings.ended_positions` of the session.
        picks: rows of weekly_picks of the decisions that they were opened on.
        closes: ``ticker``, ``trade_date``, ``close`` as traded, from the first opening to the
            last end, as known when the day file of ``day`` is published; indices among them. The
            close of ``day`` itself serves only where no other price does.
        corporate_actions: rows of corporate_actions of the same days; None where unknown.
        prices: ``ticker``, ``trade_date``, ``price`` of the decision slots of the same days, for
            ends within a session.
        day: session that counts with the ends.
    """
    if ended.is_empty():
        return OUTCOMES.empty()
    market = _Market(closes, corporate_actions, prices)
    of_decision = {
        (row["decision_at"], row["symbol"]): row
        for row in picks.filter(pl.col("status") == "picked")
        .select(_PICK)
        .sort("basis", descending=True)
        .iter_rows(named=True)
    }
    rows = [
        _outcome(position, of_decision.get((position["decision_at"], position["symbol"])), market)
        for position in ended.sort("position_id").iter_rows(named=True)
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    # What rests on the close of the day itself could be known only when that was published.
    waited = ((pl.col("ended_on") == day) & pl.col("exit_source").eq_missing(LATER_CLOSE)) | (
        (pl.col("opened_on") == day) & pl.col("entry_source").eq_missing(LATER_CLOSE)
    )
    known = (
        pl.when(waited)
        .then(pl.lit(trading_calendar.day_file_available_at(day)))
        .otherwise(pl.lit(trading_calendar.decision_time(day)))
    )
    return OUTCOMES.conform(frame.with_columns(available_at=known), trade_date=day)


class _Market:
    """Prices of stocks over the spans, by ticker and session."""

    def __init__(
        self, closes: pl.DataFrame, actions: pl.DataFrame | None, prices: pl.DataFrame
    ) -> None:
        self.closes = _by_session(closes, "close")
        self.prices = _by_session(prices, "price")
        self.actions = None
        if actions is not None:
            # The calendar of each session repeats what is ahead; an action counts once, as it
            # was known last.
            once = actions.sort("trade_date").unique(
                ["ticker", "action", "action_id"], keep="last", maintain_order=True
            )
            self.actions = once.sort("ticker", "ex_date", "action_id").with_columns(
                is_foreign=is_foreign()
            )

    def splits(self, ticker: str, first: date, last: date) -> list[date]:
        """Ex-dates of splits after ``first``, up to ``last``."""
        return [row["ex_date"] for row in self._of(ticker, "split", first, last)]

    def dividends(self, ticker: str, first: date, last: date) -> tuple[float | None, str]:
        """Dollars a share with ex-dates after ``first``, up to ``last``, or why not known."""
        if self.actions is None:
            return None, "corporate actions are not known; none are counted"
        paid = self._of(ticker, "dividend", first, last)
        for row in paid:
            if row["is_foreign"]:
                return None, f"the dividend of {row['ex_date']} is not paid in US dollars"
        return float(sum(row["cash_amount"] or 0.0 for row in paid)), ""

    def _of(self, ticker: str, action: str, first: date, last: date) -> list[Row]:
        if self.actions is None:
            return []
        return self.actions.filter(
            (pl.col("ticker") == ticker)
            & (pl.col("action") == action)
            & (pl.col("ex_date") > first)
            & (pl.col("ex_date") <= last)
        ).to_dicts()

    def near(self, ticker: str, moment: datetime) -> tuple[float | None, str]:
        """The stock's price at ``moment``, and where it is from: only the bell has its own."""
        session = _session(moment)
        close = self.closes.get((ticker, session))
        if moment >= trading_calendar.session_on(session).close and close is not None:
            return close, "close of the session"
        price = self.prices.get((ticker, session))
        if price is not None:
            return price, "price at the session's decision time"
        if close is not None:
            return close, LATER_CLOSE
        return None, f"no price of {ticker} on {session}"


def _by_session(frame: pl.DataFrame, value: str) -> dict[tuple[str, date], float]:
    rows = frame.drop_nulls(value).select("ticker", "trade_date", value).iter_rows()
    return {(ticker, session): number for ticker, session, number in rows}


def _session(moment: datetime) -> date:
    return trading_calendar.session_or_previous(trading_calendar.trading_date(moment))


def _outcome(position: Row, pick: Row | None, market: _Market) -> Row:
    contracts, shares = abs(position["quantity"]), position["shares"]
    is_covered = (
        position["right"] == "C"
        and position["quantity"] < 0
        and position["stock_source"] is not None
    )
    opened_on, ended_on = _session(position["opened_at"]), _session(position["closed_at"])
    reasons: dict[str, str] = {}
    entry, entry_source = _entry(position, pick, market)
    exit_, exit_source = _exit(position, market)
    splits = market.splits(position["ticker"], opened_on, ended_on)
    row: Row = {
        **{name: position[name] for name in (
            "position_id", "account", "symbol", "ticker", "right", "expiry", "strike", "quantity",
            "status", "opened_at", "realised_pnl", "decision_at",
        )},
        "ended_at": position["closed_at"],
        "is_covered": is_covered,
        "opened_on": opened_on,
        "ended_on": ended_on,
        "entry_price": entry,
        "entry_source": None if entry is None else entry_source,
        "exit_price": exit_,
        "exit_source": None if exit_ is None else exit_source,
        "premium": -position["quantity"] * shares * position["open_price"],
    }  # fmt: skip
    if entry is None:
        reasons["entry_price"] = entry_source
    if exit_ is None:
        reasons["exit_price"] = exit_source
    if position["realised_pnl"] is None:
        reasons["realised_pnl"] = "what leaving shares had cost or brought is not known"
    row |= _results(row, position, contracts * shares, splits, market, reasons)
    row |= _extremes(row, splits, market, reasons)
    row |= _predictions(row, pick, contracts * shares / _PICK_SHARES, reasons)
    row["reasons"] = json.dumps(reasons, sort_keys=True)
    return row


def _entry(position: Row, pick: Row | None, market: _Market) -> tuple[float | None, str]:
    """Price of the stock when the position began, and where it is from, or why it is not known."""
    # A roll hands on what the shares had cost at first, which is not their price at its moment.
    if position["stock_source"] == "bought" and position["rolled_from"] is None:
        return position["stock_basis"], "cost of the shares bought with it"
    if pick is not None and pick["price"] is not None:
        return pick["price"], "price of the pick"
    return market.near(position["ticker"], position["opened_at"])


def _exit(position: Row, market: _Market) -> tuple[float | None, str]:
    delivered = -position["quantity"] * position["shares"]
    sold = position["stock_cash"]
    if position["stock_source"] == "bought" and sold and position["status"] != "ASSIGNED":
        return sold / delivered, "sale of the shares"
    return market.near(position["ticker"], position["closed_at"])


def _results(
    row: Row, position: Row, shares: float, splits: list[date], market: _Market,
    reasons: dict[str, str],
) -> Row:  # fmt: skip
    entry, exit_ = row["entry_price"], row["exit_price"]
    found: Row = {
        "cost": None, "option_result": None, "dividends": None, "buy_hold_pnl": None,
        "position_result": None, "versus_hold": None, "hit": None, "beat_hold": None,
    }  # fmt: skip
    if row["right"] == "P":
        found["cost"] = shares * row["strike"]
    elif entry is not None:
        found["cost"] = shares * entry
    if position["status"] != "ASSIGNED":
        found["option_result"] = position["option_cash"]
    elif exit_ is not None:
        inside = exit_ - row["strike"] if row["right"] == "C" else row["strike"] - exit_
        worth = position["quantity"] * position["shares"] * max(inside, 0.0)
        found["option_result"] = position["option_cash"] + worth
    else:
        reasons["option_result"] = "what it was worth at its assignment is not known"
    dividends, why = market.dividends(row["ticker"], row["opened_on"], row["ended_on"])
    if dividends is None:
        reasons["dividends"] = why
    else:
        found["dividends"] = dividends * shares
    if splits:
        reasons["buy_hold_pnl"] = f"split on {splits[0]}"
    elif entry is None or exit_ is None:
        reasons["buy_hold_pnl"] = "a price of the stock is not known"
    elif dividends is None and market.actions is not None:
        reasons["buy_hold_pnl"] = why
    else:
        found["buy_hold_pnl"] = shares * (exit_ - entry) + (found["dividends"] or 0.0)
    option, hold = found["option_result"], found["buy_hold_pnl"]
    if option is not None and not (row["is_covered"] and hold is None):
        found["position_result"] = option + (hold if row["is_covered"] else 0.0)
        found["hit"] = found["position_result"] > 0
    if found["position_result"] is not None and hold is not None:
        found["versus_hold"] = found["position_result"] - hold
        found["beat_hold"] = found["versus_hold"] > 0
    for name in ("position_result", "versus_hold"):
        if found[name] is None:
            reasons[name] = reasons.get("option_result") or reasons["buy_hold_pnl"]
    return found


def _extremes(row: Row, splits: list[date], market: _Market, reasons: dict[str, str]) -> Row:
    """How far the stock's closes rose and fell from the entry while the position was open."""
    sessions = [
        session
        for session in trading_calendar.sessions_between(row["opened_on"], row["ended_on"])
        if row["opened_at"] <= trading_calendar.session_on(session).close <= row["ended_at"]
    ]
    closes = [market.closes.get((row["ticker"], session)) for session in sessions]
    known = [close for close in closes if close is not None]
    why = None
    if splits:
        why = f"split on {splits[0]}"
    elif row["entry_price"] is None:
        why = "the entry price is not known"
    elif len(known) < len(closes):
        why = f"{len(closes) - len(known)} of {len(closes)} closes are not known"
    elif not known:
        why = "no session closed while it was open"
    if why is not None:
        reasons["max_favourable"] = reasons["max_adverse"] = why
        return {"max_favourable": None, "max_adverse": None}
    return {
        "max_favourable": max(known) / row["entry_price"] - 1,
        "max_adverse": min(known) / row["entry_price"] - 1,
    }


def _predictions(
    row: Row, pick: Mapping[str, Any] | None, packs: float, reasons: dict[str, str]
) -> Row:
    names = ("predicted_result", "prediction_error", "predicted_premium", "premium_error")
    found: Row = dict.fromkeys(names)
    if pick is None:
        reasons.update(dict.fromkeys(names, "it was not opened on a pick"))
        return {**found, "decision_at": None, "basis": None, "lane": None, "rank": None}
    found |= {name: pick[name] for name in ("basis", "lane", "rank")}
    if pick["expected_value_100"] is None:
        why = "the pick had no expected value"
        reasons["predicted_result"] = reasons["prediction_error"] = why
    else:
        found["predicted_result"] = packs * pick["expected_value_100"]
        if row["option_result"] is not None:
            found["prediction_error"] = row["option_result"] - found["predicted_result"]
        else:
            reasons["prediction_error"] = reasons["option_result"]
    found["predicted_premium"] = packs * pick["est_weekly_prem_100"]
    found["premium_error"] = row["premium"] - found["predicted_premium"]
    return found
