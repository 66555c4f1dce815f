"""The summary of a session in markdown: eight sections, whatever is there and what is not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import polars as pl

from tracker_dagster.reports.tables import Formats, dollars, markdown_table, percent, score, strike
from tracker_dagster.reports.universe_status import universe_status
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.decisions import (
    COST_BUCKETS,
    MODEL_COMPARES,
    MODELS,
    PROMOTIONS,
    SUMMARY,
    WEEKLY_PICKS,
)

SECTIONS = (
    "Header",
    "Universe Status",
    "Weekly Picks (Grouped by Pack Cost Buckets)",
    "Top 5 Safest",
    "Top 5 Premium Leaders",
    "Promoted This Run",
    "Active Contract Health",
    "Side-by-Side Decision Changes",
)
NO_PICKS = "No weekly picks computed yet. Run picker."
NONE_PICKED = "No ticker has a pick; each one's reason is below."
NO_COMPARE = "Side-by-side compare not generated yet. Run `python -m tracker_dagster.cli compare`."
NO_PROMOTIONS = "No promotions decided yet. Run promote."
NO_POSITIONS = "No open positions."
NO_HEALTH = "Open positions were not checked yet. Run monitor."
GENERATED = "- Generated (UTC): "

PICK_COLUMNS = (
    "ticker", "category", "price", "pack_100_cost", "lane", "expiry", "strike",
    "est_weekly_prem_100", "premium_yield", "bars_1m_count", "fft_status", "fractal_status",
    "rank_score",
)  # fmt: skip
CONCISE_COLUMNS = ("ticker", "price", "pack_100_cost", "strike", "expiry", "premium_yield")
PROMOTION_ROWS = 20

_FORMATS: Formats = {
    "price": dollars,
    "pack_100_cost": dollars,
    "strike": strike,
    "est_weekly_prem_100": dollars,
    "premium_yield": percent,
    "rank_score": score,
    "rank_score_adjusted": score,
    "seed": dollars,
    "stock_price": dollars,
    "bid": dollars,
    "mid": dollars,
    "ask": dollars,
    "total_pnl": dollars,
    "premium_captured": percent,
}


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
        seed: cash in dollars, for the header.
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
        open_positions: how many positions are open, checked or not.
        notes: anything else that readers must know, one sentence each.
        rows_per_bucket: most rows of a bucket's table; ten or more.
    """
    picks = WEEKLY_PICKS.empty() if picks is None else picks
    picked = picks.filter(pl.col("status") == "picked")
    bodies = (
        _header(day, decision_at, basis, seed, db_path, market, generated_at),
        universe_status(universe, prices, structure, picks, gaps, basis, notes),
        _buckets(picks, picked, rows_per_bucket),
        _safest(picked),
        _premium_leaders(picked),
        _promoted(PROMOTIONS.empty() if promotions is None else promotions),
        _health(CONTRACT_HEALTH.empty() if health is None else health, open_positions),
        _side_by_side(MODEL_COMPARES.empty() if compares is None else compares),
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
    seed: float,
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
            f"- Seed: {dollars(seed)} USD",
            f"- Session: {day}",
            f"- Decision at: {decided}",
            f"- Basis: {bases.get(basis or '', 'none yet')}",
        ]
    )


def _table(rows: pl.DataFrame, columns: Sequence[str]) -> str:
    return markdown_table(rows, columns, _FORMATS)


