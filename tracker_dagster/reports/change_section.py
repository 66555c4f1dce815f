"""The section about what changed since the session before."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tracker_dagster.reports.columns import counted, table
from tracker_dagster.schemas.changes import CHANGES

NOT_COMPARED = "Changes not computed yet. Run picker."
NO_CHANGES = "Nothing changed."

#: Headings of the kinds of changes.
TITLES = {
    "new": "New picks",
    "gone": "Picks that are gone",
    "expiry_rolled": "Expiries that rolled",
    "strike": "Strikes",
    "lane": "Lanes",
    "decision": "Promotions",
    "flag": "Dates and gates",
    "rank": "Ranks",
}
_ROWS = 10


def changes(found: pl.DataFrame | None, before: str | None = None, rows: int = _ROWS) -> str:
    """The section as markdown.

    Args:
        found: rows of pick_changes of the decision; None where they were not read.
        before: why there is nothing to compare with; None where there is.
        rows: most rows of each kind's table; those that changed most come first.
    """
    if before is not None:
        return before
    if found is None:
        return NOT_COMPARED
    if found.is_empty():
        return NO_CHANGES
    parts = [_lead(found)]
    for kind in CHANGES:
        of_kind = found.filter(pl.col("change") == kind)
        if kind == "expiry_rolled":
            # All tickers roll on the same day: a line says it.
            for (old, new), tickers in sorted(of_kind.group_by("before", "after")):
                parts.append(f"### {TITLES[kind]} ({len(tickers)})")
                parts.append(f"{old} → {new}: {_names(sorted(tickers['ticker']))}.")
            continue
        if of_kind.is_empty():
            continue
        parts.append(f"### {TITLES[kind]} ({len(of_kind)})")
        anew = of_kind.filter(pl.col("moved_by") == "expiry").sort("ticker")
        if kind == "strike" and len(anew):
            told = [" ".join((row["ticker"], row["before"], "→", row["after"]))
                    for row in anew.iter_rows(named=True)]  # fmt: skip
            parts.append(f"Chosen anew with the expiry: {_names(told)}.")
            of_kind = of_kind.filter(pl.col("moved_by") != "expiry")
            if of_kind.is_empty():
                continue
        shown = of_kind.sort(pl.col("size").abs(), "ticker", descending=[True, False],
                             nulls_last=True).head(rows)  # fmt: skip
        parts.append(table(shown, ("ticker", "before", "after", "moved_by", "why")))
        if len(shown) < len(of_kind):
            parts.append(f"The {len(shown)} that moved most, of {len(of_kind)}.")
    return "\n\n".join(parts)


def _lead(found: pl.DataFrame) -> str:
    since = found["since"][0]
    movers = found.filter(pl.col("change").is_in(["rank", "strike", "lane", "decision"]))
    counts = movers["moved_by"].value_counts().sort("count", "moved_by", descending=[True, False])
    told = ", ".join(f"{name} {count}" for name, count in counts.head(6).iter_rows())
    lead = f"Since {since}: {counted(found['ticker'].n_unique(), 'ticker')} with a change."
    return lead + (f" Moved by: {told}." if told else "")


def _names(tickers: Sequence[str], most: int = 40) -> str:
    more = f" and {len(tickers) - most} more" if len(tickers) > most else ""
    return ", ".join(tickers[:most]) + more
