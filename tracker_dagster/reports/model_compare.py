"""The model comparison as a plain structure for JSON: what changes between models, and for whom."""

from __future__ import annotations

from typing import Any

import polars as pl


def model_compare_report(compares: pl.DataFrame) -> dict[str, Any]:
    """What each model decides and where it differs from baseline.

    Args:
        compares: rows of model_compares of one decision.

    Returns:
        trade_date, basis, decision_at, seed, top_n; ``decisions`` (model → ticker → decision);
        ``decision_changes`` and ``strike_changes`` (model → tickers that differ from baseline).
    """
    first = compares.row(0, named=True)
    by_model = {model: rows.sort("ticker") for (model,), rows in sorted(compares.group_by("model"))}

    def changed(rows: pl.DataFrame, flag: str) -> list[str]:
        return rows.filter(pl.col(flag))["ticker"].to_list()

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
            model: changed(rows, "decision_changed") for model, rows in by_model.items()
        },
        "strike_changes": {
            model: changed(rows, "strike_changed") for model, rows in by_model.items()
        },
    }
