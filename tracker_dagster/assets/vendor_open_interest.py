"""The vendor's history of open interest, fetched on demand, and whether captures agree with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

from tracker_dagster.analytics.gamma_exposure import contradicted, interest_changes
from tracker_dagster.assets.day_files import REST
from tracker_dagster.assets.plan_limits import gap, refused
from tracker_dagster.assets.reference import INDEX_UNDERLYINGS
from tracker_dagster.assets.universe import enabled_tickers
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.instruments import option_symbol_columns, roots_of_underlying
from tracker_dagster.schemas.captured import COLLECTION_GAPS, OPTION_CHAIN
from tracker_dagster.schemas.vendor_open_interest import VENDOR_OPEN_INTEREST
from tracker_dagster.sources.errors import NotEntitledError, NotFoundError
from tracker_dagster.trading_calendar import EASTERN, next_session, previous_session, session_on
from tracker_dagster.warehouse import Unit, Write, WriteResult

CHECK = "agrees_with_captures"
_COLUMNS = ["underlying", "symbol", "open_interest"]


def _usable_from(day: date) -> datetime:
    """When the figures of a session may be used: the opening bell of the next.

    They arrive that morning, and no capture shows them before.
    """
    return session_on(next_session(day)).open


def _fetch(run: DayRun) -> tuple[list[WriteResult], str | None]:
    """Store the figures of the run's day, or state why there are none yet.

    Raises:
        NotEntitledError: the plan does not include the endpoint.
        NotFoundError: the account has no such endpoint.
    """
    due = _usable_from(run.day)
    if run.now < due:
        early = f"not out before {due.astimezone(EASTERN):%Y-%m-%d %H:%M} ET"
        run.warehouse.replace_many([gap(run, VENDOR_OPEN_INTEREST, REST, early)])
        return [], early
    names = {*enabled_tickers(run), *run.knobs.benchmarks, *INDEX_UNDERLYINGS}
    # Imported here: nobody else needs it, and most never do.
    from tracker_dagster.sources.massive.analytics import option_open_interest

    roots = [root for name in names for root in roots_of_underlying(name)]
    fetched = option_open_interest(run.market.rest, roots, run.day)
    reason = "the vendor sent no figure of the day" if fetched.is_empty() else None
    frame = VENDOR_OPEN_INTEREST.conform(
        fetched.with_columns(*option_symbol_columns()),
        trade_date=run.day,
        source=REST,
        available_at=due,
    )
    unit: Unit = {"trade_date": run.day, "source": REST}
    result, _ = run.warehouse.replace_many(
        [
            Write(VENDOR_OPEN_INTEREST, frame, unit, allow_empty=True),
            gap(run, VENDOR_OPEN_INTEREST, REST, reason),
        ]
    )
    return [result], reason


def _was_early(run: DayRun) -> bool:
    """Whether the figures of the run's day were asked for and not there."""
    gaps = run.warehouse.read(
        COLLECTION_GAPS,
        first=run.day,
        last=run.day,
        where={"dataset": VENDOR_OPEN_INTEREST.name},
        columns=["subject"],
    )
    return bool(gaps.height)


def _compared(run: DayRun) -> Check:
    """Each capture of the two sessions that this day's run may complete, against the vendor's."""
    compared = 0
    differ: dict[str, str] = {}
    for shown_on in (run.day, next_session(run.day)):
        session = previous_session(shown_on)
        theirs = run.warehouse.read(
            VENDOR_OPEN_INTEREST, first=session, last=session, columns=_COLUMNS
        )
        slot = run.warehouse.latest_slot(OPTION_CHAIN, shown_on)
        if slot is None or theirs.is_empty():
            continue
        captured = run.warehouse.read(
            OPTION_CHAIN, first=shown_on, last=shown_on, where={"slot": slot}, columns=_COLUMNS
        )
        changes = interest_changes(captured, theirs)
        compared += int(changes["compared_count"].sum())
        differ |= {f"{session} {name}": told for name, told in contradicted(changes).items()}
    return Check(CHECK, not differ, {"compared": compared, **differ})


@trading_day_asset(
    VENDOR_OPEN_INTEREST,
    group="exposure",
    deps=("universe", "option_chain", "massive_rest_api"),
    kinds=("rest",),
    checks={
        CHECK: "Of each underlying at most 1 % of the contracts have another figure than the "
        "chain captured in the session after shows."
    },
)
def vendor_open_interest(run: DayRun) -> Outcome:
    """Off unless TRACKER_VENDOR_OPEN_INTEREST is set: Massive's ``/options/v1/open-interest``.

    The vendor documents this history on one page and denies it on another: gamma exposure rests on
    captured figures, and these are kept to compare them with. A Friday's are out on Monday, when
    its day files have long been read: they come with Monday's.
    """
    if not run.knobs.vendor_open_interest:
        return Outcome([], {"off": "TRACKER_VENDOR_OPEN_INTEREST is not set"}, [Check(CHECK, True)])
    before = replace(run, day=previous_session(run.day))
    results: list[WriteResult] = []
    metadata: dict[str, Any] = {}
    try:
        if _was_early(before):
            late, _ = _fetch(before)
            results += late
        fetched, reason = _fetch(run)
    except (NotEntitledError, NotFoundError) as error:
        return refused(run, VENDOR_OPEN_INTEREST, REST, error, CHECK)
    if reason:
        metadata["none"] = reason
    return Outcome([*results, *fetched], metadata, [_compared(run)])
