"""Pictures of smiles and term structures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tracker_dagster.analytics.volatility.smile import volatility
from tracker_dagster.analytics.volatility.svi import Slices
from tracker_dagster.reports.charts import INK, canvas, image, say_if_empty
from tracker_dagster.schemas.surface import MATURITIES, SLICE

_QUOTE = "#c2683a"
_CURVE_POINTS = 201


def smile_chart(expiry: Mapping[str, Any], points: pl.DataFrame, moment: str) -> str:
    """One expiry's smile through the quotes that it was fitted to, as a markdown image.

    Args:
        expiry: its row of iv_surface, fitted.
        points: the contracts, as `smile_points` gives them; a bar is what lies between the
            volatilities of bid and ask.
        moment: of the quotes, in words.
    """
    title = f"{expiry['underlying']}, expiry {expiry['expiry']}: smile of {moment}"
    figure, axes = canvas(title)
    forward = expiry["forward"]
    strikes = forward * np.exp(points["moneyness"].to_numpy())
    middle, low, high = (
        100 * points[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("volatility", "bid_volatility", "ask_volatility")
    )
    axes.vlines(strikes, low, high, color=_QUOTE, linewidth=1.2, alpha=0.6)
    axes.plot(strikes, middle, ".", color=_QUOTE, markersize=4)
    k = np.linspace(expiry["lowest"], expiry["highest"], _CURVE_POINTS)
    slice_ = Slices.of([expiry[name] for name in SLICE])
    curve = 100 * volatility(slice_, k, np.asarray(expiry["years"]))
    axes.plot(forward * np.exp(k), curve, color=INK, linewidth=1.4)
    axes.axvline(forward, color=INK, linewidth=0.6, linestyle="--")
    axes.set_xlabel("strike", fontsize=8)
    axes.set_ylabel("implied volatility, %", fontsize=8)
    return image(say_if_empty(figure, axes, points), title)


def term_structure_chart(row: Mapping[str, Any], expiries: pl.DataFrame, moment: str) -> str:
    """Volatility at the forward over the term, as a markdown image.

    Args:
        row: the underlying's row of iv_term_structure: its fixed terms are rings.
        expiries: its rows of iv_surface: dots on a line.
        moment: of the quotes, in words.
    """
    label = f", {row['structure']}" if row["structure"] else ""
    title = f"{row['underlying']}: term structure of {moment}{label}"
    figure, axes = canvas(title)
    known = expiries.drop_nulls("atm_volatility").sort("years")
    axes.plot(
        365 * known["years"].to_numpy(),
        100 * known["atm_volatility"].to_numpy(),
        ".-",
        color=INK,
        linewidth=1.2,
    )
    terms = {days: row[f"iv_{days}d"] for days in MATURITIES if row[f"iv_{days}d"] is not None}
    axes.plot(
        list(terms), [100 * value for value in terms.values()], "o",
        color=_QUOTE, markerfacecolor="none",
    )  # fmt: skip
    if known.height:
        axes.set_xscale("log")
        axes.set_xticks(MATURITIES, [str(days) for days in MATURITIES])
        axes.minorticks_off()
    axes.set_xlabel("days to expiry", fontsize=8)
    axes.set_ylabel("volatility at the forward, %", fontsize=8)
    return image(say_if_empty(figure, axes, known), title)
