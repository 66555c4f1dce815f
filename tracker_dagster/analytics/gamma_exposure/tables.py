"""Gamma exposure by strike, by expiry and of a whole chain, as rows of their tables."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from tracker_dagster.analytics.gamma_exposure.contracts import (
    ADJUSTED,
    CHAIN,
    counted_contracts,
    live_contracts,
    whole_chains,
)
from tracker_dagster.analytics.gamma_exposure.flip import book_of, gamma_flip, net_gamma
from tracker_dagster.analytics.gamma_exposure.levels import max_pain, walls
from tracker_dagster.instruments import INDEX_ROOTS
from tracker_dagster.schemas.exposure import GAMMA_BY_EXPIRY, GAMMA_BY_STRIKE, GAMMA_EXPOSURE

#: Funds on the broad indices; their options are used as the indices' are.
INDEX_FUNDS = frozenset({"SPY", "QQQ", "DIA", "IWM"})
#: Broad equity indices. VIX is none: its calls are what end users buy.
BROAD_INDICES = frozenset(INDEX_ROOTS.values()) - {"VIX"}
#: Why nothing is signed by flow.
NO_FLOW = "no signed trades are stored"


def gamma_by_strike(contracts: pl.DataFrame) -> pl.DataFrame:
    """Rows of gamma_by_strike.

    Args:
        contracts: rows of option_greeks on the basis ``snapshot``, of any chains. Contracts with
            the same expiry and strike add up, whatever their root: SPX and SPXW are both SPX.

    Raises:
        ValueError: rows on another basis.
    """
    rows = counted_contracts(live_contracts(contracts)).filter("is_standard")
    return GAMMA_BY_STRIKE.conform(_sums(rows, (*CHAIN, "expiry", "strike")), flow_reason=NO_FLOW)


def gamma_by_expiry(contracts: pl.DataFrame) -> pl.DataFrame:
    """Rows of gamma_by_expiry; see `gamma_by_strike`. Max pain rests on open interest alone."""
    keys = (*CHAIN, "expiry")
    live = live_contracts(contracts)
    rows = counted_contracts(live)
    standard = rows.filter("is_standard")
    rows = rows.join(standard.select(keys).unique(), on=keys, how="semi")
    return GAMMA_BY_EXPIRY.conform(_with_levels(live, rows, keys), flow_reason=NO_FLOW)


def gamma_exposure(contracts: pl.DataFrame) -> pl.DataFrame:
    """Rows of gamma_exposure, one a chain; see `gamma_by_strike`.

    A chain of which nothing is left, or that nobody holds, has a row that says so.
    """
    known = whole_chains(contracts)
    live = known.filter(~pl.col("has_expired"))
    rows = counted_contracts(live)
    same = ("available_at", "open_interest_session", "spot")
    chains = known.group_by(CHAIN).agg(
        pl.col(same).first(),
        nothing=pl.when(pl.col("has_expired").all())
        .then(pl.lit("every contract has expired"))
        .otherwise(pl.lit("no contract is open")),
    )
    flips = [
        {**dict(zip(CHAIN, chain, strict=True)), **_flip(of_chain)}
        for chain, of_chain in rows.group_by(CHAIN, maintain_order=True)
    ]
    schema = {name: rows.schema[name] for name in CHAIN} | _FLIP_SCHEMA
    plausible = pl.col("underlying").is_in(sorted(BROAD_INDICES | INDEX_FUNDS))
    return GAMMA_EXPOSURE.conform(
        chains.join(_with_levels(live, rows, CHAIN).drop(same), on=CHAIN, how="left")
        .join(_expiries(rows), on=CHAIN, how="left")
        .join(pl.DataFrame(flips, schema=schema), on=CHAIN, how="left")
        .with_columns(
            pl.col("contracts_count", "counted_count", "expiries_count").fill_null(0),
            reason=pl.when(pl.col("contracts_count").is_null()).then("nothing").otherwise("reason"),
            naive_sign=pl.when(plausible).then(pl.lit("plausible")).otherwise(pl.lit("doubtful")),
            flip_distance=pl.col("gamma_flip") / pl.col("spot") - 1,
            flip_reason=pl.when(pl.col("gamma_flip").is_null()).then(
                pl.col("flip_reason").fill_null(pl.col("nothing"))
            ),
        )
        .sort(CHAIN),
        flow_reason=NO_FLOW,
    )


def _expiries(rows: pl.DataFrame) -> pl.DataFrame:
    """How many expiries of a chain are held, and which of them most."""
    return (
        rows.filter(pl.col("is_standard") & pl.col("open_interest").is_not_null())
        .group_by(*CHAIN, "expiry")
        .agg(pl.col("open_interest").sum())
        .sort("open_interest", "expiry", descending=[True, False])
        .group_by(CHAIN, maintain_order=True)
        .agg(expiry_focus=pl.col("expiry").first(), expiries_count=pl.len())
    )


def repricing_gap() -> pl.Expr:
    """By how much repricing at the spot misses the net gamma of gamma_exposure, over the gross.

    Repricing leaves early exercise out; what else it leaves out shows here too. 1 where nothing
    can be repriced; null without gamma.
    """
    net, repriced = "net_gamma_naive_usd_per_1pct", "repriced_gamma_naive_usd_per_1pct"
    gross = pl.col("gross_gamma_usd_per_1pct")
    gap = (pl.col(repriced) - pl.col(net)).abs() / gross
    return pl.when(gross > 0).then(gap.fill_null(1.0))


_FLIP_SCHEMA = {
    "repriced_gamma_naive_usd_per_1pct": pl.Float64(),
    "gamma_flip": pl.Float64(),
    "flip_reason": pl.String(),
}


def _flip(rows: pl.DataFrame) -> dict[str, float | str | None]:
    book = book_of(rows)
    flip = gamma_flip(book)
    return {
        "repriced_gamma_naive_usd_per_1pct": (
            float(net_gamma(book, book.spot)) if book.weight.size else None
        ),
        "gamma_flip": flip.level,
        "flip_reason": flip.reason,
    }


def _side(right: str, value: str) -> pl.Expr:
    """Sum of a side; null where the side is held and no contract of it counts."""
    here = pl.col("right") == right
    counted = (here & pl.col("exclusion").is_null()).sum()
    unknown = (here & pl.col("exclusion").is_not_null() & (pl.col("exclusion") != ADJUSTED)).sum()
    total = pl.col(value).filter(here).sum()
    return pl.when((counted > 0) | (unknown == 0)).then(total)


def _known(right: str, value: str) -> pl.Expr:
    """Sum of what is known of a side's standard contracts; null where they are and none is."""
    values = pl.col(value).filter((pl.col("right") == right) & pl.col("is_standard"))
    return pl.when((values.count() > 0) | (values.len() == 0)).then(values.sum())


