"""What positions were opened on: the decision behind them, which is not decided otherwise later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from tracker_dagster.ledger.events import PAPER, Event, PositionOpened
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.warehouse import Warehouse


@dataclass(frozen=True)
class Request:
    """What a promotion was asked for: cash in dollars, lane, most promotions."""

    seed: float
    lane: str
    top_n: int

    def __str__(self) -> str:
        return f"seed {self.seed:,.2f}, lane {self.lane}, top {self.top_n}"


def openings_of(warehouse: Warehouse, day: date) -> dict[str, PositionOpened]:
    """Every position opened on a decision of ``day``, by its identity."""
    ledger = warehouse.read(LEDGER, where={"kind": PositionOpened.kind})
    events = {row["event_id"]: Event.from_row(row) for row in ledger.iter_rows(named=True)}
    return {
        event_id: event
        for event_id, event in sorted(events.items())
        if isinstance(event, PositionOpened) and event.day == day
    }


def acted_on_request(warehouse: Warehouse, day: date, decision_at: datetime) -> Request | None:
    """What the promotions of a decision were asked for, once one was opened in the paper book.

    None before that. What other accounts open rests on no request: they take any contract.
    """
    opened = {
        event.symbol
        for event in openings_of(warehouse, day).values()
        if event.decision_at == decision_at and event.account == PAPER
    }
    promoted = warehouse.read(
        PROMOTIONS,
        first=day,
        last=day,
        where={"decision_at": decision_at, "decision": "promote"},
        columns=["symbol", "seed", "lane_filter", "top_n"],
    ).filter(pl.col("symbol").is_in(sorted(opened)))
    if promoted.is_empty():
        return None
    row = promoted.row(0, named=True)
    return Request(row["seed"], row["lane_filter"], row["top_n"])


def require_request_acted_on(
    warehouse: Warehouse, day: date, decision_at: datetime, asked: Request
) -> None:
    """Refuse to decide otherwise what was acted on: the log must say what the book rests on.

    Raises:
        ValueError: positions were opened on the decision as promoted for another request.
    """
    acted_on = acted_on_request(warehouse, day, decision_at)
    if acted_on is not None and acted_on != asked:
        raise ValueError(
            f"positions were opened on the decision of {decision_at:%H:%M} UTC as promoted with "
            f"{acted_on}; its promotions are kept and not decided again with {asked}"
        )
