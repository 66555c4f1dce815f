"""Whether open interest is what it should be: one figure a session, the same from every source."""

from __future__ import annotations

import polars as pl

#: Contracts that two sessions must have in common before equal figures mean an old answer.
ENOUGH_TO_TELL = 50
#: Share of an underlying's contracts whose figures may differ between two sources.
TOLERANCE = 0.01


def interest_changes(captures: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """How many contracts have another figure in ``other``, by underlying.

    Args:
        captures: ``underlying``, ``symbol``, ``open_interest`` of one slot or several.
        other: the same of one slot; a contract without a figure in either is not compared.

    Returns:
        ``underlying``, ``compared_count`` and ``changed_count`` in contracts: those of ``other``
        that are in ``captures``, and of these the ones whose figure differs from any there.
    """
    pairs = (
        captures.drop_nulls("open_interest")
        .join(other.drop_nulls("open_interest"), on=["underlying", "symbol"], suffix="_other")
        .group_by("underlying", "symbol")
        .agg(changed=(pl.col("open_interest") != pl.col("open_interest_other")).any())
    )
    return (
        pairs.group_by("underlying")
        .agg(compared_count=pl.len(), changed_count=pl.col("changed").sum())
        .sort("underlying")
    )


def unsteady(within_session: pl.DataFrame) -> dict[str, int]:
    """Underlyings whose open interest changed within a session, with how many contracts did.

    The figure of a session is fixed before it opens. One that changes is the vendor's feed
    between two days, as it is for minutes each morning.
    """
    changed = within_session.filter(pl.col("changed_count") > 0)
    return dict(changed.select("underlying", "changed_count").iter_rows())


def not_renewed(since_last_session: pl.DataFrame) -> dict[str, int]:
    """Underlyings whose every figure is the last session's still, with how many were compared."""
    same = since_last_session.filter(
        (pl.col("changed_count") == 0) & (pl.col("compared_count") >= ENOUGH_TO_TELL)
    )
    return dict(same.select("underlying", "compared_count").iter_rows())


def contradicted(between_sources: pl.DataFrame) -> dict[str, str]:
    """Underlyings of which more contracts differ between two sources than may, and how many do.

    Both tell of the same session, whose figures are fixed.
    """
    share = pl.col("changed_count") / pl.col("compared_count")
    rows = between_sources.filter(share > TOLERANCE)
    columns = rows.select("underlying", "changed_count", "compared_count")
    return {name: f"{changed} of {compared}" for name, changed, compared in columns.iter_rows()}
