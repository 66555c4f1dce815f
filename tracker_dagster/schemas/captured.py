"""Tables parsed from raw captures of live answers, keyed by slot: nobody can fetch them again."""

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
    slot,
    source,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together

_REST = "massive_rest_api"
_GREEKS = ("delta", "gamma", "theta", "vega")
#: Fields of a last price: stocks have a trade and a session, indices a value.
_LAST = ("last_trade.price", "session.price", "value")
_LAST_AT = ("last_trade.sip_timestamp", "session.last_updated", "last_updated")


class OptionChain(OptionTerms):
    """One row a contract and capture slot, calls and puts."""

    trade_date = trade_date()
    slot = slot()
    symbol = text("OPRA ticker with its O: prefix", key=True)
    source = source()
    available_at = available_at()
    exercise_style = text("american, european or bermudan", nullable=True)
    shares_per_contract = number("shares delivered by one contract", "shares", above=0)
    is_standard = flag(
        "100 shares of the underlying and nothing else; null where their number was not sent",
        nullable=True,
    )
    bid = number("best bid; null where there is none (vendors write 0)", "USD per share", above=0)
    ask = number("best ask", "USD per share", above=0)
    bid_size = number("size at the bid", "contracts", at_least=0)
    ask_size = number("size at the ask", "contracts", at_least=0)
    mid = number("mean of bid and ask; null unless quote_status is OK", "USD per share", above=0)
    quote_at = instant("time of the quote")
    quote_status = dy.String(
        nullable=False,
        regex=r"^(OK|NO_QUOTE|NO_BID|NO_ASK|CROSSED)$",
        description="OK, or why mid is null",
    )
    last_price = number("last trade", "USD per share", above=0)
    last_at = instant("time of the last trade")
    day_volume = number(
        "traded this session: 0 when the vendor's last bar is older, null when it sent none",
        "contracts",
        at_least=0,
    )
    open_interest = count("open interest at the end of the session before", "contracts")
    implied_volatility = number("vendor's implied volatility, 1.00 = 100 %", "per year", above=0)
    delta = number("vendor's delta; past 1 where a contract delivers more", "per USD")
    gamma = number("vendor's gamma", "per USD squared")
    theta = number("vendor's theta", "USD per calendar day")
    vega = number("vendor's vega", "USD per volatility point")
    greeks_status = dy.String(
        nullable=False,
        regex=r"^(OK|NOT_SENT)$",
        description="OK, or NOT_SENT where the vendor left the greeks out",
    )
    underlying_price = price("price of the underlying that came with the row", nullable=True)
    underlying_at = instant("time of that price")

    @dy.rule()
    def delta_within_one(cls) -> pl.Expr:
        """A standard contract moves at most as much as its underlying."""
        inside = pl.col("delta").abs() <= 1.0001
        return ~pl.col("is_standard").fill_null(False) | pl.col("delta").is_null() | inside


class MarketLast(dy.Schema):
    """Last price of a ticker or index at a capture slot."""

    trade_date = trade_date()
    slot = slot()
    ticker = text("ticker, or index without the I: prefix", key=True)
    source = source()
    available_at = available_at()
    price = price("last trade, or index value", nullable=True)
    price_at = instant("time of that price")
    status = text("OK, or why the price is null")


class CollectionGaps(dy.Schema):
    """A capture that was due and is not there, or is there in part."""

    trade_date = trade_date()
    slot = slot()
    dataset = text("table the capture was for", key=True)
    subject = text("underlying or ticker; * for the whole capture", key=True)
    source = source()
    reason = text("why it is missing")


OPTION_CHAIN = Table(
    "option_chain",
    OptionChain,
    ("trade_date", "source", "slot"),
    Kind.CAPTURED,
    "Whole option chains as captured at a slot: quotes, open interest, the vendor's Greeks.",
    source_preference=("massive_snapshot",),
    made_from=together(
        straight(_REST, symbol="details.ticker", exercise_style="details.exercise_style"),
        straight("universe", underlying="ticker"),
        computed("root right", f"{_REST}.details.ticker"),
        straight(_REST, expiry="details.expiration_date", strike="details.strike_price"),
        straight(_REST, shares_per_contract="details.shares_per_contract"),
        computed("is_standard", f"{_REST}.details.ticker", f"{_REST}.details.shares_per_contract"),
        straight(_REST, bid="last_quote.bid", bid_size="last_quote.bid_size"),
        straight(_REST, ask="last_quote.ask", ask_size="last_quote.ask_size"),
        computed("mid quote_status", f"{_REST}.last_quote.bid", f"{_REST}.last_quote.ask"),
        straight(_REST, quote_at="last_quote.last_updated"),
        straight(_REST, last_price="last_trade.price", last_at="last_trade.sip_timestamp"),
        computed("day_volume", f"{_REST}.day.volume", f"{_REST}.day.last_updated"),
        straight(_REST, "open_interest", "implied_volatility"),
        *(straight(_REST, **{greek: f"greeks.{greek}"}) for greek in _GREEKS),
        computed("greeks_status", *(f"{_REST}.greeks.{greek}" for greek in _GREEKS)),
        computed(
            "underlying_price",
            f"{_REST}.underlying_asset.price",
            f"{_REST}.underlying_asset.value",
        ),
        straight(_REST, underlying_at="underlying_asset.last_updated"),
    ),
)
MARKET_LAST = Table(
    "market_last",
    MarketLast,
    ("trade_date", "source", "slot"),
    Kind.CAPTURED,
    "Last prices of the universe and the indices as captured at a slot.",
    source_preference=("massive_snapshot",),
    made_from=together(
        straight("universe", "ticker"),
        straight(_REST, "ticker"),
        computed("price", *(f"{_REST}.{name}" for name in _LAST)),
        computed("price_at", *(f"{_REST}.{name}" for name in _LAST_AT)),
        computed("status", *(f"{_REST}.{name}" for name in (*_LAST, *_LAST_AT, "error"))),
    ),
)
COLLECTION_GAPS = Table(
    "collection_gaps",
    CollectionGaps,
    ("trade_date", "dataset", "source", "slot"),
    Kind.CAPTURED,
    "Captures that were due and are missing, with the reason; never filled with later quotes.",
)

TABLES = (OPTION_CHAIN, MARKET_LAST, COLLECTION_GAPS)
