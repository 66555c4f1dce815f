"""Tables of traded prices: day and minute aggregates of stocks, options and indices."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    OptionTerms,
    Table,
    available_at,
    count,
    flag,
    instant,
    number,
    price,
    source,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together

_FILE = "massive_flat_files"
_REST = "massive_rest_api"
_PRICES = ("open", "high", "low", "close")
#: What OHLC are called in the vendor's aggregates.
_REST_PRICES = straight(_REST, open="o", high="h", low="l", close="c")


class Bar(dy.Schema):
    """Open, high, low and close of one window."""

    open = price("first trade of the window")
    high = price("highest trade of the window")
    low = price("lowest trade of the window")
    close = price("last trade of the window")

    @dy.rule()
    def high_is_highest(cls) -> pl.Expr:
        """High is not below open, close or low."""
        return pl.col("high") >= pl.max_horizontal("open", "close", "low")

    @dy.rule()
    def low_is_lowest(cls) -> pl.Expr:
        """Low is not above open or close."""
        return pl.col("low") <= pl.min_horizontal("open", "close")


class StockDayAggs(Bar):
    """One row a stock and session, as traded."""

    trade_date = trade_date()
    ticker = text("ticker as traded that day", key=True)
    source = source()
    available_at = available_at()
    volume = number("shares traded; fractional since 2026-02", "shares", at_least=0)
    transactions = count("number of trades; null where the feed does not say")


class OptionDayAggs(Bar, OptionTerms):
    """One row a contract and session in which it traded."""

    trade_date = trade_date()
    symbol = text("OPRA ticker with its O: prefix", key=True)
    source = source()
    available_at = available_at()
    is_adjusted = flag("root marks a contract changed by a corporate action")
    volume = number("contracts traded", "contracts", at_least=0)
    transactions = count("number of trades; null where the feed does not say")


class Bars1m(Bar):
    """One row a ticker and minute with at least one trade, extended hours included."""

    trade_date = trade_date()
    ticker = text("ticker as traded that day", key=True)
    start = instant("start of the minute", key=True)
    source = source()
    available_at = available_at()
    is_regular = flag("within the regular session")
    volume = number("shares traded; fractional since 2026-02", "shares", at_least=0)
    vwap = price("volume-weighted average price; null where not sent", nullable=True)
    transactions = count("number of trades; null where the feed does not say")


class IndexBars(Bar):
    """One row an index and session."""

    trade_date = trade_date()
    ticker = text("index, without the I: prefix", key=True)
    source = source()
    available_at = available_at()


STOCK_DAY_AGGS = Table(
    "stock_day_aggs",
    StockDayAggs,
    ("trade_date", "source"),
    Kind.MARKET,
    "Daily open, high, low, close and volume of every US stock, as traded (never split-adjusted).",
    source_preference=("massive_flat_file", "massive_rest"),
    made_from=together(
        straight(_FILE, "ticker", *_PRICES, "volume", "transactions"),
        straight(_FILE, trade_date="window_start"),
        _REST_PRICES,
        straight(_REST, ticker="T", trade_date="t", volume="v", transactions="n"),
    ),
)
OPTION_DAY_AGGS = Table(
    "option_day_aggs",
    OptionDayAggs,
    ("trade_date", "source"),
    Kind.MARKET,
    "Daily bars of every US option contract that traded, with its symbol read from the right.",
    source_preference=("massive_flat_file",),
    made_from=together(
        straight(_FILE, *_PRICES, "volume", "transactions"),
        straight(_FILE, trade_date="window_start", symbol="ticker"),
        computed("underlying root expiry right strike is_adjusted", f"{_FILE}.ticker"),
    ),
)
BARS_1M = Table(
    "bars_1m",
    Bars1m,
    ("trade_date", "source"),
    Kind.MARKET,
    "One-minute bars of the universe and the benchmarks, as traded.",
    source_preference=("massive_flat_file", "massive_rest"),
    made_from=together(
        straight(_FILE, "ticker", *_PRICES, "volume", "transactions"),
        computed("trade_date start is_regular", f"{_FILE}.window_start", f"{_REST}.t"),
        straight("universe", "ticker"),
        _REST_PRICES,
        straight(_REST, volume="v", vwap="vw", transactions="n"),
        straight(_REST, available_at="t"),
    ),
)
INDEX_BARS = Table(
    "index_bars",
    IndexBars,
    ("trade_date", "source"),
    Kind.MARKET,
    "Daily bars of SPX, NDX, RUT, VIX, VIX9D and VIX3M.",
    source_preference=("massive_flat_file", "massive_rest"),
    made_from=together(
        straight(_FILE, "ticker", *_PRICES, trade_date="window_start"),
        straight(_REST, ticker="ticker", trade_date="t"),
        _REST_PRICES,
    ),
)

TABLES = (STOCK_DAY_AGGS, OPTION_DAY_AGGS, BARS_1M, INDEX_BARS)
