"""Where a volatility lies in its own past: rank, percentile, z-score, change, ramp. Arrays only.

Histories are arrays whose last axis runs over the sessions of the exchange's calendar, oldest
first, and end with the session before the current one; a session without a value is NaN and is
never filled. What cannot be said is NaN.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

#: Sessions that a volatility is compared with: a year.
SESSIONS = 252
#: Fewest of them with a value from which a place in the distribution is given: half of them.
MINIMUM_SESSIONS = SESSIONS // 2
#: Days whose mean a ramp is measured against.
RAMP_DAYS = timedelta(days=30)
#: Sessions whose mean a crush or a spike is measured against.
RECENT_SESSIONS = 5
#: Sessions over which the trend is judged.
TREND_SESSIONS = 20

#: Change over `TREND_SESSIONS` beyond which volatility expands, or contracts.
TREND_CHANGE = 0.10
#: Change against the mean of `RECENT_SESSIONS` from which on it is a crush, or a spike.
CRUSH, SPIKE = -0.20, 0.30
#: Excess over the mean of `RAMP_DAYS` above which premium is not bought: wait for the fall.
RAMP = 0.30
EXPANDING, STABLE, CONTRACTING = "EXPANDING", "STABLE", "CONTRACTING"
WAIT_FOR_IV_DROP = "WAIT_FOR_IV_DROP"
#: Digits to which a change counts: 0.24 on 0.30 is a fall of 20 %, whatever binary fractions say.
_DIGITS = 12

#: Percentile below which each label stands, lowest first; the last has no upper end.
REGIMES = (
    (0.10, "EXTREMELY_LOW"),
    (0.30, "LOW"),
    (0.70, "NORMAL"),
    (0.85, "ELEVATED"),
    (0.95, "HIGH"),
    (np.inf, "EXTREMELY_HIGH"),
)


def known(values: ArrayLike) -> NDArray[np.int64]:
    """How many of the last axis have a value."""
    return np.count_nonzero(~np.isnan(np.asarray(values, float)), axis=-1)


def iv_rank(current: ArrayLike, history: ArrayLike, minimum: int = MINIMUM_SESSIONS) -> Floats:
    """Place between the lowest and the highest of the year, 0 to 1.

    ``(current - low) / (high - low)``, with the current value counted in the range: the rank of a
    new high is 1, that of a new low is 0 (tastytrade's and Interactive Brokers' usage).

    Args:
        current: shape (...); any unit.
        history: shape (..., sessions), the current value not among them.
        minimum: with fewer known sessions there is no rank.

    Returns:
        Shape (...); NaN also where the history is flat: it has no range to lie in.
    """
    now, past = _arrays(current, history)
    low, high = lowest(past), highest(past)
    width = high - low
    with np.errstate(invalid="ignore", divide="ignore"):
        # Counting the current value in the range is the same as cutting what lies outside it.
        rank = np.clip((now - low) / width, 0.0, 1.0)
    return np.where((known(past) >= minimum) & (width > 0), rank, np.nan)


def iv_percentile(
    current: ArrayLike, history: ArrayLike, minimum: int = MINIMUM_SESSIONS
) -> Floats:
    """Share of the known sessions that lie strictly below the current value, 0 to 1.

    Args:
        current: shape (...); any unit.
        history: shape (..., sessions), the current value not among them.
        minimum: with fewer known sessions there is no percentile.
    """
    now, past = _arrays(current, history)
    count = known(past)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.count_nonzero(past < now[..., np.newaxis], axis=-1) / count
    return np.where((count >= minimum) & ~np.isnan(now), share, np.nan)


def zscore(current: ArrayLike, history: ArrayLike, minimum: int = MINIMUM_SESSIONS) -> Floats:
    """Sample standard deviations between the current value and the mean of the history.

    Args:
        current: shape (...); any unit.
        history: shape (..., sessions), the current value not among them.
        minimum: with fewer known sessions there is no score.
    """
    now, past = _arrays(current, history)
    spread = deviation(past)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = (now - mean(past)) / spread
    return np.where((known(past) >= minimum) & (spread > 0), score, np.nan)


def lowest(history: ArrayLike) -> Floats:
    """Lowest known value of the last axis; NaN where none is known."""
    low: Floats = np.fmin.reduce(np.asarray(history, float), axis=-1, initial=np.nan)
    return low


def highest(history: ArrayLike) -> Floats:
    """Highest known value of the last axis; NaN where none is known."""
    high: Floats = np.fmax.reduce(np.asarray(history, float), axis=-1, initial=np.nan)
    return high


def mean(history: ArrayLike) -> Floats:
    """Mean of the known values of the last axis; NaN where none is known."""
    past = np.asarray(history, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        average: Floats = np.nansum(past, axis=-1) / known(past)
    return average


def median(history: ArrayLike) -> Floats:
    """Median of the known values of the last axis; NaN where none is known."""
    past = np.sort(np.asarray(history, float), axis=-1)
    count = known(past)
    if not past.shape[-1]:
        return np.full(past.shape[:-1], np.nan)
    # NaN sorts last, so the known ones are a prefix.
    lower, upper = (np.maximum(count - 1, 0) // 2, count // 2)
    take = [np.take_along_axis(past, np.expand_dims(np.minimum(k, past.shape[-1] - 1), -1), -1)
            for k in (lower, upper)]  # fmt: skip
    middle = np.squeeze((take[0] + take[1]) / 2, -1)
    return np.where(count > 0, middle, np.nan)


def deviation(history: ArrayLike) -> Floats:
    """Sample standard deviation of the known values of the last axis; NaN for fewer than two."""
    past = np.asarray(history, float)
    count = known(past)
    distance = past - mean(past)[..., np.newaxis]
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = np.nansum(distance**2, axis=-1) / (count - 1)
        spread: Floats = np.where(count > 1, np.sqrt(variance), np.nan)
    # Equal numbers differ from their computed mean by rounding; they do not vary.
    return np.where(lowest(past) == highest(past), 0.0 * spread, spread)


def recent_mean(history: ArrayLike, sessions: int = RECENT_SESSIONS) -> Floats:
    """Mean of the last ``sessions`` of the history; NaN unless half of them are known.

    Args:
        history: shape (..., at least ``sessions``).
        sessions: how many.
    """
    recent = np.asarray(history, float)[..., -sessions:]
    return np.where(2 * known(recent) >= sessions, mean(recent), np.nan)


def change(current: ArrayLike, past: ArrayLike) -> Floats:
    """Relative change from ``past`` to ``current``; 0.10 is a tenth more. Shapes broadcast."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(current, float) / np.asarray(past, float) - 1.0


