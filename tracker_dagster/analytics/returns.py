"""Daily price statistics: split adjustment, log returns, volatility, drawdown, expected move."""

from __future__ import annotations

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


def log_returns(closes: np.ndarray) -> np.ndarray:
    """Natural-log returns of consecutive closes; one fewer than there are closes."""
    return np.diff(np.log(np.asarray(closes, dtype=float)))


def annual_volatility(returns: np.ndarray) -> float:
    """Sample standard deviation of daily log returns, per year."""
    return float(np.std(returns, ddof=1) * np.sqrt(SESSIONS_PER_YEAR))


def sharpe_ratio(returns: np.ndarray) -> float | None:
    """Annual mean over deviation of daily log returns, no cash rate taken off.

    None where the returns do not vary.
    """
    deviation = float(np.std(returns, ddof=1))
    if deviation == 0.0:
        return None
    return float(np.mean(returns) / deviation * np.sqrt(SESSIONS_PER_YEAR))


def max_drawdown(closes: np.ndarray) -> float:
    """Largest fall from a running peak, as a fraction of that peak (0.25 is a quarter lost)."""
    peak = np.maximum.accumulate(closes)
    return float(np.max(1.0 - np.asarray(closes) / peak))


def normalised_entropy(returns: np.ndarray, bins: int = _ENTROPY_BINS) -> float:
    """Shannon entropy of the returns' histogram over its largest value: 0 to 1.

    Shares of the sample are used, not a density, so the figure does not depend on the unit.
    """
    counts, _ = np.histogram(returns, bins=bins)
    shares = counts[counts > 0] / counts.sum()
    return float(max(0.0, -np.sum(shares * np.log(shares))) / np.log(bins))


def return_statistics(
    closes: pl.DataFrame, *, minimum: int = MINIMUM_CLOSES, lookback: int = SESSIONS_PER_YEAR
) -> pl.DataFrame:
    """One row a ticker of daily statistics.

    Args:
        closes: ``ticker``, ``trade_date``, ``close``, already split-adjusted, in any order.
        minimum: with fewer closes every statistic is null and ``stats_reason`` says so.
        lookback: only the latest that many closes count.

    Returns:
        ``ticker`` and `STATISTICS`. ``daily_move`` is the deviation of the last 21 log returns;
        ``downside_5d`` the 10th percentile of overlapping five-session log returns; ``regime``
        the least-squares slope of the last 20 closes over their mean, per session;
        ``tail_width`` the distance between the 1st and the 10th percentile of daily returns.
    """
    rows = [
        {"ticker": ticker, **_statistics(group, minimum)}
        for (ticker,), group in closes.sort("ticker", "trade_date")
        .group_by("ticker", maintain_order=True)
        .tail(lookback)
        .group_by("ticker", maintain_order=True)
    ]
    return pl.DataFrame(rows, schema={"ticker": pl.String(), **STATISTICS})


def _statistics(group: pl.DataFrame, minimum: int) -> dict[str, object]:
    series = group["close"].to_numpy()
    base: dict[str, object] = {
        "closes_count": len(series),
        "last_close": float(series[-1]),
        "last_session": group["trade_date"][-1],
    }
    if len(series) < minimum:
        return {**base, "stats_reason": f"{len(series)} closes, {minimum} needed"}
    returns = log_returns(series)
    recent = series[-_REGIME_CLOSES:]
    five_day = np.log(series[5:] / series[:-5])
    low, ten = np.quantile(returns, [0.01, 0.10])
    sharpe = sharpe_ratio(returns)
    return {
        **base,
        "annual_volatility": annual_volatility(returns),
        "sharpe": sharpe,
        "max_drawdown": max_drawdown(series),
        "daily_move": float(np.std(returns[-_MOVE_RETURNS:], ddof=1)),
        "downside_5d": float(np.quantile(five_day, 0.10)),
        "regime": float(np.polyfit(np.arange(len(recent)), recent, 1)[0] / recent.mean()),
        "tail_width": float(abs(low - ten)),
        "return_entropy": normalised_entropy(returns),
        "stats_reason": "closes do not vary" if sharpe is None else None,
    }


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
