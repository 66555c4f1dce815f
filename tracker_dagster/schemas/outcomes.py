"""Tables of what became of decisions: outcomes of positions, the scorecard, the Monday report."""

from __future__ import annotations

import dataframely as dy

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
from tracker_dagster.schemas.decisions import BASES
from tracker_dagster.schemas.lineage import computed, straight, together

#: The spans that a scorecard counts, by the session on which positions ended.
PERIODS = ("this_week", "last_week", "all")


class Outcomes(dy.Schema):
    """One row a position that ended, on the first session that counts with its end."""

    trade_date = trade_date()
    position_id = text("identity of the opening event", key=True)
    available_at = available_at()
    account = text("book it belongs to, paper or real")
    symbol = text("OPRA ticker of the option")
    ticker = text("ticker of the underlying")
    right = choice(("C", "P"), "C for a call, P for a put")
    expiry = dy.Date(nullable=False, description="expiration date")
    strike = number("strike price", "USD per share", nullable=False, above=0)
    quantity = dy.Int64(
        nullable=False, description="contracts, negative when sold", metadata={"unit": "contracts"}
    )
    status = choice(("CLOSED", "EXPIRED", "ASSIGNED"), "how it ended")
    is_covered = flag("a sold call with shares of known cost held against it")
    opened_on = dy.Date(nullable=False, description="session on which it was opened")
    ended_on = dy.Date(nullable=False, description="session on which it ended")
    opened_at = instant("when it was opened", nullable=False)
    ended_at = instant("when it ended", nullable=False)
    entry_price = number("price of the stock at the opening", "USD per share", above=0)
    entry_source = text("where that price is from", nullable=True)
    exit_price = number("price of the stock at the end", "USD per share", above=0)
    exit_source = text("where that price is from", nullable=True)
    cost = number(
        "what stood behind it: shares at the entry price; for a put the cash at the strike",
        "USD", at_least=0,
    )  # fmt: skip
    premium = number("what was received when it was opened; negative when paid", "USD")
    option_result = number(
        "premium less fees, less what it cost to end it: the price paid, or what the option was "
        "worth at its assignment",
        "USD",
    )
    dividends = number("on the shares, with ex-dates after the opening, up to the end", "USD")
    buy_hold_pnl = number("of the same shares over the same span, dividends included", "USD")
    position_result = number(
        "option_result and, for a covered call, what its shares gained or lost over the span, "
        "sold or not",
        "USD",
    )
    versus_hold = number("position_result less buy_hold_pnl", "USD")
    realised_pnl = number("as the ledger has it: null while shares that arrived are kept", "USD")
    hit = flag("position_result above zero", nullable=True)
    beat_hold = flag("versus_hold above zero", nullable=True)
    max_favourable = number("highest close of the stock over the entry, less 1", "fraction")
    max_adverse = number("lowest close of the stock over the entry, less 1", "fraction")
    decision_at = instant("decision it was opened on; null where no pick of it is known")
    basis = choice(BASES, "basis of that decision", nullable=True)
    lane = text("lane of the pick", nullable=True)
    rank = count("rank of the pick")
    predicted_result = number("expected_value_100 of the pick, for the whole position", "USD")
    prediction_error = number("option_result less predicted_result", "USD")
    predicted_premium = number("est_weekly_prem_100 of the pick, for the whole position", "USD")
    premium_error = number("premium less predicted_premium: what the mid promised too much", "USD")
    reasons = text("JSON: column to why it is null")


class FridayScorecard(dy.Schema):
    """One row an account and span: how the positions that ended in it did."""

    trade_date = trade_date()
    account = text("book; books are never added up", key=True)
    period = choice(PERIODS, "week to date, the week before, or all so far", key=True)
    available_at = available_at()
    first_day = dy.Date(nullable=True, description="first day of the span; null for all")
    ended = count("positions that ended", nullable=False)
    scored = count("of those, with a known result", nullable=False)
    hits = count("results above zero", nullable=False)
    hit_rate = number("hits / scored", "fraction", at_least=0, at_most=1)
    hit_low = number("lower end of its 95 % Wilson interval", "fraction", at_least=0, at_most=1)
    hit_high = number("upper end", "fraction", at_least=0, at_most=1)
    beat_hold = count("results above those of the shares alone", nullable=False)
    beat_rate = number("beat_hold / scored", "fraction", at_least=0, at_most=1)
    beat_low = number("lower end of its 95 % Wilson interval", "fraction", at_least=0, at_most=1)
    beat_high = number("upper end", "fraction", at_least=0, at_most=1)
    position_result = number("sum over the scored", "USD")
    buy_hold_pnl = number("sum over the same positions", "USD")
    versus_hold = number("difference of the two sums", "USD")
    cost = number("sum of what stood behind them", "USD", at_least=0)
    premium = number("sum of premiums received", "USD")
    predicted = count("positions with a predicted result", nullable=False)
    prediction_error = number("mean of what came less what was predicted", "USD")
    prediction_error_abs = number("mean of its size", "USD", at_least=0)
    premium_error = number("mean of premium received less premium at the mid", "USD")
    ranked = count("positions compared in rank with others of their decision", nullable=False)
    rank_drift = number("mean of |rank at the pick - rank by return|", "ranks", at_least=0)
    rank_correlation = number("Spearman's, within decisions", "correlation",
                              at_least=-1.0001, at_most=1.0001)  # fmt: skip


