"""The Friday scorecard in markdown: rates with intervals, results beside the shares alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from statistics import fmean, median
from typing import Any

import polars as pl

from tracker_dagster.reports.columns import counted, table, whole_percent
from tracker_dagster.reports.tables import dollars, percent, signed_dollars

NOTHING_ENDED = "No position has ended yet; there is nothing to score."
NONE_THIS_WEEK = "No position ended in this or the last week."
NO_ESTIMATES = "No estimated premium was compared with a trade yet."
GENERATED = "- Generated (UTC): "

_PERIODS = {"this_week": "week to date", "last_week": "week before", "all": "all so far"}
_ENDED_COLUMNS = (
    "account", "ended_on", "ticker", "contract", "status", "qty", "premium", "position_result",
    "buy_hold_pnl", "versus_hold", "predicted_result", "prediction_error", "rank", "path",
)  # fmt: skip


def render_scorecard(
    *,
    day: date,
    market: str,
    generated_at: datetime,
    cards: pl.DataFrame,
    outcomes: pl.DataFrame,
    estimates: pl.DataFrame | None = None,
    measured: str | None = None,
) -> str:
    """The scorecard of the week that holds ``day``, so far.

    Args:
        day: session.
        market: whose prices these are.
        generated_at: when it is written, UTC; only its own line differs.
        cards: rows of friday_scorecard of the day.
        outcomes: rows of outcomes of all sessions up to the day.
        estimates: rows of premium_estimate_scores of the last days; None where not read.
        measured: what the walk-forward says of the models, in markdown.
    """
    monday = day - timedelta(days=day.weekday())
    parts = [
        f"# Scorecard {day}",
        "\n".join(
            [
                f"{GENERATED}{generated_at:%Y-%m-%d %H:%M:%S}",
                f"- Market: {market}",
                f"- Week: {monday} to {monday + timedelta(days=4)}",
                "- A position counts in the week it ended in, from the session after on",
            ]
        ),
    ]
    if cards.is_empty():
        parts.append(NOTHING_ENDED)
    for (account,), mine in sorted(cards.group_by("account")):
        parts += [f"## Book: {account}", _card_table(mine)]
    if len(cards):
        parts.append(_EXPLAINED)
    recent = outcomes.filter(pl.col("ended_on") >= monday - timedelta(days=7))
    parts += ["## Positions that ended", _ended(recent)]
    parts += ["## Estimated premiums", _estimates(estimates, monday)]
    if measured is not None:
        parts += ["## What the gate was worth so far", measured]
    return "\n\n".join(parts) + "\n"


_EXPLAINED = (
    "Results are of the whole position over its span, with the shares of a covered call whether "
    "they were sold or not; shares alone are the same shares bought and held over the same span. "
    "In brackets the 95 % Wilson interval. Predicted is the expected value at the pick; rank drift "
    "the mean distance between rank at the pick and rank by return."
)


def _card_table(cards: pl.DataFrame) -> str:
    by_period = {row["period"]: row for row in cards.iter_rows(named=True)}
    lines: list[tuple[str, Any]] = [
        ("positions ended", lambda c: f"{c['ended']}"),
        ("of these scored", lambda c: f"{c['scored']}"),
        ("hit rate", lambda c: _rate(c, "hits", "hit")),
        ("better than the shares alone", lambda c: _rate(c, "beat_hold", "beat")),
        ("result, USD", lambda c: _usd(c["position_result"])),
        ("shares alone, USD", lambda c: _usd(c["buy_hold_pnl"])),
        ("difference, USD", lambda c: _usd(c["versus_hold"])),
        ("result on what stood behind", lambda c: _share(c["position_result"], c["cost"])),
        ("prediction error, mean USD", lambda c: _of(c["prediction_error"], c["predicted"])),
        ("its size, mean USD", lambda c: _of(c["prediction_error_abs"], c["predicted"])),
        ("premium got less mid, mean USD", lambda c: _usd(c["premium_error"])),
        ("rank drift", lambda c: _number(c["rank_drift"], c["ranked"])),
        ("rank correlation", lambda c: _number(c["rank_correlation"], c["ranked"])),
    ]
    frame = pl.DataFrame(
        {
            "measure": [name for name, _ in lines],
            **{
                title: [cell(by_period[period]) for _, cell in lines]
                for period, title in _PERIODS.items()
                if period in by_period
            },
        }
    )
    return table(frame, frame.columns)


def _rate(card: dict[str, Any], count: str, name: str) -> str | None:
    if card[f"{name}_rate"] is None:
        return None
    low, high = whole_percent(card[f"{name}_low"]), whole_percent(card[f"{name}_high"])
    rate = whole_percent(card[f"{name}_rate"])
    return f"{rate} ({low} to {high}), {card[count]} of {card['scored']}"


def _usd(value: float | None) -> str | None:
    return None if value is None else signed_dollars(value)


def _share(value: float | None, whole: float | None) -> str | None:
    return percent(value / whole) if value is not None and whole else None


def _of(value: float | None, count: int) -> str | None:
    return None if value is None else f"{signed_dollars(value)} (n = {count})"


def _number(value: float | None, count: int) -> str | None:
    return None if value is None else f"{value:.2f} (n = {count})"


def _ended(outcomes: pl.DataFrame) -> str:
    if outcomes.is_empty():
        return NONE_THIS_WEEK
    rows = outcomes.sort("account", "ended_on", "ticker", "position_id").rename({"quantity": "qty"})
    named = list(rows.iter_rows(named=True))
    shown = rows.with_columns(
        pl.Series("contract", [_contract(row) for row in named], pl.String),
        pl.Series("path", [_path(row) for row in named], pl.String),
    )
    return table(shown, _ENDED_COLUMNS)


def _contract(row: dict[str, Any]) -> str:
    return f"{row['strike']:g} {row['right']} {row['expiry']}"


def _path(row: dict[str, Any]) -> str | None:
    """Lowest and highest close of the stock against its price at the opening."""
    if row["max_adverse"] is None:
        return None
    return f"{100 * row['max_adverse']:+.1f} to {100 * row['max_favourable']:+.1f} %"


def _estimates(estimates: pl.DataFrame | None, monday: date) -> str:
    if estimates is None or estimates.is_empty():
        return NO_ESTIMATES
    scored = estimates.drop_nulls("error_100")
    if scored.is_empty():
        return NO_ESTIMATES
    spans: Sequence[tuple[str, pl.Expr]] = (
        ("week to date", pl.col("trade_date") >= monday),
        ("week before", pl.col("trade_date") < monday),
    )
    rows = []
    for title, is_in in spans:
        errors, shares = (
            scored.filter(is_in)[name].cast(pl.Float64).to_list()
            for name in ("error_100", "error_pct")
        )
        rows.append(
            {
                "week": title,
                "estimates": estimates.filter(is_in).height,
                "traded": len(errors),
                "mean error": signed_dollars(fmean(errors)) if errors else None,
                "median size": dollars(median(map(abs, errors))) if errors else None,
                "median error": percent(median(shares)) if shares else None,
            }
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    lead = (
        f"Premiums estimated from realised volatility against what such calls traded at, dollars a "
        f"contract; above zero the estimate was too high. {counted(scored.height, 'comparison')}."
    )
    return f"{lead}\n\n{table(frame, frame.columns)}"
