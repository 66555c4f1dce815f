"""Asset `option_greeks`: every contract valued, from captured chains and from day files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from tracker_dagster.assets.chains import (
    DAY_FILE,
    SNAPSHOT,
    captured_chain,
    in_words,
    slots_to_make,
)
from tracker_dagster.assets.rates import curve_on, dividends_on
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, picture, trading_day_asset
from tracker_dagster.instruments import exercise_style_column
from tracker_dagster.reports.charts import bar_chart
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.market import INDEX_BARS, OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.rates import IMPLIED_FORWARDS
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.trading_calendar import day_file_available_at, session_on
from tracker_dagster.warehouse import Unit, Write

#: Share of contracts that may have no volatility before the check says so.
SHARE_VALUED = 0.5
#: Volatility points by which the median of ours may differ from the vendor's.
VENDOR_TOLERANCE = 0.01
_CHAIN = (
    "symbol", "underlying", "root", "expiry", "right", "strike", "available_at", "exercise_style",
    "is_standard", "shares_per_contract", "bid", "ask", "mid", "quote_status", "day_volume",
    "open_interest", "implied_volatility",
)  # fmt: skip
_DAY = (
    "symbol", "underlying", "root", "expiry", "right", "strike", "is_adjusted", "close", "volume",
)  # fmt: skip


@dataclass(frozen=True)
class Priced:
    """The contracts of a unit of the table, with the prices of one moment."""

    unit: Unit
    contracts: pl.DataFrame
    moment: datetime


def _captured(run: DayRun, slot: datetime) -> Priced:
    """The contracts of a captured chain in the middle of their quotes."""
    chain, moment = captured_chain(run, slot, _CHAIN)
    unquoted = pl.when(pl.col("quote_status") != "OK").then(pl.lit("NO_QUOTE"))
    contracts = chain.rename({"implied_volatility": "vendor_volatility"}).with_columns(
        exercise_style_column("exercise_style"),
        price=pl.col("mid"),
        price_source=pl.lit("mid"),
        problem=pl.coalesce("spot_problem", unquoted),
        volume=pl.col("day_volume"),
    )
    unit: Unit = {"trade_date": run.day, "basis": SNAPSHOT, "slot": slot}
    return Priced(unit, contracts, moment)


def _traded(run: DayRun) -> Priced:
    """The contracts of the day file at their last trades, against the underlyings' closes."""
    known = day_file_available_at(run.day)
    day: dict[str, Any] = {"as_of": known, "first": run.day, "last": run.day}
    traded = run.warehouse.read(OPTION_DAY_AGGS, columns=list(_DAY), **day)
    spots = pl.concat(
        run.warehouse.read(table, columns=["ticker", "close"], **day).select(
            underlying="ticker", spot="close", spot_source=pl.lit(table.name)
        )
        for table in (STOCK_DAY_AGGS, INDEX_BARS)
    ).unique("underlying", keep="last", maintain_order=True)
    contracts = traded.join(spots, on="underlying", how="left", maintain_order="left").with_columns(
        exercise_style_column(),
        available_at=pl.lit(known),
        is_standard=~pl.col("is_adjusted"),
        price=pl.col("close"),
        price_source=pl.lit("close"),
    )
    close = session_on(run.day).close
    return Priced({"trade_date": run.day, "basis": DAY_FILE, "slot": close}, contracts, close)


def value(run: DayRun, priced: Priced) -> pl.DataFrame:
    """Rows of the table for a unit."""
    # Imported here: it brings scipy and numba, and most processes value nothing.
    from tracker_dagster.analytics.contract_greeks import value_contracts
    from tracker_dagster.analytics.forwards import index_forwards_of_trades

    underlyings = priced.contracts["underlying"].unique().to_list()
    dividends, sources = dividends_on(run, priced.moment, underlyings)
    curve = curve_on(run, priced.moment)
    if priced.unit["basis"] == DAY_FILE:
        forwards = index_forwards_of_trades(priced.contracts, priced.moment, curve)
    else:
        forwards = run.warehouse.read(
            IMPLIED_FORWARDS,
            first=run.day,
            last=run.day,
            where={"slot": priced.unit["slot"]},
            columns=["underlying", "expiry", "settlement", "carry", "forward_source"],
        )
    rows = value_contracts(
        priced.contracts,
        priced.moment,
        curve,
        dividends,
        forwards,
        dividend_sources=sources,
    )
    return OPTION_GREEKS.conform(rows, **priced.unit)


def priced_units(run: DayRun) -> Iterator[Priced]:
    """Each unit of the day that is to be made, with its contracts."""
    for slot in slots_to_make(run, OPTION_CHAIN, OPTION_GREEKS):
        yield _captured(run, slot)
    if run.slot is None:
        traded = _traded(run)
        if traded.contracts.height:
            yield traded


@trading_day_asset(
    OPTION_GREEKS,
    group="volatility",
    deps=(
        "option_chain",
        "market_last",
        "option_day_aggs",
        "stock_day_aggs",
        "index_bars",
        "treasury_yields",
        "corporate_actions",
        "implied_forwards",
    ),
    kinds=("numba",),
    checks={
        "mostly_valued": "At least half of the contracts of each slot have a volatility.",
        "agrees_with_vendor": "The median difference from the vendor's volatilities is below one "
        "point, where it sends any.",
    },
)
def option_greeks(run: DayRun) -> Outcome:
    """Volatility implied by the middle of each captured quote, or by the day's last trade.

    American contracts are valued with early exercise. Cash dividends come from corporate_actions,
    the rate from the Treasury's curve, and where quotes allow the forward from put-call parity.
    A contract without a volatility has a status that says why.
    """
    results, counts = [], {}
    shares: dict[str, float] = {}
    differences: dict[str, float] = {}
    last: pl.DataFrame | None = None
    for priced in priced_units(run):
        rows = value(run, priced)
        write = Write(OPTION_GREEKS, rows, priced.unit, allow_empty=True)
        results += run.warehouse.replace_many([write])
        name = in_words(priced.unit)
        ok = rows.filter(pl.col("status") == "OK")
        shares[name] = ok.height / max(rows.height, 1)
        difference = (ok["implied_volatility"] - ok["vendor_volatility"]).abs().median()
        if difference is not None:
            differences[name] = float(difference)  # type: ignore[arg-type]
        counts[name] = dict(rows["status"].value_counts(sort=True).iter_rows())
        last = rows
    return Outcome(
        results,
        {"statuses": counts, **_chart(run, last)},
        [
            _below(
                "mostly_valued",
                {name: 1 - share for name, share in shares.items()},
                1 - SHARE_VALUED,
            ),
            _below("agrees_with_vendor", differences, VENDOR_TOLERANCE),
        ],
    )


def _below(name: str, values: Mapping[str, float], limit: float) -> Check:
    """A promise that each value stays below a limit; those that do not are named."""
    over = {unit: round(value, 4) for unit, value in values.items() if value > limit}
    return Check(name, not over, over)


def _chart(run: DayRun, rows: pl.DataFrame | None) -> dict[str, Any]:
    if rows is None:
        return {}
    counted = rows["status"].value_counts(sort=True)
    return picture(
        run, "status", lambda: bar_chart(counted, "status", "count", f"Contracts {run.day}")
    )
