"""Tables of what options are valued with beside prices: the yield curve, and implied forwards."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    count,
    instant,
    number,
    slot,
    source,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together

#: Fields of the vendor's yields, by maturity.
_YIELDS = tuple(
    f"massive_rest_api.yield_{term}"
    for term in (
        "1_month", "3_month", "6_month", "1_year", "2_year", "3_year", "5_year", "7_year",
        "10_year", "20_year", "30_year",
    )
)  # fmt: skip


class TreasuryYields(dy.Schema):
    """One row a maturity of the curve that was known when the session opened."""

    trade_date = trade_date()
    curve_date = dy.Date(primary_key=True, description="day that the yields are of")
    months = dy.Int64(
        primary_key=True,
        min=1,
        description="maturity of the par yield",
        metadata={"unit": "months"},
    )
    source = source()
    available_at = available_at()
    yield_percent = number(
        "par yield as published, half-yearly compounding; 4.06 is 4.06 %", "% per year",
        nullable=False,
    )  # fmt: skip
    rate = number("continuous zero rate to the maturity", "per year")

    @dy.rule()
    def known_before_the_session(cls) -> pl.Expr:
        """The curve is of a day before the session."""
        return pl.col("curve_date") < pl.col("trade_date")


class ImpliedForwards(dy.Schema):
    """One row an underlying, expiry and settlement of a captured chain."""

    trade_date = trade_date()
    slot = slot()
    underlying = text("ticker of the underlying", key=True)
    expiry = dy.Date(primary_key=True, description="expiration date")
    settlement = choice(("AM", "PM"), "on opening prices, or at the close", key=True)
    available_at = available_at()
    years = number("time to the expiry instant, 365 days a year", "years", at_least=0)
    spot = number("price of the underlying in the chain", "USD per share", above=0)
    spot_at = instant("time of that price")
    rate = number("continuous rate to expiry", "per year")
    rate_source = text("curve and its date", nullable=True)
    dividends_value = number(
        "present value of the declared dividends before expiry; none are assumed past those",
        "USD per share",
        at_least=0,
    )
    dividend_source = text(
        "corporate_actions: all that were declared, to 60 days ahead; index: dividends are in "
        "the parity forward; else why none are known"
    )
    forward_theory = number(
        "spot less dividends, grown at the rate; null where nothing ties the forward to the spot",
        "USD per share",
        above=0,
    )
    forward_parity = number("implied by put-call parity", "USD per share", above=0)
    parity_error = number("robust spread of what single pairs imply", "USD per share", at_least=0)
    pairs_count = count("calls and puts of one strike that parity rests on", "pairs")
    violations_count = count("pairs whose quotes violate parity beyond their spread", "pairs")
    quoted_count = count("pairs with both quotes", "pairs")
    carry = number(
        "yield that the quotes imply beyond rate and dividends: borrowing, dividends not declared",
        "per year",
    )
    forward = number(
        "the parity forward where there is one, else theory's", "USD per share", above=0
    )
    forward_source = choice(("parity", "theory"), "what forward is", nullable=True)
    reason = text("why there is no parity forward, or no forward", nullable=True)

    @dy.rule()
    def source_or_reason(cls) -> pl.Expr:
        """A forward says where it is from; one not from parity says why not."""
        return (pl.col("forward").is_null() == pl.col("forward_source").is_null()) & (
            (pl.col("forward_source").fill_null("") == "parity") == pl.col("reason").is_null()
        )


TREASURY_YIELDS = Table(
    "treasury_yields",
    TreasuryYields,
    ("trade_date",),
    Kind.MARKET,
    "The US Treasury's par yield curve that was known when the session opened, and its zero rates.",
    made_from=together(
        straight("massive_rest_api", curve_date="date"),
        computed("months yield_percent rate", *_YIELDS),
    ),
)
_QUOTES = (
    "option_chain.bid", "option_chain.ask", "option_chain.quote_status", "option_chain.strike",
    "option_chain.right", "option_chain.exercise_style", "option_chain.is_standard",
)  # fmt: skip
_DIVIDENDS = (
    "corporate_actions.cash_amount", "corporate_actions.ex_date",
    "corporate_actions.distribution_type", "corporate_actions.currency",
    "corporate_actions.split_from", "corporate_actions.split_to",
)  # fmt: skip
_TERM = ("option_chain.expiry", "option_chain.root")
_THEORY = ("option_chain.underlying_price", "treasury_yields.rate", *_DIVIDENDS, *_TERM)

IMPLIED_FORWARDS = Table(
    "implied_forwards",
    ImpliedForwards,
    ("trade_date", "slot"),
    Kind.DERIVED,
    "Forward price of every underlying and expiry, by put-call parity where the quotes allow it.",
    made_from=together(
        straight("option_chain", "slot", "underlying", "expiry"),
        computed("settlement", "option_chain.root"),
        computed("years", *_TERM),
        straight("option_chain", spot="underlying_price", spot_at="underlying_at"),
        computed("rate", "treasury_yields.rate", *_TERM),
        computed("rate_source", "treasury_yields.curve_date", "treasury_yields.source"),
        computed("dividends_value", *_DIVIDENDS, "treasury_yields.rate", *_TERM),
        computed("dividend_source", "corporate_actions.ticker", "universe.ticker"),
        computed("forward_theory", *_THEORY),
        computed("pairs_count quoted_count", *_QUOTES),
        computed(
            "forward_parity parity_error violations_count carry forward forward_source reason",
            *_QUOTES,
            *_THEORY,
        ),
    ),
)

TABLES = (TREASURY_YIELDS, IMPLIED_FORWARDS)
