"""Volatility at a fixed term: between expiries, in total variance, and never beyond them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

DAYS_A_YEAR = 365.0
#: An expiry this near a term stands for it where there is none on its other side: a term is whole
#: days, and an expiry seven days from now is a few hours more or less than that.
NEAR_ENOUGH_DAYS = 0.5
#: Slopes within this are called flat: two thirds of a volatility point at 30 %, which is what the
#: noise of quotes makes of a level line.
FLAT_WITHIN = 0.02


class AtTerm(NamedTuple):
    """A volatility, or why there is none."""

    volatility: float | None
    reason: str | None = None


def constant_maturity(years: ArrayLike, volatility: ArrayLike, days: float) -> AtTerm:
    """The volatility of a term of ``days`` calendar days.

    Total variance is linear in time between the two expiries around the term, as in the Cboe's
    VIX methodology: variance of disjoint spans adds up.

    Args:
        years: terms of the expiries, any order, ``(n,)``.
        volatility: at each; NaN where there is none.
        days: the term asked for.

    Returns:
        The volatility; none, with the reason, where the term lies before the first expiry or after
        the last.
    """
    terms = np.asarray(years, dtype=np.float64) * DAYS_A_YEAR
    values = np.asarray(volatility, dtype=np.float64)
    known = np.isfinite(terms) & np.isfinite(values)
    if not known.any():
        return AtTerm(None, "no expiry has one")
    order = np.argsort(terms[known], kind="stable")
    terms, values = terms[known][order], values[known][order]
    for end, side in ((0, "first"), (-1, "last")):
        beyond = days < terms[0] if end == 0 else days > terms[-1]
        if beyond:
            if abs(terms[end] - days) <= NEAR_ENOUGH_DAYS:
                return AtTerm(float(values[end]))
            return AtTerm(None, f"the {side} expiry that has one is {terms[end]:.1f} days ahead")
    return AtTerm(math.sqrt(np.interp(days, terms, values**2 * terms) / days))


def term_label(slope: float | None) -> str | None:
    """What a slope (longer over shorter volatility, less one) is called.

    ``contango`` where volatility rises with the term, ``backwardation`` where it falls, ``flat``
    within `FLAT_WITHIN`.
    """
    if slope is None:
        return None
    if abs(slope) <= FLAT_WITHIN:
        return "flat"
    return "contango" if slope > 0 else "backwardation"
