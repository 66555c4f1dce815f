"""The yield curve and the dividends that a session's options are valued with."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Self

import polars as pl

from tracker_dagster.analytics.dividends import dividend_sources, dividends_ahead
from tracker_dagster.analytics.rates import FALLBACK, Curve, curve_of, zero_rates
from tracker_dagster.assets.plan_limits import gap
from tracker_dagster.assets.universe import enabled_tickers
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.reports.charts import bar_chart
from tracker_dagster.schemas.rates import TREASURY_YIELDS
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS, REFERENCE_COLLECTIONS
from tracker_dagster.sources.errors import NotEntitledError, NotFoundError
from tracker_dagster.sources.year_end_yields import year_end_yields
from tracker_dagster.strategy.events import ALL_DIVIDENDS, DIVIDENDS, SPLITS
from tracker_dagster.strategy.known import Calendar, calendar_at, known_at
from tracker_dagster.trading_calendar import EASTERN
from tracker_dagster.warehouse import Unit, Warehouse, Write

REST = "massive_rest"
#: By when the Treasury has published the curve of a day (its "Interest Rate Statistics" pages).
PUBLICATION = time(18, 0)
#: An older curve of the vendor's is no longer the session's.
MAX_AGE = timedelta(days=10)
#: An older calendar of corporate actions says nothing of the dividends ahead.
CALENDAR_MAX_AGE_DAYS = 7


@trading_day_asset(
    TREASURY_YIELDS,
    group="reference",
    deps=("massive_rest_api",),
    kinds=("rest", "csv"),
    checks={"curve_is_current": "The curve is the vendor's, of the ten days before the session."},
)
def treasury_yields(run: DayRun) -> Outcome:
    """The last curve before the session: over REST, in one request for all days of a run.

    The Treasury publishes a day's curve in the evening, so a session has that of the business day
    before. Where the vendor has none of the ten days before, or the plan does not include them,
    the rows are the curve of the year's end before, tracked in ``seed/treasury_yields.csv``, with
    the source ``fallback``. Rows of the vendor that are stored already stay.
    """
    reason = None
    try:
        answer = run.ahead.once(lambda: _fetch(run))
    except (NotEntitledError, NotFoundError) as error:
        reason = f"not in the plan: {error}"
        rows = run.warehouse.read(
            TREASURY_YIELDS, first=run.day, last=run.day, where={"source": REST}
        )
    else:
        rows = _curve_before(run, answer.filter(pl.col("date") >= run.day - MAX_AGE), REST)
        if rows.is_empty():
            reason = f"the vendor has no curve of the {MAX_AGE.days} days before"
    if rows.is_empty():
        rows = _curve_before(run, year_end_yields(), FALLBACK)
    if reason is not None:
        run.log.warning(f"treasury_yields {run.day}: {reason}")
    unit: Unit = {"trade_date": run.day}
    result, _ = run.warehouse.replace_many(
        [
            Write(TREASURY_YIELDS, rows, unit, allow_empty=True),
            gap(run, TREASURY_YIELDS, REST, reason),
        ]
    )
    origin = rows.select("source", "curve_date").unique().rows()
    said = {
        "source": origin[0][0] if origin else "none",
        **({"curve_date": str(origin[0][1])} if origin else {}),
        **({"reason": reason} if reason else {}),
    }
    is_current = bool(origin) and origin[0][0] == REST
    title = f"Zero rates of {said.get('curve_date', 'no curve')} ({said['source']})"
    chart = picture(run, "zero_rates", lambda: bar_chart(rows, "months", "rate", title))
    return Outcome([result], said | chart, [Check("curve_is_current", is_current, said)])


def _fetch(run: DayRun) -> pl.DataFrame:
    """Yields of all days that any session of the run could rest on."""
    first, last = min(run.ahead.days), max(run.ahead.days)
    return run.market.rest.treasury_yields(first - MAX_AGE, last - timedelta(days=1))


def _curve_before(run: DayRun, yields: pl.DataFrame, source: str) -> pl.DataFrame:
    """Rows of the table from the latest curve before the day; none where there is no such."""
    before = yields.filter(pl.col("date") < run.day)
    latest = before.filter(pl.col("date") == pl.col("date").max()).sort("months")
    rates = zero_rates(latest["months"].to_numpy(), latest["yield_percent"].to_numpy())
    published = pl.col("date").dt.combine(PUBLICATION).dt.replace_time_zone(EASTERN.key)
    return TREASURY_YIELDS.conform(
        latest.select(
            "months",
            "yield_percent",
            curve_date="date",
            available_at=published.dt.convert_time_zone("UTC"),
            rate=pl.Series(rates).fill_nan(None),
        ),
        trade_date=run.day,
        source=source,
    )


def curve_on(run: DayRun, moment: datetime) -> Curve | None:
    """The zero curve of the day as it was known at ``moment``; None where there was none."""
    rows = run.warehouse.read(TREASURY_YIELDS, as_of=moment, first=run.day, last=run.day)
    return curve_of(rows)


@dataclass(frozen=True)
class ActionCalendars:
    """Corporate actions of some sessions as they are stored, to be cut at each one's moment."""

    rows: pl.DataFrame
    collections: pl.DataFrame

    @classmethod
    def read(
        cls, warehouse: Warehouse, first: date, last: date, tickers: Collection[str] | None = None
    ) -> Self:
        """What sessions from ``first`` to ``last`` may rest on; of every ticker when None."""
        since = first - timedelta(days=CALENDAR_MAX_AGE_DAYS)
        of_actions = {"dataset": CORPORATE_ACTIONS.name}
        where = None if tickers is None else {"ticker": tickers}
        return cls(
            warehouse.read(CORPORATE_ACTIONS, first=since, last=last, where=where),
            warehouse.read(REFERENCE_COLLECTIONS, first=since, last=last, where=of_actions),
        )

    def dividends(
        self,
        day: date,
        moment: datetime,
        underlyings: Collection[str],
        followed: Callable[[], Collection[str]],
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """As `dividends_on`; ``followed`` tells whose dividends a session's request was for."""
        dividends = self._at(day, moment, ALL_DIVIDENDS, "dividend")
        collected: Collection[str] | None = None
        if dividends.whole_on is None:
            dividends = self._at(day, moment, DIVIDENDS, "dividend")
            collected = followed() if dividends.whole_on is not None else []
        splits = self._at(day, moment, SPLITS, "split")
        actions = pl.concat([dividends.rows, splits.rows])
        sources = dividend_sources(underlyings, actions, moment, collected)
        return dividends_ahead(actions, moment), sources

    def has_splits(self, day: date, moment: datetime) -> bool:
        """Whether the splits executed by ``day`` were asked for, of those followed on it.

        They come in one answer with the dividends of those followed.
        """
        asked = self.collections.filter(
            (pl.col("trade_date") == day) & (pl.col("subject") == DIVIDENDS)
        )
        return not known_at(asked, moment, day).is_empty()

    def _at(self, day: date, moment: datetime, part: str, action: str) -> Calendar:
        """One kind of corporate actions, with whether it was known as a whole."""
        return calendar_at(
            self.rows.filter(pl.col("action") == action),
            self.collections.filter(pl.col("subject") == part),
            moment,
            day,
            CALENDAR_MAX_AGE_DAYS,
        )


def dividends_on(
    run: DayRun, moment: datetime, underlyings: Collection[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Dividends ahead as they were known at ``moment``, and what is known of each underlying.

    Where only the universe was asked for, as on days that were stored before every ticker was,
    nothing is said of others.

    Returns:
        ``underlying``, ``ex_date``, ``years``, ``amount`` as `dividends_ahead` gives them; and
        ``underlying``, ``dividend_source`` for each of ``underlyings``.
    """
    return ActionCalendars.read(run.warehouse, run.day, run.day).dividends(
        run.day, moment, underlyings, lambda: [*enabled_tickers(run), *run.knobs.benchmarks]
    )
