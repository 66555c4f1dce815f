"""American options: the European value and the premium of early exercise, whole markets at once.

Without cash dividends a contract is a put on a strike of one (`american_puts`), whose premium is
an integral over the early exercise boundary (`american_scheme`); with dividends before expiry see
`american_payers`. Where early exercise cannot pay, the numbers are those of `european`.

An implied volatility is the fixed point of ``v -> European volatility of (price - premium at v)``:
the premium moves little with the volatility, so that two or three secant steps do. They end where
this module's own `price` gives the price back.

Against QuantLib's QdFp engine in its most precise scheme, over random books (rates -1 % to 8 %,
yields 0 to 8 %, a day to three years, volatilities 8 % to 120 %, strikes three deviations around),
half of the values are within 1e-9 of the spot and 99 % within 2e-6; with cash dividends, against
its finite differences, half within 1e-6 and 99 % within 5e-5. Vega and rho are difference
quotients, typically right to six digits; next to immediate exercise, where they vanish, to two.

Where exercise now is best (the price is what exercise pays), delta is one for a call and minus one
for a put; nothing else moves the value then, and the other Greeks are zero. Elsewhere theta is
what the Black-Scholes equation leaves for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tracker_dagster.analytics.pricing.american_implied import implied_deviation, judged
from tracker_dagster.analytics.pricing.american_payers import Payers
from tracker_dagster.analytics.pricing.american_premiums import Exercisable, Models
from tracker_dagster.analytics.pricing.american_puts import Puts
from tracker_dagster.analytics.pricing.arguments import (
    Backend,
    Contracts,
    Greeks,
    ImpliedVolatility,
    screened,
)
from tracker_dagster.analytics.pricing.dividends import CashDividends, Escrow, escrow
from tracker_dagster.analytics.pricing.european_arrays import DAYS_PER_YEAR, Terms
from tracker_dagster.analytics.pricing.status import Status
from tracker_dagster.analytics.pricing.threads import run_sliced

#: What the step in the rate is a share of at the least.
LEAST_RATE = 1e-3
#: Rows at a time: their temporaries stay in a core's cache.
SLICE_ROWS = 8192


def price(contracts: Contracts, volatility: np.ndarray, backend: Backend) -> np.ndarray:
    """Values in US dollars, shape (n,); NaN where the numbers make no sense."""
    out = np.empty(len(contracts))
    _run(_write_prices, contracts, _escrow(contracts), Models.of(backend), volatility, out)
    return out


def greeks(contracts: Contracts, volatility: np.ndarray, backend: Backend) -> Greeks:
    """Greeks, arrays of shape (n,); NaN where there are none."""
    out = np.empty((5, len(contracts)))
    _run(_write_greeks, contracts, _escrow(contracts), Models.of(backend), volatility, out)
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
    set_aside, models = _escrow(contracts), Models.of(backend)
    outputs = (volatility, status, values)
    _run(_write_implied, contracts, set_aside, models, price, with_greeks, *outputs)
    refused = status == Status.BAD_INPUT
    if refused.any():
        reasons = screened(price, contracts, set_aside)
        status[refused] = np.where(reasons == Status.OK, Status.BAD_INPUT, reasons)[refused]
    return ImpliedVolatility(volatility, status), Greeks(*values)


class _Part(NamedTuple):
    """Contracts that are computed alike.

    Attributes:
        rows: where they are among all, shape (n,).
        terms: of the contracts, on spots net of dividends.
        contracts: the same on strikes of one.
        worth: present value of the dividends, US dollars, shape (n,).
        worth_slope: its derivative by the rate, with its sign changed.
    """

    rows: np.ndarray
    terms: Terms
    contracts: Exercisable
    worth: np.ndarray
    worth_slope: np.ndarray

    @classmethod
    def plain(cls, terms: Terms, rows: np.ndarray | slice) -> _Part:
        """Contracts without dividends before expiry."""
        terms = Terms(*(column[rows] for column in terms))
        nothing = np.zeros(len(terms.spot))
        if isinstance(rows, slice):
            rows = np.arange(len(nothing))
        return cls(rows, terms, Puts.of(terms), nothing, nothing)

    @classmethod
    def paying(
        cls, terms: Terms, rows: np.ndarray, dividends: CashDividends, set_aside: Escrow
    ) -> _Part:
        """Contracts with dividends before expiry."""
        terms = Terms(*(column[rows] for column in terms))
        payers = Payers.of(terms, dividends, rows)
        # The grid takes contracts of one kind at a time.
        order = np.argsort(payers.kind(np.zeros(len(rows))), kind="stable")
        rows, terms = rows[order], Terms(*(column[order] for column in terms))
        return cls(rows, terms, payers.at(order), set_aside.value[rows], set_aside.slope[rows])

    def at(self, start: int, stop: int) -> _Part:
        """Some of the contracts."""
        some = slice(start, stop)
        return _Part(
            self.rows[some],
            Terms(*(column[some] for column in self.terms)),
            self.contracts.at(some),
            self.worth[some],
            self.worth_slope[some],
        )


def _parts(contracts: Contracts, set_aside: Escrow | None) -> list[_Part]:
    """The contracts without dividends before expiry, and those with."""
    terms = Terms(
        contracts.spot,
        contracts.strike,
        contracts.years,
        contracts.rate,
        contracts.dividend_yield,
        contracts.is_call,
    )
    if set_aside is None or contracts.cash_dividends is None:
        return [_Part.plain(terms, slice(None))]
    terms = terms._replace(spot=contracts.spot - set_aside.value)
    # A row whose dividends are unknown, or more than its spot, has no value of any kind.
    with np.errstate(invalid="ignore"):
        pays = (set_aside.value > 0.0) & (terms.spot > 0.0) & (terms.strike > 0.0)
    parts = []
    if not pays.all():
        parts.append(_Part.plain(terms, np.flatnonzero(~pays)))
    if pays.any():
        paying = np.flatnonzero(pays)
        parts.append(_Part.paying(terms, paying, contracts.cash_dividends, set_aside))
    return parts


def _escrow(contracts: Contracts) -> Escrow | None:
    if contracts.cash_dividends is None:
        return None
    return escrow(contracts.cash_dividends, contracts.years, contracts.rate)


def _run(
    function: Callable[..., None], contracts: Contracts, set_aside: Escrow | None, *arguments: Any
) -> None:
    """Call ``function`` over slices of the contracts."""
    for part in _parts(contracts, set_aside):
        run_sliced(
            function, len(part.rows), part, *arguments, smallest=SLICE_ROWS // 4, largest=SLICE_ROWS
        )


def _write_prices(
    start: int, stop: int, part: _Part, models: Models, volatility: np.ndarray, out: np.ndarray
) -> None:
    part = part.at(start, stop)
    terms, contracts, volatility = part.terms, part.contracts, volatility[part.rows]
    value = models.european_values(terms, volatility)
    premiums = contracts.premiums(models, volatility * np.sqrt(np.maximum(terms.years, 0.0)))
    value += contracts.unit * premiums.value
    exercise = terms.spot + part.worth - terms.strike
    value = np.where(premiums.exercised, np.abs(exercise), value)
    early = contracts.may_be_exercised
    value[early] = np.maximum(value, contracts.unit * contracts.least)[early]
    out[part.rows] = value


def _write_greeks(
    start: int, stop: int, part: _Part, models: Models, volatility: np.ndarray, out: np.ndarray
) -> None:
    part = part.at(start, stop)
    out[:, part.rows] = _greeks(models, part, volatility[part.rows])


def _write_implied(
    start: int,
    stop: int,
    part: _Part,
    models: Models,
    price: np.ndarray,
    with_greeks: bool,
    volatility: np.ndarray,
    status: np.ndarray,
    greeks: np.ndarray,
) -> None:
    part = part.at(start, stop)
    found, codes = _volatilities(models, part, price[part.rows])
    volatility[part.rows], status[part.rows] = found, codes
    if with_greeks:
        greeks[:, part.rows] = _greeks(models, part, found)


def _volatilities(models: Models, part: _Part, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Implied volatilities and codes of `Status`, shape (n,)."""
    found, codes = models.european_volatilities(part.terms, price)
    early = np.flatnonzero(part.contracts.may_be_exercised & (codes != Status.BAD_INPUT))
    if not early.size:
        return found, codes
    contracts, root = part.contracts.at(early), np.sqrt(part.terms.years[early])
    value = price[early] / contracts.unit
    of_early = judged(contracts, value)
    sound = np.flatnonzero(of_early == Status.OK)
    deviation = np.full(len(early), np.nan)
    deviation[sound] = implied_deviation(
        models, contracts.at(sound), value[sound], (found[early] * root)[sound]
    )
    of_early[sound[np.isnan(deviation[sound])]] = Status.NO_CONVERGENCE
    found[early], codes[early] = deviation / root, of_early
    return found, codes


