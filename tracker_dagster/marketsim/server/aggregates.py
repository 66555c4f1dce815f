"""Aggregate bars over REST: ranges, the previous day, and the whole market of a day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any

import numpy as np

from tracker_dagster.marketsim.server.option_symbols import find_contract
from tracker_dagster.marketsim.server.wire import (
    TIMEFRAME_MESSAGE,
    Call,
    Row,
    bad_request,
    decode_cursor,
    encode_cursor,
    not_entitled,
    number,
    parse_day,
)
from tracker_dagster.marketsim.world import tape as tapes
from tracker_dagster.marketsim.world.minutes import MINUTE_NS, Bars, midnight_ns
from tracker_dagster.marketsim.world.securities import INDICES
from tracker_dagster.trading_calendar import (
    EASTERN,
    first_session,
    is_session,
    last_session,
    session_on,
    sessions_between,
)

_SUB_DAY = {"minute": 1, "hour": 60}
_DAILY = ("day", "week", "month", "quarter", "year")
_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Range:
    ticker: str
    multiplier: int
    timespan: str
    first: int  # ns, included
    last: int  # ns, included
    descending: bool
    limit: int
    adjusted: bool


@dataclass(frozen=True, slots=True)
class _Window:
    start: int  # ns
    open: float
    high: float
    low: float
    close: float
    volume: float
    transactions: int
    vwap: float


def aggregates(call: Call) -> Row:
    """``/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{from}/{to}``."""
    asked = _parse(call)
    _check_history(call, asked)
    base = _base_bars(call, asked)
    rows, queried, rest = _windows(asked, base)
    is_index = asked.ticker.startswith("I:")
    results = [_row(bar, is_index) for bar in rows]
    body: Row = {
        "ticker": asked.ticker,
        "queryCount": queried,
        "resultsCount": len(results),
        "adjusted": asked.adjusted,
    }
    if is_index:
        del body["adjusted"]
    if results:
        body["results"] = results
    body |= {"status": call.sim.plan.aggregate_status, "request_id": call.request_id}
    if results:
        body["count"] = len(results)
    if rest is not None:
        body["next_url"] = _next_url(call, asked, rest)
    return body


def _parse(call: Call) -> _Range:
    parts = call.request.path_params
    if "cursor" in call.params:
        call.params = decode_cursor(call.params["cursor"])
    try:
        multiplier = int(parts["multiplier"])
    except ValueError:
        raise bad_request("Could not parse the parameter: 'multiplier'.") from None
    timespan = parts["timespan"]
    if multiplier < 1 or timespan not in (*_SUB_DAY, *_DAILY, "second"):
        raise bad_request("Invalid multiplier or timespan.")
    first = _instant(parts["first"], "from", end=False)
    last = _instant(parts["last"], "to", end=True)
    if last < first:
        raise bad_request("The parameter 'to' cannot be a time that occurs before 'from'")
    order = call.text("sort", "asc")
    if order not in ("asc", "desc"):
        raise bad_request("sort must be asc or desc.")
    return _Range(
        parts["ticker"],
        multiplier,
        timespan,
        first,
        last,
        order == "desc",
        call.limit(5000, 50000),
        call.flag("adjusted", True),
    )


def _instant(value: str, name: str, end: bool) -> int:
    if value.lstrip("-").isdigit() and "-" not in value[1:]:
        return int(value) * _NS
    day = parse_day(value, name)
    return midnight_ns(day + timedelta(days=1)) - 1 if end else midnight_ns(day)


def _day(ns: int) -> date:
    try:
        return datetime.fromtimestamp(ns / 1e9, EASTERN).date()
    except (OverflowError, ValueError, OSError):
        raise bad_request("Could not parse the time parameter.") from None


def _check_history(call: Call, asked: _Range) -> None:
    plan = call.sim.plan
    years = plan.option_years if asked.ticker.startswith("O:") else plan.stock_years
    if years is not None and _day(asked.first) < call.today - timedelta(days=round(365.25 * years)):
        raise not_entitled(TIMEFRAME_MESSAGE)
    if plan.end_of_day and _day(asked.last) >= call.today and _day(asked.first) >= call.today:
        raise not_entitled(TIMEFRAME_MESSAGE)


def _base_bars(call: Call, asked: _Range) -> Iterator[Bars]:
    """Base bars session by session in the asked order, cut to the range and what is visible."""
    first = max(_day(asked.first), first_session())
    last = min(_day(asked.last), call.today, last_session())
    if call.sim.plan.end_of_day:
        last = min(last, call.today - timedelta(days=1))
    days = sessions_between(first, last) if first <= last else []
    for day in reversed(days) if asked.descending else days:
        if asked.timespan == "second":
            return
        bars = session_bars(call, asked.ticker, day, asked.timespan in _DAILY, asked.adjusted)
        if bars is None:
            continue
        bars = bars.take((bars.start >= asked.first) & (bars.start <= asked.last))
        if len(bars):
            yield bars


def session_bars(call: Call, ticker: str, day: date, daily: bool, adjusted: bool) -> Bars | None:
    """Visible bars of one session; None for an unknown ticker or without any."""
    world = call.sim.world
    until = call.visible_until
    if ticker.startswith("O:"):
        return _option_bars(call, ticker, day, daily)
    known = ticker[2:] in INDICES if ticker.startswith("I:") else world.has_stock(ticker)
    if not known:
        return None
    if daily:
        bars = world.day_bar(ticker, day, until)
    else:
        bars = world.minute_bars(ticker, day)
        bars = bars.take(bars.start + MINUTE_NS <= int(until.timestamp()) * 1_000_000_000)
    if bars is None or not adjusted or ticker.startswith("I:"):
        return bars
    return bars.scaled(world.split_factor(ticker, day, call.today))


def _option_bars(call: Call, ticker: str, day: date, daily: bool) -> Bars | None:
    found = find_contract(call.sim.chains.listings, ticker)
    if found is None or day.toordinal() > found.expiry.toordinal():
        return None
    tape = call.sim.tapes.contract_tape(found.underlying, ticker, day)
    if tape is None:
        return None
    tape = tape.before(call.sim.tapes.minutes_elapsed(day, call.visible_until))
    bars = tapes.bars(tape, per_minute=not daily)
    return Bars(
        bars.start,
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        bars.volume.astype(np.float64),
        bars.transactions,
    )


@cache
def _window_start(timespan: str, multiplier: int, day: date) -> int:
    if timespan == "week":
        start = day - timedelta(days=(day.weekday() + 1) % 7)
    elif timespan == "month":
        start = day.replace(day=1)
    elif timespan == "quarter":
        start = date(day.year, (day.month - 1) // 3 * 3 + 1, 1)
    elif timespan == "year":
        start = date(day.year, 1, 1)
    else:
        start = day - timedelta(days=day.toordinal() % multiplier) if multiplier > 1 else day
    return midnight_ns(start)


def _keys(asked: _Range, bars: Bars) -> np.ndarray:
    """Start of the window of each base bar."""
    if asked.timespan in _SUB_DAY:
        width = asked.multiplier * _SUB_DAY[asked.timespan] * MINUTE_NS
        midnight = midnight_ns(_day(int(bars.start[0])))
        return np.asarray(midnight + (bars.start - midnight) // width * width)
    if asked.timespan == "day" and asked.multiplier == 1:
        return bars.start
    return np.array(
        [_window_start(asked.timespan, asked.multiplier, _day(int(s))) for s in bars.start]
    )


def _windows(asked: _Range, base: Iterator[Bars]) -> tuple[list[_Window], int, int | None]:
    """(bars, base bars used, start in ns of the first base bar of the next page)."""
    windows: list[tuple[int, list[Bars]]] = []
    used = 0
    for bars in base:
        keys = _keys(asked, bars)
        edges = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        spans = list(zip(edges, [*edges[1:], keys.size], strict=True))
        for start, end in reversed(spans) if asked.descending else spans:
            part, key = bars.take(slice(start, end)), int(keys[start])
            joins = bool(windows) and windows[-1][0] == key
            # A window is never torn over two pages, unless it alone exceeds the limit.
            if used + len(part) > asked.limit and windows and not joins:
                nearest = part.start[-1] if asked.descending else part.start[0]
                return [_merge(w) for w in windows], used, int(nearest)
            if joins:
                windows[-1][1].append(part)
            else:
                windows.append((key, [part]))
            used += len(part)
    return [_merge(w) for w in windows], used, None


def _merge(window: tuple[int, list[Bars]]) -> _Window:
    key, parts = window
    whole = Bars.concatenate(sorted(parts, key=lambda part: int(part.start[0])))
    weight = np.maximum(whole.volume, 1e-9)
    return _Window(
        start=key,
        open=float(whole.open[0]),
        high=float(whole.high.max()),
        low=float(whole.low.min()),
        close=float(whole.close[-1]),
        volume=float(whole.volume.sum()),
        transactions=int(whole.transactions.sum()),
        vwap=float((_typical(whole) * weight).sum() / weight.sum()),
    )


def _typical(bars: Bars) -> Any:
    return (bars.open + bars.high + bars.low + bars.close) / 4


def _row(bar: _Window, is_index: bool) -> Row:
    prices: Row = {
        "c": number(bar.close),
        "h": number(bar.high),
        "l": number(bar.low),
        "o": number(bar.open),
        "t": bar.start // _NS,
    }
    if is_index:
        return prices
    return {
        "v": number(bar.volume, 6),
        "vw": number(bar.vwap),
        **prices,
        "n": bar.transactions,
    }


def _day_row(bars: Bars, is_index: bool) -> Row:
    return _row(_merge((int(bars.start[0]), [bars])), is_index)


def _next_url(call: Call, asked: _Range, rest: int) -> str:
    if call.sim.faults.take(call.path, frozenset({"repeat_cursor"})) is not None:
        rest = asked.first
    first, last = call.request.path_params["first"], call.request.path_params["last"]
    if asked.descending:
        last = str(rest // _NS)
    else:
        first = str(rest // _NS)
    path = (
        f"/v2/aggs/ticker/{asked.ticker}/range/{asked.multiplier}/{asked.timespan}/{first}/{last}"
    )
    return f"{call.base}{path}?cursor={encode_cursor(call.params or {'limit': asked.limit})}"


def previous_close(call: Call) -> Row:
    """``/v2/aggs/ticker/{ticker}/prev``: the bar of the session before the running one."""
    ticker = call.request.path_params["ticker"]
    adjusted = call.flag("adjusted", True)
    days = sessions_between(call.today - timedelta(days=10), call.today - timedelta(days=1))
    results = []
    if days:
        bar = session_bars(call, ticker, days[-1], True, adjusted)
        if bar is not None and len(bar):
            row = _day_row(bar, ticker.startswith("I:"))
            results = [{"T": ticker, **row, "t": _close_ms(days[-1])}]
    body: Row = {
        "ticker": ticker,
        "queryCount": len(results),
        "resultsCount": len(results),
        "adjusted": adjusted,
    }
    if results:
        body["results"] = results
    body |= {"status": "OK", "request_id": call.request_id}
    if results:
        body["count"] = len(results)
    return body


def grouped(call: Call) -> Row:
    """``/v2/aggs/grouped/locale/us/market/stocks/{date}``: every stock's bar of one day."""
    day = parse_day(call.request.path_params["day"], "date")
    adjusted = call.flag("adjusted", True)
    years = call.sim.plan.stock_years
    if years is not None and day < call.today - timedelta(days=round(365.25 * years)):
        raise not_entitled(TIMEFRAME_MESSAGE)
    if call.sim.plan.end_of_day and day >= call.today:
        raise not_entitled(TIMEFRAME_MESSAGE)
    results: list[Row] = []
    if is_session(day) and session_on(day).close <= call.visible_until:
        for ticker in call.sim.world.stock_tickers:
            bar = session_bars(call, ticker, day, True, adjusted)
            if bar is not None and len(bar):
                results.append({"T": ticker, **_day_row(bar, False), "t": _close_ms(day)})
    body: Row = {"queryCount": len(results), "resultsCount": len(results), "adjusted": adjusted}
    if results:
        body["results"] = results
    body |= {"status": call.sim.plan.aggregate_status, "request_id": call.request_id}
    if results:
        body["count"] = len(results)
    return body


def _close_ms(day: date) -> int:
    return int(datetime.combine(day, time(16), EASTERN).timestamp()) * 1000
