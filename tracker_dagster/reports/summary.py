"""The summary of a session in markdown: eight sections, whatever is there and what is not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from tracker_dagster.reports.book_sections import health as health_section
from tracker_dagster.reports.book_sections import holding_calls as holding_calls_section
from tracker_dagster.reports.book_sections import portfolio_risk as risk_section
from tracker_dagster.reports.change_section import changes as changes_section
from tracker_dagster.reports.columns import table
from tracker_dagster.reports.pick_sections import buckets, premium_leaders, safest
from tracker_dagster.reports.tables import dollars, strike
from tracker_dagster.reports.universe_status import universe_status
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.decisions import (
    MODEL_COMPARES,
    MODELS,
    PROMOTIONS,
    SUMMARY,
    WEEKLY_PICKS,
)

#: The first eight are those that this report has always had, in their order.
SECTIONS = (
    "Header",
    "Universe Status",
    "Weekly Picks (Grouped by Pack Cost Buckets)",
    "Top 5 Safest",
    "Top 5 Premium Leaders",
    "Promoted This Run",
    "Active Contract Health",
    "Side-by-Side Decision Changes",
    "What Changed Since Last Session",
    "Portfolio Risk",
    "Calls on Your Holdings",
)
NO_COMPARE = "Side-by-side compare not generated yet. Run `python -m tracker_dagster.cli compare`."
NO_PROMOTIONS = "No promotions decided yet. Run promote."
GENERATED = "- Generated (UTC): "
PROMOTION_ROWS = 20


def render_summary(
    *,
    day: date,
    decision_at: datetime | None,
    basis: str | None,
    seed: float,
    db_path: str,
    market: str,
    generated_at: datetime,
    universe: pl.DataFrame | None = None,
    prices: pl.DataFrame | None = None,
    structure: pl.DataFrame | None = None,
    picks: pl.DataFrame | None = None,
    promotions: pl.DataFrame | None = None,
    health: pl.DataFrame | None = None,
    compares: pl.DataFrame | None = None,
    gaps: pl.DataFrame | None = None,
    changes: pl.DataFrame | None = None,
    not_compared: str | None = None,
    risk: pl.DataFrame | None = None,
    stress: pl.DataFrame | None = None,
    holding_calls: pl.DataFrame | None = None,
    measured: str | None = None,
    open_positions: int = 0,
    notes: Sequence[str] = (),
    rows_per_bucket: int = 10,
) -> str:
    """The report of ``day``. A frame that is None or empty gives its section's empty state.

    Two calls that differ in ``generated_at`` alone differ in one line alone.

    Args:
        day: session.
        decision_at: decision whose picks, promotions and comparison are passed; None if none.
        basis: basis of that decision.
        seed: cash in dollars that is asked for, for the header; where the promotions were decided
            with another, it names both.
        db_path: database, for the header.
        market: whose prices these are, for the header.
        generated_at: when the report is written, UTC.
        universe: rows of universe of the day.
        prices: rows of market_last of the day, any slots; the latest of each ticker counts.
        structure: rows of structure_features of the day.
        picks: rows of weekly_picks of the decision.
        promotions: rows of promotions of the decision.
        health: rows of contract_health of the day's latest slot.
        compares: rows of model_compares of the decision.
        gaps: rows of collection_gaps of the day.
        changes: rows of pick_changes of the decision.
        not_compared: why there is no earlier decision to compare with; None where there is.
        risk: rows of portfolio_risk of the day's latest slot.
        stress: rows of portfolio_stress of the same slot.
        holding_calls: rows of holding_calls of the decision.
        measured: what the walk-forward says of the models, in markdown.
        open_positions: how many positions are open, checked or not.
        notes: anything else that readers must know, one sentence each.
        rows_per_bucket: most rows of a bucket's table; ten or more.
    """
    picks = WEEKLY_PICKS.empty() if picks is None else picks
    bodies = (
        _header(day, decision_at, basis, _seeds(seed, promotions), db_path, market, generated_at),
        universe_status(universe, prices, structure, picks, gaps, basis, notes),
        buckets(picks, rows_per_bucket),
        safest(picks),
        premium_leaders(picks),
        _promoted(PROMOTIONS.empty() if promotions is None else promotions),
        health_section(CONTRACT_HEALTH.empty() if health is None else health, open_positions),
        _side_by_side(MODEL_COMPARES.empty() if compares is None else compares, measured),
        changes_section(changes, not_compared),
        risk_section(risk, stress, open_positions),
        holding_calls_section(holding_calls),
    )
    parts = [f"# Weekly summary {day}"]
    for number, (title, body) in enumerate(zip(SECTIONS, bodies, strict=True), start=1):
        parts += [f"## {number}. {title}", body]
    return "\n\n".join(parts) + "\n"


def without_generation_time(markdown: str) -> str:
    """The report without its line of generation time: the same for the same decision."""
    kept = [line for line in markdown.split("\n") if not line.startswith(GENERATED)]
    return "\n".join(kept)


def summary_row(
    markdown: str,
    *,
    day: date,
    decision_at: datetime,
    basis: str,
    seed: float,
    lane_filter: str | None,
    picks: pl.DataFrame,
    promotions: pl.DataFrame,
) -> pl.DataFrame:
    """The row of the summary table that keeps ``markdown``."""
    status = Counter(picks["status"])
    row = {
        "trade_date": day,
        "available_at": decision_at,
        "decision_at": decision_at,
        "basis": basis,
        "seed": seed,
        "lane_filter": lane_filter,
        "picks_count": status["picked"],
        "missing_count": status["missing"],
        "promoted_count": promotions.filter(pl.col("decision") == "promote").height,
        "markdown": without_generation_time(markdown),
    }
    return SUMMARY.conform(pl.DataFrame([row]))


def _header(
    day: date,
    decision_at: datetime | None,
    basis: str | None,
    seeds: str,
    db_path: str,
    market: str,
    generated_at: datetime,
) -> str:
    bases = {
        "snapshot": "snapshot: the chain captured at the decision time",
        "day_file": "day_file: closes of the session before; quotes, spreads, open interest and "
        "Greeks are unknown",
    }
    decided = "none yet" if decision_at is None else f"{decision_at:%Y-%m-%d %H:%M:%S} UTC"
    return "\n".join(
        [
            f"{GENERATED}{generated_at:%Y-%m-%d %H:%M:%S}",
            f"- Market: {market}",
            f"- Database: `{db_path}`",
            f"- {seeds}",
            f"- Session: {day}",
            f"- Decision at: {decided}",
            f"- Basis: {bases.get(basis or '', 'none yet')}",
        ]
    )


def _seeds(asked: float, promotions: pl.DataFrame | None) -> str:
    decided = asked if promotions is None or promotions.is_empty() else promotions["seed"][0]
    if decided == asked:
        return f"Seed: {dollars(asked)} USD"
    return f"Seed asked: {dollars(asked)} USD; decided with {dollars(decided)} USD"


def _promoted(promotions: pl.DataFrame) -> str:
    if promotions.is_empty():
        return NO_PROMOTIONS
    order = {"error": 0, "promote": 1, "skip": 2}
    rows = promotions.sort(
        pl.col("decision").replace_strict(order, default=3), "rank", "ticker", nulls_last=True
    ).rename({"decision_at": "ts"})
    # Picks of other lanes were never asked for; they are counted, not listed.
    listed = rows.filter(pl.col("reason") != "other_lane").head(PROMOTION_ROWS)
    listed = listed.with_columns(reason=_every_reason())
    columns = ("ts", "ticker", "expiry", "strike", "lane", "seed", "decision", "reason")
    counts = Counter(rows["decision"])
    reasons = Counter(rows.filter(pl.col("decision") == "skip")["reason"])
    lane, top_n = rows["lane_filter"][0], rows["top_n"][0]
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    return "\n\n".join(
        [
            f"Lane {lane}, top {top_n}: {counts['promote']} promoted, {counts['skip']} skipped"
            + (f" ({told})." if told else "."),
            table(listed, columns),
        ]
    )


def _every_reason() -> pl.Expr:
    """All failed gates of a pick; ``reason``, the first, where no more are stored."""
    told = pl.col("reasons").str.json_decode(pl.List(pl.String))
    return (
        pl.when(pl.col("decision").eq("skip") & (told.list.len() > 0))
        .then(told.list.join(", "))
        .otherwise("reason")
    )


def _side_by_side(compares: pl.DataFrame, measured: str | None) -> str:
    walked = [] if measured is None else ["### What the gate was worth so far", measured]
    if compares.is_empty():
        return "\n\n".join([NO_COMPARE, *walked])
    terms = compares.row(0, named=True)
    lead = (
        f"Each model promotes from all lanes, at most {terms['top_n']}, with "
        f"{dollars(terms['seed'])} USD; section 6 shows the run's own lane."
    )
    parts = [lead, "\n".join(_model_line(compares.filter(pl.col("model") == model), model)
                       for model in MODELS)]  # fmt: skip
    for title, column in (
        ("Decisions that change", "decision_changed"),
        ("Strikes that change", "strike_changed"),
    ):
        tickers = sorted(set(compares.filter(pl.col(column))["ticker"]))
        parts.append(f"### {title} ({len(tickers)})")
        parts.append(_side_by_side_table(compares, tickers) if tickers else "None.")
    return "\n\n".join([*parts, *walked])


def _model_line(rows: pl.DataFrame, model: str) -> str:
    promoted = sorted(rows.filter(pl.col("decision") == "promote")["ticker"])
    errors = rows.filter(pl.col("decision") == "error")["reason"].to_list()
    what = ", ".join(promoted) if promoted else "nothing"
    return f"- {model}: {errors[0] if errors else f'promotes {what}'}"


def _side_by_side_table(compares: pl.DataFrame, tickers: Sequence[str]) -> str:
    cells: dict[str, list[Any]] = {"ticker": list(tickers)}
    for model in MODELS:
        rows = {row["ticker"]: row for row in compares.filter(pl.col("model") == model).to_dicts()}
        cells[model] = [_cell(rows.get(ticker)) for ticker in tickers]
    frame = pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String))
    return table(frame, tuple(cells))


def _cell(row: dict[str, Any] | None) -> str | None:
    if row is None:
        return None
    at = "" if row["strike"] is None else f" @ {strike(row['strike'])}"
    return f"{row['decision']}{at} ({row['reason']})"
