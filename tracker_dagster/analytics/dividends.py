"""Cash dividends ahead of a moment, from the corporate actions that were known by then."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import numpy as np
import polars as pl

from tracker_dagster.analytics.pricing.dividends import CashDividends
from tracker_dagster.instruments import INDEX_ROOTS
from tracker_dagster.trading_calendar import EASTERN, REGULAR_OPEN, trading_date

#: Declared dividends are known as a whole, to the horizon of the calendar; none are assumed past
#: it: where quotes allow, the carry implied by put-call parity stands for those.
CORPORATE_ACTIONS = "corporate_actions"
#: Some are known, but the calendar was not known as a whole: there may be more.
INCOMPLETE = "incomplete"
#: Neither the underlying's own dividends nor those of every ticker were asked for.
NOT_COLLECTED = "not_collected"
#: One ahead is not paid in US dollars; it is left out.
NOT_IN_USD = "not_in_usd"
#: An index pays none itself: those of its members are in the forward that parity implies.
INDEX = "index"

#: Distributions of regular policy, and those of which the vendor does not say.
_REGULAR = ("recurring", "unknown")
#: A distribution outside of regular policy changes the contracts' terms from this size on (OCC
#: By-Laws, Article VI, Section 11A, since 2009: $12.50 a contract of 100 shares).
_ADJUSTS_FROM = 0.125
_YEAR_SECONDS = 365.0 * 86_400.0


def dividends_ahead(actions: pl.DataFrame, moment: datetime) -> pl.DataFrame:
    """Cash dividends that lower option values, in shares of the moment.

    A dividend counts from the opening of its ex-date. One past a split that was known is turned
    into the shares of today. A special distribution that the contracts are adjusted for stays in
    their deliverable and does not count; nor does one that is not paid in US dollars.

    Args:
        actions: rows of corporate_actions known at the moment, each action once: ``ticker``,
            ``action``, ``ex_date``, ``cash_amount``, ``split_from``, ``split_to``,
            ``distribution_type``, ``currency``.
        moment: the valuation.

    Returns:
        ``underlying``, ``ex_date``, ``years`` (ACT/365 to 09:30 in New York on the ex-date) and
        ``amount`` (US dollars a share), ascending.
    """
    ahead = actions.filter(pl.col("ex_date") > trading_date(moment))
    paid = ahead.filter(
        (pl.col("action") == "dividend")
        & (pl.col("cash_amount") > 0)
        & _lowers_value()
        & ~is_foreign()
    )
    seconds = (_opening("ex_date") - pl.lit(moment.astimezone(UTC))).dt.total_microseconds() / 1e6
    return (
        _with_shares(paid, ahead.filter(pl.col("action") == "split"))
        .select(
            pl.col("ticker").alias("underlying"),
            "ex_date",
            years=seconds / _YEAR_SECONDS,
            amount=pl.col("cash_amount") * pl.col("shares"),
        )
        .sort("underlying", "ex_date", "amount")
    )


def dividend_sources(
    underlyings: Collection[str],
    actions: pl.DataFrame,
    moment: datetime,
    collected: Collection[str] | None,
) -> pl.DataFrame:
    """What is known of each underlying's dividends: ``underlying``, ``dividend_source``.

    Args:
        underlyings: tickers of stocks, funds and indices.
        actions: as of `dividends_ahead`.
        moment: the valuation.
        collected: tickers whose dividends were known as a whole, so that one of them without a
            row pays none; None where those of every ticker were.
    """
    ahead = actions.filter(
        (pl.col("action") == "dividend") & (pl.col("ex_date") > trading_date(moment))
    )
    foreign = set(ahead.filter(is_foreign())["ticker"])
    known = set(ahead["ticker"])
    indices = set(INDEX_ROOTS.values())

    def source(underlying: str) -> str:
        if underlying in indices:
            return INDEX
        if underlying in foreign:
            return NOT_IN_USD
        if collected is None or underlying in collected:
            return CORPORATE_ACTIONS
        return INCOMPLETE if underlying in known else NOT_COLLECTED

    names = sorted(set(underlyings))
    return pl.DataFrame(
        {"underlying": names, "dividend_source": [source(name) for name in names]},
        schema={"underlying": pl.String, "dividend_source": pl.String},
    )


def cash_dividends(underlyings: pl.Series, dividends: pl.DataFrame) -> CashDividends:
    """The dividends of each contract's underlying, for `pricing`.

    Args:
        underlyings: underlying of each contract (n,).
        dividends: ``underlying``, ``years``, ``amount``, as `dividends_ahead` gives them.

    Returns:
        One list for every underlying that pays, and an empty one that all others share.
    """
    ahead = dividends.sort("underlying", "years")
    lists = ahead.group_by("underlying", maintain_order=True).len()
    numbers = lists.select("underlying").with_row_index("group", offset=1)
    groups = (
        underlyings.alias("underlying")
        .to_frame()
        .join(numbers, on="underlying", how="left", maintain_order="left")["group"]
        .fill_null(0)
    )
    return CashDividends.by_group(
        ahead["years"].to_numpy(),
        ahead["amount"].to_numpy(),
        np.concatenate([[0, 0], np.cumsum(lists["len"].to_numpy())]).astype(np.int64),
        groups.to_numpy(),
    )


def _lowers_value() -> pl.Expr:
    regular = pl.col("distribution_type").fill_null(_REGULAR[0]).is_in(_REGULAR)
    return regular | (pl.col("cash_amount") < _ADJUSTS_FROM)


def is_foreign() -> pl.Expr:
    """Whether ``currency`` names another than the US dollar; who names none means dollars."""
    return pl.col("currency").fill_null("USD").str.to_uppercase() != "USD"


def _opening(column: str) -> pl.Expr:
    """09:30 in New York of a date column, as an instant."""
    opening = pl.col(column).dt.combine(REGULAR_OPEN).dt.replace_time_zone(EASTERN.key)
    return opening.dt.convert_time_zone("UTC")


def _with_shares(paid: pl.DataFrame, splits: pl.DataFrame) -> pl.DataFrame:
    """The dividends with ``shares``: what a share of today has become on the ex-date."""
    numbered = paid.with_row_index("row")
    ratios = splits.select(
        "ticker",
        split_date=pl.col("ex_date"),
        # In logarithms, so that several splits add up.
        growth=(pl.col("split_to") / pl.col("split_from")).log(),
    )
    grown = (
        numbered.join(ratios, on="ticker")
        .filter(pl.col("split_date") <= pl.col("ex_date"))
        .group_by("row")
        .agg(shares=pl.col("growth").sum().exp())
    )
    return numbered.join(grown, on="row", how="left").with_columns(pl.col("shares").fill_null(1.0))
