"""Planted instability: weeks with serially dependent minutes, each followed by a week that loses.

What a structure gate is for, put into the market on purpose, so that it can be measured whether a
gate finds it and whether turning it down pays.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from tracker_dagster.marketsim.world.randomness import Floats, Keys, stable_hash, uniforms
from tracker_dagster.trading_calendar import week_sessions

#: Coefficient of the minutes' dependence on the minute before, up or down.
SERIAL_DEPENDENCE = 0.8
#: Fall of the log price in the week after a planted one, over its sessions but the first.
LOSS = 0.04


@dataclass(frozen=True, slots=True)
class Instability:
    """In which weeks of which tickers instability is planted, and what it costs.

    Whether a week is planted depends on the seed, the ticker and the week alone.

    Attributes:
        seed: names the world.
        share: of ticker-weeks that are planted, 0 to 1.
        loss: fall of the log price that follows, in equal parts over the sessions of the next
            week but its first: who decides on the first session still has it all ahead.
    """

    seed: int
    share: float = 0.0
    loss: float = LOSS

    def __post_init__(self) -> None:
        """Reject what is no share of all weeks."""
        if not 0.0 <= self.share <= 1.0:
            raise ValueError(f"share of planted weeks must be between 0 and 1, not {self.share}")

    def _planted(self, ticker: str, weeks: Keys) -> np.ndarray:
        key = np.uint64(stable_hash(self.seed, "instability", ticker))
        return uniforms(weeks ^ key, "planted") < self.share

    def dependence(self, ticker: str, day: date) -> float:
        """Coefficient of the session's minutes: 0 where nothing is planted."""
        if not self.share:
            return 0.0
        week = _weeks([day])
        if not self._planted(ticker, week)[0]:
            return 0.0
        key = np.uint64(stable_hash(self.seed, "instability", ticker))
        turns = uniforms(week ^ key, "turns")[0] < 0.5
        return -SERIAL_DEPENDENCE if turns else SERIAL_DEPENDENCE

    def losses(self, ticker: str, days: list[date]) -> Floats | None:
        """What each of the consecutive sessions ``days`` loses, as log returns below zero.

        None where nothing is planted at all. The path's own reversion to its trend makes up for
        losses over months, so prices stay sane however large the share.
        """
        if not self.share:
            return None
        weeks = _weeks(days)
        lost = self._planted(ticker, weeks - np.uint64(1))
        first = np.concatenate([[True], weeks[1:] != weeks[:-1]])
        later, number = np.unique(weeks[~first], return_counts=True)
        parts = dict(zip(later.tolist(), number.tolist(), strict=True))
        share = np.array([1 / parts.get(week, 1) for week in weeks.tolist()])
        return -self.loss * share * (lost & ~first)

    def is_planted(self, ticker: str, day: date) -> bool:
        """Whether the week that holds ``day`` is a planted one of the ticker."""
        return bool(self.share) and bool(self._planted(ticker, _weeks([day]))[0])

    def loses_in_week_of(self, ticker: str, day: date) -> bool:
        """Whether the week that holds ``day`` follows a planted one, and so loses."""
        if not self.share or len(week_sessions(day)) < 2:
            return False
        return bool(self._planted(ticker, _weeks([day]) - np.uint64(1))[0])


def _weeks(days: list[date]) -> Keys:
    """Number of each day's calendar week, Monday to Sunday."""
    return np.array([(day.toordinal() - 1) // 7 for day in days], dtype=np.uint64)
