"""The universal snapshot (``/v3/snapshot``): stocks and indices of one request, side by side."""

from __future__ import annotations

from tracker_dagster.marketsim.server.market_status import state_at
from tracker_dagster.marketsim.server.snapshots import index_row, stock_row
from tracker_dagster.marketsim.server.wire import (
    Call,
    Page,
    Row,
    bad_request,
    listing,
    not_entitled,
    number,
    page_of,
    resume,
)

#: The vendor's words for the states of the market.
_STATES = {"open": "open", "extended-hours": "late_trading", "closed": "closed"}


def _universal_stock(call: Call, ticker: str) -> Row:
    """A stock in the universal layout, from the same bars as the older snapshot."""
    if not call.sim.world.has_stock(ticker):
        return {"ticker": ticker, "error": "NOT_FOUND", "message": "Ticker not found."}
    old = stock_row(call, ticker)
    day, minute, before = old["day"], old["min"], old["prevDay"]
    body: Row = {
        "ticker": ticker,
        "type": "stocks",
        "market_status": _STATES[state_at(call.now)],
        "session": {
            "change": old["todaysChange"],
            "change_percent": old["todaysChangePerc"],
            "previous_close": before["c"],
            "last_updated": old["updated"],
        },
    }
    if minute["t"]:
        body["session"] |= {
            "open": day["o"],
            "high": day["h"],
            "low": day["l"],
            "close": day["c"],
            "price": minute["c"],
            "volume": int(day["v"]),
            "decimal_volume": str(number(day["v"], 6)),
        }
        body["last_minute"] = {
            "open": minute["o"],
            "high": minute["h"],
            "low": minute["l"],
            "close": minute["c"],
            "transactions": minute["n"],
            "volume": int(minute["v"]),
            "vwap": minute["vw"],
            "last_updated": minute["t"] * 1_000_000,
        }
    if trade := old.get("lastTrade"):
        body["last_trade"] = {
            "id": trade["i"],
            "price": trade["p"],
            "size": trade["s"],
            "decimal_size": f"{trade['s']}.0",
            "exchange": trade["x"],
            "conditions": trade["c"],
            "sip_timestamp": trade["t"],
            "timeframe": call.sim.plan.timeframe,
        }
    if quote := old.get("lastQuote"):
        body["last_quote"] = {
            "bid": quote["p"],
            "bid_size": quote["s"],
            "ask": quote["P"],
            "ask_size": quote["S"],
            "last_updated": quote["t"],
            "timeframe": call.sim.plan.timeframe,
        }
    return body


def universal(call: Call) -> Row:
    """``/v3/snapshot?ticker.any_of=…``; an unknown ticker is an element with an error."""
    offset = resume(call)
    size = call.limit(10, 250)
    if not call.sim.plan.snapshots:
        raise not_entitled()
    asked = call.text("ticker.any_of")
    names = call.sim.world.stock_tickers if asked is None else sorted(set(asked.split(",")))
    if asked is not None and len(names) > 250:
        raise bad_request("ticker.any_of must have at most 250 tickers.")
    page = page_of(call, [{"ticker": name} for name in names], offset, size)
    rows = [
        index_row(call, row["ticker"])
        if row["ticker"].startswith("I:")
        else _universal_stock(call, row["ticker"])
        for row in page.rows
    ]
    return listing(call, Page(rows, page.next_url))
