"""Two simulated years without servers: what each week's decision reads and what was traded after.

Rows are those that the day files of the same world hold, for the calls that a decision considers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.structure import bar_sessions, structure_features
from tracker_dagster.marketsim.world.chain import Chains
from tracker_dagster.marketsim.world.minutes import regular_only, to_ticks
from tracker_dagster.marketsim.world.tape import Tapes, bars
from tracker_dagster.marketsim.world.world import World
from tracker_dagster.schemas.market import BARS_1M, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.models import MODEL_OUTCOMES
from tracker_dagster.schemas.option_bars import OPTION_BARS_1M
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS, UNIVERSE
from tracker_dagster.strategy.candidates import pick_candidates
from tracker_dagster.strategy.comparison import model_choices
from tracker_dagster.strategy.picks import target_expiry, weekly_picks
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.walk_forward import model_outcomes
from tracker_dagster_tests.strategy import worlds

BASIS = "day_file"
#: Closes behind the statistics.
LOOKBACK = 120


@dataclass(frozen=True)
class SimulatedWeeks:
    """Weekly decisions on day files in one world, from ``first`` for ``count`` weeks."""

    world: World
    first: date
    count: int

    @cached_property
    def tickers(self) -> list[str]:
        return sorted(self.world.universe)

    @cached_property
    def tapes(self) -> Tapes:
        return Tapes(Chains(self.world))

    def weeks(self) -> Iterator[tuple[date, date]]:
        """Session of the decision, and its expiry."""
        settings = PickSettings()
        for number in range(self.count):
            week = trading_calendar.week_sessions(self.first + timedelta(weeks=number))
            expiry = target_expiry(week[0], settings)
            if expiry in week:
                yield week[0], expiry

    def outcomes(self) -> pl.DataFrame:
        """Rows of model_outcomes of all weeks."""
        return pl.concat(
            [MODEL_OUTCOMES.empty(), *(self.outcomes_of(*week) for week in self.weeks())]
        )

    def outcomes_of(self, day: date, expiry: date) -> pl.DataFrame:
        """One week, decided and ended by the functions that the assets call."""
        decision_at = trading_calendar.day_file_decision_time(day)
        session = trading_calendar.previous_session(day)
        universe = UNIVERSE.conform(
            pl.DataFrame(
                {"ticker": self.tickers, "category": [self.world.stock(t).category
                                                      for t in self.tickers]}
            ),
            trade_date=day, enabled=True, available_at=trading_calendar.session_on(day).open,
        )  # fmt: skip
        closes = self.closes(trading_calendar.last_sessions(session, LOOKBACK)[0], session)
        actions = self.corporate_actions(day, expiry)
        given = {
            "universe": universe,
            "prices": closes,
            "suitability": worlds.suitability(universe, closes, actions, day),
            "corporate_actions": actions,
        }
        candidates = pick_candidates(
            BASIS, day, decision_at, contracts=self.calls(session, expiry), **given
        )
        picks = weekly_picks(
            BASIS, day, decision_at, candidates=candidates, structure=self.structure(session),
            **given,
        )  # fmt: skip
        symbols = model_choices(picks, candidates).select("ticker", "symbol").unique()
        return model_outcomes(
            picks,
            candidates,
            expiry,
            option_bars=self.option_minutes(day, symbols),
            stock_bars=self.minutes([day]),
            closes=self.closes(expiry, expiry),
            corporate_actions=actions,
        )

    @cached_property
    def _closes(self) -> pl.DataFrame:
        """As-traded closes of every session that is looked at."""
        first = trading_calendar.previous_session(self.first, LOOKBACK + 5)
        days = trading_calendar.sessions_between(first, self.first + timedelta(weeks=self.count))
        places = [self.world.session_index(day) for day in days]
        frames = []
        for ticker in self.tickers:
            factors = np.array([self.world.split_factor(ticker, day) for day in days])
            close = to_ticks(self.world.path(ticker).close[places] * factors)
            frames.append(pl.DataFrame({"ticker": ticker, "trade_date": days, "close": close}))
        known = pl.DataFrame(
            {
                "trade_date": days,
                "available_at": [trading_calendar.day_file_available_at(day) for day in days],
            }
        )
        rows = pl.concat(frames).join(known, on="trade_date")
        return STOCK_DAY_AGGS.conform(rows, source="massive_flat_file")

    def closes(self, first: date, last: date) -> pl.DataFrame:
        return self._closes.filter(pl.col("trade_date").is_between(first, last))

    def corporate_actions(self, day: date, expiry: date) -> pl.DataFrame:
        rows = [
            {
                "ticker": t,
                "action": "dividend",
                "ex_date": paid.ex_dividend_date,
                "action_id": f"{t} {paid.ex_dividend_date}",
                "cash_amount": paid.cash_amount,
            }
            for t in self.tickers
            for paid in self.world.dividends(t)
            if day <= paid.ex_dividend_date <= expiry
        ]
        rows += [
            {"ticker": s.ticker, "action": "split", "ex_date": s.execution_date,
             "action_id": f"{s.ticker} {s.execution_date}", "split_from": s.from_, "split_to": s.to}
            for s in self.world.splits()
            if day - timedelta(days=380) <= s.execution_date <= expiry
        ]  # fmt: skip
        schema = {name: CORPORATE_ACTIONS.polars_schema[name] for name in
                  ("ticker", "action", "ex_date", "action_id", "cash_amount", "split_from",
                   "split_to")}  # fmt: skip
        return CORPORATE_ACTIONS.conform(
            pl.DataFrame(rows, schema=schema),
            trade_date=day, source="world", available_at=trading_calendar.session_on(day).open,
        )  # fmt: skip

    def minutes(self, days: Sequence[date]) -> pl.DataFrame:
        """Regular minute bars of every ticker."""
        frames = []
        for day in days:
            for ticker in self.tickers:
                found = regular_only(self.world.minute_bars(ticker, day), day)
                frames.append(
                    pl.DataFrame(
                        {"trade_date": day, "ticker": ticker, "start": found.start,
                         "open": found.open, "close": found.close}
                    )
                )  # fmt: skip
        start = pl.from_epoch("start", time_unit="ns").dt.replace_time_zone("UTC")
        rows = pl.concat(frames).with_columns(start.dt.cast_time_unit("us").alias("start"))
        return BARS_1M.conform(
            rows.with_columns(
                available_at=pl.col("start") + pl.duration(minutes=1), is_regular=True
            ),
            source="massive_flat_file",
        )

    def structure(self, session: date) -> pl.DataFrame:
        decision_at = trading_calendar.decision_time(session)
        return structure_features(
            self.minutes(bar_sessions(decision_at)), self.tickers, decision_at
        )

    def calls(self, session: date, expiry: date) -> pl.DataFrame:
        """The day file's rows of the calls of one expiry."""
        frames = []
        for ticker in self.tickers:
            chain = self.tapes.chains.listings.chain(ticker, session)
            chain = chain.take(chain.is_call & (chain.expiry == expiry.toordinal()))
            traded = bars(self.tapes.print_tape(chain, session))
            if not traded.row.size:
                continue
            frames.append(
                pl.DataFrame(
                    {
                        "symbol": chain.ticker[traded.row].astype(str),
                        "strike": chain.strike[traded.row],
                        "is_adjusted": chain.factor[traded.row] != 1.0,
                        "close": traded.close,
                        "volume": traded.volume.astype(float),
                    },
                    schema_overrides={"symbol": pl.String},
                ).with_columns(underlying=pl.lit(ticker))
            )
        return OPTION_DAY_AGGS.conform(
            pl.concat(frames), trade_date=session, right="C", expiry=expiry,
            source="massive_flat_file",
            available_at=trading_calendar.day_file_available_at(session),
        )  # fmt: skip

    def option_minutes(self, day: date, symbols: pl.DataFrame) -> pl.DataFrame:
        """Minute bars of chosen contracts (``ticker``, ``symbol``)."""
        frames = []
        for ticker, symbol in symbols.iter_rows():
            chain = self.tapes.chains.listings.chain(ticker, day)
            row = chain.position(symbol)
            if row is None:
                continue
            traded = bars(self.tapes.print_tape(chain.take(slice(row, row + 1)), day), True)
            if not traded.row.size:
                continue
            frames.append(
                pl.DataFrame(
                    {"start": traded.start, "open": traded.open, "close": traded.close}
                ).with_columns(symbol=pl.lit(symbol), underlying=pl.lit(ticker))
            )
        start = pl.from_epoch("start", time_unit="ns").dt.replace_time_zone("UTC")
        rows = pl.concat(frames).with_columns(start.dt.cast_time_unit("us").alias("start"))
        return OPTION_BARS_1M.conform(
            rows.with_columns(available_at=pl.col("start") + pl.duration(minutes=1)),
            trade_date=day, is_regular=True, source="massive_rest",
        )  # fmt: skip
