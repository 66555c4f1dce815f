"""Tables of what the open book as a whole is exposed to, and what shocks would cost it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    count,
    number,
    slot,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, together

#: Account that stands for all accounts with real money: every one but the paper book.
ALL_REAL = "ALL real"
#: Ticker that stands for all of an account.
ALL_TICKERS = "*"

#: Scenarios of the stress, in the order of reports: what people call them.
SCENARIOS: Mapping[str, str] = MappingProxyType(
    {
        "down_5": "−5 %",
        "down_10": "−10 %",
        "down_20": "−20 %",
        "vol_up_10": "volatility +10 points",
        "vol_down_10": "volatility −10 points",
        "down_10_vol_up_10": "−10 % and volatility +10 points",
    }
)
#: How far an underlying moves when the market does: as far, or its beta times as far.
MOVES = ("plain", "beta")


class PortfolioRisk(dy.Schema):
    """One row an account and slot: Greeks, capital and concentration of all that is open.

    Greeks are sums over all that is held, shares and every option on them: half a covered call
    would show twice its risk, half a book half of it. A sum is null where anything in it could
    not be valued; ``left_out`` names that, ticker by ticker, with the reason.
    Capital and its concentration need prices alone, and are null where one is missing.
    """

    trade_date = trade_date()
    slot = slot()
    account = text(f"book, or {ALL_REAL} for all but the paper book", key=True)
    available_at = available_at()
    positions_count = count("open option positions", "positions", nullable=False)
    tickers_count = count("tickers with shares or options", "tickers", nullable=False)
    valued_count = count("of these, tickers that could be valued", "tickers", nullable=False)
    left_out = text("JSON: ticker to why it, and with it every sum of Greeks, has no value")
    notes = text("JSON: ticker to how it was valued where that is not plain", nullable=True)
    net_delta_shares = number("shares that move as the book does, tickers added up", "shares")
    net_delta_usd = number("the same times each ticker's price", "USD")
    net_gamma_usd_per_1pct = number("dollar delta gained as all rise 1 %", "USD per 1 % move")
    theta_day = number("what a calendar day that passes brings", "USD per calendar day")
    vega_point = number("what one volatility point more brings", "USD per volatility point")
    beta_delta_usd = number("dollar delta times beta, tickers added up", "USD")
    beta_delta_spy = number("the same in shares of SPY", "shares")
    beta_reason = text("why there is no beta-weighted delta", nullable=True)
    stock_value = number("shares held at their price", "USD")
    option_value = number(
        "options at the middle of their quotes, where there is none at their neighbours' "
        "volatility, or on their last day at half their ask; negative when owed",
        "USD",
    )
    cash_secured = number("cash that sold puts may call for", "USD", at_least=0)
    capital = number("shares, cash secured and bought options", "USD", at_least=0)
    largest_ticker = text("ticker with most capital", nullable=True)
    largest_share = number("its share of the capital", "share", at_least=0, at_most=1.000001)
    ticker_hhi = number(
        "Herfindahl index of capital by ticker; 1 is all in one", "index",
        at_least=0, at_most=1.000001,
    )  # fmt: skip
    largest_category = text("category with most capital", nullable=True)
    category_hhi = number(
        "Herfindahl index of capital by category", "index", at_least=0, at_most=1.000001
    )
    capital_reason = text("why capital is null: what has no price", nullable=True)
    uncovered_call_shares = number(
        "shares that calls were sold on beyond those held, tickers added up", "shares", at_least=0
    )
    inputs = text("JSON identities (slots, sources) of what was read")

    @dy.rule()
    def capital_or_reason(cls) -> pl.Expr:
        """Capital is null exactly where a reason is given."""
        return pl.col("capital").is_null() == pl.col("capital_reason").is_not_null()

    @dy.rule()
    def beta_or_reason(cls) -> pl.Expr:
        """The beta-weighted delta is null exactly where a reason is given."""
        return pl.col("beta_delta_usd").is_null() == pl.col("beta_reason").is_not_null()


class PortfolioStress(dy.Schema):
    """One row an account, scenario, kind of move and ticker: what the shock would bring or cost.

    Shocks are instant: no time passes, rates and dividends stay. Every option is valued again
    with its own volatility, moved by the scenario's points.
    """

    trade_date = trade_date()
    slot = slot()
    account = text(f"book, or {ALL_REAL} for all but the paper book", key=True)
    scenario = choice(tuple(SCENARIOS), "shock", key=True)
    move = choice(
        MOVES, "whether each underlying falls as the market does, or its beta times as far",
        key=True,
    )  # fmt: skip
    ticker = text(f"ticker of the underlying; {ALL_TICKERS} for all", key=True)
    available_at = available_at()
    spot_move = number("how far the underlying moves; null for all", "fraction", at_least=-1)
    volatility_points = number("added to each volatility; 0.10 is ten points", "per year")
    stock_pnl = number("of the shares", "USD")
    option_pnl = number("of the options", "USD")
    pnl = number("both", "USD")
    pnl_share = number("pnl over the capital of the account", "fraction")
    reason = text("why pnl is null; for all, which tickers cannot be told", nullable=True)

    @dy.rule()
    def pnl_or_reason(cls) -> pl.Expr:
        """Where nothing can be told a reason is given."""
        return pl.col("pnl").is_not_null() | pl.col("reason").is_not_null()


_SHARES = (
    "positions.shares", "positions.quantity", "positions.stock_basis", "positions.right",
    "positions.account", "ledger.payload",
)  # fmt: skip
_VALUED = (
    *_SHARES, "market_last.price", "option_greeks.implied_volatility", "option_greeks.rate",
    "option_greeks.dividend_yield", "option_greeks.years", "option_greeks.status",
    "positions.strike", "positions.opened_at", "option_chain.bid", "option_chain.ask",
    "corporate_actions.ex_date",
)  # fmt: skip
_CAPITAL = (
    *_SHARES, "market_last.price", "positions.strike", "option_greeks.price",
    "corporate_actions.ex_date",
)  # fmt: skip

PORTFOLIO_RISK = Table(
    "portfolio_risk",
    PortfolioRisk,
    ("trade_date", "slot"),
    Kind.DECISION,
    "Greeks, beta to SPY, capital and concentration of each account at a slot.",
    made_from=together(
        computed("account", "positions.account", "ledger.payload"),
        computed("positions_count tickers_count uncovered_call_shares", *_SHARES),
        computed("valued_count left_out notes", *_VALUED),
        computed("net_delta_shares net_delta_usd", *_VALUED, "option_greeks.delta"),
        computed("net_gamma_usd_per_1pct", *_VALUED, "option_greeks.gamma"),
        computed("theta_day", *_VALUED, "option_greeks.theta"),
        computed("vega_point", *_VALUED, "option_greeks.vega"),
        computed("beta_delta_usd beta_delta_spy beta_reason", *_VALUED, "stock_day_aggs.close"),
        computed("stock_value option_value cash_secured capital capital_reason", *_CAPITAL),
        computed("largest_ticker largest_share ticker_hhi", *_CAPITAL, "positions.ticker"),
        computed("largest_category category_hhi", *_CAPITAL, "universe.category"),
    ),
)
PORTFOLIO_STRESS = Table(
    "portfolio_stress",
    PortfolioStress,
    ("trade_date", "slot"),
    Kind.DECISION,
    "What falls of the market and moves of volatility would bring each account and ticker.",
    made_from=together(
        computed("account", "positions.account", "ledger.payload"),
        computed("ticker", "positions.ticker", "ledger.payload"),
        computed("spot_move", "stock_day_aggs.close"),
        computed("stock_pnl", *_SHARES, "market_last.price"),
        computed("option_pnl pnl reason", *_VALUED),
        computed("pnl_share", *_VALUED, *_CAPITAL),
    ),
)

TABLES = (PORTFOLIO_RISK, PORTFOLIO_STRESS)
