"""Snapshots of stocks and indices at the visible moment."""

from __future__ import annotations

from datetime import date, timedelta

from tracker_dagster.marketsim.server.market_status import state_at
from tracker_dagster.marketsim.server.wire import (
    Call,
    Page,
    Row,
    bad_request,
    field_filter,
    listing,
    nanoseconds,
    not_entitled,
    not_found,
    number,
    page_of,
    resume,
)
from tracker_dagster.marketsim.world.minutes import MINUTE_NS, Bars
from tracker_dagster.marketsim.world.securities import INDICES
from tracker_dagster.trading_calendar import EASTERN, is_session, previous_session

_NO_BAR = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0, "vw": 0}


def _object(bar: Bars | None) -> Row:
    if bar is None or not len(bar):
        return dict(_NO_BAR)
    mean = (bar.open[0] + bar.high[0] + bar.low[0] + bar.close[0]) / 4
    return {
        "o": number(bar.open[0]),
        "h": number(bar.high[0]),
        "l": number(bar.low[0]),
        "c": number(bar.close[0]),
        "v": number(bar.volume[0], 6),
        "vw": number(mean),
    }


def _days(call: Call) -> tuple[date | None, date]:
    """(the session of today, or None on a day off; the session before today)."""
    day = call.visible_until.astimezone(EASTERN).date()
    return (day if is_session(day) else None), previous_session(day)


def stock_row(call: Call, ticker: str) -> Row:
    """One stock as the older snapshot (``/v2``) lays it out."""
    world, until = call.sim.world, call.visible_until
    today, before = _days(call)
    previous = world.day_bar(ticker, before)
    assert previous is not None
    previous = previous.scaled(world.split_factor(ticker, before, call.today))
    close_before = float(previous.close[0])
    bars = world.minute_bars(ticker, today) if today is not None else Bars.concatenate([])
    bars = bars.take(bars.start + MINUTE_NS <= int(until.timestamp()) * 1_000_000_000)
    body: Row = {
        "ticker": ticker,
        "todaysChange": 0,
        "todaysChangePerc": 0,
        "updated": nanoseconds(until),
        "day": dict(_NO_BAR),
        "min": {"t": 0, "n": 0, "av": 0, **_NO_BAR},
        "prevDay": _object(previous),
    }
    if not len(bars) or today is None:
        return body
    last = bars.take(slice(len(bars) - 1, len(bars)))
    price = float(last.close[0])
    body["todaysChange"] = number(price - close_before)
    body["todaysChangePerc"] = number(100 * (price / close_before - 1))
    body["updated"] = int(last.start[0]) + MINUTE_NS
    body["day"] = _object(world.day_bar(ticker, today, until))
    body["min"] = {
        "av": number(bars.volume.sum(), 6),
        "t": int(last.start[0]) // 1_000_000,
        "n": int(last.transactions[0]),
        **_object(last),
    }
    if call.sim.plan.trades:
        body["lastTrade"] = {
            "c": [14, 41],
            "i": str(int(last.transactions[0]) + 52_983_525_000_000),
            "p": number(price),
            "s": 100,
            "t": int(last.start[0]) + MINUTE_NS - 41_000_000,
            "x": 4,
        }
    if call.sim.plan.quotes:
        tick = 0.01 if price >= 1 else 0.0001
        half = max(tick, round(price * 0.00006 / tick) * tick)
        body["lastQuote"] = {
            "P": number(price + half),
            "S": 200,
            "p": number(price - half),
            "s": 300,
            "t": int(last.start[0]) + MINUTE_NS - 3_000_000,
        }
    return body


def stocks(call: Call) -> Row:
    """``/v2/snapshot/locale/us/markets/stocks/tickers``: all, or ``?tickers=A,B``."""
    if not call.sim.plan.snapshots:
        raise not_entitled()
    world = call.sim.world
    asked = call.text("tickers")
    names = world.stock_tickers if asked is None else sorted(set(asked.split(",")))
    rows = [stock_row(call, ticker) for ticker in names if world.has_stock(ticker)]
    return {
        "status": call.sim.plan.aggregate_status,
        "request_id": call.request_id,
        "count": len(rows),
        "tickers": rows,
    }


def stock(call: Call) -> Row:
    """``/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}``."""
    if not call.sim.plan.snapshots:
        raise not_entitled()
    ticker = call.request.path_params["ticker"]
    if not call.sim.world.has_stock(ticker):
        raise not_found("Ticker not found.")
    return {
        "status": call.sim.plan.aggregate_status,
        "request_id": call.request_id,
        "ticker": stock_row(call, ticker),
    }


def index_row(call: Call, symbol: str) -> Row:
    """One index, or the vendor's error element for an unknown one."""
    name = symbol.removeprefix("I:")
    if not symbol.startswith("I:") or name not in INDICES:
        return {"ticker": symbol, "error": "NOT_FOUND", "message": "Ticker not found."}
    world, until = call.sim.world, call.visible_until
    today, before = _days(call)
    bar = world.day_bar(symbol, today, until) if today is not None else None
    if bar is None:
        # Before the opening bell the session shown is still the one before.
        before, today = previous_session(before), before
        bar = world.day_bar(symbol, today)
    previous = world.day_bar(symbol, before)
    assert bar is not None
    assert previous is not None
    value, close_before = float(bar.close[0]), float(previous.close[0])
    state = state_at(call.now)
    return {
        "ticker": symbol,
        "name": INDICES[name].name,
        "type": "indices",
        "value": number(value),
        "session": {
            "change": number(value - close_before),
            "change_percent": number(100 * (value / close_before - 1), 3),
            "close": number(value),
            "high": number(bar.high[0]),
            "low": number(bar.low[0]),
            "open": number(bar.open[0]),
            "previous_close": number(close_before),
        },
        "market_status": "regular_trading" if state == "open" else "closed",
        "last_updated": nanoseconds(until - timedelta(seconds=1)),
        "timeframe": call.sim.plan.timeframe,
    }


def indices(call: Call) -> Row:
    """``/v3/snapshot/indices``; an unknown ticker is an element with an error, inside a 200."""
    offset = resume(call)
    size = call.limit(10, 250)
    if not call.sim.plan.snapshots:
        raise not_entitled()
    asked = call.text("ticker.any_of")
    if asked is not None:
        names = list(dict.fromkeys(asked.split(",")))
        if len(names) > 250:
            raise bad_request("ticker.any_of must have at most 250 tickers.")
    elif (one := call.text("ticker")) is not None:
        names = [one]
    else:
        test = field_filter(call, "ticker")
        names = [f"I:{name}" for name in sorted(INDICES) if test(f"I:{name}")]
    names.sort(reverse=call.text("order") == "desc")
    page: Page = page_of(call, [{"ticker": name} for name in names], offset, size)
    rows = [index_row(call, row["ticker"]) for row in page.rows]
    return listing(call, Page(rows, page.next_url))
