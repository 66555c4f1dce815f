"""Assets about models: what each would decide, what its picks came to, and what that proves."""

import json
from datetime import date, datetime
from typing import Any

import polars as pl

from tracker_dagster.assets.decisions import DecisionConfig, Held, decided, requested
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.reports.documents import write_dated
from tracker_dagster.reports.model_compare import model_compare_report
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.decisions import MODEL_COMPARES, PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.schemas.market import BARS_1M, STOCK_DAY_AGGS
from tracker_dagster.schemas.models import MODEL_OUTCOMES, MODEL_SCORES
from tracker_dagster.schemas.option_bars import OPTION_BARS_1M
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS, REFERENCE_COLLECTIONS
from tracker_dagster.strategy.comparison import compare_models
from tracker_dagster.strategy.settings import CompareSettings
from tracker_dagster.strategy.walk_forward import decisions_of_week
from tracker_dagster.strategy.walk_forward import model_outcomes as outcomes_of_week
from tracker_dagster.strategy.walk_forward import model_scores as scores_so_far
from tracker_dagster.trading_calendar import EASTERN, day_file_available_at, week_sessions


@trading_day_asset(
    MODEL_COMPARES,
    group="decisions",
    deps=("weekly_picks", "pick_candidates", "positions", "ledger", "model_scores"),
    config=DecisionConfig,
)
def model_compares(run: DayRun) -> Outcome:
    """What baseline, gated and weighted would decide over the same candidates.

    The JSON beside it says what each model came to in the weeks that were over by then.
    """
    return compared(run)


def compared(run: DayRun, *, replaces_other: bool = True) -> Outcome:
    """Compare the models over the day's picks, and write the rows and the JSON.

    Args:
        run: the day.
        replaces_other: whether rows of the decision that were made for another seed or number are
            replaced; else they stay, and the JSON alone is of this request.
    """
    config = DecisionConfig(**run.config)
    seed = requested(run).seed
    top_n = run.knobs.compare_top_n if config.top_n is None else config.top_n

    def compare(picks: pl.DataFrame, held: Held) -> pl.DataFrame:
        return compare_models(
            picks,
            _of_picks(run, PICK_CANDIDATES, picks),
            held.positions,
            seed,
            top_n,
            compare_settings(run),
            universe=held.members,
            shares_cost=held.shares_cost,
        )

    asked: dict[str, Any] = {"seed": seed, "top_n": top_n}
    own = dict(asked)

    def is_stored(decision_at: datetime) -> bool:
        if not replaces_other:
            own.update(_decided_with(run, decision_at))
        return own == asked

    outcome, frame = decided(run, MODEL_COMPARES, compare, is_stored)
    paths = []
    if frame.height:
        scores = run.warehouse.read(MODEL_SCORES, as_of=frame["decision_at"][0], last=run.day)
        report = model_compare_report(frame, scores) | {"decided_with": own}
        text = json.dumps(report, indent=1, sort_keys=True)
        paths = write_dated(run.knobs.reports_dir, run.day, text, "model_compare.json")
    return outcome.with_metadata(
        seed=seed,
        top_n=top_n,
        decisions_changed=int(frame["decision_changed"].sum()),
        strikes_changed=int(frame["strike_changed"].sum()),
        paths=[str(path) for path in paths],
    )


def _decided_with(run: DayRun, decision_at: datetime) -> dict[str, Any]:
    """Seed and number that the decision was compared with; else the seed it was promoted with."""
    for table, names in ((MODEL_COMPARES, ["seed", "top_n"]), (PROMOTIONS, ["seed"])):
        rows = run.warehouse.read(
            table, first=run.day, last=run.day, where={"decision_at": decision_at}, columns=names
        )
        if rows.height:
            return rows.row(0, named=True)
    return {}


def compare_settings(run: DayRun) -> CompareSettings:
    """How the models differ, as the user has it."""
    return CompareSettings(penalty=run.knobs.compare_penalty)