class MondayReport(dy.Schema):
    """The week's plan as it stood on a session."""

    trade_date = trade_date()
    available_at = available_at()
    decision_at = instant("decision that the plan rests on", nullable=False)
    basis = choice(BASES, "basis of that decision")
    picks_count = count("tickers with a pick", nullable=False)
    promoted_count = count("picks promoted", nullable=False)
    open_count = count("positions open", nullable=False)
    markdown = text("the report, without its line of generation time")


_STOCK = ("stock_day_aggs.close", "market_last.price")
_ENTRY = (*_STOCK, "ledger.payload", "weekly_picks.price")
_SPAN = (*_ENTRY, "corporate_actions.cash_amount", "corporate_actions.ex_date")
OUTCOMES = Table(
    "outcomes",
    Outcomes,
    ("trade_date",),
    Kind.DERIVED,
    "What became of each position, once, against its shares alone and against what was predicted.",
    made_from=together(
        computed("position_id", "ledger.event_id"),
        computed(
            "account symbol ticker right expiry strike quantity is_covered premium option_result "
            "realised_pnl",
            "ledger.payload",
        ),
        computed("status", "ledger.kind"),
        computed("opened_on ended_on opened_at ended_at", "ledger.effective_at"),
        computed("entry_price entry_source cost", *_ENTRY),
        computed("exit_price exit_source option_result", *_STOCK, "ledger.payload"),
        computed("dividends", "corporate_actions.cash_amount", "corporate_actions.ex_date"),
        computed("buy_hold_pnl position_result versus_hold hit beat_hold reasons", *_SPAN),
        computed("max_favourable max_adverse", *_ENTRY),
        straight("weekly_picks", "lane", "rank"),
        computed("predicted_premium premium_error", "weekly_picks.est_weekly_prem_100"),
        computed(
            "predicted_result prediction_error",
            "weekly_picks.mid", "weekly_picks.bid", "ledger.payload",
        ),
    ),
)  # fmt: skip
_SCORED = (
    "outcomes.ended_on", "outcomes.position_result", "outcomes.buy_hold_pnl", "outcomes.hit",
    "outcomes.beat_hold",
)  # fmt: skip
FRIDAY_SCORECARD = Table(
    "friday_scorecard",
    FridayScorecard,
    ("trade_date",),
    Kind.DERIVED,
    "How the positions that ended did: week to date, the week before, and all so far.",
    made_from=together(
        straight("outcomes", "account", "cost", "premium"),
        computed(
            "ended scored hits hit_rate hit_low hit_high beat_hold beat_rate beat_low beat_high "
            "position_result buy_hold_pnl versus_hold first_day period",
            *_SCORED,
        ),
        computed("predicted prediction_error prediction_error_abs", "outcomes.prediction_error"),
        straight("outcomes", "premium_error"),
        computed("ranked rank_drift rank_correlation", "outcomes.rank", "outcomes.position_result"),
    ),
)
MONDAY_REPORT = Table(
    "monday_report",
    MondayReport,
    ("trade_date",),
    Kind.DECISION,
    "The week's plan as it stood on each session, in markdown.",
    made_from=together(
        straight("weekly_picks", "basis", "decision_at", picks_count="status"),
        straight("promotions", promoted_count="decision"),
        straight("positions", open_count="status"),
        computed(
            "markdown",
            "weekly_picks.ticker", "weekly_picks.lane", "weekly_picks.rank_score",
            "weekly_picks.premium_yield", "weekly_picks.suitability", "weekly_picks.cost_bucket",
            "weekly_picks.stage", "weekly_picks.reason", "promotions.decision",
            "promotions.reason", "contract_health.recommendation", "friday_scorecard.hit_rate",
        ),
    ),
)  # fmt: skip

TABLES = (OUTCOMES, FRIDAY_SCORECARD, MONDAY_REPORT)
