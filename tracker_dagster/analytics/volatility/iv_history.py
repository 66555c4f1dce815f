"""Each underlying's volatility of the day against its own year: the rows of iv_percentile.

The year is the 252 sessions of the calendar that end with the session before, whether or not
they have a value; the day itself is not among them. A captured value is compared with captured
ones where half a year of these is known, else with those of day files: a window is never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.volatility import iv_rank
from tracker_dagster.analytics.volatility.iv_rank import (
    MINIMUM_SESSIONS,
    RAMP_DAYS,
    RECENT_SESSIONS,
    SESSIONS,
    TREND_SESSIONS,
    Floats,
)

SNAPSHOT, DAY_FILE = "snapshot", "day_file"
#: Histories that a value of a basis may be compared with, the usual one first.
HISTORIES = {SNAPSHOT: (SNAPSHOT, DAY_FILE), DAY_FILE: (DAY_FILE,)}
IV, SKEW = "iv_30d", "skew_25d_30d"


def history_sessions(day: date) -> list[date]:
    """The sessions that `iv_history` looks at: the year before ``day``, and what leads into it.

    The first session of the year has a ramp of its own, over the 30 days before it.
    """
    year = trading_calendar.last_sessions(day - timedelta(days=1), SESSIONS)
    return trading_calendar.sessions_between(year[0] - RAMP_DAYS, year[-1]) if year else []


def iv_history(
    today: pl.DataFrame, history: pl.DataFrame, day: date, events: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Rank, percentile, change, crush, spike and ramp of the day's volatilities.

    Args:
        today: ``basis``, ``underlying``, ``slot``, ``available_at``, ``iv_30d``, ``skew_25d_30d``
            (annual decimals) and ``missing`` (``column: why; …`` of those that are null): one
            row a basis and underlying.
        history: ``trade_date``, ``basis``, ``underlying``, ``available_at``, ``iv_30d``,
            ``skew_25d_30d``: a row a session, basis and underlying. Sessions outside
            `history_sessions` do not count, nor do rows that were not known yet when the row of
            ``today`` was.
        day: session of ``today``.
        events: ``basis``, ``underlying``, ``event_ahead`` (null where not known) and
            ``event_note``; None where nothing is known of any event.

    Returns:
        A row for each of ``today``, in its order: the columns of the table iv_percentile but for
        ``trade_date``. What is null has its why in ``reason``.
    """
    days = history_sessions(day)
    past = _comparable(today, history, days)
    iv, skew = _floats(today[IV]), _floats(today[SKEW])
    ramps = iv_rank.ramps(np.column_stack([past.values[IV], iv]), [*days, day])
    ramp, past_ramps = ramps[:, -1], ramps[:, :-1][:, -SESSIONS:]
    year, skews = past.values[IV][:, -SESSIONS:], past.values[SKEW][:, -SESSIONS:]
    enough = iv_rank.known(year) >= MINIMUM_SESSIONS
    distribution = {
        "low": iv_rank.lowest(year),
        "high": iv_rank.highest(year),
        "mean": iv_rank.mean(year),
        "median": iv_rank.median(year),
        "deviation": iv_rank.deviation(year),
    }
    figures = {name: np.where(enough, value, np.nan) for name, value in distribution.items()} | {
        "iv_rank": iv_rank.iv_rank(iv, year),
        "iv_percentile": iv_rank.iv_percentile(iv, year),
        "zscore": iv_rank.zscore(iv, year),
        "change_5d": iv_rank.change_over(iv, year, RECENT_SESSIONS),
        "change_20d": iv_rank.change_over(iv, year, TREND_SESSIONS),
        "_against_recent": iv_rank.change(iv, iv_rank.recent_mean(year)),
        "ramp": ramp,
        "ramp_percentile": iv_rank.iv_percentile(ramp, past_ramps),
        "skew_percentile": iv_rank.iv_percentile(skew, skews),
    }
    counts = {
        "history_sessions": iv_rank.known(year),
        "_ramps": iv_rank.known(past_ramps),
        "_skews": iv_rank.known(skews),
    }
    rows = today.with_columns(
        pl.Series("history_basis", past.bases, pl.String),
        *(pl.Series(name, value, pl.Float64).fill_nan(None) for name, value in figures.items()),
        *(pl.Series(name, value, pl.Int64) for name, value in counts.items()),
    )
    return _judged(_with_events(rows, events), days).drop("^_.*$", "missing", "event_note")


@dataclass(frozen=True)
class _Past:
    """What each row of the day is compared with, and which basis that is of."""

    #: By name, arrays of shape (rows of the day, sessions); NaN where there is no value.
    values: dict[str, Floats]
    bases: list[str]


