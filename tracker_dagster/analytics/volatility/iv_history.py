"""Each underlying's volatility of a session against its own year: the rows of iv_percentile.

The year is the 252 sessions of the calendar that end with the session before, whether or not
they have a value; the session itself is not among them. A captured value is compared with
captured ones where half a year of these is known, else with those of day files: a window is never
mixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
IV, SKEW = "iv_30d", "skew_25d_30d"
#: The most sessions that 30 days can hold: the year's first ramp looks at those before it.
LEAD = 22
#: How many sessions before its own a row looks at.
WINDOW = LEAD + SESSIONS


def history_sessions(day: date) -> list[date]:
    """The sessions that a row of ``day`` looks at: the year before it, and a month before that."""
    return trading_calendar.last_sessions(day, WINDOW + 1)[:-1]


def iv_history(
    today: pl.DataFrame, history: pl.DataFrame, events: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Rank, percentile, change, crush, spike and ramp of volatilities, of any sessions at once.

    Args:
        today: ``trade_date``, ``basis``, ``underlying``, ``slot``, ``available_at``, ``iv_30d``,
            ``skew_25d_30d`` (annual decimals) and ``missing`` (``column: why; …`` of those that
            are null): one row a session, basis and underlying.
        history: ``trade_date``, ``basis``, ``underlying``, ``available_at``, ``iv_30d``,
            ``skew_25d_30d``: a row a session, basis and underlying. For each row of ``today``
            only `history_sessions` count, and of these what was known when the row itself was.
        events: ``trade_date``, ``basis``, ``underlying``, ``event_ahead`` (null where not known)
            and ``event_note``; None where nothing is known of any event.

    Returns:
        A row for each of ``today``, in its order, with the columns of the table iv_percentile.
        What is null has its why in ``reason``.
    """
    past = _Past.of(today, history)
    iv, skew = _floats(today[IV]), _floats(today[SKEW])
    ramps = iv_rank.ramps(np.column_stack([past.values[IV], iv]), past.spans)
    ramp, past_ramps = ramps[:, -1], ramps[:, LEAD:-1]
    year, skews = past.values[IV][:, LEAD:], past.values[SKEW][:, LEAD:]
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
    rows = today.with_columns(
        *(pl.Series(name, value, pl.Float64).fill_nan(None) for name, value in figures.items()),
        pl.Series("history_basis", past.bases, pl.String),
        pl.Series("history_sessions", iv_rank.known(year), pl.Int64),
        pl.Series("_ramps", iv_rank.known(past_ramps), pl.Int64),
        pl.Series("_skews", iv_rank.known(skews), pl.Int64),
        pl.Series("_five_ago", past.dates[:, -RECENT_SESSIONS]),
        pl.Series("_twenty_ago", past.dates[:, -TREND_SESSIONS]),
    )
    return _judged(_with_events(rows, events))


@dataclass(frozen=True)
class _Past:
    """What each row is compared with: arrays of shape (rows, sessions), the latest last."""

    #: By name; NaN where there is no value.
    values: dict[str, Floats]
    #: Which basis they are of, one a row.
    bases: list[str]
    dates: NDArray[np.datetime64]
    #: Sessions in the 30 days before each, and in a last column those before the row's own.
    spans: NDArray[np.int64]

    @classmethod
    def of(cls, today: pl.DataFrame, history: pl.DataFrame) -> _Past:
        axis = _sessions_around(today["trade_date"])
        own = np.searchsorted(axis, today["trade_date"].to_numpy())[:, np.newaxis]
        window = own - WINDOW + np.arange(WINDOW)
        known_at = today["available_at"].to_physical().to_numpy()[:, np.newaxis]
        names = {name: place for place, name in enumerate(today["underlying"].unique())}
        underlying = _places(today, names)[:, np.newaxis]
        by_basis = {}
        for basis in (SNAPSHOT, DAY_FILE):
            series, available_at = _by_session(history.filter(basis=basis), names, axis)
            by_basis[basis] = {name: series[name][underlying, window] for name in series}
            too_late = available_at[underlying, window] > known_at
            for values in by_basis[basis].values():
                values[too_late] = np.nan
        captured, filed = (
            iv_rank.known(by_basis[basis][IV][:, LEAD:]) for basis in (SNAPSHOT, DAY_FILE)
        )
        # Below half a year the longer one; of two as long, the one that reaches back further.
        is_enough = (captured >= MINIMUM_SESSIONS) | (captured > filed)
        with_captures = (today["basis"] == SNAPSHOT).to_numpy() & is_enough
        for name, values in by_basis[DAY_FILE].items():
            values[with_captures] = by_basis[SNAPSHOT][name][with_captures]
        return cls(
            values=by_basis[DAY_FILE],
            bases=[SNAPSHOT if captures else DAY_FILE for captures in with_captures],
            dates=axis[window],
            spans=iv_rank.sessions_in(axis)[np.column_stack([window, own])],
        )


