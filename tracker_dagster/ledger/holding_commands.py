"""What people can do to shares their accounts hold: import, buy, sell. Only events are added."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Protocol

import polars as pl
from pydantic import ValidationError

from tracker_dagster.ledger.book import OpenLot
from tracker_dagster.ledger.commands import LedgerError, LedgerStore, append, ticker_of
from tracker_dagster.ledger.facts import made
from tracker_dagster.ledger.folds import book_as_of
from tracker_dagster.ledger.holding_events import HoldingsImported, Lot, SharesBought, SharesSold
from tracker_dagster.ledger.holdings import holdings_of
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import EASTERN, trading_date

#: Columns that a file of holdings may have; the first two it must have.
COLUMNS = ("ticker", "shares", "basis", "acquired_on")
REQUIRED = COLUMNS[:2]

#: A number as brokers write it: a sign, dollars, thousands set apart by commas, a fraction.
_NUMBER = re.compile(r"[+-]?\s*\$?\s*(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class _Lines(Protocol):
    """What `csv.reader` gives; its type has no name that can be imported."""

    line_num: int

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        lots: lots of the list.
        shares: shares of the list.
        tickers: how many tickers.
        is_new: false when the account held just these lots already; nothing was recorded then.
        uncovered: tickers with open calls on more shares than the list has, and how many more.
    """

    lots: int
    shares: float
    tickers: int
    is_new: bool
    uncovered: dict[str, float]


def read_holdings(text: str) -> tuple[Lot, ...]:
    """The lots of a CSV file of holdings, in its order.

    Columns: ``ticker``, ``shares``, and where known ``basis`` (dollars a share) and
    ``acquired_on`` (a date like 2025-06-13); an empty cell is not known. Each row is a lot.
    Numbers may have a dollar sign and commas between thousands, as brokers write them.

    Raises:
        LedgerError: an unknown, missing or doubled column, a row that is no lot, or no rows.
    """
    # Lines end as they do on any system; the reader of the library takes no lone \r.
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=None))
    try:
        return _lots(rows)
    except csv.Error as error:
        raise LedgerError(f"line {rows.line_num}: {error}") from None


def _lots(rows: _Lines) -> tuple[Lot, ...]:
    header = [name.strip().lower() for name in next(rows, [])]
    if unknown := [name for name in header if name not in COLUMNS]:
        raise LedgerError(
            f"unknown column{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}: "
            f"holdings have {', '.join(COLUMNS)}"
        )
    if missing := [name for name in REQUIRED if name not in header]:
        raise LedgerError(f"no column {', '.join(missing)}: holdings need {', '.join(REQUIRED)}")
    if len(set(header)) < len(header):
        raise LedgerError(f"a column is there twice: {', '.join(header)}")
    lots = []
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise LedgerError(
                f"line {rows.line_num}: {len(cells)} cells under {len(header)} columns"
            )
        lots.append(_lot(dict(zip(header, cells, strict=True)), rows.line_num))
    if not lots:
        raise LedgerError("no holdings in the file: an account is not emptied by an empty file")
    return tuple(lots)


def _lot(cells: dict[str, str], line: int) -> Lot:
    known = {name: cell.strip() for name, cell in cells.items() if cell.strip()}
    plain = dict(known)
    for name in ("shares", "basis"):
        if name not in known:
            continue
        if not _NUMBER.fullmatch(known[name]):
            raise LedgerError(f"line {line}: {known[name]!r} is no {name}: a number like 1,250.50")
        plain[name] = re.sub(r"[$,\s]", "", known[name])
    acquired_on = known.get("acquired_on")
    if acquired_on is not None and not _DATE.fullmatch(acquired_on):
        raise LedgerError(f"line {line}: {acquired_on!r} is no acquired_on: a date like 2025-06-13")
    try:
        return Lot.model_validate(plain)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "row"
        what = repr(known[name]) if name in known else "nothing"
        raise LedgerError(f"line {line}: {what} is no {name}: {first['msg'].lower()}") from None


