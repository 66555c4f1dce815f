"""A captured chain made fit for valuation: whose spot is usable, and which moment it shows."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

#: A price of the underlying may be this much older than its slot: the vendor's delay of a quarter
#: of an hour, and as much again for an underlying that trades seldom.
SPOT_AGE = timedelta(minutes=30)
#: How long after the close its own prints arrive; later ones are after-hours trades, while option
#: quotes stand as they stood at the close.
CLOSING_PRINTS = timedelta(minutes=1)
STALE_SPOT = "STALE_SPOT"


def with_spots(
    chain: pl.DataFrame, last: pl.DataFrame, slot: datetime, close: datetime
) -> pl.DataFrame:
    """The chain with ``spot``, ``spot_at``, ``spot_source`` and ``spot_problem``.

    The price that came with the contract; without one that of the same slot's last prices. A price
    of more than `SPOT_AGE` before the slot, or of after the close, is none: ``spot_problem`` is
    then STALE_SPOT.

    Args:
        chain: ``underlying``, ``underlying_price``, ``underlying_at``.
        last: last prices captured at the slot: ``ticker``, ``price``, ``price_at``.
        slot: of the capture.
        close: of its session.
    """
    prices = last.select(
        underlying="ticker", last_price_of="price", last_price_at="price_at"
    ).unique("underlying", keep="last", maintain_order=True)
    came = _usable("underlying_price", "underlying_at", slot, close)
    beside = _usable("last_price_of", "last_price_at", slot, close)
    known = pl.any_horizontal(pl.col("underlying_price", "last_price_of").is_not_null())
    return (
        chain.join(prices, on="underlying", how="left", maintain_order="left")
        .with_columns(
            spot=pl.when(came).then("underlying_price").when(beside).then("last_price_of"),
            spot_at=pl.when(came).then("underlying_at").when(beside).then("last_price_at"),
            spot_source=pl.when(came)
            .then(pl.lit("option_chain"))
            .when(beside)
            .then(pl.lit("market_last")),
        )
        .with_columns(
            spot_problem=pl.when(known & pl.col("spot").is_null()).then(pl.lit(STALE_SPOT))
        )
        .drop("last_price_of", "last_price_at")
    )


def _usable(price: str, at: str, slot: datetime, close: datetime) -> pl.Expr:
    # A vendor that does not say when is taken at its word that the price is the last one.
    in_time = pl.col(at).is_between(slot - SPOT_AGE, close + CLOSING_PRINTS).fill_null(value=True)
    return pl.col(price).is_not_null() & in_time


def moment_shown(chain: pl.DataFrame, slot: datetime) -> datetime:
    """The moment whose prices the chain shows: the median time of its spots, else the slot.

    With a plan whose data are delayed both quotes and spots are older than the slot, and an option
    of the day has that much more time to live.

    Args:
        chain: as `with_spots` gives it.
        slot: of the capture.
    """
    median = chain.select(pl.col("spot_at").drop_nulls().median()).item()
    if median is None:
        return slot
    earliest, latest = slot - SPOT_AGE, slot + timedelta(minutes=15)
    moment: datetime = min(max(median, earliest), latest)
    return moment
