"""Looking behind a decision: every strike considered, numbers worked out again, calls ranked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl

from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.results import decision
from tracker_dagster.reports.documents import write_dated
from tracker_dagster.reports.tables import markdown_table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.strategy.audit import AUDIT_SCHEMA, audit_picks, audit_promotions
from tracker_dagster.strategy.call_ranking import next_expiries, rank_calls
from tracker_dagster.trading_calendar import previous_session
from tracker_dagster.warehouse import Warehouse

_SNAPSHOT = "snapshot"


def last_decided(warehouse: Warehouse) -> date:
    """The last session with picks.

    Raises:
        UsageError: there is none.
    """
    last: date | None = warehouse.query("SELECT max(trade_date) FROM weekly_picks").item()
    if last is None:
        raise UsageError("nothing has been decided here yet: run `tracker daily`")
    return last


def _of(rows: pl.DataFrame, column: str, tickers: Collection[str], where: str) -> pl.DataFrame:
    """The rows of some tickers, or all.

    Raises:
        UsageError: there are no rows of one of them.
    """
    wanted = {ticker.strip().upper() for ticker in tickers}
    if unknown := wanted - set(rows[column]):
        raise UsageError(f"{where} has nothing of {', '.join(sorted(unknown))}")
    return rows.filter(pl.col(column).is_in(sorted(wanted))) if wanted else rows


def strikes(warehouse: Warehouse, day: date, tickers: Collection[str]) -> pl.DataFrame:
    """Every call that the day's preferred decision considered, by ticker and strike.

    Raises:
        UsageError: none was considered of a ticker.
    """
    rows = decision(warehouse, PICK_CANDIDATES, day)
    return _of(rows, "ticker", tickers, f"the decision of {day}").sort("ticker", "strike")


@dataclass(frozen=True)
class Audit:
    """What an audit found: its rows, and the documents that hold them all."""

    day: date
    basis: str
    rows: pl.DataFrame
    paths: list[Path]

    @property
    def differing(self) -> pl.DataFrame:
        """Rows whose numbers differ."""
        return self.rows.filter(pl.col("ok").eq(other=False))

    @property
    def unchecked(self) -> pl.DataFrame:
        """Rows whose inputs are not stored."""
        return self.rows.filter(pl.col("ok").is_null())


def audit(
    warehouse: Warehouse,
    reports_dir: Path,
    day: date,
    *,
    expiry: date | None = None,
    top: int | None = None,
) -> Audit:
    """Work out the numbers of the day's preferred decision again, and write what was found.

    Args:
        warehouse: where decisions and what they rested on are.
        reports_dir: where ``DAY/audit.csv`` and ``DAY/audit.md`` go.
        day: session.
        expiry: only picks that expire then.
        top: only the best picks, so many.

    Raises:
        UsageError: there are no picks to look at.
    """
    picks = decision(warehouse, WEEKLY_PICKS, day).filter(pl.col("status") == "picked")
    if expiry is not None:
        picks = picks.filter(pl.col("expiry") == expiry)
    if top is not None:
        picks = picks.sort("rank").head(top)
    if picks.is_empty():
        until = f" that expire on {expiry}" if expiry else ""
        raise UsageError(f"no picks of {day}{until} are stored")
    prices, contracts = _inputs(warehouse, picks, day)
    found = audit_picks(picks.sort("rank"), prices, contracts)
    if expiry is None and top is None:
        cash = audit_promotions(decision(warehouse, PROMOTIONS, day))
        found = pl.concat([found, cash])
    name = f"Numbers of {day} worked out again ({picks['basis'][0]})"
    text = "\n\n".join(
        [f"# {name}", in_words(found), markdown_table(found, tuple(AUDIT_SCHEMA)), ""]
    )
    paths = [
        *write_dated(reports_dir, day, found.write_csv(), "audit.csv"),
        *write_dated(reports_dir, day, text, "audit.md"),
    ]
    return Audit(day, picks["basis"][0], found, paths)


def in_words(found: pl.DataFrame) -> str:
    """How many numbers were checked, and how many of them differ."""
    differing, unchecked = found["ok"].eq(other=False).sum(), found["ok"].is_null().sum()
    told = f"{found.height - unchecked} numbers of {found['ticker'].n_unique()} tickers checked"
    told += f", {differing} differ" if differing else ", none differs"
    return f"{told}; of {unchecked} the inputs are not stored." if unchecked else f"{told}."


def _inputs(
    warehouse: Warehouse, picks: pl.DataFrame, day: date
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Prices and contracts that the picks rested on, as captured or as in the day files."""
    tickers, symbols = picks["ticker"].to_list(), picks["symbol"].to_list()
    decision_at: datetime = picks["decision_at"][0]
    if picks["basis"][0] == _SNAPSHOT:
        at = {"slot": decision_at}
        prices = warehouse.read(MARKET_LAST, first=day, last=day, where={**at, "ticker": tickers})
        chain = warehouse.read(OPTION_CHAIN, first=day, last=day, where={**at, "symbol": symbols})
        return prices, chain.rename({"last_price": "last"})
    before = previous_session(day)
    closes = warehouse.read(
        STOCK_DAY_AGGS, as_of=decision_at, first=before, last=before, where={"ticker": tickers}
    )
    options = warehouse.read(
        OPTION_DAY_AGGS, as_of=decision_at, first=before, last=before, where={"symbol": symbols}
    )
    none = pl.lit(None, pl.Float64)
    return closes.rename({"close": "price"}), options.rename({"close": "last"}).with_columns(
        bid=none, ask=none
    )


@dataclass(frozen=True)
class RankedCalls:
    """The best calls of the next expiries at a slot."""

    slot: datetime
    expiries: list[date]
    rows: pl.DataFrame


def calls(
    warehouse: Warehouse,
    day: date | None,
    tickers: Collection[str],
    *,
    expiries: int,
    per_ticker: int,
) -> RankedCalls:
    """The best calls of the next expiries at the last captured slot of a session.

    Raises:
        UsageError: no chain was captured, or none of a ticker has calls that pass the limits.
    """
    last: date | None = warehouse.query("SELECT max(trade_date) FROM option_chain").item()
    session = day or last
    slot = warehouse.latest_slot(OPTION_CHAIN, session) if session else None
    if session is None or slot is None:
        on = f" on {session}" if session else ""
        raise UsageError(f"no chain was captured{on}: run `tracker picker --refresh`")
    ahead = next_expiries(session, expiries)
    span = {"first": session, "last": session}
    chain = warehouse.read(OPTION_CHAIN, **span, where={"slot": slot, "right": "C"})  # type: ignore[arg-type]
    prices = warehouse.read(MARKET_LAST, **span, where={"slot": slot})  # type: ignore[arg-type]
    greeks = warehouse.read(
        OPTION_GREEKS,
        **span,  # type: ignore[arg-type]
        where={"slot": slot, "basis": _SNAPSHOT, "expiry": ahead, "right": "C"},
        columns=["symbol", "delta"],
    )
    ranked = rank_calls(
        chain, prices, session, expiries=expiries, per_ticker=per_ticker, greeks=greeks
    )
    rows = _of(ranked, "ticker", tickers, f"the ranking at {slot:%F %R} UTC")
    return RankedCalls(slot, ahead, rows)
