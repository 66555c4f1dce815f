"""Pictures of option chains: gamma by strike, with the levels that stand out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tracker_dagster.reports.charts import INK, canvas, image, say_if_empty

_CALLS, _PUTS, _FAINT = "#2f8f6b", "#b5483a", "#777777"
#: From how many dollars on figures are shown in which unit.
_UNITS = ((1e9, "billion"), (1e6, "million"), (1e3, "thousand"), (1.0, ""))
#: Share of the price shown on either side where no repriced profile says how far.
_AROUND = 0.15
#: Levels drawn as lines: column of gamma_exposure, label, colour, style.
_LEVELS = (
    ("spot", "spot", "black", "-"),
    ("gamma_flip", "flip", INK, "--"),
    ("call_wall", "call wall", _CALLS, ":"),
    ("put_wall", "put wall", _PUTS, ":"),
)


def gamma_profile_chart(
    by_strike: pl.DataFrame, exposure: Mapping[str, Any], profile: pl.DataFrame, title: str
) -> str:
    """Gamma of one chain by strike, its repriced net gamma over prices, spot, flip and walls.

    Args:
        by_strike: rows of gamma_by_strike of one chain; expiries are added up.
        exposure: the row of gamma_exposure of the same chain.
        profile: ``spot`` and ``net_gamma_naive_usd_per_1pct``, the book repriced; may be empty.
        title: shown above.

    Returns:
        A markdown image: calls up, puts down, in dollars per 1 % move; the repriced net gamma as a
        line against the axis on the right, in the same unit.
    """
    figure, axes = canvas(title)
    spot = exposure["spot"] or 0.0
    low, high = (1 - _AROUND) * spot, (1 + _AROUND) * spot
    if profile.height:
        low, high = profile["spot"][0], profile["spot"][-1]
    calls, puts = "call_gamma_usd_per_1pct", "put_gamma_usd_per_1pct"
    strikes = (
        by_strike.filter(pl.col("strike").is_between(low, high))
        .group_by("strike")
        .agg(pl.col(calls, puts).sum())
        .sort("strike")
    )
    if strikes.is_empty():
        return image(say_if_empty(figure, axes, strikes), title)
    most = max(strikes[calls].max(), strikes[puts].max())  # type: ignore[type-var]
    scale, unit = next((each for each in _UNITS if most >= each[0]), _UNITS[-1])  # type: ignore[operator]
    at = strikes["strike"].to_numpy()
    # Strikes are listed closer near the price; a bar as wide as the least gap covers no other.
    width = 0.8 * (np.diff(at).min() if at.size > 1 else 0.02 * spot)
    axes.bar(at, strikes[calls].to_numpy() / scale, width, color=_CALLS, label="calls")
    axes.bar(at, -strikes[puts].to_numpy() / scale, width, color=_PUTS, label="puts")
    axes.axhline(0, color="black", linewidth=0.6)
    for name, label, colour, style in _LEVELS:
        level = exposure[name]
        if level is not None and low <= level <= high:
            text = f"{label} {level:,.2f}".removesuffix(".00")
            axes.axvline(level, color=colour, linestyle=style, linewidth=1.2, label=text)
    axes.set_xlim(low, high)
    axes.set_ylabel(f"by strike, $ {unit} per 1 %".replace("  ", " "), fontsize=8)
    handles, labels = axes.get_legend_handles_labels()
    if profile.height:
        right = axes.twinx()
        right.spines[["top"]].set_visible(False)
        right.tick_params(labelsize=8)
        net = profile["net_gamma_naive_usd_per_1pct"].to_numpy() / scale
        (line,) = right.plot(profile["spot"].to_numpy(), net, color=_FAINT, linewidth=1.4)
        # Both zeros at one height: the flip is where the line crosses the foot of the bars.
        for pane in (axes, right):
            most = max(abs(edge) for edge in pane.get_ylim())
            pane.set_ylim(-most, most)
        right.set_ylabel("net, repriced", fontsize=8)
        handles, labels = [*handles, line], [*labels, "net gamma at that price"]
    # Below, where it covers nothing.
    figure.legend(handles, labels, fontsize=7, frameon=False, loc="outside lower center", ncols=4)
    return image(figure, title)
