"""Volatility that prices have shown: estimators from closes, ranges and five-minute returns.

Arrays whose last axis runs over sessions, oldest first; the result is an annual decimal (0.25 is
25 %) of the shape that is left, from 252 sessions a year. A missing number anywhere in a window
leaves NaN: nothing is skipped or filled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracker_dagster.analytics.returns import SESSIONS_PER_YEAR

Floats = NDArray[np.float64]


def close_to_close(returns: ArrayLike) -> Floats:
    """Sample standard deviation of daily log returns (Hull, Options, Futures, chapter 15).

    Args:
        returns: shape (..., sessions), dividends and splits accounted for.
    """
    return _annual(_variance(np.asarray(returns, float)))


def parkinson(high: ArrayLike, low: ArrayLike) -> Floats:
    """From daily ranges; what happens while the market is closed is not in it.

    Parkinson (1980), The Extreme Value Method for Estimating the Variance of the Rate of Return,
    Journal of Business 53, p. 61-65. Takes prices for a driftless walk seen at every instant: in
    fact ranges are seen at trades only, and the figure is low by a little.

    Args:
        high: shape (..., sessions), of the shares of the same day as ``low``.
        low: the same shape.
    """
    ranges = np.log(np.asarray(high, float) / np.asarray(low, float))
    return _annual(np.mean(ranges**2, axis=-1) / (4 * np.log(2)))


def garman_klass(open_: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike) -> Floats:
    """From daily ranges and the way from open to close; the night is not in it.

    Garman and Klass (1980), On the Estimation of Security Price Volatilities from Historical
    Data, Journal of Business 53, p. 67-78: their practical form, without the cross term.

    Args:
        open_: shape (..., sessions).
        high: the same shape.
        low: the same shape.
        close: the same shape.
    """
    ranges = np.log(np.asarray(high, float) / np.asarray(low, float))
    way = np.log(np.asarray(close, float) / np.asarray(open_, float))
    return _annual(np.mean(ranges**2 / 2 - (2 * np.log(2) - 1) * way**2, axis=-1))


def yang_zhang(
    overnight: ArrayLike, open_: ArrayLike, high: ArrayLike, low: ArrayLike, close: ArrayLike
) -> Floats:
    """From nights, ranges and ways from open to close; free of drift and of opening jumps.

    Yang and Zhang (2000), Drift-Independent Volatility Estimation Based on High, Low, Open, and
    Close Prices, Journal of Business 73, p. 477-491, with their k of least variance.

    Args:
        overnight: log return from the close of the session before to ``open_``, dividends and
            splits accounted for; shape (..., sessions), at least two of them.
        open_: the same shape.
        high: the same shape.
        low: the same shape.
        close: the same shape.
    """
    night = np.asarray(overnight, float)
    opened = np.log(np.asarray(open_, float))
    up, down, way = (np.log(np.asarray(price, float)) - opened for price in (high, low, close))
    sessions = night.shape[-1]
    rogers_satchell = np.mean(up * (up - way) + down * (down - way), axis=-1)
    k = 0.34 / (1.34 + (sessions + 1) / (sessions - 1))
    return _annual(_variance(night) + k * _variance(way) + (1 - k) * rogers_satchell)


def of_one_session(overnight: ArrayLike, returns: ArrayLike) -> Floats:
    """From the squares of a session's own returns and of the night before it.

    Andersen, Bollerslev, Diebold and Labys (2003), Modeling and Forecasting Realized Volatility,
    Econometrica 71, p. 579-625.

    Args:
        overnight: log return of the night before, shape (...).
        returns: log returns within the session, shape (..., intervals).
    """
    within = np.sum(np.asarray(returns, float) ** 2, axis=-1)
    return _annual(np.asarray(overnight, float) ** 2 + within)


def _variance(values: Floats) -> Floats:
    """Sample variance of the last axis; NaN for fewer than two."""
    if values.shape[-1] < 2:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(np.var(values, axis=-1, ddof=1))


def _annual(variance: ArrayLike) -> Floats:
    return np.sqrt(SESSIONS_PER_YEAR * np.asarray(variance, float))
