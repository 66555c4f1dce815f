"""The covered call of the week for each ticker, or the stage and reason for having none.

Two bases that are never mixed: a captured chain (`weekly_picks`) and the day files of the session
before (`weekly_picks_from_day_files`). Both end in the same gates, choice and rank.

``est_weekly_prem_100`` and ``premium_yield`` are at the mid, as the report has always shown them;
what a sale at once would bring is ``premium_at_bid_100``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.returns import adjust_for_splits, return_statistics
from tracker_dagster.schemas.decisions import COST_BUCKETS, WEEKLY_PICKS
from tracker_dagster.strategy import candidates as calls
from tracker_dagster.strategy.events import corporate_action_flags, earnings_flags
from tracker_dagster.strategy.known import daily_bars, known_at, sessions_left
from tracker_dagster.strategy.lanes import assign_lanes
from tracker_dagster.strategy.ranking import ranked
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.suitability import suitability

_CONTRACT = (
    "symbol",
    "strike",
    "strike_source",
    "bid",
    "ask",
    "mid",
    "premium_source",
    "premium_yield",
    "spread_pct",
    "delta",
    "delta_source",
    "implied_volatility",
    "open_interest",
    "day_volume",
    "quote_at",
)
_STRUCTURE = ("bars_1m_count", "history_status", "fft_status", "fractal_status")


def weekly_picks(
    universe: pl.DataFrame,
    chain: pl.DataFrame,
    prices: pl.DataFrame,
    bars: pl.DataFrame,
    structure: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    earnings: pl.DataFrame | None,
    day: date,
    decision_at: datetime,
    settings: PickSettings | None = None,
    inputs: Mapping[str, object] | None = None,
    collections: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of weekly_picks on the ``snapshot`` basis, one an enabled ticker.

    Args:
        universe: rows of universe; the latest session up to ``day`` counts.
        chain: rows of option_chain of ``day``, any slots up to the decision.
        prices: rows of market_last of ``day``.
        bars: rows of stock_day_aggs, about a year back.
        structure: rows of structure_features; a ticker's latest counts.
        corporate_actions: rows of corporate_actions of the sessions that ``bars`` covers; None
            where unknown.
        earnings: rows of earnings_calendar; None where unknown.
        day: session of the decision.
        decision_at: rows available later are ignored, whatever is passed.
        settings: limits; defaults when None.
        inputs: identities (ETags, slots) of what was read, stored with every row.
        collections: rows of reference_collections of the last days; None where every session
            with rows counts as collected whole.
    """
    settings = settings or PickSettings()
    expiry = target_expiry(day, settings)
    tickers = _members(universe, decision_at, day).join(
        _snapshot_prices(prices, day, decision_at, settings), on="ticker", how="left"
    )
    quotes = calls.from_chain(chain, expiry, decision_at, day)
    return _decide(
        tickers, quotes, bars, structure, corporate_actions, earnings,
        day, expiry, decision_at, "snapshot", settings, inputs or {}, collections,
    )  # fmt: skip


