"""What a decision knows of each ticker before it looks at contracts: price, lane, targets, splits.

On either basis; contracts are the business of `candidates`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.strategy.known import daily_bars, known_at, sessions_left
from tracker_dagster.strategy.settings import PickSettings

SNAPSHOT, DAY_FILE = "snapshot", "day_file"


@dataclass(frozen=True, slots=True)
class Decision:
    """Which decision rows belong to.

    Attributes:
        day: session of the decision.
        basis: ``snapshot`` or ``day_file``.
        decision_at: what was known later is not used.
        expiry: of the calls considered.
    """

    day: date
    basis: str
    decision_at: datetime
    expiry: date

    @property
    def data_session(self) -> date:
        """Session that prices and premiums are of."""
        if self.basis == SNAPSHOT:
            return self.day
        return trading_calendar.previous_session(self.day)

    @property
    def priced_at(self) -> datetime:
        """When prices and premiums held: the slot, or the close of the session of the files."""
        if self.basis == SNAPSHOT:
            return self.decision_at
        return trading_calendar.session_on(self.data_session).close

    @property
    def sessions_left(self) -> int:
        """Sessions from the decision to the expiry."""
        return sessions_left(self.day, self.expiry, self.basis)

    @property
    def dte(self) -> int:
        """Calendar days from the session to the expiry."""
        return (self.expiry - self.day).days


def decision_of(
    basis: str, day: date, decision_at: datetime, settings: PickSettings | None = None
) -> Decision:
    """The decision of ``day`` on ``basis`` at ``decision_at``, with its weekly expiry.

    Raises:
        ValueError: no such basis.
    """
    if basis not in (SNAPSHOT, DAY_FILE):
        raise ValueError(f"basis {basis!r} is neither {SNAPSHOT!r} nor {DAY_FILE!r}")
    return Decision(day, basis, decision_at, target_expiry(day, settings or PickSettings()))


def target_expiry(day: date, settings: PickSettings) -> date:
    """The first weekly expiry at least ``min_sessions`` sessions after ``day``."""
    expiry = trading_calendar.weekly_expiry(day)
    while trading_calendar.sessions_from_to(day, expiry) < settings.min_sessions:
        expiry = trading_calendar.weekly_expiry(expiry)
    return expiry


def priced_tickers(
    decision: Decision,
    universe: pl.DataFrame,
    prices: pl.DataFrame,
    suitability: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    settings: PickSettings,
) -> pl.DataFrame:
    """One row an enabled ticker: category, price or its problem, statistics, lane and targets.

    Args:
        decision: what is decided.
        universe: rows of universe; the latest session up to the decision's counts.
        prices: rows of market_last on the ``snapshot`` basis, of stock_day_aggs on ``day_file``.
        suitability: rows of suitability of the session.
        corporate_actions: rows of corporate_actions; None where unknown.
        settings: limits.

    Returns:
        ``ticker, category, price, price_at, price_source, price_problem``, the columns of
        suitability, ``otm_floor, yield_floor, max_delta, target_delta, target_strike,
        move_known``.
    """
    rows = _members(universe, decision).join(
        underlying_prices(decision, prices, corporate_actions, settings), on="ticker", how="left"
    )
    known = known_at(suitability, decision.decision_at, decision.day).filter(
        pl.col("trade_date") == decision.day
    )
    scored = known.drop("trade_date", "available_at", "category", "enabled", strict=False)
    return _with_targets(rows.join(scored, on="ticker", how="left"), decision, settings).sort(
        "ticker"
    )


def _members(universe: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    rows = known_at(universe, decision.decision_at, decision.day)
    return (
        rows.filter((pl.col("trade_date") == pl.col("trade_date").max()) & pl.col("enabled"))
        .select("ticker", "category")
        .unique("ticker")
        .sort("ticker")
    )


def underlying_prices(
    decision: Decision,
    prices: pl.DataFrame,
    corporate_actions: pl.DataFrame | None,
    settings: PickSettings,
) -> pl.DataFrame:
    """``ticker, price, price_at, price_source`` and ``price_problem``: why it cannot be used."""
    if decision.basis == SNAPSHOT:
        return _last_prices(decision, prices, settings)
    return _closes(decision, prices, corporate_actions)


def _last_prices(decision: Decision, prices: pl.DataFrame, settings: PickSettings) -> pl.DataFrame:
    oldest = decision.decision_at - timedelta(minutes=settings.max_price_age_minutes)
    latest = decision.decision_at + timedelta(seconds=settings.max_lead_seconds)
    when = pl.col("price_at").dt.strftime("%m-%d %H:%M:%S")
    rows = known_at(prices, decision.decision_at, decision.day)
    return (
        rows.filter(pl.col("trade_date") == decision.day)
        .sort("ticker", "slot", "source")
        .unique("ticker", keep="last", maintain_order=True)
        .select(
            "ticker",
            "price",
            "price_at",
            price_source=pl.format("market_last {}Z", pl.col("slot").dt.strftime("%H:%M")),
            price_problem=pl.when(pl.col("price").is_null())
            .then(pl.format("missing_price: {}", "status"))
            .when(pl.col("price_at").is_null())
            .then(pl.lit("stale_price: the price has no time"))
            .when(pl.col("price_at") < oldest)
            .then(pl.format("stale_price: {}Z", pl.col("price_at").dt.strftime("%m-%d %H:%M")))
            .when(pl.col("price_at") > latest)
            .then(pl.format("late_price: {}Z, after the decision", when)),
        )
    )


def _closes(
    decision: Decision, bars: pl.DataFrame, corporate_actions: pl.DataFrame | None
) -> pl.DataFrame:
    session = decision.data_session
    closes = daily_bars(bars, decision.decision_at, decision.day, before=decision.day)
    rows = closes.filter(pl.col("trade_date") == session).select(
        "ticker",
        price="close",
        price_at=pl.lit(trading_calendar.session_on(session).close),
        price_source=pl.lit("stock_day_aggs.close"),
        price_problem=pl.lit(None, dtype=pl.String),
    )
    if corporate_actions is None:
        return rows
    split = known_at(corporate_actions, decision.decision_at, decision.day).filter(
        (pl.col("action") == "split")
        & (pl.col("ex_date") > session)
        & (pl.col("ex_date") <= decision.day)
    )
    return rows.with_columns(
        price_problem=pl.when(pl.col("ticker").is_in(split["ticker"].unique().implode())).then(
            pl.lit("split_since_data")
        )
    )


def _with_targets(
    tickers: pl.DataFrame, decision: Decision, settings: PickSettings
) -> pl.DataFrame:
    """Adds the lane's floors and targets, scaled to the sessions left until the expiry."""
    rules = pl.DataFrame(
        [{"lane": lane, **rule.model_dump()} for lane, rule in settings.lanes.rules.items()]
    )
    sessions = decision.sessions_left
    weeks = (sessions / 5) ** 0.5
    move = pl.col("daily_move") * sessions**0.5
    return (
        tickers.join(rules, on="lane", how="left")
        .with_columns(
            otm_floor=pl.min_horizontal(pl.col("min_otm") * weeks, pl.col("min_otm_moves") * move),
            yield_floor=pl.min_horizontal(
                pl.col("min_weekly_yield") * weeks, pl.col("min_yield_moves") * move
            ),
            target_strike=pl.col("price")
            * (1 + pl.coalesce(pl.col("move_multiple") * move, pl.col("min_otm") * weeks)),
            move_known=pl.col("daily_move").is_not_null(),
        )
        .drop(name for name in rules.columns if name not in ("lane", "max_delta", "target_delta"))
    )
