"""Daily price statistics: split adjustment, log returns, volatility, drawdown, expected move."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import polars as pl

#: Sessions in a year, the usual convention for annualising daily figures.
SESSIONS_PER_YEAR = 252
#: Fewest closes from which any statistic is given.
MINIMUM_CLOSES = 20

#: Fewest returns in common with the market from which a beta is given.
MINIMUM_COMMON_RETURNS = 60

#: Columns of `return_statistics`, besides the ticker.
STATISTICS: dict[str, pl.DataType] = {
    "closes_count": pl.Int64(),
    "last_close": pl.Float64(),
    "last_session": pl.Date(),
    "annual_volatility": pl.Float64(),
    "sharpe": pl.Float64(),
    "max_drawdown": pl.Float64(),
    "daily_move": pl.Float64(),
    "downside_5d": pl.Float64(),
    "regime": pl.Float64(),
    "tail_width": pl.Float64(),
    "return_entropy": pl.Float64(),
    "stats_reason": pl.String(),
}

#: Those of them that prices alone give.
_FROM_PRICES = (
    "annual_volatility",
    "sharpe",
    "max_drawdown",
    "daily_move",
    "downside_5d",
    "regime",
    "tail_width",
    "return_entropy",
)

_ENTROPY_BINS = 20
_MOVE_RETURNS = 21
_REGIME_CLOSES = 20


def adjust_for_splits(bars: pl.DataFrame, splits: pl.DataFrame, as_of: date) -> pl.DataFrame:
    """Daily bars in the shares of ``as_of``.

    Args:
        bars: ``ticker``, ``trade_date`` and any of open, high, low, close, volume, as traded.
        splits: rows of corporate_actions; those that are not splits are ignored, a split seen on
            several sessions counts once, in its latest wording.
        as_of: splits that execute after this date are not yet facts and change nothing.

    Returns:
        ``bars`` with prices multiplied and volume divided by ``split_factor``, which is added.
        The argument is left as it was: what is stored stays as traded.
    """
    known = splits.filter((pl.col("action") == "split") & (pl.col("ex_date") <= as_of))
    if known.is_empty():
        return bars.with_columns(split_factor=pl.lit(1.0))
    # A bar before several splits carries the product of all of them.
    factors = (
        known.sort("trade_date", "action_id")
        .unique(["ticker", "ex_date"], keep="last")
        .sort("ticker", "ex_date", descending=[False, True])
        .select(
            "ticker",
            "ex_date",
            split_factor=(pl.col("split_from") / pl.col("split_to")).cum_prod().over("ticker"),
        )
        .sort("ex_date")
    )
    adjusted = (
        bars.with_row_index("_row")
        .sort("trade_date")
        .join_asof(
            factors,
            left_on="trade_date",
            right_on="ex_date",
            by="ticker",
            strategy="forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .sort("_row")
        .drop("_row", "ex_date")
        .with_columns(pl.col("split_factor").fill_null(1.0))
    )
    prices = [name for name in ("open", "high", "low", "close", "vwap") if name in bars.columns]
    volumes = [name for name in ("volume",) if name in bars.columns]
    return adjusted.with_columns(
        *(pl.col(name) * pl.col("split_factor") for name in prices),
        *(pl.col(name) / pl.col("split_factor") for name in volumes),
    )


def return_statistics(
    closes: pl.DataFrame,
    *,
    minimum: int = MINIMUM_CLOSES,
    lookback: int = SESSIONS_PER_YEAR,
    sessions: Sequence[date] | None = None,
) -> pl.DataFrame:
    """One row a ticker of daily statistics.

    All tickers are worked out at once, as rows of one matrix with a column a session. A return
    counts only between neighbouring sessions: over one without a close, as in a halt or where a
    file is missing, it is left out, since it is no daily one, and ``stats_reason`` tells how many.

    Args:
        closes: ``ticker``, ``trade_date``, ``close``, already split-adjusted, in any order.
        minimum: with fewer closes, or fewer than ``minimum`` - 1 daily returns, every statistic
            is null and ``stats_reason`` says so.
        lookback: only the latest that many closes count.
        sessions: every session there was, ascending, from the first to the last of ``closes``;
            None: those on which any ticker has a close.

    Returns:
        ``ticker`` and `STATISTICS`. ``annual_volatility`` is the sample deviation of daily log
        returns by the root of 252; ``sharpe`` their mean over that, both of a year, no cash rate
        taken off, null where they do not vary; ``max_drawdown`` the largest fall from a running
        peak of closes, as a fraction of it; ``daily_move`` is the deviation of the last 21 log
        returns; ``downside_5d`` the 10th percentile of overlapping five-session log returns;
        ``regime`` the least-squares slope of the closes of the last 20 sessions over their mean,
        per session; ``tail_width`` the distance between the 1st and the 10th percentile of daily
        returns.
    """
    calendar = closes["trade_date"].unique().sort() if sessions is None else sessions
    ordered = closes.select("ticker", "trade_date", "close").sort("ticker", "trade_date")
    latest = ordered.group_by("ticker", maintain_order=True).tail(lookback)
    places = np.searchsorted(
        pl.Series(calendar, dtype=pl.Date).to_numpy(), latest["trade_date"].to_numpy()
    )
    latest = latest.with_columns(_session=pl.Series(places, dtype=pl.Int64))
    rows = latest.group_by("ticker", maintain_order=True).agg(
        closes_count=pl.len().cast(pl.Int64),
        last_close=pl.col("close").last(),
        last_session=pl.col("trade_date").last(),
        _returns=(pl.col("_session").diff() == 1).sum().cast(pl.Int64),
    )
    enough = (rows["closes_count"] >= minimum) & (rows["_returns"] >= minimum - 1)
    prices = _by_session(
        latest["close"].to_numpy(), latest["_session"].to_numpy(), rows["closes_count"].to_numpy()
    )[enough.to_numpy()]
    known = {name: np.full(rows.height, np.nan) for name in _FROM_PRICES}
    if enough.any():
        for name, values in _statistics(prices).items():
            known[name][enough.to_numpy()] = values
    left_out = pl.col("closes_count") - 1 - pl.col("_returns")
    return rows.with_columns(
        *(pl.Series(name, values, nan_to_null=True) for name, values in known.items())
    ).select(
        "ticker",
        *(name for name in STATISTICS if name != "stats_reason"),
        stats_reason=pl.when(pl.col("closes_count") < minimum)
        .then(pl.format(f"{{}} closes, {minimum} needed", "closes_count"))
        .when(pl.col("_returns") < minimum - 1)
        .then(
            pl.format(
                f"{{}} returns between neighbouring sessions, {minimum - 1} needed; returns over "
                "missing sessions left out: {}",
                "_returns",
                left_out,
            )
        )
        .when(pl.col("sharpe").is_null())
        .then(pl.lit("closes do not vary"))
        .when(left_out > 0)
        .then(pl.format("returns over missing sessions left out: {}", left_out)),
    )


def _by_session(values: np.ndarray, sessions: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Runs of values as rows with a column a session, each ending in the last column; else NaN.

    Args:
        values: the runs, one after the other.
        sessions: the number of each value's session, ascending within a run.
        counts: values of each run, at least one.
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    before_last = sessions[np.cumsum(counts) - 1][rows] - sessions
    width = int(before_last.max(initial=-1)) + 1
    matrix = np.full((len(counts), width), np.nan)
    matrix[rows, width - 1 - before_last] = values
    return matrix


def _statistics(prices: np.ndarray) -> dict[str, np.ndarray]:
    """`_FROM_PRICES` of each row of closes (n, sessions); NaN where a session has none."""
    logs = np.log(prices)
    returns = np.diff(logs, axis=1)
    recent = prices[:, -_REGIME_CLOSES:]
    deviation = _deviations(returns)
    mean = _means(returns)
    low, tenth = _quantiles(returns, (0.01, 0.10))
    # A session without a close is no fall and no new peak.
    falls = 1.0 - prices / np.fmax.accumulate(prices, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = np.where(deviation == 0.0, np.nan, mean / deviation * np.sqrt(SESSIONS_PER_YEAR))
    return {
        "annual_volatility": deviation * np.sqrt(SESSIONS_PER_YEAR),
        "sharpe": sharpe,
        "max_drawdown": np.max(falls, axis=1, initial=0.0, where=np.isfinite(falls)),
        "daily_move": _deviations(_last_known(returns, _MOVE_RETURNS)),
        "downside_5d": _quantiles(logs[:, 5:] - logs[:, :-5], (0.10,))[0],
        "regime": _slopes(recent) / _means(recent),
        "tail_width": np.abs(low - tenth),
        "return_entropy": normalised_entropy(returns),
    }


def _last_known(rows: np.ndarray, count: int) -> np.ndarray:
    """The last numbers of each row that are none of NaN, at most so many, in their order."""
    order = np.argsort(np.isfinite(rows), axis=1, kind="stable")[:, -count:]
    return np.take_along_axis(rows, order, axis=1)


def _means(rows: np.ndarray) -> np.ndarray:
    return np.nansum(rows, axis=1) / np.isfinite(rows).sum(axis=1)


def _deviations(rows: np.ndarray) -> np.ndarray:
    """Sample standard deviation of each row's numbers."""
    squares = np.nansum((rows - _means(rows)[:, None]) ** 2, axis=1)
    return np.sqrt(squares / (np.isfinite(rows).sum(axis=1) - 1))


