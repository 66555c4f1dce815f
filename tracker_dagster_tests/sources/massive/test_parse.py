from __future__ import annotations

import json
from datetime import UTC, date, datetime

import pytest

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.massive.parse import (
    page_results,
    parse_index_snapshots,
    parse_option_chain,
    parse_stock_snapshots,
)

NS = 1_780_515_901_234_567_891
AT = datetime(2026, 6, 3, 19, 45, 1, 234567, tzinfo=UTC)

FULL = {
    "break_even_price": 171.075,
    "day": {
        "change": 4.5, "change_percent": 6.76, "close": 21.4, "high": 22.49,
        "last_updated": NS, "low": 21.35, "open": 22.49, "previous_close": 20.0,
        "volume": 37, "vwap": 21.6741,
    },
    "details": {
        "contract_type": "call", "exercise_style": "american", "expiration_date": "2026-06-19",
        "shares_per_contract": 100, "strike_price": 150, "ticker": "O:AAPL260619C00150000",
    },
    "greeks": {"delta": 0.55, "gamma": 0.007, "theta": -0.018, "vega": 0.72},
    "implied_volatility": 0.3048,
    "last_quote": {
        "ask": 21.25, "ask_size": 110, "bid": 20.9, "bid_size": 172,
        "last_updated": NS, "midpoint": 21.075, "timeframe": "REAL-TIME",
    },
    "last_trade": {"conditions": [209], "exchange": 316, "price": 21.1, "sip_timestamp": NS,
                   "size": 2, "timeframe": "REAL-TIME"},
    "open_interest": 8133,
    "underlying_asset": {"change_to_break_even": 23.1, "last_updated": NS, "price": 147.951,
                         "ticker": "AAPL", "timeframe": "DELAYED"},
}  # fmt: skip


def page(*rows: object, **more: object) -> bytes:
    return json.dumps({"status": "OK", "request_id": "a" * 32, "results": rows, **more}).encode()


def without(row: dict, *keys: str) -> dict:
    return {k: v for k, v in row.items() if k not in keys}


def test_a_full_chain_row():
    frame, rejected = parse_option_chain([page(FULL)], "AAPL")
    assert rejected.height == 0
    row = frame.row(0, named=True)
    assert row == {
        "symbol": "O:AAPL260619C00150000",
        "underlying": "AAPL",
        "contract_type": "call",
        "exercise_style": "american",
        "expiration_date": date(2026, 6, 19),
        "strike_price": 150.0,
        "shares_per_contract": 100.0,
        "bid": 20.9,
        "ask": 21.25,
        "bid_size": 172.0,
        "ask_size": 110.0,
        "quote_at": AT,
        "midpoint": 21.075,
        "last_trade_price": 21.1,
        "last_trade_size": 2.0,
        "last_trade_at": AT,
        "day_open": 22.49,
        "day_high": 22.49,
        "day_low": 21.35,
        "day_close": 21.4,
        "day_volume": 37.0,
        "day_vwap": 21.6741,
        "day_previous_close": 20.0,
        "day_updated_at": AT,
        "implied_volatility": 0.3048,
        "delta": 0.55,
        "gamma": 0.007,
        "theta": -0.018,
        "vega": 0.72,
        "open_interest": 8133.0,
        "break_even_price": 171.075,
        "underlying_price": 147.951,
        "underlying_updated_at": AT,
        "timeframe": "REAL-TIME",
    }


def test_what_the_plan_or_the_vendor_leaves_out_is_null():
    bare = without(FULL, "greeks", "implied_volatility", "last_quote", "last_trade") | {"day": {}}
    empty_greeks = FULL | {"greeks": {}}
    no_price = FULL | {"underlying_asset": {"ticker": "AAPL", "timeframe": "DELAYED"}}
    frame, rejected = parse_option_chain([page(bare, empty_greeks), page(no_price)], "AAPL")
    assert (frame.height, rejected.height) == (3, 0)
    first, second, third = frame.iter_rows(named=True)
    for column in ("delta", "implied_volatility", "bid", "ask", "quote_at", "last_trade_price",
                   "day_volume", "day_updated_at", "midpoint"):  # fmt: skip
        assert first[column] is None, column
    assert first["open_interest"] == 8133
    assert first["timeframe"] == "DELAYED"
    assert second["vega"] is None
    assert second["implied_volatility"] == 0.3048
    assert third["underlying_price"] is None


