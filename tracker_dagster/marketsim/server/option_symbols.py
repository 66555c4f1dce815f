"""From an option ticker to its place in the simulated listings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from tracker_dagster.marketsim.world.listings import Listings

_SYMBOL = re.compile(r"^O:([A-Z0-9.]{1,6})(\d{2})(\d{2})(\d{2})([CP])(\d{8})$")
_INDEX_ROOTS = {"SPXW": "SPX", "NDXP": "NDX", "RUTW": "RUT"}


@dataclass(frozen=True, slots=True)
class FoundContract:
    """A contract's ticker taken apart, and the underlying it belongs to."""

    ticker: str
    underlying: str
    expiry: date


def find_contract(listings: Listings, ticker: str) -> FoundContract | None:
    """The contract that a ticker names, whether or not it was ever listed; None if it is none."""
    match = _SYMBOL.match(ticker)
    if match is None:
        return None
    try:
        expiry = date(2000 + int(match[2]), int(match[3]), int(match[4]))
    except ValueError:
        return None
    root = match[1]
    underlying = _INDEX_ROOTS.get(root, root)
    if underlying not in listings.classes:
        underlying = root.rstrip("0123456789")
    if underlying not in listings.classes:
        return None
    return FoundContract(ticker, underlying, expiry)
