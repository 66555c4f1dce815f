"""Assets about what is held: positions folded from the ledger, and their health at a slot."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from tracker_dagster.assets.decisions import SNAPSHOT
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.commands import assign_position, expire_position, open_position
from tracker_dagster.ledger.events import Event, PositionOpened
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import (
    CONTRACT_HEALTH,
    POSITIONS,
    PROMOTIONS,
    STRUCTURE_FEATURES,
    WEEKLY_PICKS,
)
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.positions import contract_health as judge
from tracker_dagster.strategy.settlement import settle
from tracker_dagster.trading_calendar import (
    current_session,
    decision_time,
    previous_session,
    session_on,
)

#: Run tag with which the daily job asks for promoted picks to be opened in the paper book.
OPEN_TAG = "tracker/open"
PAPER = "paper"
#: Who opens promoted picks, in the ledger.
DAILY = "daily"


def _held(run: DayRun) -> pl.DataFrame:
    """Positions as the ledger has them at the close of the day."""
    return positions_as_of(run.warehouse.read(LEDGER), session_on(run.day).close)


def _settle_expired(run: DayRun) -> tuple[list[str], list[str]]:
    """Record what became of positions whose expiry has come; returns done and not yet possible."""
    held = _held(run).filter(pl.col("status") == "OPEN")
    over = run.day if run.now >= session_on(run.day).close else previous_session(run.day)
    expired = held.filter(pl.col("expiry") <= over)
    if expired.is_empty():
        return [], []
    closes = run.warehouse.read(
        STOCK_DAY_AGGS,
        as_of=run.now,
        first=min(expired["expiry"]),
        last=max(expired["expiry"]),
        where={"ticker": expired["ticker"].unique().to_list()},
        columns=["ticker", "trade_date", "close"],
    )
    done, waiting = [], []
    for proposal in settle(held, closes, over).iter_rows(named=True):
        record = {"ASSIGNED": assign_position, "EXPIRED": expire_position}.get(
            proposal["outcome"] or ""
        )
        if record is None:
            waiting.append(f"{proposal['symbol']}: {proposal['reason']}")
            continue
        record(
            run.warehouse,
            proposal["position_id"],
            now=run.now,
            actor="settlement",
            effective_at=proposal["effective_at"],
        )
        done.append(f"{proposal['symbol']} {proposal['outcome']}, {proposal['reason']}")
    return done, waiting


def _open_promoted(run: DayRun) -> list[str]:
    """Open the session's promoted calls in the paper book, at the bid they were decided on.

    Only a decision on captured quotes can be filled here; recording it again changes nothing.
    """
    chosen = run.warehouse.read(
        PROMOTIONS,
        first=run.day,
        last=run.day,
        where={"basis": SNAPSHOT, "decision": "promote"},
        columns=["ticker", "symbol", "basis", "decision_at"],
    )
    quotes = run.warehouse.read(
        WEEKLY_PICKS,
        first=run.day,
        last=run.day,
        where={"basis": SNAPSHOT, "status": "picked"},
        columns=["ticker", "symbol", "basis", "decision_at", "bid", "price"],
    )
    keys = ["ticker", "symbol", "basis", "decision_at"]
    opened = []
    for pick in chosen.join(quotes, on=keys).filter(pl.col("bid").is_not_null()).rows(named=True):
        recorded = open_position(
            run.warehouse,
            symbol=pick["symbol"],
            quantity=-1,
            price=pick["bid"],
            stock_basis=pick["price"],
            day=run.day,
            decision_at=pick["decision_at"],
            now=run.now,
            actor=DAILY,
            account=PAPER,
        )
        if recorded.is_new:
            opened.append(pick["symbol"])
    return opened


@trading_day_asset(
    POSITIONS,
    group="book",
    deps=("promotions", "stock_day_aggs", "ledger"),
    kinds=("ledger",),
    checks={
        "acted_on_agrees": "What the daily job opened for the day is still what was promoted.",
    },
)
def positions(run: DayRun) -> Outcome:
    """Positions at the close of the session, folded from the ledger.

    For the current session only, expired positions are settled at the close of their expiration
    day, and, where the run carries the tag ``tracker/open: paper`` as the daily job does, promoted
    picks are opened in the paper book. Rebuilding a past day folds and records nothing.
    """
    metadata: dict[str, object] = {}
    if run.day == current_session(run.now):
        metadata["settled"], metadata["settlement_waits"] = _settle_expired(run)
        if run.tags.get(OPEN_TAG) == PAPER:
            metadata["opened"] = _open_promoted(run)
    held = _held(run)
    frame = POSITIONS.conform(held, trade_date=run.day, available_at=session_on(run.day).close)
    result = run.warehouse.replace(POSITIONS, frame, {"trade_date": run.day}, allow_empty=True)
    return Outcome(
        [result],
        metadata | {"open": held.filter(pl.col("status") == "OPEN").height},
        [_acted_on(run)],
    )


def _acted_on(run: DayRun) -> Check:
    """Whether what the daily job opened for the day is what its promotions say now."""
    events = run.warehouse.read(LEDGER, where={"kind": PositionOpened.kind, "actor": DAILY})
    opened = {
        event.symbol
        for event in map(Event.from_row, events.rows(named=True))
        if isinstance(event, PositionOpened) and event.day == run.day
    }
    promoted = run.warehouse.read(
        PROMOTIONS,
        first=run.day,
        last=run.day,
        where={"basis": SNAPSHOT, "decision": "promote"},
        columns=["symbol"],
    )
    revoked = sorted(opened - set(promoted["symbol"]))
    return Check("acted_on_agrees", not revoked, {"no_longer_promoted": revoked} if revoked else {})


def _health_slot(run: DayRun) -> datetime:
    """The slot to judge at: the run's own, else the last prices captured that day."""
    if run.slot is not None:
        return run.slot
    return run.warehouse.latest_slot(MARKET_LAST, run.day) or decision_time(run.day)


@trading_day_asset(
    CONTRACT_HEALTH,
    group="book",
    deps=(
        "positions",
        "market_last",
        "option_chain",
        "stock_day_aggs",
        "corporate_actions",
        "structure_features",
    ),
)
def contract_health(run: DayRun) -> Outcome:
    """Each open position at a slot: prices, triggers, anomalies, P&L and what to do."""
    slot = _health_slot(run)
    held = _held(run).filter(pl.col("status") == "OPEN")
    tickers = held["ticker"].unique().to_list()
    yesterday = previous_session(run.day)

    def captured(table: Table, where: dict[str, list[str]]) -> pl.DataFrame:
        rows = run.warehouse.read(table, first=run.day, last=run.day, where=where)
        # A response arrives seconds after its slot; the slot decides what was seen when.
        return rows.filter(pl.col("slot") <= slot).with_columns(available_at=pl.col("slot"))

    frame = judge(
        POSITIONS.conform(held, trade_date=run.day, available_at=slot),
        captured(MARKET_LAST, {"ticker": tickers}),
        # The whole chain of each: a roll is looked for in later expiries.
        captured(OPTION_CHAIN, {"underlying": tickers}),
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
    )
    unit = {"trade_date": run.day, "slot": slot}
    result = run.warehouse.replace(CONTRACT_HEALTH, frame, unit, allow_empty=True)
    advice = dict(frame["recommendation"].value_counts(sort=True).iter_rows())
    return Outcome([result], {"slot": slot.isoformat(), "recommendations": advice})
