"""Elementary functions without branches or calls, from which loops become vector instructions.

The C library's exp and erfc are calls, and a loop with a call in it runs a number at a time.
Compiled into the loop these give four or eight results at once, each within a few units in the
last place.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from tracker_dagster.analytics.pricing.mills import DENOMINATOR, NUMERATOR, SQRT_2PI

# A product may be added without rounding in between. Nothing else is relaxed: NaN and infinity
# mean what they do elsewhere.
vectorised = numba.njit(
    nogil=True, cache=True, error_model="numpy", fastmath={"contract"}, forceinline=True
)

_PER_SQRT_2PI = 1.0 / SQRT_2PI
#: Adding it moves the integer next to a number into the lowest bits.
_SHIFT = 6755399441055744.0
_SHIFT_BITS = 0x4338000000000000
_FRACTION_BITS = 52
_LOG2_E = 1.0 / math.log(2.0)
# The logarithm of two in two parts: products of the first and small integers are exact.
_LOG_2_HIGH = 0.6931471803691238
_LOG_2_LOW = 1.9082149292705877e-10
_LOG_2 = math.log(2.0)
#: Below it the exponential would leave the normal numbers.
_LOWEST = -700.0
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


@vectorised
def exp(x: float) -> float:
    """The exponential; for ``x`` below -700 that of -700."""
    x = max(x, _LOWEST)
    shifted = x * _LOG2_E + _SHIFT
    whole = shifted - _SHIFT
    r = (x - whole * _LOG_2_HIGH) - whole * _LOG_2_LOW
    p = 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    exponent = np.int64(np.float64(shifted).view(np.int64) << _FRACTION_BITS)
    return np.int64(np.float64(p).view(np.int64) + exponent).view(np.float64)


@vectorised
def log(x: float) -> float:
    """The natural logarithm of a positive normal number; of anything else, nonsense."""
    bits = np.float64(x).view(np.int64)
    exponent = np.int64((bits - np.int64(_SQRT_HALF_BITS)) >> _FRACTION_BITS)
    fraction = np.int64(bits - (exponent << _FRACTION_BITS)).view(np.float64)
    whole = np.int64(exponent + np.int64(_SHIFT_BITS)).view(np.float64) - _SHIFT
    s = (fraction - 1.0) / (fraction + 1.0)
    z = s * s
    p = 1.0 / 21.0
    p = p * z + 1.0 / 19.0
    p = p * z + 1.0 / 17.0
    p = p * z + 1.0 / 15.0
    p = p * z + 1.0 / 13.0
    p = p * z + 1.0 / 11.0
    p = p * z + 1.0 / 9.0
    p = p * z + 1.0 / 7.0
    p = p * z + 1.0 / 5.0
    p = p * z + 1.0 / 3.0
    return whole * _LOG_2 + (2.0 * s + 2.0 * s * z * p)


@vectorised
def mills(u: float) -> float:
    """The normal tail over the normal density, for ``u`` not below zero."""
    top, bottom = NUMERATOR[10], DENOMINATOR[11]
    for n in range(9, -1, -1):
        top = top * u + NUMERATOR[n]
    for n in range(10, -1, -1):
        bottom = bottom * u + DENOMINATOR[n]
    return top / bottom


@vectorised
def normal_density(x: float) -> float:
    """n(x)."""
    return _PER_SQRT_2PI * exp(-0.5 * x * x)


@vectorised
def normal_below(x: float, density: float) -> float:
    """N(x), where ``density`` is n(x)."""
    tail = density * mills(abs(x))
    return 1.0 - tail if x > 0.0 else tail
