"""Assets parsed from raw captures of live answers: option chains and last prices.

A live answer is first written raw, then parsed. A past slot is parsed again from raw or is a
gap, stated in ``collection_gaps``; it is never fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from tracker_dagster.assets.day_files import INDICES, PARALLEL_REQUESTS
from tracker_dagster.assets.followed import followed_tickers
from tracker_dagster.assets.reference import INDEX_UNDERLYINGS
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import COLLECTION_GAPS, MARKET_LAST, OPTION_CHAIN
from tracker_dagster.sources.capture import RawCapture, RawPage
from tracker_dagster.sources.errors import SourceError
from tracker_dagster.sources.massive.parse import (
    parse_index_snapshots,
    parse_option_chain,
    parse_stock_snapshots,
)
from tracker_dagster.trading_calendar import (
    CHAIN_MINUTES,
    EASTERN,
    REFRESH_MINUTES,
    capture_slots,
    chain_slots,
    decision_time,
    due_slot,
    session_on,
    trading_date,
)
from tracker_dagster.warehouse import Unit, Write, WriteResult

SNAPSHOT = "massive_snapshot"
STOCKS, INDEX_VALUES = "stocks", "indices"
NEW_YORK = str(EASTERN)
#: How long after the close its own prints arrive.
CLOSING_PRINTS = timedelta(minutes=1)


class LateAnswerError(SourceError):
    """A live answer that came too late to be its slot's."""


@dataclass(frozen=True)
class Feed:
    """What is captured for a table: the subjects of a slot, and how each is asked for."""

    table: Table
    slots: Sequence[datetime]
    tolerance: timedelta
    subjects: Sequence[str]
    pages: Callable[[str], Iterator[RawPage]]
    parse: Callable[[DayRun, RawCapture], tuple[pl.DataFrame, pl.DataFrame]]


def _live_slot(run: DayRun, feed: Feed) -> datetime | None:
    """The slot that may be captured at this moment; the one the run was launched for, if any.

    By the clock itself, not by the run's ``now``: a run may have waited in a queue for hours.
    """
    moment = run.clock.now()
    if trading_date(moment) != run.day:
        return None
    if run.slot is None:
        return due_slot(feed.slots, moment, feed.tolerance)
    in_time = timedelta(0) <= moment - run.slot <= feed.tolerance
    return run.slot if in_time and run.slot in feed.slots else None


def _in_time(
    run: DayRun, feed: Feed, slot: datetime, pages: Iterable[RawPage]
) -> Iterator[RawPage]:
    """The pages, each with the time of its arrival.

    Raises:
        LateAnswerError: a page arrived after the slot's tolerance; nothing of it is kept.
    """
    for page in pages:
        # The market's clock, which is not this machine's where the market is simulated.
        arrived = run.clock.now()
        if arrived - slot > feed.tolerance:
            local = arrived.astimezone(EASTERN)
            raise LateAnswerError(f"the answer came at {local:%H:%M:%S} ET, too late for its slot")
        yield replace(page, received_at=arrived)


def _capture(run: DayRun, feed: Feed, slot: datetime) -> dict[str, str]:
    """Ask for every subject of the slot that is not captured yet; returns why any is missing."""

    def fetch(subject: str) -> tuple[str, str | None]:
        pages = _in_time(run, feed, slot, feed.pages(subject))
        try:
            run.market.raw.write(SNAPSHOT, feed.table.name, run.day, slot, subject, pages)
        except SourceError as error:
            return subject, str(error)
        return subject, None

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        answers = list(pool.map(fetch, feed.subjects))
    return {subject: why for subject, why in answers if why is not None}


def _materialise(run: DayRun, feed: Feed) -> Outcome:
    """Capture the live slot where there is one, then parse what raw holds of the day."""
    live = _live_slot(run, feed)
    missing: dict[str, str] = _capture(run, feed, live) if live else {}
    stored = run.market.raw.slots(SNAPSHOT, feed.table.name, run.day)
    wanted = run.slot or live
    captured = [slot for slot in stored if wanted is None or slot == wanted]
    results: list[WriteResult] = []
    gaps: dict[str, str] = {}
    for slot in captured:
        result, absent = _write_slot(run, feed, slot, missing)
        results.append(result)
        gaps |= absent
    metadata: dict[str, object] = {
        "slots": [f"{slot.astimezone(EASTERN):%H:%M}" for slot in captured],
        "api_calls": run.market.rest.stats.calls,
    }
    for slot, reason in _missed(run, feed, stored, wanted, missing).items():
        run.warehouse.replace_many([_gaps_write(run, feed, slot, {"*": reason})])
        run.log.warning(f"{feed.table.name} {run.day}: gap at {slot:%H:%M} UTC, {reason}")
        gaps["*"] = metadata["gap"] = reason
    if not captured and not gaps:
        metadata["waiting"] = "no slot is due now, and the decision time has not passed"
    return Outcome(
        results,
        metadata | {"gaps": len(gaps)},
        [Check("captured_whole", not gaps, {"missing": gaps} if gaps else {})],
    )


