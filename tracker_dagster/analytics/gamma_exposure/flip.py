"""The gamma flip: a book's net gamma repriced over prices of the underlying, and where it is zero.

Repricing is European, on the forward (Black 1976), each contract with its own implied volatility;
volatilities (by strike) and time are held. The gamma of a contract on the forward F, discounted at
the rate r over T years, is ``exp(-rT) phi(d1) / (F s) (dF/dS)^2`` with s = volatility x sqrt(T)
and d1 = ln(F/K)/s + s/2. Cash dividends before expiry, worth D now, stay as they are when the
spot S moves: F is in proportion to S - D (escrowed dividends).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracker_dagster.analytics.gamma_exposure.contracts import counted_contracts, live_contracts

Floats = NDArray[np.float64]

#: The search goes on to three deviations of a month's move, within these relative limits.
_MONTH = 30 / 365
_DEVIATIONS = 3.0
_LEAST_REACH, _MOST_REACH = 0.15, 0.60
#: Searched in turn, as distances in log price with the step of the lattice. The innermost resolves
#: options that expire within minutes, whose gamma is a spike at their strike.
_WINDOWS = ((0.01, 1e-4), (0.04, 3e-4), (np.inf, 1.2e-3))
#: Net over gross gamma below which calls and puts cancel but for rounding.
_CANCELS = 1e-10
#: Contracts repriced at once: what they need at all prices stays in the cache.
_BLOCK = 256


@dataclass(frozen=True)
class Book:
    """The open contracts of one underlying as columns, in order of ``dividends``.

    Attributes:
        spot: price of the underlying now; NaN for an empty book.
        log_moneyness: ln(strike / forward).
        volatility: per year.
        deviation: volatility x sqrt(years).
        weight: shares x exp(-rate x years) (dF/dS)^2 / (sqrt(2 pi) forward x deviation): the
            gamma in shares per dollar at d1 = 0.
        sign: +1 where dealers are taken to be long, -1 where short.
        dividends: present value of the cash dividends before expiry, dollars a share.
    """

    spot: float
    log_moneyness: Floats
    volatility: Floats
    deviation: Floats
    weight: Floats
    sign: Floats
    dividends: Floats

    def blocks(self) -> Iterator[slice]:
        """Slices of at most `_BLOCK` contracts with the same dividends."""
        edges = np.flatnonzero(np.diff(self.dividends)) + 1
        for first, last in zip([0, *edges], [*edges, self.dividends.size], strict=True):
            for start in range(first, last, _BLOCK):
                yield slice(start, min(start + _BLOCK, last))


class GammaFlip(NamedTuple):
    """The price at which the net gamma changes sign, or why there is none."""

    level: float | None
    reason: str | None


def book_of(rows: pl.DataFrame) -> Book:
    """The book of one chain, signed naively: calls +1, puts -1.

    Args:
        rows: what `contracts.counted_contracts` returns, of one chain. A contract that lacks
            volatility, forward, rate or time is left out, as one that does not count is.
    """
    needed = ("implied_volatility", "forward", "rate", "years", "spot", "shares")
    rows = (
        rows.filter(pl.col("exclusion").is_null() & (pl.col("years") > 0))
        .drop_nulls(needed)
        # Dividends nobody knows of are part of the forward, and move with it.
        .with_columns(pl.col("dividends_value").fill_null(0.0))
        .filter(pl.col("dividends_value") < pl.col("spot"))
        .sort("dividends_value", maintain_order=True)
    )
    column = {
        name: rows[name].to_numpy().astype(np.float64) for name in (*needed, "dividends_value")
    }
    forward, dividends = column["forward"], column["dividends_value"]
    spot = float(column["spot"][0]) if rows.height else np.nan
    deviation = column["implied_volatility"] * np.sqrt(column["years"])
    discount = np.exp(-column["rate"] * column["years"])
    slope = forward / (spot - dividends)
    return Book(
        spot=spot,
        log_moneyness=np.log(rows["strike"].to_numpy() / forward),
        volatility=column["implied_volatility"],
        deviation=deviation,
        weight=column["shares"] * discount * slope**2 / (sqrt(2 * pi) * forward * deviation),
        sign=np.where(rows["right"].to_numpy() == "C", 1.0, -1.0),
        dividends=dividends,
    )


def chain_book(contracts: pl.DataFrame) -> Book:
    """The book of one chain, from its rows of option_greeks on the basis ``snapshot``."""
    return book_of(counted_contracts(live_contracts(contracts)))


def _net_and_gross(book: Book, spots: Floats) -> Floats:
    """Net and gross gamma at each of ``spots``, dollars per 1 %: shape (2, spots)."""
    total = np.zeros((2, spots.size))
    for block in book.blocks():
        paid = book.dividends[block.start]
        # A price below the dividends to be paid out of it is none that can be.
        ratio = np.maximum(spots - paid, 1e-9 * book.spot) / (book.spot - paid)
        deviation = book.deviation[block, None]
        exponent = (np.log(ratio) - book.log_moneyness[block, None]) / deviation
        exponent += 0.5 * deviation
        exponent *= exponent
        exponent *= -0.5
        np.exp(exponent, out=exponent)
        weight = book.weight[block]
        total += np.stack([weight * book.sign[block], weight]) @ exponent / ratio
    return np.asarray(total * spots**2 * 0.01)


def net_gamma(book: Book, spots: Floats | float) -> Floats:
    """Naive net gamma of the book at each price of the underlying, dollars per 1 %.

    Args:
        book: n contracts.
        spots: prices of the underlying, any shape; m of them.

    Returns:
        The shape of ``spots``. Time grows with n m, memory with m alone.
    """
    prices = np.asarray(spots, dtype=np.float64)
    return np.asarray(_net_and_gross(book, prices.ravel())[0].reshape(prices.shape))


def gamma_profile(book: Book, points: int = 201) -> pl.DataFrame:
    """The net gamma over prices of the underlying, as far as a flip is searched.

    Returns:
        ``spot`` and ``net_gamma_naive_usd_per_1pct``, ascending; no rows for an empty book.
    """
    schema = {"spot": pl.Float64(), "net_gamma_naive_usd_per_1pct": pl.Float64()}
    if not book.weight.size:
        return pl.DataFrame(schema=schema)
    reach = _reach(book)
    spots = book.spot * np.exp(np.linspace(-reach, reach, points))
    return pl.DataFrame([spots, net_gamma(book, spots)], schema=schema)


def gamma_flip(book: Book) -> GammaFlip:
    """The price nearest to spot, by ratio, at which the book's net gamma changes sign.

    Prices are searched on a lattice that does not move with the spot, so that a small move finds
    the same flip; the sign change is then solved for to double precision (Brent 1973).
    """
    if not book.weight.size:
        return GammaFlip(None, "no contract can be repriced")
    centre, reach = log(book.spot), _reach(book)
    logs, nets = np.empty(0), np.empty(0)
    for distance, step in _WINDOWS:
        edge = min(distance, reach)
        lattice = step * np.arange(
            np.ceil((centre - edge) / step), np.floor((centre + edge) / step) + 1
        )
        if logs.size:
            lattice = lattice[(lattice < logs[0]) | (lattice > logs[-1])]
        net, gross = _net_and_gross(book, np.exp(lattice))
        net = np.where(np.abs(net) > _CANCELS * gross, net, 0.0)
        order = np.argsort(np.concatenate([logs, lattice]))
        logs, nets = (
            np.concatenate([known, new])[order] for known, new in ((logs, lattice), (nets, net))
        )
        level = _nearest_zero(book, logs, nets, centre)
        if level is not None:
            return GammaFlip(level, None)
        if edge == reach:
            break
    if not nets.any():
        return GammaFlip(None, "calls and puts cancel at every price")
    sign = "positive" if nets.max() > 0 else "negative"
    low, high = np.exp(-reach) - 1, np.exp(reach) - 1
    return GammaFlip(None, f"no sign change: {sign} from {low:+.0%} to {high:+.0%}")


def _reach(book: Book) -> float:
    """How far in log price a flip is searched: three deviations of a month's move, within limits.

    The volatility is the mean of the contracts' own, weighted by their gamma at the spot.
    """
    d1 = 0.5 * book.deviation - book.log_moneyness / book.deviation
    gamma = book.weight * np.exp(-0.5 * d1**2)
    total = gamma.sum()
    typical = float(gamma @ book.volatility / total) if total > 0 else 0.0
    return min(max(_DEVIATIONS * typical * sqrt(_MONTH), _LEAST_REACH), _MOST_REACH)


def _nearest_zero(book: Book, logs: Floats, nets: Floats, centre: float) -> float | None:
    """The zero nearest to ``centre`` among those that neighbours on the lattice enclose."""
    # Imported here: it costs a quarter of a second, and most processes look for no flip.
    from scipy.optimize import brentq

    some = nets != 0
    logs, nets = logs[some], nets[some]
    changes = np.flatnonzero(np.sign(nets[1:]) != np.sign(nets[:-1]))
    if not changes.size:
        return None
    # The nearest zero lies in the last change below the spot, around it, or in the first above.
    around = int(np.searchsorted(logs[changes], centre))
    candidates = changes[max(0, around - 2) : around + 1]

    def net(at: float) -> float:
        return float(net_gamma(book, np.exp(at)))

    zeros = [brentq(net, logs[n], logs[n + 1], xtol=1e-14, rtol=1e-15) for n in candidates]
    return float(np.exp(min(zeros, key=lambda zero: abs(zero - centre))))
