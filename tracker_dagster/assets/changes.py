"""The asset that compares a session's decisions with those of the session before."""

from datetime import datetime

import polars as pl

from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.changes import PICK_CHANGES
from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.strategy.changes import pick_changes as compare
from tracker_dagster.trading_calendar import previous_session
from tracker_dagster.warehouse import Write

#: What is read of the candidates, of which there are thousands.
_GATES = ["symbol", "failed_gate"]


@trading_day_asset(
    PICK_CHANGES,
    group="decisions",
    deps=("weekly_picks", "pick_candidates", "promotions"),
)
def pick_changes(run: DayRun) -> Outcome:
    """What changed in the picks since the session before, on each basis that both have."""
    yesterday = previous_session(run.day)
    picks = run.warehouse.read(WEEKLY_PICKS, first=yesterday, last=run.day)

    def of(table: Table, decision: pl.DataFrame, columns: list[str] | None = None) -> pl.DataFrame:
        day, basis, at = decision.select("trade_date", "basis", "decision_at").row(0)
        where = {"basis": basis, "decision_at": at}
        return run.warehouse.read(table, first=day, last=day, where=where, columns=columns)

    writes, notes, changed = [], {}, {}
    for basis in sorted(set(picks.filter(pl.col("trade_date") == run.day)["basis"])):
        rows = picks.filter(pl.col("basis") == basis)
        before, after = (
            _latest(rows.filter(pl.col("trade_date") == day)) for day in (yesterday, run.day)
        )
        if before.is_empty():
            notes[basis] = f"{yesterday} was not decided on this basis"
            frame = PICK_CHANGES.empty()
        else:
            frame = compare(
                before,
                after,
                promotions_before=of(PROMOTIONS, before),
                promotions_after=of(PROMOTIONS, after),
                candidates_before=of(PICK_CANDIDATES, before, _GATES),
                candidates_after=of(PICK_CANDIDATES, after, _GATES),
            )
        at: datetime = after["decision_at"][0]
        unit = {"trade_date": run.day, "basis": basis, "decision_at": at}
        writes.append(Write(PICK_CHANGES, frame, unit, allow_empty=True))
        counts = frame["change"].value_counts().sort("change")
        changed[basis] = dict(counts.iter_rows())
    return Outcome(run.warehouse.replace_many(writes), {**notes, "changed": changed})


def _latest(picks: pl.DataFrame) -> pl.DataFrame:
    return picks.filter(pl.col("decision_at") == pl.col("decision_at").max())
