"""Assets filled from the vendor's day and minute files, with REST where a file is not to be had."""

from __future__ import annotations

import json
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from tracker_dagster.assets.plan_limits import IN_PLAN, IN_PLAN_PROMISE, gap, refused
from tracker_dagster.assets.universe import enabled_at, enabled_tickers
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.reports.charts import bar_chart
from tracker_dagster.resources import MissingKeyError
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.decisions import WEEKLY_PICKS
from tracker_dagster.schemas.market import BARS_1M, INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.system import ALERTS, alert_row
from tracker_dagster.sources.errors import NotEntitledError, NotFoundError
from tracker_dagster.sources.massive.flat_file_formats import (
    Dataset,
    parse_day_aggs,
    parse_minute_aggs,
    unexpected_columns,
)
from tracker_dagster.sources.massive.records import ParsedRows
from tracker_dagster.trading_calendar import (
    EASTERN,
    day_file_available_at,
    last_published_session,
    session_on,
)
from tracker_dagster.warehouse import IngestedFile, Unit, Write, WriteResult

if TYPE_CHECKING:
    from tracker_dagster.sources.massive.flat_files import FetchedFile
    from tracker_dagster.sources.massive.rest import Timespan

FLAT_FILE = "massive_flat_file"
REST = "massive_rest"
INDICES = ("SPX", "NDX", "RUT", "VIX", "VIX9D", "VIX3M")
#: Requests under way at once; the vendor advises to stay under a hundred a second.
PARALLEL_REQUESTS = 8
#: Metadata of a materialisation from a file: which one, and the tickers whose minutes were kept.
ETAG, READ_FOR = "etag", "read_for"


class NotPublishedError(ValueError):
    """The vendor has no file for the session, yet or at all."""


def _fetch(run: DayRun, dataset: Dataset) -> FetchedFile:
    try:
        return run.ahead.get(partial(run.market.flat_files.fetch, dataset), run.day)
    except NotFoundError as error:
        due = day_file_available_at(run.day).astimezone(EASTERN)
        when = "was due" if due <= run.now else "is due"
        raise NotPublishedError(
            f"the vendor has no {dataset.value} file of {run.day}; "
            f"it {when} {due:%Y-%m-%d %H:%M} ET"
        ) from error


def write_file(run: DayRun, table: Table, fetched: FetchedFile, parsed: ParsedRows) -> WriteResult:
    """Replace the day's unit by the rows of one vendor file, and remember which file it was."""
    frame = table.conform(
        parsed.frame,
        trade_date=run.day,
        source=FLAT_FILE,
        # The publication rule, not LastModified: a rewritten file must not look new to the past.
        available_at=day_file_available_at(run.day),
    )
    file = IngestedFile(
        object_key=fetched.remote.key,
        etag=fetched.remote.etag,
        size_bytes=fetched.remote.size,
    )
    unit: Unit = {"trade_date": run.day, "source": FLAT_FILE}
    result, _ = run.warehouse.replace_many(
        [
            Write(table, frame, unit, rejected=parsed.rejected, file=file),
            gap(run, table, FLAT_FILE, None),
        ]
    )
    if result.replaced_etag not in (None, file.etag):
        _alert_stale_decisions(run, table, result.replaced_etag, file.etag)
    return result


def _alert_stale_decisions(run: DayRun, table: Table, old: str, new: str) -> None:
    """Say which decisions rest on a file that the vendor has replaced; they are not taken again.

    A decision rests on every day of the window that it says it read.
    """
    picks = run.warehouse.read(
        WEEKLY_PICKS, first=run.day, columns=["trade_date", "basis", "inputs"]
    ).unique(maintain_order=True)
    stale = picks.filter(
        pl.Series(
            [_rests_on(inputs, table, run.day, old) for inputs in picks["inputs"]], dtype=pl.Boolean
        )
    )
    if stale.is_empty():
        return
    decided = sorted(
        {f"{day} ({basis})" for day, basis in stale.select("trade_date", "basis").rows()}
    )
    alert = alert_row(
        f"stale_decision/{table.name}/{run.day}/{new}",
        run.now,
        "warning",
        "stale_decision",
        f"{table.name} {run.day}",
        f"The vendor replaced the file of {run.day}; decided on the old one: {', '.join(decided)}. "
        f"`tracker picker --as-of DAY` rebuilds one.",
    )
    run.warehouse.replace(ALERTS, alert, {"alert_id": alert["alert_id"][0], "raised_at": run.now})


