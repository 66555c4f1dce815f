"""Which of a day's decisions counts: reports, promotions and holdings follow the same one."""

from __future__ import annotations

import polars as pl

from tracker_dagster.strategy.tickers import DAY_FILE, SNAPSHOT


def preferred_basis(picks: pl.DataFrame) -> str | None:
    """Basis of the day's decision that counts; None without picks.

    The snapshot where it priced a ticker, else the day files where these did; where neither has
    priced any, the first of the two that was decided: its reasons are then all there is.

    Args:
        picks: ``basis``, ``stage``, ``candidates_count``: rows of weekly_picks of one day.
    """
    decided = [basis for basis in (SNAPSHOT, DAY_FILE) if (picks["basis"] == basis).any()]
    return next((basis for basis in decided if priced_count(picks, basis)), (*decided, None)[0])


def priced_count(picks: pl.DataFrame, basis: str) -> int:
    """How many tickers had a usable price and calls to choose from, picked or not."""
    return picks.filter(
        (pl.col("basis") == basis)
        & pl.col("stage").ne_missing("price")
        & (pl.col("candidates_count") > 0)
    ).height


def preferred(picks: pl.DataFrame) -> pl.DataFrame:
    """Rows of the decision that counts, the latest on its basis; none without picks."""
    chosen = picks.filter(pl.col("basis").eq_missing(preferred_basis(picks)))
    return chosen.filter(pl.col("decision_at") == pl.col("decision_at").max())


def passed_over(picks: pl.DataFrame) -> str | None:
    """Why the snapshot does not count although one was decided, as a sentence; else None."""
    if preferred_basis(picks) != DAY_FILE or not (picks["basis"] == SNAPSHOT).any():
        return None
    return (
        "The captured snapshot priced no ticker: the decision on the day files of the session "
        "before counts."
    )
