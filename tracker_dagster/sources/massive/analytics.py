"""The vendor's own end-of-day Greeks over REST. Their wire format is documented in prose only."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import polars as pl

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.massive import parse
from tracker_dagster.sources.massive.rest import NEW_FAMILY_PAGE, MassiveRest, chunks

PATH = "/options/v1/analytics"
#: What a row that could be priced holds.
RESULTS = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")


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
    records = [
        record
        for some in chunks(underlyings)
        for record in rest.records(
            PATH,
            {
                "underlying_ticker.any_of": ",".join(some),
                "date": day.isoformat(),
                "limit": NEW_FAMILY_PAGE,
            },
        )
    ]
    frame = rest.frame(records, parse.OPTION_ANALYTICS, PATH)
    if not (frame["date"] == day).all():
        raise MalformedResponseError(f"rows of another day than {day}", url_path=PATH)
    if records and not frame.select(pl.any_horizontal(pl.col(RESULTS).is_not_null()).any()).item():
        names = ", ".join(sorted({name for record in records for name in record}))
        raise MalformedResponseError(
            f"no row has a volatility or a Greek under a known name; rows have: {names[:400]}",
            url_path=PATH,
        )
    return frame
