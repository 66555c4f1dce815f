"""Realised volatility against Hull's table, closed forms, a walk of known volatility, a twin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tracker_dagster.analytics.volatility import realized

#: Hull, Options, Futures, and Other Derivatives, table 15.1: closes of 21 consecutive days.
HULL = [
    20.00, 20.10, 19.90, 20.00, 20.50, 20.25, 20.90, 20.90, 20.90, 20.75, 20.75, 21.00, 21.10,
    20.90, 20.90, 21.25, 21.40, 21.40, 21.25, 21.75, 22.00,
]  # fmt: skip
SIGMA = 0.30
#: Mean shortfall of a high seen at steps only: Broadie, Glasserman and Kou (1997).
BEHIND = 0.5826


def test_hulls_table() -> None:
    returns = np.diff(np.log(HULL))
    assert returns.sum() == pytest.approx(0.09531, abs=5e-6)
    assert (returns**2).sum() == pytest.approx(0.00326, abs=5e-6)
    daily = realized.close_to_close(returns) / np.sqrt(252)
    assert daily == pytest.approx(0.01216, abs=5e-6)
    assert realized.close_to_close(returns) == pytest.approx(0.193, abs=5e-4)


def test_ranges_that_are_all_alike_have_a_closed_form() -> None:
    opened, high, low, close = (np.full(20, price) for price in (100.0, 102.0, 98.0, 101.0))
    reach, way = np.log(102 / 98), np.log(101 / 100)
    assert realized.parkinson(high, low) == pytest.approx(np.sqrt(252 / (4 * np.log(2))) * reach)
    klass = 0.5 * reach**2 - 0.3862943611198906 * way**2
    assert realized.garman_klass(opened, high, low, close) == pytest.approx(np.sqrt(252 * klass))
    # Nights and ways that are all alike do not vary: what is left of Yang and Zhang is the range.
    rogers = np.log(102 / 101) * np.log(102 / 100) + np.log(98 / 101) * np.log(98 / 100)
    k = 0.34 / (1.34 + 21 / 19)
    found = realized.yang_zhang(np.full(20, 0.01), opened, high, low, close)
    assert found == pytest.approx(np.sqrt(252 * (1 - k) * rogers))


def test_one_session_is_the_root_of_its_squares() -> None:
    found = realized.of_one_session(0.01, [0.002, -0.003, 0.001])
    squares = 0.01**2 + 0.002**2 + 0.003**2 + 0.001**2
    assert found == pytest.approx(np.sqrt(252 * squares))


def test_a_hole_in_a_window_leaves_no_figure() -> None:
    whole = np.full((2, 20), 100.0)
    holed = whole.copy()
    holed[1, 7] = np.nan
    for found in (
        realized.close_to_close(holed),
        realized.parkinson(holed, whole),
        realized.garman_klass(whole, holed, whole, whole),
        realized.yang_zhang(whole, whole, whole, holed, whole),
        realized.of_one_session([0.0, 0.0], holed),
    ):
        assert np.isnan(found).tolist() == [False, True]


def walk(days: int, steps: int, night: float, seed: int) -> dict[str, np.ndarray]:
    """A driftless walk with `SIGMA` a year in sessions, and jumps over night of ``night`` a year.

    Highs and lows are moved out by what a walk seen at steps only is known to miss.
    """
    rng = np.random.default_rng(seed)
    step = SIGMA / np.sqrt(252 * steps)
    path = np.cumsum(rng.normal(0, step, (days, steps)), axis=1)
    overnight = rng.normal(0, night / np.sqrt(252), days)
    close = np.cumsum(overnight + path[:, -1])
    opened = close - path[:, -1]
    return {
        "overnight": overnight,
        "open": np.exp(opened),
        "high": np.exp(opened + np.maximum(path.max(axis=1), 0) + BEHIND * step),
        "low": np.exp(opened + np.minimum(path.min(axis=1), 0) - BEHIND * step),
        "close": np.exp(close),
        "returns": overnight + path[:, -1],
        "steps": np.diff(path, axis=1, prepend=0),
    }


def windows(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, 20)


def estimates(made: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Annual variances of each window of 20 sessions."""
    prices = [windows(made[name]) for name in ("open", "high", "low", "close")]
    found = {
        "close": realized.close_to_close(windows(made["returns"])),
        "parkinson": realized.parkinson(prices[1], prices[2]),
        "garman_klass": realized.garman_klass(*prices),
        "yang_zhang": realized.yang_zhang(windows(made["overnight"]), *prices),
    }
    return {name: volatility**2 for name, volatility in found.items()}


