"""Assets about instruments: listed contracts, corporate actions, earnings dates."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta

import polars as pl

from tracker_dagster.assets.day_files import PARALLEL_REQUESTS
from tracker_dagster.assets.universe import enabled_tickers
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.schemas.reference import (
    CORPORATE_ACTIONS,
    EARNINGS_CALENDAR,
    OPTION_CONTRACTS,
)
from tracker_dagster.sources.earnings_csv import read_earnings_csv
from tracker_dagster.sources.errors import NotEntitledError
from tracker_dagster.trading_calendar import EASTERN, REGULAR_CLOSE, REGULAR_OPEN, session_on
from tracker_dagster.warehouse import Unit, WriteResult

#: How far ahead the calendars of corporate actions and earnings reach.
HORIZON = timedelta(days=60)
INDEX_UNDERLYINGS = ("SPX", "NDX", "RUT", "VIX")
BENZINGA = "massive_benzinga"


def _midnight(column: str) -> pl.Expr:
    """Midnight in New York of a date column, as an instant."""
    midnight = pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone(EASTERN.key)
    return midnight.dt.convert_time_zone("UTC")


@trading_day_asset(
    OPTION_CONTRACTS, group="reference", deps=("universe", "massive_rest_api"), kinds=("rest",)
)
def option_contracts(run: DayRun) -> Outcome:
    """The vendor's contract reference ``as_of`` the day, calls and puts, all pages."""
    underlyings = [*enabled_tickers(run), *INDEX_UNDERLYINGS]

    def fetch(underlying: str) -> pl.DataFrame:
        return run.market.rest.option_contracts(underlying, as_of=run.day)

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        frames = list(pool.map(fetch, underlyings))
    rows = pl.concat(frames).rename({"underlying": "vendor_underlying"})
    parsed = rows.with_columns(option_symbol_columns()).with_columns(
        # The vendor's own word for the underlying beats what the root suggests.
        underlying=pl.coalesce("vendor_underlying", "underlying"),
        is_standard=~pl.col("is_adjusted").fill_null(True)
        & (pl.col("shares_per_contract") == 100)
        & pl.col("additional_underlyings").is_null(),
    )
    frame = OPTION_CONTRACTS.conform(
        parsed,
        trade_date=run.day,
        source="massive_rest",
        available_at=session_on(run.day).open,
    )
    result = run.warehouse.replace(OPTION_CONTRACTS, frame, {"trade_date": run.day})
    nonstandard = int((~frame["is_standard"]).sum())
    return Outcome([result], {"underlyings": len(underlyings), "nonstandard": nonstandard})


@trading_day_asset(
    CORPORATE_ACTIONS, group="reference", deps=("universe", "massive_rest_api"), kinds=("rest",)
)
def corporate_actions(run: DayRun) -> Outcome:
    """Splits and dividends from the day to 60 days ahead, as far as they had been declared.

    A split counts as known from its execution date where the vendor gives no declaration date.
    """
    tickers = [*enabled_tickers(run), *run.knobs.benchmarks]
    last = run.day + HORIZON
    splits = run.market.rest.splits(tickers, run.day, last).select(
        "ticker",
        "split_from",
        "split_to",
        action=pl.lit("split"),
        ex_date=pl.col("execution_date"),
        action_id=pl.col("id"),
        source=pl.col("source_endpoint"),
        declared_on=pl.lit(None, pl.Date),
    )
    dividends = run.market.rest.dividends(tickers, run.day, last).select(
        "ticker",
        "cash_amount",
        "pay_date",
        action=pl.lit("dividend"),
        ex_date=pl.col("ex_dividend_date"),
        action_id=pl.col("id"),
        source=pl.col("source_endpoint"),
        declared_on=pl.col("declaration_date"),
    )
    rows = pl.concat([splits, dividends], how="diagonal").with_columns(
        known_on=pl.coalesce("declared_on", "ex_date")
    )
    rows = rows.with_columns(available_at=_midnight("known_on")).filter(
        pl.col("known_on") <= run.day
    )
    frame = CORPORATE_ACTIONS.conform(rows, trade_date=run.day)
    result = run.warehouse.replace(
        CORPORATE_ACTIONS, frame, {"trade_date": run.day}, allow_empty=True
    )
    kinds = frame["action"]
    return Outcome(
        [result],
        {"splits": (kinds == "split").sum(), "dividends": (kinds == "dividend").sum()},
    )


@trading_day_asset(
    EARNINGS_CALENDAR,
    group="reference",
    deps=("universe", "massive_rest_api"),
    kinds=("rest", "csv"),
    checks={"has_a_source": "At least one source of earnings dates answered."},
)
def earnings_calendar(run: DayRun) -> Outcome:
    """Earnings dates from the day to 60 days ahead: the vendor's add-on, and your own CSV."""
    tickers = enabled_tickers(run)
    last = run.day + HORIZON
    known = min(run.now, datetime.combine(run.day, time(23, 59), EASTERN).astimezone(UTC))
    results, metadata = [], {}
    try:
        events = run.market.rest.earnings(run.day, last, tickers)
    except NotEntitledError as error:
        metadata[BENZINGA] = f"not in the plan: {error}"
    else:
        ours = events.filter(pl.col("ticker").is_in(tickers))
        results.append(_write_earnings(run, _from_benzinga(ours), BENZINGA, known))
    if run.knobs.earnings_csv is not None:
        events = read_earnings_csv(run.knobs.earnings_csv).filter(
            pl.col("report_date").is_between(run.day, last)
        )
        results.append(_write_earnings(run, events, "csv", known))
    if not results:
        metadata["hint"] = "set TRACKER_EARNINGS_CSV to a file of your own"
    return Outcome(results, metadata, [Check("has_a_source", bool(results), metadata)])


def _from_benzinga(events: pl.DataFrame) -> pl.DataFrame:
    """The add-on's rows in the columns of the user's CSV; its time of day becomes bmo or amc."""
    at = pl.col("time_et")
    return events.select(
        "ticker",
        report_date=pl.col("date"),
        report_time=pl.when(at < REGULAR_OPEN)
        .then(pl.lit("bmo"))
        .when(at >= REGULAR_CLOSE)
        .then(pl.lit("amc"))
        .when(at.is_not_null())
        .then(pl.lit("during"))
        .otherwise(pl.lit("unknown")),
        status=pl.col("date_status").fill_null("projected"),
        announced_at=pl.col("last_updated"),
    ).unique(["ticker", "report_date"], keep="last", maintain_order=True)


def _write_earnings(run: DayRun, events: pl.DataFrame, source: str, known: datetime) -> WriteResult:
    announced = events.filter(pl.col("announced_at").is_null() | (pl.col("announced_at") <= known))
    frame = EARNINGS_CALENDAR.conform(
        announced.with_columns(
            available_at=pl.coalesce("announced_at", pl.lit(session_on(run.day).open))
        ),
        trade_date=run.day,
        source=source,
    )
    unit: Unit = {"trade_date": run.day, "source": source}
    return run.warehouse.replace(EARNINGS_CALENDAR, frame, unit, allow_empty=True)