def weekly_picks_from_day_files(
    universe: pl.DataFrame,
    option_bars: pl.DataFrame,
    bars: pl.DataFrame,
    structure: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    earnings: pl.DataFrame | None,
    day: date,
    decision_at: datetime,
    settings: PickSettings | None = None,
    inputs: Mapping[str, object] | None = None,
    collections: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Rows of weekly_picks on the ``day_file`` basis.

    Prices and premiums are the closes of the session before ``day``; a contract that did not
    trade then is no candidate. Arguments as in `weekly_picks`, with ``option_bars`` rows of
    option_day_aggs.
    """
    settings = settings or PickSettings()
    expiry = target_expiry(day, settings)
    session = trading_calendar.previous_session(day)
    closes = daily_bars(bars, decision_at, day, before=day).filter(pl.col("trade_date") == session)
    tickers = _members(universe, decision_at, day).join(
        closes.select(
            "ticker",
            price="close",
            price_at=pl.lit(trading_calendar.session_on(session).close),
            price_source=pl.lit("stock_day_aggs.close"),
            price_problem=pl.lit(None, dtype=pl.String),
        ),
        on="ticker",
        how="left",
    )
    if corporate_actions is not None:
        since = known_at(corporate_actions, decision_at, day).filter(
            (pl.col("action") == "split")
            & (pl.col("ex_date") > session)
            & (pl.col("ex_date") <= day)
        )
        tickers = tickers.with_columns(
            price_problem=pl.when(pl.col("ticker").is_in(since["ticker"].unique().implode()))
            .then(pl.lit("split_since_data"))
            .otherwise("price_problem")
        )
    quotes = calls.from_day_file(option_bars, expiry, decision_at, session)
    return _decide(
        tickers, quotes, bars, structure, corporate_actions, earnings,
        day, expiry, decision_at, "day_file", settings, inputs or {}, collections,
    )  # fmt: skip


def target_expiry(day: date, settings: PickSettings) -> date:
    """The first weekly expiry at least ``min_sessions`` sessions after ``day``."""
    expiry = trading_calendar.weekly_expiry(day)
    while trading_calendar.sessions_from_to(day, expiry) < settings.min_sessions:
        expiry = trading_calendar.weekly_expiry(expiry)
    return expiry


def _members(universe: pl.DataFrame, decision_at: datetime, day: date) -> pl.DataFrame:
    rows = known_at(universe, decision_at, day)
    return (
        rows.filter((pl.col("trade_date") == pl.col("trade_date").max()) & pl.col("enabled"))
        .select("ticker", "category")
        .unique("ticker")
        .sort("ticker")
    )


def _snapshot_prices(
    prices: pl.DataFrame, day: date, decision_at: datetime, settings: PickSettings
) -> pl.DataFrame:
    oldest = decision_at - timedelta(minutes=settings.max_price_age_minutes)
    rows = known_at(prices, decision_at, day).filter(pl.col("trade_date") == day)
    return (
        rows.sort("ticker", "slot", "source")
        .unique("ticker", keep="last", maintain_order=True)
        .select(
            "ticker",
            "price",
            "price_at",
            price_source=pl.format("market_last {}Z", pl.col("slot").dt.strftime("%H:%M")),
            price_problem=pl.when(pl.col("price").is_null())
            .then(pl.format("missing_price: {}", "status"))
            .when(pl.col("price_at") < oldest)
            .then(pl.format("stale_price: {}Z", pl.col("price_at").dt.strftime("%m-%d %H:%M"))),
        )
    )


def _decide(
    tickers: pl.DataFrame,
    quotes: pl.DataFrame,
    bars: pl.DataFrame,
    structure: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    earnings: pl.DataFrame | None,
    day: date,
    expiry: date,
    decision_at: datetime,
    basis: str,
    settings: PickSettings,
    inputs: Mapping[str, object],
    collections: pl.DataFrame | None,
) -> pl.DataFrame:
    if tickers.is_empty():
        return WEEKLY_PICKS.empty()
    sessions = sessions_left(day, expiry, basis)
    tickers = _with_statistics(tickers, bars, corporate_actions, day, decision_at, settings)
    tickers = assign_lanes(tickers, settings.lanes)
    tickers = _with_targets(tickers, sessions, settings)
    tickers = tickers.join(_latest_structure(structure, day, decision_at), on="ticker", how="left")
    age = settings.reference_max_age_days
    for flags in (
        earnings_flags(tickers, earnings, day, expiry, decision_at, age, collections),
        corporate_action_flags(
            tickers, corporate_actions, day, expiry, decision_at, age, collections
        ),
    ):
        tickers = tickers.join(flags, on="ticker", how="left")

    considered = quotes.join(
        tickers.filter(pl.col("price").is_not_null() & pl.col("price_problem").is_null()).select(
            "ticker",
            "price",
            "otm_floor",
            "yield_floor",
            "max_delta",
            "target_delta",
            "target_strike",
            "move_known",
        ),
        on="ticker",
    )
    considered = calls.with_delta(considered, expiry, decision_at, settings.rate)
    considered = calls.gate(considered, decision_at, settings)
    passing = calls.ordered(considered.filter(pl.col("failed_gate").is_null()))
    best = passing.unique("ticker", keep="first", maintain_order=True).select("ticker", *_CONTRACT)
    rows = (
        tickers.join(calls.rejection_counts(considered), on="ticker", how="left")
        .join(calls.alternatives(passing, settings.alternatives), on="ticker", how="left")
        .join(best, on="ticker", how="left")
    )
    rows = _with_outcome(rows, expiry)
    dte = (expiry - day).days
    rows = rows.with_columns(
        trade_date=pl.lit(day),
        expiry=pl.lit(expiry),
        dte=pl.lit(dte),
        pack_100_cost=(pl.col("price") * 100).round(2),
        cost_bucket=cost_bucket((pl.col("price") * 100).round(2)),
        est_weekly_prem_100=(pl.col("mid") * 100).round(2),
        premium_at_bid_100=(pl.col("bid") * 100).round(2),
        annualised_yield=pl.col("premium_yield") * 365 / dte,
        otm_pct=pl.col("strike") / pl.col("price") - 1,
        break_even=pl.col("price") - pl.col("mid"),
        if_called_return=(pl.col("strike") - pl.col("price") + pl.col("mid")) / pl.col("price"),
        expected_move_5d=pl.col("price") * pl.col("daily_move") * 5**0.5,
    )
    rows = ranked(rows, sessions, settings)
    rows = rows.with_columns(
        pl.Series(
            "gates_not_evaluated",
            [
                json.dumps(calls.not_evaluated(row, basis) if row["status"] == "picked" else {})
                for row in rows.iter_rows(named=True)
            ],
            dtype=pl.String,
        )
    )
    return WEEKLY_PICKS.conform(
        rows,
        basis=basis,
        decision_at=decision_at,
        available_at=decision_at,
        inputs=json.dumps(dict(inputs), sort_keys=True, default=str),
    ).sort(WEEKLY_PICKS.key)


def _with_statistics(
    tickers: pl.DataFrame,
    bars: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    day: date,
    decision_at: datetime,
    settings: PickSettings,
) -> pl.DataFrame:
    closes = daily_bars(bars, decision_at, day, before=day).filter(
        pl.col("ticker").is_in(tickers["ticker"].implode())
    )
    if corporate_actions is not None:
        closes = adjust_for_splits(closes, known_at(corporate_actions, decision_at, day), day)
    statistics = return_statistics(
        closes, minimum=settings.minimum_closes, lookback=settings.lookback_closes
    )
    return tickers.join(suitability(statistics), on="ticker", how="left").with_columns(
        closes_count=pl.col("closes_count").fill_null(0),
        stats_reason=pl.when(pl.col("closes_count").is_null())
        .then(pl.lit("no closes known"))
        .otherwise("stats_reason"),
    )


def _with_targets(tickers: pl.DataFrame, sessions: int, settings: PickSettings) -> pl.DataFrame:
    """Adds the lane's floors and targets, scaled to the sessions left until the expiry."""
    rules = pl.DataFrame(
        [{"lane": lane, **rule.model_dump()} for lane, rule in settings.lanes.rules.items()]
    )
    weeks = (sessions / 5) ** 0.5
    move = pl.col("daily_move") * sessions**0.5
    return tickers.join(rules, on="lane", how="left").with_columns(
        otm_floor=pl.min_horizontal(pl.col("min_otm") * weeks, pl.col("min_otm_moves") * move),
        yield_floor=pl.min_horizontal(
            pl.col("min_weekly_yield") * weeks, pl.col("min_yield_moves") * move
        ),
        target_strike=pl.col("price")
        * (1 + pl.coalesce(pl.col("move_multiple") * move, pl.col("min_otm") * weeks)),
        move_known=pl.col("daily_move").is_not_null(),
    )


def _latest_structure(structure: pl.DataFrame, day: date, decision_at: datetime) -> pl.DataFrame:
    return (
        known_at(structure, decision_at, day)
        .filter(pl.col("trade_date") >= trading_calendar.previous_session(day))
        .sort("ticker", "trade_date")
        .unique("ticker", keep="last", maintain_order=True)
        .select("ticker", *_STRUCTURE)
    )


def _with_outcome(rows: pl.DataFrame, expiry: date) -> pl.DataFrame:
    """Adds ``status``, and for a ticker without a pick the first ``stage`` that failed it."""
    considered = pl.col("candidates_count").fill_null(0)
    ladder: list[tuple[pl.Expr, str, pl.Expr]] = [
        (pl.col("price_problem").is_not_null(), "price", pl.col("price_problem")),
        (pl.col("price").is_null(), "price", pl.lit("missing_price: not in the data")),
        (considered == 0, "chain", pl.lit(f"no_calls: none expire on {expiry} in the data")),
        (
            pl.col("symbol").is_null(),
            "selection",
            pl.format("no_candidate: {}", pl.col("rejections").str.replace_all(r'[{}":]', "")),
        ),
    ]
    stage: pl.Expr = pl.lit(None, dtype=pl.String)
    reason: pl.Expr = pl.lit(None, dtype=pl.String)
    for test, name, why in reversed(ladder):
        stage = pl.when(test).then(pl.lit(name)).otherwise(stage)
        reason = pl.when(test).then(why).otherwise(reason)
    return rows.with_columns(
        candidates_count=considered,
        rejections=pl.col("rejections").fill_null("{}"),
        alternatives=pl.col("alternatives").fill_null("[]"),
        stage=stage,
        reason=reason,
    ).with_columns(
        status=pl.when(pl.col("stage").is_null())
        .then(pl.lit("picked"))
        .otherwise(pl.lit("missing"))
    )


def cost_bucket(cost: pl.Expr) -> pl.Expr:
    """Name of the bucket that the cost of 100 shares, in dollars, falls into."""
    name: pl.Expr = pl.lit(COST_BUCKETS[-1][1])
    for limit, label in reversed(COST_BUCKETS[:-1]):
        name = pl.when(cost <= limit).then(pl.lit(label)).otherwise(name)
    return pl.when(cost.is_not_null()).then(name)
