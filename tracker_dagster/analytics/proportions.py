"""Intervals for shares of successes among a few trials."""

from __future__ import annotations

from statistics import NormalDist


def wilson_interval(
    successes: int, trials: int, confidence: float = 0.95
) -> tuple[float, float] | None:
    """Wilson's score interval for a proportion; None where nothing was tried.

    It holds what it promises for a handful of trials and for shares near 0 and 1, where the usual
    interval around the share shrinks to nothing. Source: E. B. Wilson, "Probable Inference, the
    Law of Succession, and Statistical Inference", JASA 22 (1927), 209-212.

    Args:
        successes: between 0 and ``trials``.
        trials: how many.
        confidence: probability with which such intervals cover the true share, within 0..1.

    Returns:
        Lower and upper end, fractions within 0..1.

    Raises:
        ValueError: counts that cannot be, or a confidence outside 0..1.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials cannot be")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
    if trials == 0:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    width = z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
    scale = 1 + z * z / trials
    # At 0 and at n of n the interval ends there; rounding would miss it by 1e-17.
    low = 0.0 if successes == 0 else (centre - width) / scale
    high = 1.0 if successes == trials else (centre + width) / scale
    return low, high