def _quantiles(rows: np.ndarray, shares: tuple[float, ...]) -> list[np.ndarray]:
    """Quantiles of each row's numbers, linear between neighbours."""
    ascending = np.sort(rows, axis=1)  # NaN goes last
    last = np.isfinite(rows).sum(axis=1) - 1
    found = []
    for share in shares:
        position = share * last
        below = np.floor(position).astype(np.int64)
        pair = np.stack([below, np.minimum(below + 1, last)], axis=1)
        lower, upper = np.take_along_axis(ascending, pair, axis=1).T
        found.append(lower + (upper - lower) * (position - below))
    return found


def _slopes(rows: np.ndarray) -> np.ndarray:
    """Least-squares slope of each row's numbers per column."""
    there = np.isfinite(rows)
    place = np.where(there, np.arange(rows.shape[1], dtype=float), np.nan)
    from_mean = place - _means(place)[:, None]
    with np.errstate(invalid="ignore"):
        # A single number has none.
        return np.nansum(from_mean * rows, axis=1) / np.nansum(from_mean**2, axis=1)


def normalised_entropy(rows: np.ndarray, bins: int = _ENTROPY_BINS) -> np.ndarray:
    """Shannon entropy of the histogram of each row's numbers over its largest value: 0 to 1.

    Shares of the sample are used, not a density, so the figure does not depend on the unit.

    Args:
        rows: (n, m); NaN does not count.
        bins: of equal width from a row's least to its largest number; at least 2.

    Returns:
        (n,).
    """
    there = np.isfinite(rows)
    low = np.min(rows, axis=1, where=there, initial=np.inf)[:, None]
    high = np.max(rows, axis=1, where=there, initial=-np.inf)[:, None]
    same = low == high
    # As numpy's histogram does for numbers that are all the same.
    low, high = np.where(same, low - 0.5, low), np.where(same, high + 0.5, high)
    scaled = np.where(there, (rows - low) / (high - low) * bins, 0.0)
    place = np.minimum(scaled.astype(np.int64), bins - 1)
    at = (np.arange(len(rows))[:, None] * bins + place)[there]
    counts = np.bincount(at, minlength=len(rows) * bins).reshape(len(rows), bins)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    terms = np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1.0)), 0.0)
    return np.maximum(0.0, -terms.sum(axis=1)) / np.log(bins)


