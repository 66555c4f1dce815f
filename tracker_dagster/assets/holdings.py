"""Assets about shares that accounts hold: the holdings of a day, and the calls to write on them."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from tracker_dagster.assets.decisions import preferred_picks
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.ledger.folds import as_on
from tracker_dagster.ledger.holdings import holdings_as_of
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.holdings import HOLDING_CALLS, HOLDINGS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.strategy.holding_calls import holding_calls as choose_calls
from tracker_dagster.strategy.holdings import marked_splits
from tracker_dagster.trading_calendar import decision_time, trading_date


@trading_day_asset(
    HOLDINGS,
    group="book",
    deps=("positions", "corporate_actions", "ledger"),
    kinds=("ledger",),
    checks={
        "holdings_are_current": "No ticker has split since its shares were recorded, and no more "
        "calls are open than shares are there.",
    },
)
def holdings(run: DayRun) -> Outcome:
    """Shares of each account at the decision time of the session: lots, cost, covered and free.

    Shares that were bought with a paper call belong to that position and are not here.
    """
    moment = decision_time(run.day)
    held = holdings_as_of(as_on(run.warehouse.read(LEDGER), run.day), moment)
    since = trading_date(min(held["recorded_at"].drop_nulls(), default=moment))
    actions = run.warehouse.read(
        CORPORATE_ACTIONS,
        as_of=moment + timedelta(seconds=1),
        first=min(since, run.day),
        last=run.day,
        where={"ticker": held["ticker"].unique().to_list(), "action": "split"},
    )
    frame = HOLDINGS.conform(
        marked_splits(held, actions, run.day), trade_date=run.day, available_at=moment
    )
    result = run.warehouse.replace(HOLDINGS, frame, {"trade_date": run.day}, allow_empty=True)
    split = frame.filter(pl.col("split_on").is_not_null())
    short = frame.filter(pl.col("free") < 0)
    wrong: dict[str, object] = {}
    if split.height:
        wrong["import_anew_after_split"] = sorted(split["ticker"].unique())
    if short.height:
        wrong["more_calls_than_shares"] = sorted(short["ticker"].unique())
    return Outcome(
        [result],
        {"accounts": frame["account"].n_unique(), "free": float(frame["free"].sum())},
        [Check("holdings_are_current", not wrong, wrong)],
    )


@trading_day_asset(
    HOLDING_CALLS,
    group="decisions",
    deps=("holdings", "pick_candidates", "weekly_picks"),
)
def holding_calls(run: DayRun) -> Outcome:
    """The call to write on each holding of 100 free shares or more, from the day's decision.

    The decision is that of the promotions: captured quotes where there are some, else day files.
    """
    picks = preferred_picks(run)
    candidates = PICK_CANDIDATES.empty()
    known = decision_time(run.day)
    if picks.height:
        known = picks["available_at"][0]
        decision = {name: picks[name][0] for name in ("basis", "decision_at")}
        candidates = run.warehouse.read(
            PICK_CANDIDATES, first=run.day, last=run.day, where=decision
        )
    frame = choose_calls(
        run.warehouse.read(HOLDINGS, first=run.day, last=run.day),
        candidates,
        picks,
        run.day,
        known,
        at_basis_or_above=run.knobs.holdings_strike_floor,
    )
    result = run.warehouse.replace(HOLDING_CALLS, frame, {"trade_date": run.day}, allow_empty=True)
    return Outcome(
        [result],
        {
            "calls": dict(frame.drop_nulls("symbol").select("symbol", "contracts").iter_rows()),
            "none": dict(frame.drop_nulls("reason").select("ticker", "reason").iter_rows()),
        },
    )
