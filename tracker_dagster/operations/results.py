"""What a command shows of the tables: picks, promotions, health, comparison, as rich tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import RenderableType
from rich.markdown import Markdown
from rich.table import Table as RichTable

from tracker_dagster.assets.report_rows import SCORES_SESSIONS
from tracker_dagster.reports.model_compare import model_scores_text
from tracker_dagster.reports.summary import SECTIONS
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.captured import COLLECTION_GAPS
from tracker_dagster.schemas.decisions import MODEL_COMPARES, PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.schemas.models import MODEL_SCORES
from tracker_dagster.schemas.outcomes import FRIDAY_SCORECARD
from tracker_dagster.schemas.suitability import SUITABILITY
from tracker_dagster.strategy.preferred import preferred_basis
from tracker_dagster.trading_calendar import previous_session
from tracker_dagster.warehouse import Warehouse

NOTHING = "[dim]–[/]"
SUMMARY_FILE = "summary.md"
_NEVER_WRAPPED = ("ticker", "symbol", "expiry", "lane", "position_id", "roll_symbol")


def _dollars(value: float) -> str:
    return f"{value:,.2f}"


def _percent(value: float) -> str:
    return f"{value:.2%}"


_FORMATS: Mapping[str, Callable[[Any], str]] = {
    **dict.fromkeys(
        ("price", "pack_100_cost", "strike", "premium_100", "est_weekly_prem_100", "cash_after",
         "stock_price", "bid", "ask", "mid", "total_pnl", "last_price", "spot", "put_wall", "flip",
         "call_wall", "open_price", "stock_basis", "average_basis", "lot_basis", "close_price",
         "realised_pnl", "premium", "premium_total", "premiums", "stock_result", "total",
         "break_even", "closed_pnl", "assigned_pnl", "roll_credit", "roll_cap"),
        _dollars,
    ),
    **dict.fromkeys(
        ("premium_yield", "premium_captured", "yield_on_price", "yield_on_basis", "otm", "yield",
         "a year"),
        _percent,
    ),
    **dict.fromkeys(("shares", "covered", "free"), lambda value: f"{value:,g}"),
    "a day": lambda value: f"{value:.3%}",
    **dict.fromkeys(("delta", "sharpe", "suitability", "beta"), lambda value: f"{value:.2f}"),
    **dict.fromkeys(("stored", "recomputed", "difference"), lambda value: f"{value:.6g}"),
    **dict.fromkeys(
        ("volatility", "drawdown", "hit_rate", "hit_low", "hit_high"),
        lambda value: f"{value:.1%}",
    ),
    **dict.fromkeys(("tails", "entropy", "coherence", "rank_drift"),
                    lambda value: f"{value:.3f}"),
    **dict.fromkeys(
        ("close", "move_5d", "estimate", "position_result", "buy_hold_pnl",
         "versus_hold", "prediction_error"),
        _dollars,
    ),
    **dict.fromkeys(("iv_30d", "rv_20d", "change_5d", "skew_25d"), lambda value: f"{value:.1%}"),
    **dict.fromkeys(("iv_rank", "iv_percentile"), lambda value: f"{value:.0%}"),
    **dict.fromkeys(("iv/rv", "net_gamma_m"), lambda value: f"{value:,.2f}"),
    "position_id": lambda value: value[:12],
    **dict.fromkeys(("rank_score", "rank_score_adjusted"), lambda value: f"{value:.3f}"),
}  # fmt: skip


def as_table(frame: pl.DataFrame, columns: Sequence[str], title: str) -> RichTable:
    """Chosen columns of a frame; numbers right-aligned, a dash where a value is missing."""
    table = RichTable(title=title, title_justify="left", title_style="bold")
    for name in columns:
        numeric = frame.schema[name].is_numeric()
        table.add_column(
            name,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=name in _NEVER_WRAPPED,
        )
    for row in frame.select(columns).iter_rows(named=True):
        table.add_row(*(_cell(name, value) for name, value in row.items()))
    return table


def _cell(name: str, value: Any) -> str:
    if value is None:
        return NOTHING
    if formatter := _FORMATS.get(name):
        return formatter(value)
    if isinstance(value, datetime):
        return f"{value:%H:%M} UTC"
    return str(value)


def decision(warehouse: Warehouse, table: Table, day: date) -> pl.DataFrame:
    """The day's rows of the decision that counts among its picks, the latest on that basis."""
    rows = warehouse.read(table, first=day, last=day)
    if rows.is_empty():
        return rows
    picks = rows if table is WEEKLY_PICKS else warehouse.read(WEEKLY_PICKS, first=day, last=day)
    of_basis = rows.filter(pl.col("basis").eq_missing(preferred_basis(picks)))
    # Where nothing was made of that one yet, what there is.
    chosen = of_basis if of_basis.height else rows
    return chosen.filter(pl.col("decision_at") == chosen["decision_at"].max())