def betas(
    closes: pl.DataFrame,
    market: pl.DataFrame,
    *,
    minimum: int = MINIMUM_COMMON_RETURNS,
    lookback: int = SESSIONS_PER_YEAR,
) -> pl.DataFrame:
    """Slope of each ticker's daily log returns on the market's, by least squares.

    Only returns between the same two sessions are compared: where either lacks a close, the
    other's return over the gap does not count.

    Args:
        closes: ``ticker``, ``trade_date``, ``close``, split-adjusted, in any order.
        market: ``trade_date``, ``close`` of what the betas are told against.
        minimum: with fewer common returns beta is null.
        lookback: only the latest that many closes of a ticker count.

    Returns:
        ``ticker``, ``common_returns`` and ``beta``; null too where the market does not vary.
    """
    of_market = _spans(market.sort("trade_date").with_columns(ticker=pl.lit("")))
    spans = _spans(closes.sort("ticker", "trade_date").group_by("ticker").tail(lookback))
    common = spans.join(
        of_market.select("since", "trade_date", moved_market="moved"), on=["since", "trade_date"]
    )
    variance = pl.col("moved_market").var()
    return (
        common.group_by("ticker")
        .agg(
            common_returns=pl.len().cast(pl.Int64),
            beta=pl.when((pl.len() >= minimum) & (variance > 0)).then(
                pl.cov("moved", "moved_market") / variance
            ),
        )
        .sort("ticker")
    )


def _spans(closes: pl.DataFrame) -> pl.DataFrame:
    """Each return with the two sessions it lies between."""
    return (
        closes.sort("ticker", "trade_date")
        .select(
            "ticker",
            "trade_date",
            since=pl.col("trade_date").shift().over("ticker"),
            moved=pl.col("close").log().diff().over("ticker"),
        )
        .drop_nulls("since")
    )
