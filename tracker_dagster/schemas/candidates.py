"""Table `pick_candidates`: every call that a decision considered, and why it fell or was chosen."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas import origins
from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    count,
    flag,
    instant,
    number,
    text,
    trade_date,
)
from tracker_dagster.schemas.decisions import BASES, LANES


def _share(description: str) -> dy.Float64:
    return number(description, "fraction", at_least=0, at_most=1)


class PickCandidates(dy.Schema):
    """One row a call of the decision's expiry, of every enabled ticker."""

    trade_date = trade_date()
    basis = choice(BASES, "snapshot: a captured chain; day_file: files of earlier days", key=True)
    decision_at = instant("when the decision was taken; nothing known later is in it", key=True)
    symbol = text("OPRA ticker of the call", key=True)
    available_at = available_at()
    ticker = text("ticker of the underlying")
    lane = choice(LANES, "lane of the ticker; null where it could not be told", nullable=True)
    expiry = dy.Date(nullable=False, description="expiration date")
    strike = number("strike price of the call", "USD per share", nullable=False, above=0)
    is_standard = flag("100 shares of the underlying and nothing else; null where not known",
                       nullable=True)  # fmt: skip
    price = number("price of the underlying; null where it is missing, stale or of before a split",
                   "USD per share", above=0)  # fmt: skip
    underlying_price = number("price of the underlying that came with the chain; not in day files",
                              "USD per share", above=0)  # fmt: skip
    bid = number("best bid; null without one, and in day files", "USD per share", above=0)
    ask = number("best ask; null without one, and in day files", "USD per share", above=0)
    mid = number("mean of bid and ask; in day files the last traded price", "USD per share",
                 above=0)  # fmt: skip
    premium_source = text("mid_quote or day_close", nullable=True)
    quote_status = text("OK, what is wrong with the quote, or DAY_FILE", nullable=True)
    quote_at = instant("time of the quote; null in day files")
    spread_pct = number("(ask - bid) / mid; negative where crossed, null without a whole quote",
                        "fraction")  # fmt: skip
    delta = number("delta of the call", "USD per USD")
    delta_source = text("vendor, option_greeks or bsm_vendor_iv; or why it is null", nullable=True)
    implied_volatility = number("behind the delta", "per year", above=0)
    volatility_source = text("vendor or option_greeks; or why it is null", nullable=True)
    open_interest = count("open interest of the session before; not in day files", "contracts")
    day_volume = number("contracts traded in the session of the data", "contracts", at_least=0)
    dte = count("calendar days from the session to the expiry", "days", nullable=False)
    premium_yield = number("mid / price, for the period", "fraction")
    annualised_yield = number("premium_yield x 365 / dte, simple", "per year")
    otm_pct = number("strike / price - 1", "fraction")
    static_return = number(
        "if the price stays: (min(price, strike) - price + mid) / price", "fraction"
    )
    if_called_return = number("if assigned: (strike - price + mid) / price", "fraction")
    break_even = number("price - mid: where the position starts to lose", "USD per share")
    downside_protection = number("fall of the price down to the break-even: mid / price",
                                 "fraction")  # fmt: skip
    assignment_probability = _share(
        "risk-neutral probability of expiry above the strike, N(d2) at the implied volatility"
    )
    assignment_probability_reason = text("why it is null", nullable=True)
    forward_source = text(
        "of the forward behind probability and value: option_greeks, or the price carried at a "
        "stated rate; or why there is none",
        nullable=True,
    )
    fees_100 = number("of selling one contract", "USD", nullable=False, at_least=0)
    expected_value_100 = number(
        "of selling one contract at the bid: 100 x (bid - value of the call at the realised "
        "volatility) - fees; an estimate",
        "USD",
    )
    expected_value_reason = text("why it is null", nullable=True)
    strike_quality = _share(
        "how well the contract traded in the five sessions before the day; 0.5 is about the median"
    )
    strike_quality_reason = text("why it is null or zero", nullable=True)
    target_delta = number("delta that the lane aims at", "USD per USD", at_least=0, at_most=1)
    target_strike = number("strike that the expected move aims at", "USD per share", above=0)
    strike_source = text("rule by which it was ordered; null when it failed", nullable=True)
    failed_gate = text("the first gate that it failed; null when it passed all", nullable=True)
    failed_gates = text("JSON list of every gate that it failed, in order")
    gates_not_evaluated = text("JSON: gate to why it could not be evaluated")
    choice_rank = count("1 is the pick, the others in order of choice; null when it failed")

    @dy.rule()
    def choice_or_failure(cls) -> pl.Expr:
        """A call has a place in the order exactly where it failed no gate."""
        return pl.col("choice_rank").is_null() == pl.col("failed_gate").is_not_null()

    @dy.rule()
    def expires_after_decision(cls) -> pl.Expr:
        """The call expires on the session of the decision or later."""
        return pl.col("expiry") >= pl.col("trade_date")


PICK_CANDIDATES = Table(
    "pick_candidates",
    PickCandidates,
    ("trade_date", "basis", "decision_at"),
    Kind.DECISION,
    "Every call of the week that a decision considered: what it pays and risks, which gates it "
    "failed, and its place in the choice.",
    made_from=origins.PICK_CANDIDATES,
)

TABLES = (PICK_CANDIDATES,)
