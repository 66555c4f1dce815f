"""Pacing of calls: a token bucket that honours a limit of N calls in any minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

MINUTE = 60.0

#: Requests reach the vendor with varying delay, so two that leave a minute apart may arrive
#: a little closer than that; a token therefore comes back slightly late.
ARRIVAL_MARGIN = 0.5


class TokenBucket:
    """At most ``per_minute`` calls in any 60 seconds, shared by all threads of a process.

    A bucket refilled drop by drop lets almost twice the limit through in its first minute,
    which a plan of five calls a minute answers with 429. Here each token comes back on its
    own, a minute after it was taken.

    Args:
        per_minute: calls allowed in any minute; None for no limit.
        clock: monotonic seconds.
        sleep: how to wait, in seconds.
    """

    def __init__(
        self,
        per_minute: int | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if per_minute is not None and per_minute < 1:
            raise ValueError(f"per_minute must be at least 1, not {per_minute}")
        self._per_minute = per_minute
        self._clock = clock
        self._sleep = sleep
        self._mutex = threading.Lock()
        self._back_at: deque[float] = deque()
        self._closed_until = 0.0

    def take(self) -> float:
        """Take a token, waiting for one if need be; returns the seconds waited."""
        waited = 0.0
        while (delay := self._reserve()) > 0:
            self._sleep(delay)
            waited += delay
        return waited

    def close_for(self, seconds: float) -> None:
        """Let no call through for ``seconds``: the vendor told one of us to wait."""
        with self._mutex:
            self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _reserve(self) -> float:
        with self._mutex:
            now = self._clock()
            if now < self._closed_until:
                return self._closed_until - now
            if self._per_minute is None:
                return 0.0
            while self._back_at and self._back_at[0] <= now:
                self._back_at.popleft()
            if len(self._back_at) < self._per_minute:
                self._back_at.append(now + MINUTE + ARRIVAL_MARGIN)
                return 0.0
            return self._back_at[0] - now
