"""`tracker demo`: some weeks of history as one run, today's decisions, and a look at the report."""

from __future__ import annotations

from tracker_dagster.operations.choice import Choice
from tracker_dagster.operations.daily import daily, sync
from tracker_dagster.operations.rebuild import backfill
from tracker_dagster.operations.results import SUMMARY_FILE, missing_sections, promotions
from tracker_dagster.operations.workplace import Workplace
from tracker_dagster.trading_calendar import last_published_session, last_sessions


def run_demo(place: Workplace, sessions: int) -> list[str]:
    """Load ``sessions`` past sessions, decide the current one, print what was promoted.

    Returns:
        Headings that the summary lacks: none when all is well.

    Raises:
        RunFailedError: a step failed.
    """
    now = place.now()
    place.warehouse.migrate()
    place.console.print(sync(place, now), highlight=False)
    days = last_sessions(last_published_session(now), sessions)
    backfill(place, days[0], days[-1])
    session = daily(place, Choice(), history=sessions)
    for part in promotions(place.warehouse, session):
        place.console.print(part)
    report = place.settings.reports_dir / SUMMARY_FILE
    return missing_sections(report.read_text(encoding="utf-8"))
