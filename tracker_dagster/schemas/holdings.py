"""Tables of the shares that accounts hold, and of the call to write on each holding."""

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
    instant,
    number,
    text,
    trade_date,
)
from tracker_dagster.schemas.decisions import BASES
from tracker_dagster.schemas.lineage import computed, straight, together


class Holdings(dy.Schema):
    """One row an account and ticker: its shares as of the decision time of the session."""

    trade_date = trade_date()
    account = text("account that holds them", key=True)
    ticker = text("ticker", key=True)
    available_at = available_at()
    lots = count("lots, shares acquired together", "lots", nullable=False)
    shares = number("shares over all lots", "shares", nullable=False, at_least=0)
    average_basis = number(
        "what a share had cost on average; null where that of one lot is not known",
        "USD per share",
        above=0,
    )
    cost = number("what all had cost; null where that of one lot is not known", "USD", above=0)
    first_acquired_on = dy.Date(nullable=True, description="date of the oldest lot, where known")
    covered = number("shares that open calls may call away", "shares", nullable=False, at_least=0)
    free = number(
        "shares without a call on them; negative where calls are open on more than are there; "
        "null after a split that the account has not been told of",
        "shares",
    )
    recorded_at = instant("since when the oldest lot stands in the ledger")
    split_on = dy.Date(
        nullable=True,
        description="a split since: the lots are those of before it, import the holdings anew",
    )


class HoldingCalls(dy.Schema):
    """One row a holding of 100 free shares or more: the call to write on it, or why none."""

    trade_date = trade_date()
    account = text("account that holds the shares", key=True)
    ticker = text("ticker", key=True)
    available_at = available_at()
    basis = choice(BASES, "basis of the decision; null without one", nullable=True)
    decision_at = instant("decision whose calls were looked at")
    free = number("shares without a call on them", "shares")
    average_basis = number("what a share had cost on average", "USD per share", above=0)
    at_basis_or_above = flag("whether only strikes at the average basis or above were allowed")
    contracts = count("calls to write: one for every 100 free shares", "contracts")
    price = number("price of the underlying", "USD per share", above=0)
    symbol = text("OPRA ticker of the call; null where there is none to write", nullable=True)
    expiry = dy.Date(nullable=True, description="expiration date")
    dte = count("calendar days to the expiry", "days")
    strike = number("strike price", "USD per share", above=0)
    premium = number("bid of the call; in day files its last traded price", "USD per share",
                     above=0)  # fmt: skip
    premium_source = choice(("bid", "day_close"), "what the premium is", nullable=True)
    premium_total = number("premium of all contracts, before fees", "USD", above=0)
    yield_on_price = number("premium / price, for the period", "fraction", above=0)
    yield_on_basis = number("premium / average basis, for the period", "fraction", above=0)
    called_return_on_basis = number(
        "if called away: (strike - average basis + premium) / average basis", "fraction"
    )
    assignment_probability = number("risk-neutral, at the implied volatility", "fraction",
                                    at_least=0, at_most=1)  # fmt: skip
    choice_rank = count("place of the call among those that passed the ticker's gates")
    reason = text("why there is no call to write", nullable=True)

    @dy.rule()
    def call_or_reason(cls) -> pl.Expr:
        """A holding has a call to write, or a reason why not."""
        return pl.col("symbol").is_null() == pl.col("reason").is_not_null()


HOLDINGS = Table(
    "holdings",
    Holdings,
    ("trade_date",),
    Kind.DERIVED,
    "Shares of each account as folded from the ledger up to the decision time of the session.",
    made_from=together(
        computed(
            "account ticker lots shares average_basis cost first_acquired_on covered free",
            "ledger.payload",
            "ledger.kind",
        ),
        computed("recorded_at", "ledger.effective_at"),
        straight("corporate_actions", split_on="ex_date"),
    ),
)
HOLDING_CALLS = Table(
    "holding_calls",
    HoldingCalls,
    ("trade_date",),
    Kind.DECISION,
    "Which call to write on each holding with 100 free shares or more, or why none.",
    made_from=together(
        straight("holdings", "account", "ticker", "free", "average_basis"),
        computed("contracts", "holdings.free"),
        straight(
            "pick_candidates",
            *("basis", "decision_at", "price", "symbol", "expiry", "dte", "strike"),
            *("assignment_probability", "choice_rank"),
        ),
        computed("premium premium_source", "pick_candidates.bid", "pick_candidates.mid"),
        computed("premium_total", "pick_candidates.bid", "pick_candidates.mid", "holdings.free"),
        computed(
            "yield_on_price", "pick_candidates.bid", "pick_candidates.mid", "pick_candidates.price"
        ),
        computed(
            "yield_on_basis called_return_on_basis",
            *("pick_candidates.bid", "pick_candidates.mid", "holdings.average_basis"),
        ),
        computed("called_return_on_basis", "pick_candidates.strike"),
        computed(
            "reason",
            *("holdings.free", "holdings.split_on", "holdings.average_basis"),
            *("pick_candidates.strike", "pick_candidates.failed_gate", "weekly_picks.reason"),
        ),
    ),
)

TABLES = (HOLDINGS, HOLDING_CALLS)
