"""Assets about instruments: listed contracts, corporate actions, earnings dates.

The vendor keeps its calendars as they are now. A past day that was stored while it was current is
left as it is: asking again could only lose what was known then.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta

import polars as pl

from tracker_dagster.assets.day_files import PARALLEL_REQUESTS
from tracker_dagster.assets.followed import followed_tickers
from tracker_dagster.assets.plan_limits import (
    IN_PLAN,
    IN_PLAN_PROMISE,
    NOT_IN_PLAN,
    gap,
    refused,
)
from tracker_dagster.assets.universe import enabled_tickers
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.reference import (
    CORPORATE_ACTIONS,
    EARNINGS_CALENDAR,
    OPTION_CONTRACTS,
    REFERENCE_COLLECTIONS,
)
from tracker_dagster.sources.earnings_csv import read_earnings_csv
from tracker_dagster.sources.errors import MalformedResponseError, NotEntitledError
from tracker_dagster.strategy.events import ALL_DIVIDENDS, DIVIDENDS, OWN_CALENDAR, SPLITS
from tracker_dagster.trading_calendar import (
    EASTERN,
    REGULAR_CLOSE,
    REGULAR_OPEN,
    current_session,
    last_sessions,
    previous_session,
    session_on,
)
from tracker_dagster.warehouse import Unit, Write, WriteResult
from tracker_dagster.warehouse.units import prepare

#: How far ahead the calendars of corporate actions and earnings reach.
HORIZON = timedelta(days=60)
#: How far back splits are stored with each day: past the year of closes behind the statistics.
SPLITS_BACK = timedelta(days=380)
#: Sessions in which an announcement of a split is looked for that was stored before.
_REMEMBERED_SESSIONS = 45
#: Most days of ex-dates in one question: the answers of a range of years fit into memory.
_DIVIDENDS_AT_ONCE = timedelta(days=366)
INDEX_UNDERLYINGS = ("SPX", "NDX", "RUT", "VIX")
#: Kinds of dividend of the legacy endpoint, in the words of the new one: of regular policy,
#: special, and capital gains of funds.
_LEGACY_TYPES = {"CD": "recurring", "SC": "special", "LT": "irregular", "ST": "irregular"}
BENZINGA = "massive_benzinga"
REST = "massive_rest"
#: Said of a past day whose stored rows are left as they are.
KEPT = "kept as it was stored: the vendor may have changed since what was known on the day"
_PROMISES = {IN_PLAN: IN_PLAN_PROMISE}


def _midnight(column: str) -> pl.Expr:
    """Midnight in New York of a date column, as an instant."""
    midnight = pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone(EASTERN.key)
    return midnight.dt.convert_time_zone("UTC")


def _kept(run: DayRun, table: Table, source: str) -> WriteResult | None:
    """What is stored of a past day, as if it were written again; None where it is to be asked."""
    if run.day == current_session(run.now):
        return None
    of_source = {"source": source} if "source" in table.replace_by else {}
    stored = run.warehouse.read(table, first=run.day, last=run.day, where=of_source)
    answered = run.warehouse.read(
        REFERENCE_COLLECTIONS,
        first=run.day,
        last=run.day,
        where={"dataset": table.name, "source": source},
    )
    if stored.is_empty() and answered.is_empty():
        return None
    unit: Unit = {"trade_date": run.day, **of_source}
    return prepare(Write(table, stored, unit, allow_empty=True)).result


def _collected(
    run: DayRun, table: Table, source: str, parts: Mapping[str, tuple[datetime, int]]
) -> Write:
    """The write that says which parts were answered whole, since when, and with how many rows."""
    unit: Unit = {"trade_date": run.day, "dataset": table.name, "source": source}
    rows = pl.DataFrame(
        [(subject, since, count) for subject, (since, count) in parts.items()],
        schema={
            name: REFERENCE_COLLECTIONS.polars_schema[name]
            for name in ("subject", "available_at", "rows_count")
        },
        orient="row",
    )
    frame = REFERENCE_COLLECTIONS.conform(rows, **unit)
    return Write(REFERENCE_COLLECTIONS, frame, unit, allow_empty=True)


@trading_day_asset(
    OPTION_CONTRACTS,
    group="reference",
    deps=("universe", "massive_rest_api"),
    kinds=("rest",),
    checks=_PROMISES,
)
def option_contracts(run: DayRun) -> Outcome:
    """The vendor's contract reference ``as_of`` the day, calls and puts, all pages."""
    underlyings = [*enabled_tickers(run), *INDEX_UNDERLYINGS]

    def fetch(underlying: str) -> pl.DataFrame:
        return run.market.rest.option_contracts(underlying, as_of=run.day)

    try:
        with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
            frames = list(pool.map(fetch, underlyings))
    except NotEntitledError as error:
        return refused(run, OPTION_CONTRACTS, REST, error, IN_PLAN)
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
        source=REST,
        available_at=session_on(run.day).open,
    )
    result, _ = run.warehouse.replace_many(
        [
            Write(OPTION_CONTRACTS, frame, {"trade_date": run.day}),
            gap(run, OPTION_CONTRACTS, REST, None),
        ]
    )
    nonstandard = int((~frame["is_standard"]).sum())
    return Outcome(
        [result],
        {"underlyings": len(underlyings), "nonstandard": nonstandard},
        [Check(IN_PLAN, True)],
    )


