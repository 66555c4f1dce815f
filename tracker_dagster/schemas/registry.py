"""Every table of the warehouse, by name. Nothing is declared here, only gathered."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tracker_dagster.schemas import (
    book,
    candidates,
    captured,
    changes,
    decisions,
    exposure,
    holdings,
    market,
    models,
    option_bars,
    outcomes,
    portfolio_risk,
    rates,
    reference,
    suitability,
    surface,
    system,
    vendor_greeks,
    vendor_open_interest,
    volatility,
    volatility_series,
)
from tracker_dagster.schemas.base import Table


def _by_name(*rooms: tuple[Table, ...]) -> Mapping[str, Table]:
    tables: dict[str, Table] = {}
    for table in (table for room in rooms for table in room):
        if tables.setdefault(table.name, table) is not table:
            raise ValueError(f"two tables are called {table.name!r}")
    return MappingProxyType(tables)


#: Every table by name, in the order of the documentation.
TABLES: Mapping[str, Table] = _by_name(
    market.TABLES,
    option_bars.TABLES,
    reference.TABLES,
    rates.TABLES,
    captured.TABLES,
    volatility.TABLES,
    vendor_greeks.TABLES,
    vendor_open_interest.TABLES,
    surface.TABLES,
    exposure.TABLES,
    volatility_series.TABLES,
    candidates.TABLES,
    suitability.TABLES,
    decisions.TABLES,
    models.TABLES,
    changes.TABLES,
    book.TABLES,
    holdings.TABLES,
    portfolio_risk.TABLES,
    outcomes.TABLES,
    system.TABLES,
)
