"""The asset that writes the week's plan as it stands."""

import dagster as dg

from tracker_dagster.assets.report_rows import ReportRows, shown_market
from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.reports.documents import write_dated
from tracker_dagster.reports.monday import monday_row, render_monday
from tracker_dagster.reports.page import html_page
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster.schemas.decisions import PROMOTIONS, STRUCTURE_FEATURES
from tracker_dagster.schemas.outcomes import FRIDAY_SCORECARD, MONDAY_REPORT
from tracker_dagster.schemas.reference import UNIVERSE
from tracker_dagster.schemas.suitability import SUITABILITY


@trading_day_asset(
    MONDAY_REPORT,
    group="reports",
    deps=(
        "universe",
        "market_last",
        "structure_features",
        "suitability",
        "weekly_picks",
        "promotions",
        "positions",
        "openings",
        "contract_health",
        "friday_scorecard",
    ),
    kinds=("markdown", "html"),
)
def monday_report(run: DayRun) -> Outcome:
    """What the week is to bring, as it stands: ``data/reports/DATE/monday.md`` and ``.html``.

    Made on every session; what is not known stays an empty state and stops nothing.
    """
    rows = ReportRows(run)
    promotions = rows.of_decision(PROMOTIONS)
    basis, decision_at = rows.basis, rows.decision_at
    markdown = render_monday(
        day=run.day,
        decision_at=decision_at,
        basis=basis,
        market=shown_market(run),
        generated_at=run.now,
        universe=rows.of_day(UNIVERSE),
        prices=rows.prices,
        structure=rows.of_day(STRUCTURE_FEATURES),
        picks=rows.picks,
        promotions=promotions,
        suitability=rows.of_day(SUITABILITY),
        health=rows.of_last_slot(CONTRACT_HEALTH),
        gaps=rows.of_day(COLLECTION_GAPS),
        cards=rows.of_day(FRIDAY_SCORECARD),
        open_positions=rows.open_positions,
    )
    paths = [
        *write_dated(run.knobs.reports_dir, run.day, markdown, "monday.md"),
        *write_dated(run.knobs.reports_dir, run.day, html_page(markdown), "monday.html"),
    ]
    results = []
    if decision_at is not None and basis is not None:
        frame = monday_row(
            markdown,
            day=run.day,
            decision_at=decision_at,
            basis=basis,
            picks=rows.picks,
            promotions=promotions,
            open_positions=rows.open_positions,
        )
        results.append(run.warehouse.replace(MONDAY_REPORT, frame, {"trade_date": run.day}))
    return Outcome(
        results,
        {
            "paths": [str(path) for path in paths],
            **({"report": dg.MetadataValue.md(markdown)} if run.is_last else {}),
        },
    )