def picks(warehouse: Warehouse, day: date, most: int = 15) -> list[RenderableType]:
    """The best picks of the day, and why other tickers have none."""
    rows = decision(warehouse, WEEKLY_PICKS, day)
    picked = rows.filter(pl.col("status") == "picked").sort("rank")
    shown: list[RenderableType] = []
    if picked.height:
        columns = (
            "rank", "ticker", "lane", "price", "pack_100_cost", "expiry", "strike",
            "est_weekly_prem_100", "premium_yield", "rank_score",
        )  # fmt: skip
        title = f"Picks of {day} ({picked['basis'][0]}): {picked.height}"
        shown.append(as_table(picked.head(most), columns, title))
    else:
        shown.append(f"No picks on {day}.")
    missing = rows.filter(pl.col("status") == "missing")
    if missing.height:
        title = f"Without a pick: {missing.height}"
        why = missing.sort("stage", "ticker")
        shown.append(as_table(why, ("ticker", "stage", "reason"), title))
    return shown


def suitability(warehouse: Warehouse, day: date) -> list[RenderableType]:
    """What every ticker's closes say of it, the most suitable first, and who lacks what."""
    rows = warehouse.read(SUITABILITY, first=day, last=day)
    if rows.is_empty():
        return [f"Nobody was in the universe on {day}."]
    names = {
        "last_close": "close", "annual_volatility": "volatility", "max_drawdown": "drawdown",
        "tail_width": "tails", "return_entropy": "entropy", "expected_move_5d": "move_5d",
        "premium_estimate_100": "estimate",
    }  # fmt: skip
    columns = (
        "ticker", "category", "lane", "close", "volatility", "sharpe", "drawdown", "tails",
        "entropy", "beta", "move_5d", "coherence", "suitability", "estimate",
    )  # fmt: skip
    shown = rows.rename(names).sort(
        "suitability", "ticker", descending=[True, False], nulls_last=True
    )
    parts: list[RenderableType] = [
        as_table(shown, columns, f"Suitability on {day}"),
        "estimate: of one call's premium at the realised volatility, no quote · move_5d: one "
        "deviation, dollars · tails: between the 1st and 10th percentile of daily returns",
    ]
    if reasons := sorted(set(rows["stats_reason"].drop_nulls())):
        parts.append(f"Statistics that are missing or leave something out: {'; '.join(reasons)}")
    return parts


def promotions(warehouse: Warehouse, day: date, most: int = 60) -> list[RenderableType]:
    """What was promoted, and of every other pick each gate that it failed or could not be put to.

    Args:
        warehouse: where the decision is.
        day: session.
        most: most picks that are listed one by one; of the rest the first reasons are counted.
    """
    rows = decision(warehouse, PROMOTIONS, day)
    if rows.is_empty():
        return [f"No promotions were decided on {day}."]
    gates = [_gates(text) for text in rows["gates"]]
    rows = rows.with_columns(
        pl.Series("reasons", [", ".join(failed) for failed, _ in gates], dtype=pl.String),
        pl.Series("not_evaluated", ["; ".join(unknown) for _, unknown in gates], dtype=pl.String),
    ).with_columns(
        # An error has no gates.
        pl.when(pl.col("reasons") == "").then("reason").otherwise("reasons").alias("reasons"),
        pl.when(pl.col("not_evaluated") != "").then("not_evaluated").alias("not_evaluated"),
    )
    promoted = rows.filter(pl.col("decision") == "promote").sort("rank")
    shown: list[RenderableType] = []
    head = rows.row(0, named=True)
    asked = f"seed {head['seed']:,.0f}, lane {head['lane_filter']}, top {head['top_n']}"
    if promoted.height:
        columns = (
            "ticker", "symbol", "lane", "strike", "expiry", "premium_100", "premium_yield",
            "pack_100_cost", "cash_after", "reason", "not_evaluated",
        )  # fmt: skip
        shown.append(as_table(promoted, columns, f"Promoted {day} ({asked})"))
    else:
        shown.append(f"Nothing was promoted on {day} ({asked}).")
    others = rows.filter(pl.col("decision") != "promote").sort("rank", "ticker", nulls_last=True)
    if others.height:
        why = ("rank", "ticker", "lane", "decision", "reasons", "not_evaluated")
        shown.append(as_table(others.head(most), why, f"Not promoted: {others.height}"))
    if others.height > most:
        reasons = Counter(others[most:]["reason"])
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
        shown.append(f"… and {others.height - most} more ({told}).")
    return shown


