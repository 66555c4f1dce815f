"""What has yet to be made of published sessions: files that are due, and what follows from them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING

import dagster as dg

from tracker_dagster.automation.due_files import due_files, last_events
from tracker_dagster.automation.jobs import DAY_FILES, FROM_DAY_FILES
from tracker_dagster.schemas.market import INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS

if TYPE_CHECKING:
    from tracker_dagster.automation.due_files import DueFile
    from tracker_dagster.resources import MarketData
    from tracker_dagster.warehouse import Warehouse

#: Assets whose day rests on the days before it, too.
LOOKING_BACK = frozenset(
    {
        *("iv_percentile", "realized_volatility", "vix_term_structure"),
        *("model_outcomes", "model_scores"),
    }
)
#: What nobody makes before a session's files are out.
_AFTER_THE_SESSION = (STOCK_DAY_AGGS.name, OPTION_DAY_AGGS.name, INDEX_BARS.name)
_RANGE_START, _RANGE_END = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)


@dataclass(frozen=True)
class Work:
    """Assets that one run makes for sessions in a row.

    ``because`` says of each session which files are to be read, or what is missing or older than
    what it rests on.
    """

    assets: tuple[str, ...]
    because: Mapping[date, tuple[str, ...]]

    @property
    def days(self) -> tuple[date, ...]:
        """The sessions, ascending."""
        return tuple(self.because)

    @property
    def span(self) -> str:
        """The session, or the first and the last."""
        first, last = self.days[0], self.days[-1]
        return f"{first}" if first == last else f"{first} … {last}"

    @property
    def reads_files(self) -> bool:
        """Whether any of it is a day file, not only what follows from one."""
        return not set(self.assets).isdisjoint(DAY_FILES)

    @property
    def identity(self) -> str:
        """The same as long as the same has to be made from the same."""
        reasons = [f"{day} {reason}" for day, why in self.because.items() for reason in why]
        return hashlib.sha256("|".join(sorted(reasons)).encode()).hexdigest()[:16]

    def by_day(self) -> list[Work]:
        """The same work, a run a session."""
        return [Work(self.assets, {day: why}) for day, why in self.because.items()]

    def request(self, run_key: str, tags: Mapping[str, str]) -> dg.RunRequest:
        """What a sensor asks for: one run, a range where there are several sessions."""
        first, last = str(self.days[0]), str(self.days[-1])
        span = {} if first == last else {_RANGE_START: first, _RANGE_END: last}
        return dg.RunRequest(
            run_key=run_key,
            partition_key=first if first == last else None,
            asset_selection=[dg.AssetKey(name) for name in ("universe", *self.assets)],
            tags={**tags, **span},
        )


def due_work(
    market: MarketData,
    warehouse: Warehouse,
    instance: dg.DagsterInstance,
    days: Sequence[date],
    followed: Collection[str] = (),
) -> list[Work]:
    """What has to be made of sessions whose files are published, in the order of the days.

    A file is due as `due_files` says. What follows from files is due for a session that has some
    where it has never been made, or where anything it rests on has been made since: of the session
    itself and, for what looks back, of the days before it. So a step that failed or was killed is
    made again, and only that, with what follows from it.

    Only what can be known beforehand is in the answer: what looks back over a session that is made
    again is due once this has happened.

    Args:
        market: the vendor's clients.
        warehouse: which files were read.
        instance: when each asset's day was last made.
        days: sessions to look at, ascending, without gaps.
        followed: tickers whose minutes must be there of each session in which they traded.

    Returns:
        A run each; neighbouring sessions of which the same has to be made share one.

    Raises:
        SourceError: the bucket cannot be listed.
        MissingKeyError: the flat files' keys are not set.
    """
    files: dict[date, list[DueFile]] = {}
    for file in due_files(market, warehouse, instance, days, followed):
        files.setdefault(file.day, []).append(file)
    made = {name: last_events(instance, name, days) for name in (*DAY_FILES, *FROM_DAY_FILES)}
    so_far = dict.fromkeys(made, 0)
    found: list[Work] = []
    for day in days:
        on_day = {name: events.get(day, 0) for name, events in made.items()}
        so_far = {name: max(so_far[name], event) for name, event in on_day.items()}
        to_read = files.get(day, [])
        is_read = any(on_day[name] for name in _AFTER_THE_SESSION)
        if not (to_read or is_read):
            continue
        tables = {file.table.name for file in to_read}
        derived = _derived(tables, on_day, so_far, is_read=is_read)
        if not (tables or derived):
            continue
        # While files are due the attempts on them count, not what else they leave unmade.
        why = [file.identity for file in to_read] or [
            f"{asset} {event}" for asset, event in derived.items()
        ]
        assets = (name for name in (*DAY_FILES, *FROM_DAY_FILES) if name in tables | derived.keys())
        found.append(Work(tuple(dict.fromkeys(assets)), {day: tuple(why)}))
    return _joined(found, days)


def next_work(work: Sequence[Work], tried: Callable[[Work], int], limit: int) -> Work | None:
    """The first of ``work`` that has attempts left.

    A range is tried once as a whole, then day by day: a day that cannot be made must not hold up
    those after it.

    Args:
        work: what is due.
        tried: says how often a run was already launched for it.
        limit: how often one session's work may be tried.
    """
    for due in work:
        pieces = due.by_day() if len(due.days) > 1 and tried(due) else [due]
        for piece in pieces:
            if tried(piece) < limit:
                return piece
    return None


def _derived(
    tables: Collection[str], on_day: Mapping[str, int], so_far: Mapping[str, int], *, is_read: bool
) -> dict[str, int]:
    """Assets to be made for one session, each with the last event that it rests on.

    Args:
        tables: those whose files will be read for the session.
        on_day: last materialisation of each asset's session; 0 when there is none.
        so_far: the latest of it and the days before.
        is_read: whether some file of the session was read before.
    """
    due: dict[str, int] = {}
    for asset, parents in _parents().items():
        events = so_far if asset in LOOKING_BACK else on_day
        rests_on = max((events[parent] for parent in parents), default=0)
        will_change = not parents.isdisjoint(tables) or not parents.isdisjoint(due)
        # Calendars and rates are taken once more with the files: the session's own were early.
        is_first = not parents and not is_read
        if will_change or is_first or on_day[asset] == 0 or on_day[asset] < rests_on:
            due[asset] = rests_on
    return due


def _joined(work: Sequence[Work], days: Sequence[date]) -> list[Work]:
    """Neighbouring sessions of which the same has to be made, as one."""
    after = dict(pairwise(days))
    joined: list[Work] = []
    for due in work:
        last = joined[-1] if joined else None
        if last and last.assets == due.assets and after.get(last.days[-1]) == due.days[0]:
            joined[-1] = Work(due.assets, {**last.because, **due.because})
        else:
            joined.append(due)
    return joined


@cache
def _parents() -> dict[str, frozenset[str]]:
    """Which files and other derived assets each derived asset is made from; parents first."""
    # Imported here: commands that only ask for a session need none of them.
    from tracker_dagster import assets

    parents = {
        asset.key.to_user_string(): frozenset(
            key.to_user_string() for key in asset.asset_deps[asset.key]
        )
        for asset in dg.load_assets_from_package_module(assets)
        if isinstance(asset, dg.AssetsDefinition)
    }
    ours = {*DAY_FILES, *FROM_DAY_FILES}
    wanted = {name: parents[name] & ours for name in FROM_DAY_FILES}
    return {
        name: wanted[name] for name in TopologicalSorter(wanted).static_order() if name in wanted
    }
