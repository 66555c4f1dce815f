"""What the reports of a session read: the rows of its preferred decision, and of the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import polars as pl

from tracker_dagster.assets.decision_slots import decision_slot
from tracker_dagster.assets.decisions import preferred_picks
from tracker_dagster.assets.wiring import DayRun
from tracker_dagster.resources import SIMULATED
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.book import OPENINGS, POSITIONS
from tracker_dagster.schemas.captured import MARKET_LAST
from tracker_dagster.schemas.decisions import WEEKLY_PICKS
from tracker_dagster.schemas.models import MODEL_SCORES
from tracker_dagster.schemas.outcomes import OUTCOMES
from tracker_dagster.strategy.preferred import passed_over
from tracker_dagster.trading_calendar import first_session, previous_session

#: Sessions back in which the walk-forward's last scores are looked for.
SCORES_SESSIONS = 15


def shown_database(run: DayRun) -> str:
    """The database's path from the folder that holds ``data/``, so that copies read the same."""
    root = run.knobs.reports_dir.parent.parent
    path = run.knobs.database
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def shown_market(run: DayRun) -> str:
    """Whose prices these are; generated ones must never pass for real."""
    name = run.market.name
    return f"{name.upper()}: every price is generated" if name == SIMULATED else name


@dataclass(frozen=True)
class ReportRows:
    """Rows that reports of one session show."""

    run: DayRun

    @cached_property
    def picks(self) -> pl.DataFrame:
        """Picks of the preferred decision; none where nothing was decided."""
        return preferred_picks(self.run)

    @cached_property
    def passed_over(self) -> str | None:
        """Why the snapshot's decision is not the preferred one, where it is not."""
        return passed_over(self.of_day(WEEKLY_PICKS))

    @property
    def basis(self) -> str | None:
        """Basis of that decision."""
        return self.picks["basis"][0] if self.picks.height else None

    @property
    def decision_at(self) -> datetime | None:
        """When it was taken."""
        return self.picks["decision_at"][0] if self.picks.height else None

    def of_day(self, table: Table, **where: object) -> pl.DataFrame:
        """Rows of the day."""
        day = self.run.day
        return self.run.warehouse.read(table, first=day, last=day, where=where or None)

    def of_decision(self, table: Table) -> pl.DataFrame:
        """Rows of the decision; none without one."""
        if self.basis is None:
            return table.empty()
        return self.of_day(table, basis=self.basis, decision_at=self.decision_at)

    def of_last_slot(self, table: Table) -> pl.DataFrame:
        """Rows of the day's latest slot."""
        rows = self.of_day(table)
        return rows.filter(pl.col("slot") == pl.col("slot").max())

    @cached_property
    def prices(self) -> pl.DataFrame:
        """Last prices at the slot that the decision rests on."""
        slot = decision_slot(self.run, MARKET_LAST)
        return self.of_day(MARKET_LAST, slot=slot) if slot else MARKET_LAST.empty()

    @cached_property
    def open_positions(self) -> int:
        """How many positions are open, those that the session itself opened among them."""
        opened = self.of_day(OPENINGS).filter(pl.col("status") != "refused").height
        return self.of_day(POSITIONS, status="OPEN").height + opened

    @cached_property
    def outcomes(self) -> pl.DataFrame:
        """Outcomes of all sessions so far."""
        return self.run.warehouse.read(OUTCOMES, first=first_session(), last=self.run.day)

    @cached_property
    def model_scores(self) -> pl.DataFrame:
        """Scores of the models of the last weeks that were known at the decision."""
        return self.run.warehouse.read(
            MODEL_SCORES,
            as_of=self.decision_at or self.run.now,
            first=previous_session(self.run.day, SCORES_SESSIONS),
            last=self.run.day,
        )
