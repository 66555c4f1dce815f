"""Sections about picks: by the cost of a pack, what each pays and risks, safest, best paid."""

from __future__ import annotations

from typing import Any

import polars as pl

from tracker_dagster.reports.columns import by_rank, counted, table
from tracker_dagster.schemas.decisions import COST_BUCKETS

NO_PICKS = "No weekly picks computed yet. Run picker."
NONE_PICKED = "No ticker has a pick; each one's reason is below."

PICK_COLUMNS = (
    "ticker", "category", "price", "pack_100_cost", "lane", "expiry", "strike",
    "est_weekly_prem_100", "premium_yield", "bars_1m_count", "fft_status", "fractal_status",
    "rank_score",
)  # fmt: skip
CONCISE_COLUMNS = ("ticker", "price", "pack_100_cost", "strike", "expiry", "premium_yield")
RISK_COLUMNS = (
    "ticker", "lane", "dte", "annualised_yield", "static_return", "if_called_return", "break_even",
    "downside_protection", "assignment_probability", "expected_value_100", "strike_quality",
    "iv_rank", "flags",
)  # fmt: skip
#: Most picks whose pay and risk are listed; further ones are in weekly_picks.
RISK_ROWS = 50
_FLAGS = (
    ("earnings_in_period", "earnings_note", "earnings"),
    ("ex_dividend_in_period", "ex_dividend_note", "ex-dividend"),
    ("split_in_period", "split_note", "split"),
)


def buckets(picks: pl.DataFrame, most: int) -> str:
    """A table for each cost of a pack, then pay and risk, dates in the period, and the misses.

    Args:
        picks: rows of weekly_picks of one decision.
        most: most rows of a bucket's table.
    """
    picked = picks.filter(pl.col("status") == "picked")
    parts = []
    if picked.is_empty():
        parts.append(NONE_PICKED if len(picks) else NO_PICKS)
    for _, label in COST_BUCKETS:
        rows = by_rank(picked.filter(pl.col("cost_bucket") == label))
        shown = rows.head(most)
        cut = f", best {len(shown)} shown" if len(shown) < len(rows) else ""
        parts += [f"### {label} ({counted(len(rows), 'pick')}{cut})", table(shown, PICK_COLUMNS)]
    if len(picked):
        parts.append(
            "est_weekly_prem_100 and premium_yield are at the mid; a dash is unknown, not zero."
        )
        parts += _pays_and_risks(picked)
    parts += _dates_in_period(picked)
    missing = picks.filter(pl.col("status") == "missing").sort("stage", "ticker")
    if len(missing):
        parts += [
            f"### Without a pick ({len(missing)})",
            table(missing, ("ticker", "category", "lane", "stage", "reason")),
        ]
    return "\n\n".join(parts)


def _pays_and_risks(picked: pl.DataFrame) -> list[str]:
    rows = by_rank(picked).head(RISK_ROWS)
    flags = pl.Series("flags", [_flags(row) for row in rows.iter_rows(named=True)], pl.String)
    cut = f", best {len(rows)} shown" if len(rows) < len(picked) else ""
    return [
        f"### What each pick pays and risks ({counted(len(picked), 'pick')}{cut})",
        table(rows.with_columns(flags), RISK_COLUMNS),
        "Returns are for the period, at the mid, on the price of the shares; expected_value_100 is "
        "an estimate: the bid after fees less what the call is worth at the realised volatility.",
    ]


def _flags(row: dict[str, Any]) -> str | None:
    found = [f"{name} {row[note] or ''}".strip() for flag, note, name in _FLAGS if row[flag]]
    found += [
        f"unstable {gate}" for gate in ("fft", "fractal") if row[f"{gate}_status"] == "unstable"
    ]
    return "; ".join(found) or None


def _dates_in_period(picked: pl.DataFrame) -> list[str]:
    titles = ("Earnings before the expiry", "Ex-dividend date before the expiry",
              "Split before the expiry")  # fmt: skip
    parts = []
    for title, (flag, note, _) in zip(titles, _FLAGS, strict=True):
        rows = picked.filter(pl.col(flag)).sort("ticker")
        found = [f"{ticker} {when or ''}".strip() for ticker, when in
                 rows.select("ticker", note).iter_rows()]  # fmt: skip
        if found:
            parts.append(f"{title}: {'; '.join(found)}.")
    return parts


def safest(picks: pl.DataFrame) -> str:
    """The five best picks of the lane SAFE."""
    rows = by_rank(picks.filter((pl.col("status") == "picked") & (pl.col("lane") == "SAFE")))
    return table(rows.head(5), CONCISE_COLUMNS) if len(rows) else "No pick in lane SAFE."


def premium_leaders(picks: pl.DataFrame) -> str:
    """The five picks that pay most for the price of their shares."""
    rows = (
        picks.filter(pl.col("status") == "picked")
        .drop_nulls("premium_yield")
        .sort("premium_yield", "ticker", descending=[True, False])
        .head(5)
    )
    columns = (*CONCISE_COLUMNS, "lane")
    return table(rows, columns) if len(rows) else "No pick with a premium."
