"""Asset `positions`: what the ledger held, and what became of it at an expiry."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from tracker_dagster.assets.rates import curve_on
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.events import PAPER
from tracker_dagster.ledger.folds import SETTLEMENT, positions_as_of, positions_on
from tracker_dagster.ledger.position_commands import (
    assign_position,
    close_position,
    expire_position,
)
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.book import POSITIONS
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.market import INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.early_assignment import put_beside, settle_early
from tracker_dagster.strategy.settlement import settle
from tracker_dagster.trading_calendar import (
    current_session,
    decision_time,
    last_published_session,
    previous_session,
    session_on,
    session_or_previous,
    trading_date,
)


def _settle_expired(run: DayRun) -> tuple[list[str], pl.DataFrame]:
    """Record what became of positions whose expiry has come; returns done and not yet possible."""
    # What has been ended, even with a later effect, is not ended again.
    ever = positions_as_of(run.warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    over = run.day if run.now >= session_on(run.day).close else previous_session(run.day)
    expired = ever.filter((pl.col("status") == "OPEN") & (pl.col("expiry") <= over))
    if expired.is_empty():
        return [], settle(expired, STOCK_DAY_AGGS.empty(), over)
    tickers = expired["ticker"].unique().to_list()
    first = session_or_previous(min(expired["expiry"]))

    def known(table: Table, since: date, columns: list[str] | None = None) -> pl.DataFrame:
        return run.warehouse.read(
            table, as_of=run.now, first=since, last=over, where={"ticker": tickers}, columns=columns
        )

    closes = ["ticker", "trade_date", "close"]
    proposals = settle(
        expired,
        known(STOCK_DAY_AGGS, first, closes),
        over,
        index_closes=known(INDEX_BARS, first, closes),
        corporate_actions=known(CORPORATE_ACTIONS, trading_date(min(expired["opened_at"]))),
    )
    done = []
    for proposal in proposals.filter(pl.col("outcome").is_not_null()).iter_rows(named=True):
        _record_end(run, proposal)
        done.append(f"{proposal['symbol']} {proposal['outcome']}, {proposal['reason']}")
    return done, proposals.filter(pl.col("outcome").is_null())


def _settle_early(run: DayRun) -> pl.DataFrame:
    """Record which calls of the paper book were exercised for a dividend; returns all looked at.

    What became of calls in other accounts is for the broker to say: they are only told.
    """
    ever = positions_as_of(run.warehouse.read(LEDGER), datetime.max.replace(tzinfo=UTC))
    sold = ever.filter(
        (pl.col("status") == "OPEN") & (pl.col("right") == "C") & (pl.col("quantity") < 0)
    )
    proposals = exercised_early(run, sold, run.now)
    taken = (pl.col("outcome") == "ASSIGNED") & (pl.col("account") == PAPER)
    for row in proposals.filter(taken).iter_rows(named=True):
        assign_position(
            run.warehouse,
            row["position_id"],
            now=run.now,
            actor=SETTLEMENT,
            effective_at=row["effective_at"],
        )
    return proposals.with_columns(recorded=taken)


def exercised_early(run: DayRun, sold: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """Which calls that were sold their holders had reason to exercise, as `settle_early` says it.

    Args:
        run: day.
        sold: open positions in sold calls.
        moment: what was known by then counts.
    """
    since = trading_date(moment if sold.is_empty() else min(sold["opened_at"]))
    tickers = sold["ticker"].unique().to_list()
    actions = run.warehouse.read(
        CORPORATE_ACTIONS, as_of=moment, first=since, last=run.day, where={"ticker": tickers}
    )
    dividends = actions.filter((pl.col("action") == "dividend") & (pl.col("ex_date") <= run.day))
    paying = sold.filter(pl.col("ticker").is_in(dividends["ticker"].to_list()))
    calls = paying["symbol"].to_list()
    where = {"symbol": [*calls, *map(put_beside, calls)]}

    def known(table: Table, **only: Any) -> pl.DataFrame:
        if paying.is_empty():
            return table.empty()
        return run.warehouse.read(table, as_of=moment, first=since, last=run.day, **only)

    return settle_early(
        paying,
        actions,
        known(OPTION_CHAIN, where=where),
        known(STOCK_DAY_AGGS, where={"ticker": tickers}),
        known(OPTION_DAY_AGGS, where=where),
        run.day,
        _short_rate(run, moment),
    )


def _short_rate(run: DayRun, moment: datetime) -> float | None:
    """Interest a year of the shortest maturity there is; None without yields."""
    curve = curve_on(run, moment)
    return None if curve is None else float(curve.rates[0])


def _told_early(looked_at: pl.DataFrame) -> tuple[dict[str, object], Check]:
    """Metadata and the check about calls that may have been exercised before their expiry."""

    def told(rows: pl.DataFrame) -> dict[str, str]:
        return dict(rows.select("symbol", "reason").iter_rows())

    assigned = pl.col("outcome") == "ASSIGNED"
    elsewhere = told(looked_at.filter(assigned & ~pl.col("recorded")))
    unknown = told(looked_at.filter(pl.col("outcome").is_null()))
    metadata: dict[str, object] = {
        "assigned_early": told(looked_at.filter(pl.col("recorded"))),
        "likely_assigned_early": elsewhere,
    }
    waiting = {"record_by_hand": elsewhere} if elsewhere else {}
    if unknown:
        waiting["cannot_be_told"] = unknown
    return metadata, Check("told_what_was_assigned_early", not waiting, waiting)


def _record_end(run: DayRun, proposal: dict[str, Any]) -> None:
    position_id = proposal["position_id"]
    how: dict[str, Any] = {
        "now": run.now,
        "actor": SETTLEMENT,
        "effective_at": proposal["effective_at"],
    }
    match proposal["outcome"]:
        case "ASSIGNED":
            assign_position(run.warehouse, position_id, **how)
        case "EXPIRED":
            sold_at = proposal["stock_sold_at"]
            expire_position(run.warehouse, position_id, stock_sold_at=sold_at, **how)
        case "CASH_SETTLED":
            close_position(run.warehouse, position_id, price=proposal["close_price"], **how)


def _settled(run: DayRun, waiting: pl.DataFrame) -> Check:
    """Whether all is settled whose closing prices are published."""
    late = waiting.filter(pl.col("expired_on") <= last_published_session(run.now))
    why = dict(late.select("symbol", "reason").iter_rows())
    return Check("settled_what_expired", not why, {"waiting": why} if why else {})


@trading_day_asset(
    POSITIONS,
    group="book",
    deps=(
        "stock_day_aggs",
        "index_bars",
        "option_chain",
        "option_day_aggs",
        "corporate_actions",
        "treasury_yields",
        "ledger",
    ),
    kinds=("ledger",),
    checks={
        "settled_what_expired": "No expired position waits for its settlement.",
        "told_what_was_assigned_early": "No call waits for a person to say whether it was "
        "exercised for a dividend.",
    },
    code_version="2",
)
def positions(run: DayRun) -> Outcome:
    """Positions at the decision time of the session, before what it opens itself.

    For the current session, what has expired is settled first, with effect from the close of its
    expiration day, and calls of the paper book that were worth exercising for a dividend, from
    the close before the ex-date. Rebuilding a past day records nothing and comes to the same rows.
    """
    metadata: dict[str, object] = {}
    waiting = settle(POSITIONS.empty(), STOCK_DAY_AGGS.empty(), run.day)
    early = Check("told_what_was_assigned_early", passed=True)
    if run.day == current_session(run.now):
        more, early = _told_early(_settle_early(run))
        metadata |= more
        metadata["settled"], waiting = _settle_expired(run)
        metadata["settlement_waits"] = dict(waiting.select("symbol", "reason").iter_rows())
    moment = decision_time(run.day)
    held = positions_on(run.warehouse.read(LEDGER), run.day, moment)
    frame = POSITIONS.conform(held, trade_date=run.day, available_at=moment)
    result = run.warehouse.replace(POSITIONS, frame, {"trade_date": run.day}, allow_empty=True)
    return Outcome(
        [result],
        metadata | {"open": held.filter(pl.col("status") == "OPEN").height},
        [_settled(run, waiting), early],
    )