def _missed(
    run: DayRun,
    feed: Feed,
    stored: Sequence[datetime],
    wanted: datetime | None,
    missing: Mapping[str, str],
) -> dict[datetime, str]:
    """Slots to be stated as gaps: the one asked for, and the decision's once it has passed."""
    missed: dict[datetime, str] = {}
    due = decision_time(run.day)
    if due not in stored and run.clock.now() - due > feed.tolerance:
        missed[due] = "not captured at the decision time; the vendor keeps no history of it"
    if wanted is not None and wanted not in stored:
        why = next(iter(missing.values()), "asked for too late")
        missed[wanted] = f"nothing was captured: {why}"
    return missed


def _write_slot(
    run: DayRun, feed: Feed, slot: datetime, missing: Mapping[str, str]
) -> tuple[WriteResult, dict[str, str]]:
    """Parse what raw holds of a slot; returns the write and why subjects are absent."""
    names = run.market.raw.names(SNAPSHOT, feed.table.name, run.day, slot)
    parsed = {
        name: feed.parse(run, run.market.raw.read(SNAPSHOT, feed.table.name, run.day, slot, name))
        for name in names
    }
    absent = {
        subject: missing.get(subject, "not captured in its slot")
        for subject in feed.subjects
        if subject not in parsed
    }
    absent |= {
        name: "the vendor's answer was empty"
        for name, (rows, rejected) in parsed.items()
        if rows.is_empty() and rejected.is_empty()
    }
    frame = feed.table.conform(
        pl.concat([rows for rows, _ in parsed.values()], how="diagonal_relaxed"),
        trade_date=run.day,
        slot=slot,
        source=SNAPSHOT,
    )
    rejected = pl.concat([rows for _, rows in parsed.values()])
    unit: Unit = {"trade_date": run.day, "source": SNAPSHOT, "slot": slot}
    result, _ = run.warehouse.replace_many(
        [
            Write(feed.table, frame, unit, rejected=rejected, allow_empty=True),
            _gaps_write(run, feed, slot, absent),
        ]
    )
    return result, absent


def _gaps_write(run: DayRun, feed: Feed, slot: datetime, absent: dict[str, str]) -> Write:
    gaps = pl.DataFrame(
        {"subject": list(absent), "reason": list(absent.values())},
        schema={"subject": pl.String, "reason": pl.String},
    )
    unit: Unit = {
        "trade_date": run.day,
        "dataset": feed.table.name,
        "source": SNAPSHOT,
        "slot": slot,
    }
    return Write(COLLECTION_GAPS, COLLECTION_GAPS.conform(gaps, **unit), unit, allow_empty=True)


