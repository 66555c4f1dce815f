"""What the commands do, as plain functions on a database that is there: no Dagster run, no network.

They call the same functions as the assets, and write what the assets write.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from tracker_dagster.assets.ahead import Ahead
from tracker_dagster.assets.wiring import DayRun, done_by
from tracker_dagster.ledger import commands
from tracker_dagster.ledger.commands import SyncResult
from tracker_dagster.operations.choice import Choice
from tracker_dagster.operations.daily import session_of
from tracker_dagster.resources import FixedClock, Knobs, MarketData
from tracker_dagster.schemas.system import MARKET_IDENTITY
from tracker_dagster.seed_files import seed_file
from tracker_dagster.settings import Settings, load_settings
from tracker_dagster.warehouse import Warehouse

if TYPE_CHECKING:
    from tracker_dagster.sources.massive.flat_files import FlatFiles
    from tracker_dagster.sources.massive.rest import MassiveRest

__all__ = ["SyncResult", "run_compare", "sync_universe", "write_summary"]


def write_summary(db_path: Path | str, seed: float = 9300.0, *, day: date | None = None) -> str:
    """Write the report of a session from what is stored of it.

    Args:
        db_path: the database; ``reports/`` lies in the same folder.
        seed: cash in dollars, for the header; promotions are shown as they were decided, and where
            that was with other cash, the header names both.
        day: session; the last one with picks when None, else the current one.

    Returns:
        The report in markdown, as it is in ``reports/DAY/summary.md`` and, unless a later day has
        one, in ``reports/summary.md``. What was not decided yet is an empty state in it. The row
        in ``summary`` is of the day's own seed whatever is asked.

    Raises:
        FileNotFoundError: there is no such database.
        UsageError: the seed is not above zero, or the day is no session that has opened.
    """
    Choice(seed)
    run = _stored_day(db_path, day, {"seed": seed})
    _do("report", "summary", run)
    path = run.knobs.reports_dir / run.day.isoformat() / "summary.md"
    return path.read_text(encoding="utf-8")


def run_compare(
    db_path: Path | str, seed: float = 9300.0, top_n: int = 10, *, day: date | None = None
) -> dict[str, Any]:
    """Compare what baseline, gated and weighted would promote of a session's stored picks.

    Args:
        db_path: the database; ``reports/`` lies in the same folder.
        seed: cash of each model, in dollars.
        top_n: most promotions of a model.
        day: session; the last one with picks when None.

    Returns:
        What ``reports/model_compare.json`` holds: session, basis, decision, seed, number, each
        model's decisions, and which of them and which strikes differ from baseline. The rows are
        in ``model_compares``, unless the day was decided with another seed or number
        (``decided_with``): then those rows stay as they are.

    Raises:
        FileNotFoundError: there is no such database.
        UsageError: the seed or the number is not above zero, or the day is no session that has
            opened.
        ValueError: no picks of the day are stored.
    """
    Choice(seed, top_n=top_n)
    run = _stored_day(db_path, day, {"seed": seed, "top_n": top_n})
    # Its modules bring half of the graph.
    from tracker_dagster.assets.models import compared

    with run.ahead:
        outcome = compared(run, replaces_other=False)
    if not outcome.metadata["paths"]:
        raise ValueError(f"no picks of {run.day} are stored in {run.knobs.database}")
    path = run.knobs.reports_dir / run.day.isoformat() / "model_compare.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def sync_universe(
    db_path: Path | str, csv_path: Path | str | None = None, *, now: datetime | None = None
) -> SyncResult:
    """List the canonical tickers in the ledger; nobody is deleted or enabled anew.

    Args:
        db_path: the database; made when there is none.
        csv_path: the list (columns ticker, category); the tracked one when None.
        now: since when new categories count, and tickers that a first sync did not have; this
            moment when None.

    Returns:
        How many tickers are newly listed, moved to another category, as they were.

    Raises:
        LedgerError: the list holds what cannot be a ticker, or one without a category.
    """
    path = Path(csv_path) if csv_path is not None else seed_file("universe.csv")
    warehouse = Warehouse(Path(db_path).expanduser().resolve())
    return commands.sync_universe(warehouse, path, now or datetime.now(UTC))


@dataclass(frozen=True)
class _StoredMarket(MarketData):
    """The market that a database is of, by name alone."""

    stored_name: str

    @property
    def name(self) -> str:
        """Whose market it is."""
        return self.stored_name

    @property
    def rest(self) -> MassiveRest:
        """Never there."""
        self._refuse()

    @property
    def flat_files(self) -> FlatFiles:
        """Never there."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise RuntimeError("these functions work on what is stored, without a network")


def _stored_day(db_path: Path | str, day: date | None, config: Mapping[str, Any]) -> DayRun:
    path = Path(db_path).expanduser().resolve()
    if not path.is_file():
        raise FileNotFoundError(f"there is no database {path}: `tracker daily` makes one")
    settings = load_settings().model_copy(update={"data_dir": path.parent, "db_path": path})
    warehouse = Warehouse(path)
    now = datetime.now(UTC)
    session = day or _last_decided(warehouse)
    return DayRun(
        day=session_of(session, now),
        now=now,
        clock=FixedClock(now),
        warehouse=warehouse,
        market=_StoredMarket(settings, _market_of(warehouse, settings)),
        knobs=Knobs.from_settings(settings),
        config=config,
        log=logging.getLogger(__name__),
        tags={},
        is_first=False,
        is_last=True,
        ahead=Ahead(),
    )


def _do(module: str, asset: str, run: DayRun) -> Any:
    # Their modules bring half of the graph: loaded only when one of them is called for.
    import importlib

    importlib.import_module(f"tracker_dagster.assets.{module}")
    with run.ahead:
        return done_by(asset, run)


def _last_decided(warehouse: Warehouse) -> date | None:
    last: date | None = warehouse.query("SELECT max(trade_date) FROM weekly_picks").item()
    return last


def _market_of(warehouse: Warehouse, settings: Settings) -> str:
    rows = warehouse.read(MARKET_IDENTITY)
    return str(rows["market"][0]) if rows.height else MarketData(settings).name
