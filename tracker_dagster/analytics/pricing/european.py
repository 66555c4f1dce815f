"""European options: dividends taken off the spot, then the kernels or the numpy path."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracker_dagster.analytics.pricing.arguments import (
    Backend,
    Contracts,
    Greeks,
    ImpliedVolatility,
    screened,
)
from tracker_dagster.analytics.pricing.dividends import Escrow, escrow
from tracker_dagster.analytics.pricing.european_arrays import DAYS_PER_YEAR, Terms
from tracker_dagster.analytics.pricing.status import Status
from tracker_dagster.analytics.pricing.threads import run_sliced

#: Rows at a time of the numpy path, whose temporaries then stay in a core's cache.
ARRAY_ROWS = 8192


def price(contracts: Contracts, volatility: np.ndarray, backend: Backend) -> np.ndarray:
    """Values in US dollars, shape (n,); NaN where the numbers make no sense."""
    terms, _ = _terms(contracts)
    values = np.empty(len(contracts))
    _run("write_prices", backend, terms, volatility, values)
    return values


def greeks(contracts: Contracts, volatility: np.ndarray, backend: Backend) -> Greeks:
    """Greeks, arrays of shape (n,); NaN where there are none."""
    terms, set_aside = _terms(contracts)
    values = np.empty((5, len(contracts)))
    _run("write_greeks", backend, terms, volatility, values)
    return _of_spot(Greeks(*values), set_aside, contracts)


def implied_volatility(
    contracts: Contracts, price: np.ndarray, backend: Backend
) -> ImpliedVolatility:
    """Volatilities and statuses, arrays of shape (n,)."""
    return _implied(contracts, price, backend, with_greeks=False)[0]


def implied_volatility_and_greeks(
    contracts: Contracts, price: np.ndarray, backend: Backend
) -> tuple[ImpliedVolatility, Greeks]:
    """`implied_volatility`, and the Greeks at it; NaN where the status is not OK."""
    return _implied(contracts, price, backend, with_greeks=True)


def _implied(
    contracts: Contracts, price: np.ndarray, backend: Backend, *, with_greeks: bool
) -> tuple[ImpliedVolatility, Greeks]:
    terms, set_aside = _terms(contracts)
    count = len(contracts)
    volatility, status = np.empty(count), np.empty(count, np.int8)
    values = np.empty((5, count if with_greeks else 0))
    _run("write_implied", backend, terms, price, with_greeks, volatility, status, values)
    refused = status == Status.BAD_INPUT
    if refused.any():
        reasons = screened(price, contracts, set_aside)
        status[refused] = np.where(reasons == Status.OK, Status.BAD_INPUT, reasons)[refused]
    sensitivities = Greeks(*values)
    if with_greeks:
        sensitivities = _of_spot(sensitivities, set_aside, contracts)
    return ImpliedVolatility(volatility, status), sensitivities


def _run(function: str, backend: Backend, *arguments: Any) -> None:
    """Call the twin named ``function`` over all rows; the first argument is `Terms`."""
    terms = arguments[0]
    if backend == "numpy":
        from tracker_dagster.analytics.pricing import european_arrays

        kernel = getattr(european_arrays, function)
        run_sliced(kernel, len(terms.spot), *arguments, largest=ARRAY_ROWS)
        return
    # Imported on first use: numba takes half a second.
    from tracker_dagster.analytics.pricing import european_kernels

    kernel = getattr(european_kernels, function)
    run_sliced(kernel, len(terms.spot), tuple(terms), *arguments[1:])


def _terms(contracts: Contracts) -> tuple[Terms, Escrow | None]:
    """The contracts on a spot net of dividends, and what was taken off."""
    set_aside, spot = None, contracts.spot
    if contracts.cash_dividends is not None:
        set_aside = escrow(contracts.cash_dividends, contracts.years, contracts.rate)
        spot = spot - set_aside.value
    terms = Terms(
        spot,
        contracts.strike,
        contracts.years,
        contracts.rate,
        contracts.dividend_yield,
        contracts.is_call,
    )
    return terms, set_aside


def _of_spot(of_net_spot: Greeks, set_aside: Escrow | None, contracts: Contracts) -> Greeks:
    """Greeks with the whole spot held, not what is left of it after dividends.

    As time passes the dividends' present value grows at the rate; as the rate rises it falls.
    """
    if set_aside is None:
        return of_net_spot
    delta = of_net_spot.delta
    return of_net_spot._replace(
        theta=of_net_spot.theta - delta * contracts.rate * set_aside.value / DAYS_PER_YEAR,
        rho=of_net_spot.rho + delta * set_aside.slope,
    )
