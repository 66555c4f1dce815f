"""Earnings dates that the user keeps in a CSV, for those without a vendor's calendar."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from tracker_dagster.sources.errors import MalformedResponseError

COLUMNS = ("ticker", "report_date", "report_time", "status", "announced_at")
REPORT_TIMES = ("bmo", "amc", "during", "unknown")


def read_earnings_csv(path: Path) -> pl.DataFrame:
    """Earnings dates of a CSV with columns ticker, report_date and, optionally, the others.

    ``report_date`` is a date; ``report_time`` one of bmo, amc, during, unknown (the default);
    ``status`` confirmed or projected (the default); ``announced_at`` an ISO instant with its
    offset, or empty.

    Returns:
        ticker, report_date, report_time, status, announced_at (UTC).

    Raises:
        MalformedResponseError: a missing or unknown column, or a value that cannot be read,
            with its line number.
    """
    try:
        rows = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise MalformedResponseError(f"earnings file {path.name}: {error}") from error
    missing = {"ticker", "report_date"} - set(rows.columns)
    unknown = set(rows.columns) - set(COLUMNS)
    if missing or unknown:
        raise MalformedResponseError(
            f"earnings file {path.name}: missing columns {sorted(missing)}, "
            f"unknown columns {sorted(unknown)}; known are {', '.join(COLUMNS)}"
        )
    rows = rows.with_columns(
        pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in rows.columns
    )
    parsed = rows.select(
        pl.col("ticker").str.strip_chars().str.to_uppercase(),
        pl.col("report_date").str.to_date("%Y-%m-%d", strict=False),
        pl.col("report_time").fill_null("unknown").str.to_lowercase(),
        pl.col("status").fill_null("projected").str.to_lowercase(),
        pl.col("announced_at")
        .str.to_datetime("%+", strict=False, time_unit="us", time_zone="UTC")
        .alias("announced_at"),
    )
    wrong = (
        parsed["report_date"].is_null()
        | ~parsed["report_time"].is_in(REPORT_TIMES)
        | ~parsed["status"].is_in(["confirmed", "projected"])
        | (parsed["announced_at"].is_null() & rows["announced_at"].is_not_null())
    )
    if wrong.any():
        lines = [number + 2 for number in wrong.arg_true().to_list()]
        raise MalformedResponseError(f"earnings file {path.name}: cannot read lines {lines}")
    return parsed.unique(["ticker", "report_date"], keep="last", maintain_order=True)
