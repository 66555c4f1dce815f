"""The table of the vendor's history of open interest, kept to compare captured chains with."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    OptionTerms,
    Table,
    available_at,
    count,
    source,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together

_REST = "massive_rest_api"


class VendorOpenInterest(OptionTerms):
    """One row a contract that the vendor has a figure of; trade_date is the session it is for."""

    trade_date = trade_date()
    symbol = text("OPRA ticker with its O: prefix", key=True)
    source = source()
    available_at = available_at()
    open_interest = count(
        "open at the end of the session; null where the vendor sent none", "contracts"
    )

    @dy.rule()
    def known_after_its_session(cls) -> pl.Expr:
        """What is open at the end of a session is known on a later day."""
        known_on = pl.col("available_at").dt.convert_time_zone("America/New_York").dt.date()
        return known_on > pl.col("trade_date")


VENDOR_OPEN_INTEREST = Table(
    "vendor_open_interest",
    VendorOpenInterest,
    ("trade_date", "source"),
    Kind.MARKET,
    "The vendor's history of open interest by the session it is for, beside captured chains.",
    source_preference=("massive_rest",),
    made_from=together(
        straight(_REST, "open_interest", symbol="ticker"),
        computed("underlying root expiry right strike", f"{_REST}.ticker"),
    ),
)

TABLES = (VENDOR_OPEN_INTEREST,)