def _rests_on(inputs: str, table: Table, day: date, etag: str) -> bool:
    """Whether ``inputs`` of a decision name the day of the table, in its window or by the file."""
    window = json.loads(inputs).get(table.name)
    if isinstance(window, dict):
        return bool(window["first"] <= day.isoformat() <= window["last"])
    return etag in inputs


def _file_metadata(dataset: Dataset, fetched: FetchedFile) -> dict[str, object]:
    unknown = unexpected_columns(fetched.csv, dataset)
    return {
        "object_key": fetched.remote.key,
        ETAG: fetched.remote.etag,
        "size_bytes": fetched.remote.size,
        "source": FLAT_FILE,
        **({"unknown_columns": unknown} if unknown else {}),
    }


def _coverage(name: str, wanted: Collection[str], present: Collection[str]) -> Check:
    missing = sorted(set(wanted) - set(present))
    return Check(name, not missing, {"missing": missing} if missing else {})


@trading_day_asset(
    STOCK_DAY_AGGS,
    group="market",
    deps=("universe", "massive_flat_files", "massive_rest_api"),
    kinds=("s3",),
    checks={"universe_traded": "Every enabled ticker of the universe has a bar."},
)
def stock_day_aggs(run: DayRun) -> Outcome:
    """One file a session from Massive's ``us_stocks_sip/day_aggs_v1``.

    Where the plan has no flat files, or their keys are not set, a past session's bars of the
    whole market come over REST, in one request.
    """
    try:
        fetched = _fetch(run, Dataset.STOCK_DAY)
    except (NotEntitledError, MissingKeyError) as error:
        if run.now < day_file_available_at(run.day):
            raise
        rows = run.market.rest.grouped_daily(run.day)
        frame = STOCK_DAY_AGGS.conform(
            rows, source=REST, available_at=day_file_available_at(run.day)
        )
        unit: Unit = {"trade_date": run.day, "source": REST}
        result = run.warehouse.replace(STOCK_DAY_AGGS, frame, unit)
        metadata: dict[str, object] = {"source": REST, "no_day_file": str(error)}
    else:
        parsed = parse_day_aggs(fetched.csv, run.day)
        result, rows = write_file(run, STOCK_DAY_AGGS, fetched, parsed), parsed.frame
        metadata = _file_metadata(Dataset.STOCK_DAY, fetched)
    tickers = enabled_tickers(run)
    coverage = _coverage("universe_traded", tickers, rows["ticker"].unique())
    return Outcome([result], metadata, [coverage])


@trading_day_asset(
    OPTION_DAY_AGGS,
    group="market",
    deps=("massive_flat_files",),
    kinds=("s3",),
    checks={IN_PLAN: IN_PLAN_PROMISE},
)
def option_day_aggs(run: DayRun) -> Outcome:
    """One file a session from Massive's ``us_options_opra/day_aggs_v1``.

    A plan without it leaves a gap with its reason: the vendor has no other history of all
    contracts.
    """
    try:
        fetched = _fetch(run, Dataset.OPTION_DAY)
    except NotEntitledError as error:
        return refused(run, OPTION_DAY_AGGS, FLAT_FILE, error, IN_PLAN)
    parsed = option_day_rows(fetched.csv, run.day)

    def busiest() -> str:
        volume = (
            parsed.frame.drop_nulls("underlying")
            .group_by("underlying")
            .agg(pl.col("volume").sum())
            .sort("volume", "underlying", descending=[True, False])
            .head(12)
        )
        return bar_chart(volume, "underlying", "volume", f"Contracts traded {run.day}")

    result = write_file(run, OPTION_DAY_AGGS, fetched, parsed)
    metadata = _file_metadata(Dataset.OPTION_DAY, fetched)
    return Outcome([result], metadata | picture(run, "busiest", busiest), [Check(IN_PLAN, True)])


def option_day_rows(csv: bytes, day: date) -> ParsedRows:
    """The rows of an option day file, with what their symbols say."""
    parsed = parse_day_aggs(csv, day, Dataset.OPTION_DAY)
    # Lazily, so that what the expressions have in common is computed once.
    rows = parsed.frame.lazy().rename({"ticker": "symbol"}).with_columns(option_symbol_columns())
    return parsed._replace(frame=rows.collect())


def _rest_bars(run: DayRun, tickers: Collection[str], timespan: Timespan) -> pl.DataFrame:
    """Bars of the day over REST, one request a ticker, a few at a time."""

    def fetch(ticker: str) -> pl.DataFrame:
        return run.market.rest.aggregates(ticker, 1, timespan, run.day, run.day, adjusted=False)

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        frames = list(pool.map(fetch, sorted(tickers)))
    return pl.concat(frames)


