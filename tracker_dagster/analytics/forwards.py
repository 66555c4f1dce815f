"""The forward of every expiry in a captured chain: by put-call parity, else by theory."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracker_dagster.analytics.dividends import cash_dividends
from tracker_dagster.analytics.parity import (
    Agreement,
    Pairs,
    implied_carry,
    parity_forwards,
    violations,
)
from tracker_dagster.analytics.pricing.dividends import escrow
from tracker_dagster.analytics.pricing.expiry import years_column
from tracker_dagster.analytics.rates import Curve, rates_for
from tracker_dagster.instruments import (
    INDEX_ROOTS,
    exercise_style_column,
    settlement_column,
)

Floats = NDArray[np.float64]

PARITY, THEORY = "parity", "theory"
#: Indices that nobody can hold: their options are written on a future, which no carry ties to the
#: index (Cboe, "VIX Options Product Specification").
ON_FUTURES = frozenset({"VIX"})
#: Fewer pairs than this say nothing.
FEWEST_PAIRS = 3
#: Largest standard error of a parity forward, as a share of the straddle at the money. Off by
#: that, the volatilities of calls and puts at the money move apart by about as much of themselves
#: each: the straddle is worth 0.8 F vol sqrt(T), and their vega is 0.4 F sqrt(T).
TOLERANCE = 0.025
_KEYS = ["underlying", "expiry", "settlement"]


def implied_forwards(
    chain: pl.DataFrame,
    moment: datetime,
    curve: Curve | None,
    dividends: pl.DataFrame,
    *,
    backend: str | None = None,
) -> pl.DataFrame:
    """The forward of every underlying, expiry and settlement in a chain.

    Parity's (`parity_forwards`) where three pairs and most of those asked agree, and its standard
    error is small beside the straddle at the money. Else theory's,
    (S - PV(dividends)) exp(rT), with the reason. An index's dividends are not in the latter, and
    an index that nobody can hold has none of the latter.

    Args:
        chain: contracts of one capture: ``underlying``, ``root``, ``expiry``, ``right``,
            ``strike``, ``bid``, ``ask``, ``quote_status``, ``exercise_style``, ``is_standard``,
            ``spot``, ``spot_at``, ``available_at``. Adjusted contracts are left out.
        moment: the valuation; terms are counted from it.
        curve: zero rates; None where none was known.
        dividends: cash dividends ahead: ``underlying``, ``years``, ``amount``.
        backend: of `pricing`.

    Returns:
        A row an ``underlying``, ``expiry`` and ``settlement``, sorted: ``available_at``,
        ``years``, ``spot``, ``spot_at``, ``rate``, ``rate_source``, ``dividends_value``,
        ``forward_theory``, ``forward_parity``, ``parity_error``, ``pairs_count``,
        ``violations_count``, ``quoted_count``, ``carry``, ``forward``, ``forward_source``,
        ``reason``. The forward is (S - PV(dividends)) exp((r - carry) T) where there is a carry.
    """
    standard = chain.filter(pl.col("is_standard")).with_columns(
        settlement_column(), exercise_style_column("exercise_style")
    )
    expiries = _expiries(standard, moment, curve, dividends)
    pairs = _pairs(standard, expiries, dividends)
    agreement = parity_forwards(pairs, backend=backend)
    return _chosen(expiries, pairs, agreement, curve)


def index_forwards_of_trades(
    contracts: pl.DataFrame, moment: datetime, curve: Curve | None
) -> pl.DataFrame:
    """`implied_forwards` of European index options from their last trades of a day.

    Nothing else says what an index's members pay. Calls and puts did not trade at one moment, so
    single pairs scatter by what the index moved between; ten of them around the money, and the
    rule on their standard error, make a forward of it or none.

    Args:
        contracts: of a day file: ``underlying``, ``root``, ``expiry``, ``right``, ``strike``,
            ``style``, ``is_standard``, ``price``, ``spot``, ``available_at``.
        moment: the close.
        curve: zero rates.
    """
    traded = contracts.filter(
        pl.col("underlying").is_in(sorted(set(INDEX_ROOTS.values())))
        & (pl.col("style") == "european")
        & pl.col("price").is_not_null()
    ).with_columns(
        bid=pl.col("price"),
        ask=pl.col("price"),
        quote_status=pl.lit("OK"),
        exercise_style=pl.col("style"),
        spot_at=pl.lit(moment),
    )
    none = pl.DataFrame(schema={"underlying": pl.String, "years": pl.Float64, "amount": pl.Float64})
    return implied_forwards(traded, moment, curve, none)


def _expiries(
    chain: pl.DataFrame, moment: datetime, curve: Curve | None, dividends: pl.DataFrame
) -> pl.DataFrame:
    """A row an expiry, numbered, with what theory's forward takes; ``net`` is S - PV(D)."""
    spots = (
        chain.drop_nulls("spot")
        .sort("spot_at", nulls_last=False)
        .group_by("underlying")
        .agg(pl.col("spot", "spot_at").last())
    )
    frame = (
        chain.group_by(_KEYS)
        .agg(pl.col("root").first(), pl.col("available_at").max())
        .sort(_KEYS)
        .join(spots, on="underlying", how="left", maintain_order="left")
        .with_row_index("number")
    )
    years = years_column(moment, frame).fill_null(np.nan).to_numpy()
    rate = np.full(years.shape, np.nan) if curve is None else rates_for(curve, years)
    cash = cash_dividends(frame["underlying"], dividends).aligned(years.shape)
    value = escrow(cash, years, rate).value + 0 * rate
    return frame.drop("root").with_columns(
        years=_nullable(years),
        rate=_nullable(rate),
        dividends_value=_nullable(value),
        net=pl.col("spot") - _nullable(value),
    )


