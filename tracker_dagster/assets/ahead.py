"""What a run fetches for more than the day it is at. Knows no asset and no source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from itertools import pairwise
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Ahead:
    """One day ahead at the most, in one thread, so that memory does not grow with the range.

    Each asset of a run has its own.
    """

    def __init__(self, days: Sequence[date] = ()) -> None:
        """Name the days of the run, in the order in which they will be asked for."""
        self.days = tuple(days)
        self._after = dict(pairwise(days))
        self._begun: dict[date, Future[Any]] = {}
        self._once: Future[Any] | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="ahead")

    def get(self, work: Callable[[date], T], day: date) -> T:
        """``work(day)``; ``work`` of the next day is begun before this returns.

        Whatever the work of a day raises is raised when that day is asked for.
        """
        begun = self._begun.pop(day, None)
        result: T = work(day) if begun is None else begun.result()
        following = self._after.get(day)
        if following is not None:
            self._begun[following] = self._pool.submit(work, following)
        return result

    def once(self, work: Callable[[], T]) -> T:
        """The one answer of ``work`` for all days of the run, which begins it at the first call.

        What it raises is raised on each day: what was refused once is not asked for again.
        """
        if self._once is None:
            self._once = self._pool.submit(work)
        result: T = self._once.result()
        return result

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A run that failed must not wait for a day that nobody asks for any more.
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._begun.clear()
