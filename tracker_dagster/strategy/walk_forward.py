"""What the models' picks came to, week by week, and whether a model is any better for it.

Each decision is judged by what was traded after it: shares bought and the call sold at once, both
held to the expiry. Nothing here is chosen in hindsight; what cannot be told is null with a reason.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.bootstrap import MeanInterval, block_length, mean_interval
from tracker_dagster.analytics.dividends import is_foreign
from tracker_dagster.schemas.decisions import MODELS
from tracker_dagster.schemas.models import MODEL_OUTCOMES, MODEL_SCORES
from tracker_dagster.strategy.comparison import model_choices
from tracker_dagster.strategy.events import DIVIDENDS
from tracker_dagster.strategy.known import known_at
from tracker_dagster.strategy.settings import CompareSettings, WalkForwardSettings
from tracker_dagster.strategy.settlement import EXERCISE_THRESHOLD
from tracker_dagster.strategy.tickers import SNAPSHOT

_KEY = ("basis", "model", "ticker")


def decisions_of_week(picks: pl.DataFrame, expiry: date) -> pl.DataFrame:
    """The picks that a week is judged by: of its first session with calls of ``expiry``.

    Args:
        picks: rows of weekly_picks of the week's sessions, any decisions.
        expiry: a session; calls that expire on another do not count.

    Returns:
        The rows of one decision a basis; of several on its session, of the latest.
    """
    week = trading_calendar.week_sessions(expiry)
    rows = picks.filter((pl.col("expiry") == expiry) & pl.col("trade_date").is_in(week))
    rows = rows.filter(pl.col("trade_date") == pl.col("trade_date").min().over("basis"))
    return rows.filter(pl.col("decision_at") == pl.col("decision_at").max().over("basis"))


def model_outcomes(
    picks: pl.DataFrame,
    candidates: pl.DataFrame,
    expiry: date,
    *,
    option_bars: pl.DataFrame,
    stock_bars: pl.DataFrame,
    closes: pl.DataFrame,
    corporate_actions: pl.DataFrame,
    collections: pl.DataFrame | None = None,
    settings: WalkForwardSettings | None = None,
    compare: CompareSettings | None = None,
) -> pl.DataFrame:
    """Rows of model_outcomes of the week that ends with ``expiry``.

    All prices are as traded. On the ``day_file`` basis, which decides on prices of the session
    before, the call is sold at its first trade at or after the decision, and the shares are bought
    at their first trade from that minute on; on the ``snapshot`` basis both at the captured chain:
    shares at its price, the call at its bid. At the expiry shares are called away where the close
    is a cent or more above the strike, else sold at the close. Dividends are for who holds the
    shares at the close before their ex-date.

    Args:
        picks: rows of weekly_picks of the week's sessions.
        candidates: rows of pick_candidates of the same decisions.
        expiry: the session on which the week ends.
        option_bars: rows of option_bars_1m of the decisions' sessions.
        stock_bars: rows of bars_1m of the decisions' sessions.
        closes: rows of stock_day_aggs of ``expiry``.
        corporate_actions: rows of corporate_actions of the week's sessions.
        collections: rows of reference_collections of the same; None where each counts as whole.
        settings: cost of a fill.
        compare: how models differ.
    """
    settings = settings or WalkForwardSettings()
    choices = model_choices(decisions_of_week(picks, expiry), candidates, compare)
    if choices.is_empty():
        return MODEL_OUTCOMES.empty()
    known = trading_calendar.day_file_available_at(expiry)
    rows = pl.concat(
        [
            _filled_at_bid(choices.filter(pl.col("basis") == SNAPSHOT)),
            _filled_at_trades(
                choices.filter(pl.col("basis") != SNAPSHOT), option_bars, stock_bars, settings
            ),
        ],
        how="vertical_relaxed",
    )
    closed = (
        known_at(closes, known, expiry)
        .filter(pl.col("trade_date") == expiry)
        .sort("ticker", *(["source"] if "source" in closes.columns else []))
        .unique("ticker", keep="first", maintain_order=True)
        .select("ticker", stock_exit="close")
    )
    rows = (
        rows.join(closed, on="ticker", how="left")
        .join(_dividends(rows, corporate_actions, expiry), on=list(_KEY), how="left")
        .join(_splits(rows, corporate_actions, expiry), on=list(_KEY), how="left")
    )
    rows = _with_reason(rows, collections, expiry)
    return MODEL_OUTCOMES.conform(
        _with_results(rows).rename({"trade_date": "decided_on"}),
        trade_date=expiry,
        available_at=known,
    ).sort(MODEL_OUTCOMES.key)


def _filled_at_bid(choices: pl.DataFrame) -> pl.DataFrame:
    return choices.with_columns(
        filled_at="decision_at",
        stock_entry="price",
        option_entry="bid",
        fill_cost=pl.lit(0.0),
        no_fill=pl.when(pl.col("bid").is_null()).then(pl.lit("nobody bid for the call")),
    )


def _filled_at_trades(
    choices: pl.DataFrame,
    option_bars: pl.DataFrame,
    stock_bars: pl.DataFrame,
    settings: WalkForwardSettings,
) -> pl.DataFrame:
    """``choices`` with the call's first trade after the decision, and the shares' from then on."""
    sold = _first_after(choices, option_bars, "symbol", "decision_at").rename(
        {"_at": "filled_at", "_price": "_traded"}
    )
    bought = _first_after(sold, stock_bars, "ticker", "filled_at").rename({"_price": "stock_entry"})
    return bought.with_columns(
        option_entry=(pl.col("_traded") - settings.fill_cost).clip(0),
        fill_cost=pl.when(pl.col("_traded").is_not_null()).then(settings.fill_cost),
        no_fill=pl.when(pl.col("_traded").is_null())
        .then(pl.lit("no trade of the call after the decision is known"))
        .when(pl.col("stock_entry").is_null())
        .then(pl.lit("no trade of the shares after the call's is known")),
    ).select(*choices.columns, "filled_at", "stock_entry", "option_entry", "fill_cost", "no_fill")


def _first_after(rows: pl.DataFrame, bars: pl.DataFrame, name: str, since: str) -> pl.DataFrame:
    """``rows`` with ``_at`` and ``_price``: first regular bar of the session from ``since`` on."""
    order = [name, "start", *(["source"] if "source" in bars.columns else [])]
    traded = (
        bars.filter(pl.col("is_regular"))
        .sort(order)
        .unique([name, "trade_date", "start"], keep="first", maintain_order=True)
        .select(name, "trade_date", _at="start", _price="open")
    )
    wanted = rows.select(name, "trade_date", since).unique().drop_nulls()
    first = (
        wanted.join(traded, on=[name, "trade_date"])
        .filter(pl.col("_at") >= pl.col(since))
        .sort("_at")
        .unique([name, "trade_date", since], keep="first", maintain_order=True)
    )
    return rows.join(first, on=[name, "trade_date", since], how="left")


def _actions(rows: pl.DataFrame, actions: pl.DataFrame, kind: str, expiry: date) -> pl.DataFrame:
    """Each pick with the actions of its ticker after its session, up to ``expiry``, each once."""
    known = known_at(actions, trading_calendar.day_file_available_at(expiry), expiry)
    once = (
        known.filter(pl.col("action") == kind)
        .sort("trade_date")
        .unique(["ticker", "ex_date", "action_id"], keep="last", maintain_order=True)
    )
    return (
        rows.select(*_KEY, decided_on="trade_date")
        .join(once.drop("trade_date"), on="ticker")
        .filter((pl.col("ex_date") > pl.col("decided_on")) & (pl.col("ex_date") <= expiry))
    )


def _dividends(rows: pl.DataFrame, actions: pl.DataFrame, expiry: date) -> pl.DataFrame:
    paid = _actions(rows, actions, "dividend", expiry)
    return paid.group_by(_KEY).agg(
        dividends=pl.col("cash_amount").sum(),
        foreign_on=pl.col("ex_date").filter(is_foreign()).min(),
    )


def _splits(rows: pl.DataFrame, actions: pl.DataFrame, expiry: date) -> pl.DataFrame:
    return _actions(rows, actions, "split", expiry).group_by(_KEY).agg(split_on=pl.min("ex_date"))


def _with_reason(
    rows: pl.DataFrame, collections: pl.DataFrame | None, expiry: date
) -> pl.DataFrame:
    if collections is None:
        asked = pl.lit(value=True)
    else:
        answered = collections.filter(
            (pl.col("dataset") == "corporate_actions") & (pl.col("subject") == DIVIDENDS)
        )["trade_date"].min()
        # A day's calendar begins with the day: a later one may lack the week's first ex-dates.
        asked = (
            pl.lit(value=False)
            if answered is None
            else pl.col("trade_date") >= trading_calendar.previous_session(answered)  # type: ignore[arg-type]
        )
    return rows.with_columns(
        dividends=pl.when(asked & pl.col("foreign_on").is_null()).then(
            pl.col("dividends").fill_null(0.0)
        ),
        reason=pl.coalesce(
            "no_fill",
            pl.when(pl.col("split_on").is_not_null()).then(
                pl.format("split on {}", pl.col("split_on"))
            ),
            pl.when(pl.col("stock_exit").is_null()).then(pl.lit(f"no close of {expiry} is known")),
            pl.when(~asked).then(pl.lit("dividends of the week were not collected")),
            pl.when(pl.col("foreign_on").is_not_null()).then(
                pl.format("the dividend of {} is not paid in US dollars", pl.col("foreign_on"))
            ),
            pl.when(pl.col("stock_entry").is_null()).then(pl.lit("no price of the shares")),
        ),
    )


def _with_results(rows: pl.DataFrame) -> pl.DataFrame:
    told = pl.col("reason").is_null()
    called = (pl.col("stock_exit") - pl.col("strike")).round(6) >= EXERCISE_THRESHOLD
    got = pl.when(called).then("strike").otherwise("stock_exit")
    bought = pl.col("stock_entry")
    return rows.with_columns(
        is_assigned=pl.when(told).then(called),
        pnl_100=pl.when(told).then(
            100 * (got - bought + pl.col("option_entry") + pl.col("dividends"))
            - pl.col("fees_100").fill_null(0.0)
        ),
        hold_pnl_100=pl.when(told).then(
            100 * (pl.col("stock_exit") - bought + pl.col("dividends"))
        ),
    ).with_columns(
        model_return=pl.col("pnl_100") / (100 * bought),
        hold_return=pl.col("hold_pnl_100") / (100 * bought),
    )


def weekly_returns(outcomes: pl.DataFrame) -> pl.DataFrame:
    """Return of each model in each week, over the picks that are told under every model.

    A pick that one model cannot tell counts under none: else a strike that did not trade would
    look like a choice. The return is the mean over the picks, each with its weight; a week in
    which a model accepts none leaves it in cash, at 0.

    Args:
        outcomes: rows of model_outcomes.

    Returns:
        ``basis, trade_date, model, model_return, hold_return, picks_count, accepted_count``,
        sorted.
    """
    pick = ["basis", "trade_date", "ticker"]
    complete = outcomes.filter(
        (pl.col("model_return").is_not_null().sum().over(pick) == len(MODELS))
        & (pl.len().over(pick) == len(MODELS))
    )
    total = pl.col("weight").sum()

    def mean(name: str) -> pl.Expr:
        return (
            pl.when(total > 0)
            .then((pl.col(name) * pl.col("weight")).sum() / total)
            .otherwise(0.0)
            .alias(name)
        )

    return (
        complete.group_by("basis", "trade_date", "model")
        .agg(
            mean("model_return"),
            mean("hold_return"),
            picks_count=pl.len().cast(pl.Int64),
            accepted_count=(pl.col("weight") > 0).sum().cast(pl.Int64),
        )
        .sort("basis", "trade_date", "model")
    )


def model_scores(
    outcomes: pl.DataFrame, day: date, settings: WalkForwardSettings | None = None
) -> pl.DataFrame:
    """Rows of model_scores as of the evening of ``day``: every week that had ended by then.

    Differences are paired by week. Their intervals are of the studentised block bootstrap, with
    draws that depend on nothing but the number of weeks.

    Args:
        outcomes: rows of model_outcomes; later ones, and those not known by then, do not count.
        day: session as of which it is told.
        settings: of the bootstrap.

    Returns:
        One row a basis and model; none of a basis without a week.
    """
    settings = settings or WalkForwardSettings()
    known = known_at(outcomes, trading_calendar.day_file_available_at(day), day)
    weeks = weekly_returns(known)
    untold = dict(
        known.filter(pl.col("model") == MODELS[0]).group_by("basis").agg(pl.len()).iter_rows()
    )
    rows = []
    for (basis,), of_basis in weeks.group_by("basis", maintain_order=True):
        by_model = {
            model: of_basis.filter(pl.col("model") == model).sort("trade_date") for model in MODELS
        }
        base = by_model[MODELS[0]]
        for model, found in by_model.items():
            held = _compared(found["model_return"] - found["hold_return"], settings)
            row = {
                "basis": basis,
                "model": model,
                "first_expiry": found["trade_date"].min(),
                "last_expiry": found["trade_date"].max(),
                "weeks_count": found.height,
                "picks_count": found["picks_count"].sum(),
                "accepted_count": found["accepted_count"].sum(),
                "untold_count": untold[basis] - found["picks_count"].sum(),
                "mean_return": found["model_return"].mean(),
                "mean_hold_return": found["hold_return"].mean(),
                "hold_difference": (found["model_return"] - found["hold_return"]).mean(),
                "hold_low": held and held.low,
                "hold_high": held and held.high,
                "hold_verdict": verdict(
                    held, found.height, settings,
                    more="more than the shares alone", less="less than the shares alone",
                ),
                "level": held and held.level,
                "block_weeks": held and held.block,
                "replicates": held and held.replicates,
            }  # fmt: skip
            if model != MODELS[0]:
                difference = found["model_return"] - base["model_return"]
                against = _compared(difference, settings)
                row |= {
                    "difference": difference.mean(),
                    "low": against and against.low,
                    "high": against and against.high,
                    "verdict": verdict(
                        against, found.height, settings,
                        more=f"{model} helped", less=f"{model} made it worse",
                    ),
                }  # fmt: skip
            rows.append(row)
    if not rows:
        return MODEL_SCORES.empty()
    return MODEL_SCORES.conform(
        pl.DataFrame(rows, infer_schema_length=None),
        trade_date=day,
        available_at=trading_calendar.day_file_available_at(day),
    ).sort(MODEL_SCORES.key)


def _compared(differences: pl.Series, settings: WalkForwardSettings) -> MeanInterval | None:
    """The interval of a mean difference; None where the weeks are too few to have one."""
    count = len(differences)
    if count < settings.least_weeks or count < 2 * block_length(count):
        return None
    found = mean_interval(
        differences.to_numpy(),
        level=settings.level,
        replicates=settings.replicates,
        seed=count,
    )
    return found if found.low > float("-inf") and found.high < float("inf") else None


def verdict(
    interval: MeanInterval | None,
    weeks: int,
    settings: WalkForwardSettings,
    *,
    more: str,
    less: str,
) -> str:
    """What a difference proves, in words and percent a week.

    Args:
        interval: of the mean weekly difference; None where there is none.
        weeks: compared.
        settings: tells how many weeks are needed.
        more: what to say where the whole interval is above zero.
        less: what to say where it is below.
    """
    if interval is None:
        if weeks < settings.least_weeks:
            return f"no difference can be told yet: {weeks} of {settings.least_weeks} weeks"
        return f"no difference can be told: it is the same in nearly all of the {weeks} weeks"
    figures = (
        f"{interval.mean * 100:+.2f} % a week, "
        f"{interval.level * 100:.0f} % interval {interval.low * 100:+.2f} to "
        f"{interval.high * 100:+.2f}, {weeks} weeks"
    )
    if not interval.excludes_zero:
        return f"no difference can be told: {figures}"
    return f"{more if interval.mean > 0 else less}: {figures}"
