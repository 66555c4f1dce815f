"""What a Massive subscription entitles to: delay, history, and which objects appear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Plan:
    """One subscription level; years of history of None mean everything."""

    name: str
    delay_minutes: int
    requests_per_minute: int | None
    stock_years: int | None
    option_years: int | None
    snapshots: bool
    trades: bool
    quotes: bool
    flat_files: bool

    @property
    def end_of_day(self) -> bool:
        """Whether the running day is withheld."""
        return self.requests_per_minute is not None

    @property
    def timeframe(self) -> str:
        """How the vendor labels objects of this plan."""
        return "DELAYED" if self.delay_minutes else "REAL-TIME"

    @property
    def aggregate_status(self) -> str:
        """Top-level status of aggregates and v2 snapshots."""
        return "DELAYED" if self.delay_minutes else "OK"


PLANS: Mapping[str, Plan] = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            Plan("basic", 15, 5, 2, 2, False, False, False, False),
            Plan("starter", 15, None, 5, 2, True, False, False, True),
            Plan("developer", 15, None, 10, 4, True, True, False, True),
            Plan("advanced", 0, None, None, None, True, True, True, True),
        )
    }
)
