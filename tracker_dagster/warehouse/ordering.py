"""Sorting what is nearly always sorted already: look first, which costs a tenth of sorting."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def sorted_by(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """``frame`` in ascending order of ``names``, which hold no nulls; equal rows keep theirs."""
    return frame if is_sorted_by(frame, names) else frame.sort(names, maintain_order=True)


def is_sorted_by(frame: pl.DataFrame, names: Sequence[str]) -> bool:
    """Whether ``frame`` ascends lexicographically by ``names``."""
    if not names or frame.height < 2:
        return True
    descends: pl.Expr = pl.lit(value=False)
    for name in reversed(names):
        before = pl.col(name).shift(1)
        descends = (pl.col(name) < before) | ((pl.col(name) == before) & descends)
    return not frame.select(descends.any()).item()
