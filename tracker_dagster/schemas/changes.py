"""The table of what changed between a decision and the one of the session before."""

from __future__ import annotations

import dataframely as dy

from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    instant,
    number,
    text,
    trade_date,
)
from tracker_dagster.schemas.decisions import BASES
from tracker_dagster.schemas.lineage import computed, together

#: What can change for a ticker, in the order in which the report tells it.
CHANGES = ("new", "gone", "expiry_rolled", "strike", "lane", "decision", "flag", "rank")


class PickChanges(dy.Schema):
    """One row a ticker and kind of change since the session before, on the same basis."""

    trade_date = trade_date()
    basis = choice(BASES, "basis of both decisions; different bases are never compared", key=True)
    decision_at = instant("the later decision", key=True)
    ticker = text("ticker", key=True)
    change = choice(CHANGES, "what changed", key=True)
    available_at = available_at()
    since = dy.Date(nullable=False, description="session of the earlier decision")
    since_decision_at = instant("the earlier decision", nullable=False)
    before = text("what it was; null where there was nothing", nullable=True)
    after = text("what it is; null where there is nothing", nullable=True)
    moved_by = text("the input, gate or date that moved it most")
    why = text("the same in words, with numbers")
    size = number(
        "how much: ranks risen (negative: fallen), dollars of strike; null for the rest",
        "ranks or USD per share",
    )
    detail = text("JSON: the parts of the change by input, which add up to the whole")


_PICKS = (
    "weekly_picks.status", "weekly_picks.symbol", "weekly_picks.strike", "weekly_picks.expiry",
    "weekly_picks.lane", "weekly_picks.rank", "weekly_picks.rank_score", "weekly_picks.price",
    "weekly_picks.mid", "weekly_picks.premium_yield", "weekly_picks.implied_volatility",
    "weekly_picks.stage", "weekly_picks.reason", "weekly_picks.lane_reason",
    "weekly_picks.earnings_in_period", "weekly_picks.ex_dividend_in_period",
    "weekly_picks.fft_status", "weekly_picks.fractal_status", "promotions.decision",
    "promotions.reason",
)  # fmt: skip

PICK_CHANGES = Table(
    "pick_changes",
    PickChanges,
    ("trade_date", "basis", "decision_at"),
    Kind.DECISION,
    "What changed in the picks since the session before, and which input moved it.",
    made_from=together(
        computed("ticker", "weekly_picks.ticker"),
        computed("since", "weekly_picks.trade_date"),
        computed("since_decision_at", "weekly_picks.decision_at"),
        computed("change before after moved_by why size detail", *_PICKS),
    ),
)

TABLES = (PICK_CHANGES,)