def _gates(text: str) -> tuple[list[str], list[str]]:
    """Of a pick's gates as stored: reasons that failed, and what could not be evaluated and why."""
    gates = json.loads(text)
    return (
        [gate["note"] or gate["gate"] for gate in gates if gate["outcome"] == "fail"],
        [
            f"{gate['gate']}: {gate['note']}" if gate["note"] else gate["gate"]
            for gate in gates
            if gate["outcome"] == "not_evaluated"
        ],
    )


def health(warehouse: Warehouse, day: date) -> list[RenderableType]:
    """Open positions at the latest slot of the day."""
    rows = warehouse.read(CONTRACT_HEALTH, first=day, last=day)
    if rows.is_empty():
        return [f"No open positions were checked on {day}."]
    slot: datetime = rows["slot"].max()  # type: ignore[assignment]
    latest = rows.filter(pl.col("slot") == slot).sort("ticker", "symbol")
    columns = (
        "ticker", "symbol", "quantity", "dte", "stock_price", "mid", "premium_captured",
        "total_pnl", "recommendation", "anomalies", "position_id",
    )  # fmt: skip
    title = f"Contract health {day} {slot:%H:%M} UTC"
    why = latest.with_columns(pl.col("reasons").map_elements(_listed, return_dtype=pl.String))
    advice = (
        "symbol", "recommendation", "reasons", "delta", "closed_pnl", "assigned_pnl",
        "roll_symbol", "roll_credit", "roll_cap",
    )  # fmt: skip
    return [
        as_table(latest, columns, title),
        as_table(why, advice, "What to do, and where each could be rolled"),
    ]


def _listed(reasons: str) -> str:
    return "; ".join(json.loads(reasons))


def comparison(warehouse: Warehouse, day: date) -> list[RenderableType]:
    """Where the gated and the weighted model decide otherwise than the baseline."""
    rows = decision(warehouse, MODEL_COMPARES, day)
    if rows.is_empty():
        return [f"Nothing was compared on {day}: there are no picks."]
    changed = rows.filter(pl.col("decision_changed") | pl.col("strike_changed"))
    per_model = rows.group_by("model").agg(
        pl.col("decision").eq("promote").sum().alias("promoted"),
        pl.col("decision_changed").sum(),
        pl.col("strike_changed").sum(),
    )
    columns = ("model", "promoted", "decision_changed", "strike_changed")
    shown: list[RenderableType] = [as_table(per_model.sort("model"), columns, f"Models on {day}")]
    if changed.height:
        what = ("model", "ticker", "decision", "strike", "rank_score_adjusted", "reason")
        shown.append(as_table(changed.sort("ticker", "model"), what, "Changed decisions"))
    else:
        shown.append("No decision and no strike changes between the models.")
    known = warehouse.read(
        MODEL_SCORES,
        as_of=rows["decision_at"][0],
        first=previous_session(day, SCORES_SESSIONS),
        last=day,
    )
    return [*shown, Markdown(model_scores_text(known))]


def scores(warehouse: Warehouse, day: date) -> list[RenderableType]:
    """The scorecard's figures: hit rate with its interval, results against holding the shares."""
    rows = warehouse.read(FRIDAY_SCORECARD, first=day, last=day)
    if rows.is_empty():
        return [f"No position has ended by {day}."]
    columns = (
        "account", "period", "ended", "scored", "hits", "hit_rate", "hit_low", "hit_high",
        "position_result", "buy_hold_pnl", "versus_hold", "prediction_error", "rank_drift",
    )  # fmt: skip
    return [as_table(rows, columns, f"Scorecard of {day}")]


def gaps(warehouse: Warehouse, day: date) -> list[RenderableType]:
    """Captures of the day that are missing."""
    rows = warehouse.read(COLLECTION_GAPS, first=day, last=day)
    if rows.is_empty():
        return []
    columns = ("dataset", "slot", "subject", "reason")
    return [as_table(rows.head(10), columns, f"Gaps on {day}: {rows.height}")]


def document_path(reports_dir: Path, name: str) -> str:
    """The latest document of a name, relative to the current folder where it lies below it."""
    path = (reports_dir / name).resolve()
    here = Path.cwd().resolve()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def missing_sections(markdown: str) -> list[str]:
    """Sections of the summary that a report lacks, by their titles."""
    lines = set(markdown.splitlines())
    wanted = [f"## {number}. {title}" for number, title in enumerate(SECTIONS, start=1)]
    return [line for line in wanted if line not in lines]