def _greeks(models: Models, part: _Part, volatility: np.ndarray) -> np.ndarray:
    """Greeks in their order, shape (5, n)."""
    values = models.european_greeks(part.terms, volatility)
    rows = np.flatnonzero(part.contracts.may_be_exercised & ~np.isnan(values[0]))
    exercised = rows[:0]
    if rows.size:
        some = part.contracts.at(rows)
        terms = Terms(*(column[rows] for column in part.terms))
        added, now = _added_greeks(models, terms, some, volatility[rows])
        values[:, rows] += added
        exercised = rows[now]
    # Held fixed is the spot with its dividends, whose value grows with time and falls with rates.
    delta = values[0]
    values[2] -= delta * part.terms.rate * part.worth / DAYS_PER_YEAR
    values[4] += delta * part.worth_slope
    values[:, exercised] = 0.0
    values[0, exercised] = np.where(part.terms.is_call[exercised], 1.0, -1.0)
    return values


def _added_greeks(
    models: Models, terms: Terms, contracts: Exercisable, volatility: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What early exercise adds to the Greeks, shape (5, n), and where it is best now."""
    deviation = volatility * np.sqrt(terms.years)
    share = contracts.fineness(deviation)
    # Where nothing is earned on either side a share of it would be no step at all.
    rate_step = share * np.maximum(
        np.maximum(np.abs(contracts.rate), np.abs(contracts.dividend)), LEAST_RATE
    )
    premiums = contracts.premiums(models, deviation)
    value, unit = premiums.value, contracts.unit
    of_deviation = contracts.premiums(models, deviation * (1.0 + share)).value
    of_rate = contracts.at_rate(rate_step).premiums(models, deviation).value
    delta, gamma = contracts.in_contract(premiums)
    theta = (
        terms.rate * unit * value
        - (terms.rate - terms.dividend_yield) * terms.spot * delta
        - 0.5 * volatility**2 * terms.spot**2 * gamma
    )
    vega = unit * (of_deviation - value) / (volatility * share)
    rho = unit * terms.years * (of_rate - value) / rate_step
    added = np.stack([delta, gamma, theta / DAYS_PER_YEAR, vega, rho])
    return added, premiums.exercised