def _pairs(chain: pl.DataFrame, expiries: pl.DataFrame, dividends: pl.DataFrame) -> Pairs:
    """The strikes with both quotes, of expiries that lie ahead and have a rate."""
    keys = [*_KEYS, "root", "strike"]
    sides = [
        chain.filter((pl.col("right") == right) & (pl.col("quote_status") == "OK")).select(
            *keys, "style", pl.col("bid", "ask").name.prefix(name)
        )
        for right, name in (("C", "call_"), ("P", "put_"))
    ]
    ahead = expiries.filter((pl.col("years") > 0) & pl.col("rate").is_not_null())
    frame = (
        sides[0]
        .join(sides[1].drop("style"), on=keys)
        .join(ahead.select(*_KEYS, "number", "years", "rate", "spot", "net"), on=_KEYS)
        .sort("number", "strike", "root")
    )
    names = ("strike", "years", "rate", "spot", "net")
    quotes = ("call_bid", "call_ask", "put_bid", "put_ask")
    columns = {
        name: frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in (*names, *quotes)
    }
    return Pairs(
        expiry=frame["number"].cast(pl.Int64).to_numpy(),
        count=expiries.height,
        is_european=(frame["style"] == "european").to_numpy(),
        dividends=cash_dividends(frame["underlying"], dividends),
        **columns,
    )


def _chosen(
    expiries: pl.DataFrame, pairs: Pairs, agreement: Agreement, curve: Curve | None
) -> pl.DataFrame:
    """The table's columns: which forward, and why not parity's."""
    enough = agreement.votes >= FEWEST_PAIRS
    agreed = 2 * agreement.votes > agreement.asked
    exact = agreement.error <= TOLERANCE * agreement.straddle
    is_parity = enough & agreed & exact
    numbers = {
        name: expiries[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("net", "rate", "years")
    }
    tied = ~expiries["underlying"].is_in(sorted(ON_FUTURES)).to_numpy()
    theory = numbers["net"] * np.exp(numbers["rate"] * numbers["years"])
    parity = np.where(enough, agreement.forward, np.nan)
    carry = np.where(is_parity, implied_carry(parity, **numbers), np.nan)
    theory = np.where(tied & (theory > 0), theory, np.nan)
    forward = np.where(is_parity, parity, theory)
    at = pairs.expiry
    broken = np.bincount(at[violations(pairs, forward[at], carry[at])], minlength=pairs.count)
    quoted = np.bincount(at, minlength=pairs.count)
    source = pl.when(pl.Series(is_parity)).then(pl.lit(PARITY))
    no_rate = "no rate: no curve was known" if curve is None else curve.limit
    why = (
        pl.when(pl.col("years") <= 0)
        .then(pl.lit("the expiry is now"))
        .when(pl.col("years").is_null())
        .then(pl.lit("the expiry lies past the exchange calendar"))
        .when(pl.col("rate").is_null())
        .then(pl.lit(no_rate))
        .when(pl.col("quoted_count") == 0)
        .then(pl.lit("no strike has both quotes"))
        .when(pl.Series((agreement.asked == 0) & np.isnan(numbers["net"])))
        .then(pl.lit("no spot, which early exercise depends on"))
        .when(pl.Series(~enough))
        .then(pl.format("needs {} pairs that agree, has {}", pl.lit(FEWEST_PAIRS), "pairs_count"))
        .when(pl.Series(~agreed))
        .then(pl.format("{} of {} pairs agree", "pairs_count", pl.Series(agreement.asked)))
        .when(pl.Series(~exact))
        .then(pl.lit("quotes too wide, or too far apart, beside the straddle at the money"))
    )
    return (
        expiries.with_columns(
            rate_source=pl.when(pl.col("rate").is_not_null()).then(
                pl.lit(curve.source if curve else None, dtype=pl.String)
            ),
            forward_theory=_nullable(theory),
            forward_parity=_nullable(parity),
            parity_error=_nullable(np.where(enough, agreement.spread, np.nan)),
            pairs_count=pl.Series(agreement.votes),
            violations_count=pl.Series(broken),
            quoted_count=pl.Series(quoted),
            carry=_nullable(carry),
            forward=_nullable(forward),
        )
        .with_columns(
            forward_source=source.when(pl.col("forward").is_not_null()).then(pl.lit(THEORY)),
            reason=why,
        )
        .drop("number", "net")
    )


def _nullable(values: Floats) -> pl.Series:
    """A column without NaN or infinity, but null."""
    return pl.Series(np.where(np.isfinite(values), values, np.nan)).fill_nan(None)
