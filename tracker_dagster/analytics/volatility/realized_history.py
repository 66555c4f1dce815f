"""Each ticker's realised volatility up to a session: the rows of realized_volatility.

Prices are taken in the shares of that session, and a night over which a share loses its dividend
begins at the close less the dividend. A window that lacks a session has no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.returns import SESSIONS_PER_YEAR, adjust_for_splits
from tracker_dagster.analytics.volatility import realized
from tracker_dagster.analytics.volatility.realized import Floats

#: Sessions of returns behind each figure from closes.
WINDOWS = {f"rv_{sessions}d": sessions for sessions in (5, 10, 20, 30, 60, SESSIONS_PER_YEAR)}
#: Sessions behind the estimators from ranges.
RANGE_SESSIONS = 20
INTERVAL_MINUTES = 5
#: Share of a session's intervals that must have a trade: price that stands still is no calm.
TRADED_SHARE = 0.9
#: Figures that need a close of the session before, so that a split would show in them.
_ACROSS_NIGHTS = (*WINDOWS, "yang_zhang_20d", "intraday")
_FIGURES = (*WINDOWS, "parkinson_20d", "garman_klass_20d", "yang_zhang_20d", "intraday")
_PRICES = ("open", "high", "low", "close")


def bar_sessions(day: date) -> list[date]:
    """The sessions whose bars `realized_history` reads: a year of returns that end with ``day``."""
    return trading_calendar.last_sessions(day, SESSIONS_PER_YEAR + 1)


def realized_history(
    tickers: Sequence[str],
    bars: pl.DataFrame,
    minutes: pl.DataFrame,
    actions: pl.DataFrame,
    collected: pl.DataFrame,
    day: date,
) -> pl.DataFrame:
    """Realised volatilities of the windows that end with ``day``.

    Args:
        tickers: whose rows are wanted.
        bars: ``ticker``, ``trade_date``, ``open``, ``high``, ``low``, ``close`` as traded, one a
            ticker and session; those outside `bar_sessions` do not count.
        minutes: ``ticker``, ``start``, ``open``, ``close``, ``is_regular``: one-minute bars of
            ``day``, as traded; only regular hours count.
        actions: rows of corporate_actions, as they were known; later than ``day`` none counts.
        collected: ``ticker``, ``trade_date``: the sessions for which a ticker's corporate actions
            were asked for and answered as a whole.
        day: last session of every window.

    Returns:
        A row a ticker, in order: ``ticker``, the figures (annual decimals),
        ``dividends_known_since`` (first session from which on no dividend can have been missed)
        and ``reason`` (why figures are null).
    """
    sessions = bar_sessions(day)
    past = _Past.of(tickers, bars, actions, collected, sessions)
    nights, returns = past.nights, past.returns
    opened, high, low, close = (_last(past.prices[name], RANGE_SESSIONS) for name in _PRICES)
    figures = {
        name: realized.close_to_close(_last(returns, count)) for name, count in WINDOWS.items()
    } | {
        "parkinson_20d": realized.parkinson(high, low),
        "garman_klass_20d": realized.garman_klass(opened, high, low, close),
        "yang_zhang_20d": realized.yang_zhang(
            _last(nights, RANGE_SESSIONS), opened, high, low, close
        ),
    }
    tape = _Tape.of(tickers, minutes, day)
    figures["intraday"] = np.where(
        tape.is_whole, realized.of_one_session(past.night_before(tape.first), tape.returns), np.nan
    )
    # A split that nobody asked for would pass for a return.
    asked = collected.filter(trade_date=day)["ticker"].implode()
    splits_known = pl.Series(list(tickers), dtype=pl.String).is_in(asked).to_numpy()
    for name in _ACROSS_NIGHTS:
        figures[name] = np.where(splits_known, figures[name], np.nan)
    frame = pl.DataFrame(
        {"ticker": list(tickers), **figures},
        schema={"ticker": pl.String, **dict.fromkeys(_FIGURES, pl.Float64)},
    ).with_columns(pl.col(*_FIGURES).fill_nan(None))
    return frame.join(
        _unbroken_since(collected, sessions), on="ticker", how="left", maintain_order="left"
    ).with_columns(
        reason=pl.Series(
            [
                _reason(row, past, tape, place, splits_known[place])
                for place, row in enumerate(frame.iter_rows(named=True))
            ],
            dtype=pl.String,
        )
    )


@dataclass(frozen=True)
class _Past:
    """Bars of each ticker, in the shares of the last session; arrays (tickers, sessions)."""

    sessions: Sequence[date]
    prices: dict[str, Floats]
    #: Close of the session before, less the dividend that goes with the night.
    starts: Floats

    @classmethod
    def of(
        cls,
        tickers: Sequence[str],
        bars: pl.DataFrame,
        actions: pl.DataFrame,
        collected: pl.DataFrame,
        sessions: Sequence[date],
    ) -> _Past:
        day = sessions[-1]
        places = _places(tickers, sessions)
        dividends = _dividends(actions, collected, day)
        # The day's own answer holds the splits of more than a year, in their latest wording.
        splits = actions.filter(pl.col("trade_date") == day)
        adjusted = adjust_for_splits(bars.select("ticker", "trade_date", *_PRICES), splits, day)
        rows = adjusted.join(
            dividends, left_on=["ticker", "trade_date"], right_on=["ticker", "ex_date"], how="left"
        ).join(places, on=["ticker", "trade_date"])
        shape = (len(tickers), len(sessions))
        at = rows["_row"].to_numpy(), rows["_column"].to_numpy()

        def matrix(values: pl.Series, otherwise: float) -> Floats:
            whole = np.full(shape, otherwise)
            whole[at] = values.to_numpy()
            return whole

        prices = {name: matrix(rows[name], np.nan) for name in _PRICES}
        paid = matrix((rows["cash_amount"] * rows["split_factor"]).fill_null(0.0), 0.0)
        before = np.full(shape, np.nan)
        before[:, 1:] = prices["close"][:, :-1]
        starts = before - paid
        return cls(sessions, prices, np.where(starts > 0, starts, np.nan))

    @property
    def nights(self) -> Floats:
        """Log return from the close before to the open."""
        return np.log(self.prices["open"] / self.starts)

    @property
    def returns(self) -> Floats:
        """Log return from close to close."""
        return np.log(self.prices["close"] / self.starts)

    def night_before(self, first: Floats) -> Floats:
        """Log return of the last night, to the first price (tickers,) of the session."""
        return np.log(first / self.starts[:, -1])

    def gap(self, place: int) -> str | None:
        """Why the returns of a ticker reach back no further; None where they are whole."""
        close, start = self.prices["close"][place], self.starts[place]
        for column in range(len(self.sessions) - 1, -1, -1):
            if np.isnan(close[column]):
                return f"no bar on {self.sessions[column]}"
            if column and np.isnan(start[column]) and not np.isnan(close[column - 1]):
                return f"a dividend above the close on {self.sessions[column]}"
        return None


@dataclass(frozen=True)
class _Tape:
    """Five-minute prices of the session, each carried on until the next trade."""

    #: First price of the session, shape (tickers,); NaN without one.
    first: Floats
    #: Log returns, shape (tickers, intervals).
    returns: Floats
    #: Intervals with a trade, shape (tickers,).
    traded: NDArray[np.int64]

    @classmethod
    def of(cls, tickers: Sequence[str], minutes: pl.DataFrame, day: date) -> _Tape:
        session = trading_calendar.session_on(day)
        elapsed = pl.col("start") - session.open
        intervals = session.minutes // INTERVAL_MINUTES
        rows = (
            minutes.filter("is_regular")
            .sort("ticker", "start")
            .join(_numbered(tickers), on="ticker")
            .with_columns(_column=elapsed.dt.total_minutes() // INTERVAL_MINUTES)
            .group_by("_row", "_column")
            .agg(pl.col("open").first(), pl.col("close").last())
            .sort("_row", "_column")
        )
        first = np.full(len(tickers), np.nan)
        opening = rows.unique("_row", keep="first", maintain_order=True)
        first[opening["_row"].to_numpy()] = opening["open"].to_numpy()
        prices = np.full((len(tickers), intervals + 1), np.nan)
        prices[rows["_row"].to_numpy(), rows["_column"].to_numpy() + 1] = rows["close"].to_numpy()
        traded = np.count_nonzero(~np.isnan(prices), axis=1)
        prices[:, 0] = first
        # The place of the last trade up to each column: what is between trades is carried on.
        latest = np.maximum.accumulate(
            np.where(np.isnan(prices), 0, np.arange(intervals + 1)), axis=1
        )
        carried = np.take_along_axis(prices, latest, axis=1)
        return cls(first, np.diff(np.log(carried), axis=1), traded)

    @property
    def intervals(self) -> int:
        """Intervals of the session."""
        return self.returns.shape[1]

    @property
    def needed(self) -> int:
        """Intervals that must have a trade."""
        return int(np.ceil(TRADED_SHARE * self.intervals))

    @property
    def is_whole(self) -> NDArray[np.bool_]:
        """Whether enough of the session is there, shape (tickers,)."""
        return self.traded >= self.needed


def _numbered(tickers: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame(
        {"ticker": list(tickers), "_row": range(len(tickers))},
        schema={"ticker": pl.String, "_row": pl.Int64},
    )


def _places(tickers: Sequence[str], sessions: Sequence[date]) -> pl.DataFrame:
    columns = pl.DataFrame({"trade_date": sessions, "_column": range(len(sessions))})
    return _numbered(tickers).join(columns, how="cross")


def _dividends(actions: pl.DataFrame, collected: pl.DataFrame, day: date) -> pl.DataFrame:
    """``ticker``, ``ex_date``, ``cash_amount``: what the last answer before each ex-date said.

    A date that an earlier answer named and the last one does not has been moved or called off.
    """
    answered = collected.select("ticker", "trade_date", _answered="trade_date").sort("trade_date")
    return (
        actions.filter((pl.col("action") == "dividend") & (pl.col("ex_date") <= day))
        .sort("ex_date")
        .join_asof(
            answered,
            left_on="ex_date",
            right_on="trade_date",
            by="ticker",
            check_sortedness=False,
        )
        .filter(pl.col("trade_date") == pl.col("_answered"))
        .group_by("ticker", "ex_date")
        .agg(pl.col("cash_amount").sum())
    )


def _unbroken_since(collected: pl.DataFrame, sessions: Sequence[date]) -> pl.DataFrame:
    """First session of the run of answered ones that ends with the last, by ticker."""
    places = pl.DataFrame({"trade_date": sessions, "_column": range(len(sessions))})
    back = pl.col("_column").rank("ordinal", descending=True).over("ticker")
    return (
        collected.select("ticker", "trade_date")
        .unique()
        .join(places, on="trade_date")
        # The n-th answered session from the end is n-th from the end of all: none is left out.
        .filter(pl.lit(len(sessions)) - pl.col("_column") == back)
        .group_by("ticker")
        .agg(dividends_known_since=pl.col("trade_date").min())
    )


def _reason(
    row: dict[str, object], past: _Past, tape: _Tape, place: int, splits_known: bool
) -> str | None:
    """Why figures of a row are null; None where all are there."""
    day = past.sessions[-1]
    reasons: list[str] = []
    null = [name for name in _FIGURES if row[name] is None]
    if not splits_known:
        reasons.append(
            f"{', '.join(name for name in null if name in _ACROSS_NIGHTS)}: the corporate actions "
            f"of {day} were not collected, and a split would pass for a return"
        )
        null = [name for name in null if name not in _ACROSS_NIGHTS]
    from_bars = [name for name in null if name != "intraday"]
    if from_bars:
        whole = f"no session before {past.sessions[0]}"
        reasons.append(f"{', '.join(from_bars)}: {past.gap(place) or whole}")
    if "intraday" in null:
        if not tape.traded[place]:
            why = f"no minute bars of {day}"
        elif not tape.is_whole[place]:
            why = (
                f"{tape.traded[place]} of {tape.intervals} five-minute intervals have a trade, "
                f"{tape.needed} are needed"
            )
        else:
            why = "no close of the session before"
        reasons.append(f"intraday: {why}")
    return "; ".join(reasons) or None


def _last(values: Floats, count: int) -> Floats:
    """The last ``count`` columns; all NaN where there are not so many."""
    if values.shape[1] < count:
        return np.full((values.shape[0], count), np.nan)
    return values[:, -count:]
