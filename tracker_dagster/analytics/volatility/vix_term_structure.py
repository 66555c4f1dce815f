"""The VIX against its three-month sibling, and the futures' spread: the rows of the table.

The indices are the standard measure; the rule on futures is kept as a rule with a name. A third
future a fifth above the first is an ordinary contango in calm markets, so `COMPLACENCY` is
common: its percentile says how unusual a spread is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.volatility import iv_rank

CONTANGO, BACKWARDATION, FLAT = "contango", "backwardation", "flat"
INDICES = {"VIX": "vix", "VIX9D": "vix9d", "VIX3M": "vix3m"}
FUTURES = ("vx1", "vx3")

#: (VX3 - VX1) / VX1 below which the futures show fear, and above which complacency.
FEAR_SPREAD, COMPLACENCY_SPREAD = -0.10, 0.20
FEAR, COMPLACENCY, NORMAL = "FEAR", "COMPLACENCY", "NORMAL"
#: What the rule advises.
ADVICE = {FEAR: "CONTRARIAN_LONG_SETUP", COMPLACENCY: "PREPARE_FOR_VOL_SPIKE"}
NO_SETTLEMENTS = "no source of futures settlements is configured"
#: Digits to which a spread counts: 18 on 20 is -10 %, whatever binary fractions say.
_DIGITS = 12


def vix_sessions(day: date) -> list[date]:
    """The sessions that `vix_term_structure` reads: the year before ``day``, and ``day``."""
    return trading_calendar.last_sessions(day, iv_rank.SESSIONS + 1)


def vix_term_structure(
    bars: pl.DataFrame, settlements: pl.DataFrame | None, day: date
) -> pl.DataFrame:
    """One row: the term structure of the VIX at the close of ``day``.

    Args:
        bars: ``trade_date``, ``ticker``, ``close`` of VIX, VIX9D and VIX3M in volatility points,
            one a ticker and session; those outside `vix_sessions` do not count.
        settlements: ``trade_date``, ``vx1``, ``vx3``: settlement prices of the first and the
            third future in volatility points, one row a session; None where there is no source.
        day: the session.

    Returns:
        The columns of the table vix_term_structure but for its ``trade_date`` and
        ``available_at``; what is null has its why in ``reason`` or ``futures_reason``.
    """
    sessions = vix_sessions(day)
    closes = {
        name: _by_session(bars.filter(ticker=ticker), "close", sessions)
        for ticker, name in INDICES.items()
    }
    with np.errstate(invalid="ignore"):
        ratios = closes["vix"] / closes["vix3m"]
    row = {name: values[-1] for name, values in closes.items()} | {
        "ratio": ratios[-1],
        "ratio_percentile": float(iv_rank.iv_percentile(ratios[-1], ratios[:-1])),
        "ratio_sessions": int(iv_rank.known(ratios[:-1])),
    }
    futures = _futures(settlements, sessions)
    frame = pl.DataFrame([{**row, **futures}], schema_overrides={"futures_reason": pl.String})
    figures = pl.selectors.float()
    return frame.with_columns(figures.fill_nan(None)).with_columns(
        structure=structure_label(pl.col("ratio")),
        futures_regime=futures_regime(pl.col("futures_spread")),
        futures_recommendation=futures_regime(pl.col("futures_spread")).replace_strict(
            ADVICE, default=None, return_dtype=pl.String
        ),
        reason=_reason(day),
    )


def structure_label(ratio: pl.Expr) -> pl.Expr:
    """What VIX / VIX3M is called: above one the near volatility is the dearer."""
    return (
        pl.when(ratio > 1)
        .then(pl.lit(BACKWARDATION))
        .when(ratio < 1)
        .then(pl.lit(CONTANGO))
        .when(ratio.is_not_null())
        .then(pl.lit(FLAT))
    )


def futures_regime(spread: pl.Expr) -> pl.Expr:
    """The rule on (VX3 - VX1) / VX1; null stays null."""
    exact = spread.round(_DIGITS)
    return (
        pl.when(exact < FEAR_SPREAD)
        .then(pl.lit(FEAR))
        .when(exact > COMPLACENCY_SPREAD)
        .then(pl.lit(COMPLACENCY))
        .when(exact.is_not_null())
        .then(pl.lit(NORMAL))
    )


def _futures(settlements: pl.DataFrame | None, sessions: Sequence[date]) -> dict[str, object]:
    known = settlements if settlements is not None else _NO_ROWS
    first, third = (_by_session(known, name, sessions) for name in FUTURES)
    spreads = iv_rank.change(third, first)
    reason = None
    if settlements is None:
        reason = NO_SETTLEMENTS
    elif np.isnan(spreads[-1]):
        reason = f"no settlements of both futures on {sessions[-1]}"
    return {
        "vx1": first[-1],
        "vx3": third[-1],
        "futures_spread": spreads[-1],
        "futures_spread_percentile": float(iv_rank.iv_percentile(spreads[-1], spreads[:-1])),
        "futures_reason": reason,
    }


_NO_ROWS = pl.DataFrame(schema={"trade_date": pl.Date, **dict.fromkeys(FUTURES, pl.Float64)})


def _by_session(rows: pl.DataFrame, value: str, sessions: Sequence[date]) -> NDArray[np.float64]:
    """The column's value of each session; NaN where there is none."""
    found = dict(rows.select("trade_date", value).drop_nulls().iter_rows())
    return np.array([found.get(session, np.nan) for session in sessions], float)


def _reason(day: date) -> pl.Expr:
    """Why figures of the indices are null, in words; null where all are there."""
    absent = pl.concat_str(
        *(pl.when(pl.col(name).is_null()).then(pl.lit(ticker)) for ticker, name in INDICES.items()),
        separator=", ",
        ignore_nulls=True,
    )
    few = pl.col("ratio_percentile").is_null() & pl.col("ratio").is_not_null()
    return pl.concat_str(
        pl.when(absent != "").then(pl.format(f"no bar of {{}} on {day}", absent)),
        pl.when(few).then(
            pl.format(
                f"ratio_percentile: {{}} of {iv_rank.SESSIONS} sessions have a ratio, "
                f"{iv_rank.MINIMUM_SESSIONS} are needed",
                "ratio_sessions",
            )
        ),
        separator="; ",
        ignore_nulls=True,
    ).replace("", None)