def change_over(current: ArrayLike, history: ArrayLike, sessions: int) -> Floats:
    """Relative change over so many sessions; NaN where that very session has no value.

    Args:
        current: shape (...).
        history: shape (..., sessions); its last is one session ago.
        sessions: how far back.
    """
    past = np.asarray(history, float)
    if past.shape[-1] < sessions:
        return np.full(np.shape(current), np.nan)
    return change(current, past[..., -sessions])


def sessions_in(days: NDArray[np.datetime64], window: timedelta = RAMP_DAYS) -> NDArray[np.int64]:
    """How many of the sessions lie in the calendar days before each of them.

    Args:
        days: dates of the sessions, ascending, shape (sessions,).
        window: so many days; a session itself is not among those before it.
    """
    first = np.searchsorted(days, days - np.timedelta64(window.days, "D"))
    return np.arange(len(days)) - first


def ramps(values: ArrayLike, spans: ArrayLike) -> Floats:
    """Each session's value over the mean of so many sessions before it, less one; 0.3 is 30 % more.

    Args:
        values: shape (..., sessions), NaN where unknown.
        spans: for each session how many before it count (`sessions_in`), of the same shape or one
            that broadcasts to it; those before the first session given have no value.

    Returns:
        Shape (..., sessions); NaN where fewer than half of the sessions before are known.
    """
    series = np.asarray(values, float)
    span = np.broadcast_to(np.asarray(spans, np.int64), series.shape)
    start = np.maximum(np.arange(series.shape[-1]) - span, 0)
    zero = np.zeros((*series.shape[:-1], 1))

    def before(each: NDArray[np.generic]) -> Floats:
        """Sum over the sessions before each that count."""
        sums = np.concatenate([zero, np.cumsum(each, axis=-1)], axis=-1)
        total: Floats = sums[..., :-1] - np.take_along_axis(sums, start, -1)
        return total

    count = before(~np.isnan(series))
    with np.errstate(invalid="ignore", divide="ignore"):
        ramp = series / (before(np.nan_to_num(series)) / count) - 1.0
    return np.where((count > 0) & (2 * count >= span), ramp, np.nan)


def regime_label(percentile: pl.Expr) -> pl.Expr:
    """The name of the band of `REGIMES` that a percentile (0 to 1) lies in; null stays null."""
    label: pl.Expr = pl.lit(None, pl.String)
    for upper, name in reversed(REGIMES):
        label = pl.when(percentile < upper).then(pl.lit(name)).otherwise(label)
    return label


def trend_label(change: pl.Expr) -> pl.Expr:
    """What a relative change over `TREND_SESSIONS` is called; null stays null."""
    exact = change.round(_DIGITS)
    return (
        pl.when(exact > TREND_CHANGE)
        .then(pl.lit(EXPANDING))
        .when(exact < -TREND_CHANGE)
        .then(pl.lit(CONTRACTING))
        .when(exact.is_not_null())
        .then(pl.lit(STABLE))
    )


def is_crush(change: pl.Expr) -> pl.Expr:
    """Whether a change against the mean of `RECENT_SESSIONS` is a crush; null stays null."""
    return change.round(_DIGITS) <= CRUSH


def is_spike(change: pl.Expr) -> pl.Expr:
    """Whether a change against the mean of `RECENT_SESSIONS` is a spike; null stays null."""
    return change.round(_DIGITS) >= SPIKE


def is_ramp(ramp: pl.Expr) -> pl.Expr:
    """Whether an excess over the mean of `RAMP_DAYS` is a ramp; null stays null."""
    return ramp.round(_DIGITS) > RAMP


def _arrays(current: ArrayLike, history: ArrayLike) -> tuple[Floats, Floats]:
    now, past = np.asarray(current, float), np.asarray(history, float)
    if now.shape != past.shape[:-1]:
        raise ValueError(f"{past.shape[:-1]} histories for {now.shape} current values")
    return now, past
