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
#: Share of the gross gamma whose strikes are shown.
_SHOWN = 0.97
#: Share of the shown width that is left free on either side.
_MARGIN = 0.04
#: At most so many bars, as more could not be told apart, and how much of the width one may take.
_BARS = 70
_WIDEST = 1 / 40
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

    Strikes that lie closer than the eye can tell apart share a bar. Shown is what carries 97 % of
    the gross gamma, and as far as spot, flip and walls.

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
    calls, puts = "call_gamma_usd_per_1pct", "put_gamma_usd_per_1pct"
    strikes = (
        by_strike.group_by("strike")
        .agg(pl.col(calls, puts).sum(), gross=pl.sum_horizontal(pl.col(calls, puts).sum()))
        .filter(pl.col("gross") > 0)
        .sort("strike")
    )
    if strikes.is_empty():
        return image(say_if_empty(figure, axes, strikes), title)
    low, high = _span(strikes, exposure, profile)
    bars, step, width = _binned(strikes.filter(pl.col("strike").is_between(low, high)), high - low)
    most = max(bars[calls].max(), bars[puts].max())  # type: ignore[type-var]
    scale, unit = next((each for each in _UNITS if most >= each[0]), _UNITS[-1])  # type: ignore[operator]
    at = bars["at"].to_numpy()
    axes.bar(at, bars[calls].to_numpy() / scale, width, color=_CALLS, label="calls")
    axes.bar(at, -bars[puts].to_numpy() / scale, width, color=_PUTS, label="puts")
    axes.axhline(0, color="black", linewidth=0.6)
    for name, label, colour, style in _LEVELS:
        level = exposure[name]
        if level is not None and low <= level <= high:
            text = f"{label} {level:,.2f}".removesuffix(".00")
            axes.axvline(level, color=colour, linestyle=style, linewidth=1.2, label=text)
    axes.set_xlim(low, high)
    each = rf"\${step:g} of strikes a bar" if step else "by strike"
    axes.set_ylabel(rf"{each}, \$ {unit} per 1 %".replace("  ", " "), fontsize=8)
    handles, labels = axes.get_legend_handles_labels()
    shown = profile.filter(pl.col("spot").is_between(low, high))
    if shown.height:
        right = axes.twinx()
        right.spines[["top"]].set_visible(False)
        right.tick_params(labelsize=8)
        net = shown["net_gamma_naive_usd_per_1pct"].to_numpy() / scale
        (line,) = right.plot(shown["spot"].to_numpy(), net, color=_FAINT, linewidth=1.4)
        # Both zeros at one height: the flip is where the line crosses the foot of the bars.
        for pane in (axes, right):
            most = max(abs(edge) for edge in pane.get_ylim())
            pane.set_ylim(-most, most)
        right.set_ylabel("net, repriced", fontsize=8)
        handles, labels = [*handles, line], [*labels, "net gamma at that price"]
    # Below, where it covers nothing.
    figure.legend(handles, labels, fontsize=7, frameon=False, loc="outside lower center", ncols=4)
    return image(figure, title)


def _span(
    strikes: pl.DataFrame, exposure: Mapping[str, Any], profile: pl.DataFrame
) -> tuple[float, float]:
    """The prices to show: strikes that carry the gamma, and the levels within their reach."""
    at, gross = strikes["strike"].to_numpy(), strikes["gross"].to_numpy()
    up_to = np.concatenate([[0.0], np.cumsum(gross / gross.sum())])
    # The narrowest of the spans from each strike to the first that completes the share.
    first = np.flatnonzero(up_to[:-1] <= 1 - _SHOWN)
    last = np.minimum(np.searchsorted(up_to, up_to[first] + _SHOWN - 1e-12), at.size) - 1
    narrowest = int(np.argmin(at[last] - at[first]))
    edges = [float(at[first[narrowest]]), float(at[last[narrowest]])]
    reach = [*edges, *profile["spot"], *([exposure["spot"]] if exposure["spot"] else [])]
    levels = (exposure[name] for name, *_ in _LEVELS)
    edges += [level for level in levels if level is not None and min(reach) <= level <= max(reach)]
    low, high = min(edges), max(edges)
    margin = max(_MARGIN * (high - low), 0.01 * high)
    return low - margin, high + margin


def _binned(strikes: pl.DataFrame, width: float) -> tuple[pl.DataFrame, float, float]:
    """Neighbouring strikes added up where there are too many for ``width`` dollars.

    Returns:
        ``at`` and the gamma of each bar; the dollars of strikes that it adds up, 0 where each
        strike has its own; and how wide to draw it.
    """
    gaps = np.diff(strikes["strike"].to_numpy())
    gap = float(gaps.min()) if gaps.size else width
    # A whole number of the least gap, so that every bar may hold as many strikes.
    multiples = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
    together = next(many for many in multiples if many * gap * _BARS >= width)
    step = together * gap if together > 1 else 0.0
    at = (pl.col("strike") / step).round() * step if step else pl.col("strike")
    bars = (
        strikes.group_by(at=at)
        .agg(pl.col("call_gamma_usd_per_1pct", "put_gamma_usd_per_1pct").sum())
        .sort("at")
    )
    return bars, step, 0.9 * min(together * gap, width * _WIDEST)