def import_holdings(
    store: LedgerStore,
    account: str,
    lots: tuple[Lot, ...],
    now: datetime,
    actor: str,
    *,
    effective_at: datetime | None = None,
) -> Imported:
    """Let an account hold just these lots from ``effective_at`` (``now`` when None) on.

    Importing what the account holds already records nothing.

    Raises:
        LedgerError: a time to come, or a lot that was acquired after it.
    """
    moment = effective_at or now
    if moment > now:
        raise LedgerError(f"{moment.astimezone(UTC):%F %R} UTC is still to come")
    for lot in lots:
        if lot.acquired_on is not None and lot.acquired_on > trading_date(moment):
            raise LedgerError(
                f"{lot.ticker} acquired on {lot.acquired_on}: that is after the list's date, "
                f"{trading_date(moment)}"
            )
    event = made(
        HoldingsImported,
        account=account,
        lots=lots,
        effective_at=moment,
        recorded_at=now,
        actor=actor,
    )
    ledger = store.read(LEDGER)
    held = book_as_of(ledger, moment).lots
    mine = [(key[1], lot) for key, ours in held.items() if key[0] == account for lot in ours]
    wanted = [
        (lot.ticker, OpenLot(lot.shares, lot.basis, lot.acquired_on, "", now)) for lot in lots
    ]
    is_new = _facts(mine) != _facts(wanted) and append(store, [event]) > 0
    after = holdings_of(book_as_of(store.read(LEDGER), moment)).filter(
        (pl.col("account") == account) & (pl.col("free") < 0)
    )
    return Imported(
        len(lots),
        sum(lot.shares for lot in lots),
        len({lot.ticker for lot in lots}),
        is_new,
        {ticker: -free for ticker, free in after.select("ticker", "free").iter_rows()},
    )


def _facts(lots: list[tuple[str, OpenLot]]) -> list[tuple[Any, ...]]:
    facts = [(ticker, lot.shares, lot.basis, lot.acquired_on) for ticker, lot in lots]
    return sorted(facts, key=repr)


def buy_shares(
    store: LedgerStore,
    account: str,
    ticker: str,
    shares: float,
    price: float,
    now: datetime,
    actor: str,
    *,
    fees: float = 0.0,
    effective_at: datetime | None = None,
) -> bool:
    """Record a purchase of shares at ``price`` dollars; false where it was recorded already.

    Raises:
        LedgerError: not a ticker, a time to come, or no shares.
    """
    facts = _trade(account, ticker, shares, price, fees, now, actor, effective_at)
    return append(store, [made(SharesBought, **facts)]) > 0


def sell_shares(
    store: LedgerStore,
    account: str,
    ticker: str,
    shares: float,
    price: float,
    now: datetime,
    actor: str,
    *,
    fees: float = 0.0,
    effective_at: datetime | None = None,
) -> bool:
    """Record a sale of free shares, the oldest first; false where it was recorded already.

    Raises:
        LedgerError: not a ticker, a time to come, no shares, or more than are held and free.
    """
    facts = _trade(account, ticker, shares, price, fees, now, actor, effective_at)
    event = made(SharesSold, **facts)
    if store.read(LEDGER, where={"event_id": event.event_id}).height:
        return False
    ledger = store.read(LEDGER)
    # Free then and ever since: a sale must not take shares that were called or sold later.
    for moment in (event.effective_at, datetime.max.replace(tzinfo=UTC)):
        mine = holdings_of(book_as_of(ledger, moment)).filter(
            (pl.col("account") == account) & (pl.col("ticker") == event.ticker)
        )
        held, free = float(mine["shares"].sum()), float(mine["free"].sum())
        if shares > free:
            covered = f", {held - free:g} of them behind open calls" if held > free else ""
            raise LedgerError(f"{account} holds {held:g} {event.ticker}{covered}: not {shares:g}")
    return append(store, [event]) > 0


def _trade(
    account: str,
    ticker: str,
    shares: float,
    price: float,
    fees: float,
    now: datetime,
    actor: str,
    effective_at: datetime | None,
) -> dict[str, Any]:
    moment = effective_at or now
    if moment > now:
        raise LedgerError(f"{moment.astimezone(UTC):%F %R} UTC is still to come")
    if not shares > 0 or not price > 0:
        raise LedgerError(f"{shares:g} shares at {price:g} are no trade: both must be above zero")
    return {
        "account": account,
        "ticker": ticker_of(ticker),
        "shares": shares,
        "price": price,
        "fees": fees,
        "effective_at": moment,
        "recorded_at": now,
        "actor": actor,
    }


def end_of_date(day: date) -> datetime:
    """The last moment of a date in New York, when a broker's list of that date is written."""
    return datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=EASTERN).astimezone(UTC)
