"""What identifies the day files behind a decision, in few characters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from tracker_dagster.schemas.base import Table
from tracker_dagster.warehouse import Warehouse

#: Characters of the hash: one in 10^19 that another set of files has the same.
_DIGITS = 16


@dataclass(frozen=True)
class FilesRead:
    """The vendor files of some tables, by session, as they were when a decision was taken."""

    etags: Mapping[str, Sequence[tuple[date, str]]]

    @classmethod
    def of(
        cls, warehouse: Warehouse, tables: Sequence[Table], first: date, last: date
    ) -> FilesRead:
        """Those that the tables' rows from ``first`` to ``last`` were made from."""
        return cls(
            {
                table.name: sorted(
                    (file.trade_date, file.etag)
                    for file in warehouse.ingested_files(table, first, last)
                    if file.trade_date
                )
                for table in tables
            }
        )

    def window(self, table: Table, first: date, last: date) -> dict[str, object]:
        """The sessions ``first`` to ``last`` of a table, and the identity of their files.

        Returns:
            ``first`` and ``last``; ``files``: how many of them have one; ``etags``: the first 16
            digits of the SHA-256 of their lines ``DATE ETAG`` in order of date, joined by line
            feeds: another hash, other files.
        """
        lines = [f"{day} {etag}" for day, etag in self.etags[table.name] if first <= day <= last]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:_DIGITS]
        window: dict[str, object] = {"first": str(first), "last": str(last), "files": len(lines)}
        return window | ({"etags": digest} if lines else {})
