"""What changed between two decisions on the same basis, and which input moved it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import polars as pl

from tracker_dagster.schemas.changes import PICK_CHANGES
from tracker_dagster.strategy.attribution import target_strike_parts
from tracker_dagster.strategy.lanes import assign_lanes
from tracker_dagster.strategy.rank_changes import moved_ranks
from tracker_dagster.strategy.settings import PickSettings

Row = dict[str, Any]
#: Inputs of the lane, in the order in which they are tried.
_LANE_INPUTS = ("annual_volatility", "max_drawdown", "suitability", "category")
#: What may come into or fall out of the holding period, and gates that turn.
_FLAGS = (
    ("earnings_in_period", "earnings"),
    ("ex_dividend_in_period", "ex_dividend"),
    ("split_in_period", "split"),
    ("fft_status", "fft"),
    ("fractal_status", "fractal"),
)
#: Gates that a strike passes or fails as price, volatility and time move on.
_MOVING_GATES = ("min_otm", "delta_band", "min_yield", "max_yield")
_ALARMS = (True, "unstable")


def pick_changes(
    before: pl.DataFrame,
    after: pl.DataFrame,
    *,
    promotions_before: pl.DataFrame | None = None,
    promotions_after: pl.DataFrame | None = None,
    candidates_before: pl.DataFrame | None = None,
    candidates_after: pl.DataFrame | None = None,
    settings: PickSettings | None = None,
) -> pl.DataFrame:
    """Rows of pick_changes, at most one a ticker and kind of change.

    * A rank: the ranks that the ticker's own score moved it among the others' old scores, and
      those that the others moved it; its score's change in parts by component, and where the
      yield leads, that in parts by price, strike, time, volatility and quote. All add up exactly.
    * A strike: the expiry or lane, where these changed; else the gate that the old contract has
      come to fail or the new one to pass; else price, volatility or time, by what each made of
      the strike that has the lane's delta.
    * A lane: the one input that, put back, puts the lane back.
    * A pick that is new or gone, or a decision: the stage or gate that stood or stands against it.

    Args:
        before: rows of weekly_picks of the earlier decision.
        after: rows of weekly_picks of the later one, on the same basis.
        promotions_before: rows of promotions of the earlier one; None where not read.
        promotions_after: rows of promotions of the later one.
        candidates_before: rows of pick_candidates of the earlier one; None where not read.
        candidates_after: rows of pick_candidates of the later one.
        settings: weights of the rank score and limits of the lanes; defaults when None.

    Returns:
        No rows where one of the decisions is missing.

    Raises:
        ValueError: the decisions are not on the same basis, or each of more than one decision.
    """
    settings = settings or PickSettings()
    if before.is_empty() or after.is_empty():
        return PICK_CHANGES.empty()
    keys = ("trade_date", "basis", "decision_at")
    for picks in (before, after):
        if picks.select(keys).n_unique() != 1:
            raise ValueError("changes are between two decisions, not among more")
    if before["basis"][0] != after["basis"][0]:
        raise ValueError("a decision on day files and one on a snapshot are not compared")
    old, new = _by_ticker(before), _by_ticker(after)
    both = [ticker for ticker in new if _is_picked(old.get(ticker)) and _is_picked(new[ticker])]
    rows = [
        *_came_and_went(old, new),
        *_contracts(old, new, both, candidates_before, candidates_after),
        *_lanes(old, new, after, settings),
        *_decisions(promotions_before, promotions_after),
        *_flags(old, new, both),
        *(_change(change="rank", **moved) for moved in moved_ranks(before, after, both, settings)),
    ]
    if not rows:
        return PICK_CHANGES.empty()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return PICK_CHANGES.conform(
        frame,
        **{name: after[name][0] for name in (*keys, "available_at")},
        since=before["trade_date"][0],
        since_decision_at=before["decision_at"][0],
    ).sort(PICK_CHANGES.key)


def _by_ticker(picks: pl.DataFrame) -> dict[str, Row]:
    return {row["ticker"]: row for row in picks.sort("ticker").iter_rows(named=True)}


def _is_picked(row: Row | None) -> bool:
    return row is not None and row["status"] == "picked"


def _change(
    ticker: str, change: str, before: Any, after: Any, moved_by: str, why: str,
    detail: Mapping[str, Any] | None = None, size: float | None = None,
) -> Row:  # fmt: skip
    return {
        "ticker": ticker,
        "change": change,
        "before": None if before is None else str(before),
        "after": None if after is None else str(after),
        "moved_by": moved_by,
        "why": why,
        "size": size,
        "detail": json.dumps(detail or {}, sort_keys=True),
    }


def _contract(row: Row) -> str:
    return f"{_money(row['strike'])} of {row['expiry']}"


def _money(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _came_and_went(old: Mapping[str, Row], new: Mapping[str, Row]) -> list[Row]:
    rows = []
    for ticker in sorted({*old, *new}):
        was, now = old.get(ticker), new.get(ticker)
        if _is_picked(was) == _is_picked(now):
            continue
        change, there, other = ("new", now, was) if _is_picked(now) else ("gone", was, now)
        assert there is not None
        came, went = (None, _contract(there)) if change == "new" else (_contract(there), None)
        if other is None:
            by, why = (
                "universe",
                "not an enabled ticker "
                + ("at the decision before" if change == "new" else "any more"),
            )
        else:
            by, why = other["stage"], other["reason"]
            why = f"before: {why}" if change == "new" else why
        rows.append(_change(ticker, change, came, went, by, why))
    return rows


def _contracts(
    old: Mapping[str, Row],
    new: Mapping[str, Row],
    both: Sequence[str],
    candidates_before: pl.DataFrame | None,
    candidates_after: pl.DataFrame | None,
) -> list[Row]:
    rows = [
        _change(
            ticker, "expiry_rolled", old[ticker]["expiry"], new[ticker]["expiry"], "calendar",
            "too few sessions were left to the expiry before",
        )
        for ticker in both
        if old[ticker]["expiry"] != new[ticker]["expiry"]
    ]  # fmt: skip
    moved = [ticker for ticker in both if old[ticker]["strike"] != new[ticker]["strike"]]
    symbols = [row["symbol"] for ticker in moved for row in (old[ticker], new[ticker])]
    failed_now = _failed(candidates_after, symbols)
    failed_then = _failed(candidates_before, symbols)
    parts = _target_parts([old[ticker] for ticker in moved], [new[ticker] for ticker in moved])
    for number, ticker in enumerate(moved):
        was, now = old[ticker], new[ticker]
        step = now["strike"] - was["strike"]
        by, why, detail = _strike_mover(
            was, now, failed_then, failed_now, {name: part[number] for name, part in parts.items()}
        )
        from_, to = _money(was["strike"]), _money(now["strike"])
        rows.append(_change(ticker, "strike", from_, to, by, why, detail, step))
    return rows


def _failed(
    candidates: pl.DataFrame | None, symbols: Sequence[str]
) -> dict[str, str | None] | None:
    """Symbol to the first gate that it failed, None where it passed; None where not read."""
    if candidates is None or candidates.is_empty():
        return None
    rows = candidates.filter(pl.col("symbol").is_in(symbols))
    return dict(rows.select("symbol", "failed_gate").iter_rows())


def _strike_mover(
    was: Row,
    now: Row,
    failed_then: Mapping[str, str | None] | None,
    failed_now: Mapping[str, str | None] | None,
    parts: Mapping[str, float],
) -> tuple[str, str, Row]:
    if was["expiry"] != now["expiry"]:
        return "expiry", f"chosen anew for the expiry of {now['expiry']}", {}
    if was["lane"] != now["lane"]:
        return "lane", f"{now['lane']} aims at another delta than {was['lane']}", {}
    detail = {name: round(float(part), 6) for name, part in parts.items()}
    step = now["strike"] - was["strike"]
    pushing = {name: part for name, part in detail.items() if part * step > 0}
    by = max(pushing, key=lambda name: abs(pushing[name])) if pushing else None
    told = ", ".join(f"{name} {part:+.2f}" for name, part in detail.items())
    moved = f"the strike at the lane's delta moved by {told}"
    for row, failed, when, absent in (
        (was, failed_now, "fails {} now", "is not in the data any more"),
        (now, failed_then, "failed {} before", "was not in the data before"),
    ):
        if failed is None:
            continue
        if row["symbol"] not in failed:
            return "listing", f"{_money(row['strike'])} {absent}", {}
        if gate := failed[row["symbol"]]:
            why = f"{_money(row['strike'])} {when.format(gate)}"
            if gate not in _MOVING_GATES or by is None:
                return f"gate {gate}", why, {}
            return f"gate {gate} ({by})", f"{why}; {moved}", {"target_strike": detail}
    if by is None:
        return "not told", "neither price, volatility nor time explains it", {}
    return by, moved, {"target_strike": detail}


def _target_parts(was: Sequence[Row], now: Sequence[Row]) -> dict[str, np.ndarray]:
    if not was:
        return {}
    # Volatilities of one kind on both sides: implied where both have it, else realised.
    implied = [
        a["implied_volatility"] is not None and b["implied_volatility"] is not None
        for a, b in zip(was, now, strict=True)
    ]

    def at(rows: Sequence[Row]) -> dict[str, np.ndarray]:
        return {
            "price": _floats(rows, "price"),
            "volatility": np.where(
                implied, _floats(rows, "implied_volatility"), _floats(rows, "annual_volatility")
            ),
            "years": _floats(rows, "dte") / 365,
            "delta": _floats(now, "target_delta"),
        }

    parts = target_strike_parts(at(was), at(now))
    return {name: np.nan_to_num(part, nan=0.0) for name, part in parts.items()}


def _floats(rows: Sequence[Row], name: str) -> np.ndarray:
    return np.array([row.get(name) for row in rows], dtype=float)


def _lanes(
    old: Mapping[str, Row], new: Mapping[str, Row], after: pl.DataFrame, settings: PickSettings
) -> list[Row]:
    moved = [
        ticker
        for ticker, now in new.items()
        if ticker in old and None not in (old[ticker]["lane"], now["lane"])
        if old[ticker]["lane"] != now["lane"]
    ]
    if not moved:
        return []
    names = [name for name in _LANE_INPUTS if name in after.columns]
    now_frame = after.filter(pl.col("ticker").is_in(moved)).sort("ticker")
    restored: dict[str, list[str]] = {ticker: [] for ticker in moved}
    for name in names:
        values = [old[ticker][name] for ticker in now_frame["ticker"]]
        column = pl.Series(name, values, dtype=now_frame.schema[name])
        lanes = assign_lanes(now_frame.with_columns(column), settings.lanes)
        for ticker, lane in lanes.select("ticker", "lane").iter_rows():
            if lane == old[ticker]["lane"]:
                restored[ticker].append(name)
    rows = []
    for ticker in moved:
        was, now = old[ticker], new[ticker]
        shown = restored[ticker] or [name for name in names if was[name] != now[name]]
        told = "; ".join(f"{name} {_shown(was[name])} → {_shown(now[name])}" for name in shown)
        by = restored[ticker][0] if restored[ticker] else "several inputs"
        why = f"{now['lane_reason']} ({told})"
        rows.append(_change(ticker, "lane", was["lane"], now["lane"], by, why))
    return rows


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _decisions(before: pl.DataFrame | None, after: pl.DataFrame | None) -> list[Row]:
    """Tickers that are promoted on one day alone."""
    if before is None or after is None or before.is_empty() or after.is_empty():
        return []
    old, new = _by_ticker(before), _by_ticker(after)
    asked_before, asked_after = (
        {name: frame[name][0] for name in ("seed", "lane_filter", "top_n")}
        for frame in (before, after)
    )
    asked_otherwise = asked_before != asked_after
    rows = []
    for ticker in sorted({*old, *new}):
        was, now = old.get(ticker), new.get(ticker)
        states = [None if row is None else row["decision"] for row in (was, now)]
        if states[0] == states[1] or "promote" not in states:
            continue
        against = now if states[0] == "promote" else was
        reason = "no pick" if against is None else against["reason"]
        told = f"{'before: ' if states[1] == 'promote' else ''}{reason}"
        by = "request" if asked_otherwise else reason
        if asked_otherwise:
            told += f"; asked with {_request(asked_after)} instead of {_request(asked_before)}"
        rows.append(_change(ticker, "decision", states[0], states[1], by, told))
    return rows


def _request(asked: Mapping[str, Any]) -> str:
    return f"seed {asked['seed']:,.0f}, lane {asked['lane_filter']}, top {asked['top_n']}"


def _flags(old: Mapping[str, Row], new: Mapping[str, Row], both: Sequence[str]) -> list[Row]:
    rows = []
    for ticker in both:
        was, now = old[ticker], new[ticker]
        turned = [
            (column, name)
            for column, name in _FLAGS
            if was[column] != now[column] and (was[column] in _ALARMS) != (now[column] in _ALARMS)
        ]
        if not turned:
            continue
        texts = [
            "; ".join(f"{name} {_flag_text(row, column)}" for column, name in turned)
            for row in (was, now)
        ]
        by = ", ".join(name for _, name in turned)
        why = f"{texts[0]} → {texts[1]}"
        rows.append(_change(ticker, "flag", texts[0], texts[1], by, why))
    return rows


def _flag_text(row: Row, column: str) -> str:
    value = row[column]
    if column.endswith("_status"):
        return value or "not known"
    note = row.get(column.replace("_in_period", "_note"))
    if value:
        return f"on {note}" if _is_date(note) else "in the period"
    return "not known" if value is None else "not in the period"


def _is_date(text: object) -> bool:
    try:
        return bool(date.fromisoformat(str(text)[:10]))
    except ValueError:
        return False
