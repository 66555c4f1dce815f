"""Health of open positions at a slot: prices, triggers, anomalies, P&L, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.returns import adjust_for_splits
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.strategy.contract_measures import (
    HALF_ASK,
    Seen,
    anomalies,
    measures,
    splits_since_opening,
    triggers,
)
from tracker_dagster.strategy.early_assignment import ASSIGNED
from tracker_dagster.strategy.known import daily_bars, known_at
from tracker_dagster.strategy.rolls import chosen_roll, roll_candidates
from tracker_dagster.strategy.settings import HealthSettings

_COPIED = (
    "position_id", "account", "symbol", "ticker", "expiry", "right", "strike", "quantity", "shares",
)  # fmt: skip
#: Nobody bids for an option that is as good as gone: closing it at its ask is still possible.
_NO_BID = ["quote_no_bid"]


def contract_health(
    positions: pl.DataFrame,
    prices: pl.DataFrame,
    chain: pl.DataFrame,
    bars: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    structure: pl.DataFrame,
    day: date,
    slot: datetime,
    settings: HealthSettings | None = None,
    inputs: Mapping[str, object] | None = None,
    *,
    greeks: pl.DataFrame | None = None,
    dividends: pl.DataFrame | None = None,
    dividend_sources: pl.DataFrame | None = None,
    exercised: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of contract_health, one an open position.

    Mended against the rules this follows (weekly tracker, section 6.2): P&L is in dollars with
    shares and quantity, premiums being per share, and less the fees paid; closing early asks for a
    share of the premium captured at the ask or little yield left, which can happen, instead of a
    quote far under intrinsic value, which is bad data; what assignment would bring is told beside
    what closing now would, and not assumed; a roll is looked for, and puts are priced as puts.

    Args:
        positions: rows of positions; others than OPEN are ignored.
        prices: rows of market_last of ``day``; each ticker's latest slot up to ``slot`` counts.
        chain: rows of option_chain of ``day``; a contract's latest slot up to ``slot`` counts.
        bars: rows of stock_day_aggs of at least the session before.
        corporate_actions: rows of corporate_actions known on ``day``, or None.
        structure: rows of structure_features.
        day: session.
        slot: instant of the check; later rows are ignored.
        settings: triggers; defaults when None.
        inputs: identities of what was read.
        greeks: rows of option_greeks of captured chains of ``day``; a contract's latest slot up to
            ``slot`` counts. Contracts without a row have the vendor's Greeks, or none.
        dividends: cash dividends ahead, as `dividends_ahead` gives them.
        dividend_sources: what is known of them, as `dividend_sources` gives it.
        exercised: rows of `settle_early`: calls whose holders had reason to exercise them already.
    """
    settings = settings or HealthSettings()
    held = positions.filter(pl.col("status") == "OPEN").sort("position_id")
    if held.is_empty():
        return CONTRACT_HEALTH.empty()
    quotes = _latest(known_at(chain, slot, day).filter(pl.col("trade_date") == day), "symbol")
    symbols = held["symbol"].unique().to_list()
    last_quote = _by(quotes.filter(pl.col("symbol").is_in(symbols)), "symbol")
    last_price = _by(
        _latest(known_at(prices, slot, day).filter(pl.col("trade_date") == day), "ticker"), "ticker"
    )
    valued = {} if greeks is None else _greeks(greeks, symbols, slot, day)
    before = _closes_before(bars, corporate_actions, day, slot)
    gates = _by(_latest(known_at(structure, slot, day), "ticker", "trade_date"), "ticker")
    splits = _splits(corporate_actions, slot, day)
    ahead = _ahead(dividends)
    sources = {} if dividend_sources is None else dict(dividend_sources.iter_rows())
    gone = {} if exercised is None else _exercised(exercised)
    candidates = roll_candidates(held, quotes, day, slot, settings)
    of_position = candidates.partition_by("position_id", maintain_order=True, as_dict=True)
    rows = []
    for position in held.iter_rows(named=True):
        ticker = position["ticker"]
        seen = Seen(
            price=last_price.get(ticker, {}),
            quote=last_quote.get(position["symbol"], {}),
            greeks=valued.get(position["symbol"], {}),
            close_before=before.get(ticker),
            splits=splits.get(ticker, []),
            dividends=ahead.get(ticker, []),
            dividend_source=sources.get(ticker),
        )
        view = measures(position, seen, day)
        view["anomalies"] = anomalies(position, seen, view, day, slot, settings)
        likely_gone = gone.get(position["position_id"])
        if likely_gone:
            view["anomalies"].append("likely_assigned_early")
        view.update(triggers(position, view, settings))
        rolls = of_position.get((position["position_id"],), candidates.clear())
        if splits_since_opening(position, seen, day):
            rolls = rolls.clear()
        runs = bool(view["rapid_up"]) and position["right"] == "C"
        roll = chosen_roll(rolls, away=_depth(position, view) > 0 or runs)
        recommendation, reasons = recommend(position, view, roll, settings)
        if view["mark_source"] == HALF_ASK:
            reasons.append("nobody bids for it any more: valued at half its ask")
        if likely_gone:
            reasons.append(likely_gone)
        gate = gates.get(ticker, {})
        rows.append(
            {
                **{name: position[name] for name in _COPIED},
                **view,
                "anomalies": json.dumps(view["anomalies"]),
                "recommendation": recommendation,
                "reasons": json.dumps(reasons),
                **_roll_columns(roll, rolls.height),
                "fft_status": gate.get("fft_status"),
                "fractal_status": gate.get("fractal_status"),
            }
        )
    return CONTRACT_HEALTH.conform(
        pl.DataFrame(rows, infer_schema_length=None),
        trade_date=day,
        slot=slot,
        available_at=slot,
        inputs=json.dumps(dict(inputs or {}), sort_keys=True, default=str),
    )


