"""Tables of what was computed and decided: features, picks, promotions, comparisons, reports."""

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

#: Where the numbers of a decision come from: a chain captured at a slot, or published day files.
BASES = ("snapshot", "day_file")
LANES = ("SAFE", "SAFE_HIGH", "SAFE_HIGH_PAYOUT", "AGGRESSIVE")
HISTORY_STATUSES = ("insufficient_history", "intraday_ok", "daily_stable", "weekly_stable")
STRUCTURE_STATUSES = ("insufficient_history", "stable", "unstable")
MODELS = ("baseline", "gated", "weighted")
DECISIONS = ("promote", "skip", "error")
#: Upper ends of the cost of 100 shares, in dollars, and what the reports call each bucket.
COST_BUCKETS: tuple[tuple[float, str], ...] = (
    (5_000.0, "<= 5k"),
    (10_000.0, "<= 10k"),
    (25_000.0, "<= 25k"),
    (50_000.0, "<= 50k"),
    (float("inf"), "> 50k"),
)


class _Decision(dy.Schema):
    """What one decision of one session is keyed by."""

    trade_date = trade_date()
    basis = choice(BASES, "snapshot: a captured chain; day_file: files of earlier days", key=True)
    decision_at = instant("when the decision was taken; nothing known later is in it", key=True)
    available_at = available_at()


class StructureFeatures(dy.Schema):
    """One row a ticker: shape of its one-minute returns against sign-flipped surrogates.

    The bounce of trades between bid and ask is structure too: where half the spread is more than
    about a quarter of a minute's standard deviation, ``unstable`` may mean no more than that.
    """

    trade_date = trade_date()
    ticker = text("ticker", key=True)
    available_at = available_at()
    bars_1m_count = count(
        "regular-hours one-minute bars of the last five sessions, known at the decision time; "
        "what the last still lacks comes from the end of the session before the five",
        "bars",
        nullable=False,
    )
    history_status = choice(HISTORY_STATUSES, "ladder of 120, 390 and 1950 bars")
    returns_count = count("within-session returns that the estimators saw", "returns")
    spectral_entropy = number(
        "entropy of the Welch spectrum of the returns; 1 is white noise", "fraction",
        at_least=0, at_most=1.000001,
    )  # fmt: skip
    fractal_roughness = number(
        "fractal dimension of the price path by the madogram; 1.5 is a random walk", "dimension"
    )
    fft_p_value = number("two-sided, against surrogates", "probability", above=0, at_most=1)
    fractal_p_value = number("two-sided, against surrogates", "probability", above=0, at_most=1)
    fft_status = choice(STRUCTURE_STATUSES, "whether the spectral entropy is outside its null")
    fractal_status = choice(STRUCTURE_STATUSES, "whether the roughness is outside its null")
    alpha = number("false alarm rate of both gates together", "probability", above=0, at_most=1)
    surrogates = count("sign-flipped surrogates drawn", "surrogates")
    reason = text("why features are null", nullable=True)


