"""Assets about what became of positions: outcomes, each once, and the Friday scorecard."""

from datetime import date, datetime, timedelta

import dagster as dg
import polars as pl

from tracker_dagster.assets.report_rows import ReportRows, shown_market
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.endings import ended_positions, sessions_of_ends
from tracker_dagster.reports.documents import write_dated
from tracker_dagster.reports.model_compare import latest_scores, model_scores_text
from tracker_dagster.reports.page import html_page
from tracker_dagster.reports.report_charts import scorecard_charts
from tracker_dagster.reports.scorecard import render_scorecard
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import MARKET_LAST
from tracker_dagster.schemas.decisions import WEEKLY_PICKS
from tracker_dagster.schemas.market import INDEX_BARS, STOCK_DAY_AGGS
from tracker_dagster.schemas.outcomes import FRIDAY_SCORECARD, OUTCOMES
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.suitability import PREMIUM_ESTIMATE_SCORES
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.outcomes import outcomes as judge
from tracker_dagster.strategy.scorecard import scorecard
from tracker_dagster.trading_calendar import (
    day_file_available_at,
    decision_time,
    first_session,
    previous_session,
    session_or_previous,
    trading_date,
)
from tracker_dagster.warehouse import WriteResult

#: For how many sessions a result that was not known is looked for again.
LOOK_AGAIN_SESSIONS = 10


@trading_day_asset(
    OUTCOMES,
    group="book",
    # Expired positions are settled before it is told what they came to.
    deps=("positions", "ledger", "weekly_picks", "stock_day_aggs", "index_bars", "market_last",
          "corporate_actions"),
    checks={"results_are_known": "Every position that ended has a result."},
    code_version="2",
)  # fmt: skip
def outcomes(run: DayRun) -> Outcome:
    """What became of each position that ended: its result, its shares alone, what was predicted.

    A position counts on one session only: the first whose decision could know its end. Made again
    from the ledger, a past session says the same. What was recorded after that session was made,
    or belongs to one that never was, is told now, as rows of that session; so is what could not
    be told then for want of a closing price.
    """
    ledger = run.warehouse.read(LEDGER)
    result, frame = _made(run, ledger, run.day)
    late = _sessions_to_tell(run, ledger)
    frames = [frame, *(_made(run, ledger, session)[1] for session in late)]
    untold = pl.concat(frames).filter(pl.col("position_result").is_null())
    why = dict(untold.select("symbol", "reasons").iter_rows())
    return Outcome(
        [result],
        {
            "ended": frame.height,
            "hits": int(frame["hit"].sum() or 0),
            "told_late_of": [str(session) for session in late],
        },
        [Check("results_are_known", not why, {"not_known": why} if why else {})],
    )


def _made(run: DayRun, ledger: pl.DataFrame, day: date) -> tuple[WriteResult, pl.DataFrame]:
    ended = ended_positions(ledger, day)
    frame = _judged(run, ended, day) if ended.height else OUTCOMES.empty()
    result = run.warehouse.replace(OUTCOMES, frame, {"trade_date": day}, allow_empty=True)
    return result, frame


def _sessions_to_tell(run: DayRun, ledger: pl.DataFrame) -> list[date]:
    """Sessions before the day with ends that have no row yet, or lately one without a result."""
    stored = run.warehouse.read(OUTCOMES, first=first_session(), last=run.day)
    told = stored.filter(
        pl.col("position_result").is_not_null()
        | (pl.col("trade_date") < previous_session(run.day, LOOK_AGAIN_SESSIONS))
    )
    rows = set(told.select("position_id", "trade_date").iter_rows())
    ends = sessions_of_ends(ledger, run.day)
    return sorted({day for end, day in ends.items() if day < run.day and (end, day) not in rows})


def _judged(run: DayRun, ended: pl.DataFrame, day: date) -> pl.DataFrame:
    known = decision_time(day)
    opened: datetime = ended["opened_at"].min()  # type: ignore[assignment]
    first = session_or_previous(trading_date(opened))
    of_tickers = {"ticker": sorted(set(ended["ticker"]))}

    def read(
        table: Table, columns: list[str] | None = None, as_of: datetime = known
    ) -> pl.DataFrame:
        return run.warehouse.read(
            table, as_of=as_of, first=first, last=day, where=of_tickers, columns=columns
        )

    def closes(table: Table) -> pl.DataFrame:
        # The session's own close is for ends within it that no captured price is there for.
        return read(table, ["ticker", "trade_date", "close"], day_file_available_at(day))

    prices = run.warehouse.read(MARKET_LAST, first=first, last=day, where=of_tickers)
    slots = {session: decision_time(session) for session in set(prices["trade_date"])}
    at_decision = pl.col("trade_date").replace_strict(
        slots, default=None, return_dtype=prices.schema["slot"]
    )
    decided = sorted(set(ended.drop_nulls("decision_at")["decision_at"]))
    picks = run.warehouse.read(
        WEEKLY_PICKS,
        first=min([first, *map(trading_date, decided)]),
        last=day,
        where={"decision_at": decided, **of_tickers},
    )
    return judge(
        ended,
        picks,
        pl.concat([closes(STOCK_DAY_AGGS), closes(INDEX_BARS)]),
        read(CORPORATE_ACTIONS),
        prices.filter(pl.col("slot") == at_decision),
        day,
    )


@trading_day_asset(
    FRIDAY_SCORECARD,
    group="reports",
    deps=("outcomes", "premium_estimate_scores", "model_scores", "weekly_picks"),
    kinds=("markdown", "html"),
)
def friday_scorecard(run: DayRun) -> Outcome:
    """How the positions that ended did, as ``data/reports/DATE/scorecard.md`` and ``.html`` too.

    Made on every session: the week to date, the week before, and all so far.
    """
    rows = ReportRows(run)
    cards = scorecard(rows.outcomes, run.day)
    result = run.warehouse.replace(
        FRIDAY_SCORECARD, cards, {"trade_date": run.day}, allow_empty=True
    )
    week_before = run.day - timedelta(days=run.day.weekday() + 7)
    markdown = render_scorecard(
        day=run.day,
        market=shown_market(run),
        generated_at=run.now,
        cards=cards,
        outcomes=rows.outcomes,
        estimates=run.warehouse.read(
            PREMIUM_ESTIMATE_SCORES,
            as_of=rows.decision_at or decision_time(run.day),
            first=week_before,
            last=run.day,
        ),
        measured=model_scores_text(rows.model_scores),
    )
    charts = {}
    if run.is_last:
        charts = scorecard_charts(rows.outcomes, latest_scores(rows.model_scores))
    paths = [
        *write_dated(run.knobs.reports_dir, run.day, markdown, "scorecard.md"),
        *write_dated(run.knobs.reports_dir, run.day, html_page(markdown, charts), "scorecard.html"),
    ]
    return Outcome(
        [result],
        {
            "paths": [str(path) for path in paths],
            **({"report": dg.MetadataValue.md(markdown)} if run.is_last else {}),
        },
    )
