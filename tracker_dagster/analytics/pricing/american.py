"""American options: the European value and the premium of early exercise, whole markets at once.

The premium is that of a put on a strike of one; a call is such a put with spot and strike, rate
and yield exchanged (`american_scheme` describes the method, `american_puts` the exchange). Where
early exercise cannot pay, the numbers are those of `european`.

An implied volatility is the fixed point of ``v -> European volatility of (price - premium at v)``:
the premium moves little with the volatility, so that two or three secant steps do. They end where
this module's own `price` gives the price back.

Where exercise now is best (the price is what exercise pays), delta is one for a call and minus one
for a put; nothing else moves the value then, and the other Greeks are zero. Elsewhere theta is
what the Black-Scholes equation leaves for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tracker_dagster.analytics.pricing.american_implied import implied_deviation, judged
from tracker_dagster.analytics.pricing.american_puts import Models, Puts
from tracker_dagster.analytics.pricing.arguments import (
    Backend,
    Contracts,
    Greeks,
    ImpliedVolatility,
    screened,
)
from tracker_dagster.analytics.pricing.european_arrays import DAYS_PER_YEAR, Terms
from tracker_dagster.analytics.pricing.status import Status
from tracker_dagster.analytics.pricing.threads import run_sliced

#: Rows at a time: their temporaries stay in a core's cache.
SLICE_ROWS = 8192
#: Relative steps of difference quotients: of the deviation, and of the larger of rate and yield.
DEVIATION_STEP = 2.0**-18
RATE_STEP = 2.0**-18


def price(contracts: Contracts, volatility: np.ndarray, backend: Backend) -> np.ndarray:
    """Values in US dollars, shape (n,); NaN where the numbers make no sense."""
    out = np.empty(len(contracts))
    _run(_write_prices, contracts, Models.of(backend), volatility, out)
    return out


def greeks(contracts: Contracts, volatility: np.ndarray, backend: Backend) -> Greeks:
    """Greeks, arrays of shape (n,); NaN where there are none."""
    out = np.empty((5, len(contracts)))
    _run(_write_greeks, contracts, Models.of(backend), volatility, out)
    return Greeks(*out)


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
    count = len(contracts)
    volatility, status = np.empty(count), np.empty(count, np.int8)
    values = np.empty((5, count if with_greeks else 0))
    models = Models.of(backend)
    _run(_write_implied, contracts, models, price, with_greeks, volatility, status, values)
    refused = status == Status.BAD_INPUT
    if refused.any():
        reasons = screened(price, contracts)
        status[refused] = np.where(reasons == Status.OK, Status.BAD_INPUT, reasons)[refused]
    return ImpliedVolatility(volatility, status), Greeks(*values)


def _run(function: Callable[..., None], contracts: Contracts, *arguments: Any) -> None:
    """Call ``function`` over slices of the contracts."""
    terms = Terms(
        contracts.spot,
        contracts.strike,
        contracts.years,
        contracts.rate,
        contracts.dividend_yield,
        contracts.is_call,
    )
    run_sliced(function, len(contracts), terms, *arguments, largest=SLICE_ROWS)


def _write_prices(
    start: int, stop: int, terms: Terms, models: Models, volatility: np.ndarray, out: np.ndarray
) -> None:
    rows = slice(start, stop)
    terms, volatility = Terms(*(column[rows] for column in terms)), volatility[rows]
    puts = Puts.of(terms)
    value = models.european_values(terms, volatility)
    premiums = models.premiums(puts, volatility * np.sqrt(np.maximum(terms.years, 0.0)))
    intrinsic = np.abs(terms.spot - terms.strike)
    out[rows] = np.where(premiums.exercised, intrinsic, value + puts.unit * premiums.value)
    out[rows][np.isnan(value)] = np.nan


def _write_greeks(
    start: int, stop: int, terms: Terms, models: Models, volatility: np.ndarray, out: np.ndarray
) -> None:
    rows = slice(start, stop)
    terms, volatility = Terms(*(column[rows] for column in terms)), volatility[rows]
    out[:, rows] = _greeks(models, terms, Puts.of(terms), volatility)


def _greeks(models: Models, terms: Terms, puts: Puts, volatility: np.ndarray) -> np.ndarray:
    """Greeks in their order, shape (5, n)."""
    values = models.european_greeks(terms, volatility)
    rows = np.flatnonzero(puts.may_be_exercised & ~np.isnan(values[0]))
    if not rows.size:
        return values
    spot, _, years, rate, dividend_yield, is_call = (column[rows] for column in terms)
    puts, volatility = puts.at(rows), volatility[rows]
    deviation = volatility * np.sqrt(years)
    rate_step = RATE_STEP * np.maximum(np.abs(puts.rate), np.abs(puts.dividend))
    at_other_rate = puts._replace(
        rate=puts.rate + np.where(is_call, 0.0, rate_step),
        dividend=puts.dividend + np.where(is_call, rate_step, 0.0),
    )
    premiums = models.premiums(
        Puts(*map(np.concatenate, zip(puts, puts, at_other_rate, strict=True))),
        np.concatenate([deviation, deviation * (1.0 + DEVIATION_STEP), deviation]),
    )
    value, at_other_deviation, at_other_rate_value = premiums.value.reshape(3, -1)
    slope, curvature = premiums.slope[: len(rows)], premiums.curvature[: len(rows)]
    exercised = premiums.exercised[: len(rows)]
    ratio = np.exp(puts.log_spot)
    delta = np.where(is_call, value - ratio * slope, slope)
    gamma = np.where(is_call, ratio * ratio, 1.0) * curvature / puts.unit
    theta = (
        rate * puts.unit * value
        - (rate - dividend_yield) * spot * delta
        - 0.5 * volatility * volatility * spot * spot * gamma
    )
    vega = puts.unit * (at_other_deviation - value) / (volatility * DEVIATION_STEP)
    rho = puts.unit * years * (at_other_rate_value - value) / rate_step
    added = np.stack([delta, gamma, theta / DAYS_PER_YEAR, vega, rho])
    added[:, exercised] = 0.0
    values[:, rows] += added
    now = rows[exercised]
    values[:, now] = 0.0
    values[0, now] = np.where(terms.is_call[now], 1.0, -1.0)
    return values


def _write_implied(
    start: int,
    stop: int,
    terms: Terms,
    models: Models,
    price: np.ndarray,
    with_greeks: bool,
    volatility: np.ndarray,
    status: np.ndarray,
    greeks: np.ndarray,
) -> None:
    rows = slice(start, stop)
    terms, price = Terms(*(column[rows] for column in terms)), price[rows]
    puts = Puts.of(terms)
    found, codes = models.european_volatilities(terms, price)
    early = np.flatnonzero(puts.may_be_exercised & (codes != Status.BAD_INPUT))
    if early.size:
        some = puts.at(early)
        value, root = price[early] / some.unit, np.sqrt(terms.years[early])
        of_early = judged(some, value)
        sound = np.flatnonzero(of_early == Status.OK)
        deviation = np.full(len(early), np.nan)
        deviation[sound] = implied_deviation(
            models, some.at(sound), value[sound], (found[early] * root)[sound]
        )
        of_early[sound[np.isnan(deviation[sound])]] = Status.NO_CONVERGENCE
        found[early], codes[early] = deviation / root, of_early
    volatility[rows], status[rows] = found, codes
    if with_greeks:
        greeks[:, rows] = _greeks(models, terms, puts, found)
