"""Implied volatility and greeks of single contracts, from captured chains and from day files."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    OptionTerms,
    Table,
    available_at,
    choice,
    count,
    flag,
    instant,
    number,
    price,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together

#: What a value rests on: a chain captured at its slot, or the day's published files.
BASES = ("snapshot", "day_file")


class OptionGreeks(OptionTerms):
    """One row a contract that was quoted or traded, whether or not it could be valued."""

    trade_date = trade_date()
    basis = choice(BASES, "captured chain, or day files", key=True)
    slot = instant("capture slot; the session's close for day files", key=True)
    symbol = text("OPRA ticker with its O: prefix", key=True)
    available_at = available_at()
    style = choice(("american", "european"), "exercise style")
    is_standard = flag(
        "100 shares of the underlying and nothing else; null where not known", nullable=True
    )
    shares_per_contract = number("shares delivered by one contract", "shares", above=0)
    spot = price("price of the underlying", nullable=True)
    spot_source = text("where spot came from; null where there is none", nullable=True)
    price = price("what the volatility is implied by", nullable=True)
    price_source = choice(("mid", "close"), "middle of the quote, or last trade of the day")
    years = number("time to the expiry instant, 365 days a year", "years", at_least=0)
    rate = number("continuous rate to expiry", "per year")
    rate_source = text("curve and its date", nullable=True)
    dividends_value = number(
        "present value of the declared dividends before expiry; null where they are not known",
        "USD per share",
    )
    dividend_source = text("where dividends came from, or why none are known", nullable=True)
    dividend_yield = number("carry that quotes imply beyond rate and cash dividends", "per year")
    forward = number("forward price of the underlying at expiry", "USD per share", above=0)
    forward_source = text("parity of the quotes, or theory", nullable=True)
    implied_volatility = number("1.00 = 100 %", "per year", above=0)
    bid_volatility = number("implied by the bid", "per year", above=0)
    ask_volatility = number("implied by the ask", "per year", above=0)
    delta = number("per dollar of the underlying; past 1 where it costs to be short", "per USD")
    gamma = number("change of delta per dollar", "per USD squared", at_least=0)
    theta = number("change of value per day that passes", "USD per calendar day")
    vega = number("change of value per 1.00 of volatility", "USD per 1.00", at_least=0)
    rho = number("change of value per 1.00 of the rate", "USD per 1.00")
    status = text("OK, or why there is no volatility")
    vendor_volatility = number("the vendor's implied volatility", "per year", above=0)
    volume = number("traded this session", "contracts", at_least=0)
    open_interest = count("open interest at the end of the session before", "contracts")

    @dy.rule()
    def volatility_or_reason(cls) -> pl.Expr:
        """A volatility is there exactly where status is OK."""
        return pl.col("implied_volatility").is_not_null() == (pl.col("status") == "OK")

    @dy.rule()
    def delta_within_carry(cls) -> pl.Expr:
        """No delta is past one share carried to expiry."""
        share = (-pl.col("dividend_yield").fill_null(0.0) * pl.col("years")).exp()
        most = pl.max_horizontal(share, 1.0) * (1 + 1e-9)
        return pl.col("delta").is_null() | (pl.col("delta").abs() <= most)

    @dy.rule()
    def greeks_come_together(cls) -> pl.Expr:
        """Where one greek is null all are."""
        greeks = ("delta", "gamma", "theta", "vega", "rho")
        known = pl.sum_horizontal(pl.col(name).is_not_null() for name in greeks)
        return known.is_in([0, len(greeks)])


_TERMS = ("symbol", "underlying", "root", "expiry", "right", "strike")
_INPUTS = (
    "option_chain.bid", "option_chain.ask", "option_day_aggs.close",
    "option_chain.underlying_price", "stock_day_aggs.close", "index_bars.close",
    "option_chain.strike", "option_chain.expiry", "option_day_aggs.strike",
    "option_day_aggs.expiry", "treasury_yields.rate", "corporate_actions.cash_amount",
    "corporate_actions.ex_date", "implied_forwards.carry",
)  # fmt: skip

OPTION_GREEKS = Table(
    "option_greeks",
    OptionGreeks,
    ("trade_date", "basis", "slot"),
    Kind.DERIVED,
    "Implied volatility and greeks of every contract, with each input and where it came from.",
    made_from=together(
        *(straight(chain, *_TERMS) for chain in ("option_chain", "option_day_aggs")),
        straight("option_chain", "slot", "shares_per_contract", "open_interest"),
        computed("style", "option_chain.exercise_style", "option_day_aggs.root"),
        computed("is_standard", "option_chain.is_standard", "option_day_aggs.is_adjusted"),
        computed("price price_source", "option_chain.mid", "option_day_aggs.close"),
        computed(
            "spot spot_source",
            "option_chain.underlying_price",
            "market_last.price",
            "stock_day_aggs.close",
            "index_bars.close",
        ),
        computed("years", "option_chain.expiry", "option_day_aggs.expiry", "option_chain.root"),
        computed("rate rate_source", "treasury_yields.rate", "treasury_yields.curve_date"),
        computed(
            "dividends_value dividend_source",
            "corporate_actions.cash_amount",
            "corporate_actions.ex_date",
        ),
        computed("dividend_yield", "implied_forwards.carry"),
        computed("forward", "implied_forwards.forward", "treasury_yields.rate"),
        straight("implied_forwards", "forward_source"),
        computed("implied_volatility delta gamma theta vega rho status", *_INPUTS),
        computed("bid_volatility", "option_chain.bid", *_INPUTS[3:]),
        computed("ask_volatility", "option_chain.ask", *_INPUTS[3:]),
        straight("option_chain", vendor_volatility="implied_volatility"),
        computed("volume", "option_chain.day_volume", "option_day_aggs.volume"),
    ),
)

TABLES = (OPTION_GREEKS,)
