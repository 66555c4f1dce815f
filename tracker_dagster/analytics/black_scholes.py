"""European option values and deltas under Black-Scholes-Merton, over arrays."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np

from tracker_dagster import trading_calendar

_YEAR_SECONDS = 365.0 * 24 * 3600


def years_to_expiry(moment: datetime, expiry: date) -> float:
    """Calendar years from ``moment`` to the closing bell on ``expiry``, never below zero."""
    end = trading_calendar.session_on(trading_calendar.session_or_previous(expiry)).close
    return max(0.0, (end - moment).total_seconds() / _YEAR_SECONDS)


def call_delta(
    spot: np.ndarray | float,
    strike: np.ndarray | float,
    years: np.ndarray | float,
    volatility: np.ndarray | float,
    rate: float = 0.0,
    dividend_yield: float = 0.0,
) -> np.ndarray:
    """Delta of a European call, dollars per dollar (Black-Scholes-Merton).

    Args:
        spot: price of the underlying.
        strike: strike price.
        years: time to expiry in years, above zero.
        volatility: per year, above zero.
        rate: continuously compounded, per year.
        dividend_yield: continuously compounded, per year.
    """
    # Imported here: it costs a quarter of a second, and most processes price nothing.
    from scipy.special import ndtr

    deviation = volatility * np.sqrt(years)
    forward = np.log(np.divide(spot, strike)) + (rate - dividend_yield) * np.asarray(years)
    return np.exp(-dividend_yield * np.asarray(years)) * ndtr(forward / deviation + 0.5 * deviation)
