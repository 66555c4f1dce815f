"""Assets parsed from raw captures of live answers: option chains and last prices.

A live answer is first written raw, then parsed. A past slot is parsed again from raw or is a
gap, stated in ``collection_gaps``; it is never fetched again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import polars as pl

from tracker_dagster.assets.day_files import INDICES, PARALLEL_REQUESTS
from tracker_dagster.assets.reference import INDEX_UNDERLYINGS
from tracker_dagster.assets.universe import enabled_tickers
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
)
from tracker_dagster.warehouse import Unit, Write, WriteResult

SNAPSHOT = "massive_snapshot"
STOCKS, INDEX_VALUES = "stocks", "indices"
NEW_YORK = str(EASTERN)


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
    """The slot that this run may still capture; the one it was launched for, if any."""
    if run.slot is not None:
        late = run.now - run.slot > feed.tolerance
        return None if late or run.slot not in feed.slots else run.slot
    return due_slot(feed.slots, run.now, feed.tolerance)


def _capture(run: DayRun, feed: Feed, slot: datetime) -> dict[str, str]:
    """Ask for every subject of the slot that is not captured yet; returns why any is missing."""

    def fetch(subject: str) -> tuple[str, str | None]:
        try:
            pages: Iterable[RawPage] = feed.pages(subject)
            if run.market.settings.is_simulated:
                # The answer is as old as the market it came from, not as this machine's clock.
                pages = (replace(page, received_at=run.now) for page in pages)
            run.market.raw.write(SNAPSHOT, feed.table.name, run.day, slot, subject, pages)
        except SourceError as error:
            return subject, str(error)
        return subject, None

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        answers = list(pool.map(fetch, feed.subjects))
    return {subject: why for subject, why in answers if why is not None}


def _materialise(run: DayRun, feed: Feed) -> Outcome:
    """Capture the live slot where there is one, then parse what raw holds of the day."""
    live = _live_slot(run, feed) if run.is_today else None
    missing: dict[str, str] = _capture(run, feed, live) if live else {}
    captured = run.market.raw.slots(SNAPSHOT, feed.table.name, run.day)
    if run.slot is not None:
        captured = [slot for slot in captured if slot == run.slot]
    elif live is not None:
        captured = [slot for slot in captured if slot == live]
    if not captured:
        return _gap(run, feed, run.slot or live, missing)
    results: list[WriteResult] = []
    gaps = 0
    for slot in captured:
        names = run.market.raw.names(SNAPSHOT, feed.table.name, run.day, slot)
        parsed = [
            feed.parse(run, run.market.raw.read(SNAPSHOT, feed.table.name, run.day, slot, name))
            for name in names
        ]
        absent = {
            subject: missing.get(subject, "not captured in its slot")
            for subject in feed.subjects
            if subject not in names
        }
        gaps += len(absent)
        results += _write_slot(run, feed, slot, parsed, absent)
    return Outcome(
        results,
        {
            "slots": [f"{slot.astimezone(EASTERN):%H:%M}" for slot in captured],
            "gaps": gaps,
            "api_calls": run.market.rest.stats.calls,
        },
        [Check("captured_whole", not gaps, {"missing": missing or gaps} if gaps else {})],
    )


def _write_slot(
    run: DayRun,
    feed: Feed,
    slot: datetime,
    parsed: Sequence[tuple[pl.DataFrame, pl.DataFrame]],
    absent: dict[str, str],
) -> list[WriteResult]:
    frame = feed.table.conform(
        pl.concat([rows for rows, _ in parsed], how="diagonal_relaxed"),
        trade_date=run.day,
        slot=slot,
        source=SNAPSHOT,
    )
    rejected = pl.concat([rows for _, rows in parsed])
    unit: Unit = {"trade_date": run.day, "source": SNAPSHOT, "slot": slot}
    return run.warehouse.replace_many(
        [
            Write(feed.table, frame, unit, rejected=rejected, allow_empty=True),
            _gaps_write(run, feed, slot, absent),
        ]
    )[:1]


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


def _gap(run: DayRun, feed: Feed, slot: datetime | None, missing: dict[str, str]) -> Outcome:
    """State that nothing was captured; the table's own rows are left as they are."""
    due = slot or decision_time(run.day)
    if missing:
        reason = f"every request failed; first: {next(iter(missing.values()))}"
    elif run.is_today:
        local = run.now.astimezone(EASTERN)
        reason = f"no slot was due at {local:%H:%M} ET and none had been captured"
    else:
        reason = "not captured while the session ran; the vendor keeps no history of it"
    run.warehouse.replace_many([_gaps_write(run, feed, due, {"*": reason})])
    run.log.warning(f"{feed.table.name} {run.day}: gap, {reason}")
    return Outcome(
        [], {"gap": reason, "gaps": 1}, [Check("captured_whole", False, {"missing": reason})]
    )


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
        # The vendor's day bar is the most recent one, which may be days old.
        day_volume=pl.when(bar_day == run.day).then(pl.col("day_volume")),
        implied_volatility=_positive("implied_volatility"),
        greeks_status=pl.when(greeks).then(pl.lit("OK")).otherwise(pl.lit("NOT_SENT")),
        underlying_at=pl.col("underlying_updated_at"),
        is_standard=~pl.col("is_adjusted").fill_null(True)
        & (pl.col("shares_per_contract").fill_null(100) == 100),
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
    checks={"captured_whole": "Every chain of the universe was captured in its slot."},
)
def option_chain(run: DayRun) -> Outcome:
    """Whole chains (all pages, calls and puts) of the universe and the indices, every 15 minutes.

    The response is kept raw under ``data/raw`` first; past days are parsed from there.
    """
    subjects = [*enabled_tickers(run), *(f"I:{name}" for name in INDEX_UNDERLYINGS)]
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
    rows = parsed.frame.select(
        ticker=pl.col("ticker").str.strip_prefix("I:"),
        price=value,
        price_at=pl.when(value.is_not_null()).then(at),
        status=pl.when(value.is_not_null())
        .then(pl.lit("OK"))
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
    tickers = sorted({*enabled_tickers(run), *run.knobs.benchmarks})

    def pages(subject: str) -> Iterator[RawPage]:
        if subject == STOCKS:
            return run.market.rest.stock_snapshot_pages(tickers)
        return run.market.rest.index_snapshot_pages([f"I:{name}" for name in INDICES])

    feed = Feed(
        MARKET_LAST,
        capture_slots(run.day, REFRESH_MINUTES),
        timedelta(minutes=REFRESH_MINUTES),
        (STOCKS, INDEX_VALUES),
        pages,
        _last_rows,
    )
    return _materialise(run, feed)
