"""Assets of volatility over time: implied against its own year, realised, the VIX's structure.

Days of a range share nearly all of what they read, so each asset does a few of them at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

import polars as pl

from tracker_dagster.analytics.volatility.iv_history import (
    SNAPSHOT,
    history_sessions,
    iv_history,
)
from tracker_dagster.analytics.volatility.iv_rank import SESSIONS
from tracker_dagster.analytics.volatility.realized_history import (
    bar_sessions,
    realized_history,
)
from tracker_dagster.analytics.volatility.vix_term_structure import (
    INDICES,
    vix_sessions,
)
from tracker_dagster.analytics.volatility.vix_term_structure import (
    vix_term_structure as vix_structure,
)
from tracker_dagster.assets.reference import INDEX_UNDERLYINGS
from tracker_dagster.assets.wiring import (
    Check,
    DayRun,
    Outcome,
    picture,
    trading_days_asset,
)
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.reports.volatility_series import iv_history_chart, vix_ratio_chart
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.market import BARS_1M, INDEX_BARS, STOCK_DAY_AGGS
from tracker_dagster.schemas.reference import (
    CORPORATE_ACTIONS,
    EARNINGS_CALENDAR,
    REFERENCE_COLLECTIONS,
    UNIVERSE,
)
from tracker_dagster.schemas.surface import IV_TERM_STRUCTURE
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.schemas.volatility_series import (
    IV_PERCENTILE,
    REALIZED_VOLATILITY,
    VIX_TERM_STRUCTURE,
)
from tracker_dagster.sources.vix_futures_csv import read_vix_futures_csv
from tracker_dagster.strategy.events import DIVIDENDS, FUNDS, earnings_flags
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.trading_calendar import EASTERN, day_file_available_at, session_on
from tracker_dagster.warehouse import Write

#: Calendars that were asked for longer ago say nothing, as in decisions.
MAX_AGE_DAYS = PickSettings().reference_max_age_days
#: A quarter of sessions: enough that reading a year for each of them no longer counts.
DAYS_AT_ONCE = 63
#: Calendar days that the volatility followed here spans.
TERM = timedelta(days=30)
_DAILY = ("trade_date", "basis", "underlying", "slot", "available_at", "iv_30d", "skew_25d_30d")
_OHLC = ("open", "high", "low", "close")


def _members(runs: Sequence[DayRun]) -> dict[date, pl.DataFrame]:
    """Ticker, category and whether enabled, of each day at its close, or now."""
    ledger = runs[0].warehouse.read(LEDGER)
    return {
        run.day: universe_as_of(ledger, min(session_on(run.day).close, run.now)) for run in runs
    }


def _events(
    runs: Sequence[DayRun], today: pl.DataFrame, members: Mapping[date, pl.DataFrame]
) -> pl.DataFrame | None:
    """Whether earnings lie within the term of each of ``today``, as it was known at its slot."""
    warehouse, last = runs[0].warehouse, runs[-1].day
    since = runs[0].day - timedelta(days=MAX_AGE_DAYS)
    earnings = warehouse.read(EARNINGS_CALENDAR, first=since, last=last)
    of_earnings = {"dataset": EARNINGS_CALENDAR.name}
    answers = warehouse.read(REFERENCE_COLLECTIONS, first=since, last=last, where=of_earnings)
    # Indices report no more than funds do.
    indices = pl.DataFrame({"ticker": INDEX_UNDERLYINGS, "category": FUNDS})
    flags = []
    for day, slot in today.select("trade_date", "slot").unique(maintain_order=True).rows():
        # Earnings were asked for members alone: of others no answer means nothing.
        asked = members[day].filter(pl.col("enabled") | (pl.col("category") == FUNDS))
        tickers = pl.concat([asked.select("ticker", "category"), indices])
        flags.append(
            earnings_flags(tickers, earnings, day, day + TERM, slot, MAX_AGE_DAYS, answers).select(
                trade_date=pl.lit(day),
                slot=pl.lit(slot, today.schema["slot"]),
                underlying="ticker",
                event_ahead="earnings_in_period",
                event_note="earnings_note",
            )
        )
    if not flags:
        return None
    return (
        today.select("trade_date", "basis", "slot", "underlying")
        .join(pl.concat(flags), on=["trade_date", "slot", "underlying"], how="left")
        .with_columns(pl.col("event_note").fill_null("its earnings are not asked for"))
    )


def _last_slots(rows: pl.DataFrame) -> pl.DataFrame:
    """Each session's row of the last slot by basis and underlying; rows come in that order."""
    return rows.unique(["trade_date", "basis", "underlying"], keep="last", maintain_order=True)


