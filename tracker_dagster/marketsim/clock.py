"""The simulated market's clock: frozen by default, or running at a chosen speed."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

from tracker_dagster.trading_calendar import (
    EASTERN,
    decision_time,
    first_session,
    last_complete_session,
    last_session,
)


class ClockError(ValueError):
    """A naive moment, or one outside the simulated history."""


def default_now(wall: datetime) -> datetime:
    """Ten minutes before the close of the last session complete by ``wall``, half days included."""
    return decision_time(last_complete_session(wall))


class SimClock:
    """A clock that only the simulation reads.

    Args:
        now: Simulated moment at construction; default ``default_now`` of the system clock.
        speed: Simulated seconds per real second; 0 keeps the clock frozen.
    """

    def __init__(self, now: datetime | None = None, speed: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._set(default_now(datetime.now(UTC)) if now is None else now, speed)

    def _set(self, now: datetime, speed: float) -> None:
        if now.tzinfo is None:
            raise ClockError(f"naive datetime {now!r}: pass one with a timezone")
        if not first_session() <= now.astimezone(EASTERN).date() <= last_session():
            raise ClockError(f"{now} is outside {first_session()} to {last_session()}")
        if speed < 0:
            raise ClockError("the clock's speed cannot be negative")
        self._base = now.astimezone(UTC)
        self._speed = speed
        self._started = time.monotonic()

    @property
    def speed(self) -> float:
        """Simulated seconds per real second."""
        return self._speed

    def now(self) -> datetime:
        """The simulated moment, UTC."""
        with self._lock:
            if not self._speed:
                return self._base
            return self._base + timedelta(seconds=(time.monotonic() - self._started) * self._speed)

    def set(self, now: datetime | None = None, speed: float | None = None) -> None:
        """Move the clock, change its speed, or both.

        Raises:
            ClockError: ``now`` is naive or outside the simulated history.
        """
        current = self.now() if now is None else now
        with self._lock:
            self._set(current, self._speed if speed is None else speed)
