"""Sessions made again: ranges as one run, chosen assets, one asset with what it needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import dagster as dg

from tracker_dagster.assets.openings import OPEN_TAG
from tracker_dagster.automation.jobs import LANE_TAG
from tracker_dagster.operations.choice import Choice, UsageError
from tracker_dagster.operations.daily import job_assets, session_of, sync
from tracker_dagster.operations.runs import RunReport, materialised_days
from tracker_dagster.operations.workplace import Workplace
from tracker_dagster.trading_calendar import (
    current_session,
    day_file_available_at,
    first_session,
    last_published_session,
    sessions_between,
)


@dataclass(frozen=True)
class Span:
    """A range of sessions, and what of the request was cut off to get it."""

    days: Sequence[date]
    notes: Sequence[str]


def published_span(first: date, last: date, now: datetime) -> Span:
    """The sessions from ``first`` to ``last`` whose day files are out by ``now``.

    Raises:
        UsageError: none is left.
    """
    if first > last:
        raise UsageError(f"{first} is after {last}")
    notes = []
    start = max(first, first_session())
    if start > first:
        notes.append(f"starts at {start}: our calendar knows no earlier session")
    newest = last_published_session(now)
    end = min(last, newest)
    days = sessions_between(start, end)
    if end < last and sessions_between(newest, last)[1:]:
        due = day_file_available_at(sessions_between(newest, last)[1])
        notes.append(f"ends at {newest}: the next day files are published {due:%F %R} UTC")
    if not days:
        raise UsageError(
            f"no published session between {first} and {last}" + "".join(f"; {n}" for n in notes)
        )
    if days[0] > start or days[-1] < end:
        notes.append(f"sessions {days[0]} … {days[-1]}; other days have none")
    return Span(days, notes)


def backfill(
    place: Workplace, first: date, last: date, assets: Sequence[str] | None = None
) -> Span:
    """Rebuild a range of past sessions as one run of ``history``.

    Raises:
        UsageError: no session of the range has published day files, or an unknown asset.
        RunFailedError: a step failed; finished days stay.
        MarketDownError: the same, and the market does not answer.
    """
    now = place.now()
    span = published_span(first, last, now)
    for note in span.notes:
        place.console.print(f"[yellow]{note}[/]", highlight=False)
    if assets:
        require_known(assets, job_assets(place.definitions, "history"), "the history job")
    sync(place, now)
    report = place.run(
        f"history {span.days[0]} … {span.days[-1]}",
        "history",
        first=span.days[0],
        last=span.days[-1],
        assets=assets,
        now=now,
    )
    if not report.success:
        raise place.failed("the backfill failed; the days before the failure are in place")
    return span


def require_known(assets: Sequence[str], known: Collection[str], where: str) -> None:
    """Refuse names that are no assets of ``known``.

    Raises:
        UsageError: naming the unknown ones and what there is.
    """
    if unknown := sorted(set(assets) - set(known)):
        raise UsageError(
            f"no such asset in {where}: {', '.join(unknown)}; there are {', '.join(sorted(known))}"
        )


def run_assets(place: Workplace, assets: Sequence[str], first: date, last: date) -> RunReport:
    """Materialise chosen assets over a range of sessions, as one run.

    Raises:
        UsageError: an unknown asset, or a range without sessions.
        RunFailedError: a step failed.
        MarketDownError: a step failed, and the market does not answer.
    """
    graph = place.definitions.resolve_asset_graph()
    known = {key.to_user_string() for key in graph.executable_asset_keys}
    require_known(assets, known, "the graph")
    now = place.now()
    days = sessions_between(first, min(last, current_session(now)))
    if not days:
        raise UsageError(f"no session that has opened between {first} and {last}")
    sync(place, now)
    title = ", ".join(assets)
    report = place.run(
        f"{title} {days[0]}" + (f" … {days[-1]}" if len(days) > 1 else ""),
        None,
        first=days[0],
        last=days[-1],
        assets=assets,
        now=now,
    )
    if not report.success:
        raise place.failed(f"{title}: the run failed")
    return report


def make(
    place: Workplace,
    assets: Sequence[str],
    choice: Choice,
    day: date | None = None,
    *,
    refresh: bool = False,
) -> date:
    """Make the assets of one session anew, and first whatever they need and has not been made.

    Args:
        place: where to work.
        assets: keys to make in any case.
        choice: seed, lane and number of promotions.
        day: session; the current one when None. A past one is made again from what was known on
            it: captures are parsed from raw, nothing live is asked for.
        refresh: make everything upstream again too, captures included.

    Returns:
        The session.

    Raises:
        RunFailedError: a step failed.
        MarketDownError: a step failed, and the market does not answer.
    """
    now = place.now()
    session = session_of(day, now)
    sync(place, now)
    if session < current_session(now):
        place.console.print(
            f"{session} is past: made again from what was known on it", highlight=False
        )
    upstream = _upstream(place.definitions, assets)
    lacking = {
        name
        for name in upstream
        if refresh or str(session) not in materialised_days(place.instance, name)
    }
    names = sorted({*assets, *lacking})
    report = place.run(
        f"{', '.join(assets)} {session}",
        "daily",
        first=session,
        assets=names,
        run_config=choice.run_config(names),
        now=now,
        # Only the daily run itself opens what it promotes.
        tags={LANE_TAG: "manual", OPEN_TAG: "none"},
    )
    if not report.success:
        raise place.failed(f"{', '.join(assets)} of {session}: the run failed")
    return session


def _upstream(defs: dg.Definitions, assets: Collection[str]) -> set[str]:
    """What the assets are made from, as far back as the `daily` job makes it."""
    graph = defs.resolve_asset_graph()
    usual = {dg.AssetKey(name) for name in job_assets(defs, "daily")}
    frontier = {dg.AssetKey(name) for name in assets}
    found: set[dg.AssetKey] = set()
    while frontier:
        parents = {parent for key in frontier for parent in graph.get(key).parent_keys}
        frontier = (parents & usual) - found
        found |= frontier
    return {key.to_user_string() for key in found} - set(assets)
