"""Volatility over time: implied against its own year, realised, and the VIX's term structure."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    count,
    flag,
    instant,
    number,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together
from tracker_dagster.schemas.surface import STRUCTURES
from tracker_dagster.schemas.volatility import BASES

REGIMES = ("EXTREMELY_LOW", "LOW", "NORMAL", "ELEVATED", "HIGH", "EXTREMELY_HIGH")
TRENDS = ("EXPANDING", "STABLE", "CONTRACTING")
FUTURES_REGIMES = ("FEAR", "NORMAL", "COMPLACENCY")


def _volatility(description: str) -> dy.Float64:
    return number(description, "per year", above=0)


def _realised(description: str) -> dy.Float64:
    return number(description, "per year", at_least=0)


def _share(description: str) -> dy.Float64:
    return number(description, "fraction", at_least=0, at_most=1)


def _change(description: str) -> dy.Float64:
    return number(description, "fraction", above=-1)


def _points(description: str) -> dy.Float64:
    return number(description, "volatility points", above=0)


class IvPercentile(dy.Schema):
    """One row an underlying and basis: the session's last value against its own year.

    The year is the 252 sessions before the session, whether or not they have a value. Nothing is
    carried over a gap, and no window mixes bases.
    """

    trade_date = trade_date()
    basis = choice(BASES, "captured chain, or day files", key=True)
    underlying = text("ticker of the underlying", key=True)
    slot = instant("last slot captured; the session's close for day files", nullable=False)
    available_at = available_at()
    iv_30d = _volatility("at the money, 30 calendar days ahead, at the slot")
    history_basis = choice(
        BASES, "what it is compared with: snapshots where half a year of them is known"
    )
    history_sessions = count(
        "of the 252 sessions before, those with a value; the others are missing", "sessions",
        nullable=False,
    )  # fmt: skip
    low = _volatility("lowest of the year before")
    high = _volatility("highest of the year before")
    mean = _volatility("mean of the year before")
    median = _volatility("median of the year before")
    deviation = number("sample standard deviation of the year before", "per year", at_least=0)
    iv_rank = _share(
        "(iv_30d - low) / (high - low), the value itself counted in the range: 1 is a new high"
    )
    iv_percentile = _share("share of the year before that lies strictly below")
    zscore = number("distance from the mean in standard deviations", "standard deviations")
    regime = choice(
        REGIMES, "percentile below 0.10, 0.30, 0.70, 0.85, 0.95, or above", nullable=True
    )
    change_5d = _change("relative change from the value five sessions before")
    change_20d = _change("relative change from the value 20 sessions before")
    trend = choice(TRENDS, "change_20d above 10 %, below -10 %, or between", nullable=True)
    is_crush = flag("at least 20 % below the mean of the five sessions before", nullable=True)
    is_spike = flag("at least 30 % above the mean of the five sessions before", nullable=True)
    ramp = _change("iv_30d over the mean of the 30 calendar days before, less one")
    ramp_percentile = _share("share of the year's ramps that lie strictly below")
    is_ramp = flag("ramp above 30 %", nullable=True)
    event_ahead = flag(
        "earnings within the 30 days that iv_30d spans, as known at the slot; null where that "
        "is not known",
        nullable=True,
    )
    recommendation = choice(
        ("WAIT_FOR_IV_DROP",), "in a ramp, with or without a known event", nullable=True
    )
    skew_25d_30d = number("25-delta put less 25-delta call, 30 calendar days ahead", "per year")
    skew_percentile = _share("share of the year before whose skew lies strictly below")
    reason = text("which columns are null, and why", nullable=True)

    @dy.rule()
    def rank_needs_half_a_year(cls) -> pl.Expr:
        """No rank and no percentile from fewer than 126 sessions."""
        known = pl.col("iv_rank").is_not_null() | pl.col("iv_percentile").is_not_null()
        return ~known | (pl.col("history_sessions") >= 126)

    @dy.rule()
    def file_is_compared_with_files(cls) -> pl.Expr:
        """A value of day files is compared with day files alone."""
        return (pl.col("basis") == "snapshot") | (pl.col("history_basis") == "day_file")


class RealizedVolatility(dy.Schema):
    """One row a ticker: what its prices have moved by, up to the close of the session."""

    trade_date = trade_date()
    ticker = text("ticker", key=True)
    available_at = available_at()
    rv_5d = _realised("standard deviation of the last 5 daily log returns")
    rv_10d = _realised("standard deviation of the last 10 daily log returns")
    rv_20d = _realised("standard deviation of the last 20 daily log returns")
    rv_30d = _realised("standard deviation of the last 30 daily log returns")
    rv_60d = _realised("standard deviation of the last 60 daily log returns")
    rv_252d = _realised("standard deviation of the last 252 daily log returns")
    parkinson_20d = _realised("from the ranges of 20 sessions; nights are not in it")
    garman_klass_20d = _realised("from range, open and close of 20 sessions; nights are not in it")
    yang_zhang_20d = _realised("from nights, ranges and ways from open to close of 20 sessions")
    intraday = _realised(
        "of the session alone: five-minute returns of regular hours, and the night before"
    )
    dividends_known_since = dy.Date(
        nullable=True,
        description="returns from this session on lack no dividend; null where even the "
        "session's own are not known",
    )
    reason = text("which columns are null, and why", nullable=True)


class VixTermStructure(dy.Schema):
    """One row a session: the VIX at the close against its three-month sibling and its futures."""

    trade_date = trade_date()
    available_at = available_at()
    vix = _points("VIX at the close")
    vix9d = _points("VIX9D at the close")
    vix3m = _points("VIX3M at the close")
    ratio = number("vix / vix3m", "ratio", above=0)
    ratio_percentile = _share("share of the 252 sessions before whose ratio lies strictly below")
    ratio_sessions = count(
        "of the 252 sessions before, those with a ratio", "sessions", nullable=False
    )
    structure = choice(
        STRUCTURES, "backwardation where the ratio is above one, contango below", nullable=True
    )
    reason = text("which of these are null, and why", nullable=True)
    vx1 = _points("settlement of the future that expires next")
    vx3 = _points("settlement of the third future")
    futures_spread = number("(vx3 - vx1) / vx1", "fraction", above=-1)
    futures_spread_percentile = _share(
        "share of the 252 sessions before whose spread lies strictly below; null under 126"
    )
    futures_regime = choice(
        FUTURES_REGIMES,
        "spread below -10 %, above 20 %, or between; above is common in calm markets",
        nullable=True,
    )
    futures_recommendation = choice(
        ("CONTRARIAN_LONG_SETUP", "PREPARE_FOR_VOL_SPIKE"),
        "in fear the first, in complacency the second",
        nullable=True,
    )
    futures_reason = text("why there is no spread", nullable=True)


_IV, _SKEW = "iv_term_structure.iv_30d", "iv_term_structure.skew_25d_30d"
_CALENDAR = tuple(
    f"earnings_calendar.{name}" for name in ("report_date", "report_time", "status", "announced_at")
)

IV_PERCENTILE = Table(
    "iv_percentile",
    IvPercentile,
    ("trade_date",),
    Kind.DERIVED,
    "Where 30-day volatility lies in its own year: rank, percentile, trend, crush, spike, ramp.",
    made_from=together(
        straight("iv_term_structure", "basis", "underlying", "slot", "iv_30d", "skew_25d_30d"),
        straight("iv_term_structure", history_basis="basis"),
        computed("history_sessions low high mean median deviation", _IV),
        computed("iv_rank iv_percentile zscore regime", _IV),
        computed("change_5d change_20d trend is_crush is_spike", _IV),
        computed("ramp ramp_percentile is_ramp recommendation", _IV),
        computed("skew_percentile", _SKEW),
        computed("event_ahead", *_CALENDAR, "universe.category"),
        computed("reason", _IV, _SKEW, "iv_term_structure.missing", *_CALENDAR),
    ),
)

_OHLC = tuple(f"stock_day_aggs.{name}" for name in ("open", "high", "low", "close"))
_CLOSE = "stock_day_aggs.close"
_ACTIONS = tuple(
    f"corporate_actions.{name}"
    for name in ("action", "ex_date", "split_from", "split_to", "cash_amount")
)
_TAPE = tuple(f"bars_1m.{name}" for name in ("start", "open", "close", "is_regular"))

REALIZED_VOLATILITY = Table(
    "realized_volatility",
    RealizedVolatility,
    ("trade_date",),
    Kind.DERIVED,
    "Volatility that prices have shown, 252 sessions a year, splits and dividends taken out.",
    made_from=together(
        straight("universe", "ticker"),
        computed("rv_5d rv_10d rv_20d rv_30d rv_60d rv_252d", _CLOSE, *_ACTIONS),
        computed("parkinson_20d", *_OHLC[1:3]),
        computed("garman_klass_20d", *_OHLC),
        computed("yang_zhang_20d", *_OHLC, *_ACTIONS),
        computed("intraday", *_TAPE, _CLOSE, *_ACTIONS),
        computed("dividends_known_since", "corporate_actions.trade_date"),
        computed("reason", *_OHLC, *_TAPE, "corporate_actions.trade_date"),
    ),
)

_INDEX = ("index_bars.close", "index_bars.ticker")
_FUTURES = ("vix_futures_settlements.vx1", "vix_futures_settlements.vx3")

VIX_TERM_STRUCTURE = Table(
    "vix_term_structure",
    VixTermStructure,
    ("trade_date",),
    Kind.DERIVED,
    "The VIX against VIX3M, and the rule on the spread of its futures where they are configured.",
    made_from=together(
        computed("vix vix9d vix3m ratio ratio_percentile ratio_sessions", *_INDEX),
        computed("structure reason", *_INDEX),
        straight("vix_futures_settlements", "vx1", "vx3"),
        computed("futures_spread futures_spread_percentile futures_reason", *_FUTURES),
        computed("futures_regime futures_recommendation", *_FUTURES),
    ),
)

TABLES = (IV_PERCENTILE, REALIZED_VOLATILITY, VIX_TERM_STRUCTURE)
