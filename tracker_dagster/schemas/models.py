"""Tables that measure the models: what each pick came to, week by week, and what that proves."""

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
from tracker_dagster.schemas.decisions import BASES, MODELS, STRUCTURE_STATUSES


class ModelOutcomes(dy.Schema):
    """One row a model and pick of a week: bought at the decision, held to the expiry."""

    trade_date = trade_date()
    basis = choice(BASES, "basis of the decision; never mixed", key=True)
    model = choice(MODELS, "baseline, gated or weighted", key=True)
    ticker = text("ticker", key=True)
    available_at = available_at()
    decided_on = dy.Date(nullable=False, description="session of the decision, first of its week")
    decision_at = instant("when the decision was taken", nullable=False)
    symbol = text("OPRA ticker of the call that the model sells")
    strike = number("strike price of the call", "USD per share", nullable=False, above=0)
    weight = number(
        "part of an equal share of the cash that the model gives the pick; 0 turns it down",
        "fraction", nullable=False, at_least=0, at_most=1,
    )  # fmt: skip
    rank = count("rank of the pick under the model; null where it is turned down")
    rank_score = number("rank score before the model", "score")
    rank_score_adjusted = number("rank score under the model", "score")
    fft_status = choice(STRUCTURE_STATUSES, "spectral gate", nullable=True)
    fractal_status = choice(STRUCTURE_STATUSES, "fractal gate", nullable=True)
    filled_at = instant("when shares are bought and the call is sold")
    stock_entry = number("price paid for a share", "USD per share", above=0)
    option_entry = number("premium got for the call, after the cost of its fill",
                          "USD per share", at_least=0)  # fmt: skip
    fill_cost = number("given up against the traded price; 0 where the bid is taken",
                       "USD per share", at_least=0)  # fmt: skip
    fees_100 = number("of selling one contract", "USD", at_least=0)
    dividends = number("with ex-dates after the fill, to the expiry", "USD per share", at_least=0)
    stock_exit = number("close of the expiry", "USD per share", above=0)
    is_assigned = flag("shares were called away: a cent or more in the money", nullable=True)
    pnl_100 = number("profit of 100 shares and one call", "USD")
    model_return = number("pnl_100 over what 100 shares cost", "fraction")
    hold_pnl_100 = number("profit of the same shares alone", "USD")
    hold_return = number("hold_pnl_100 over what 100 shares cost", "fraction")
    reason = text("why the outcome cannot be told", nullable=True)

    @dy.rule()
    def untold_says_why(cls) -> pl.Expr:
        """An outcome that cannot be told has a reason, one that can has none."""
        return pl.col("model_return").is_null() == pl.col("reason").is_not_null()


class ModelScores(dy.Schema):
    """One row a basis and model: its mean weekly return so far, and what that proves."""

    trade_date = trade_date()
    basis = choice(BASES, "basis of the decisions; never mixed", key=True)
    model = choice(MODELS, "baseline, gated or weighted", key=True)
    available_at = available_at()
    first_expiry = dy.Date(nullable=False, description="expiry of the first week counted")
    last_expiry = dy.Date(nullable=False, description="expiry of the last week counted")
    weeks_count = count("weeks with an outcome", "weeks", nullable=False)
    picks_count = count("candidate picks whose outcome is told under every model", "picks",
                        nullable=False)  # fmt: skip
    accepted_count = count("of these, picks that the model gives weight", "picks", nullable=False)
    untold_count = count("picks left out under every model: an outcome cannot be told", "picks",
                         nullable=False)  # fmt: skip
    mean_return = number("mean of the weekly returns; 0 in a week that accepts none", "per week")
    mean_hold_return = number("the same of the same shares without calls", "per week")
    hold_difference = number("mean_return less mean_hold_return", "per week")
    hold_low = number("lower end of its interval", "per week")
    hold_high = number("upper end of its interval", "per week")
    hold_verdict = text("the comparison with holding, in words")
    difference = number("mean_return less baseline's, paired by week; null for baseline",
                        "per week")  # fmt: skip
    low = number("lower end of its interval", "per week")
    high = number("upper end of its interval", "per week")
    verdict = text("the comparison with baseline in words; null for baseline", nullable=True)
    level = number("chance with which such intervals hold the true mean, about", "fraction",
                   above=0, at_most=1)  # fmt: skip
    block_weeks = count("block length of the bootstrap", "weeks")
    replicates = count("resampled series", "replicates")


MODEL_OUTCOMES = Table(
    "model_outcomes",
    ModelOutcomes,
    ("trade_date",),
    Kind.DERIVED,
    "What every candidate pick of a week came to under each model, on the session it expired.",
    made_from=origins.MODEL_OUTCOMES,
)
MODEL_SCORES = Table(
    "model_scores",
    ModelScores,
    ("trade_date",),
    Kind.DERIVED,
    "Walk-forward: mean weekly return of each model over all outcomes known, differences with "
    "block-bootstrap intervals, and what they prove in words.",
    made_from=origins.MODEL_SCORES,
)

TABLES = (MODEL_OUTCOMES, MODEL_SCORES)
