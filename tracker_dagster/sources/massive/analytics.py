"""The vendor's own end-of-day Greeks and open interest over REST, documented in prose only."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date
from typing import Any

import polars as pl

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.massive import parse
from tracker_dagster.sources.massive.records import Layout
from tracker_dagster.sources.massive.rest import NEW_FAMILY_PAGE, MassiveRest, chunks

GREEKS_PATH = "/options/v1/analytics"
INTEREST_PATH = "/options/v1/open-interest"
#: Columns of which a row that tells anything has one.
RESULTS = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho", "open_interest")


def option_analytics(rest: MassiveRest, underlyings: Collection[str], day: date) -> pl.DataFrame:
    """Volatility and Greeks of every contract listed on a day, from 15 minutes before the close.

    The vendor documents that there is a row a contract, with nulls where it could not be priced,
    and that the inputs stand beside the results; it does not state their units.

    Args:
        rest: client of the account.
        underlyings: stocks and funds; how the endpoint names an index is not documented.
        day: session.

    Returns:
        symbol, date, underlying, implied_volatility, delta, gamma, theta, vega, rho,
        underlying_price, dividend_yield, risk_free_rate.

    Raises:
        MalformedResponseError: rows of another day (a filter that is ignored would give today's),
            or rows of which none has any result under the names that are known here.
        NotEntitledError: the plan does not include the endpoint.
        NotFoundError: the account has no such endpoint.
    """
    return _of_day(rest, GREEKS_PATH, parse.OPTION_ANALYTICS, "underlying_ticker", underlyings, day)


def option_open_interest(rest: MassiveRest, roots: Collection[str], day: date) -> pl.DataFrame:
    """Contracts open at the end of a day, of every contract that the vendor has a figure of.

    The vendor documents that ``date`` is the session a figure is for, and that it is there the
    next morning; another page of theirs says that open interest has no history at all.

    Args:
        rest: client of the account.
        roots: option roots; an index has more than one.
        day: session.

    Returns:
        symbol, date, open_interest.

    Raises:
        MalformedResponseError, NotEntitledError, NotFoundError: as `option_analytics`.
    """
    return _of_day(rest, INTEREST_PATH, parse.OPTION_OPEN_INTEREST, "root", roots, day)


def _of_day(
    rest: MassiveRest, path: str, layout: Layout, field: str, names: Collection[str], day: date
) -> pl.DataFrame:
    """The rows of a day whose ``field`` is one of ``names``, refused where they cannot be meant."""
    records: list[Any] = [
        record
        for some in chunks(names)
        for record in rest.records(
            path,
            {f"{field}.any_of": ",".join(some), "date": day.isoformat(), "limit": NEW_FAMILY_PAGE},
        )
    ]
    frame = rest.frame(records, layout, path)
    if not (frame["date"] == day).all():
        raise MalformedResponseError(f"rows of another day than {day}", url_path=path)
    results = [name for name in RESULTS if name in frame.columns]
    if records and not frame.select(pl.any_horizontal(pl.col(results).is_not_null()).any()).item():
        found = ", ".join(sorted({name for record in records for name in record}))
        raise MalformedResponseError(
            f"no row has {' or '.join(results)} under a known name; rows have: {found[:400]}",
            url_path=path,
        )
    return frame
