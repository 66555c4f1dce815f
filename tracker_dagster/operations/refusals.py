"""Decisions that could not be taken, as failures of the command that asked for them."""

from __future__ import annotations

from datetime import date

import polars as pl

from tracker_dagster.operations.results import decision
from tracker_dagster.operations.workplace import RunFailedError
from tracker_dagster.schemas.decisions import PROMOTIONS
from tracker_dagster.warehouse import Warehouse


def require_decided(warehouse: Warehouse, day: date) -> None:
    """Fail where the day's promotions are an error instead of decisions.

    Raises:
        RunFailedError: nothing was decided, with the reason that is stored.
    """
    errors = decision(warehouse, PROMOTIONS, day).filter(pl.col("decision") == "error")
    if errors.height:
        why = "; ".join(sorted(set(errors["reason"])))
        raise RunFailedError(f"nothing was decided on {day}: {why}")
