"""Calls exercised at one ex-date or at expiry: the formula of Roll, Geske and Whaley.

R. Roll (1977), R. Geske (1979) and R. Whaley (1981), all Journal of Financial Economics; with a
yield as well, and written as what exercise adds to the European call. Strike one, time to expiry
one. Just before the ex-date exercise yields more than it gives up by

    gain(x) = amount - (1 - exp(-rate later)) + x (1 - exp(-dividend later)) - put(x),

where ``x`` is the spot net of dividends, ``later`` the time that is then left, and ``put`` the
European put that is given up. The premium is the value of the gain where it is positive: above
``lowest``, and with a negative yield below ``highest``.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri, owens_t

#: Deviations above the forward where a put is worth nothing.
FARTHEST = 9.0
#: Newton's steps to a zero of the gain.
ZERO_STEPS = 6
#: Least share of the time that is left after the ex-date.
SHORTEST = 1e-9
_SQRT_2PI = np.sqrt(2.0 * np.pi)


def _density(x: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * x * x) / _SQRT_2PI


def bivariate_normal(h: np.ndarray, k: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """The chance that two standard normal numbers are below ``h`` and ``k``.

    By D. Owen, Tables for computing bivariate normal probabilities, Annals of Mathematical
    Statistics 1956, (2.1).
    """
    h, k = np.where(h == 0.0, 1e-300, h), np.where(k == 0.0, 1e-300, k)
    root = np.sqrt((1.0 - correlation) * (1.0 + correlation))
    apart = np.where((h > 0.0) == (k > 0.0), 0.0, 0.5)
    return (
        0.5 * (ndtr(h) + ndtr(k))
        - owens_t(h, (k / h - correlation) / root)
        - owens_t(k, (h / k - correlation) / root)
        - apart
    )


class _Call:
    """Calls with one ex-date at ``time``; arrays of shape (n,)."""

    def __init__(
        self,
        rate: np.ndarray,
        dividend: np.ndarray,
        deviation: np.ndarray,
        time: np.ndarray,
        amount: np.ndarray,
    ) -> None:
        self.rate, self.dividend, self.deviation, self.amount = rate, dividend, deviation, amount
        self.time = np.minimum(time, 1.0 - SHORTEST)
        self.later = 1.0 - self.time
        self.spread = deviation * np.sqrt(self.later)
        self.excess = amount + np.expm1(-rate * self.later)
        self.kept = -np.expm1(-dividend * self.later)

    def at(self, rows: np.ndarray) -> _Call:
        """Some of the calls."""
        columns = (self.rate, self.dividend, self.deviation, self.time, self.amount)
        return _Call(*(column[rows] for column in columns))

    def sides(self, log_spot: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What is gained and given up just before the ex-date, and how both change.

        The derivatives are by the logarithm of the spot; that of what is given up has its sign
        changed.
        """
        carry = (self.rate - self.dividend) * self.later
        high = (log_spot + carry) / self.spread + 0.5 * self.spread
        spot = np.exp(log_spot)
        asset = spot * np.exp(-self.dividend * self.later) * ndtr(-high)
        put = np.exp(-self.rate * self.later) * ndtr(self.spread - high) - asset
        return self.excess + spot * self.kept, put, spot * self.kept, asset

    def lowest_zero(self, outside: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Where both are equal, between a logarithm without a gain and one with.

        Newton's steps to where the normal quantiles of the two are equal, within the bracket:
        the quantile of a put's value is nearly a straight line.
        """
        whole = np.exp(self.rate * self.later)
        point = outside
        for _ in range(ZERO_STEPS):
            gained, given_up, rise, fall = self.sides(point)
            short = gained < given_up
            outside, inside = np.where(short, point, outside), np.where(short, inside, point)
            with np.errstate(all="ignore"):
                low, high = ndtri(gained * whole), ndtri(given_up * whole)
                slope = whole * (fall / _density(high) + rise / _density(low))
                moved = point + (high - low) / slope
            bracketed = (moved >= outside) & (moved <= inside)
            point = np.where(bracketed, moved, 0.5 * (outside + inside))
        return point

    def highest_zero(self, outside: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Likewise above the largest gain, where Newton's steps in the spot approach it."""
        spot, least = np.exp(outside), np.exp(inside)
        for _ in range(ZERO_STEPS):
            gained, given_up, rise, fall = self.sides(np.log(spot))
            with np.errstate(all="ignore"):
                moved = spot - spot * (gained - given_up) / (rise + fall)
            spot = np.where(moved > least, np.minimum(moved, spot), spot)
        return np.log(spot)

    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms of spots between which the gain is positive; NaN where it is nowhere."""
        carry = (self.rate - self.dividend) * self.later
        # The gain is concave; with a negative yield it has a maximum.
        with np.errstate(all="ignore"):
            peak = np.minimum(ndtri(np.exp(np.minimum(self.dividend, 0.0) * self.later)), FARTHEST)
            fades = np.log(-self.excess / self.kept)
        best = self.spread * peak - carry - 0.5 * self.spread**2
        gained, given_up, _, _ = self.sides(best)
        nowhere = ~(gained > given_up)
        start = np.minimum(np.log(np.maximum(1.0 - self.amount, 1e-9)), best)
        lowest = self.lowest_zero(start, best)
        highest = np.full_like(best, np.inf)
        some = np.flatnonzero(~nowhere & (self.kept < 0.0))
        if some.size:
            highest[some] = self.at(some).highest_zero(fades[some], best[some])
        lowest[nowhere] = np.nan
        return lowest, highest

    def above(self, log_spot: np.ndarray, bound: np.ndarray) -> np.ndarray:
        """Value now of the gain where the spot will be above ``bound``, its slope and curvature.

        ``bound`` is the logarithm of a zero of the gain, on which the slope does not depend.
        """
        root = np.sqrt(self.time)
        carry, width = self.rate - self.dividend, self.deviation * root
        high = (log_spot - bound + carry * self.time) / width + 0.5 * width
        low = high - width
        put_high = -(log_spot + carry) / self.deviation - 0.5 * self.deviation
        put_low = put_high + self.deviation
        spot, now = np.exp(log_spot), np.exp(-self.dividend * self.time)
        asset, cash = np.exp(-self.dividend), np.exp(-self.rate)
        given_up = bivariate_normal(high, put_high, -root)
        slope = now * self.kept * ndtr(high) + asset * given_up
        value = (
            self.excess * np.exp(-self.rate * self.time) * ndtr(low)
            + spot * slope
            - cash * bivariate_normal(low, put_low, -root)
        )
        rest = np.sqrt(self.later)
        bend = now * self.kept * _density(high) / width
        bend += asset * _density(high) * ndtr((put_high + root * high) / rest) / width
        bend -= asset * _density(put_high) * ndtr((high + root * put_high) / rest) / self.deviation
        return np.stack([value, slope, bend / spot])


def ex_date_premiums(
    log_spot: np.ndarray,
    rate: np.ndarray,
    dividend: np.ndarray,
    deviation: np.ndarray,
    time: np.ndarray,
    amount: np.ndarray,
) -> np.ndarray:
    """Premiums of calls that are exercised just before one ex-date, if before expiry at all.

    Args:
        log_spot: logarithm of the spot less the dividends' present value, shape (n,).
        rate: over the life of the call, not negative.
        dividend: yield over the life of the call. That exercise at any other time would earn a
            positive one is left out.
        deviation: positive.
        time: of the ex-date, in (0, 1].
        amount: of the dividend and what later ones are worth then.

    Returns:
        The premium and its first two derivatives by the spot, shape (3, n).
    """
    call = _Call(rate, dividend, deviation, time, amount)
    lowest, highest = call.bounds()
    found = call.above(log_spot, lowest)
    limited = np.flatnonzero(np.isfinite(highest))
    if limited.size:
        found[:, limited] -= call.at(limited).above(log_spot[limited], highest[limited])
    return np.where(np.isnan(lowest), 0.0, found)
