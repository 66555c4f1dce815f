"""Assets of what each account is exposed to as a whole: Greeks and capital, and stress."""

from datetime import datetime
from typing import Any

import polars as pl

from tracker_dagster.assets.chains import SNAPSHOT
from tracker_dagster.assets.health import (
    book_moment,
    book_slot,
    last_chains,
    open_at,
    prices_until,
)
from tracker_dagster.assets.rates import dividends_on
from tracker_dagster.assets.universe import members_at
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.folds import as_on
from tracker_dagster.ledger.holdings import holdings_as_of
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.portfolio_risk import ALL_TICKERS, PORTFOLIO_RISK, PORTFOLIO_STRESS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.strategy.holdings import marked_splits
from tracker_dagster.strategy.portfolio_legs import GREEKS_READ
from tracker_dagster.strategy.portfolio_risk import MARKET, Book, betas_to_market, valued_book
from tracker_dagster.strategy.portfolio_risk import portfolio_risk as risk_of
from tracker_dagster.strategy.portfolio_stress import portfolio_stress as stress_of
from tracker_dagster.trading_calendar import last_sessions, previous_session

#: Sessions of closes behind a beta: a year of returns.
HISTORY_SESSIONS = 253
_READ = (
    "ledger",
    "positions",
    "openings",
    "market_last",
    "option_chain",
    "option_greeks",
    "stock_day_aggs",
    "corporate_actions",
    "universe",
)


def _book(run: DayRun, slot: datetime) -> Book:
    """What is open at the slot, valued from what was seen by then."""
    moment = book_moment(run, slot)
    held = open_at(run, slot)
    ledger = as_on(run.warehouse.read(LEDGER), run.day)
    holdings = holdings_as_of(ledger, moment).filter(pl.col("shares") != 0)
    tickers = sorted({*held["ticker"], *holdings["ticker"]})
    first = last_sessions(previous_session(run.day), HISTORY_SESSIONS)[0]
    past: dict[str, Any] = {"as_of": slot, "first": first, "last": run.day}
    of_tickers = sorted({*tickers, MARKET})
    bars = run.warehouse.read(
        STOCK_DAY_AGGS,
        where={"ticker": of_tickers},
        columns=["trade_date", "ticker", "source", "available_at", "close"],
        **past,
    )
    splits = run.warehouse.read(
        CORPORATE_ACTIONS, where={"ticker": of_tickers, "action": "split"}, **past
    )
    dividends, _ = dividends_on(run, slot, tickers)
    underlyings = held["ticker"].unique().to_list()
    return valued_book(
        held,
        marked_splits(holdings, splits, run.day),
        prices_until(run, slot, of_tickers),
        last_chains(
            run, OPTION_GREEKS, slot, underlyings, (*GREEKS_READ, "trade_date"), basis=SNAPSHOT,
        ),
        dividends,
        betas_to_market(bars, splits, run.day, slot),
        members_at(run, min(moment, run.now)),
        run.day,
        slot,
        quotes=last_chains(
            run, OPTION_CHAIN, slot, underlyings, ("trade_date", "symbol", "bid", "ask"),
            symbol=held["symbol"].unique().to_list(),
        ),
        splits=splits,
    )  # fmt: skip


@trading_day_asset(
    PORTFOLIO_RISK,
    group="book",
    deps=_READ,
    kinds=("numba",),
    code_version="2",
    checks={"valued_as_a_whole": "Every ticker that is held could be valued."},
)
def portfolio_risk(run: DayRun) -> Outcome:
    """Greeks, beta to SPY, capital and concentration of each account, shares and options."""
    slot = book_slot(run)
    rows = risk_of(_book(run, slot), run.day, slot, inputs={"slot": slot.isoformat()})
    unit = {"trade_date": run.day, "slot": slot}
    result = run.warehouse.replace(PORTFOLIO_RISK, rows, unit, allow_empty=True)
    left_out = dict(
        rows.filter(pl.col("left_out") != "{}").select("account", "left_out").iter_rows()
    )
    return Outcome(
        [result],
        {
            "slot": slot.isoformat(),
            "net_delta_usd": dict(rows.select("account", "net_delta_usd").iter_rows()),
        },
        [Check("valued_as_a_whole", not left_out, left_out)],
    )


@trading_day_asset(PORTFOLIO_STRESS, group="book", deps=_READ, kinds=("numba",), code_version="2")
def portfolio_stress(run: DayRun) -> Outcome:
    """What falls of the market and moves of volatility would bring or cost each account."""
    slot = book_slot(run)
    rows = stress_of(_book(run, slot), run.day, slot)
    unit = {"trade_date": run.day, "slot": slot}
    result = run.warehouse.replace(PORTFOLIO_STRESS, rows, unit, allow_empty=True)
    by_beta = rows.filter(
        (pl.col("ticker") == ALL_TICKERS)
        & (pl.col("move") == "beta")
        & (pl.col("scenario") == "down_10")
    )
    return Outcome(
        [result],
        {
            "slot": slot.isoformat(),
            "down_10_by_beta_usd": dict(by_beta.select("account", "pnl").iter_rows()),
        },
    )