def _comparable(today: pl.DataFrame, history: pl.DataFrame, days: Sequence[date]) -> _Past:
    """The past of each row of the day, on one basis throughout."""
    places = pl.DataFrame(
        {"trade_date": days, "_column": range(len(days))},
        schema={"trade_date": pl.Date, "_column": pl.Int64},
    )
    found = (
        today.select("underlying", _known_at="available_at", _row=pl.int_range(pl.len()))
        .join(history, on="underlying")
        .filter(pl.col("available_at") <= pl.col("_known_at"))
        .join(places, on="trade_date")
    )
    shape = (today.height, len(days))
    of_basis = {basis: _matrices(found.filter(basis=basis), shape) for basis in HISTORIES}
    counts = {basis: iv_rank.known(values[IV][:, -SESSIONS:]) for basis, values in of_basis.items()}
    bases = []
    for row, basis in enumerate(today["basis"]):
        usual = HISTORIES[basis][0]
        # Below half a year the longer one; of two as long, the one that reaches back further.
        longest = max(reversed(HISTORIES[basis]), key=lambda name: int(counts[name][row]))
        bases.append(usual if counts[usual][row] >= MINIMUM_SESSIONS else longest)
    chosen = {
        name: np.array([of_basis[basis][name][row] for row, basis in enumerate(bases)])
        for name in (IV, SKEW)
    }
    return _Past({name: values.reshape(shape) for name, values in chosen.items()}, bases)


def _matrices(rows: pl.DataFrame, shape: tuple[int, int]) -> dict[str, Floats]:
    place = rows["_row"].to_numpy(), rows["_column"].to_numpy()
    matrices = {name: np.full(shape, np.nan) for name in (IV, SKEW)}
    for name, matrix in matrices.items():
        matrix[place] = _floats(rows[name])
    return matrices


def _floats(values: pl.Series) -> Floats:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _with_events(rows: pl.DataFrame, events: pl.DataFrame | None) -> pl.DataFrame:
    if events is None:
        return rows.with_columns(
            event_ahead=pl.lit(None, pl.Boolean), event_note=pl.lit("no calendar known")
        )
    wanted = events.select("basis", "underlying", "event_ahead", "event_note")
    return rows.join(wanted, on=["basis", "underlying"], how="left", maintain_order="left")


def _judged(rows: pl.DataFrame, days: Sequence[date]) -> pl.DataFrame:
    """The rows with labels, flags, advice, and the reason of every null."""
    recent, ramp = pl.col("_against_recent"), pl.col("ramp")
    return rows.with_columns(
        regime=iv_rank.regime_label(pl.col("iv_percentile")),
        trend=iv_rank.trend_label(pl.col("change_20d")),
        is_crush=iv_rank.is_crush(recent),
        is_spike=iv_rank.is_spike(recent),
        is_ramp=iv_rank.is_ramp(ramp),
        recommendation=pl.when(iv_rank.is_ramp(ramp)).then(pl.lit(iv_rank.WAIT_FOR_IV_DROP)),
        reason=_reason(days),
    )


def _reason(days: Sequence[date]) -> pl.Expr:
    """Why figures are null, in words; null where all are there."""
    iv_known = pl.col(IV).is_not_null()
    enough = pl.col("history_sessions") >= MINIMUM_SESSIONS

    def back(sessions: int) -> str:
        return f"on {days[-sessions]}" if sessions <= len(days) else "so long ago"

    def missing(name: str) -> pl.Expr:
        return iv_known & pl.col(name).is_null()

    def said(condition: pl.Expr, words: pl.Expr | str) -> pl.Expr:
        return pl.when(condition).then(pl.lit(words) if isinstance(words, str) else words)

    def said_of(name: str) -> pl.Expr:
        # The term structure says of each column why it is null.
        why = pl.col("missing").str.extract(f"(?:^|; )({name}: [^;]+)")
        return pl.coalesce(why, pl.lit(f"{name}: not known"))

    of_year = f"of {SESSIONS} sessions have"
    needed = f"{MINIMUM_SESSIONS} are needed"
    return pl.concat_str(
        said(~iv_known, said_of(IV)),
        said(
            ~enough,
            pl.format(f"rank and percentile: {{}} {of_year} a value, {needed}", "history_sessions"),
        ),
        said(missing("iv_rank") & enough, "rank: the history is flat"),
        said(missing("change_5d"), f"change_5d: no value {back(RECENT_SESSIONS)}"),
        said(missing("change_20d"), f"change_20d: no value {back(TREND_SESSIONS)}"),
        said(
            missing("_against_recent"),
            f"crush and spike: under half of the last {RECENT_SESSIONS} sessions have a value",
        ),
        said(missing("ramp"), f"ramp: under half of the last {RAMP_DAYS.days} days have a value"),
        said(
            missing("ramp_percentile") & pl.col("ramp").is_not_null(),
            pl.format(f"ramp_percentile: {{}} {of_year} a ramp, {needed}", "_ramps"),
        ),
        said(pl.col(SKEW).is_null(), said_of(SKEW)),
        said(
            pl.col(SKEW).is_not_null() & pl.col("skew_percentile").is_null(),
            pl.format(f"skew_percentile: {{}} {of_year} a skew, {needed}", "_skews"),
        ),
        said(pl.col("event_ahead").is_null(), pl.format("event_ahead: {}", "event_note")),
        separator="; ",
        ignore_nulls=True,
    ).replace("", None)
