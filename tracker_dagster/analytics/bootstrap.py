"""Block bootstrap: an interval for the mean of a short series that may depend on its own past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean with its interval.

    Attributes:
        mean: of the observations, in their unit.
        low: lower end.
        high: upper end.
        level: chance with which such intervals hold the true mean, about.
        block: expected length of the blocks, in observations.
        replicates: resampled series.
    """

    mean: float
    low: float
    high: float
    level: float
    block: int
    replicates: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def block_length(count: int) -> int:
    """Expected block length for a series of ``count``: its cube root, rounded.

    The rate at which the variance of a mean is estimated best (Künsch 1989; Hall, Horowitz and
    Jing 1995).
    """
    return max(1, round(count ** (1 / 3)))


def mean_interval(
    values: np.ndarray,
    *,
    level: float = 0.95,
    block: int | None = None,
    replicates: int = 9999,
    seed: int = 0,
) -> MeanInterval:
    """The mean of a series and its interval by the studentised circular block bootstrap.

    Blocks of neighbours, taken from the series closed to a circle, keep its dependence (Politis
    and Romano 1992). Each replicate's mean is measured in its own standard error, told from its
    blocks (Götze and Künsch 1996); plain percentiles are too narrow for a year of weeks.

    Args:
        values: ``(n,)`` observations in order of time, all finite.
        level: of the interval.
        block: observations a block; `block_length` when None.
        replicates: resampled series.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        The interval; of no width where all observations are the same. An end is infinite where
        too many replicates have no spread of their own to be measured in.

    Raises:
        ValueError: observations that are not finite, or fewer than two blocks of them.
    """
    series = np.asarray(values, dtype=np.float64)
    count = series.size
    length = block_length(count) if block is None else block
    if length < 1 or count < 2 * length:
        raise ValueError(f"{count} observations are fewer than two blocks of {length}")
    if not np.isfinite(series).all():
        raise ValueError("an observation is not finite")
    mean = float(series.mean())
    around = np.concatenate([series, series[: length - 1]])
    blocks = np.convolve(around, np.full(length, 1 / length), mode="valid")
    # Around the circle's own mean the blocks' variance misses what lies between blocks.
    error = np.sqrt(((blocks - mean) ** 2).mean() * length / (count - length))
    drawn_blocks = max(2, round(count / length))
    rng = np.random.default_rng(seed)
    drawn = blocks[rng.integers(0, count, size=(replicates, drawn_blocks))]
    gap = drawn.mean(axis=1) - mean
    own_error = drawn.std(axis=1, ddof=1) / np.sqrt(drawn_blocks)
    flat = own_error <= 1e-12 * max(np.abs(series).max(), 1e-300)
    ratio = np.where(
        flat, np.where(gap == 0, 0.0, np.copysign(np.inf, gap)), gap / np.where(flat, 1, own_error)
    )
    tail = (1 - level) / 2
    most = float(np.quantile(ratio, 1 - tail, method="higher"))
    least = float(np.quantile(ratio, tail, method="lower"))
    if error == 0:
        most = least = 0.0
    return MeanInterval(mean, mean - most * error, mean - least * error, level, length, replicates)
