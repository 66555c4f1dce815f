"""The universe and its candidates on the screen."""

from __future__ import annotations

from datetime import datetime

import polars as pl
from rich.console import RenderableType

from tracker_dagster.ledger.candidates import PROPOSED
from tracker_dagster.operations.membership import candidate_rows, universe_rows
from tracker_dagster.operations.results import as_table
from tracker_dagster.warehouse import Warehouse


def universe(warehouse: Warehouse, moment: datetime | None = None) -> list[RenderableType]:
    """Members with category, since when, last price; then how many of them are enabled."""
    rows = universe_rows(warehouse, moment)
    if rows.is_empty():
        return ["Nobody is in the universe: `tracker sync-universe` lists the canonical tickers."]
    columns = ("ticker", "category", "enabled", "since", "last_price", "priced_on")
    shown = rows.with_columns(enabled=_yes_no("enabled"))
    waiting = candidate_rows(warehouse, moment).filter(pl.col("status") == PROPOSED).height
    enabled = int(rows["enabled"].sum())
    unpriced = rows.filter("enabled", pl.col("last_price").is_null())["ticker"].to_list()
    told = f"{rows.height} tickers in {rows['category'].n_unique()} categories, {enabled} enabled"
    if unpriced:
        told += f"; no price yet of {', '.join(unpriced)}"
    if waiting:
        told += f"; {waiting} candidates wait (`tracker candidates`)"
    return [as_table(shown, columns, "Universe"), told]


def candidates(warehouse: Warehouse, moment: datetime | None = None) -> list[RenderableType]:
    """Every proposal and what became of it."""
    rows = candidate_rows(warehouse, moment)
    if rows.is_empty():
        return ["No ticker was ever proposed: `tracker propose TICKER` does."]
    columns = (
        "ticker", "status", "category", "score", "source", "reason", "reference", "proposed_on",
        "decided_by", "note",
    )  # fmt: skip
    shown = rows.with_columns(proposed_on=pl.col("proposed_at").dt.date())
    return [as_table(shown, columns, "Candidates (`tracker approve TICKER` takes one in)")]


def _yes_no(name: str) -> pl.Expr:
    return pl.when(pl.col(name)).then(pl.lit("yes")).otherwise(pl.lit("no"))
