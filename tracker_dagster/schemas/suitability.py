"""Tables of how well tickers suit covered calls, and of how good the estimated premiums were."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    count,
    flag,
    number,
    price,
    text,
    trade_date,
)
from tracker_dagster.schemas.decisions import LANES
from tracker_dagster.schemas.lineage import computed, straight, together

#: How a premium is estimated where nothing is quoted: Black-Scholes at the realised volatility.
PREMIUM_METHODS = ("bsm_realised_volatility",)


class Suitability(dy.Schema):
    """One row a member of the universe, from closes of sessions before, as known at 11:15 ET."""

    trade_date = trade_date()
    ticker = text("ticker of the universe", key=True)
    available_at = available_at()
    category = text("category of the universe")
    enabled = flag("whether the ticker was enabled")
    closes_count = count("split-adjusted closes behind the statistics", "closes", nullable=False)
    last_close = price("latest of those closes, in shares of the session", nullable=True)
    last_session = dy.Date(nullable=True, description="session of the latest close")
    annual_volatility = number("of daily log returns", "per year", at_least=0)
    sharpe = number("mean over deviation of daily log returns, annual; no cash rate taken off",
                    "ratio")  # fmt: skip
    max_drawdown = number("largest fall from a peak", "fraction", at_least=0, at_most=1)
    daily_move = number("deviation of the last 21 daily log returns", "log return", at_least=0)
    downside_5d = number("10th percentile of five-session log returns", "log return")
    regime = number("slope of the closes of the last 20 sessions over their mean", "per session")
    tail_width = number("spread between the 1st and 10th percentile of returns", "log return",
                        at_least=0)  # fmt: skip
    return_entropy = number("entropy of the histogram of returns over its largest value",
                            "fraction", at_least=0, at_most=1.000001)  # fmt: skip
    stats_reason = text("why statistics are null, or what they leave out", nullable=True)
    expected_move_5d = number("one standard deviation over five sessions", "USD per share",
                              at_least=0)  # fmt: skip
    beta = number("slope of daily log returns on SPY's of the same sessions", "ratio")
    beta_reason = text("why beta is null", nullable=True)
    stability = number("1 / (1 + volatility)", "score", above=0, at_most=1)
    tail_calm = number("1 / (1 + 100 x tail width)", "score", above=0, at_most=1)
    coherence = number("Sharpe ratio and stability, less a part for each failed gate", "score",
                       at_least=0, at_most=1)  # fmt: skip
    suitability = number("covered-call suitability", "score", at_least=0, at_most=1)
    internal_gate = flag("Sharpe ratio above 0.5; null when unknown", nullable=True)
    outer_gate = flag("tail width below 0.08; null when unknown", nullable=True)
    lane = choice(LANES, "lane of the ticker")
    lane_reason = text("rule that gave the lane")
    premium_estimate_100 = number(
        "ESTIMATE of what one call brings, not a quote: see premium_estimate_method", "USD",
        at_least=0,
    )  # fmt: skip
    premium_estimate_strike = number(
        "strike of the estimate: the lane's target, not a listed strike", "USD per share", above=0
    )
    premium_estimate_expiry = dy.Date(nullable=True, description="weekly expiry of the estimate")
    premium_estimate_method = choice(
        PREMIUM_METHODS,
        "Black-Scholes at the volatility realised over 21 sessions, scaled by the sessions left",
        nullable=True,
    )
    premium_estimate_volatility = number(
        "volatility of the estimate over the calendar time to expiry", "per year", at_least=0
    )
    premium_estimate_years = number(
        "time from 11:15 ET to the expiry, 365 days a year", "years", at_least=0
    )
    premium_estimate_rate = number("continuous rate of the estimate", "per year")
    premium_estimate_dividends = number(
        "present value of the declared dividends before the expiry", "USD per share", at_least=0
    )
    premium_estimate_reason = text("why there is no estimate", nullable=True)

    @dy.rule()
    def unknown_says_why(cls) -> pl.Expr:
        """Statistics, beta and estimate are there, or a reason is."""
        return pl.all_horizontal(
            pl.col(number).is_not_null() | pl.col(reason).is_not_null()
            for number, reason in (
                ("annual_volatility", "stats_reason"),
                ("sharpe", "stats_reason"),
                ("beta", "beta_reason"),
                ("premium_estimate_100", "premium_estimate_reason"),
            )
        )

    @dy.rule()
    def rests_on_the_past(cls) -> pl.Expr:
        """The latest close is of a session before."""
        return pl.col("last_session").is_null() | (pl.col("last_session") < pl.col("trade_date"))


class PremiumEstimateScores(dy.Schema):
    """One row a row of suitability: its estimated premium against the calls traded that day."""

    trade_date = trade_date()
    ticker = text("ticker of the universe", key=True)
    available_at = available_at()
    lane = choice(LANES, "lane whose call was estimated")
    expiry = dy.Date(nullable=True, description="weekly expiry of the estimate")
    method = choice(PREMIUM_METHODS, "how the premium was estimated", nullable=True)
    estimate_100 = number("the estimate as it was given", "USD", at_least=0)
    estimate_strike = number("strike that it was given for", "USD per share", above=0)
    traded_symbol = text("OPRA ticker of the traded call nearest that strike", nullable=True)
    traded_strike = number("strike of that call", "USD per share", above=0)
    traded_100 = number("last trade of that call in the session, for one contract", "USD", above=0)
    traded_volume = number("contracts of it traded in the session", "contracts", above=0)
    estimate_at_traded_100 = number(
        "the estimate at the strike that traded, all else as it was", "USD", at_least=0
    )
    error_100 = number("estimate_at_traded_100 - traded_100; above zero: too much", "USD")
    error_pct = number("error_100 / traded_100; large where a call trades at a cent", "fraction")
    error_yield = number("error_100 over the cost of 100 shares", "fraction")
    underlying_close = number("close of the underlying", "USD per share", above=0)
    underlying_move = number("that close over the one of the estimate, less 1", "fraction")
    estimate_at_close_100 = number(
        "the same formula and volatility at the session's close", "USD", at_least=0
    )
    move_error_100 = number("part of the error that the session's move and hours made", "USD")
    volatility_error_100 = number("part of the error that the volatility made", "USD")
    reason = text("why there is no error: no estimate, or no such call traded", nullable=True)

    @dy.rule()
    def scored_or_reason(cls) -> pl.Expr:
        """An error is there exactly where no reason is."""
        return pl.col("error_100").is_null() == pl.col("reason").is_not_null()


_CLOSES = (
    "stock_day_aggs.close",
    "corporate_actions.split_from",
    "corporate_actions.split_to",
    "corporate_actions.ex_date",
)
_RATE = ("treasury_yields.rate", "treasury_yields.months")
_DIVIDENDS = ("corporate_actions.cash_amount", "corporate_actions.ex_date")

SUITABILITY = Table(
    "suitability",
    Suitability,
    ("trade_date",),
    Kind.DERIVED,
    "How well each ticker suits covered calls: statistics, scores, lane and an estimated premium.",
    made_from=together(
        straight("universe", "ticker", "category", "enabled"),
        computed(
            "closes_count last_close annual_volatility sharpe max_drawdown daily_move downside_5d "
            "regime tail_width return_entropy stats_reason expected_move_5d beta beta_reason "
            "stability tail_calm coherence suitability internal_gate outer_gate lane lane_reason",
            *_CLOSES,
        ),
        straight("stock_day_aggs", last_session="trade_date"),
        computed("lane lane_reason", "universe.category"),
        computed("premium_estimate_strike premium_estimate_volatility", *_CLOSES),
        computed("premium_estimate_strike", "universe.category"),
        computed("premium_estimate_rate", *_RATE),
        computed("premium_estimate_dividends", *_DIVIDENDS, *_RATE),
        computed(
            "premium_estimate_100 premium_estimate_method premium_estimate_reason",
            *_CLOSES, *_RATE, *_DIVIDENDS,
        ),
    ),
)  # fmt: skip

_ESTIMATE = tuple(
    f"suitability.{name}"
    for name in (
        "last_close", "premium_estimate_volatility", "premium_estimate_years",
        "premium_estimate_rate", "premium_estimate_dividends",
    )
)  # fmt: skip
_TRADED = ("option_day_aggs.close", "option_day_aggs.strike")
_NEAREST = ("suitability.premium_estimate_strike", "suitability.premium_estimate_expiry")

PREMIUM_ESTIMATE_SCORES = Table(
    "premium_estimate_scores",
    PremiumEstimateScores,
    ("trade_date",),
    Kind.DERIVED,
    "Estimated premiums of a session against what such calls traded at on it.",
    made_from=together(
        straight(
            "suitability",
            "ticker",
            "lane",
            expiry="premium_estimate_expiry",
            method="premium_estimate_method",
            estimate_100="premium_estimate_100",
            estimate_strike="premium_estimate_strike",
        ),
        straight(
            "option_day_aggs",
            traded_symbol="symbol",
            traded_strike="strike",
            traded_100="close",
            traded_volume="volume",
        ),
        computed("traded_symbol traded_strike reason", *_NEAREST),
        computed("estimate_at_traded_100", *_ESTIMATE, "option_day_aggs.strike"),
        computed("error_100 error_pct error_yield", *_ESTIMATE, *_TRADED),
        straight("stock_day_aggs", underlying_close="close"),
        computed("underlying_move", "stock_day_aggs.close", "suitability.last_close"),
        computed(
            "estimate_at_close_100 move_error_100 volatility_error_100",
            "suitability.daily_move", *_ESTIMATE, *_TRADED, "stock_day_aggs.close",
        ),
        computed("reason", "suitability.premium_estimate_reason", "option_day_aggs.volume"),
    ),
)  # fmt: skip

TABLES = (SUITABILITY, PREMIUM_ESTIMATE_SCORES)