@trading_day_asset(
    CORPORATE_ACTIONS,
    group="reference",
    deps=("universe", "massive_rest_api"),
    kinds=("rest",),
    checks=_PROMISES,
    code_version="4",
)
def corporate_actions(run: DayRun) -> Outcome:
    """Splits and dividends known on the day: to 60 days ahead, and the splits of 380 days before.

    Dividends are those of every US ticker, asked for once for all days of a run; splits those of
    the universe and the benchmarks.

    The vendor does not say when it announced a split. One ahead of the current session is known
    since it was first stored; those ahead of a past day are known only where it was stored while
    it was current, and such a day is left as it is. A split that has executed was known on its
    date.
    """
    stored = _kept(run, CORPORATE_ACTIONS, REST)
    if stored is not None:
        return Outcome([stored], {REST: KEPT}, [Check(IN_PLAN, True)])
    is_current = run.day == current_session(run.now)
    try:
        splits = _splits(run, is_current=is_current)
        dividends, all_read = _dividends(run)
    except NotEntitledError as error:
        return refused(run, CORPORATE_ACTIONS, REST, error, IN_PLAN)
    rows = pl.concat([splits, dividends], how="diagonal")
    opening = session_on(run.day).open
    ours = dividends.filter(pl.col("ticker").is_in(_followed(run)))
    parts = {DIVIDENDS: (opening, ours.height)}
    if all_read:
        parts[ALL_DIVIDENDS] = (opening, dividends.height)
    if is_current:
        parts[SPLITS] = (run.now, splits.height)
    frame = CORPORATE_ACTIONS.conform(rows, trade_date=run.day)
    result, *_ = run.warehouse.replace_many(
        [
            Write(CORPORATE_ACTIONS, frame, {"trade_date": run.day}, allow_empty=True),
            _collected(run, CORPORATE_ACTIONS, REST, parts),
            gap(run, CORPORATE_ACTIONS, REST, None),
        ]
    )
    ahead = "from now on" if is_current else "unknown: the day is past"
    return Outcome(
        [result],
        {"splits": splits.height, "dividends": dividends.height, "splits_ahead": ahead},
        [Check(IN_PLAN, True)],
    )


def _followed(run: DayRun) -> list[str]:
    return [*followed_tickers(run), *run.knobs.benchmarks]


def _splits(run: DayRun, *, is_current: bool) -> pl.DataFrame:
    """Splits executed by the day, known on their dates, and for the current one those ahead."""
    tickers = _followed(run)
    last = run.day + HORIZON if is_current else run.day
    splits = run.market.rest.splits(tickers, run.day - SPLITS_BACK, last).select(
        "ticker",
        "split_from",
        "split_to",
        action=pl.lit("split"),
        ex_date=pl.col("execution_date"),
        action_id=pl.col("id"),
        source=pl.col("source_endpoint"),
    )
    key = ["ticker", "ex_date", "action_id"]
    before = run.warehouse.read(
        CORPORATE_ACTIONS,
        first=last_sessions(run.day, _REMEMBERED_SESSIONS)[0],
        last=previous_session(run.day),
        where={"action": "split", "ticker": tickers},
        columns=[*key, "available_at"],
    )
    first_stored = before.group_by(key).agg(first_stored=pl.col("available_at").min())
    executed = pl.when(pl.col("ex_date") <= run.day).then(_midnight("ex_date"))
    return (
        splits.join(first_stored, on=key, how="left")
        .with_columns(
            available_at=pl.min_horizontal("first_stored", pl.coalesce(executed, pl.lit(run.now)))
        )
        .drop("first_stored")
    )


def _dividends(run: DayRun) -> tuple[pl.DataFrame, bool]:
    """Dividends from the day to 60 days ahead that had been declared by then, and whether of all.

    Of every ticker; where the vendor's answer on all has a row that cannot be read, of those
    followed: one bad row of a stranger must not stop the day's decisions.
    """
    try:
        rows, of_all = run.ahead.once(lambda: _dividends_of_run(run, None)), True
    except MalformedResponseError as error:
        run.log.warning(f"dividends of the whole market, {run.day}: {error}")
        rows, of_all = _dividends_of_run(run, _followed(run)), False
    known = rows.filter(
        pl.col("ex_date").is_between(run.day, run.day + HORIZON) & (pl.col("known_on") <= run.day)
    )
    return known, of_all