def _of_picks(run: DayRun, table: Table, picks: pl.DataFrame) -> pl.DataFrame:
    """Rows of the sessions and tickers of ``picks``."""
    days = picks["trade_date"]
    if days.is_empty():
        return table.empty()
    first, last = min(days), max(days)
    where = {"ticker": sorted(set(picks["ticker"]))} if "ticker" in table.columns else None
    return run.warehouse.read(table, first=first, last=last, where=where)


@trading_day_asset(
    MODEL_OUTCOMES,
    group="decisions",
    deps=(
        "weekly_picks",
        "pick_candidates",
        "option_bars_1m",
        "bars_1m",
        "stock_day_aggs",
        "corporate_actions",
    ),
    checks={"most_are_told": "Of the picks that expired, at least half have an outcome."},
)
def model_outcomes(run: DayRun) -> Outcome:
    """What every candidate pick of the week came to under each model, where it expires today.

    A week is judged by the decision of its first session, on each basis by itself. Prices are
    those traded after the decision, as traded; the result needs the day file of the expiry.
    """
    known = day_file_available_at(run.day)
    if known > run.now:
        result = run.warehouse.replace(
            MODEL_OUTCOMES, MODEL_OUTCOMES.empty(), {"trade_date": run.day}, allow_empty=True
        )
        note = f"closes are published on {known.astimezone(EASTERN):%F %H:%M} ET"
        return Outcome([result], {"not_yet": note}, [Check("most_are_told", True)])
    frame = _outcomes(run)
    result = run.warehouse.replace(MODEL_OUTCOMES, frame, {"trade_date": run.day}, allow_empty=True)
    told = frame.filter(pl.col("reason").is_null())
    reasons = dict(frame.drop_nulls("reason")["reason"].value_counts(sort=True).iter_rows())
    return Outcome(
        [result],
        {"told": told.height, "not_told": reasons},
        [Check("most_are_told", 2 * told.height >= frame.height, reasons)],
    )


def _outcomes(run: DayRun) -> pl.DataFrame:
    week = week_sessions(run.day)
    picks = run.warehouse.read(
        WEEKLY_PICKS, first=week[0], last=run.day, where={"status": "picked", "expiry": run.day}
    )
    picks = decisions_of_week(picks, run.day)
    if picks.is_empty():
        return MODEL_OUTCOMES.empty()
    known = day_file_available_at(run.day)
    since: date = min(picks["trade_date"])
    tickers = sorted(set(picks["ticker"]))

    def read(table: Table, first: date, last: date, where: dict[str, Any]) -> pl.DataFrame:
        return run.warehouse.read(table, as_of=known, first=first, last=last, where=where)

    decided_on: date = max(picks["trade_date"])
    return outcomes_of_week(
        picks,
        _of_picks(run, PICK_CANDIDATES, picks),
        run.day,
        option_bars=read(OPTION_BARS_1M, since, decided_on, {"underlying": tickers}),
        stock_bars=read(BARS_1M, since, decided_on, {"ticker": tickers, "is_regular": True}),
        closes=read(STOCK_DAY_AGGS, run.day, run.day, {"ticker": tickers}),
        corporate_actions=read(CORPORATE_ACTIONS, since, run.day, {"ticker": tickers}),
        collections=run.warehouse.read(REFERENCE_COLLECTIONS, first=since, last=run.day),
        compare=compare_settings(run),
    )


@trading_day_asset(MODEL_SCORES, group="decisions", deps=("model_outcomes",), kinds=("numpy",))
def model_scores(run: DayRun) -> Outcome:
    """Whether a model earned more than baseline over all weeks so far, with intervals, in words.

    Rows are there for sessions on which a week ended; each rests on all weeks up to it.
    """
    outcomes = run.warehouse.read(MODEL_OUTCOMES, last=run.day)
    ended = (outcomes["trade_date"] == run.day).any()
    frame = scores_so_far(outcomes, run.day) if ended else MODEL_SCORES.empty()
    result = run.warehouse.replace(MODEL_SCORES, frame, {"trade_date": run.day}, allow_empty=True)
    said = frame.drop_nulls("verdict")
    return Outcome(
        [result],
        {f"{row['basis']}_{row['model']}": row["verdict"] for row in said.iter_rows(named=True)},
    )
