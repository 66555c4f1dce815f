"""Assets about what became of positions: outcomes, each once, and the Friday scorecard."""

from datetime import datetime, timedelta

import dagster as dg
import polars as pl

from tracker_dagster.assets.report_rows import ReportRows, shown_market
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.endings import ended_positions
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
    decision_time,
    session_or_previous,
    trading_date,
)


@trading_day_asset(
    OUTCOMES,
    group="book",
    # Expired positions are settled before it is told what they came to.
    deps=("positions", "ledger", "weekly_picks", "stock_day_aggs", "index_bars", "market_last",
          "corporate_actions"),
    checks={"results_are_known": "Every position that ended has a result."},
)  # fmt: skip
def outcomes(run: DayRun) -> Outcome:
    """What became of each position that ended: its result, its shares alone, what was predicted.

    A position counts on one session only: the first whose decision could know its end. Made again
    from the ledger, a past session says the same.
    """
    ended = ended_positions(run.warehouse.read(LEDGER), run.day)
    frame = _judged(run, ended) if ended.height else OUTCOMES.empty()
    result = run.warehouse.replace(OUTCOMES, frame, {"trade_date": run.day}, allow_empty=True)
    untold = frame.filter(pl.col("position_result").is_null())
    why = dict(untold.select("symbol", "reasons").iter_rows())
    return Outcome(
        [result],
        {"ended": frame.height, "hits": int(frame["hit"].sum() or 0)},
        [Check("results_are_known", not why, {"not_known": why} if why else {})],
    )


def _judged(run: DayRun, ended: pl.DataFrame) -> pl.DataFrame:
    known = decision_time(run.day)
    opened: datetime = ended["opened_at"].min()  # type: ignore[assignment]
    first = session_or_previous(trading_date(opened))
    of_tickers = {"ticker": sorted(set(ended["ticker"]))}

    def read(table: Table, columns: list[str] | None = None) -> pl.DataFrame:
        return run.warehouse.read(
            table, as_of=known, first=first, last=run.day, where=of_tickers, columns=columns
        )

    closes = ["ticker", "trade_date", "close"]
    prices = run.warehouse.read(MARKET_LAST, first=first, last=run.day, where=of_tickers)
    slots = {day: decision_time(day) for day in set(prices["trade_date"])}
    at_decision = pl.col("trade_date").replace_strict(
        slots, default=None, return_dtype=prices.schema["slot"]
    )
    decided = sorted(set(ended.drop_nulls("decision_at")["decision_at"]))
    picks = run.warehouse.read(
        WEEKLY_PICKS,
        first=min([first, *map(trading_date, decided)]),
        last=run.day,
        where={"decision_at": decided, **of_tickers},
    )
    return judge(
        ended,
        picks,
        pl.concat([read(STOCK_DAY_AGGS, closes), read(INDEX_BARS, closes)]),
        read(CORPORATE_ACTIONS),
        prices.filter(pl.col("slot") == at_decision),
        run.day,
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
