"""The model comparison: what changes between models, as JSON; what it was worth, in words."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from tracker_dagster.reports.tables import MISSING, markdown_table, percent
from tracker_dagster.schemas.decisions import MODELS

NO_SCORES = "Nothing is measured yet: no week has ended since its picks were decided."


def model_compare_report(
    compares: pl.DataFrame, scores: pl.DataFrame | None = None
) -> dict[str, Any]:
    """What each model decides and where it differs from baseline.

    Args:
        compares: rows of model_compares of one decision.
        scores: rows of model_scores known at it; the latest session's count.

    Returns:
        trade_date, basis, decision_at, seed, top_n; ``decisions`` (model → ticker → decision);
        ``decision_changes`` (model → tickers whose decision differs from baseline);
        ``strike_changes`` (ticker → baseline and each model that sells another call → its strike);
        ``walk_forward`` (a list, one a basis and model: weeks, returns per week, the difference
        to baseline with its interval, the verdict in words).
    """
    first = compares.row(0, named=True)
    by_model = {model: rows.sort("ticker") for (model,), rows in sorted(compares.group_by("model"))}
    return {
        "trade_date": str(first["trade_date"]),
        "basis": first["basis"],
        "decision_at": first["decision_at"].isoformat(),
        "seed": first["seed"],
        "top_n": first["top_n"],
        "decisions": {
            model: dict(rows.select("ticker", "decision").iter_rows())
            for model, rows in by_model.items()
        },
        "decision_changes": {
            model: rows.filter("decision_changed")["ticker"].to_list()
            for model, rows in by_model.items()
        },
        "strike_changes": _strike_changes(compares),
        "walk_forward": [
            {name: str(value) if isinstance(value, date) else value for name, value in row.items()}
            for row in latest_scores(scores).select(_SCORED).to_dicts()
        ]
        if scores is not None
        else [],
    }


def _strike_changes(compares: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    changed = pl.col("strike_changed").fill_null(value=False)
    rows = compares.filter(
        changed | ((pl.col("model") == MODELS[0]) & changed.any().over("ticker"))
    ).sort("ticker", "model")
    found: dict[str, dict[str, float | None]] = {}
    for ticker, model, strike in rows.select("ticker", "model", "strike").iter_rows():
        found.setdefault(ticker, {})[model] = strike
    return found


_SCORED = (
    "basis", "model", "first_expiry", "last_expiry", "weeks_count", "picks_count",
    "accepted_count", "untold_count", "mean_return", "mean_hold_return", "hold_difference",
    "hold_low", "hold_high", "hold_verdict", "difference", "low", "high", "verdict", "level",
    "block_weeks", "replicates",
)  # fmt: skip


def latest_scores(scores: pl.DataFrame) -> pl.DataFrame:
    """Rows of each basis's latest session, sorted by basis and model."""
    latest = pl.col("trade_date") == pl.col("trade_date").max().over("basis")
    return scores.filter(latest).sort("basis", "model")


def model_scores_text(scores: pl.DataFrame) -> str:
    """What the models came to so far, as markdown: a table and a sentence a model, each basis.

    Args:
        scores: rows of model_scores known at the decision; each basis's latest session counts.
    """
    rows = latest_scores(scores)
    if rows.is_empty():
        return NO_SCORES
    return "\n\n".join(
        _basis_text(of_basis) for _, of_basis in rows.group_by("basis", maintain_order=True)
    )


def _basis_text(rows: pl.DataFrame) -> str:
    first = rows.row(0, named=True)
    left_out = first["untold_count"]
    lead = (
        f"Basis {first['basis']}, weeks: {first['weeks_count']}, {first['first_expiry']} to "
        f"{first['last_expiry']}. Candidate picks: {first['picks_count']:,}, bought and sold at "
        "the decision of the week's first session and held to the expiry, whatever the cash allows."
    )
    if left_out:
        lead += f" {left_out:,} more cannot be told and count under no model."
    shown = rows.select(
        "model",
        accepted="accepted_count",
        return_per_week="mean_return",
        shares_alone="mean_hold_return",
        against_baseline="difference",
        interval=pl.struct("low", "high").map_elements(_interval, return_dtype=pl.String),
    )
    formats = dict.fromkeys(("return_per_week", "shares_alone", "against_baseline"), percent)
    sentences = [
        f"- {row['model']} against baseline: {row['verdict']}."
        for row in rows.drop_nulls("verdict").to_dicts()
    ]
    sentences += [
        f"- {row['model']} against its shares alone: {row['hold_verdict']}."
        for row in rows.to_dicts()
    ]
    method = ""
    if first["block_weeks"]:
        method = (
            f"Intervals: paired by week, block bootstrap, blocks of {first['block_weeks']} weeks, "
            f"{first['replicates']:,} replicates."
        )
    table = markdown_table(shown, shown.columns, formats)
    return "\n\n".join(part for part in (lead, table, "\n".join(sentences), method) if part)


def _interval(ends: dict[str, float | None]) -> str:
    low, high = ends["low"], ends["high"]
    if low is None or high is None:
        return MISSING
    return f"{low * 100:+.2f} to {high * 100:+.2f} %"
