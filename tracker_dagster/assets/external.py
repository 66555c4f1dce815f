"""What the graph reads but does not make: the vendor's feeds, the user's file and ledger."""

from __future__ import annotations

import dagster as dg

ALL = (
    dg.AssetSpec(
        "massive_flat_files",
        description="Massive's S3 bucket of day and minute files, or the simulated market's.",
        group_name="sources",
        kinds={"s3"},
    ),
    dg.AssetSpec(
        "massive_rest_api",
        description="Massive's REST API, or the simulated market's.",
        group_name="sources",
        kinds={"rest"},
    ),
    dg.AssetSpec(
        "vix_futures_settlements",
        description="Settlements of VIX futures that the user keeps in a CSV, where configured.",
        group_name="sources",
        kinds={"csv"},
    ),
    dg.AssetSpec(
        "ledger",
        description="Append-only record of what people changed: universe, positions, approvals.",
        group_name="ledger",
        kinds={"duckdb"},
    ),
)