class WeeklyPicks(_Decision):
    """One row a ticker considered: its call of the week, or why it has none."""

    ticker = text("ticker", key=True)
    category = text("category of the universe")
    status = choice(("picked", "missing"), "picked, or missing with stage and reason")
    stage = text(
        "stage at which a missing ticker fell: price, lane, chain, selection", nullable=True
    )
    reason = text("why a missing ticker has no pick", nullable=True)
    lane = choice(LANES, "lane of the ticker; null where it could not be told", nullable=True)
    lane_reason = text("rule that gave the lane, or why there is none", nullable=True)
    rank = count("1 is best among the picked of the decision")
    rank_score = number("weighted mean of the components; higher is better", "score")
    score_yield = number("component: yield per week against its cap", "score",
                         at_least=0, at_most=1)  # fmt: skip
    score_suitability = number("component: covered-call suitability", "score",
                               at_least=0, at_most=1)  # fmt: skip
    score_calm = number("component: low volatility and drawdown", "score",
                        at_least=0, at_most=1)  # fmt: skip
    score_trend = number("component: regime and downside signals", "score",
                         at_least=0, at_most=1)  # fmt: skip
    score_liquidity = number(
        "component: mean of a tight spread and the strike's quality, of those known", "score",
        at_least=0, at_most=1,
    )  # fmt: skip
    price = number("price of the underlying", "USD per share", above=0)
    price_at = instant("time of that price")
    price_age_minutes = number(
        "from that time to the decision; negative where the price is of after it", "minutes"
    )
    price_source = text("where that price came from", nullable=True)
    pack_100_cost = number("cost of 100 shares", "USD", above=0)
    cost_bucket = text("bucket of the cost of 100 shares", nullable=True)
    symbol = text("OPRA ticker of the call", nullable=True)
    expiry = dy.Date(
        nullable=True, description="first weekly expiry at least three sessions after the session"
    )
    dte = count("calendar days from the session to the expiry", "days")
    strike = number("strike price of the call", "USD per share", above=0)
    strike_source = text("rule that chose the strike", nullable=True)
    target_delta = number("delta that the lane aims at", "USD per USD", at_least=0, at_most=1)
    target_strike = number("strike that the expected move aims at", "USD per share", above=0)
    bid = number("best bid of the call", "USD per share", above=0)
    ask = number("best ask of the call", "USD per share", above=0)
    mid = number(
        "mean of bid and ask; on the day_file basis the contract's last traded price",
        "USD per share",
        above=0,
    )
    premium_source = text("mid_quote or day_close", nullable=True)
    spread_pct = number("(ask - bid) / mid; null without quotes", "fraction", at_least=0)
    delta = number("delta of the call", "USD per USD", at_least=0, at_most=1.0001)
    delta_source = text("vendor, option_greeks or bsm_vendor_iv; or why it is null", nullable=True)
    implied_volatility = number("behind the delta", "per year", above=0)
    volatility_source = text("vendor or option_greeks; or why it is null", nullable=True)
    open_interest = count("open interest of the session before", "contracts")
    day_volume = number("contracts traded in the session of the data", "contracts", at_least=0)
    quote_at = instant("time of the quote")
    est_weekly_prem_100 = number("premium of one contract at the mid", "USD", above=0)
    premium_at_bid_100 = number("premium of one contract at the bid", "USD", above=0)
    premium_yield = number("est_weekly_prem_100 / pack_100_cost, for the period", "fraction")
    static_return = number(
        "if the price stays: (min(price, strike) - price + mid) / price", "fraction"
    )
    downside_protection = number("fall of the price down to the break-even: mid / price",
                                 "fraction")  # fmt: skip
    assignment_probability = number(
        "risk-neutral probability of expiry above the strike", "fraction", at_least=0, at_most=1
    )
    fees_100 = number("of selling one contract", "USD", at_least=0)
    expected_value_100 = number(
        "of selling one contract at the bid after fees, valued at the realised volatility; an "
        "estimate",
        "USD",
    )
    expected_value_reason = text("why it is null", nullable=True)
    strike_quality = number(
        "how well the contract traded in the five sessions before the day; 0.5 is about the "
        "median", "fraction", at_least=0, at_most=1,
    )  # fmt: skip
    iv_rank = number(
        "of the session before: (iv_30d - low) / (high - low) of its year", "fraction",
        at_least=0, at_most=1,
    )  # fmt: skip
    iv_percentile = number(
        "of the session before: share of its year that lies below", "fraction",
        at_least=0, at_most=1,
    )  # fmt: skip
    iv_rank_source = text("session and basis that the rank is of", nullable=True)
    iv_rank_reason = text("why rank or percentile is null", nullable=True)
    annualised_yield = number("premium_yield x 365 / dte, simple", "per year")
    otm_pct = number("strike / price - 1", "fraction")
    break_even = number("price - mid: where the position starts to lose", "USD per share")
    if_called_return = number("(strike - price + mid) / price, if assigned", "fraction")
    expected_move_5d = number("one standard deviation over five sessions", "USD per share",
                              at_least=0)  # fmt: skip
    bars_1m_count = count("regular-hours one-minute bars behind the gates", "bars")
    history_status = choice(HISTORY_STATUSES, "ladder of 120, 390 and 1950 bars", nullable=True)
    fft_status = choice(STRUCTURE_STATUSES, "spectral gate", nullable=True)
    fractal_status = choice(STRUCTURE_STATUSES, "fractal gate", nullable=True)
    closes_count = count("split-adjusted closes behind the statistics", "closes")
    annual_volatility = number("of daily log returns", "per year", at_least=0)
    sharpe = number("mean over deviation of daily log returns, annual", "ratio")
    max_drawdown = number("largest fall from a peak", "fraction", at_least=0, at_most=1)
    tail_width = number("spread between the 1st and 10th percentile of returns", "log return")
    return_entropy = number("entropy of the histogram of returns", "fraction", at_least=0)
    coherence = number("Sharpe ratio and stability, less a part for each failed gate", "score")
    suitability = number("covered-call suitability", "score", at_least=0, at_most=1)
    downside_5d = number("10th percentile of five-session log returns", "log return")
    regime = number("slope of the closes of the last 20 sessions over their mean", "per session")
    stats_reason = text("why statistics are null, or what they leave out", nullable=True)
    earnings_in_period = flag("earnings before the expiry; null when unknown", nullable=True)
    earnings_note = text("the date found, or why the flag is null", nullable=True)
    ex_dividend_in_period = flag("ex-date before the expiry; null when unknown", nullable=True)
    ex_dividend_note = text("the date found, or why the flag is null", nullable=True)
    split_in_period = flag("a known split executes before the expiry", nullable=True)
    split_note = text("the split found, or why the flag is null", nullable=True)
    gates_not_evaluated = text("JSON: gate to why it could not be evaluated")
    candidates_count = count("calls of the expiry that were considered")
    rejections = text("JSON: gate to number of candidates that it turned away")
    inputs = text("JSON identities (ETags, slots, sources) of what was read")

    @dy.rule()
    def missing_says_why(cls) -> pl.Expr:
        """A ticker without a pick has a stage and a reason."""
        return (pl.col("status") == "picked") | (
            pl.col("stage").is_not_null() & pl.col("reason").is_not_null()
        )

    @dy.rule()
    def picked_is_whole(cls) -> pl.Expr:
        """A pick has a contract, a price and a premium."""
        return (pl.col("status") == "missing") | pl.all_horizontal(
            pl.col(name).is_not_null()
            for name in ("symbol", "price", "strike", "expiry", "est_weekly_prem_100", "rank")
        )


