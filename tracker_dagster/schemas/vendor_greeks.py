"""The table of the vendor's own end-of-day Greeks, kept to compare ours with."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    OptionTerms,
    Table,
    available_at,
    choice,
    instant,
    number,
    price,
    source,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together

_REST = "massive_rest_api"
_GREEKS = ("delta", "gamma", "theta", "vega", "rho")
_AS_SENT = "as sent; the vendor does not state the unit"


class VendorGreeks(OptionTerms):
    """One row a contract that the vendor lists, whether or not it could price it."""

    trade_date = trade_date()
    symbol = text("OPRA ticker with its O: prefix", key=True)
    source = source()
    available_at = available_at()
    computed_at = instant("snapshot it rests on: 15 minutes before the close", nullable=False)
    implied_volatility = number("1.00 = 100 %", "per year", above=0)
    delta = number("vendor's delta", "per USD")
    gamma = number("vendor's gamma", "per USD squared")
    theta = number(_AS_SENT, "vendor's")
    vega = number(_AS_SENT, "vendor's")
    rho = number(_AS_SENT, "vendor's")
    underlying_price = price("price of the underlying it rests on", nullable=True)
    dividend_yield = number("yield it rests on, as sent", "per year")
    rate = number("risk-free rate it rests on, as sent", "per year")
    status = choice(("OK", "NOT_PRICED"), "NOT_PRICED where the vendor sent no volatility")

    @dy.rule()
    def status_tells_of_volatility(cls) -> pl.Expr:
        """A volatility is there exactly where status is OK."""
        return pl.col("implied_volatility").is_not_null() == (pl.col("status") == "OK")


VENDOR_GREEKS = Table(
    "vendor_greeks",
    VendorGreeks,
    ("trade_date", "source"),
    Kind.MARKET,
    "The vendor's end-of-day implied volatility and Greeks with their inputs, beside ours.",
    source_preference=("massive_rest",),
    made_from=together(
        straight(_REST, "implied_volatility", "underlying_price", "dividend_yield", *_GREEKS),
        straight(_REST, symbol="ticker", rate="risk_free_rate"),
        computed("underlying root expiry right strike", f"{_REST}.ticker"),
        computed("computed_at", f"{_REST}.date"),
        computed("status", f"{_REST}.implied_volatility"),
    ),
)

TABLES = (VENDOR_GREEKS,)
