"""Compiled twin of the structure estimators over many sign-flipped copies of one ticker's returns.

Imported where a whole universe is tested only: numba takes a second to load.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def flipped_estimates(
    sizes: Any, signs: Any, ends: Any, window: Any, even: Any, odd: Any, lags: Any
) -> tuple[Any, Any]:
    """Spectral entropy and madogram dimension of each row of signs.

    Args:
        sizes: ``(returns,)`` returns of all sessions, one after another.
        signs: ``(rows, returns)`` of -1 and 1.
        ends: ``(sessions + 1,)`` where each session starts and the last one ends.
        window: ``(segment,)`` taper of a segment.
        even: ``(segment / 2, segment / 2)`` see `half_transforms`.
        odd: the same of the odd frequencies.
        lags: ``(lags,)`` in bars.

    Returns:
        two arrays ``(rows,)``.
    """
    rows, count = signs.shape
    segment = window.size
    bins = segment // 2
    quarter = bins // 2
    step = segment // 2
    entropy = np.empty(rows)
    roughness = np.empty(rows)
    returns = np.empty(count)
    path = np.empty(count + 1)
    of_sums = np.empty(bins)
    of_gaps = np.empty(bins)
    power = np.empty(bins)
    mean_x = 0.0
    for lag in lags:
        mean_x += np.log(float(lag))
    mean_x /= lags.size
    spread = 0.0
    for lag in lags:
        spread += (np.log(float(lag)) - mean_x) ** 2
    for row in range(rows):
        for n in range(count):
            returns[n] = sizes[n] * signs[row, n]
        power[:] = 0.0
        for session in range(ends.size - 1):
            start = ends[session]
            while start + segment <= ends[session + 1]:
                mean = 0.0
                for n in range(segment):
                    mean += returns[start + n]
                mean /= segment
                of_sums[:] = 0.0
                of_gaps[:] = 0.0
                for n in range(bins):
                    early = (returns[start + n] - mean) * window[n]
                    late = (returns[start + bins + n] - mean) * window[bins + n]
                    both, gap = early + late, early - late
                    row_even, row_odd = even[n], odd[n]
                    for k in range(bins):
                        of_sums[k] += both * row_even[k]
                    for k in range(bins):
                        of_gaps[k] += gap * row_odd[k]
                for k in range(quarter):
                    power[k] += of_sums[k] ** 2 + of_sums[quarter + k] ** 2
                    power[quarter + k] += of_gaps[k] ** 2 + of_gaps[quarter + k] ** 2
                start += step
        total = power.sum()
        sum_of_logs = 0.0
        for k in range(bins):
            share = power[k] / total
            if share > 0:
                sum_of_logs -= share * np.log(share)
        entropy[row] = sum_of_logs / np.log(float(bins))
        slope = 0.0
        path[0] = 0.0
        for n in range(count):
            path[n + 1] = path[n] + returns[n]
        for lag in lags:
            distance = 0.0
            number = 0
            for session in range(ends.size - 1):
                first, last = ends[session], ends[session + 1]
                for n in range(first, last - lag + 1):
                    distance += abs(path[n + lag] - path[n])
                number += max(0, last - first + 1 - lag)
            slope += np.log(distance / number) * (np.log(float(lag)) - mean_x)
        roughness[row] = 2.0 - slope / spread
    return entropy, roughness


def half_transforms(segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Fourier transforms of the even and of the odd frequencies of a segment above zero.

    An even frequency sees only the sum of the segment's halves, an odd one only their difference
    (the first step of the fast Fourier transform), so half a segment's length is enough.

    Returns:
        two arrays ``(segment / 2, segment / 2)``: cosines, then sines, each scaled so that squares
        add up to a one-sided power.

    Raises:
        ValueError: the length is no multiple of four.
    """
    if segment % 4:
        raise ValueError(f"a segment's length must be a multiple of four, not {segment}")
    n = np.arange(segment // 2)
    even, odd = (
        np.concatenate(
            [
                function(2 * np.pi * np.outer(n, k) / segment)
                * np.where(k == segment // 2, 1.0, np.sqrt(2.0))
                for function in (np.cos, np.sin)
            ],
            axis=1,
        )
        for k in (np.arange(2, segment // 2 + 1, 2), np.arange(1, segment // 2, 2))
    )
    return even, odd
