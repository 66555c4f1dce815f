"""The Monday report in markdown: the week's plan as it stands on a session."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

from tracker_dagster.reports.book_sections import health as health_section
from tracker_dagster.reports.columns import by_rank, counted, table, whole_percent
from tracker_dagster.reports.pick_sections import NO_PICKS, premium_leaders, safest
from tracker_dagster.reports.tables import dollars, signed_dollars
from tracker_dagster.reports.universe_status import universe_status
from tracker_dagster.schemas.decisions import COST_BUCKETS
from tracker_dagster.schemas.outcomes import MONDAY_REPORT

GENERATED = "- Generated (UTC): "
NOTHING_PROMOTED = "Nothing is promoted."
NO_SUITABILITY = "Suitability not computed yet."
NO_SCORES = "No position has ended yet."
#: How many of the best suited are listed.
SUITED_ROWS = 15

SECTIONS = (
    "Universe",
    "Plan of the week",
    "Top 5 Safest",
    "Top 5 Premium Leaders",
    "Best suited",
    "Picks by cost of a pack",
    "Without a pick",
    "Open positions",
    "Scoreboard",
)


def render_monday(
    *,
    day: date,
    decision_at: datetime | None,
    basis: str | None,
    market: str,
    generated_at: datetime,
    universe: pl.DataFrame | None,
    prices: pl.DataFrame | None,
    structure: pl.DataFrame | None,
    picks: pl.DataFrame,
    promotions: pl.DataFrame,
    suitability: pl.DataFrame | None,
    health: pl.DataFrame,
    gaps: pl.DataFrame | None,
    cards: pl.DataFrame,
    open_positions: int,
) -> str:
    """The plan of the week that holds ``day``, as it stands.

    Arguments as `reports.summary.render_summary` has them; ``suitability`` rows of suitability
    of the day and ``cards`` rows of friday_scorecard of the day.
    """
    monday = day - timedelta(days=day.weekday())
    decided = "none yet" if decision_at is None else f"{decision_at:%Y-%m-%d %H:%M:%S} UTC"
    header = [
        f"{GENERATED}{generated_at:%Y-%m-%d %H:%M:%S}",
        f"- Market: {market}",
        f"- Week: {monday} to {monday + timedelta(days=4)}",
        f"- Decision at: {decided}, on {basis or 'no'} basis",
    ]
    bodies = (
        universe_status(universe, prices, structure, picks, gaps, basis, ()),
        _plan(picks, promotions),
        safest(picks) if len(picks) else NO_PICKS,
        premium_leaders(picks) if len(picks) else NO_PICKS,
        _best_suited(suitability, picks),
        _bucket_counts(picks),
        _misses(picks),
        health_section(health, open_positions),
        _scoreboard(cards),
    )
    parts = [f"# Week of {monday}, as of {day}", "\n".join(header)]
    for number, (title, body) in enumerate(zip(SECTIONS, bodies, strict=True), start=1):
        parts += [f"## {number}. {title}", body]
    return "\n\n".join(parts) + "\n"


def monday_row(
    markdown: str,
    *,
    day: date,
    decision_at: datetime,
    basis: str,
    picks: pl.DataFrame,
    promotions: pl.DataFrame,
    open_positions: int,
) -> pl.DataFrame:
    """The row of monday_report that keeps ``markdown``, without its line of generation time."""
    kept = [line for line in markdown.split("\n") if not line.startswith(GENERATED)]
    row = {
        "trade_date": day,
        "available_at": decision_at,
        "decision_at": decision_at,
        "basis": basis,
        "picks_count": picks.filter(pl.col("status") == "picked").height,
        "promoted_count": promotions.filter(pl.col("decision") == "promote").height,
        "open_count": open_positions,
        "markdown": "\n".join(kept),
    }
    return MONDAY_REPORT.conform(pl.DataFrame([row]))


def _plan(picks: pl.DataFrame, promotions: pl.DataFrame) -> str:
    """What is to be sold, what that takes and brings, and what stood against the rest."""
    chosen = promotions.filter(pl.col("decision") == "promote").sort("rank")
    if promotions.is_empty():
        return NO_PICKS
    skipped = promotions.filter(pl.col("decision") == "skip")
    reasons = skipped["reason"].value_counts().sort("count", "reason", descending=[True, False])
    told = ", ".join(f"{reason} {count}" for reason, count in reasons.iter_rows())
    against = f"Skipped: {told}." if told else ""
    if chosen.is_empty():
        return f"{NOTHING_PROMOTED} {against}".strip()
    columns = ("ticker", "symbol", "break_even", "assignment_probability", "expected_value_100")
    rows = chosen.join(picks.select(columns), on=["ticker", "symbol"], how="left")
    flags = [_gates(text) for text in rows["gates"]]
    rows = rows.with_columns(pl.Series("not_evaluated", flags, pl.String))
    shown = (
        "ticker", "lane", "expiry", "strike", "premium_100", "premium_yield", "pack_100_cost",
        "break_even", "assignment_probability", "expected_value_100", "not_evaluated",
    )  # fmt: skip
    lead = (
        f"{counted(len(rows), 'call')} to sell, one contract each: "
        f"{dollars(sum(rows['pack_100_cost']))} USD of shares, "
        f"{dollars(sum(rows['premium_100']))} USD of premium at the mid; "
        f"{dollars(rows['cash_after'][-1])} USD of {dollars(rows['seed'][0])} USD are left."
    )
    return "\n\n".join([lead, table(rows, shown), *([against] if against else [])])


def _gates(text: str) -> str | None:
    open_gates = [gate["gate"] for gate in json.loads(text) if gate["outcome"] == "not_evaluated"]
    return ", ".join(open_gates) or None


def _best_suited(suitability: pl.DataFrame | None, picks: pl.DataFrame) -> str:
    if suitability is None or suitability.is_empty():
        return NO_SUITABILITY
    rows = (
        suitability.filter(pl.col("enabled"))
        .drop_nulls("suitability")
        .sort("suitability", "ticker", descending=[True, False])
        .head(SUITED_ROWS)
        .select("ticker", "category", "lane", "suitability", "coherence", "last_close")
    )
    if rows.is_empty():
        return "No ticker has enough closes for a score."
    of_pick = {row["ticker"]: row for row in picks.iter_rows(named=True)}
    ready = [_readiness(of_pick.get(ticker)) for ticker in rows["ticker"]]
    rows = rows.with_columns(pl.Series("readiness", ready, pl.String))
    return table(rows, ("ticker", "category", "lane", "suitability", "coherence", "readiness"))


def _readiness(pick: dict[str, Any] | None) -> str:
    """Whether a ticker can be acted on, and what is against it."""
    if pick is None:
        return "not considered"
    if pick["status"] == "missing":
        return f"no pick: {pick['stage']}"
    against = [
        *(f"{gate} unstable" for gate in ("fft", "fractal")
          if pick[f"{gate}_status"] == "unstable"),
        *(["earnings"] if pick["earnings_in_period"] else []),
        *(["ex-dividend"] if pick["ex_dividend_in_period"] else []),
    ]  # fmt: skip
    history = pick["history_status"] or "history not known"
    return f"{history}; {', '.join(against)}" if against else f"{history}; ready"


def _bucket_counts(picks: pl.DataFrame) -> str:
    picked = picks.filter(pl.col("status") == "picked")
    rows = []
    for _, label in COST_BUCKETS:
        mine = by_rank(picked.filter(pl.col("cost_bucket") == label))
        rows.append(
            {
                "bucket": label,
                "picks": len(mine),
                "best": ", ".join(mine["ticker"].head(5)) or None,
                "median premium_yield": mine["premium_yield"].median(),
            }
        )
    frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"best": pl.String})
    frame = frame.with_columns(
        pl.format("{} %", (100 * pl.col("median premium_yield").cast(pl.Float64)).round(2)).alias(
            "median premium_yield"
        )
    )
    return table(frame, frame.columns)


def _misses(picks: pl.DataFrame) -> str:
    missing = picks.filter(pl.col("status") == "missing")
    if missing.is_empty():
        return "None."
    rows = (
        missing.group_by("stage")
        .agg(tickers=pl.len(), who=pl.col("ticker").sort().head(12).str.join(", "))
        .sort("tickers", "stage", descending=[True, False])
    )
    return table(rows, ("stage", "tickers", "who"))


def _scoreboard(cards: pl.DataFrame) -> str:
    rows = cards.filter((pl.col("period") == "all") & (pl.col("scored") > 0)).sort("account")
    if rows.is_empty():
        return NO_SCORES
    return "\n".join(
        f"- {row['account']}: {row['hits']} of {row['scored']} positions gained "
        f"({whole_percent(row['hit_low'])} to {whole_percent(row['hit_high'])}), "
        f"{signed_dollars(row['position_result'])} USD; the shares alone "
        f"{signed_dollars(row['buy_hold_pnl'])} USD"
        for row in rows.iter_rows(named=True)
    )
