"""Which picks the cash can carry: every gate evaluated, every outcome kept.

A pure decision log; nothing is opened here.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from tracker_dagster.schemas.decisions import LANES, PROMOTIONS
from tracker_dagster.strategy.known import sessions_left
from tracker_dagster.strategy.settings import PromotionSettings

ALL_LANES = "ALL"
#: What positions say of calls written on shares that were held already.
HELD = "held"
PASS, FAIL, NOT_EVALUATED = "pass", "fail", "not_evaluated"


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """One gate of one pick: its outcome, and the reason code that a failure gives."""

    gate: str
    outcome: str
    value: Any
    limit: Any
    note: str


def committed_cash(open_positions: pl.DataFrame, shares_cost: float = 0.0) -> float:
    """Dollars that an account's open positions and shares tie up.

    The shares bought with a call at their basis (at the strike where no basis is known), the
    strike of a sold put. A call on shares that the account held before ties up no more than they
    cost. Premiums received are not counted as cash, which errs on the safe side.

    Args:
        open_positions: rows of positions of one account.
        shares_cost: dollars that the shares it holds have cost.
    """
    tied = (
        pl.when(pl.col("right") == "P")
        .then("strike")
        .otherwise(pl.coalesce("stock_basis", "strike"))
    )
    sold = open_positions.filter((pl.col("status") == "OPEN") & (pl.col("quantity") < 0))
    if "stock_source" in sold.columns:
        sold = sold.filter((pl.col("right") == "P") | pl.col("stock_source").ne_missing(HELD))
    cost = sold.select((tied * pl.col("shares") * -pl.col("quantity")).sum()).item()
    return float(cost or 0.0) + shares_cost


def promote(
    picks: pl.DataFrame,
    open_positions: pl.DataFrame,
    seed: float,
    lane: str,
    top_n: int,
    settings: PromotionSettings | None = None,
    universe: pl.DataFrame | None = None,
    shares_cost: float = 0.0,
) -> pl.DataFrame:
    """Rows of promotions: one a pick, in rank order, greedily under the cash left.

    Mended against the rules this follows (weekly tracker, section 5): the cash is net of open
    positions; a ticker with any open call is not promoted again at another strike; ``top_n``
    counts promotions, not picks looked at, so that three dear tickers at the top do not leave
    the cash idle; a short bar history leaves the structure gate not evaluated instead of
    turning everything down; the yield asked for shrinks with the time left.

    Args:
        picks: rows of weekly_picks of one decision.
        open_positions: rows of positions of the same session, of the account that the promotions
            open into and of no other; others than OPEN are ignored.
        seed: cash in dollars, before open positions.
        lane: a lane, or ALL.
        top_n: most promotions.
        settings: limits; defaults when None.
        universe: ``ticker`` and ``category`` of every member, enabled or not. A held ticker that
            is in neither these nor the picks counts for no category.
        shares_cost: dollars that the shares the account holds have cost.

    Returns:
        Rows of promotions. A seed that is not above zero, an unknown lane or a negative
        ``top_n`` gives one row with ticker ``*`` and decision ``error``. No picks, no rows.
    """
    settings = settings or PromotionSettings()
    if picks.is_empty():
        return PROMOTIONS.empty()
    request: dict[str, Any] = {"seed": seed if math.isfinite(seed) else None, "lane_filter": lane}
    if problem := _request_problem(seed, lane, top_n):
        row: dict[str, Any] = {
            "ticker": "*",
            "decision": "error",
            "reason": problem,
            "gates": "[]",
            "reasons": json.dumps([problem]),
            "not_evaluated": "{}",
        }
        return _frame(picks, [{**row, **request, "top_n": max(0, top_n)}])
    cash = seed - committed_cash(open_positions, shares_cost)
    held = open_positions.filter(pl.col("status") == "OPEN")
    tickers_held = set(held["ticker"])
    symbols_held = set(held["symbol"])
    members = picks if universe is None else universe
    categories = _held_categories(members, tickers_held)
    promoted = 0
    rows = []
    for pick in picks.filter(pl.col("status") == "picked").sort("rank").iter_rows(named=True):
        outcomes = _gates(
            pick, cash, lane, promoted, top_n, tickers_held, symbols_held, categories, settings
        )
        failed = [outcome for outcome in outcomes if outcome.outcome == FAIL]
        row = {
            **{name: pick[name] for name in _COPIED},
            **request,
            "top_n": top_n,
            "premium_100": pick["est_weekly_prem_100"],
            "cash_before": cash,
            "decision": "skip" if failed else "promote",
            "reason": failed[0].note if failed else "passed_gates",
            "gates": json.dumps([asdict(outcome) for outcome in outcomes]),
            "reasons": json.dumps([outcome.note for outcome in failed]),
            "not_evaluated": json.dumps(_left_open(pick, outcomes)),
        }
        if not failed:
            cash -= pick["pack_100_cost"]
            promoted += 1
            categories[pick["category"]] = categories.get(pick["category"], 0) + 1
        rows.append({**row, "cash_after": cash})
    return _frame(picks, rows)


_COPIED = (
    "ticker", "symbol", "category", "lane", "expiry", "strike", "premium_yield", "rank",
    "rank_score", "pack_100_cost",
)  # fmt: skip


def _frame(picks: pl.DataFrame, rows: list[dict[str, Any]]) -> pl.DataFrame:
    if not rows:
        return PROMOTIONS.empty()
    return PROMOTIONS.conform(
        pl.DataFrame(rows, infer_schema_length=None),
        **{name: picks[name][0] for name in ("trade_date", "basis", "decision_at", "available_at")},
    )


def _request_problem(seed: float, lane: str, top_n: int) -> str | None:
    if not (math.isfinite(seed) and seed > 0):
        return f"seed must be above zero, not {seed}"
    if lane not in (*LANES, ALL_LANES):
        return f"unknown lane {lane}: one of {', '.join((*LANES, ALL_LANES))}"
    return None if top_n >= 0 else f"top_n must not be negative, not {top_n}"


def _held_categories(members: pl.DataFrame, tickers: set[str]) -> dict[str, int]:
    held = members.filter(pl.col("ticker").is_in(sorted(tickers)))["category"]
    return dict(held.value_counts().iter_rows())


def _gates(
    pick: dict[str, Any],
    cash: float,
    lane: str,
    promoted: int,
    top_n: int,
    tickers_held: set[str],
    symbols_held: set[str],
    categories: dict[str, int],
    settings: PromotionSettings,
) -> list[GateOutcome]:
    """Every gate in the order in which reasons are told."""

    def check(gate: str, failed: bool, value: Any, limit: Any, code: str) -> GateOutcome:
        return GateOutcome(gate, FAIL if failed else PASS, value, limit, code if failed else "")

    def unknown(gate: str, value: Any, limit: Any, note: str) -> GateOutcome:
        return GateOutcome(gate, NOT_EVALUATED, value, limit, note)

    in_category = categories.get(pick["category"], 0)
    open_why = "already_open" if pick["symbol"] in symbols_held else "ticker_already_open"
    bars = pick["bars_1m_count"]
    spread = pick["spread_pct"]
    weeks = sessions_left(pick["trade_date"], pick["expiry"], pick["basis"]) / 5
    floor = settings.min_yield * weeks**0.5
    return [
        check("lane", lane not in (ALL_LANES, pick["lane"]), pick["lane"], lane, "other_lane"),
        check("top_n", promoted >= top_n, promoted, top_n, "top_n_reached"),
        check("cash", pick["pack_100_cost"] > cash, pick["pack_100_cost"], cash, "over_seed"),
        check("open_position", pick["ticker"] in tickers_held, pick["symbol"], None, open_why),
        check(
            "category_cap", in_category >= settings.max_per_category, in_category,
            settings.max_per_category, "category_cap",
        ),
        _history(bars, settings),
        *(_structure(pick, gate, settings) for gate in ("fft", "fractal")),
        check(
            "strike", pick["strike"] < pick["price"], pick["strike"], pick["price"],
            "strike_below_spot",
        ),
        check("yield", pick["premium_yield"] < floor, pick["premium_yield"], floor, "low_yield"),
        unknown("spread", None, settings.max_spread, "no quotes")
        if spread is None
        else check("spread", spread > settings.max_spread, spread, settings.max_spread,
                   "wide_spread"),
        _event(pick, "earnings", settings.block_on_earnings),
        _event(pick, "ex_dividend", settings.block_on_ex_dividend),
    ]  # fmt: skip


def _left_open(pick: dict[str, Any], outcomes: list[GateOutcome]) -> dict[str, str]:
    """Gates that could not be evaluated: those of the pick's contract, then those of here."""
    of_pick: dict[str, str] = json.loads(pick["gates_not_evaluated"] or "{}")
    here = {o.gate: o.note for o in outcomes if o.outcome == NOT_EVALUATED}
    return {**of_pick, **here}


