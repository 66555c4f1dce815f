"""Rows of iv_surface: the smile of every expiry of a capture, or why there is none."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracker_dagster.analytics.volatility.arbitrage import calendar_gap, least_density_factor
from tracker_dagster.analytics.volatility.smile import (
    FEWEST_POINTS,
    RAW_POINTS,
    fit_slices,
    volatility,
    volatility_at_delta,
)
from tracker_dagster.analytics.volatility.smile_points import (
    EXPIRY,
    expiries,
    smile_points,
    vendor_verdicts,
)
from tracker_dagster.analytics.volatility.svi import Floats, Slices
from tracker_dagster.schemas.surface import DELTAS, IV_SURFACE, SLICE

#: Most by which the nearest points on either side of the forward may lie apart, in deviations.
WIDEST_GAP = 2.0
#: A smile that misses its own points by more than this share of its volatility says nothing.
POOREST_FIT = 0.15

OK = "OK"
NO_FORWARD, TOO_FEW_POINTS, ONE_SIDED = "NO_FORWARD", "TOO_FEW_POINTS", "ONE_SIDED"
NOTHING_NEAR_FORWARD, POOR_FIT = "NOTHING_NEAR_FORWARD", "POOR_FIT"
CONTRADICTED = "CHAIN_CONTRADICTS_VENDOR"

#: The d1 that each delta means: a call's is N(d1), a put's N(d1) - 1.
_D1 = {
    name: NormalDist().inv_cdf(share)
    for name, share in zip(DELTAS, (0.90, 0.75, 0.25, 0.10), strict=True)
}
_SET_BY_THE_RUN = ("trade_date", "basis", "slot")


def surface_rows(contracts: pl.DataFrame) -> pl.DataFrame:
    """Rows of iv_surface for one capture of any number of chains.

    Args:
        contracts: rows of option_greeks (`smile_points.CONTRACT_COLUMNS`) of one trade date, basis
            and slot, in any order.

    Returns:
        One row for each expiry that lies ahead: the columns of iv_surface but ``trade_date``,
        ``basis`` and ``slot``.
    """
    points = smile_points(contracts)
    rows = (
        expiries(contracts)
        .join(_summaries(points), on=EXPIRY, how="left")
        .join(vendor_verdicts(points), on=EXPIRY, how="left")
        .with_columns(pl.col("points_count").fill_null(0))
        .with_columns(status=_status())
        .sort(EXPIRY)
    )
    fitted = _fit(rows.filter(pl.col("status") == OK), points)
    rows = rows.join(fitted, on=EXPIRY, how="left").with_columns(
        status=pl.coalesce("verdict", "status"),
        lowest=pl.coalesce("lowest_kept", "lowest"),
        highest=pl.coalesce("highest_kept", "highest"),
    )
    rows = _with_volatilities(rows).join(_calendar(rows), on=EXPIRY, how="left")
    return rows.select(name for name in IV_SURFACE.columns if name not in _SET_BY_THE_RUN)


def _summaries(points: pl.DataFrame) -> pl.DataFrame:
    """Per expiry: number and range of points, and the nearest on either side of the forward."""
    k, w = pl.col("moneyness"), pl.col("variance")
    return points.group_by(EXPIRY).agg(
        points_count=pl.len(),
        lowest=k.min(),
        highest=k.max(),
        below=k.filter(k <= 0).last(),
        above=k.filter(k >= 0).first(),
        variance_below=w.filter(k <= 0).last(),
        variance_above=w.filter(k >= 0).first(),
    )


def _status() -> pl.Expr:
    """OK where a smile may be fitted, or why none is."""
    apart = pl.col("above") - pl.col("below")
    deviation = pl.min_horizontal("variance_below", "variance_above").sqrt()
    one_sided = pl.col("below").is_null() | pl.col("above").is_null()
    return (
        pl.when(pl.col("forward").is_null())
        .then(pl.lit(NO_FORWARD))
        .when(pl.col("contradicts").fill_null(value=False))
        .then(pl.lit(CONTRADICTED))
        .when(one_sided & (pl.col("points_count") > 0))
        .then(pl.lit(ONE_SIDED))
        .when(apart > WIDEST_GAP * deviation)
        .then(pl.lit(NOTHING_NEAR_FORWARD))
        .when(pl.col("points_count") < FEWEST_POINTS)
        .then(pl.lit(TOO_FEW_POINTS))
        .otherwise(pl.lit(OK))
    )


def _fit(rows: pl.DataFrame, points: pl.DataFrame) -> pl.DataFrame:
    """What the points of ``rows`` say when fitted; both are sorted by `EXPIRY`."""
    used = points.join(rows.select(EXPIRY), on=EXPIRY, how="semi", maintain_order="left")
    counts = rows["points_count"].to_numpy()
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    number = np.repeat(np.arange(len(counts)), counts)
    k, variance, quoted, error, bid, ask = (
        used[name].fill_null(np.nan).to_numpy()
        for name in (
            "moneyness", "variance", "volatility", "error", "bid_volatility", "ask_volatility",
        )
    )  # fmt: skip
    years = rows["years"].to_numpy()
    fit = fit_slices(k, variance, 2 * quoted * years[number] * error, offsets)
    smile = volatility(Slices(*(part[number] for part in fit.stored)), k, years[number])
    at_forward = volatility(fit.stored, 0.0, years)
    fit_error = np.sqrt(_means((smile - quoted) ** 2, fit.weights, number, len(counts)))
    has_quote = np.isfinite(bid) & np.isfinite(ask)
    kept = fit.weights > 0
    lowest = np.minimum.reduceat(np.where(kept, k, np.inf), offsets[:-1])
    highest = np.maximum.reduceat(np.where(kept, k, -np.inf), offsets[:-1])
    least = least_density_factor(fit.best)
    columns = {
        **dict(zip(SLICE, fit.stored, strict=True)),
        "smile_volatility": at_forward,
        "within_quotes": _means((smile >= bid) & (smile <= ask), has_quote, number, len(counts)),
        "min_density": least,
        "lowest_kept": lowest,
        "highest_kept": highest,
        **{
            name: volatility_at_delta(fit.stored, years, d1, lowest, highest)
            for name, d1 in _D1.items()
        },
    }
    good = fit_error <= POOREST_FIT * at_forward
    is_good, enough = pl.Series(good), pl.Series(counts >= RAW_POINTS)
    family = pl.Series(np.where(fit.is_raw, "svi", "ssvi"), dtype=pl.String)
    return rows.select(EXPIRY).with_columns(
        *(_nullable(name, np.where(good, column, np.nan)) for name, column in columns.items()),
        _nullable("fit_error", 100 * fit_error),
        verdict=pl.when(is_good).then(pl.lit(OK)).otherwise(pl.lit(POOR_FIT)),
        family=pl.when(is_good).then(family),
        butterfly_free=pl.when(is_good & enough).then(pl.Series(least >= 0)),
    )


def _means(values: Any, weights: Any, number: NDArray[np.int64], count: int) -> Floats:
    """Weighted means over the points of each of ``count`` slices; NaN where none has weight."""
    with np.errstate(invalid="ignore"):
        return np.asarray(
            np.bincount(number, values * weights, count) / np.bincount(number, weights, count)
        )


def _nullable(name: str, values: Floats) -> pl.Series:
    return pl.Series(name, np.where(np.isfinite(values), values, np.nan), nan_to_null=True)


def _with_volatilities(rows: pl.DataFrame) -> pl.DataFrame:
    """The volatility at the forward and what is measured from it."""
    # Where the points are too few for a smile those beside the forward still tell its middle.
    share = -pl.col("below") / (pl.col("above") - pl.col("below"))
    between = pl.col("variance_below") + (
        pl.col("variance_above") - pl.col("variance_below")
    ) * pl.when(pl.col("above") > pl.col("below")).then(share).otherwise(0.0)
    neighbours = pl.when(pl.col("status") == TOO_FEW_POINTS).then(
        (between / pl.col("years")).sqrt()
    )
    return rows.with_columns(
        atm_volatility=pl.coalesce("smile_volatility", neighbours),
        atm_source=pl.when(pl.col("smile_volatility").is_not_null())
        .then(pl.lit("smile"))
        .when(neighbours.is_not_null())
        .then(pl.lit("neighbours")),
    ).with_columns(
        skew_25d=pl.col("put_25d") - pl.col("call_25d"),
        butterfly_25d=(pl.col("put_25d") + pl.col("call_25d")) / 2 - pl.col("atm_volatility"),
    )


def _calendar(rows: pl.DataFrame) -> pl.DataFrame:
    """Each fitted expiry against the fitted one before it; `EXPIRY` and what was found."""
    columns = (*SLICE, "lowest", "highest")
    later = rows.filter(pl.col("status") == OK).sort("underlying", "years")
    before = later.select(pl.col(columns).shift(1).over("underlying"))
    gap = calendar_gap(
        _slices(before),
        _slices(later),
        np.maximum(_floats(before, "lowest"), _floats(later, "lowest")),
        np.minimum(_floats(before, "highest"), _floats(later, "highest")),
    )
    return (
        later.select(EXPIRY)
        .with_columns(_nullable("calendar_gap", gap))
        .with_columns(calendar_free=pl.col("calendar_gap") >= 0)
    )


def _slices(rows: pl.DataFrame) -> Slices:
    return Slices(*(_floats(rows, name) for name in SLICE))


def _floats(rows: pl.DataFrame, name: str) -> Floats:
    return np.asarray(rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy())