def _latest(frame: pl.DataFrame, key: str, order: str = "slot") -> pl.DataFrame:
    return frame.sort(key, order).unique(key, keep="last", maintain_order=True)


def _by(frame: pl.DataFrame, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in frame.iter_rows(named=True)}


def _greeks(
    greeks: pl.DataFrame, symbols: list[str], slot: datetime, day: date
) -> dict[str, dict[str, Any]]:
    mine = known_at(greeks, slot, day).filter(
        (pl.col("trade_date") == day) & pl.col("symbol").is_in(symbols)
    )
    return _by(_latest(mine, "symbol"), "symbol")


def _closes_before(
    bars: pl.DataFrame, actions: pl.DataFrame | None, day: date, slot: datetime
) -> dict[str, float]:
    session = trading_calendar.previous_session(day)
    rows = daily_bars(bars, slot, day, before=day).filter(pl.col("trade_date") == session)
    if actions is not None:
        rows = adjust_for_splits(rows, known_at(actions, slot, day), day)
    return dict(rows.select("ticker", "close").iter_rows())


def _splits(actions: pl.DataFrame | None, slot: datetime, day: date) -> dict[str, list[date]]:
    if actions is None:
        return {}
    rows = known_at(actions, slot, day).filter(
        (pl.col("action") == "split") & (pl.col("ex_date") <= day)
    )
    found: dict[str, list[date]] = {}
    for ticker, ex_date in rows.select("ticker", "ex_date").unique().sort("ex_date").iter_rows():
        found.setdefault(ticker, []).append(ex_date)
    return found


def _ahead(dividends: pl.DataFrame | None) -> dict[str, list[tuple[date, float]]]:
    found: dict[str, list[tuple[date, float]]] = {}
    if dividends is not None:
        columns = dividends.sort("underlying", "ex_date").select("underlying", "ex_date", "amount")
        for ticker, ex_date, amount in columns.iter_rows():
            found.setdefault(ticker, []).append((ex_date, amount))
    return found


def _exercised(looked_at: pl.DataFrame) -> dict[str, str]:
    """By position what is to be done about a call that was exercised as far as can be told."""
    return {
        row["position_id"]: f"likely assigned early on {row['session']}: "
        f"{row['reason']}; `tracker assign` records it once the broker says so"
        for row in looked_at.filter(pl.col("outcome") == ASSIGNED).iter_rows(named=True)
    }


def _depth(position: Mapping[str, Any], view: Mapping[str, Any]) -> float:
    """How far in the money, as a fraction of the strike; 0 where that is not known."""
    return (view["moneyness"] or 0.0) * (1 if position["right"] == "C" else -1)


def _roll_columns(roll: Mapping[str, Any] | None, count: int) -> dict[str, Any]:
    roll = roll or {}
    return {
        "roll_symbol": roll.get("symbol"),
        "roll_expiry": roll.get("expiry"),
        "roll_strike": roll.get("strike"),
        "roll_bid": roll.get("bid"),
        "roll_credit": roll.get("credit"),
        "roll_cap": roll.get("cap"),
        "rolls_count": count,
    }


