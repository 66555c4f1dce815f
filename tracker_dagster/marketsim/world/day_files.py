"""The vendor's flat files of a day as tables: what each row says, not how it is compressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from types import MappingProxyType

import numpy as np
import polars as pl

from tracker_dagster.marketsim.world import tape as tapes
from tracker_dagster.marketsim.world.crowd import crowd_options_day, crowd_stocks_day
from tracker_dagster.marketsim.world.minutes import DECIMAL_VOLUME_FROM, Bars, midnight_ns
from tracker_dagster.marketsim.world.randomness import generator
from tracker_dagster.marketsim.world.securities import INDICES
from tracker_dagster.marketsim.world.tape import Tapes
from tracker_dagster.trading_calendar import is_session, previous_session

STOCKS_DAY = "us_stocks_sip/day_aggs_v1"
STOCKS_MINUTE = "us_stocks_sip/minute_aggs_v1"
OPTIONS_DAY = "us_options_opra/day_aggs_v1"
OPTIONS_MINUTE = "us_options_opra/minute_aggs_v1"
INDICES_DAY = "us_indices/day_aggs_v1"
INDICES_MINUTE = "us_indices/minute_aggs_v1"

#: First day of each family at the vendor.
HISTORY_STARTS: Mapping[str, date] = MappingProxyType(
    {
        "us_stocks_sip": date(2003, 9, 10),
        "us_options_opra": date(2014, 6, 2),
        "us_indices": date(2023, 1, 3),
    }
)

_MOST_MINUTE_STOCKS = 400  # in profile full the minute file covers only these many
#: An index that ticks on United States holidays too, as foreign ones do.
FOREIGN_INDEX = "I:AAVE100"


class DayFiles:
    """The flat files of one world."""

    def __init__(self, market: Tapes) -> None:
        self.market = market
        self.world = market.world
        self._builders: dict[str, Callable[[date], pl.DataFrame]] = {
            STOCKS_DAY: self.stocks_day,
            STOCKS_MINUTE: self.stocks_minute,
            OPTIONS_DAY: self.options_day,
            OPTIONS_MINUTE: self.options_minute,
            INDICES_DAY: self.indices_day,
            INDICES_MINUTE: self.indices_minute,
        }

    @property
    def datasets(self) -> list[str]:
        """``family/dataset`` names, sorted."""
        return sorted(self._builders)

    def table(self, dataset: str, day: date, version: int = 0) -> pl.DataFrame:
        """Rows of the file in the vendor's order; a later ``version`` revises a few of them.

        Prices and volumes of stocks are floats; see ``float_precision`` for how they print.
        """
        frame = self._builders[dataset](day)
        return frame if version == 0 else self._revised(frame, dataset, day, version)

    @staticmethod
    def float_precision(dataset: str, day: date) -> int | None:
        """Decimals of every float in the file; None for the shortest text."""
        fixed = dataset.startswith("us_stocks") and day >= DECIMAL_VOLUME_FROM
        return 6 if fixed else None

    def _revised(self, frame: pl.DataFrame, dataset: str, day: date, version: int) -> pl.DataFrame:
        draw = generator(self.world.seed, "revision", dataset, day, version)
        touched = draw.random(frame.height) < 0.02
        touched[:1] = True
        names = [name for name in ("volume", "transactions") if name in frame.columns]
        if not names:
            raised = (pl.col("close") * 1.0001).round(4)
            return frame.with_columns(
                pl.when(pl.Series(touched)).then(raised).otherwise(pl.col("close")).alias("close")
            )
        return frame.with_columns(
            pl.when(pl.Series(touched)).then(pl.col(name) + 1).otherwise(pl.col(name)).alias(name)
            for name in names
        )

    def _stock_frame(self, day: date, parts: list[tuple[str, Bars]]) -> pl.DataFrame:
        merged = Bars.concatenate([bars for _, bars in parts])
        names = np.repeat(np.array([t for t, _ in parts]), [len(b) for _, b in parts])
        volume = merged.volume if day >= DECIMAL_VOLUME_FROM else merged.volume.astype(np.int64)
        return pl.DataFrame(
            {
                "ticker": names,
                "volume": volume,
                "open": merged.open,
                "close": merged.close,
                "high": merged.high,
                "low": merged.low,
                "window_start": merged.start,
                "transactions": merged.transactions,
            },
            schema_overrides={"ticker": pl.String},
        )

    def stocks_day(self, day: date) -> pl.DataFrame:
        """One row per stock of the whole market."""
        if self.world.profile == "full":
            listed = list(self.world.universe)
        else:
            listed = self.world.stock_tickers
        bars = [(ticker, self.world.day_bar(ticker, day)) for ticker in listed]
        frame = self._stock_frame(day, [(t, b) for t, b in bars if b is not None])
        if self.world.profile == "full":
            frame = pl.concat([frame, crowd_stocks_day(self.world, day)]).sort("ticker")
        return frame

    def stocks_minute(self, day: date) -> pl.DataFrame:
        """Minute rows of every stock; in profile ``full`` of some hundred."""
        tickers = sorted([*self.world.universe, *self.world.crowd[:_MOST_MINUTE_STOCKS]])
        return self._stock_frame(day, [(t, self.world.minute_bars(t, day)) for t in tickers])

    def _options(self, day: date, per_minute: bool) -> pl.DataFrame:
        parts = []
        for underlying in self.market.chains.listings.underlyings:
            tape = self.market.tape(underlying, day)
            bars = tapes.bars(tape, per_minute)
            parts.append(
                pl.DataFrame(
                    {
                        "ticker": tape.chain.ticker[bars.row],
                        "volume": bars.volume,
                        "open": bars.open,
                        "close": bars.close,
                        "high": bars.high,
                        "low": bars.low,
                        "window_start": bars.start,
                        "transactions": bars.transactions,
                    },
                    schema_overrides={"ticker": pl.String},
                )
            )
        return pl.concat(parts).sort("ticker", "window_start")

    def options_day(self, day: date) -> pl.DataFrame:
        """One row per contract that traded."""
        frame = self._options(day, per_minute=False)
        if self.world.profile == "full":
            frame = pl.concat([frame, crowd_options_day(self.world, day)]).sort("ticker")
        return frame

    def options_minute(self, day: date) -> pl.DataFrame:
        """One row per contract and minute with a trade; the universe's underlyings only."""
        return self._options(day, per_minute=True)

    def _index_frame(self, parts: list[tuple[str, Bars]]) -> pl.DataFrame:
        merged = Bars.concatenate([bars for _, bars in parts])
        names = np.repeat([t for t, _ in parts], [len(b) for _, b in parts])
        return pl.DataFrame(
            {
                "ticker": names,
                "open": merged.open,
                "close": merged.close,
                "high": merged.high,
                "low": merged.low,
                "window_start": merged.start,
            },
            schema_overrides={"ticker": pl.String},
        )

    def _foreign(self, day: date) -> tuple[str, Bars]:
        draw = generator(self.world.seed, "foreign", day).normal(0, 0.02, 4)
        level = 100 + 8 * np.sin(day.toordinal() / 90)
        prices = np.round(level * (1 + draw), 4)
        start = midnight_ns(day) + 3600 * 1_000_000_000
        none = np.zeros(1)
        return FOREIGN_INDEX, Bars(
            np.array([start]),
            prices[:1],
            np.array([prices.max()]),
            np.array([prices.min()]),
            prices[-1:],
            none,
            none.astype(np.int64),
        )

    def indices_day(self, day: date) -> pl.DataFrame:
        """One row per index; on a United States holiday only the foreign one."""
        parts = [self._foreign(day)]
        if is_session(day):
            bars = [(f"I:{name}", self.world.day_bar(f"I:{name}", day)) for name in INDICES]
            parts += [(t, b) for t, b in bars if b is not None]
        return self._index_frame(sorted(parts, key=lambda part: part[0]))

    def indices_minute(self, day: date) -> pl.DataFrame:
        """Minute rows of the indices in regular hours."""
        parts = [self._foreign(day)]
        if is_session(day):
            parts += [(f"I:{name}", self.world.minute_bars(f"I:{name}", day)) for name in INDICES]
        return self._index_frame(sorted(parts, key=lambda part: part[0]))


def previous_file_day(day: date) -> date:
    """The session before ``day``: what a file that was uploaded under a wrong name holds."""
    return previous_session(day)
