"""DuckDB without Dagster: turn-taking, units of replacement, reads as of a time, migrations."""

from tracker_dagster.warehouse.errors import (
    AppendOnlyError,
    EmptyUnitError,
    FrameError,
    NewerFileError,
    NoAvailabilityError,
    SchemaChangeError,
    TableRebuiltWarning,
    TurnError,
    UnitMismatchError,
    WarehouseError,
    WarehouseFullError,
    WarehouseHeldError,
)
from tracker_dagster.warehouse.store import Warehouse
from tracker_dagster.warehouse.units import IngestedFile, Unit, Write, WriteResult

__all__ = [
    "AppendOnlyError",
    "EmptyUnitError",
    "FrameError",
    "IngestedFile",
    "NewerFileError",
    "NoAvailabilityError",
    "SchemaChangeError",
    "TableRebuiltWarning",
    "TurnError",
    "Unit",
    "UnitMismatchError",
    "Warehouse",
    "WarehouseError",
    "WarehouseFullError",
    "WarehouseHeldError",
    "Write",
    "WriteResult",
]
