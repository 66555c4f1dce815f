"""The numpy path against the kernels, and many threads against one."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tracker_dagster.analytics.pricing import (
    Status,
    black76_greeks,
    greeks,
    implied_volatility_and_greeks,
    price,
)
from tracker_dagster.analytics.pricing.threads import run_sliced
from tracker_dagster_tests.analytics.pricing.books import Book, random_book

GREEKS = ("delta", "gamma", "theta", "vega", "rho")


@pytest.fixture(scope="module")
def book():
    """Both wild and ordinary contracts, more than one slice of them."""
    books = (random_book(9000, 30.0), random_book(9000, 3.0), random_book(9000, 0.1))
    return Book(*(np.concatenate(columns) for columns in zip(*books, strict=True)))


def test_prices_and_greeks_agree(book):
    compiled, arrays = (price(*book, backend=backend) for backend in ("numba", "numpy"))
    size = book.spot + book.strike
    assert np.max(np.abs(compiled - arrays) / size) < 1e-15
    np.testing.assert_allclose(arrays, compiled, rtol=1e-11, atol=1e-290)
    compiled, arrays = (greeks(*book, backend=backend) for backend in ("numba", "numpy"))
    for name in GREEKS:
        ours, theirs = getattr(compiled, name), getattr(arrays, name)
        # Parts of theta cancel where it changes sign.
        scale = 1e-3 * size if name == "theta" else np.zeros(len(size))
        assert np.all(np.abs(ours - theirs) <= 1e-11 * np.abs(ours) + 1e-14 * scale + 1e-290), name


def test_volatilities_agree(book):
    values = price(*book)
    (compiled, greeks_compiled), (arrays, greeks_arrays) = (
        implied_volatility_and_greeks(values, *book.without_volatility, backend=backend)
        for backend in ("numba", "numpy")
    )
    # Where the time value is a few roundings of the price one twin may see it and the other not.
    differ = compiled.status != arrays.status
    assert differ.mean() < 1e-3
    assert set(compiled.status[differ]) | set(arrays.status[differ]) <= {
        Status.OK,
        Status.NO_TIME_VALUE,
        Status.BELOW_INTRINSIC,
        Status.ABOVE_MAX,
    }
    both = (compiled.status == Status.OK) & (arrays.status == Status.OK)
    assert both.mean() > 0.6
    asset, cash = book.legs
    # A rounding of the larger leg, over the slope.
    known = 1e-15 * np.maximum(asset, cash) / greeks_compiled.vega / compiled.volatility
    error = np.abs(compiled.volatility / arrays.volatility - 1.0)
    assert np.all(error[both] <= 1e-12 + 8 * known[both])
    sure = both & (known < 1e-13)
    assert sure.mean() > 0.3
    for name in GREEKS:
        ours, theirs = getattr(greeks_compiled, name)[sure], getattr(greeks_arrays, name)[sure]
        scale = 1e-3 * (book.spot + book.strike)[sure]
        assert np.all(np.abs(ours - theirs) <= 1e-10 * np.abs(ours) + 1e-13 * scale), name


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_the_fused_call_is_the_two_calls(book, backend):
    values = price(*book, backend=backend)
    implied, fused = implied_volatility_and_greeks(
        values, *book.without_volatility, backend=backend
    )
    found = book._replace(volatility=implied.volatility)
    alone = greeks(*found, backend=backend)
    for name in GREEKS:
        np.testing.assert_array_equal(getattr(fused, name), getattr(alone, name))


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_threads_give_identical_answers(book, backend):
    values = price(*book, backend=backend)

    def solved():
        implied, sensitivities = implied_volatility_and_greeks(
            values, *book.without_volatility, backend=backend
        )
        return [implied.volatility, implied.status, *sensitivities]

    first = solved()
    with ThreadPoolExecutor(6) as pool:
        for again in [pool.submit(solved) for _ in range(18)]:
            for ours, theirs in zip(first, again.result(), strict=True):
                np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("count", [0, 1, 4095, 8192, 100_003])
@pytest.mark.parametrize("largest", [None, 1000])
def test_slices_cover_every_row_once(count, largest):
    seen = np.zeros(count, np.int64)

    def kernel(start, stop, rows):
        rows[start:stop] += 1

    run_sliced(kernel, count, seen, largest=largest)
    assert (seen == 1).all()


def test_an_error_in_a_slice_reaches_the_caller():
    def kernel(start, stop):
        if start:
            raise ZeroDivisionError(start)

    with pytest.raises(ZeroDivisionError):
        run_sliced(kernel, 100_000)


def test_a_forked_process_prices_too():
    """Its parent's threads are not there any more."""
    script = """
import os, numpy as np
from tracker_dagster.analytics.pricing import price
strikes = np.linspace(50, 150, 100_000)
before = price(100, strikes, 1, 0, 0, 0.2, True, backend="numpy")
child = os.fork()
if child == 0:
    after = price(100, strikes, 1, 0, 0, 0.2, True, backend="numpy")
    os._exit(0 if (after == before).all() else 1)
_, status = os.waitpid(child, 0)
raise SystemExit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=60)
    assert done.returncode == 0


def test_numpy_takes_over_where_numba_is_not():
    """Neither the default backend nor the numpy path needs numba or scipy."""
    script = """
import sys
sys.modules["numba"] = None
from tracker_dagster.analytics.pricing import implied_volatility_and_greeks, price
value = price(100, 110, 0.5, 0.03, 0.01, 0.25, True)
implied, greeks = implied_volatility_and_greeks(value, 100, 110, 0.5, 0.03, 0.01, True)
assert abs(implied.volatility - 0.25) < 1e-14, implied
assert "scipy" not in sys.modules
try:
    price(100, 110, 0.5, 0.03, 0.01, 0.25, True, backend="numba")
except ImportError:
    raise SystemExit(0)
raise SystemExit(1)
"""
    done = subprocess.run([sys.executable, "-c", script], timeout=60)
    assert done.returncode == 0


def test_numpy_takes_over_where_nothing_is_compiled():
    script = """
import sys
from tracker_dagster.analytics.pricing import price
price(100, 110, 0.5, 0.03, 0.01, 0.25, True)
sys.exit("tracker_dagster.analytics.pricing.european_kernels" in sys.modules)
"""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], timeout=60, env=environment)
    assert done.returncode == 0


def test_kernels_are_compiled_once():
    """Read-only and strided columns, as frames hand them out, do not compile another."""
    from tracker_dagster.analytics.pricing import european_kernels

    column = np.linspace(90.0, 110.0, 21)
    frozen = column.copy()
    frozen.flags.writeable = False
    for spot in (column, frozen, column[::2], 100.0, np.arange(90, 111), column.astype(">f8")):
        price(spot, 100, 1, 0, 0, 0.2, True, backend="numba")
    assert len(european_kernels.write_prices.signatures) == 1


def test_importing_the_package_compiles_nothing():
    script = (
        "import sys, tracker_dagster.analytics.pricing, tracker_dagster.analytics.pricing.expiry;"
        "sys.exit(bool({'numba', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 0


def test_black_76_twins_agree():
    terms = (np.linspace(50, 150, 11), 100, 0.5, 0.03, 0.4, True)
    compiled, arrays = (black76_greeks(*terms, backend=name) for name in ("numba", "numpy"))
    for ours, theirs in zip(compiled, arrays, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
