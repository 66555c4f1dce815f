"""The summary's second section: who is in the universe, and what was not known of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence, Sized

import polars as pl

from tracker_dagster.schemas.captured import COLLECTION_GAPS, MARKET_LAST
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES
from tracker_dagster.schemas.reference import UNIVERSE


def universe_status(
    universe: pl.DataFrame | None,
    prices: pl.DataFrame | None,
    structure: pl.DataFrame | None,
    picks: pl.DataFrame,
    gaps: pl.DataFrame | None,
    basis: str | None,
    notes: Sequence[str],
) -> str:
    """The section as markdown lines; arguments as `reports.summary.render_summary` has them.

    A frame that is None was not read, and its line says so.
    """
    enabled = None if universe is None else sorted(universe.filter(pl.col("enabled"))["ticker"])
    lines = [f"- Tickers in universe (enabled): {_count_or_unread(enabled, UNIVERSE.name)}"]
    missing = None if enabled is None or prices is None else _missing_prices(enabled, prices)
    lines.append(
        f"- Tickers missing price in market_last: {_count_or_unread(missing, MARKET_LAST.name)}"
    )
    if missing:
        lines += [f"  - {reason}: {', '.join(names)}" for reason, names in _by_reason(missing)]
    for limit in (120, 390):
        enough = None
        if structure is not None:
            rows = (
                structure if enabled is None else structure.filter(pl.col("ticker").is_in(enabled))
            )
            enough = rows.filter(pl.col("bars_1m_count") >= limit)
        known = _count_or_unread(enough, STRUCTURE_FEATURES.name)
        lines.append(f"- Tickers with at least {limit} one-minute bars: {known}")
    lines += _gates_not_evaluated(picks)
    if gaps is not None and len(gaps):
        counts = gaps.group_by("dataset", "reason").len().sort("dataset", "reason")
        lines += [
            f"- Gap in {dataset}: {reason} ({count})" for dataset, reason, count in counts.rows()
        ]
    if gaps is None or gaps.is_empty():
        known = "none" if gaps is not None else _count_or_unread(gaps, COLLECTION_GAPS.name)
        lines.append(f"- Captures that were due and are missing: {known}")
    if basis == "day_file":
        lines.append("- Premiums are closes of the session before, not quotes one could trade on")
    return "\n".join([*lines, *(f"- {note}" for note in notes)])


def _count_or_unread(found: Sized | None, table: str) -> str:
    return f"not known ({table} was not read)" if found is None else f"{len(found)}"


def _missing_prices(enabled: Sequence[str], prices: pl.DataFrame) -> dict[str, str]:
    last = prices.sort("ticker", "slot").unique("ticker", keep="last", maintain_order=True)
    known = {row["ticker"]: row for row in last.iter_rows(named=True)}
    return {
        ticker: known[ticker]["status"] if ticker in known else "not captured"
        for ticker in enabled
        if ticker not in known or known[ticker]["price"] is None
    }


def _by_reason(missing: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Reasons in order, each with its tickers."""
    return [
        (reason, sorted(ticker for ticker, why in missing.items() if why == reason))
        for reason in sorted(set(missing.values()))
    ]


def _gates_not_evaluated(picks: pl.DataFrame) -> list[str]:
    counts: Counter[tuple[str, str]] = Counter()
    for text in picks.filter(pl.col("status") == "picked")["gates_not_evaluated"]:
        counts.update(json.loads(text).items())
    if not counts:
        return ["- Gates not evaluated: none"] if len(picks) else []
    lines = ["- Gates not evaluated (picks they could not check):"]
    lines += [f"  - {gate}: {count}, {why}" for (gate, why), count in sorted(counts.items())]
    return lines
