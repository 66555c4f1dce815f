"""Calls that their holders exercise before the expiry: proposals for the ledger, no records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.dividends import is_foreign
from tracker_dagster.instruments import INDEX_ROOTS, parse_option_symbol

ASSIGNED, KEPT = "ASSIGNED", "KEPT"

#: Dividends for which the clearing house lowers strikes: nobody need exercise to have them.
ADJUSTED_FOR = ("special",)

EARLY_SCHEMA: dict[str, pl.DataType] = {
    "position_id": pl.String(),
    "account": pl.String(),
    "symbol": pl.String(),
    "ticker": pl.String(),
    "ex_date": pl.Date(),
    "dividend": pl.Float64(),
    "session": pl.Date(),
    "stock_price": pl.Float64(),
    "price_source": pl.String(),
    "given_up": pl.Float64(),
    "outcome": pl.String(),
    "effective_at": pl.Datetime("us", "UTC"),
    "reason": pl.String(),
}


def settle_early(
    positions: pl.DataFrame,
    corporate_actions: pl.DataFrame,
    quotes: pl.DataFrame,
    stock_closes: pl.DataFrame,
    option_closes: pl.DataFrame,
    day: date,
    rate: float | None = None,
) -> pl.DataFrame:
    """Whether calls that were sold were exercised for a dividend, one row a position and ex-date.

    Who holds an American call exercises it, if at all before the expiry, at the close of the
    session before an ex-date, and then where the dividend is worth more than what he gives up: the
    put of the same strike and the interest on the strike, D > P + K (1 - exp(-r T)) (Merton,
    Theory of Rational Option Pricing, 1973; put-call parity of what the call is worth the day
    after). The put's price knows of the dividend. The call's own does, too, so that what it costs
    above its intrinsic value is less than that; it serves where the put is not quoted: nobody
    exercises what somebody bids more for.

    Args:
        positions: rows of positions; only open, sold calls are looked at.
        corporate_actions: rows of corporate_actions: dividends up to ``day``, and splits since the
            positions were opened.
        quotes: rows of option_chain of the calls and of the puts beside them: ``symbol``,
            ``trade_date``, ``slot``, ``bid``, ``ask``, ``mid`` and ``underlying_price``, dollars
            a share; the last slot of a session counts.
        stock_closes: ``ticker``, ``trade_date``, ``close`` as traded.
        option_closes: ``symbol``, ``trade_date``, ``close`` of the puts that traded.
        day: ex-dates up to this session count: who wanted its dividend had to exercise before.
        rate: interest a year, continuous; none is given up when None.

    Returns:
        `EARLY_SCHEMA`, dollars a share; ``outcome`` is ``ASSIGNED``, with the closing bell of the
        session before as ``effective_at``, or ``KEPT``, or null, with a reason, where it cannot
        be told. A position has no row for ex-dates after the first that takes it.
    """
    sold_calls = positions.filter(
        (pl.col("status") == "OPEN") & (pl.col("right") == "C") & (pl.col("quantity") < 0)
    )
    splits = _dates(corporate_actions.filter(pl.col("action") == "split"))
    paid = _dividends(corporate_actions)
    last_quote = _latest(quotes)
    closes = {(row[0], row[1]): row[2] for row in _columns(stock_closes, "ticker")}
    option_close = {(row[0], row[1]): row[2] for row in _columns(option_closes, "symbol")}
    rows = []
    for position in sold_calls.sort("position_id").iter_rows(named=True):
        if parse_option_symbol(position["symbol"]).root in INDEX_ROOTS:
            continue  # European: nobody can exercise before the expiry.
        opened = trading_calendar.trading_date(position["opened_at"])
        last = min(day, position["expiry"])
        for ex_date, dividend in paid.get(position["ticker"], []):
            if not opened < ex_date <= last:
                continue
            session = trading_calendar.previous_session(ex_date)
            symbol, put = position["symbol"], put_beside(position["symbol"])
            interest = position["strike"] * -math.expm1(
                -(rate or 0.0) * (position["expiry"] - session).days / 365
            )
            view = _given_up(
                position["strike"],
                interest,
                last_quote.get((put, session), {}),
                last_quote.get((symbol, session), {}),
                closes.get((position["ticker"], session)),
                option_close.get((put, session)),
            )
            split = [d for d in splits.get(position["ticker"], []) if opened < d <= session]
            row = {
                **{name: position[name] for name in ("position_id", "account", "symbol", "ticker")},
                "ex_date": ex_date,
                "dividend": dividend,
                "session": session,
                "effective_at": max(
                    trading_calendar.session_on(session).close, position["opened_at"]
                ),
                **view,
                "given_up": None if view["given_up"] == math.inf else view["given_up"],
                **_judge(position, dividend, view, split),
            }
            rows.append(row)
            if row["outcome"] == ASSIGNED:
                break
    return pl.DataFrame(rows, schema=EARLY_SCHEMA)


def _dividends(actions: pl.DataFrame) -> dict[str, list[tuple[date, float | None]]]:
    """Cash a share by ticker and ex-date, what goes ex together added up; each paid once.

    None where a part of it is not paid in US dollars.
    """
    cash = actions.filter(
        (pl.col("action") == "dividend")
        & ~pl.col("distribution_type").is_in(ADJUSTED_FOR).fill_null(value=False)
    )
    # A dividend is listed on every session on which it was known: as it was known last.
    once = cash.sort("trade_date").unique(
        ["ticker", "ex_date", "action_id"], keep="last", maintain_order=True
    )
    totals = once.group_by("ticker", "ex_date").agg(
        pl.when(~is_foreign().any()).then(pl.col("cash_amount").sum())
    )
    found: dict[str, list[tuple[date, float | None]]] = {}
    for ticker, ex_date, amount in totals.sort("ticker", "ex_date").iter_rows():
        found.setdefault(ticker, []).append((ex_date, amount))
    return found


def _dates(splits: pl.DataFrame) -> dict[str, list[date]]:
    found: dict[str, list[date]] = {}
    for ticker, ex_date in splits.select("ticker", "ex_date").unique().sort("ex_date").iter_rows():
        found.setdefault(ticker, []).append(ex_date)
    return found


def _latest(quotes: pl.DataFrame) -> dict[tuple[str, date], dict[str, Any]]:
    last = quotes.sort("slot").unique(["symbol", "trade_date"], keep="last", maintain_order=True)
    return {(row["symbol"], row["trade_date"]): row for row in last.iter_rows(named=True)}


def put_beside(call: str) -> str:
    """Symbol of the put with the same root, expiry and strike."""
    return f"{call[:-9]}P{call[-8:]}"


def _columns(closes: pl.DataFrame, name: str) -> list[tuple[Any, ...]]:
    return closes.select(name, "trade_date", "close").rows()


def _given_up(
    strike: float,
    interest: float,
    put: Mapping[str, Any],
    call: Mapping[str, Any],
    stock_close: float | None,
    put_close: float | None,
) -> dict[str, Any]:
    """Prices at the session's end, and what who exercises gives up; null where not known."""
    stock = put.get("underlying_price") or call.get("underlying_price") or stock_close
    value, source = None, None
    if (of_put := _worth(put)) is not None:
        value, source = of_put + interest, "put_quote"
    elif stock is not None and (of_call := _worth(call)) is not None:
        intrinsic = max(0.0, stock - strike)
        bid_more = (call.get("bid") or 0.0) > intrinsic
        value, source = max(0.0, of_call - intrinsic), "call_quote"
        value = math.inf if bid_more else value
    elif put_close is not None:
        value, source = put_close + interest, "put_close"
    return {"stock_price": stock, "price_source": source, "given_up": value}