def test_an_index_chain_has_a_value_and_two_roots():
    asset = {"ticker": "I:SPX", "value": 5900.5, "last_updated": NS, "timeframe": "DELAYED"}
    rows = [
        FULL | {"underlying_asset": asset, "details": FULL["details"] | {"ticker": symbol}}
        for symbol in ("O:SPX260619C05900000", "O:SPXW260619C05900000")
    ]
    frame, _ = parse_option_chain([page(*rows)])
    assert frame["symbol"].to_list() == ["O:SPX260619C05900000", "O:SPXW260619C05900000"]
    assert frame["underlying_price"].to_list() == [5900.5, 5900.5]
    assert frame["underlying"].to_list() == ["I:SPX", "I:SPX"]


def test_bad_rows_stand_aside_with_their_text():
    no_strike = FULL | {"details": without(FULL["details"], "strike_price")}
    odd_bid = FULL | {"last_quote": {"bid": "n/a"}}
    odd_day = FULL | {"details": FULL["details"] | {"expiration_date": "2026-02-30"}}
    nan = page(FULL).replace(b"20.9", b"NaN")
    frame, rejected = parse_option_chain([page(no_strike, FULL, odd_bid), page(odd_day), nan], "A")
    assert frame.height == 1
    assert rejected["line"].to_list() == [1, 3, 4, 5]
    assert [r.split(":")[0] for r in rejected["reason"]] == [
        "strike_price is missing", "bid", "expiration_date", "bid",
    ]  # fmt: skip
    assert json.loads(rejected["raw"][1]) == odd_bid


def test_zero_is_zero_and_not_missing():
    quiet = FULL | {"last_quote": {"bid": 0, "ask": 0.05}, "open_interest": 0}
    frame, _ = parse_option_chain([page(quiet)], "AAPL")
    assert frame.select("bid", "open_interest").row(0) == (0.0, 0.0)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        page(FULL)[:-5],
        b"[]",
        b"17",
        b'{"hello": 1}',
        b'{"status":"ERROR","error":"no"}',
        b'{"status":"OK","results":{"a":1}}',
    ],
)
def test_a_page_without_the_envelope_is_refused(body):
    with pytest.raises(MalformedResponseError):
        parse_option_chain([body], "AAPL")


def test_absent_results_are_an_empty_page():
    assert page_results(b'{"status":"OK","resultsCount":0}') == []
    assert page_results(b'{"status":"DELAYED","request_id":1,"results":null}') == []


def test_snapshots_keep_refused_tickers_as_rows():
    frame, rejected = parse_index_snapshots(
        [
            page(
                {"ticker": "I:SPX", "value": 5900.5, "name": "S&P 500", "timeframe": "REAL-TIME",
                 "last_updated": NS, "market_status": "regular_trading",
                 "session": {"open": 5890, "previous_close": 5880, "change": 20.5}},
                {"ticker": "I:NOPE", "error": "NOT_FOUND", "message": "Ticker not found."},
            )
        ]
    )  # fmt: skip
    assert rejected.height == 0
    spx, nope = frame.iter_rows(named=True)
    assert (spx["value"], spx["open"], spx["close"], spx["updated_at"]) == (5900.5, 5890, None, AT)
    assert (nope["value"], nope["error"]) == (None, "NOT_FOUND")


def test_a_stock_snapshot_prefers_fixed_decimals():
    frame, _ = parse_stock_snapshots(
        [
            page(
                {"ticker": "SPY", "type": "stocks", "market_status": "open",
                 "session": {"price": 601.2, "volume": 10, "decimal_volume": "10.500000"},
                 "last_trade": {"price": 601.25, "size": 3, "last_updated": NS},
                 "last_quote": {"bid": 601.1, "ask": 601.3}}
            )
        ]
    )  # fmt: skip
    row = frame.row(0, named=True)
    assert (row["price"], row["volume"], row["last_trade_at"]) == (601.2, 10.5, AT)
    assert row["error"] is None
