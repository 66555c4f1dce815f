"""Tables of what is held: positions, what became of promoted picks, and the health of contracts."""

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
    slot,
    text,
    trade_date,
)
from tracker_dagster.schemas.decisions import STRUCTURE_STATUSES

OPENING_STATUSES = ("opened", "already", "refused")
RECOMMENDATIONS = (
    "HOLD_TO_ASSIGN",
    "CLOSE_EARLY",
    "ROLL_OUT",
    "ROLL_UP_AND_OUT",
    "ROLL_DOWN_AND_OUT",
    "HOLD_WIDE_SPREAD",
    "HOLD_DATA_ISSUE",
)


class _Held(dy.Schema):
    """The option that a position is in."""

    account = text("book it belongs to, paper or real")
    symbol = text("OPRA ticker of the option")
    ticker = text("ticker of the underlying")
    expiry = dy.Date(nullable=False, description="expiration date")
    right = choice(("C", "P"), "C for a call, P for a put")
    strike = number("strike price", "USD per share", nullable=False, above=0)
    quantity = dy.Int64(
        nullable=False, description="contracts, negative when sold", metadata={"unit": "contracts"}
    )
    shares = number("shares one contract delivers", "shares", nullable=False, above=0)


class Positions(_Held):
    """One row a position as the ledger had it at the decision time of the session."""

    trade_date = trade_date()
    position_id = text("identity of the opening event", key=True)
    available_at = available_at()
    open_price = number("premium per share when opened", "USD per share", nullable=False,
                        at_least=0)  # fmt: skip
    stock_basis = number(
        "cost of the shares held against it (the account's average when it was opened, where they "
        "are held); null without a stock leg",
        "USD per share",
        above=0,
    )
    stock_source = choice(
        ("bought", "held"),
        "bought with the option, as its own; held by the account; null without shares",
        nullable=True,
    )
    opened_at = instant("when it was opened", nullable=False)
    rolled_from = text("position that it was rolled from", nullable=True)
    rolled_to = text("position that took its place", nullable=True)
    status = choice(("OPEN", "CLOSED", "EXPIRED", "ASSIGNED"), "state at the decision time")
    closed_at = instant("when it ended")
    close_price = number("premium per share paid to end it", "USD per share", at_least=0)
    fees = number("fees paid so far", "USD")
    option_cash = number("what the option has brought so far, less fees", "USD")
    stock_cash = number(
        "what the shares brought or cost: at the strike when assigned, else at their sale", "USD"
    )
    realised_cash = number("both; null while open; the cost of the shares is not in it", "USD")
    realised_pnl = number(
        "option cash and what was made on shares that left; null while open, and where what they "
        "had cost or brought is not known",
        "USD",
    )


class Openings(dy.Schema):
    """One row a promoted pick: the position it was opened as, or why none was."""

    trade_date = trade_date()
    decision_at = instant("decision that was acted on", key=True)
    account = text("book it belongs to", key=True)
    symbol = text("OPRA ticker of the option", key=True)
    available_at = available_at()
    ticker = text("ticker of the underlying")
    status = choice(
        OPENING_STATUSES,
        "opened by the daily job; already opened by hand on the same decision; or refused",
    )
    reason = text("why it was refused, or who opened it")
    position_id = text("identity of the opening event; null where refused", nullable=True)
    effective_at = instant("when the position begins; null where refused")
    quantity = dy.Int64(
        nullable=True, description="contracts, negative when sold", metadata={"unit": "contracts"}
    )
    price = number("premium per share: the bid of the decision's chain, or what was given by hand",
                   "USD per share", at_least=0)  # fmt: skip
    stock_basis = number("cost per share of the stock held against it", "USD per share", above=0)
    fees = number("fees of the opening", "USD", at_least=0)

    @dy.rule()
    def opened_is_whole(cls) -> pl.Expr:
        """What was opened has an identity, a beginning, a quantity and a price."""
        return (pl.col("status") == "refused") | pl.all_horizontal(
            pl.col(name).is_not_null()
            for name in ("position_id", "effective_at", "quantity", "price")
        )


