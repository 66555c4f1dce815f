"""What `explain` finds, on the screen."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
from rich.console import RenderableType

from tracker_dagster.operations.explain import Audit, RankedCalls, in_words
from tracker_dagster.operations.results import as_table
from tracker_dagster.trading_calendar import EASTERN

#: Shorter names, so that a row stays on one line.
_SHORT = {"premium_yield": "yield", "otm_pct": "otm", "open_interest": "interest"}


def strikes(rows: pl.DataFrame, day: date) -> list[RenderableType]:
    """Calls with their gates; the pick has choice 1."""
    if rows.is_empty():
        return [f"No call was considered on {day}."]
    shown = rows.with_columns(
        pl.col("failed_gates").map_elements(_listed, return_dtype=pl.String),
        pl.col("gates_not_evaluated").map_elements(_explained, return_dtype=pl.String),
    ).rename(
        {"choice_rank": "choice", "failed_gates": "fails", "gates_not_evaluated": "not evaluated"}
    )
    columns = (
        "ticker", "strike", "expiry", "bid", "ask", "delta", "yield", "otm", "interest", "choice",
        "fails", "not evaluated",
    )  # fmt: skip
    shown = shown.rename(_SHORT)
    lanes = sorted({f"{ticker} {lane}" for ticker, lane in rows.select("ticker", "lane").rows()})
    title = (
        f"Calls considered on {day} ({rows['basis'][0]}; {', '.join(lanes)}); choice 1 is the pick"
    )
    return [as_table(shown, columns, title)]


def _listed(text: str) -> str | None:
    return ", ".join(json.loads(text)) or None


def _explained(text: str) -> str | None:
    return "; ".join(f"{gate}: {why}" for gate, why in json.loads(text).items()) or None


def calls(found: RankedCalls) -> list[RenderableType]:
    """Calls by ticker and rank."""
    until = ", ".join(map(str, found.expiries))
    at = f"{found.slot.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"
    if found.rows.is_empty():
        return [f"No call that expires on {until} passes the limits at {at}."]
    columns = (
        "ticker", "rank", "symbol", "dte", "price", "strike", "bid", "mid", "delta", "interest",
        "otm", "yield", "a day", "a year", "not known",
    )  # fmt: skip
    shown = found.rows.rename(
        {**_SHORT, "yield_per_day": "a day", "annualised_yield": "a year",
         "not_checked": "not known"}
    )  # fmt: skip
    return [as_table(shown, columns, f"Calls that expire on {until}, at {at}")]


def audit(found: Audit) -> list[RenderableType]:
    """What differs, and where all of it is written."""
    parts: list[RenderableType] = [f"{found.day} ({found.basis}): {in_words(found.rows)}"]
    if found.differing.height:
        columns = ("ticker", "symbol", "field", "stored", "recomputed", "difference", "reason")
        parts.append(as_table(found.differing.head(40), columns, "Numbers that differ"))
    if found.unchecked.height:
        why = ("ticker", "symbol", "reason")
        rows = found.unchecked.select(why).unique(maintain_order=True)
        parts.append(as_table(rows.head(20), why, "Without inputs"))
    parts.append(f"written: {', '.join(str(path) for path in found.paths)}")
    return parts