def _dividends_of_run(run: DayRun, tickers: list[str] | None) -> pl.DataFrame:
    """Dividends that any day of the run could know; those before it are stored."""
    last = max(run.ahead.days) + HORIZON
    answers, since = [], run.day
    while since <= last:
        until = min(since + _DIVIDENDS_AT_ONCE, last)
        answers.append(_as_actions(run.market.rest.dividends(tickers, since, until)))
        since = until + timedelta(days=1)
    return pl.concat(answers)


def _as_actions(dividends: pl.DataFrame) -> pl.DataFrame:
    """The vendor's dividends as rows of the table, each known since its declaration."""
    return dividends.select(
        "ticker",
        "cash_amount",
        "pay_date",
        "currency",
        distribution_type=pl.coalesce(
            "distribution_type",
            pl.col("dividend_type").replace_strict(_LEGACY_TYPES, default=None),
        ),
        action=pl.lit("dividend"),
        ex_date=pl.col("ex_dividend_date"),
        action_id=pl.col("id"),
        source=pl.col("source_endpoint"),
        declared_on=pl.col("declaration_date"),
        known_on=pl.coalesce("declaration_date", "ex_dividend_date"),
    ).with_columns(available_at=_midnight("known_on"))


@trading_day_asset(
    EARNINGS_CALENDAR,
    group="reference",
    deps=("universe", "massive_rest_api"),
    kinds=("rest", "csv"),
    checks={"has_a_source": "At least one source of earnings dates answered."},
    code_version="2",
)
def earnings_calendar(run: DayRun) -> Outcome:
    """Earnings dates from the day to 60 days ahead: the vendor's add-on, and your own CSV.

    A past day that has rows of a source keeps them. The vendor overwrites a date when it changes
    or is reported: of a past day collected later what was changed since is left out, and the
    calendar counts as whole only from its last change on.
    """
    tickers = enabled_tickers(run)
    last = run.day + HORIZON
    results: list[WriteResult] = []
    metadata: dict[str, str] = {}
    stored = _kept(run, EARNINGS_CALENDAR, BENZINGA)
    if stored is not None:
        results.append(stored)
        metadata[BENZINGA] = KEPT
    else:
        try:
            events = run.market.rest.earnings(run.day, last, tickers)
        except NotEntitledError as error:
            metadata[BENZINGA] = refused(
                run, EARNINGS_CALENDAR, BENZINGA, error, "has_a_source"
            ).metadata[NOT_IN_PLAN]
        else:
            ours = events.filter(pl.col("ticker").is_in(tickers))
            results.append(_write_earnings(run, _from_benzinga(ours), BENZINGA))
    if run.knobs.earnings_csv is not None:
        stored = _kept(run, EARNINGS_CALENDAR, OWN_CALENDAR)
        if stored is not None:
            results.append(stored)
            metadata[OWN_CALENDAR] = KEPT
        else:
            events = read_earnings_csv(run.knobs.earnings_csv).filter(
                pl.col("report_date").is_between(run.day, last)
            )
            results.append(_write_earnings(run, events, OWN_CALENDAR))
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


def _write_earnings(run: DayRun, events: pl.DataFrame, source: str) -> WriteResult:
    """Replace the day's rows of one source by those announced by the end of the day."""
    opening = session_on(run.day).open
    end_of_day = datetime.combine(run.day, time(23, 59), EASTERN).astimezone(UTC)
    announced = pl.col("announced_at")
    known = events.filter(announced.is_null() | (announced <= min(run.now, end_of_day)))
    frame = EARNINGS_CALENDAR.conform(
        known.with_columns(available_at=pl.coalesce("announced_at", pl.lit(opening))),
        trade_date=run.day,
        source=source,
    )
    # Before its last change the calendar said something else, and nobody can say what.
    changed = events["announced_at"].max()
    since = max(opening, changed) if isinstance(changed, datetime) else opening
    # An own file whose dates have all passed says nothing about the days ahead.
    is_answer = source != OWN_CALENDAR or events.height > 0
    unit: Unit = {"trade_date": run.day, "source": source}
    result, *_ = run.warehouse.replace_many(
        [
            Write(EARNINGS_CALENDAR, frame, unit, allow_empty=True),
            _collected(
                run, EARNINGS_CALENDAR, source, {"*": (since, frame.height)} if is_answer else {}
            ),
            gap(run, EARNINGS_CALENDAR, source, None),
        ]
    )
    return result