class Promotions(_Decision):
    """One row a pick considered under the seed: promoted, skipped or an error, gate by gate."""

    ticker = text("ticker; * where the request itself was wrong", key=True)
    decision = choice(DECISIONS, "promote, skip or error")
    reason = text("passed_gates, or the first gate that failed")
    symbol = text("OPRA ticker of the call", nullable=True)
    category = text("category of the universe", nullable=True)
    lane = text("lane of the pick", nullable=True)
    expiry = dy.Date(nullable=True, description="expiration date")
    strike = number("strike price", "USD per share", above=0)
    premium_100 = number("premium of one contract at the mid", "USD")
    premium_yield = number("premium over the cost of 100 shares", "fraction")
    rank = count("rank of the pick")
    rank_score = number("rank score of the pick", "score")
    seed = number("cash the run was given", "USD")
    lane_filter = text("lane asked for, or ALL")
    top_n = count("how many picks were considered in rank order", nullable=False)
    pack_100_cost = number("cost of 100 shares", "USD")
    cash_before = number("cash left before this pick", "USD")
    cash_after = number("cash left after it", "USD")
    gates = text("JSON list of gate, outcome (pass, fail, not_evaluated), value, limit, note")
    reasons = text("JSON list: the code of every gate that failed, in order", nullable=True)
    not_evaluated = text("JSON: gate to why it could not be evaluated", nullable=True)


class ModelCompares(_Decision):
    """One row a model and ticker: what it would decide, and whether baseline differs."""

    model = choice(MODELS, "baseline, gated or weighted", key=True)
    ticker = text("ticker; * where the request itself was wrong", key=True)
    decision = choice(DECISIONS, "promote, skip or error")
    reason = text("why")
    rank = count("rank of the ticker under the model")
    rank_score = number("rank score before the model", "score")
    rank_score_adjusted = number("rank score under the model", "score")
    symbol = text("contract the model would sell", nullable=True)
    strike = number("strike the model would sell", "USD per share", above=0)
    premium_100 = number("premium of that contract at the mid", "USD")
    fft_status = choice(STRUCTURE_STATUSES, "spectral gate", nullable=True)
    fractal_status = choice(STRUCTURE_STATUSES, "fractal gate", nullable=True)
    decision_changed = flag("decision differs from baseline")
    strike_changed = flag("strike differs from baseline")
    seed = number("cash the comparison was given", "USD")
    top_n = count("how many picks were considered in rank order", nullable=False)


class Summary(dy.Schema):
    """The report of a session."""

    trade_date = trade_date()
    available_at = available_at()
    decision_at = instant("decision that the report shows", nullable=False)
    basis = choice(BASES, "basis of that decision")
    seed = number("cash of the promotions shown", "USD")
    lane_filter = text("lane of the promotions shown, or ALL", nullable=True)
    picks_count = count("tickers with a pick", nullable=False)
    missing_count = count("tickers without one", nullable=False)
    promoted_count = count("picks promoted", nullable=False)
    markdown = text("the report, without its line of generation time")


STRUCTURE_FEATURES = Table(
    "structure_features",
    StructureFeatures,
    ("trade_date",),
    Kind.DERIVED,
    "Spectral entropy and fractal roughness of one-minute returns, tested against surrogates. A "
    "bid-ask bounce of more than about a quarter of a minute's deviation is structure to them too.",
    made_from=origins.STRUCTURE_FEATURES,
)
WEEKLY_PICKS = Table(
    "weekly_picks",
    WeeklyPicks,
    ("trade_date", "basis", "decision_at"),
    Kind.DECISION,
    "The covered call of the week for every ticker of the universe, or why there is none.",
    made_from=origins.WEEKLY_PICKS,
)
PROMOTIONS = Table(
    "promotions",
    Promotions,
    ("trade_date", "basis", "decision_at"),
    Kind.DECISION,
    "Which picks the cash promotes, with every gate's outcome; a pure log that opens nothing.",
    made_from=origins.PROMOTIONS,
)
MODEL_COMPARES = Table(
    "model_compares",
    ModelCompares,
    ("trade_date", "basis", "decision_at"),
    Kind.DECISION,
    "What baseline, gated and weighted would decide over the same candidates.",
    made_from=origins.MODEL_COMPARES,
)
SUMMARY = Table(
    "summary",
    Summary,
    ("trade_date",),
    Kind.DECISION,
    "The report of each session in markdown.",
    made_from=origins.SUMMARY,
)

TABLES = (
    STRUCTURE_FEATURES,
    WEEKLY_PICKS,
    PROMOTIONS,
    MODEL_COMPARES,
    SUMMARY,
)