def _sums(rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """The columns that all three tables have, a row for each value of ``keys``."""
    counts = pl.col("exclusion").is_null()
    interest = pl.col("open_interest")
    sums = rows.group_by(keys).agg(
        pl.col("available_at", "open_interest_session", "spot").first(),
        contracts_count=pl.len(),
        counted_count=counts.sum(),
        open_interest_coverage=interest.filter(counts).sum() / interest.sum(),
        call_open_interest=_known("C", "open_interest"),
        put_open_interest=_known("P", "open_interest"),
        call_gamma_usd_per_1pct=_side("C", "gamma_usd"),
        put_gamma_usd_per_1pct=_side("P", "gamma_usd"),
        call_gamma_shares=_side("C", "gamma_shares"),
        put_gamma_shares=_side("P", "gamma_shares"),
        call_delta_usd=_side("C", "delta_usd"),
        put_delta_usd=_side("P", "delta_usd"),
    )
    excluded = (
        rows.filter(~counts)
        .group_by(*keys, "exclusion")
        .len()
        .sort(*keys, "len", "exclusion", descending=[False] * len(keys) + [True, False])
        .group_by(keys, maintain_order=True)
        .agg(excluded=pl.format("{} {}", "exclusion", "len").str.join(", "))
    )
    call, put = pl.col("call_gamma_usd_per_1pct"), pl.col("put_gamma_usd_per_1pct")
    some = pl.col("counted_count") > 0
    return (
        sums.join(excluded, on=keys, how="left")
        # A share of nothing is none.
        .with_columns(pl.col("open_interest_coverage").fill_nan(None))
        .with_columns(
            gross_gamma_usd_per_1pct=pl.when(some).then(call + put),
            net_gamma_naive_usd_per_1pct=pl.when(some).then(call - put),
            net_gamma_naive_shares_per_usd=pl.when(some).then(
                pl.col("call_gamma_shares") - pl.col("put_gamma_shares")
            ),
            net_delta_usd=pl.when(some).then(pl.col("call_delta_usd") + pl.col("put_delta_usd")),
            reason=pl.when(~some)
            .then(pl.lit("no contract counts"))
            .when(call.is_null())
            .then(pl.lit("no call counts"))
            .when(put.is_null())
            .then(pl.lit("no put counts")),
        )
        .sort(keys)
    )


def _with_levels(live: pl.DataFrame, rows: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """`_sums` with ratios, walls and max pain."""
    strikes = (*keys, "strike")
    standard = rows.filter("is_standard")
    by_strike = standard.group_by(strikes).agg(
        pl.col("spot").first(),
        call_gamma=_side("C", "gamma_usd"),
        put_gamma=_side("P", "gamma_usd"),
        call_open_interest=_known("C", "open_interest"),
        put_open_interest=_known("P", "open_interest"),
    )
    # What was opened today is traded before it is anybody's open interest.
    volumes = (
        live.filter("is_standard")
        .group_by(keys)
        .agg(call_volume=_known("C", "volume"), put_volume=_known("P", "volume"))
    )
    return (
        _sums(rows, keys)
        .join(volumes, on=keys, how="left")
        .join(walls(by_strike, keys), on=keys, how="left")
        .join(max_pain(by_strike, keys), on=keys, how="left")
        .with_columns(
            put_call_open_interest=_ratio("put_open_interest", "call_open_interest"),
            put_call_volume=_ratio("put_volume", "call_volume"),
        )
    )


def _ratio(above: str, below: str) -> pl.Expr:
    return pl.when(pl.col(below) > 0).then(pl.col(above) / pl.col(below))
