"""A name for what a frame holds: equal rows, equal name, in any process and any version."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import numpy as np
import polars as pl

from tracker_dagster.schemas.base import sql_type


def content_hash(frame: pl.DataFrame, *, label: str, constant: Collection[str] = ()) -> str:
    """SHA-256 over the values of ``frame`` in row and column order, as hexadecimal.

    Built from column names, types, null masks and plain values rather than from a file format,
    so that a new version of polars or Arrow cannot change it.

    Args:
        frame: rows in the order in which they are written.
        label: mixed in first; the table's name.
        constant: columns known to hold one value throughout, which is then hashed once.
    """
    digest = hashlib.sha256(f"{label}\0{frame.height}".encode())
    for series in frame.iter_columns():
        digest.update(f"\0{series.name}\0{sql_type(series.dtype)}\0".encode())
        once = series.name in constant and series.len() > 0
        _update(digest, series.head(1) if once else series)
    return digest.hexdigest()


def _update(digest: hashlib._Hash, series: pl.Series) -> None:
    nulls = series.null_count()
    digest.update(nulls.to_bytes(8, "little"))

    def filled(series: pl.Series, value: object) -> pl.Series:
        # Filling takes as long where there is nothing to fill, and most columns have no null.
        return series.fill_null(value) if nulls else series

    if nulls:
        digest.update(series.is_null().to_numpy().tobytes())
    if series.dtype == pl.String:
        # Imported here: only writing needs it.
        import pyarrow as pa

        text = filled(series, "")
        digest.update(text.str.len_bytes().to_numpy().tobytes())
        for chunk in pa.chunked_array([text.to_arrow()]).cast(pa.large_string()).chunks:
            offsets, data = chunk.buffers()[1:]
            bounds = memoryview(offsets).cast("q")
            digest.update(
                memoryview(data)[bounds[chunk.offset] : bounds[chunk.offset + len(chunk)]]
            )
        return
    if series.dtype == pl.Boolean:
        digest.update(filled(series, False).to_numpy().tobytes())
        return
    if series.dtype.is_temporal():
        series = series.to_physical()
    digest.update(np.ascontiguousarray(filled(series, 0).to_numpy()).view(np.uint8).data)
