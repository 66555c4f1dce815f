"""Promoted picks as positions of the paper book, or why not. The only asset that opens any."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.assets.acted_on import openings_of
from tracker_dagster.assets.decisions import preferred_picks
from tracker_dagster.assets.picks import SNAPSHOT
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.events import PAPER, PositionOpened
from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.schemas.book import OPENINGS
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.trading_calendar import EASTERN, current_session, session_on

#: Run tag with which the daily job asks for promoted picks to be opened in the paper book.
OPEN_TAG = "tracker/open"
#: Who opens promoted picks, in the ledger.
DAILY = "daily"

#: A position begins when its decision is over, so that the decision never finds itself open.
FILL_DELAY = timedelta(microseconds=1)


def promoted_picks(run: DayRun) -> pl.DataFrame:
    """The promoted picks of the day's preferred decision, with their quotes."""
    picks = preferred_picks(run)
    promotions = run.warehouse.read(PROMOTIONS, first=run.day, last=run.day)
    keys = ["basis", "decision_at", "ticker", "symbol"]
    return (
        promotions.filter(pl.col("decision") == "promote")
        # Promotions of a decision that does not count any more may still be stored.
        .join(picks, on=keys[:2], how="semi")
        .select(*keys, "rank")
        .join(picks.select(*keys, "bid", "price", "fees_100"), on=keys, how="left")
        .sort("rank")
    )


def _captured_at(run: DayRun, promoted: pl.DataFrame) -> dict[tuple[datetime, str], datetime]:
    """When the chain that holds a promoted contract's quote was complete."""
    of_slots = promoted.filter(pl.col("basis") == SNAPSHOT)
    if of_slots.is_empty():
        return {}
    rows = run.warehouse.read(
        OPTION_CHAIN,
        first=run.day,
        last=run.day,
        where={
            "slot": of_slots["decision_at"].unique().to_list(),
            "symbol": of_slots["symbol"].to_list(),
        },
        columns=["slot", "symbol", "available_at"],
    )
    return {(slot, symbol): at for slot, symbol, at in rows.iter_rows()}


def _obstacle(
    run: DayRun, pick: dict[str, Any], acted_on: set[datetime], captured_at: datetime | None
) -> str | None:
    """Why the pick cannot be opened whoever asks, or None."""
    if pick["basis"] != SNAPSHOT:
        return "decided on day files, which hold no quotes to fill at"
    close = session_on(run.day).close
    if pick["decision_at"] >= close:
        return "decided on the closing quotes, and nothing fills after the close"
    if captured_at is not None and captured_at >= close:
        local = captured_at.astimezone(EASTERN)
        return f"its chain was complete at {local:%H:%M:%S} ET, and nothing fills after the close"
    if pick["bid"] is None:
        return "no bid was captured"
    if pick["price"] is None:
        return "no price of the stock was captured"
    if others := sorted(acted_on - {pick["decision_at"]}):
        return f"the decision of {others[0].astimezone(EASTERN):%H:%M} ET was acted on already"
    return None


def open_promoted(run: DayRun, pick: dict[str, Any]) -> None:
    """Open a promoted pick in the paper book, right after its decision and at its bid."""
    # The fees that its expected value is less; older picks have none noted.
    fees = pick["fees_100"]
    open_position(
        run.warehouse,
        symbol=pick["symbol"],
        quantity=-1,
        price=pick["bid"],
        stock_basis=pick["price"],
        fees=PickSettings().fee_per_contract if fees is None else fees,
        day=run.day,
        decision_at=pick["decision_at"],
        effective_at=pick["decision_at"] + FILL_DELAY,
        now=run.now,
        actor=DAILY,
        account=PAPER,
    )


def _of_ledger(position_id: str, event: PositionOpened) -> dict[str, Any]:
    by_daily = event.actor == DAILY
    return {
        "position_id": position_id,
        "account": event.account,
        "symbol": event.symbol,
        "ticker": event.ticker,
        "decision_at": event.decision_at,
        "available_at": event.effective_at,
        "effective_at": event.effective_at,
        "status": "opened" if by_daily else "already",
        "reason": f"by {event.actor}",
        "quantity": event.quantity,
        "price": event.price,
        "stock_basis": event.stock_basis,
        "fees": event.fees,
    }


@trading_day_asset(
    OPENINGS,
    group="book",
    deps=("promotions", "weekly_picks", "option_chain", "ledger"),
    kinds=("ledger",),
    checks={
        "acted_on_agrees": "What the daily job opened for the day is still what was promoted.",
    },
)
def openings(run: DayRun) -> Outcome:
    """Each promoted pick: the position it was opened as, or why it was refused.

    Where the run carries the tag ``tracker/open: paper``, as the daily job does, picks promoted
    on captured quotes of the current session are opened in the paper book, right after their
    decision and at its bid. A past day only tells what the ledger has of it.
    """
    promoted = promoted_picks(run)
    before = openings_of(run.warehouse, run.day)
    in_book = {(e.decision_at, e.symbol) for e in before.values() if e.account == PAPER}
    acted_on = {e.decision_at for e in before.values() if e.actor == DAILY}
    may_open = run.day == current_session(run.now) and run.tags.get(OPEN_TAG) == PAPER
    captured = _captured_at(run, promoted)
    refused = []
    for pick in promoted.iter_rows(named=True):
        if (pick["decision_at"], pick["symbol"]) in in_book:
            continue
        reason = _obstacle(run, pick, acted_on, captured.get((pick["decision_at"], pick["symbol"])))
        if reason is None and may_open:
            open_promoted(run, pick)
            continue
        refused.append(
            {
                "account": PAPER,
                "symbol": pick["symbol"],
                "ticker": pick["ticker"],
                "decision_at": pick["decision_at"],
                "available_at": pick["decision_at"],
                "status": "refused",
                # Told alike while the session is current and later: a day made again is the same.
                "reason": reason or f"no run with the tag {OPEN_TAG}={PAPER} opened it in time",
            }
        )
    after = openings_of(run.warehouse, run.day)
    rows = [*(_of_ledger(position_id, event) for position_id, event in after.items()), *refused]
    frame = pl.DataFrame(rows, schema_overrides=_SCHEMA) if rows else OPENINGS.empty()
    result = run.warehouse.replace(
        OPENINGS,
        OPENINGS.conform(frame, trade_date=run.day),
        {"trade_date": run.day},
        allow_empty=True,
    )
    return Outcome(
        [result],
        {
            "newly_opened": sorted(after[key].symbol for key in set(after) - set(before)),
            "refused": {row["symbol"]: row["reason"] for row in refused},
        },
        [_acted_on_agrees(run, after)],
    )


_SCHEMA = {name: dtype for name, dtype in OPENINGS.polars_schema.items() if name != "trade_date"}


def _acted_on_agrees(run: DayRun, opened: dict[str, PositionOpened]) -> Check:
    """Whether what the daily job opened for the day is what its promotions say now."""
    promoted = run.warehouse.read(
        PROMOTIONS,
        first=run.day,
        last=run.day,
        where={"basis": SNAPSHOT, "decision": "promote"},
        columns=["symbol"],
    )
    by_daily = {event.symbol for event in opened.values() if event.actor == DAILY}
    revoked = sorted(by_daily - set(promoted["symbol"]))
    return Check("acted_on_agrees", not revoked, {"no_longer_promoted": revoked} if revoked else {})
