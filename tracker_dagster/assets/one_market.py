"""One market a database: which one it holds, and the refusal of another."""

from __future__ import annotations

import polars as pl

from tracker_dagster.resources import MarketData
from tracker_dagster.schemas.system import MARKET_IDENTITY
from tracker_dagster.warehouse import Warehouse


def require_same_market(store: Warehouse, market: MarketData) -> None:
    """Refuse to mix markets: generated prices beside real ones would pass for real.

    Raises:
        ValueError: the database holds another market than the settings name.
    """
    known = store.read(MARKET_IDENTITY)["market"].to_list()
    if known and known != [market.name]:
        raise ValueError(
            f"this database holds the {known[0]}, and the settings name {market.name}: "
            "set TRACKER_DATA_DIR to a folder of its own for each"
        )


def remember_market(store: Warehouse, market: MarketData) -> None:
    """Note whose rows the database holds, once it holds any."""
    if store.read(MARKET_IDENTITY).is_empty():
        identity = pl.DataFrame({"scope": ["market"], "market": [market.name]})
        store.replace(MARKET_IDENTITY, identity, {"scope": "market"})