def _sessions_around(days: pl.Series) -> NDArray[np.datetime64]:
    """Every session from the first that ``days`` look at to the last of them."""
    wanted = sorted(days.unique()) or [trading_calendar.first_session()]
    before = history_sessions(wanted[0])
    sessions = [*before, *trading_calendar.sessions_between(wanted[0], wanted[-1])]
    axis = np.array(sessions, dtype="datetime64[D]")
    # Where the calendar begins, days that never were stand for what lies before it.
    never = axis[0] - 100 * np.arange(WINDOW - len(before), 0, -1)
    return np.concatenate([never, axis])


def _by_session(
    rows: pl.DataFrame, names: dict[str, int], axis: NDArray[np.datetime64]
) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """Values, and since when each was known, as arrays of shape (underlyings, sessions)."""
    rows = rows.filter(
        pl.col("underlying").is_in(list(names))
        & pl.col("trade_date").is_between(axis[0].item(), axis[-1].item())
    )
    at = _places(rows, names), np.searchsorted(axis, rows["trade_date"].to_numpy())
    shape = (len(names), len(axis))
    series = {name: np.full(shape, np.nan) for name in (IV, SKEW)}
    for name, values in series.items():
        values[at] = _floats(rows[name])
    available_at = np.zeros(shape, np.int64)
    available_at[at] = rows["available_at"].to_physical().to_numpy()
    return series, available_at


def _places(rows: pl.DataFrame, names: dict[str, int]) -> NDArray[np.int64]:
    return np.array([names[name] for name in rows["underlying"]], np.int64)


def _floats(values: pl.Series) -> Floats:
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _with_events(rows: pl.DataFrame, events: pl.DataFrame | None) -> pl.DataFrame:
    if events is None:
        return rows.with_columns(
            event_ahead=pl.lit(None, pl.Boolean), event_note=pl.lit("no calendar known")
        )
    key = ["trade_date", "basis", "underlying"]
    wanted = events.select(*key, "event_ahead", "event_note")
    return rows.join(wanted, on=key, how="left", maintain_order="left")


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with labels, flags, advice, and the reason of every null."""
    recent, ramp = pl.col("_against_recent"), pl.col("ramp")
    return rows.with_columns(
        regime=iv_rank.regime_label(pl.col("iv_percentile")),
        trend=iv_rank.trend_label(pl.col("change_20d")),
        is_crush=iv_rank.is_crush(recent),
        is_spike=iv_rank.is_spike(recent),
        is_ramp=iv_rank.is_ramp(ramp),
        recommendation=pl.when(iv_rank.is_ramp(ramp)).then(pl.lit(iv_rank.WAIT_FOR_IV_DROP)),
        reason=_reason(),
    ).drop("^_.*$", "missing", "event_note")


def _reason() -> pl.Expr:
    """Why figures are null, in words; null where all are there."""
    iv_known = pl.col(IV).is_not_null()
    enough = pl.col("history_sessions") >= MINIMUM_SESSIONS

    def missing(name: str) -> pl.Expr:
        return iv_known & pl.col(name).is_null()

    def said(condition: pl.Expr, words: pl.Expr | str) -> pl.Expr:
        return pl.when(condition).then(pl.lit(words) if isinstance(words, str) else words)

    def back(column: str) -> pl.Expr:
        in_calendar = pl.col(column) >= trading_calendar.first_session()
        return (
            pl.when(in_calendar).then(pl.format("on {}", column)).otherwise(pl.lit("so long ago"))
        )

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
        said(missing("change_5d"), pl.format("change_5d: no value {}", back("_five_ago"))),
        said(missing("change_20d"), pl.format("change_20d: no value {}", back("_twenty_ago"))),
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
