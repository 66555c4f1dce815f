"""What can go wrong in the warehouse, as types that callers can tell apart. No logic."""

from __future__ import annotations


class WarehouseError(Exception):
    """Anything the warehouse refuses or cannot do."""


class EmptyUnitError(WarehouseError):
    """A write that would leave its unit without rows, and did not say that it means to."""


class UnitMismatchError(WarehouseError):
    """A unit that does not name its table's ``replace_by`` columns, or rows outside it."""


class FrameError(WarehouseError):
    """A frame with other columns or types than its table."""


class AppendOnlyError(WarehouseError):
    """A replacement of rows that may only ever be added to."""


class NoAvailabilityError(WarehouseError):
    """A read as of a time from a table that does not say when its rows were known."""


class TurnError(WarehouseError):
    """A thread that holds a connection asked for another, which could only wait for itself."""


class WarehouseHeldError(WarehouseError):
    """A program that does not take turns holds the database file."""


class WarehouseFullError(WarehouseError):
    """The disk has no room: the unit is as it was, or whole as written; the message says which."""


class NewerFileError(WarehouseError):
    """The file was written by a newer version of this package."""


class SchemaChangeError(WarehouseError):
    """A table that cannot be rebuilt has another shape than the code expects."""


class TableRebuiltWarning(UserWarning):
    """A table that can be filled again was dropped because its shape changed."""
