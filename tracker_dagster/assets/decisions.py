"""Assets that decide about picks: promotions under the cash, and what a run asks of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime

import dagster as dg
import polars as pl

from tracker_dagster.assets.acted_on import Request, acted_on_request, require_request_acted_on
from tracker_dagster.assets.universe import members_at
from tracker_dagster.assets.wiring import DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.events import PAPER
from tracker_dagster.ledger.folds import positions_on
from tracker_dagster.ledger.holdings import lots_as_of
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.decisions import (
    PROMOTIONS,
    WEEKLY_PICKS,
)
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.preferred import passed_over, preferred
from tracker_dagster.strategy.promotions import promote
from tracker_dagster.trading_calendar import (
    decision_time,
)


class DecisionConfig(dg.Config):
    """What a person may ask of one run; null where nothing in particular."""

    seed: float | None = None
    lane: str | None = None
    top_n: int | None = None

    def request(self, otherwise: Request) -> Request:
        """Seed, lane and number of promotions of this run; ``otherwise`` where none is asked."""
        return Request(
            otherwise.seed if self.seed is None else self.seed,
            self.lane or otherwise.lane,
            otherwise.top_n if self.top_n is None else self.top_n,
        )


def preferred_picks(run: DayRun) -> pl.DataFrame:
    """The day's picks that count: the snapshot's where it priced a ticker, else the day files'."""
    return preferred(run.warehouse.read(WEEKLY_PICKS, first=run.day, last=run.day))


def requested(run: DayRun) -> Request:
    """What the run asks for; else what the day's decision was acted on with; else the settings'.

    So a day made again rests on what its book rests on, even after the settings have changed.
    """
    picks = preferred_picks(run)
    acted_on = None
    if picks.height:
        acted_on = acted_on_request(run.warehouse, run.day, picks["decision_at"][0])
    usual = Request(run.knobs.seed, run.knobs.lane, run.knobs.top_n)
    return DecisionConfig(**run.config).request(acted_on or usual)


@dataclass(frozen=True)
class Held:
    """What the paper book held when a decision was taken.

    Attributes:
        positions: rows of positions that were open.
        shares_cost: dollars that its shares beside them have cost.
        members: membership of the universe.
    """

    positions: pl.DataFrame
    shares_cost: float
    members: pl.DataFrame


def _held_before(run: DayRun, decision_at: datetime) -> Held:
    """The paper book when the decision was taken; what it opened itself does not count.

    What a person holds in an account of theirs ties up no paper cash and blocks no paper trade.

    A decision on the closing quotes looks at the same moment as `positions`: what expires that
    day is still open to it, whether or not it has been settled since.
    """
    moment = min(decision_at, decision_time(run.day))
    ledger = run.warehouse.read(LEDGER)
    held = positions_on(ledger, run.day, moment)
    lots = lots_as_of(ledger, moment).filter(pl.col("account") == PAPER)
    return Held(
        held.filter((pl.col("status") == "OPEN") & (pl.col("account") == PAPER)),
        float((lots["shares"] * lots["basis"]).sum()),
        members_at(run, decision_at),
    )


def decided(
    run: DayRun,
    table: Table,
    decide: Callable[[pl.DataFrame, Held], pl.DataFrame],
    is_stored: Callable[[datetime], bool] = lambda _: True,
) -> tuple[Outcome, pl.DataFrame]:
    """Write what ``decide`` makes of the day's picks and of what was held, as one unit.

    Where ``is_stored`` says no to the moment of the decision, it is made and not written.
    """
    of_day = run.warehouse.read(WEEKLY_PICKS, first=run.day, last=run.day)
    picks = preferred(of_day)
    if picks.is_empty():
        return Outcome([], {"no_picks": "weekly_picks has no rows of the day"}), table.empty()
    basis, decision_at = picks["basis"][0], picks["decision_at"][0]
    frame = decide(picks, _held_before(run, decision_at))
    unit = {"trade_date": run.day, "basis": basis, "decision_at": decision_at}
    results = []
    if is_stored(decision_at):
        results.append(run.warehouse.replace(table, frame, unit, allow_empty=True))
    said = {"basis": basis, "decision_at": decision_at.isoformat()}
    if why := passed_over(of_day):
        said["snapshot"] = why
    return Outcome(results, said), frame


@trading_day_asset(
    PROMOTIONS,
    group="decisions",
    # Expired positions are settled before it is decided what the cash can carry.
    deps=("weekly_picks", "positions", "ledger"),
    config=DecisionConfig,
)
def promotions(run: DayRun) -> Outcome:
    """Which picks the cash promotes, every gate with its outcome; it opens nothing by itself.

    Once positions were opened on a decision, it is not decided again with another seed, lane or
    number: the log says what the book rests on.
    """
    asked = requested(run)

    def decide(picks: pl.DataFrame, held: Held) -> pl.DataFrame:
        require_request_acted_on(run.warehouse, run.day, picks["decision_at"][0], asked)
        return promote(
            picks,
            held.positions,
            asked.seed,
            asked.lane,
            asked.top_n,
            universe=held.members,
            shares_cost=held.shares_cost,
        )

    outcome, frame = decided(run, PROMOTIONS, decide)
    promoted = frame.filter(pl.col("decision") == "promote")
    reasons = dict(frame["reason"].value_counts(sort=True).iter_rows())
    return outcome.with_metadata(
        **asdict(asked), promoted=list(promoted["ticker"]), reasons=reasons
    )
