"""Writes the database file that this version leaves behind, for later versions to open.

Run ``python -m tracker_dagster_tests.warehouse.make_fixture`` once a release. The file of a
released version is never written again: what no longer opens it needs a numbered migration.
"""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from tracker_dagster.ledger import commands
from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.schemas.captured import MARKET_LAST
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.seed_files import seed_file
from tracker_dagster.warehouse import IngestedFile, Warehouse
from tracker_dagster.warehouse.migrations import MIGRATIONS, code_version
from tracker_dagster_tests.warehouse.frames import DAY, stocks, unit

FIXTURES = Path(__file__).parent / "fixtures"
NOW = datetime(2026, 11, 18, 20, 50, tzinfo=UTC)


def write(path: Path) -> None:
    """A file with a little of everything that cannot be fetched again."""
    warehouse = Warehouse(path)
    frame = pl.concat([stocks("ABC"), stocks("X").with_columns(volume=pl.lit(-1.0))])
    warehouse.replace(STOCK_DAY_AGGS, frame, unit(), file=IngestedFile("day.csv.gz", "tag", 123))
    last = MARKET_LAST.conform(
        pl.DataFrame({"ticker": ["SPY"], "price": [600.25], "status": ["OK"]}),
        trade_date=DAY,
        slot=NOW,
        source="massive_snapshot",
        available_at=NOW,
    )
    warehouse.replace(
        MARKET_LAST, last, {"trade_date": DAY, "source": "massive_snapshot", "slot": NOW}
    )
    commands.sync_universe(warehouse, seed_file("universe.csv"), NOW)
    commands.disable(warehouse, "CLOV", NOW, "fixture")
    open_position(
        warehouse,
        symbol="O:AAPL261127C00150000",
        quantity=-2,
        price=1.25,
        day=DAY,
        decision_at=NOW,
        stock_basis=148.5,
        now=NOW,
        actor="fixture",
    )


def main() -> None:
    """Write the compressed file of the current version."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "tracker.duckdb"
        write(path)
        packed = gzip.compress(path.read_bytes(), mtime=0)
    FIXTURES.mkdir(exist_ok=True)
    (FIXTURES / f"v{code_version(MIGRATIONS)}.duckdb.gz").write_bytes(packed)


if __name__ == "__main__":
    main()