def _chain_rows(run: DayRun, capture: RawCapture) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One captured chain as rows of ``option_chain``."""
    parsed = parse_option_chain(capture.bodies)
    bid, ask = _positive("bid"), _positive("ask")
    status = (
        pl.when(bid.is_null() & ask.is_null())
        .then(pl.lit("NO_QUOTE"))
        .when(bid.is_null())
        .then(pl.lit("NO_BID"))
        .when(ask.is_null())
        .then(pl.lit("NO_ASK"))
        .when(bid > ask)
        .then(pl.lit("CROSSED"))
        .otherwise(pl.lit("OK"))
    )
    bar_day = pl.col("day_updated_at").dt.convert_time_zone(NEW_YORK).dt.date()
    greeks = pl.all_horizontal(pl.col("delta", "gamma", "theta", "vega").is_not_null())
    rows = parsed.frame.with_columns(option_symbol_columns()).with_columns(
        underlying=pl.lit(capture.name.removeprefix("I:")),
        strike=pl.coalesce("strike_price", "strike"),
        expiry=pl.coalesce("expiration_date", "expiry"),
        bid=bid,
        ask=ask,
        quote_status=status,
        mid=pl.when(status == "OK").then((bid + ask) / 2),
        last_price=_positive("last_trade_price"),
        last_at=pl.col("last_trade_at"),
        # The vendor's day bar is the most recent one: of an earlier day, nothing traded today.
        day_volume=pl.when(bar_day == run.day)
        .then(pl.col("day_volume"))
        .when(bar_day < run.day)
        .then(0.0),
        implied_volatility=_positive("implied_volatility"),
        greeks_status=pl.when(greeks).then(pl.lit("OK")).otherwise(pl.lit("NOT_SENT")),
        underlying_at=pl.col("underlying_updated_at"),
        is_standard=~pl.col("is_adjusted").fill_null(True) & (pl.col("shares_per_contract") == 100),
        available_at=pl.lit(capture.received_at),
    )
    return rows, parsed.rejected


def _positive(column: str) -> pl.Expr:
    """The value where it is above zero, else null: vendors write 0 for "none"."""
    return pl.when(pl.col(column) > 0).then(pl.col(column))


@trading_day_asset(
    OPTION_CHAIN,
    group="captures",
    deps=("universe", "massive_rest_api"),
    kinds=("rest",),
    checks={"captured_whole": "Every chain of the universe and of what is held was captured."},
)
def option_chain(run: DayRun) -> Outcome:
    """Whole chains (all pages, calls and puts) of the universe and the indices, every 15 minutes.

    Tickers that somebody holds are captured, too, once they have left the universe.

    The response is kept raw under ``data/raw`` first; past days are parsed from there.
    """
    subjects = [*followed_tickers(run), *(f"I:{name}" for name in INDEX_UNDERLYINGS)]
    feed = Feed(
        OPTION_CHAIN,
        chain_slots(run.day),
        timedelta(minutes=CHAIN_MINUTES),
        subjects,
        lambda subject: run.market.rest.option_chain_pages(subject),
        _chain_rows,
    )
    return _materialise(run, feed)


def _last_rows(run: DayRun, capture: RawCapture) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Captured snapshots as rows of ``market_last``."""
    if capture.name == STOCKS:
        parsed = parse_stock_snapshots(capture.bodies)
        value = pl.coalesce(_positive("last_trade_price"), _positive("price"))
        at = (
            pl.when(_positive("last_trade_price").is_not_null())
            .then("last_trade_at")
            .otherwise("updated_at")
        )
    else:
        parsed = parse_index_snapshots(capture.bodies)
        value, at = _positive("value"), pl.col("updated_at")
    # A trade after the close is not the session's; the closing slot must not show it.
    after_hours = at > session_on(run.day).close + CLOSING_PRINTS
    value = pl.when(~after_hours.fill_null(value=False)).then(value)
    rows = parsed.frame.select(
        ticker=pl.col("ticker").str.strip_prefix("I:"),
        price=value,
        price_at=pl.when(value.is_not_null()).then(at),
        status=pl.when(value.is_not_null())
        .then(pl.lit("OK"))
        .when(after_hours)
        .then(pl.lit("AFTER_HOURS"))
        .otherwise(pl.coalesce("error", pl.lit("NO_PRICE"))),
        available_at=pl.lit(capture.received_at),
    )
    return rows, parsed.rejected


@trading_day_asset(
    MARKET_LAST,
    group="captures",
    deps=("universe", "massive_rest_api"),
    kinds=("rest",),
    checks={
        "captured_whole": "Stocks and indices were both captured in their slot.",
    },
)
def market_last(run: DayRun) -> Outcome:
    """Last prices of the universe, the benchmarks and the indices, every five minutes."""
    tickers = sorted({*followed_tickers(run), *run.knobs.benchmarks})

    def pages(subject: str) -> Iterator[RawPage]:
        if subject == STOCKS:
            return run.market.rest.stock_snapshot_pages(tickers)
        return run.market.rest.index_snapshot_pages([f"I:{name}" for name in INDICES])

    # A run that names no slot captures for a decision, at the slot that the chains have.
    refreshing = run.slot is not None
    feed = Feed(
        MARKET_LAST,
        capture_slots(run.day, REFRESH_MINUTES) if refreshing else chain_slots(run.day),
        timedelta(minutes=REFRESH_MINUTES if refreshing else CHAIN_MINUTES),
        (STOCKS, INDEX_VALUES),
        pages,
        _last_rows,
    )
    return _materialise(run, feed)