def _history(bars: int | None, settings: PromotionSettings) -> GateOutcome:
    if (bars or 0) >= settings.intraday_bars:
        return GateOutcome("history", PASS, bars, settings.intraday_bars, "")
    outcome = FAIL if settings.require_history else NOT_EVALUATED
    return GateOutcome("history", outcome, bars, settings.intraday_bars, "insufficient_bars")


def _structure(pick: dict[str, Any], gate: str, settings: PromotionSettings) -> GateOutcome:
    status = pick[f"{gate}_status"]
    if not settings.structure_gate:
        return GateOutcome(gate, NOT_EVALUATED, status, "stable", "structure gates are off")
    if status in (None, "insufficient_history"):
        return GateOutcome(gate, NOT_EVALUATED, status, "stable", status or "no features known")
    failed = status == "unstable"
    note = f"unstable_{gate}" if failed else ""
    return GateOutcome(gate, FAIL if failed else PASS, status, "stable", note)


def _event(pick: dict[str, Any], event: str, blocks: bool) -> GateOutcome:
    """Earnings or an ex-date before the expiry: told in any case, a failure where it blocks."""
    flag, note = pick[f"{event}_in_period"], pick[f"{event}_note"] or ""
    if flag is None:
        return GateOutcome(event, NOT_EVALUATED, None, None, note)
    if flag and blocks:
        return GateOutcome(event, FAIL, note, None, f"{event}_in_period")
    return GateOutcome(event, PASS, flag, None, note if flag else "")
