"""How a table says what its columns are made from, for the column lineage of the graph.

An upstream column is written ``table.column``; a name behind the first dot may have dots of its
own, as the vendor's nested fields have. No I/O.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Column to the (table, column) pairs that it is made from.
Lineage = Mapping[str, tuple[tuple[str, str], ...]]


def straight(upstream: str, *columns: str, **renamed: str) -> Lineage:
    """Columns taken over as they are; ``ours="theirs"`` where ``upstream`` calls them otherwise."""
    same = {name: ((upstream, name),) for name in columns}
    return same | {ours: ((upstream, theirs),) for ours, theirs in renamed.items()}


def computed(columns: str, *sources: str) -> Lineage:
    """Columns (names with blanks between) that are each worked out from all of ``sources``."""
    pairs = tuple(dict.fromkeys(_pair(source) for source in sources))
    return dict.fromkeys(columns.split(), pairs)


def together(*parts: Lineage) -> Lineage:
    """One lineage of several; a column in more than one part is made from what each says."""
    merged: dict[str, tuple[tuple[str, str], ...]] = {}
    for part in parts:
        for column, pairs in part.items():
            known = merged.get(column, ())
            merged[column] = known + tuple(pair for pair in pairs if pair not in known)
    return merged


def _pair(source: str) -> tuple[str, str]:
    upstream, _, column = source.partition(".")
    if not column:
        raise ValueError(f"{source!r} names no column")
    return upstream, column
