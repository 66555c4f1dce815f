"""The asset that compares a session's decisions with those of the session before."""

from datetime import date

import polars as pl

from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.changes import PICK_CHANGES
from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.strategy.changes import pick_changes as compare
from tracker_dagster.trading_calendar import previous_session
from tracker_dagster.warehouse import Write

#: Sessions back in which the decision before is looked for.
LOOK_BACK = 10
#: What is read of the candidates, of which there are thousands.
_GATES = ["symbol", "failed_gate"]


def changes_since(run: DayRun, picks: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """What changed since the last decision on the same basis, in one decision of the day.

    That is of the session before, or of an earlier one, where that was not decided.

    Returns:
        Rows of pick_changes, and why there is nothing to compare with; None where there is.
    """
    basis, first = picks["basis"][0], previous_session(run.day, LOOK_BACK)
    decided = run.warehouse.read(
        WEEKLY_PICKS,
        first=first,
        last=previous_session(run.day),
        where={"basis": basis},
        columns=["trade_date"],
    )
    if decided.is_empty():
        note = f"Nothing was decided on basis {basis} since {first}: nothing to compare with."
        return PICK_CHANGES.empty(), note
    last: date = max(decided["trade_date"])
    before = _latest(
        run.warehouse.read(WEEKLY_PICKS, first=last, last=last, where={"basis": basis})
    )

    def of(table: Table, decision: pl.DataFrame, columns: list[str] | None = None) -> pl.DataFrame:
        day, at = decision.select("trade_date", "decision_at").row(0)
        where = {"basis": basis, "decision_at": at}
        return run.warehouse.read(table, first=day, last=day, where=where, columns=columns)

    frame = compare(
        before,
        picks,
        promotions_before=of(PROMOTIONS, before),
        promotions_after=of(PROMOTIONS, picks),
        candidates_before=of(PICK_CANDIDATES, before, _GATES),
        candidates_after=of(PICK_CANDIDATES, picks, _GATES),
    )
    return frame, None


def _latest(picks: pl.DataFrame) -> pl.DataFrame:
    return picks.filter(pl.col("decision_at") == pl.col("decision_at").max())


@trading_day_asset(
    PICK_CHANGES,
    group="decisions",
    deps=("weekly_picks", "pick_candidates", "promotions"),
)
def pick_changes(run: DayRun) -> Outcome:
    """What changed in the picks since the decision before, on each basis by itself.

    The decision before is that of the last session that was decided on the same basis.
    """
    picks = run.warehouse.read(WEEKLY_PICKS, first=run.day, last=run.day)
    writes, notes, changed = [], {}, {}
    for basis in sorted(set(picks["basis"])):
        after = _latest(picks.filter(pl.col("basis") == basis))
        frame, note = changes_since(run, after)
        if note is not None:
            notes[basis] = note
        unit = {"trade_date": run.day, "basis": basis, "decision_at": after["decision_at"][0]}
        writes.append(Write(PICK_CHANGES, frame, unit, allow_empty=True))
        changed[basis] = dict(frame["change"].value_counts().sort("change").iter_rows())
    return Outcome(run.warehouse.replace_many(writes), {**notes, "changed": changed})
