"""Small frames of real tables, made without the code under test."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from tracker_dagster.schemas.market import STOCK_DAY_AGGS

DAY = date(2026, 11, 18)
NEXT_DAY = date(2026, 11, 19)
FLAT, REST = "massive_flat_file", "massive_rest"


def published(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 16, tzinfo=UTC) + timedelta(days=1)


def stocks(
    tickers: str | list[str],
    *,
    day: date = DAY,
    source: str = FLAT,
    close: float = 10.0,
    available_at: datetime | None = None,
) -> pl.DataFrame:
    """One valid row a ticker (letters of a string, or a list)."""
    return pl.DataFrame(
        [
            {
                "trade_date": day,
                "ticker": ticker,
                "source": source,
                "available_at": available_at or published(day),
                "open": close,
                "high": close + 1,
                "low": close - 1,
                "close": close,
                "volume": 100.5,
                "transactions": None,
            }
            for ticker in tickers
        ],
        schema=STOCK_DAY_AGGS.polars_schema,
        orient="row",
    ).select(STOCK_DAY_AGGS.columns)


def unit(day: date = DAY, source: str = FLAT) -> dict[str, date | str]:
    return {"trade_date": day, "source": source}
