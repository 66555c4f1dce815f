"""The report of a session as an asset: reads the decision's rows, renders, writes the documents."""

from functools import partial

import dagster as dg
import polars as pl

from tracker_dagster.assets.changes import changes_since
from tracker_dagster.assets.decisions import DecisionConfig, requested
from tracker_dagster.assets.report_rows import ReportRows, shown_database, shown_market
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.reports.documents import write_dated
from tracker_dagster.reports.model_compare import latest_scores, model_scores_text
from tracker_dagster.reports.page import html_page
from tracker_dagster.reports.report_charts import section_charts
from tracker_dagster.reports.summary import (
    render_summary,
    summary_row,
)
from tracker_dagster.reports.svg import Chart
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster.schemas.changes import PICK_CHANGES
from tracker_dagster.schemas.decisions import (
    MODEL_COMPARES,
    PROMOTIONS,
    STRUCTURE_FEATURES,
    SUMMARY,
)
from tracker_dagster.schemas.holdings import HOLDING_CALLS
from tracker_dagster.schemas.portfolio_risk import PORTFOLIO_RISK, PORTFOLIO_STRESS
from tracker_dagster.schemas.reference import UNIVERSE
from tracker_dagster.strategy.settings import PickSettings


def _changes(rows: ReportRows) -> tuple[pl.DataFrame, str | None]:
    """Rows of pick_changes of the decision, and why there is nothing to compare with, or None."""
    stored = rows.of_decision(PICK_CHANGES)
    # No rows say that nothing changed, or that nobody has looked: then it is looked now.
    if stored.height or rows.basis is None:
        return stored, None
    return changes_since(rows.run, rows.picks)


def _charts(rows: ReportRows, stress: pl.DataFrame) -> dict[str, list[Chart]]:
    return section_charts(
        picks=rows.picks,
        weights=PickSettings().weights.normalised(),
        outcomes=rows.outcomes,
        stress=stress,
        scores=latest_scores(rows.model_scores),
    )


@trading_day_asset(
    SUMMARY,
    group="reports",
    deps=(
        "universe",
        "market_last",
        "structure_features",
        "weekly_picks",
        "promotions",
        "positions",
        "openings",
        "contract_health",
        "model_compares",
        "pick_changes",
        "portfolio_risk",
        "portfolio_stress",
        "holding_calls",
        "model_scores",
        "outcomes",
    ),
    kinds=("markdown", "html"),
    config=DecisionConfig,
    checks={"shows_a_decision": "The report has picks to show, not only empty states."},
)
def summary(run: DayRun) -> Outcome:
    """``data/reports/DATE/summary.md`` and, for the latest session, ``data/reports/summary.md``.

    Beside each of them ``summary.html``, which holds the same with pictures and needs no other
    file. Of a range of sessions, only the last one's page has pictures.
    """
    asked = requested(run)
    rows = ReportRows(run)
    picks, promotions = rows.picks, rows.of_decision(PROMOTIONS)
    decision_at, basis = rows.decision_at, rows.basis
    stress = rows.of_last_slot(PORTFOLIO_STRESS)
    changes, not_compared = _changes(rows)
    render = partial(
        render_summary,
        day=run.day,
        decision_at=decision_at,
        basis=basis,
        db_path=shown_database(run),
        market=shown_market(run),
        generated_at=run.now,
        universe=rows.of_day(UNIVERSE),
        prices=rows.prices,
        structure=rows.of_day(STRUCTURE_FEATURES),
        picks=picks,
        promotions=promotions,
        health=rows.of_last_slot(CONTRACT_HEALTH),
        compares=rows.of_decision(MODEL_COMPARES),
        gaps=rows.of_day(COLLECTION_GAPS),
        changes=changes if basis else None,
        not_compared=not_compared,
        risk=rows.of_last_slot(PORTFOLIO_RISK),
        stress=stress,
        holding_calls=rows.of_day(HOLDING_CALLS),
        measured=model_scores_text(rows.model_scores),
        open_positions=rows.open_positions,
        notes=[rows.passed_over] if rows.passed_over else [],
    )
    markdown = render(seed=asked.seed)
    # Pictures take a second; a year of days would wait minutes for pages that nobody opens.
    charts = _charts(rows, stress) if run.is_last else {}
    paths = [
        *write_dated(run.knobs.reports_dir, run.day, markdown),
        *write_dated(run.knobs.reports_dir, run.day, html_page(markdown, charts), "summary.html"),
    ]
    picked = picks.filter(pl.col("status") == "picked").height
    results = []
    if decision_at is not None and basis is not None:
        # What is stored is of the cash that the promotions in it were decided with.
        own = promotions.row(0, named=True) if promotions.height else {}
        seed = own.get("seed", asked.seed)
        frame = summary_row(
            markdown if seed == asked.seed else render(seed=seed),
            day=run.day,
            decision_at=decision_at,
            basis=basis,
            seed=seed,
            lane_filter=own.get("lane_filter", asked.lane),
            picks=picks,
            promotions=promotions,
        )
        results.append(run.warehouse.replace(SUMMARY, frame, {"trade_date": run.day}))
    return Outcome(
        results,
        {
            "paths": [str(path) for path in paths],
            **({"report": dg.MetadataValue.md(markdown)} if run.is_last else {}),
        },
        [Check("shows_a_decision", bool(picked), {"basis": basis or "none", "picks": picked})],
    )
