"""What callers pass, made into flat arrays of one length, and what is wrong with each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike

from tracker_dagster.analytics.pricing.dividends import CashDividends, Escrow
from tracker_dagster.analytics.pricing.status import Status

Backend = Literal["numba", "numpy"]


class Greeks(NamedTuple):
    """Sensitivities, arrays of one shape; NaN where there are none.

    Attributes:
        delta: dollars per dollar of spot.
        gamma: delta per dollar of spot.
        theta: dollars per calendar day.
        vega: dollars per 1.00 of volatility.
        rho: dollars per 1.00 of rate.
    """

    delta: np.ndarray
    gamma: np.ndarray
    theta: np.ndarray
    vega: np.ndarray
    rho: np.ndarray

    def reshaped(self, shape: tuple[int, ...]) -> Greeks:
        """The same with arrays of ``shape``."""
        return Greeks(*(values.reshape(shape) for values in self))


class ImpliedVolatility(NamedTuple):
    """Volatilities and why the missing ones are, arrays of one shape.

    Attributes:
        volatility: annual, as a decimal; NaN where ``status`` is not OK.
        status: int8 codes of `Status`.
    """

    volatility: np.ndarray
    status: np.ndarray

    def reshaped(self, shape: tuple[int, ...]) -> ImpliedVolatility:
        """The same with arrays of ``shape``."""
        return ImpliedVolatility(self.volatility.reshape(shape), self.status.reshape(shape))


@dataclass(frozen=True, slots=True)
class Contracts:
    """Contracts as flat, contiguous arrays of one length: float64, ``is_call`` bool.

    ``cash_dividends`` is aligned with them (`CashDividends.aligned`); ``shape`` is what the
    caller's arguments broadcast to.
    """

    spot: np.ndarray
    strike: np.ndarray
    years: np.ndarray
    rate: np.ndarray
    dividend_yield: np.ndarray
    is_call: np.ndarray
    cash_dividends: CashDividends | None
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.spot)


def flatten(
    observed: ArrayLike,
    spot: ArrayLike,
    strike: ArrayLike,
    years: ArrayLike,
    rate: ArrayLike,
    dividend_yield: ArrayLike,
    is_call: ArrayLike,
    cash_dividends: CashDividends | None = None,
) -> tuple[np.ndarray, Contracts]:
    """``observed`` (prices or volatilities) and the contracts, broadcast together and flat.

    Raises:
        ValueError: the shapes do not broadcast.
    """
    numbers = [
        np.asarray(argument, dtype=np.float64)
        for argument in (observed, spot, strike, years, rate, dividend_yield)
    ]
    flags = np.asarray(is_call, dtype=np.bool_)
    shape = np.broadcast_shapes(*(array.shape for array in numbers), flags.shape)
    flat = [_flat(array, shape) for array in numbers]
    return flat[0], Contracts(
        spot=flat[1],
        strike=flat[2],
        years=flat[3],
        rate=flat[4],
        dividend_yield=flat[5],
        is_call=_flat(flags, shape),
        cash_dividends=None if cash_dividends is None else cash_dividends.aligned(shape),
        shape=shape,
    )


def _flat(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape != shape:
        array = np.broadcast_to(array, shape)
    # Compiled code is made once, for arrays that may be written to: frames hand out others.
    return np.require(array, requirements=("C", "W")).reshape(-1)


def chosen_backend(backend: str | None) -> Backend:
    """``backend``, or numba where it can be imported and numpy where not.

    Raises:
        ValueError: there is no such backend.
    """
    if backend is None:
        return _default_backend()
    if backend not in ("numba", "numpy"):
        raise ValueError(f"backend {backend!r} is neither 'numba' nor 'numpy'")
    return cast(Backend, backend)


def _default_backend() -> Backend:
    try:
        import numba
    except ImportError:
        return "numpy"
    # Not compiled, a kernel takes a thousand times as long as the numpy path.
    return "numpy" if getattr(numba.config, "DISABLE_JIT", False) else "numba"


def screened(
    price: np.ndarray, contracts: Contracts, set_aside: Escrow | None = None
) -> np.ndarray:
    """Codes of `Status` for rows that no model can invert, OK for the others.

    The first of these that applies: no price, no spot, no strike, no rate, no dividends, bad
    input, expired. A price of zero is a price; a spot or a strike of zero is none.

    Args:
        price: shape (n,), US dollars.
        contracts: n contracts.
        set_aside: of their spots, for cash dividends.

    Returns:
        Shape (n,), int8.
    """
    spot, dividends = contracts.spot, contracts.dividend_yield
    if set_aside is not None:
        spot, dividends = np.maximum(spot - set_aside.value, 0.0), dividends + set_aside.value
    status = np.full(len(contracts), Status.OK, np.int8)
    status[contracts.years <= 0.0] = Status.EXPIRED
    # From the weakest reason to the strongest: a later one overwrites.
    positive = (price, contracts.spot, contracts.strike)
    nonsense = ~np.isfinite(contracts.years) | np.isinf(contracts.rate) | np.isinf(dividends)
    for values in positive:
        nonsense |= (values < 0.0) | np.isinf(values)
    status[nonsense] = Status.BAD_INPUT
    status[np.isnan(dividends)] = Status.NO_DIVIDENDS
    status[np.isnan(contracts.rate)] = Status.NO_RATE
    status[np.isnan(contracts.strike) | (contracts.strike == 0.0)] = Status.NO_STRIKE
    status[np.isnan(contracts.spot) | ((spot == 0.0) & (contracts.spot >= 0.0))] = Status.NO_SPOT
    status[np.isnan(price)] = Status.NO_PRICE
    return status
