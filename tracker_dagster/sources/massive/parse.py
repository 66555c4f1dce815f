"""What the bodies of Massive's REST answers mean: envelopes, and a layout per endpoint.

Pure: bytes in, frames out. Fetching them is the business of ``rest``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.massive.records import (
    Field,
    Layout,
    ParsedRows,
    clock_time,
    day,
    instant,
    integer,
    json_text,
    number,
    parse_records,
    text,
)
from tracker_dagster.sources.messages import decode_json

AGGREGATES: Layout = (
    Field("start", instant, "t", required=True),
    Field("open", number, "o", required=True),
    Field("high", number, "h", required=True),
    Field("low", number, "l", required=True),
    Field("close", number, "c", required=True),
    Field("volume", number, "v"),
    Field("vwap", number, "vw"),
    Field("transactions", integer, "n"),
)

GROUPED_DAILY: Layout = (Field("ticker", text, "T", required=True), *AGGREGATES)

OPTION_CONTRACTS: Layout = (
    Field("symbol", text, "ticker", required=True),
    Field("underlying", text, "underlying_ticker", required=True),
    Field("contract_type", text, required=True),
    Field("exercise_style", text),
    Field("expiration_date", day, required=True),
    Field("strike_price", number, required=True),
    Field("shares_per_contract", number),
    Field("primary_exchange", text),
    Field("cfi", text),
    Field("correction", integer),
    Field("additional_underlyings", json_text),
)

OPTION_CHAIN: Layout = (
    Field("symbol", text, "details.ticker", required=True),
    Field("contract_type", text, "details.contract_type", required=True),
    Field("exercise_style", text, "details.exercise_style"),
    Field("expiration_date", day, "details.expiration_date", required=True),
    Field("strike_price", number, "details.strike_price", required=True),
    Field("shares_per_contract", number, "details.shares_per_contract"),
    Field("bid", number, "last_quote.bid"),
    Field("ask", number, "last_quote.ask"),
    Field("bid_size", number, "last_quote.bid_size"),
    Field("ask_size", number, "last_quote.ask_size"),
    Field("quote_at", instant, "last_quote.last_updated"),
    Field("midpoint", number, "last_quote.midpoint"),
    Field("last_trade_price", number, "last_trade.price"),
    Field("last_trade_size", number, "last_trade.decimal_size", ("last_trade.size",)),
    Field("last_trade_at", instant, "last_trade.sip_timestamp"),
    Field("day_open", number, "day.open"),
    Field("day_high", number, "day.high"),
    Field("day_low", number, "day.low"),
    Field("day_close", number, "day.close"),
    Field("day_volume", number, "day.volume"),
    Field("day_vwap", number, "day.vwap"),
    Field("day_previous_close", number, "day.previous_close"),
    Field("day_updated_at", instant, "day.last_updated"),
    Field("implied_volatility", number),
    Field("delta", number, "greeks.delta"),
    Field("gamma", number, "greeks.gamma"),
    Field("theta", number, "greeks.theta"),
    Field("vega", number, "greeks.vega"),
    Field("open_interest", number),
    Field("break_even_price", number),
    Field("underlying_price", number, "underlying_asset.price", ("underlying_asset.value",)),
    Field("underlying_updated_at", instant, "underlying_asset.last_updated"),
    Field(
        "timeframe",
        text,
        "last_quote.timeframe",
        ("last_trade.timeframe", "underlying_asset.timeframe"),
    ),
)

STOCK_SNAPSHOTS: Layout = (
    Field("ticker", text, required=True),
    Field("type", text),
    Field("name", text),
    Field("market_status", text),
    Field("price", number, "session.price", ("last_trade.price",)),
    Field("open", number, "session.open"),
    Field("high", number, "session.high"),
    Field("low", number, "session.low"),
    Field("close", number, "session.close"),
    Field("previous_close", number, "session.previous_close"),
    Field("volume", number, "session.decimal_volume", ("session.volume",)),
    Field("vwap", number, "session.vwap"),
    Field("bid", number, "last_quote.bid"),
    Field("ask", number, "last_quote.ask"),
    Field("bid_size", number, "last_quote.bid_size"),
    Field("ask_size", number, "last_quote.ask_size"),
    Field("quote_at", instant, "last_quote.last_updated"),
    Field("last_trade_price", number, "last_trade.price"),
    Field("last_trade_size", number, "last_trade.decimal_size", ("last_trade.size",)),
    Field("last_trade_at", instant, "last_trade.sip_timestamp", ("last_trade.last_updated",)),
    Field("minute_close", number, "last_minute.close"),
    Field("minute_volume", number, "last_minute.decimal_volume", ("last_minute.volume",)),
    Field("minute_updated_at", instant, "last_minute.last_updated"),
    Field("updated_at", instant, "session.last_updated", ("last_updated",)),
    Field("timeframe", text, "timeframe", ("last_trade.timeframe", "last_quote.timeframe")),
    Field("error", text),
    Field("message", text),
)

INDEX_SNAPSHOTS: Layout = (
    Field("ticker", text, required=True),
    Field("name", text),
    Field("value", number),
    Field("open", number, "session.open"),
    Field("high", number, "session.high"),
    Field("low", number, "session.low"),
    Field("close", number, "session.close"),
    Field("previous_close", number, "session.previous_close"),
    Field("change", number, "session.change"),
    Field("change_percent", number, "session.change_percent"),
    Field("market_status", text),
    Field("updated_at", instant, "last_updated"),
    Field("timeframe", text),
    Field("error", text),
    Field("message", text),
)

DIVIDENDS: Layout = (
    Field("ticker", text, required=True),
    Field("ex_dividend_date", day, required=True),
    Field("declaration_date", day),
    Field("record_date", day),
    Field("pay_date", day),
    Field("cash_amount", number, required=True),
    Field("split_adjusted_cash_amount", number),
    Field("currency", text),
    Field("frequency", integer),
    Field("distribution_type", text),
    Field("dividend_type", text),
    Field("historical_adjustment_factor", number),
    Field("id", text),
)

SPLITS: Layout = (
    Field("ticker", text, required=True),
    Field("execution_date", day, required=True),
    Field("split_from", number, required=True),
    Field("split_to", number, required=True),
    Field("adjustment_type", text),
    Field("historical_adjustment_factor", number),
    Field("id", text),
)

EARNINGS: Layout = (
    Field("ticker", text, required=True),
    Field("date", day, required=True),
    Field("time_et", clock_time, "time"),
    Field("date_status", text),
    Field("fiscal_year", integer),
    Field("fiscal_period", text),
    Field("importance", integer),
    Field("estimated_eps", number),
    Field("actual_eps", number),
    Field("previous_eps", number),
    Field("eps_surprise", number),
    Field("eps_surprise_percent", number),
    Field("estimated_revenue", number),
    Field("actual_revenue", number),
    Field("previous_revenue", number),
    Field("currency", text),
    Field("last_updated", instant),
    Field("benzinga_id", text),
)

#: Yields of a day's curve, by their maturity in months.
YIELD_MONTHS = {
    "yield_1_month": 1,
    "yield_3_month": 3,
    "yield_6_month": 6,
    "yield_1_year": 12,
    "yield_2_year": 24,
    "yield_3_year": 36,
    "yield_5_year": 60,
    "yield_7_year": 84,
    "yield_10_year": 120,
    "yield_20_year": 240,
    "yield_30_year": 360,
}

TREASURY_YIELDS: Layout = (
    Field("date", day, required=True),
    *(Field(maturity, number) for maturity in YIELD_MONTHS),
)

#: ``/options/v1/analytics``. Its page names ticker, underlying_ticker and date as filters; what
#: else a row holds it tells in prose alone, and no answer was to be had to look at. The rest is
#: read under the names that the prose and the chain snapshot use, flat or nested as there.
OPTION_ANALYTICS: Layout = (
    Field("symbol", text, "ticker", required=True),
    Field("date", day, required=True),
    Field("underlying", text, "underlying_ticker"),
    Field("implied_volatility", number),
    Field("delta", number, "delta", ("greeks.delta",)),
    Field("gamma", number, "gamma", ("greeks.gamma",)),
    Field("theta", number, "theta", ("greeks.theta",)),
    Field("vega", number, "vega", ("greeks.vega",)),
    Field("rho", number, "rho", ("greeks.rho",)),
    Field("underlying_price", number, "underlying_price", ("underlying_asset.price",)),
    Field("dividend_yield", number),
    Field("risk_free_rate", number),
)

OPTION_OPEN_INTEREST: Layout = (
    Field("symbol", text, "ticker", required=True),
    Field("date", day, required=True),
    Field("open_interest", integer),
)

HOLIDAYS: Layout = (
    Field("date", day, required=True),
    Field("exchange", text, required=True),
    Field("status", text, required=True),
    Field("name", text),
    Field("open", instant),
    Field("close", instant),
)


def envelope(body: bytes, *, url_path: str | None = None) -> dict[str, Any]:
    """The JSON object around the results.

    Raises:
        MalformedResponseError: not JSON, not an object, or not a success.
    """
    parsed = decode_json(body, url_path=url_path)
    if not isinstance(parsed, dict):
        raise MalformedResponseError("expected a JSON object", url_path=url_path)
    # DELAYED is success on a delayed plan; single-ticker families omit the status.
    if parsed.get("status", "OK") not in ("OK", "DELAYED"):
        raise MalformedResponseError(
            "a success without a success status", code=str(parsed["status"])[:64], url_path=url_path
        )
    return parsed


def page_results(body: bytes, *, url_path: str | None = None) -> list[Any]:
    """The rows of one page of a list endpoint; absent results are an empty page.

    Raises:
        MalformedResponseError: not an envelope, or ``results`` is no list.
    """
    return rows_of(envelope(body, url_path=url_path), url_path=url_path)


def rows_of(parsed: dict[str, Any], *, url_path: str | None = None) -> list[Any]:
    """The rows of a decoded envelope, as `page_results`."""
    if "results" not in parsed and not {"status", "request_id", "resultsCount"} & parsed.keys():
        raise MalformedResponseError("JSON without the vendor's envelope", url_path=url_path)
    results = parsed.get("results")
    if results is None:
        return []
    if not isinstance(results, list):
        raise MalformedResponseError("results is not a list", url_path=url_path)
    return results


def _records(pages: Iterable[bytes]) -> Iterable[Any]:
    for body in pages:
        yield from page_results(body)


def parse_option_chain(pages: Iterable[bytes], underlying: str | None = None) -> ParsedRows:
    """Pages of ``/v3/snapshot/options/{underlying}`` as one row a contract.

    Args:
        pages: bodies in order, as captured.
        underlying: the chain's path ticker (``SPY``, ``I:SPX``), stored in each row; by
            default what each row says of itself.

    Returns:
        Rows with ``symbol``, ``underlying``, the contract's terms, quote, last trade, most
        recent day bar (check ``day_updated_at``: it may be days old), volatility (0.30 is
        30 %), greeks (theta a calendar day, vega a volatility point) and the underlying's
        price; ``rejected`` holds the rows that could not be read.

    Raises:
        MalformedResponseError: a page is not an envelope.
    """
    own = Field("underlying", text, "underlying_asset.ticker")
    layout = [OPTION_CHAIN[0], own, *OPTION_CHAIN[1:]]
    parsed = parse_records(_records(pages), layout)
    if underlying is None:
        return parsed
    return parsed._replace(
        frame=parsed.frame.with_columns(pl.lit(underlying, pl.String).alias("underlying"))
    )


def parse_stock_snapshots(pages: Iterable[bytes]) -> ParsedRows:
    """Pages of ``/v3/snapshot``; a ticker the vendor refused is a row with ``error``."""
    return parse_records(_records(pages), STOCK_SNAPSHOTS)


def parse_index_snapshots(pages: Iterable[bytes]) -> ParsedRows:
    """Pages of ``/v3/snapshot/indices``; a refused ticker is a row with ``error``."""
    return parse_records(_records(pages), INDEX_SNAPSHOTS)