@trading_day_asset(
    BARS_1M,
    group="market",
    deps=("universe", "massive_flat_files", "massive_rest_api"),
    kinds=("s3",),
    checks={"universe_covered": "Every enabled ticker has at least one bar."},
)
def bars_1m(run: DayRun) -> Outcome:
    """The minute file of the session; before it is published, the bars so far over REST.

    Of a past session also the bars of tickers that have been enabled since: what is decided today
    looks back over several sessions.
    """
    followed = {*enabled_tickers(run), *run.knobs.benchmarks}
    tickers = {*followed, *enabled_at(run, run.now)}
    metadata: dict[str, object] = {}
    if run.day <= last_published_session(run.now):
        try:
            fetched = _fetch(run, Dataset.STOCK_MINUTE)
        except (NotPublishedError, NotEntitledError, MissingKeyError) as error:
            metadata |= {"no_minute_file": str(error), READ_FOR: sorted(tickers)}
        else:
            parsed = parse_minute_aggs(fetched.csv, run.day, tickers)
            rows = parsed.frame.rename({"window_start": "start"})
            rows = with_regular_flag(run.day, rows)
            result = write_file(run, BARS_1M, fetched, parsed._replace(frame=rows))
            file = _file_metadata(Dataset.STOCK_MINUTE, fetched) | {READ_FOR: sorted(tickers)}
            return _bars_outcome(result, rows, followed, file)
    try:
        rows = with_regular_flag(run.day, _rest_bars(run, tickers, "minute"))
    except NotEntitledError as error:
        return refused(run, BARS_1M, REST, error, "universe_covered", metadata)
    ended = pl.col("start") + timedelta(minutes=1)
    rows = rows.filter(ended <= run.now).with_columns(available_at=ended + run.market.delay)
    frame = BARS_1M.conform(rows, trade_date=run.day, source=REST)
    unit: Unit = {"trade_date": run.day, "source": REST}
    result, _ = run.warehouse.replace_many(
        [Write(BARS_1M, frame, unit, allow_empty=True), gap(run, BARS_1M, REST, None)]
    )
    return _bars_outcome(result, rows, followed, {"source": REST, **metadata})


def with_regular_flag(day: date, rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` of minute bars with ``is_regular``: whether they start within the session."""
    session = session_on(day)
    start = pl.col("start")
    return rows.with_columns(is_regular=(start >= session.open) & (start < session.close))


def _bars_outcome(
    result: WriteResult, rows: pl.DataFrame, tickers: Collection[str], metadata: dict[str, object]
) -> Outcome:
    last: datetime | None = rows["start"].max() if rows.height else None  # type: ignore[assignment]
    return Outcome(
        [result],
        metadata | ({"last_bar": last.isoformat()} if last else {}),
        [_coverage("universe_covered", tickers, rows["ticker"].unique())],
    )


@trading_day_asset(
    INDEX_BARS,
    group="market",
    deps=("massive_flat_files", "massive_rest_api"),
    kinds=("s3",),
    checks={"all_indices": "All six indices have a bar."},
)
def index_bars(run: DayRun) -> Outcome:
    """SPX, NDX, RUT, VIX, VIX9D and VIX3M from the index day file, or over REST without one."""
    wanted = [f"I:{name}" for name in INDICES]
    without_prefix = pl.col("ticker").str.strip_prefix("I:")
    try:
        fetched = _fetch(run, Dataset.INDEX_DAY)
    except (NotPublishedError, NotEntitledError, MissingKeyError) as error:
        if run.now < day_file_available_at(run.day):
            raise
        try:
            rows = _rest_bars(run, wanted, "day")
        except NotEntitledError as refusal:
            return refused(run, INDEX_BARS, FLAT_FILE, refusal, "all_indices")
        rows = rows.with_columns(
            ticker=without_prefix, available_at=pl.lit(day_file_available_at(run.day))
        )
        frame = INDEX_BARS.conform(rows, trade_date=run.day, source=REST)
        unit: Unit = {"trade_date": run.day, "source": REST}
        result = run.warehouse.replace(INDEX_BARS, frame, unit, allow_empty=True)
        metadata: dict[str, object] = {"source": REST, "no_index_file": str(error)}
    else:
        parsed = parse_day_aggs(fetched.csv, run.day, Dataset.INDEX_DAY)
        rows = parsed.frame.filter(pl.col("ticker").is_in(wanted))
        rows = rows.with_columns(ticker=without_prefix)
        result = write_file(run, INDEX_BARS, fetched, parsed._replace(frame=rows))
        metadata = _file_metadata(Dataset.INDEX_DAY, fetched)
    return Outcome([result], metadata, [_coverage("all_indices", INDICES, rows["ticker"].unique())])
