"""The order of a day: universe, day files that are due, then one run of the `daily` job."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime

import dagster as dg

from tracker_dagster.automation.due_files import followed_tickers
from tracker_dagster.automation.due_work import Work, due_work, next_work
from tracker_dagster.automation.turnstile import await_daily_run, daily_lock
from tracker_dagster.ledger.commands import sync_universe
from tracker_dagster.operations.choice import Choice, UsageError
from tracker_dagster.operations.workplace import Workplace
from tracker_dagster.resources import MissingKeyError
from tracker_dagster.seed_files import seed_file
from tracker_dagster.sources.errors import SourceError
from tracker_dagster.trading_calendar import (
    current_session,
    is_session,
    last_published_session,
    last_sessions,
    session_on,
)


def job_assets(defs: dg.Definitions, job: str) -> set[str]:
    """Keys of the assets that a job makes."""
    layer = defs.resolve_job_def(job).asset_layer
    return {key.to_user_string() for key in layer.executable_asset_keys}


def sync(place: Workplace, now: datetime) -> str:
    """Bring the canonical tickers into the ledger; a sentence on what changed."""
    result = sync_universe(place.warehouse, seed_file("universe.csv"), now)
    return (
        f"universe: {result.listed} newly listed, {result.recategorised} moved, "
        f"{result.unchanged} as they were"
    )


def session_of(day: date | None, now: datetime) -> date:
    """The session that is asked for: ``day``, else the current one.

    Raises:
        UsageError: ``day`` is no session, or has not opened yet.
    """
    if day is None:
        return current_session(now)
    if not is_session(day):
        raise UsageError(f"{day} is not a trading session")
    if session_on(day).open > now:
        raise UsageError(f"the session of {day} has not opened yet at the market's {now:%F %R} UTC")
    return day


def catch_up(place: Workplace, now: datetime, sessions: int) -> bool:
    """Make what is due of the last published sessions: day files, and what follows from them.

    Files that are new or were replaced are read; minute files also for tickers that have been
    enabled since. What follows from files is computed where a step failed, was killed, did not
    exist yet, or looks back over a session that has been made again. Most often that is one run.

    Each piece of work is tried once. What cannot be had is reported, and the day's decisions say
    what they lacked.

    Returns:
        False when a run failed and left something undone.
    """
    days = last_sessions(last_published_session(now), sessions)
    tried: Counter[str] = Counter()
    succeeded = True

    def due() -> list[Work] | None:
        try:
            followed = followed_tickers(place.warehouse, now, place.settings.benchmarks)
            return due_work(place.market, place.warehouse, place.instance, days, followed)
        except (SourceError, MissingKeyError) as error:
            place.console.print(f"[yellow]day files are left out:[/] {error}", highlight=False)
            return None

    found = due()
    if found == []:
        place.console.print(f"day files: the last {len(days)} published sessions are all there")
    # Each session could fail in a range, alone, and be looked back over: more rounds than that
    # would be a vendor whose files change from one listing to the next.
    for _ in range(3 * len(days)):
        work = next_work(found or [], lambda work: tried[work.identity], limit=1)
        if work is None:
            break
        tried[work.identity] += 1
        report = place.run(
            f"flat_files {work.span}",
            "flat_files",
            first=work.days[0],
            last=work.days[-1],
            assets=["universe", *work.assets],
            now=now,
        )
        succeeded = succeeded and report.success
        found = due()
    return succeeded if found is None else not found


def daily(
    place: Workplace,
    choice: Choice,
    day: date | None = None,
    *,
    wait: bool = True,
    history: int | None = None,
) -> date:
    """Everything for one session: sync, day files that are due, then one run of ``daily``.

    Args:
        place: where to work.
        choice: seed, lane and number of promotions.
        day: session; the current one when None.
        wait: whether to wait for another ``daily``.
        history: sessions of day files to look after; the settings' number when None.

    Returns:
        The session.

    Raises:
        BusyError: another ``daily`` is running, or a scheduled one, and ``wait`` is False.
        RunFailedError: a step failed.
        MarketDownError: a step failed, and the market does not answer.
    """

    def waiting(holder: str) -> None:
        place.console.print(f"waiting: another daily is already running ({holder})")

    with daily_lock(place.settings.run_dir, wait=wait, on_wait=waiting):
        await_daily_run(place.instance, wait=wait, on_wait=waiting)
        now = place.now()
        session = session_of(day, now)
        place.console.print(sync(place, now), highlight=False)
        is_caught_up = catch_up(place, now, history or place.settings.history_sessions)
        assets = job_assets(place.definitions, "daily")
        # The schedule may have started one while the files were read.
        if await_daily_run(place.instance, wait=wait, on_wait=waiting):
            now = place.now()
        report = place.run(
            f"daily {session}",
            "daily",
            first=session,
            run_config=choice.run_config(assets),
            now=now,
        )
    if not report.success:
        raise place.failed(f"the daily run of {session} failed")
    if not is_caught_up:
        place.console.print(
            "[yellow]some day files, or what follows from them, are missing; "
            "the summary says what was lacking[/]"
        )
    return session