def test_a_walk_of_known_volatility_is_found_without_bias() -> None:
    """The mean of 400 windows lies within four of its standard errors of the truth."""
    made = walk(8000, 400, night=0.15, seed=11)
    both = SIGMA**2 + 0.15**2
    truths = {"close": both, "parkinson": SIGMA**2, "garman_klass": SIGMA**2, "yang_zhang": both}
    for name, variances in estimates(made).items():
        error = variances.std(ddof=1) / np.sqrt(len(variances))
        assert abs(variances.mean() - truths[name]) < 4 * error, name
        assert error < 0.02 * truths[name]
    day = realized.of_one_session(made["overnight"], made["steps"]) ** 2
    assert day.mean() == pytest.approx(both, abs=4 * day.std(ddof=1) / np.sqrt(len(day)))


def test_ranges_are_as_much_sharper_than_closes_as_published() -> None:
    """Garman and Klass (1980): efficiency 5.2 of the range, 7.4 of their estimator."""
    made = walk(8000, 400, night=0.0, seed=12)
    spread = {name: variances.std(ddof=1) for name, variances in estimates(made).items()}
    # Theirs is without the mean, which costs ours a twentieth of the sample.
    assert (spread["close"] / spread["parkinson"]) ** 2 == pytest.approx(5.2, rel=0.25)
    assert (spread["close"] / spread["garman_klass"]) ** 2 == pytest.approx(7.4, rel=0.25)


def test_agrees_with_pandas_over_rolling_windows() -> None:
    made = walk(120, 20, night=0.2, seed=13)
    frame = pd.DataFrame({name: made[name] for name in ("open", "high", "low", "close")})
    before = frame["close"].shift(1)
    night, way = np.log(frame["open"] / before), np.log(frame["close"] / frame["open"])
    span = np.log(frame["high"] / frame["low"])
    rogers = np.log(frame["high"] / frame["close"]) * np.log(frame["high"] / frame["open"]) + (
        np.log(frame["low"] / frame["close"]) * np.log(frame["low"] / frame["open"])
    )
    k = 0.34 / (1.34 + 21 / 19)
    expected = {
        "close": np.log(frame["close"] / before).rolling(20).var(),
        "parkinson": (span**2).rolling(20).mean() / (4 * np.log(2)),
        "garman_klass": (span**2 / 2 - (2 * np.log(2) - 1) * way**2).rolling(20).mean(),
        "yang_zhang": night.rolling(20).var()
        + k * way.rolling(20).var()
        + (1 - k) * rogers.rolling(20).mean(),
    }
    for end in (20, 57, 119):
        at = slice(end - 19, end + 1)
        prices = [frame[name].to_numpy()[at] for name in ("open", "high", "low", "close")]
        closes = frame["close"].to_numpy()
        found = {
            "close": realized.close_to_close(np.diff(np.log(closes[end - 20 : end + 1]))),
            "parkinson": realized.parkinson(prices[1], prices[2]),
            "garman_klass": realized.garman_klass(*prices),
            "yang_zhang": realized.yang_zhang(night.to_numpy()[at], *prices),
        }
        for name, volatility in found.items():
            assert volatility == pytest.approx(np.sqrt(252 * expected[name][end])), name
