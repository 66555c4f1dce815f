"""The report of a session as an asset: reads the decision's rows, renders, writes the documents."""

from __future__ import annotations

import dagster as dg
import polars as pl

from tracker_dagster.assets.decisions import (
    DecisionConfig,
    preferred_picks,
    requested,
)
from tracker_dagster.assets.picks import decision_slot
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.reports.documents import write_dated
from tracker_dagster.reports.summary import (
    render_summary,
    summary_row,
    without_generation_time,
)
from tracker_dagster.resources import SIMULATED
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.book import CONTRACT_HEALTH, OPENINGS, POSITIONS
from tracker_dagster.schemas.captured import COLLECTION_GAPS, MARKET_LAST
from tracker_dagster.schemas.decisions import (
    MODEL_COMPARES,
    PROMOTIONS,
    STRUCTURE_FEATURES,
    SUMMARY,
)
from tracker_dagster.schemas.reference import UNIVERSE


def _shown_database(run: DayRun) -> str:
    """The database's path from the folder that holds ``data/``, so that copies read the same."""
    root = run.knobs.reports_dir.parent.parent
    path = run.knobs.database
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _shown_market(run: DayRun) -> str:
    """Whose prices these are; generated ones must never pass for real."""
    name = run.market.name
    return f"{name.upper()}: every price is generated" if name == SIMULATED else name


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
    ),
    kinds=("markdown",),
    config=DecisionConfig,
    checks={"shows_a_decision": "The report has picks to show, not only empty states."},
)
def summary(run: DayRun) -> Outcome:
    """``data/reports/DATE/summary.md`` and, for the latest session, ``data/reports/summary.md``."""
    asked = requested(run)
    seed, lane = asked.seed, asked.lane
    picks = preferred_picks(run)
    basis = picks["basis"][0] if picks.height else None
    decision_at = picks["decision_at"][0] if picks.height else None

    def of_day(table: Table, **where: object) -> pl.DataFrame:
        return run.warehouse.read(table, first=run.day, last=run.day, where=where or None)

    def of_decision(table: Table) -> pl.DataFrame:
        return of_day(table, basis=basis, decision_at=decision_at) if basis else table.empty()

    price_slot = decision_slot(run, MARKET_LAST)
    health = of_day(CONTRACT_HEALTH)
    if health.height:
        health = health.filter(pl.col("slot") == health["slot"].max())
    promotions = of_decision(PROMOTIONS)
    markdown = render_summary(
        day=run.day,
        decision_at=decision_at,
        basis=basis,
        seed=seed,
        db_path=_shown_database(run),
        market=_shown_market(run),
        generated_at=run.now,
        universe=of_day(UNIVERSE),
        prices=of_day(MARKET_LAST, slot=price_slot) if price_slot else MARKET_LAST.empty(),
        structure=of_day(STRUCTURE_FEATURES),
        picks=picks,
        promotions=promotions,
        health=health,
        compares=of_decision(MODEL_COMPARES),
        gaps=of_day(COLLECTION_GAPS),
        open_positions=of_day(POSITIONS, status="OPEN").height
        + of_day(OPENINGS).filter(pl.col("status") != "refused").height,
    )
    paths = write_dated(run.knobs.reports_dir, run.day, markdown)
    picked = picks.filter(pl.col("status") == "picked").height
    results = []
    if decision_at is not None and basis is not None:
        frame = summary_row(
            without_generation_time(markdown),
            day=run.day,
            decision_at=decision_at,
            basis=basis,
            seed=seed,
            lane_filter=lane,
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
