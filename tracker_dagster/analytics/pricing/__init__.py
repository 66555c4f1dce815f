"""Values, Greeks and implied volatilities of European and American options, over arrays.

One convention of units everywhere:

=================  =================================================================
spot, strike       US dollars a share
years              ACT/365 from the valuation to the expiry instant (see `expiry`)
rate, yield        continuous, per year
volatility         annual, as a decimal (0.25)
delta, gamma       per dollar of spot
theta              dollars per calendar day
vega, rho          dollars per 1.00 of volatility, of rate
=================  =================================================================

Arguments broadcast; results have the broadcast shape. A row whose input is missing or makes no
sense gives NaN, and from `implied_volatility` a `Status`; nothing raises for a row.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from tracker_dagster.analytics.pricing.arguments import (
    Greeks,
    ImpliedVolatility,
    chosen_backend,
    flatten,
)
from tracker_dagster.analytics.pricing.black76 import (
    black76_greeks,
    black76_implied_volatility,
    black76_price,
)
from tracker_dagster.analytics.pricing.dividends import CashDividends
from tracker_dagster.analytics.pricing.status import Status, status_names

__all__ = [
    "CashDividends",
    "Greeks",
    "ImpliedVolatility",
    "Status",
    "black76_greeks",
    "black76_implied_volatility",
    "black76_price",
    "greeks",
    "implied_volatility",
    "implied_volatility_and_greeks",
    "price",
    "status_names",
]


def _model(style: str) -> ModuleType:
    if style not in ("european", "american"):
        raise ValueError(f"style {style!r} is neither 'european' nor 'american'")
    # On first use: most processes price nothing, and few both styles.
    return import_module(f"{__name__}.{style}")


def price(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    volatility: ArrayLike,
    is_call: ArrayLike,
    style: str = "european",
    *,
    cash_dividends: CashDividends | None = None,
    backend: str | None = None,
) -> np.ndarray:
    """Values in US dollars a share.

    Args:
        spot: of the underlying.
        strike: of the contract.
        years: to expiry.
        rate: risk-free.
        dividend_yield: of the underlying, or what the forward still carries after cash dividends.
        volatility: of the underlying.
        is_call: True for calls.
        style: ``european`` or ``american``, of every contract of the call.
        cash_dividends: dividends before expiry; the spot less their value is lognormal.
        backend: ``numba`` or ``numpy``; None takes numba where it can be imported.

    Raises:
        ValueError: shapes that do not broadcast, or no such style or backend.
    """
    model = _model(style)
    values, contracts = flatten(
        volatility, spot, strike, years, rate, dividend_yield, is_call, cash_dividends
    )
    result: np.ndarray = model.price(contracts, values, chosen_backend(backend))
    return result.reshape(contracts.shape)


def greeks(
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    volatility: ArrayLike,
    is_call: ArrayLike,
    style: str = "european",
    *,
    cash_dividends: CashDividends | None = None,
    backend: str | None = None,
) -> Greeks:
    """Delta, gamma, theta, vega and rho; arguments and errors as of `price`.

    Theta lets the ex-dates of cash dividends come nearer with the expiry; rho discounts them at
    the moved rate.
    """
    model = _model(style)
    values, contracts = flatten(
        volatility, spot, strike, years, rate, dividend_yield, is_call, cash_dividends
    )
    result: Greeks = model.greeks(contracts, values, chosen_backend(backend))
    return result.reshaped(contracts.shape)


def implied_volatility(
    price: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    is_call: ArrayLike,
    style: str = "european",
    *,
    cash_dividends: CashDividends | None = None,
    backend: str | None = None,
) -> ImpliedVolatility:
    """The volatility at which each contract is worth ``price`` (US dollars a share), and a status.

    Other arguments and errors as of the function `price`.
    """
    model = _model(style)
    prices, contracts = flatten(
        price, spot, strike, years, rate, dividend_yield, is_call, cash_dividends
    )
    result: ImpliedVolatility = model.implied_volatility(contracts, prices, chosen_backend(backend))
    return result.reshaped(contracts.shape)


def implied_volatility_and_greeks(
    price: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    is_call: ArrayLike,
    style: str = "european",
    *,
    cash_dividends: CashDividends | None = None,
    backend: str | None = None,
) -> tuple[ImpliedVolatility, Greeks]:
    """`implied_volatility`, and the `greeks` at that volatility, in one pass.

    Greeks are NaN where the status is not OK.
    """
    model = _model(style)
    prices, contracts = flatten(
        price, spot, strike, years, rate, dividend_yield, is_call, cash_dividends
    )
    implied, sensitivities = model.implied_volatility_and_greeks(
        contracts, prices, chosen_backend(backend)
    )
    return implied.reshaped(contracts.shape), sensitivities.reshaped(contracts.shape)
