"""How well a ticker suits covered calls, from its daily statistics."""

from __future__ import annotations

import polars as pl

#: Sharpe ratio above which the internal gate passes, and tail width below which the outer does.
SHARPE_GATE = 0.5
TAIL_GATE = 0.08


def suitability(statistics: pl.DataFrame) -> pl.DataFrame:
    """``statistics`` with ``stability``, ``tail_calm``, ``coherence`` and ``suitability``.

    Mended against the rules this follows (weekly tracker, section 4.7): the entropy comes in
    normalised to 0..1 (a density was summed before); the drawdown is kept beside the scores, so
    the first lane rule can be met; the Sharpe term is bounded above as well as below, since over
    a few weeks it exceeds any bound by luck; a ticker without statistics scores null, not zero.

    Args:
        statistics: rows of `analytics.returns.return_statistics`.

    Returns:
        The same rows. ``stability`` = 1 / (1 + volatility); ``tail_calm`` = 1 / (1 + 100 x tail
        width); ``coherence`` = (Sharpe + 3 stability) / 5 in 0..1, less a quarter where Sharpe
        is not above 0.5 and 15 % where the tail is not below 0.08; ``suitability`` =
        0.5 stability + 0.3 Sharpe / 3 (within -1..1) + 0.2 tail calm, in 0..1.
    """
    sharpe, tail = pl.col("sharpe"), pl.col("tail_width")
    stability = 1 / (1 + pl.col("annual_volatility"))
    calm = 1 / (1 + 100 * tail)
    kept = (
        1
        - pl.when(sharpe > SHARPE_GATE).then(0.0).otherwise(0.25)
        - pl.when(tail < TAIL_GATE).then(0.0).otherwise(0.15)
    )
    return statistics.with_columns(
        stability=stability,
        tail_calm=calm,
        coherence=((sharpe + 3 * stability) / 5).clip(0, 1) * kept,
        suitability=(0.5 * stability + 0.3 * (sharpe / 3).clip(-1, 1) + 0.2 * calm).clip(0, 1),
    )
