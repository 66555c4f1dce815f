"""Health of open positions at a slot: prices, triggers, anomalies, P&L, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.returns import adjust_for_splits
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.strategy.known import daily_bars, known_at
from tracker_dagster.strategy.settings import HealthSettings

_COPIED = (
    "position_id", "account", "symbol", "ticker", "expiry", "right", "strike", "quantity", "shares",
)  # fmt: skip


def contract_health(
    positions: pl.DataFrame,
    prices: pl.DataFrame,
    chain: pl.DataFrame,
    bars: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    structure: pl.DataFrame,
    day: date,
    slot: datetime,
    settings: HealthSettings | None = None,
    inputs: Mapping[str, object] | None = None,
) -> pl.DataFrame:
    """Rows of contract_health, one an open position.

    Mended against the rules this follows (weekly tracker, section 6.2): P&L is in dollars with
    shares and quantity, premiums being per share, and less the fees paid; closing early asks for a
    share of the premium captured at the ask or little yield left, which can happen, instead of a
    quote far under intrinsic value, which is bad data; assignment is not assumed far out of the
    money.

    Args:
        positions: rows of positions; others than OPEN are ignored.
        prices: rows of market_last of ``day``; each ticker's latest slot up to ``slot`` counts.
        chain: rows of option_chain of ``day``; a contract's latest slot up to ``slot`` counts.
        bars: rows of stock_day_aggs of at least the session before.
        corporate_actions: rows of corporate_actions known on ``day``, or None.
        structure: rows of structure_features.
        day: session.
        slot: instant of the check; later rows are ignored.
        settings: triggers; defaults when None.
        inputs: identities of what was read.
    """
    settings = settings or HealthSettings()
    held = positions.filter(pl.col("status") == "OPEN")
    if held.is_empty():
        return CONTRACT_HEALTH.empty()
    quotes = known_at(chain, slot, day).filter(pl.col("trade_date") == day)
    last_quote = _latest(quotes, "symbol", "slot")
    last_price = _latest(
        known_at(prices, slot, day).filter(pl.col("trade_date") == day), "ticker", "slot"
    )
    before = _closes_before(bars, corporate_actions, day, slot)
    gates = _latest(known_at(structure, slot, day), "ticker", "trade_date")
    splits = _splits(corporate_actions, slot, day)
    rows = []
    for position in held.sort("position_id").iter_rows(named=True):
        ticker = position["ticker"]
        quote = last_quote.get(position["symbol"])
        price = last_price.get(ticker) or {}
        view = _measure(position, price, quote, before.get(ticker), day)
        view["anomalies"] = _anomalies(position, price, quote, view, splits, day, slot, settings)
        view.update(_triggers(position, view, settings))
        view["roll"] = _roll(position, quote, quotes, settings)
        recommendation, reasons = recommend(position, view, settings)
        structure_row = gates.get(ticker, {})
        roll_symbol, roll_credit = view.pop("roll")
        rows.append(
            {
                **{name: position[name] for name in _COPIED},
                **view,
                "anomalies": json.dumps(view["anomalies"]),
                "recommendation": recommendation,
                "reasons": json.dumps(reasons),
                "roll_symbol": roll_symbol,
                "roll_credit": roll_credit,
                "fft_status": structure_row.get("fft_status"),
                "fractal_status": structure_row.get("fractal_status"),
            }
        )
    return CONTRACT_HEALTH.conform(
        pl.DataFrame(rows, infer_schema_length=None),
        trade_date=day,
        slot=slot,
        available_at=slot,
        inputs=json.dumps(dict(inputs or {}), sort_keys=True, default=str),
    )


def _latest(frame: pl.DataFrame, key: str, order: str) -> dict[str, dict[str, Any]]:
    rows = frame.sort(key, order).unique(key, keep="last", maintain_order=True)
    return {row[key]: row for row in rows.iter_rows(named=True)}


def _closes_before(
    bars: pl.DataFrame, actions: pl.DataFrame | None, day: date, slot: datetime
) -> dict[str, float]:
    session = trading_calendar.previous_session(day)
    rows = daily_bars(bars, slot, day, before=day).filter(pl.col("trade_date") == session)
    if actions is not None:
        rows = adjust_for_splits(rows, known_at(actions, slot, day), day)
    return dict(rows.select("ticker", "close").iter_rows())


def _splits(actions: pl.DataFrame | None, slot: datetime, day: date) -> dict[str, list[date]]:
    if actions is None:
        return {}
    rows = known_at(actions, slot, day).filter(
        (pl.col("action") == "split") & (pl.col("ex_date") <= day)
    )
    found: dict[str, list[date]] = {}
    for ticker, ex_date in rows.select("ticker", "ex_date").unique().sort("ex_date").iter_rows():
        found.setdefault(ticker, []).append(ex_date)
    return found


def _measure(
    position: Mapping[str, Any],
    price: Mapping[str, Any],
    quote: Mapping[str, Any] | None,
    close_before: float | None,
    day: date,
) -> dict[str, Any]:
    """Prices of the position and what follows from them; null where an input is."""
    stock = price.get("price")
    quote = quote or {}
    bid, ask = quote.get("bid"), quote.get("ask")
    mid: float | None = quote.get("mid")
    strike, quantity = position["strike"], position["quantity"]
    dollars = position["shares"] * quantity
    dte = (position["expiry"] - day).days
    sold = quantity < 0
    basis = position["stock_basis"]
    fees = position["fees"]
    option_pnl = (
        None if mid is None or fees is None else (mid - position["open_price"]) * dollars - fees
    )
    has_stock_leg = position["right"] == "C" and sold
    stock_pnl = (
        None if stock is None or basis is None or not has_stock_leg else (basis - stock) * dollars
    )
    if has_stock_leg:
        total = None if option_pnl is None or stock_pnl is None else option_pnl + stock_pnl
    else:
        total = option_pnl
    left = ask if sold else bid
    return {
        "stock_price": stock,
        "bid": bid,
        "ask": ask,
        "mid": mid,
        "spread_pct": None if bid is None or ask is None or mid is None else (ask - bid) / mid,
        "dte": dte,
        "moneyness": None if stock is None else stock / strike - 1,
        "premium_captured": None
        if mid is None or not sold or not position["open_price"]
        else 1 - mid / position["open_price"],
        "remaining_yield": None
        if left is None or stock is None or dte <= 0 or not sold
        else left / stock * 365 / dte,
        "day_change": None if stock is None or not close_before else stock / close_before - 1,
        "option_pnl": option_pnl,
        "stock_pnl": stock_pnl,
        "total_pnl": total,
    }


def _triggers(
    position: Mapping[str, Any], view: Mapping[str, Any], settings: HealthSettings
) -> dict[str, bool | None]:
    moneyness, change = view["moneyness"], view["day_change"]
    inside = None if moneyness is None else moneyness * (1 if position["right"] == "C" else -1)
    return {
        "near_strike": None if moneyness is None else abs(moneyness) < settings.near_strike,
        "deep_itm": None if inside is None else inside > settings.deep_itm,
        "rapid_up": None if change is None else change > settings.rapid_up,
    }


def _anomalies(
    position: Mapping[str, Any],
    price: Mapping[str, Any],
    quote: Mapping[str, Any] | None,
    view: Mapping[str, Any],
    splits: Mapping[str, list[date]],
    day: date,
    slot: datetime,
    settings: HealthSettings,
) -> list[str]:
    found = []
    stock, mid = view["stock_price"], view["mid"]
    if stock is None:
        found.append("no_stock_price")
    elif _older(price.get("price_at"), slot, settings.max_price_age_minutes):
        found.append("stale_stock_price")
    if quote is None:
        found.append("contract_not_in_chain")
    elif mid is None:
        found.append(f"quote_{quote['quote_status'].lower()}")
    elif _older(quote.get("quote_at"), slot, settings.max_quote_age_minutes):
        found.append("stale_quote")
    if quote is not None and quote.get("is_standard") is False:
        found.append("adjusted_contract")
    if stock is not None and mid is not None:
        gap = stock - position["strike"]
        intrinsic = max(0.0, gap if position["right"] == "C" else -gap)
        if mid < intrinsic - settings.time_value_slack:
            found.append("mid_below_intrinsic")
    if position["expiry"] < day:
        found.append("expired_but_open")
    opened = trading_calendar.trading_date(position["opened_at"])
    if any(opened < ex_date <= day for ex_date in splits.get(position["ticker"], [])):
        found.append("split_since_opening")
    return found


def _older(moment: datetime | None, now: datetime, minutes: float) -> bool:
    return moment is not None and now - moment > timedelta(minutes=minutes)


def _roll(
    position: Mapping[str, Any],
    quote: Mapping[str, Any] | None,
    quotes: pl.DataFrame,
    settings: HealthSettings,
) -> tuple[str | None, float | None]:
    """The same strike at the next weekly expiry and its net credit in dollars, or nothing.

    Bought back at the ask, sold again at the bid.
    """
    if quote is None or quote["ask"] is None or position["quantity"] >= 0:
        return None, None
    target = trading_calendar.weekly_expiry(position["expiry"])
    rows = quotes.filter(
        (pl.col("underlying") == position["ticker"])
        & (pl.col("right") == position["right"])
        & (pl.col("strike") == position["strike"])
        & (pl.col("expiry") == target)
        & pl.col("is_standard")
        & (pl.col("quote_status") == "OK")
        & ((pl.col("ask") - pl.col("bid")) / pl.col("mid") <= settings.max_spread)
    ).sort("slot", "symbol")
    if rows.is_empty():
        return None, None
    best = rows.row(-1, named=True)
    credit = (best["bid"] - quote["ask"]) * position["shares"] * -position["quantity"]
    return best["symbol"], round(credit, 2)


def recommend(
    position: Mapping[str, Any], view: Mapping[str, Any], settings: HealthSettings
) -> tuple[str, list[str]]:
    """What to do with a position, and why.

    In order: data that cannot be trusted; a premium captured, or hardly any yield left, at what
    closing really costs; a spread too wide to trade on; a threatened call near its expiry that
    rolls for a credit; else hold.
    """
    if view["anomalies"]:
        return "HOLD_DATA_ISSUE", list(view["anomalies"])
    if position["quantity"] > 0:
        return "HOLD_TO_ASSIGN", ["bought, not sold: no rule applies"]
    captured = 1 - view["ask"] / position["open_price"] if position["open_price"] else None
    inside = view["moneyness"] * (1 if position["right"] == "C" else -1)
    if captured is not None and view["dte"] > 0:
        if captured >= settings.close_captured:
            return "CLOSE_EARLY", [f"{captured:.0%} of the premium is captured at the ask"]
        yield_left = view["remaining_yield"]
        if inside < 0 < captured and yield_left is not None and yield_left < settings.close_yield:
            return "CLOSE_EARLY", [f"only {yield_left:.1%} a year is left to earn"]
    if view["spread_pct"] > settings.max_spread:
        return "HOLD_WIDE_SPREAD", [f"spread is {view['spread_pct']:.0%} of the mid"]
    threatened = inside > 0 or view["near_strike"]
    if threatened and view["dte"] <= settings.roll_dte:
        symbol, credit = view["roll"]
        if credit is not None and credit > 0:
            return "ROLL_OUT", [f"{symbol} brings a net credit of {credit:.2f} USD"]
        why = (
            "no tradable contract to roll to"
            if symbol is None
            else f"rolling costs {-credit:.2f} USD"
        )
        return "HOLD_TO_ASSIGN", ["near or in the money close to expiry", why]
    return "HOLD_TO_ASSIGN", ["no trigger asks for anything"]
