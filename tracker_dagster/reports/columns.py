"""How columns of picks, positions and risk are written, wherever a report shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import polars as pl

from tracker_dagster.reports.tables import (
    Formats,
    dollars,
    markdown_table,
    percent,
    score,
    signed_dollars,
    strike,
)


def whole_percent(value: float) -> str:
    """``0.234`` as ``23 %``."""
    return f"{value * 100:.0f} %"


FORMATS: Formats = {
    **dict.fromkeys(
        ("price", "pack_100_cost", "est_weekly_prem_100", "seed", "stock_price", "bid", "mid",
         "ask", "break_even", "premium_100", "capital", "stock_value", "cash_secured", "cost",
         "average_basis", "premium", "premium_total"),
        dollars,
    ),
    **dict.fromkeys(
        ("total_pnl", "expected_value_100", "theta_day", "vega_point", "net_delta_usd",
         "beta_delta_usd", "pnl", "position_result", "buy_hold_pnl", "versus_hold",
         "option_result", "predicted_result", "prediction_error", "premium_error", "realised_pnl"),
        signed_dollars,
    ),
    **dict.fromkeys(
        ("premium_yield", "premium_captured", "annualised_yield", "static_return",
         "if_called_return", "downside_protection", "pnl_share", "otm_pct", "yield_on_price",
         "yield_on_basis", "called_return_on_basis"),
        percent,
    ),
    **dict.fromkeys(
        ("assignment_probability", "largest_share", "hit_rate", "iv_rank"), whole_percent
    ),
    **dict.fromkeys(
        ("rank_score", "rank_score_adjusted", "strike_quality", "suitability", "coherence",
         "ticker_hhi", "category_hhi"),
        score,
    ),
    **dict.fromkeys(("strike", "roll_strike", "target_strike"), strike),
    **dict.fromkeys(("net_delta_shares", "beta_delta_spy"), lambda value: f"{value:+,.1f}"),
}  # fmt: skip


def table(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    """``columns`` of ``rows`` as a markdown table, each number written as its column is."""
    return markdown_table(rows, columns, FORMATS)


def joined(text: str) -> str:
    """The texts of a JSON list, with semicolons between."""
    return "; ".join(map(str, json.loads(text)))


def by_rank(rows: pl.DataFrame) -> pl.DataFrame:
    """Picks, the best first."""
    return rows.sort("rank_score", "ticker", descending=[True, False], nulls_last=True)


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 pick``, ``2 picks``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