@trading_days_asset(
    IV_PERCENTILE,
    days_at_once=DAYS_AT_ONCE,
    group="volatility",
    deps=("universe", "iv_term_structure", "earnings_calendar"),
    kinds=("numpy",),
    checks={
        "has_history": "Some underlying has a 30-day volatility, and each that has is compared "
        "with half a year of sessions or more.",
    },
)
def iv_percentile(runs: Sequence[DayRun]) -> list[Outcome]:
    """The last 30-day volatility of the session, on each basis, against the year before it.

    For the universe, the benchmarks and the indices. A later slot of the session replaces what an
    earlier one said; the session's files add a row on their own basis.
    """
    first, last = runs[0], runs[-1].day
    members = _members(runs)
    always = pl.Series([*first.knobs.benchmarks, *INDEX_UNDERLYINGS])
    followed = pl.concat(
        pl.select(trade_date=day, underlying=rows.filter("enabled")["ticker"].append(always))
        for day, rows in members.items()
    )
    # A capture of this moment arrives seconds after it; it is the slot's, and counts.
    by_now = (pl.col("available_at") <= first.now) | (
        (pl.col("basis") == SNAPSHOT) & (pl.col("slot") <= first.now)
    )

    def term_structures(since: date, *more: str) -> pl.DataFrame:
        rows = first.warehouse.read(
            IV_TERM_STRUCTURE,
            first=since,
            last=last,
            where={"underlying": followed["underlying"].unique().to_list()},
            columns=[*_DAILY, *more],
        )
        return _last_slots(rows.filter(by_now))

    today = term_structures(first.day, "missing").join(
        followed, on=["trade_date", "underlying"], how="semi", maintain_order="left"
    )
    past = term_structures(min([first.day, *history_sessions(first.day)]))
    rows = IV_PERCENTILE.conform(iv_history(today, past, _events(runs, today, members)))
    frames = [rows.filter(trade_date=run.day) for run in runs]
    results = first.warehouse.replace_many(
        [
            Write(IV_PERCENTILE, frame, {"trade_date": run.day}, allow_empty=True)
            for run, frame in zip(runs, frames, strict=True)
        ]
    )
    return [
        Outcome([result], _iv_metadata(run, frame, past), [_has_history(frame)])
        for run, frame, result in zip(runs, frames, results, strict=True)
    ]


def _has_history(frame: pl.DataFrame) -> Check:
    valued = frame.drop_nulls("iv_30d")
    if valued.is_empty():
        return Check("has_history", False, {"missing": "no 30-day volatility of the session"})
    short = valued.filter(pl.col("iv_percentile").is_null())
    sessions = dict(short.select("underlying", "history_sessions").iter_rows())
    return Check("has_history", not sessions, {"sessions": sessions} if sessions else {})


def _iv_metadata(run: DayRun, frame: pl.DataFrame, past: pl.DataFrame) -> dict[str, object]:
    ramps = frame.filter("is_ramp")["underlying"].unique().sort().to_list()
    said = {"rows": frame.height, "ramps": ramps}
    return said | picture(run, "history", lambda: _shown(run, frame, past))


def _shown(run: DayRun, frame: pl.DataFrame, past: pl.DataFrame) -> str:
    """The year of one underlying."""
    # A benchmark says most about the market; without one, whoever is dearest by its own standard.
    is_benchmark = pl.col("underlying").is_in(run.knobs.benchmarks)
    valued = frame.drop_nulls("iv_30d")
    order = valued.sort(is_benchmark, "iv_percentile", descending=True, nulls_last=True)
    row = order.row(0, named=True) if order.height else None
    year = history_sessions(run.day)[-SESSIONS:]
    return iv_history_chart(past, row, year, run.day)


def _published(runs: Sequence[DayRun]) -> Iterator[tuple[DayRun, datetime]]:
    """The days whose files are out by now, and when they came out."""
    for run in runs:
        known_at = day_file_available_at(run.day)
        if known_at <= run.now:
            yield run, known_at


def _not_yet(run: DayRun) -> Outcome:
    due = day_file_available_at(run.day).astimezone(EASTERN)
    return Outcome([], {"waiting": f"the session's files are not out before {due:%F %H:%M} ET"})