class ContractHealth(_Held):
    """One row an open position and slot: prices, triggers, P&L and what to do."""

    trade_date = trade_date()
    slot = slot()
    position_id = text("identity of the opening event", key=True)
    available_at = available_at()
    stock_price = number("last price of the underlying", "USD per share", above=0)
    bid = number("best bid of the option", "USD per share", above=0)
    ask = number("best ask of the option", "USD per share", above=0)
    mid = number("mean of bid and ask", "USD per share", above=0)
    mark = number(
        "what the option is valued at: the mid, or half the ask where nobody bids for an option "
        "out of the money",
        "USD per share",
        above=0,
    )
    mark_source = choice(
        ("mid", "half_ask"), "which of the two; null without either", nullable=True
    )
    spread_pct = number("(ask - bid) / mid", "fraction")
    dte = dy.Int64(
        nullable=False, description="calendar days to the expiry", metadata={"unit": "days"}
    )
    moneyness = number("stock price / strike - 1", "fraction")
    premium_captured = number("1 - mark / open price of a sold option", "fraction")
    remaining_yield = number("annualised yield of what is left of the premium", "per year")
    near_strike = flag("within 3 % of the strike; null without a price", nullable=True)
    deep_itm = flag("more than 5 % in the money; null without a price", nullable=True)
    rapid_up = flag("up more than 5 % since the close before; null when unknown", nullable=True)
    day_change = number("stock price over the split-adjusted close before, less 1", "fraction")
    anomalies = text("JSON list of what is wrong with the data")
    recommendation = choice(RECOMMENDATIONS, "what to do")
    reasons = text("JSON list of why")
    roll_symbol = text("contract to roll to", nullable=True)
    roll_credit = number(
        "net credit of the roll for the position, at bid and ask, less the fees of both trades",
        "USD",
    )
    roll_expiry = dy.Date(nullable=True, description="expiration date of that contract")
    roll_strike = number("strike price of that contract", "USD per share", above=0)
    roll_bid = number("best bid of that contract", "USD per share", above=0)
    roll_cap = number(
        "most that a share brings once rolled, strike and premiums; of a sold put what a share "
        "comes to cost at the least",
        "USD per share",
    )
    rolls_count = count("tradable contracts that could be rolled to", "contracts")
    fft_status = choice(STRUCTURE_STATUSES, "spectral gate of the underlying", nullable=True)
    fractal_status = choice(STRUCTURE_STATUSES, "fractal gate of the underlying", nullable=True)
    wide_spread = flag("spread above 8 % of the mid; null without both quotes", nullable=True)
    early_assignment = flag(
        "may be exercised early: in the money with less time value than the next dividend before "
        "the expiry; null when unknown",
        nullable=True,
    )
    early_assignment_note = text("the dividend, or why the flag is null", nullable=True)
    ex_date = dy.Date(nullable=True, description="next ex-date before the expiry of a sold call")
    time_value = number("mark less what exercise now would pay", "USD per share")
    implied_volatility = number("of the contract", "per year", above=0)
    delta = number("of a share of the contract, as if held", "per USD")
    gamma = number("of a share of the contract, as if held", "per USD squared")
    theta = number("of a share of the contract, as if held", "USD per calendar day")
    vega = number("of a share of the contract, as if held", "USD per 1.00")
    greeks_source = choice(
        ("ours", "vendor"), "option_greeks, or the vendor's; null without any", nullable=True
    )
    closed_pnl = number(
        "made if all is closed now: option at its ask, shares at their price", "USD"
    )
    assigned_pnl = number("made if the option is exercised against the position", "USD")
    delta_gain = number("what closing now brings more than being assigned", "USD")
    option_pnl = number(
        "unrealised, open price against the mark, less the fees paid; null after a split", "USD"
    )
    stock_pnl = number("unrealised on the stock leg; null without a basis", "USD")
    total_pnl = number("both legs; null unless both are known", "USD")
    inputs = text("JSON identities (slots, sources) of what was read")


POSITIONS = Table(
    "positions",
    Positions,
    ("trade_date",),
    Kind.DERIVED,
    "Positions as folded from the ledger up to the decision time of the session, before what "
    "the session itself opens.",
    made_from=origins.POSITIONS,
)
OPENINGS = Table(
    "openings",
    Openings,
    ("trade_date",),
    Kind.DECISION,
    "What became of each promoted pick: opened in the paper book, or refused with a reason.",
    made_from=origins.OPENINGS,
)
CONTRACT_HEALTH = Table(
    "contract_health",
    ContractHealth,
    ("trade_date", "slot"),
    Kind.DECISION,
    "Open positions at a slot: prices, triggers, anomalies, P&L and a recommendation.",
    made_from=origins.CONTRACT_HEALTH,
)

TABLES = (POSITIONS, OPENINGS, CONTRACT_HEALTH)