def _worth(quote: Mapping[str, Any]) -> float | None:
    mid: float | None = quote.get("mid")
    ask: float | None = quote.get("ask")
    if mid is None and ask is not None and quote.get("bid") is None:
        # Nobody bids: what it is worth lies between nothing and the ask.
        return ask / 2
    return mid


def _judge(
    position: Mapping[str, Any],
    dividend: float | None,
    view: Mapping[str, Any],
    splits: list[date],
) -> dict[str, Any]:
    stock, given_up = view["stock_price"], view["given_up"]
    strike = position["strike"]

    def unknown(why: str) -> dict[str, Any]:
        return {"outcome": None, "reason": why}

    if parse_option_symbol(position["symbol"]).is_adjusted:
        return unknown("an adjusted contract: look at it by hand")
    if splits:
        return unknown(f"{position['ticker']} split on {splits[0]}: the strike has changed")
    if stock is None:
        return unknown(f"no price of {position['ticker']} before the ex-date")
    if stock <= strike:
        return {"outcome": KEPT, "reason": f"{strike - stock:.2f} out of the money"}
    if given_up is None:
        return unknown("in the money, and neither its put nor itself is quoted")
    if math.isinf(given_up):
        return {"outcome": KEPT, "reason": "more is bid for it than exercising brings"}
    if dividend is None:
        return unknown("in the money, and its dividend is not paid in US dollars")
    taken = dividend > given_up
    sign = "more than" if taken else "no more than"
    return {
        "outcome": ASSIGNED if taken else KEPT,
        "reason": f"dividend {dividend:.2f} is {sign} the {given_up:.2f} given up by exercising",
    }
