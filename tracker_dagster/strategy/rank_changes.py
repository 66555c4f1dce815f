"""Changes of rank: how much is a ticker's own score, which component, and which input behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from tracker_dagster.strategy.attribution import score_parts, weekly_yield_parts
from tracker_dagster.strategy.known import sessions_left
from tracker_dagster.strategy.settings import PickSettings

#: What a ticker that was moved mainly by others is said to be moved by.
OTHERS = "others"


def moved_ranks(
    before: pl.DataFrame, after: pl.DataFrame, both: Sequence[str], settings: PickSettings
) -> list[dict[str, Any]]:
    """Tickers whose rank changed, each with what moved it.

    Args:
        before: rows of weekly_picks of the earlier decision.
        after: rows of weekly_picks of the later one.
        both: tickers with a pick in each.
        settings: weights of the rank score.

    Returns:
        ``ticker``, ``before``, ``after`` (ranks), ``moved_by``, ``why``, ``detail`` and ``size``
        (ranks risen). In ``detail``: ``ranks`` gained by its own score among the others' old ones
        and by the others; ``rank_score`` by component; ``weekly_yield`` by input.
    """
    if not both:
        return []
    is_both = pl.col("ticker").is_in(both)
    was, now = (frame.filter(is_both).sort("ticker") for frame in (before, after))
    others = np.sort(before.drop_nulls("rank_score")["rank_score"].to_numpy())
    scores = [frame["rank_score"].to_numpy() for frame in (was, now)]
    ranks = [frame["rank"].to_numpy() for frame in (was, now)]
    # Its new score among the others' old ones: better ones ahead, ties as they were.
    ahead = others.size - np.searchsorted(others, scores[1], side="right")
    own_ahead = scores[0] > scores[1]
    own = np.where(scores[0] == scores[1], ranks[0], 1 + ahead - own_ahead)
    by_itself, by_others = ranks[0] - own, own - ranks[1]
    parts = score_parts(was, now, settings.weights.normalised())
    yields = _yield_parts(was, now)
    rows = []
    for number in np.flatnonzero(ranks[0] != ranks[1]):
        components = {name: float(parts[name][int(number)]) for name in parts.columns}
        inputs = {name: float(part[number]) for name, part in yields.items()}
        moves = {"own": int(by_itself[number]), "others": int(by_others[number])}
        by, why = _rank_mover(components, inputs, moves)
        old, new = int(ranks[0][number]), int(ranks[1][number])
        detail: dict[str, Any] = {
            "ranks": moves,
            "rank_score": {name: round(part, 9) for name, part in components.items()},
        }
        if all(map(np.isfinite, inputs.values())):
            detail["weekly_yield"] = {name: round(part, 9) for name, part in inputs.items()}
        ticker = was["ticker"][int(number)]
        rows.append(
            {
                "ticker": ticker,
                "before": old,
                "after": new,
                "moved_by": by,
                "why": why,
                "detail": detail,
                "size": old - new,
            }
        )
    return rows


def _yield_parts(was: pl.DataFrame, now: pl.DataFrame) -> dict[str, np.ndarray]:
    def at(frame: pl.DataFrame) -> dict[str, np.ndarray]:
        row = frame.row(0, named=True)
        left = sessions_left(row["trade_date"], row["expiry"], row["basis"])
        return {
            "premium": frame["mid"].to_numpy(),
            "price": frame["price"].to_numpy(),
            "strike": frame["strike"].to_numpy(),
            "years": frame["dte"].cast(pl.Float64).to_numpy() / 365,
            "sessions": np.full(frame.height, float(left)),
            "volatility": frame["implied_volatility"].cast(pl.Float64).to_numpy(),
        }

    return weekly_yield_parts(at(was), at(now))


def _rank_mover(
    components: Mapping[str, float], inputs: Mapping[str, float], moves: Mapping[str, int]
) -> tuple[str, str]:
    """The input behind a change of rank, and the change in words."""
    named = {name.removeprefix("score_"): part for name, part in components.items()}
    told = ", ".join(
        f"{name} {part:+.3f}"
        for name, part in sorted(named.items(), key=lambda item: -abs(item[1]))
        if abs(part) >= 5e-4
    )
    words = f"own score {sum(named.values()):+.3f}" + (f" ({told})" if told else "")
    words += f"; ranks: {moves['own']:+d} by itself, {moves['others']:+d} by others"
    total = moves["own"] + moves["others"]
    if abs(moves["others"]) > abs(moves["own"]) or moves["own"] * total <= 0:
        return OTHERS, words
    pushing = {name: part for name, part in named.items() if part * moves["own"] > 0}
    if not pushing:
        return OTHERS, words
    by = max(pushing, key=lambda name: abs(pushing[name]))
    if by == "yield" and all(map(np.isfinite, inputs.values())):
        towards = {name: part for name, part in inputs.items() if part * pushing["yield"] > 0}
        if towards:
            lead = max(towards, key=lambda name: abs(towards[name]))
            parts = ", ".join(f"{name} {100 * part:+.2f}" for name, part in inputs.items())
            return f"yield ({lead})", f"{words}; yield in points: {parts}"
    return by, words
