"""Which contracts of a chain count, and what each of them adds to the exposure."""

from __future__ import annotations

import polars as pl

from tracker_dagster.trading_calendar import previous_session

#: What the rows of one chain have in common.
CHAIN = ("trade_date", "slot", "underlying")
#: Reasons of our own beside the statuses of option_greeks.
ADJUSTED = "ADJUSTED"
NO_OPEN_INTEREST = "NO_OPEN_INTEREST"
NO_MULTIPLIER = "NO_MULTIPLIER"
NO_SPOT = "NO_SPOT"
NO_GREEKS = "NO_GREEKS"

#: Columns of option_greeks that the functions of this package read.
COLUMNS = (
    *CHAIN, "basis", "symbol", "expiry", "right", "strike", "available_at", "is_standard",
    "shares_per_contract", "spot", "years", "rate", "dividends_value", "forward",
    "implied_volatility", "delta", "gamma", "status", "volume", "open_interest",
)  # fmt: skip


def whole_chains(contracts: pl.DataFrame) -> pl.DataFrame:
    """All contracts of chains, expired ones too, with what all rows of a chain share.

    Args:
        contracts: rows of option_greeks on the basis ``snapshot``, of any chains, with `COLUMNS`.

    Returns:
        The columns of ``contracts``; ``spot`` and ``available_at`` are the chain's median and
        latest. ``open_interest_session`` is added: the session before ``trade_date``, at whose end
        the figures that a capture shows were taken; and ``has_expired``.

    Raises:
        ValueError: rows on another basis; their open interest was never seen.
    """
    if contracts.filter(pl.col("basis") != "snapshot").height:
        raise ValueError("open interest is known from captured chains alone: basis snapshot")
    days = contracts["trade_date"].unique()
    sessions = pl.DataFrame(
        {
            "trade_date": days,
            "open_interest_session": [previous_session(day) for day in days],
        },
        schema={"trade_date": pl.Date, "open_interest_session": pl.Date},
    )
    expired = (pl.col("status") == "EXPIRED") | (pl.col("years") <= 0).fill_null(value=False)
    return contracts.join(
        sessions, on="trade_date", how="left", maintain_order="left"
    ).with_columns(
        pl.col("spot").median().over(CHAIN),
        pl.col("available_at").max().over(CHAIN),
        has_expired=expired,
    )


def live_contracts(contracts: pl.DataFrame) -> pl.DataFrame:
    """The contracts of `whole_chains` that have not expired, from the same rows."""
    return whole_chains(contracts).filter(~pl.col("has_expired"))


def counted_contracts(live: pl.DataFrame) -> pl.DataFrame:
    """The open contracts of chains, each with what it adds, or why it adds nothing.

    A contract adds gamma x open interest x multiplier x spot squared x 0.01: by how many dollars
    the delta of all its holders together changes when the underlying moves 1 % (the unit of
    SqueezeMetrics, "Gamma Exposure", 2017). Nothing is signed here.

    Args:
        live: what `live_contracts` returns. Contracts that nobody holds are left out; where it is
            not known whether anybody does, they are not.

    Returns:
        The columns of ``live`` and ``exclusion`` (null, or why the contract does not count);
        ``shares`` it stands for; ``gamma_usd`` per 1 %, ``gamma_shares`` per dollar and
        ``delta_usd``, all null where it does not count. What counts is whether gamma and delta are
        known, not whether a volatility is: a contract to be exercised at once has a gamma of 0.
        One changed by a corporate action delivers something else than shares of the underlying:
        it never counts.
    """
    shares = pl.col("open_interest") * pl.col("shares_per_contract")
    unvalued = pl.col("gamma").is_null() | pl.col("delta").is_null()
    return (
        live.filter((pl.col("open_interest") > 0).fill_null(value=True))
        .with_columns(
            exclusion=pl.when(~pl.col("is_standard"))
            .then(pl.lit(ADJUSTED))
            .when(pl.col("open_interest").is_null())
            .then(pl.lit(NO_OPEN_INTEREST))
            .when(pl.col("shares_per_contract").is_null())
            .then(pl.lit(NO_MULTIPLIER))
            .when(unvalued & (pl.col("status") != "OK"))
            .then("status")
            .when(pl.col("spot").is_null())
            .then(pl.lit(NO_SPOT))
            .when(unvalued)
            .then(pl.lit(NO_GREEKS))
        )
        .with_columns(shares=pl.when(pl.col("exclusion").is_null()).then(shares))
        .with_columns(
            gamma_shares=pl.col("gamma") * pl.col("shares"),
            gamma_usd=pl.col("gamma") * pl.col("shares") * pl.col("spot").pow(2) * 0.01,
            delta_usd=pl.col("delta") * pl.col("shares") * pl.col("spot"),
        )
    )