@trading_days_asset(
    REALIZED_VOLATILITY,
    days_at_once=DAYS_AT_ONCE,
    group="volatility",
    deps=("universe", "stock_day_aggs", "bars_1m", "corporate_actions"),
    kinds=("numpy",),
    checks={"a_month_is_whole": "Every enabled ticker has 20 sessions of returns."},
)
def realized_volatility(runs: Sequence[DayRun]) -> list[Outcome]:
    """What prices of the universe and the benchmarks have moved by, to the session's close.

    Prices are in the shares of the session and a dividend is no loss. A window that lacks a bar
    has no figure; nor has one that a split could hide in, because the session's corporate actions
    were not collected.
    """
    known = list(_published(runs))
    outcomes = {run.day: _not_yet(run) for run in runs}
    if not known:
        return list(outcomes.values())
    days = [run for run, _ in known]
    warehouse, benchmarks = days[0].warehouse, days[0].knobs.benchmarks
    members = _members(days)
    tickers = {
        day: sorted({*benchmarks, *rows.filter("enabled")["ticker"]})
        for day, rows in members.items()
    }
    everyone = sorted(set().union(*tickers.values()))
    since = bar_sessions(days[0].day)[0]
    last, as_of = days[-1].day, known[-1][1]

    def of_everyone(table: Table, *columns: str) -> pl.DataFrame:
        where = {"ticker": everyone}
        return warehouse.read(
            table, as_of=as_of, first=since, last=last, where=where, columns=columns or None
        )

    bars = of_everyone(STOCK_DAY_AGGS, "ticker", "trade_date", *_OHLC)
    actions = of_everyone(CORPORATE_ACTIONS)
    enabled = of_everyone(UNIVERSE, "ticker", "trade_date", "enabled").filter("enabled")
    collected = _collected(days[0], enabled, since, last)
    frames = [
        realized_history(
            tickers[run.day],
            bars,
            warehouse.read(
                BARS_1M,
                as_of=known_at,
                first=run.day,
                last=run.day,
                where={"ticker": tickers[run.day], "is_regular": True},
                columns=["ticker", "start", "open", "close", "is_regular"],
            ),
            actions,
            collected,
            run.day,
        )
        for run, known_at in known
    ]
    results = warehouse.replace_many(
        [
            Write(
                REALIZED_VOLATILITY,
                REALIZED_VOLATILITY.conform(frame, trade_date=run.day, available_at=known_at),
                {"trade_date": run.day},
                allow_empty=True,
            )
            for (run, known_at), frame in zip(known, frames, strict=True)
        ]
    )
    for run, frame, result in zip(days, frames, results, strict=True):
        lacking = frame.filter(pl.col("rv_20d").is_null())
        why = dict(lacking.select("ticker", "reason").iter_rows())
        check = Check("a_month_is_whole", lacking.is_empty(), {"missing": why} if why else {})
        outcomes[run.day] = Outcome([result], {"tickers": frame.height}, [check])
    return list(outcomes.values())


def _collected(run: DayRun, enabled: pl.DataFrame, since: date, last: date) -> pl.DataFrame:
    """``ticker``, ``trade_date``: the sessions whose corporate actions were asked for a ticker."""
    answered = run.warehouse.read(
        REFERENCE_COLLECTIONS,
        first=since,
        last=last,
        where={"dataset": CORPORATE_ACTIONS.name, "subject": DIVIDENDS},
        columns=["trade_date"],
    ).unique()
    always = pl.DataFrame({"ticker": run.knobs.benchmarks}, schema={"ticker": pl.String})
    asked = enabled.select("ticker", "trade_date").join(answered, on="trade_date", how="semi")
    return pl.concat([asked, always.join(answered, how="cross")]).unique()


@trading_days_asset(
    VIX_TERM_STRUCTURE,
    days_at_once=DAYS_AT_ONCE,
    group="volatility",
    deps=("index_bars", "vix_futures_settlements"),
    kinds=("numpy", "csv"),
    checks={"has_ratio": "The VIX and VIX3M both have a bar of the session."},
)
def vix_term_structure(runs: Sequence[DayRun]) -> list[Outcome]:
    """VIX / VIX3M at the close, its percentile, and the rule on the first and third future.

    Futures need a file of settlements (``TRACKER_VIX_FUTURES_CSV``): no plan of the vendor has
    them.
    """
    known = list(_published(runs))
    outcomes = {run.day: _not_yet(run) for run in runs}
    if not known:
        return list(outcomes.values())
    first, last = known[0][0], known[-1][0]
    path = first.knobs.vix_futures_csv
    settlements = None if path is None else read_vix_futures_csv(path)
    bars = first.warehouse.read(
        INDEX_BARS,
        as_of=known[-1][1],
        first=vix_sessions(first.day)[0],
        last=last.day,
        where={"ticker": list(INDICES)},
        columns=["trade_date", "ticker", "close"],
    )
    frames = [
        VIX_TERM_STRUCTURE.conform(
            vix_structure(bars, settlements, run.day), trade_date=run.day, available_at=known_at
        )
        for run, known_at in known
    ]
    results = first.warehouse.replace_many(
        [
            Write(VIX_TERM_STRUCTURE, frame, {"trade_date": run.day})
            for (run, _), frame in zip(known, frames, strict=True)
        ]
    )
    for (run, _), frame, result in zip(known, frames, results, strict=True):
        row = frame.row(0, named=True)
        said = {name: row[name] for name in ("ratio", "structure", "reason", "futures_reason")}
        drawn = picture(run, "history", lambda: vix_ratio_chart(bars, vix_sessions(last.day)))
        check = Check("has_ratio", row["ratio"] is not None, {"reason": row["reason"]})
        outcomes[run.day] = Outcome([result], said | drawn, [check])
    return list(outcomes.values())