def _by_rank(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.sort("rank_score", "ticker", descending=[True, False], nulls_last=True)


def _buckets(picks: pl.DataFrame, picked: pl.DataFrame, most: int) -> str:
    parts = []
    if picked.is_empty():
        parts.append(NONE_PICKED if len(picks) else NO_PICKS)
    for _, label in COST_BUCKETS:
        rows = _by_rank(picked.filter(pl.col("cost_bucket") == label))
        shown = rows.head(most)
        count = f"{len(rows)} picks" if len(rows) != 1 else "1 pick"
        cut = f", best {len(shown)} shown" if len(shown) < len(rows) else ""
        parts += [f"### {label} ({count}{cut})", _table(shown, PICK_COLUMNS)]
    if len(picked):
        parts.append(
            "est_weekly_prem_100 and premium_yield are at the mid; a dash is unknown, not zero."
        )
    flags = [
        ("Earnings before the expiry", "earnings_in_period", "earnings_note"),
        ("Ex-dividend date before the expiry", "ex_dividend_in_period", "ex_dividend_note"),
    ]
    for title, flag, note in flags:
        rows = picked.filter(pl.col(flag)).sort("ticker")
        found = [f"{ticker} {when}" for ticker, when in rows.select("ticker", note).iter_rows()]
        if found:
            parts.append(f"{title}: {'; '.join(found)}.")
    missing = picks.filter(pl.col("status") == "missing").sort("stage", "ticker")
    if len(missing):
        parts += [
            f"### Without a pick ({len(missing)})",
            _table(missing, ("ticker", "category", "lane", "stage", "reason")),
        ]
    return "\n\n".join(parts)


def _safest(picked: pl.DataFrame) -> str:
    rows = _by_rank(picked.filter(pl.col("lane") == "SAFE")).head(5)
    return _table(rows, CONCISE_COLUMNS) if len(rows) else "No pick in lane SAFE."


def _premium_leaders(picked: pl.DataFrame) -> str:
    rows = (
        picked.drop_nulls("premium_yield")
        .sort("premium_yield", "ticker", descending=[True, False])
        .head(5)
    )
    columns = (*CONCISE_COLUMNS, "lane")
    return _table(rows, columns) if len(rows) else "No pick with a premium."


def _promoted(promotions: pl.DataFrame) -> str:
    if promotions.is_empty():
        return NO_PROMOTIONS
    order = {"error": 0, "promote": 1, "skip": 2}
    rows = promotions.sort(
        pl.col("decision").replace_strict(order, default=3), "rank", "ticker", nulls_last=True
    ).rename({"decision_at": "ts"})
    # Picks of other lanes were never asked for; they are counted, not listed.
    listed = rows.filter(pl.col("reason") != "other_lane").head(PROMOTION_ROWS)
    columns = ("ts", "ticker", "expiry", "strike", "lane", "seed", "decision", "reason")
    counts = Counter(rows["decision"])
    reasons = Counter(rows.filter(pl.col("decision") == "skip")["reason"])
    lane, top_n = rows["lane_filter"][0], rows["top_n"][0]
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
    return "\n\n".join(
        [
            f"Lane {lane}, top {top_n}: {counts['promote']} promoted, {counts['skip']} skipped"
            + (f" ({told})." if told else "."),
            _table(listed, columns),
        ]
    )


def _health(health: pl.DataFrame, open_positions: int) -> str:
    if health.is_empty():
        return NO_HEALTH if open_positions else NO_POSITIONS
    alerts = pl.concat_list(
        pl.when(pl.col(name).fill_null(value=False)).then(pl.lit(name))
        for name in ("near_strike", "deep_itm", "rapid_up")
    ).list.drop_nulls()
    rows = (
        health.sort("expiry", "ticker", "strike", "position_id")
        .rename({"quantity": "qty"})
        .with_columns(
            alerts=pl.when(alerts.list.len() > 0).then(alerts.list.join(", ")),
            why=pl.col("reasons").map_elements(_joined, return_dtype=pl.String),
        )
    )
    columns = (
        "ticker", "expiry", "strike", "right", "qty", "stock_price", "bid", "mid", "ask",
        "premium_captured", "total_pnl", "recommendation", "why", "alerts", "fft_status",
        "fractal_status",
    )  # fmt: skip
    slot = health["slot"].max()
    assert isinstance(slot, datetime)
    return f"As of {slot:%Y-%m-%d %H:%M} UTC.\n\n" + _table(rows, columns)


def _joined(text: str) -> str:
    return "; ".join(json.loads(text))


def _side_by_side(compares: pl.DataFrame) -> str:
    if compares.is_empty():
        return NO_COMPARE
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
    return "\n\n".join(parts)


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
    return _table(frame, tuple(cells))


def _cell(row: dict[str, Any] | None) -> str | None:
    if row is None:
        return None
    at = "" if row["strike"] is None else f" @ {strike(row['strike'])}"
    return f"{row['decision']}{at} ({row['reason']})"
