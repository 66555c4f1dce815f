"""Elementary functions of the compiled loops against numpy, scipy and mpmath."""

from __future__ import annotations

import mpmath as mp
import numba
import numpy as np
from scipy.special import ndtr

from tracker_dagster.analytics.pricing import vector_math


@numba.njit(error_model="numpy")
def _applied(which: int, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for n in range(len(x)):
        if which == 0:
            out[n] = vector_math.exp(x[n])
        elif which == 1:
            out[n] = vector_math.log(x[n])
        else:
            out[n] = vector_math.normal_below(x[n], vector_math.normal_density(x[n]))
    return out


def test_exponentials():
    x = np.concatenate([np.linspace(-700.0, 700.0, 100_001), [0.0, -0.0, 1e-300, -1e-16]])
    np.testing.assert_allclose(_applied(0, x), np.exp(x), rtol=5e-16)
    assert _applied(0, np.array([-1e9]))[0] < 1e-303
    assert np.isnan(_applied(0, np.array([np.nan]))[0])


def test_logarithms():
    x = np.exp(np.linspace(-600.0, 600.0, 100_001))
    np.testing.assert_allclose(_applied(1, x), np.log(x), rtol=5e-16, atol=5e-16)
    near = 1.0 + np.linspace(-1e-3, 1e-3, 2001)
    np.testing.assert_allclose(_applied(1, near), np.log(near), rtol=5e-16, atol=1e-18)


def test_normal_probabilities():
    x = np.linspace(-30.0, 9.0, 100_001)
    np.testing.assert_allclose(_applied(2, x), ndtr(x), rtol=2e-13)
    few = np.array([-25.0, -6.5, -1.0, -1e-8, 0.0, 0.3, 2.0, 5.0])
    exact = [float(mp.ncdf(mp.mpf(float(number)))) for number in few]
    np.testing.assert_allclose(_applied(2, few), exact, rtol=1e-13)
