"""Calls on shares that are held: which to write on each holding, or why none."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from tracker_dagster.schemas.holdings import HOLDING_CALLS

#: Shares of a standard contract; calls are written on whole lots of it.
CONTRACT_SHARES = 100

_OF_CALL = (
    "symbol", "expiry", "dte", "strike", "price", "premium", "premium_source",
    "assignment_probability", "choice_rank",
)  # fmt: skip


def holding_calls(
    holdings: pl.DataFrame,
    candidates: pl.DataFrame,
    picks: pl.DataFrame,
    day: date,
    available_at: datetime,
    *,
    at_basis_or_above: bool = False,
) -> pl.DataFrame:
    """Rows of holding_calls: for each holding of 100 free shares or more the call to write.

    It is the ticker's first choice among the calls of the decision that passed every gate; with
    ``at_basis_or_above`` the first choice at the average basis or above, so that being called away
    is no loss on the shares.

    Args:
        holdings: rows of holdings of ``day``.
        candidates: rows of pick_candidates of one decision, or none.
        picks: rows of weekly_picks of the same decision: why a ticker has no call.
        day: session.
        available_at: when the decision was known.
        at_basis_or_above: whether lower strikes are left out.
    """
    unsplit = pl.col("split_on").is_null()
    wanted = holdings.filter(
        (pl.col("free") >= CONTRACT_SHARES) | (~unsplit & (pl.col("shares") >= CONTRACT_SHARES))
    )
    if wanted.is_empty():
        return HOLDING_CALLS.empty()
    passed = candidates.filter(pl.col("choice_rank").is_not_null()).with_columns(
        premium=pl.coalesce("bid", "mid"),
        premium_source=pl.when(pl.col("bid").is_not_null())
        .then(pl.lit("bid"))
        .otherwise(pl.lit("day_close")),
    )
    offered = wanted.select("account", "ticker", "average_basis", "split_on").join(
        passed.select("ticker", *_OF_CALL), on="ticker"
    )
    basis = pl.col("average_basis")
    if at_basis_or_above:
        allowed = (pl.col("strike") >= basis).fill_null(value=False)
    else:
        allowed = pl.lit(value=True)
    first = (
        offered.filter(allowed & unsplit)
        .sort("account", "ticker", "choice_rank")
        .unique(["account", "ticker"], keep="first", maintain_order=True)
        .select("account", "ticker", *_OF_CALL)
    )
    highest = offered.group_by("account", "ticker").agg(highest=pl.col("strike").max())
    missing = picks.select("ticker", "status", pick_reason="reason").unique("ticker")
    premium = pl.col("premium")
    rows = (
        wanted.join(first, on=["account", "ticker"], how="left")
        .join(highest, on=["account", "ticker"], how="left")
        .join(missing, on="ticker", how="left")
        .with_columns(contracts=(pl.col("free") / CONTRACT_SHARES).floor().cast(pl.Int64))
        .with_columns(
            premium_total=premium * CONTRACT_SHARES * pl.col("contracts"),
            yield_on_price=premium / pl.col("price"),
            yield_on_basis=premium / basis,
            called_return_on_basis=(pl.col("strike") - basis + premium) / basis,
            reason=_reason(decided=candidates.height + picks.height > 0),
        )
        .sort("account", "ticker")
    )
    decision = picks if picks.height else candidates
    named = {name: decision[name][0] for name in ("basis", "decision_at") if decision.height}
    return HOLDING_CALLS.conform(
        rows.drop("trade_date", "available_at"),
        trade_date=day,
        available_at=available_at,
        at_basis_or_above=at_basis_or_above,
        **named,
    )


def _reason(*, decided: bool) -> pl.Expr:
    """Why a holding has no call, the first that applies; null where it has one."""
    basis = pl.col("average_basis")
    return (
        pl.when(pl.col("symbol").is_not_null())
        .then(None)
        .when(pl.col("split_on").is_not_null())
        .then(pl.format("split on {} since the shares were recorded: import them anew", "split_on"))
        .when(pl.lit(not decided))
        .then(pl.lit("no decision of the session"))
        .when(pl.col("highest").is_not_null() & basis.is_null())
        .then(pl.lit("calls are to be written at the basis or above, and it is not known"))
        .when(pl.col("highest").is_not_null())
        .then(
            pl.format(
                "no call at the basis of {} or above passed; the highest strike that did is {}",
                basis.round(2),
                "highest",
            )
        )
        .when(pl.col("status").is_null())
        .then(pl.lit("not enabled in the universe: no calls were looked at"))
        .otherwise(pl.coalesce("pick_reason", pl.lit("no call passed every gate")))
    )
