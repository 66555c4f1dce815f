"""Asset `contract_health`, and what was seen of the book at a slot."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.assets.book import exercised_early
from tracker_dagster.assets.chains import SNAPSHOT
from tracker_dagster.assets.rates import dividends_on
from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.events import PAPER
from tracker_dagster.ledger.folds import positions_on
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.book import CONTRACT_HEALTH, POSITIONS
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.strategy.positions import contract_health as judge
from tracker_dagster.trading_calendar import decision_time, previous_session, session_on

#: A position opened on the decision of a slot is judged at that slot already.
HEALTH_DELAY = timedelta(minutes=1)
_GREEKS = ("trade_date", "slot", "symbol", "implied_volatility", "delta", "gamma", "theta", "vega")


def book_slot(run: DayRun) -> datetime:
    """The slot to judge the book at: the run's own, else the last prices captured that day."""
    if run.slot is not None:
        return run.slot
    return run.warehouse.latest_slot(MARKET_LAST, run.day) or decision_time(run.day)


def book_moment(run: DayRun, slot: datetime) -> datetime:
    """The moment whose book is judged at a slot: what expires today is held to the bell."""
    last_moment = session_on(run.day).close - timedelta(microseconds=1)
    return min(slot + HEALTH_DELAY, last_moment)


def open_at(run: DayRun, slot: datetime) -> pl.DataFrame:
    """Positions that are open when a slot is judged, as rows of positions."""
    held = positions_on(run.warehouse.read(LEDGER), run.day, book_moment(run, slot))
    held = held.filter(pl.col("status") == "OPEN")
    return POSITIONS.conform(held, trade_date=run.day, available_at=slot)


def _calls_of_others(held: pl.DataFrame) -> pl.DataFrame:
    """Sold calls outside the paper book, whose early assignments only a broker can tell."""
    return held.filter(
        (pl.col("account") != PAPER) & (pl.col("right") == "C") & (pl.col("quantity") < 0)
    )


def prices_until(run: DayRun, slot: datetime, tickers: Sequence[str]) -> pl.DataFrame:
    """Rows of market_last of the day up to a slot."""
    rows = run.warehouse.read(MARKET_LAST, first=run.day, last=run.day, where={"ticker": tickers})
    return _seen(rows, slot)


def last_chains(
    run: DayRun,
    table: Table,
    slot: datetime,
    tickers: Sequence[str],
    columns: Sequence[str] | None = None,
    **where: Any,
) -> pl.DataFrame:
    """Rows of the last captured chain of each underlying up to a slot."""
    of_day: dict[str, Any] = {"first": run.day, "last": run.day}
    chosen = {"underlying": tickers, **where}
    slots = run.warehouse.read(table, where=chosen, columns=["slot", "underlying"], **of_day)
    last = _seen(slots, slot).group_by("underlying").agg(pl.col("slot").max())
    if last.is_empty():
        return table.empty()
    rows = run.warehouse.read(
        table,
        where={**chosen, "slot": last["slot"].unique().to_list()},
        columns=None if columns is None else sorted({*columns, "slot", "underlying"}),
        **of_day,
    )
    return _seen(rows.join(last, on=["underlying", "slot"], how="semi"), slot)


def _seen(rows: pl.DataFrame, slot: datetime) -> pl.DataFrame:
    # A response arrives seconds after its slot; the slot decides what was seen when.
    return rows.filter(pl.col("slot") <= slot).with_columns(available_at=pl.col("slot"))


@trading_day_asset(
    CONTRACT_HEALTH,
    group="book",
    deps=(
        "positions",
        "openings",
        "market_last",
        "option_chain",
        "option_day_aggs",
        "option_greeks",
        "stock_day_aggs",
        "corporate_actions",
        "structure_features",
        "treasury_yields",
    ),
    code_version="3",
)
def contract_health(run: DayRun) -> Outcome:
    """Each open position at a slot: prices, triggers, anomalies, P&L, what to do, where to roll.

    Tickers that have left the universe are judged as long as something is held in them.
    """
    slot = book_slot(run)
    held = open_at(run, slot)
    tickers = held["ticker"].unique().sort().to_list()
    yesterday = previous_session(run.day)
    dividends, sources = dividends_on(run, slot, tickers)
    frame = judge(
        held,
        prices_until(run, slot, tickers),
        # The whole chain of each: a roll is looked for in later expiries.
        last_chains(run, OPTION_CHAIN, slot, tickers),
        run.warehouse.read(
            STOCK_DAY_AGGS, as_of=slot, first=yesterday, last=yesterday, where={"ticker": tickers}
        ),
        run.warehouse.read(
            CORPORATE_ACTIONS,
            as_of=slot,
            first=run.day - timedelta(days=7),
            last=run.day,
            where={"ticker": tickers},
        ),
        run.warehouse.read(
            STRUCTURE_FEATURES,
            as_of=slot,
            first=yesterday,
            last=run.day,
            where={"ticker": tickers},
        ),
        run.day,
        slot,
        inputs={"slot": slot.isoformat()},
        greeks=last_chains(run, OPTION_GREEKS, slot, tickers, _GREEKS, basis=SNAPSHOT,
                           symbol=held["symbol"].unique().to_list()),
        dividends=dividends,
        dividend_sources=sources,
        exercised=exercised_early(run, _calls_of_others(held), slot),
    )  # fmt: skip
    unit = {"trade_date": run.day, "slot": slot}
    result = run.warehouse.replace(CONTRACT_HEALTH, frame, unit, allow_empty=True)
    advice = dict(frame["recommendation"].value_counts(sort=True).iter_rows())
    early = frame.filter(pl.col("early_assignment"))
    return Outcome(
        [result],
        {
            "slot": slot.isoformat(),
            "recommendations": advice,
            "may_be_exercised_early": dict(
                early.select("symbol", "early_assignment_note").iter_rows()
            ),
        },
    )
