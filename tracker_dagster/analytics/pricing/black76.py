"""Black's 1976 model: European options on a forward or future, discounted at the rate.

Black-Scholes-Merton with the rate in place of the dividend yield, but for rho: here the forward
stays where it is when the rate moves. (F. Black, The pricing of commodity contracts, Journal of
Financial Economics 3, 1976; Hull, Options, Futures, and Other Derivatives, 7th ed., 16.8.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tracker_dagster.analytics.pricing import european
from tracker_dagster.analytics.pricing.arguments import (
    Greeks,
    ImpliedVolatility,
    chosen_backend,
    flatten,
)


def black76_price(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    volatility: ArrayLike,
    is_call: ArrayLike,
    *,
    backend: str | None = None,
) -> np.ndarray:
    """Values in US dollars; arguments broadcast, NaN where they make no sense.

    Args:
        forward: price for delivery at expiry, US dollars.
        strike: of the contract.
        years: to expiry.
        rate: risk-free.
        volatility: of the forward.
        is_call: True for calls.
        backend: ``numba`` or ``numpy``; None takes numba where it can be imported.

    Raises:
        ValueError: shapes that do not broadcast, or no such backend.
    """
    values, contracts = flatten(volatility, forward, strike, years, rate, rate, is_call)
    return european.price(contracts, values, chosen_backend(backend)).reshape(contracts.shape)


def black76_greeks(
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    volatility: ArrayLike,
    is_call: ArrayLike,
    *,
    backend: str | None = None,
) -> Greeks:
    """Greeks: delta and gamma per dollar of the forward, theta and rho with the forward held.

    Arguments and errors as of `black76_price`.
    """
    values, contracts = flatten(volatility, forward, strike, years, rate, rate, is_call)
    chosen = chosen_backend(backend)
    greeks = european.greeks(contracts, values, chosen)
    price = european.price(contracts, values, chosen)
    rho = np.where(np.isnan(greeks.rho), np.nan, -contracts.years * price)
    return greeks._replace(rho=rho).reshaped(contracts.shape)


def black76_implied_volatility(
    price: ArrayLike,
    forward: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    is_call: ArrayLike,
    *,
    backend: str | None = None,
) -> ImpliedVolatility:
    """The volatility at which each contract is worth ``price`` (US dollars), and a status.

    Other arguments and errors as of `black76_price`.
    """
    prices, contracts = flatten(price, forward, strike, years, rate, rate, is_call)
    return european.implied_volatility(contracts, prices, chosen_backend(backend)).reshaped(
        contracts.shape
    )