def recommend(
    position: Mapping[str, Any],
    view: Mapping[str, Any],
    roll: Mapping[str, Any] | None,
    settings: HealthSettings,
) -> tuple[str, list[str]]:
    """What to do with a position, and why.

    In order: data that cannot be trusted; a premium captured, or hardly any yield left, at what
    closing really costs; out of the money on its last day, and nobody to trade with at a narrow
    spread, left to expire; a spread too wide to trade on; a roll for a credit where one is called
    for: near or in the money close to the expiry, deep in the money, risen fast into it, or about
    to be exercised for a dividend; else hold.
    """
    sold = position["quantity"] < 0
    ask, opened = view["ask"], position["open_price"]
    captured = 1 - ask / opened if sold and ask is not None and opened else None
    enough = captured is not None and captured >= settings.close_captured and view["dte"] > 0
    why_enough = f"{captured:.0%} of the premium is captured at the ask" if enough else ""
    if view["anomalies"]:
        if enough and view["anomalies"] == _NO_BID:
            return "CLOSE_EARLY", [why_enough, "nobody bids for it any more"]
        return "HOLD_DATA_ISSUE", list(view["anomalies"])
    if not sold:
        return "HOLD_TO_ASSIGN", ["bought, not sold: no rule applies"]
    if enough:
        return "CLOSE_EARLY", [why_enough]
    depth = _depth(position, view)
    if captured is not None and view["dte"] > 0:
        yield_left = view["remaining_yield"]
        if depth < 0 < captured and yield_left is not None and yield_left < settings.close_yield:
            return "CLOSE_EARLY", [f"only {yield_left:.1%} a year is left to earn"]
    last_day = view["dte"] == 0 and depth < 0
    if last_day and (view["wide_spread"] or view["mark_source"] == HALF_ASK):
        return "HOLD_TO_ASSIGN", [_worthless_unless(position, view)]
    if view["wide_spread"]:
        return "HOLD_WIDE_SPREAD", [f"spread is {view['spread_pct']:.0%} of the mid"]
    calls_for = _roll_is_called_for(position, view, depth, settings)
    if not calls_for:
        why = _worthless_unless(position, view) if last_day else "no trigger asks for anything"
        return "HOLD_TO_ASSIGN", [why]
    return _roll_or_hold(position, roll, calls_for)


def _worthless_unless(position: Mapping[str, Any], view: Mapping[str, Any]) -> str:
    away = abs(position["strike"] / view["stock_price"] - 1)
    move = "rises" if position["right"] == "C" else "falls"
    return f"expires worthless unless the stock {move} {away:.1%}"


def _roll_is_called_for(
    position: Mapping[str, Any], view: Mapping[str, Any], depth: float, settings: HealthSettings
) -> list[str]:
    """Why a sold option should be rolled; none where nothing asks for it."""
    found = []
    if (depth > 0 or view["near_strike"]) and view["dte"] <= settings.roll_dte:
        found.append("near or in the money close to expiry")
    if view["deep_itm"]:
        found.append(f"{depth:.1%} in the money")
    if view["rapid_up"] and depth > 0 and position["right"] == "C":
        found.append(f"up {view['day_change']:.1%} since the close before, and in the money")
    if view["early_assignment"]:
        found.append(f"may be exercised early: {view['early_assignment_note']}")
    return found


def _roll_or_hold(
    position: Mapping[str, Any], roll: Mapping[str, Any] | None, why: list[str]
) -> tuple[str, list[str]]:
    if roll is None:
        return "HOLD_TO_ASSIGN", [*why, "no tradable contract to roll to"]
    if roll["credit"] <= 0:
        return "HOLD_TO_ASSIGN", [*why, f"rolling costs {-roll['credit']:.2f} USD{_of_fees(roll)}"]
    away = "ROLL_UP_AND_OUT" if position["right"] == "C" else "ROLL_DOWN_AND_OUT"
    brings = f"{roll['symbol']} brings a net credit of {roll['credit']:.2f} USD{_of_fees(roll)}"
    return away if roll["further"] else "ROLL_OUT", [*why, brings]


def _of_fees(roll: Mapping[str, Any]) -> str:
    return f" after {roll['fees']:.2f} USD of fees"
