"""Who is in the universe and who may come: looked up at the vendor, recorded, listed."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from tracker_dagster.ledger import candidates, commands
from tracker_dagster.ledger.candidates import Proposal, candidates_as_of
from tracker_dagster.ledger.folds import listed_since, universe_as_of
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.market import MarketDownError
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.captured import MARKET_LAST
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.sources.errors import NotFoundError, SourceError, TransientError
from tracker_dagster.trading_calendar import first_session, trading_date
from tracker_dagster.warehouse import Warehouse

if TYPE_CHECKING:
    from tracker_dagster.resources import MarketData

#: What the ledger says of a ticker that nobody looked up.
UNCHECKED = "unchecked"
#: Facts of a proposal in a file, beside the ticker.
_FACTS = ("category", "reason", "source", "score")
#: As of now, whatever the clock of the market: nothing is recorded for later than this.
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
#: Prices older than this are not shown.
PRICE_AGE = timedelta(days=10)


def reference_of(market: MarketData, ticker: str) -> str:
    """What the vendor's reference says ``ticker`` is, in words, when it is one for our purpose.

    Raises:
        UsageError: it knows no such ticker, or it is not active, or neither stock nor fund.
        MarketDownError: it cannot be asked.
        SourceError: it refuses to answer.
    """
    from tracker_dagster.sources.massive.tickers import listed_ticker

    nothing = "; nothing was recorded (--unchecked leaves the question out)"
    try:
        found = listed_ticker(market.rest, ticker)
    except NotFoundError:
        raise UsageError(f"{market.name} knows no ticker {ticker}{nothing}") from None
    except TransientError as error:
        raise MarketDownError(
            f"{market.name} cannot be asked about {ticker}: {error}{nothing}"
        ) from error
    except SourceError as error:
        raise SourceError(f"{market.name} does not tell of {ticker}: {error}{nothing}") from error
    if found.obstacle is not None:
        raise UsageError(f"{ticker} {found.obstacle}{nothing}")
    told = (found.name, found.kind_in_words, found.exchange, market.name)
    return ", ".join(part for part in told if part)


def add_ticker(
    warehouse: Warehouse,
    market: MarketData,
    ticker: str,
    category: str | None,
    now: datetime,
    *,
    unchecked: bool,
    actor: str,
) -> bool:
    """Bring a ticker into the universe, or move it to another category; whether that changed it.

    A ticker that is in already is not looked up again.

    Raises:
        UsageError, MarketDownError, SourceError: as `reference_of`; nothing was recorded.
        LedgerError: it cannot be a ticker, or the category is empty.
    """
    name = commands.ticker_of(ticker)
    category = None if category is None else commands.category_of(category)
    is_in = name in set(universe_as_of(warehouse.read(LEDGER), now)["ticker"])
    reference = None if is_in else UNCHECKED if unchecked else reference_of(market, name)
    return commands.add(warehouse, name, now, actor, category, reference)


def propose_tickers(
    warehouse: Warehouse,
    market: MarketData,
    proposals: Sequence[Proposal],
    now: datetime,
    *,
    unchecked: bool,
    actor: str,
) -> list[str]:
    """Put tickers on the list of candidates, all or none; those that are new or changed.

    Raises:
        UsageError, MarketDownError, SourceError: as `reference_of`; nothing was recorded.
        LedgerError: one is in the universe already, is no ticker, or is named twice; or its
            category is empty.
    """
    looked_up = []
    members = set(universe_as_of(warehouse.read(LEDGER), now)["ticker"])
    for proposal in proposals:
        name = commands.ticker_of(proposal.ticker)
        if proposal.category is not None:
            commands.category_of(proposal.category)
        # The ledger refuses those itself, and says better why.
        skip = unchecked or name in members
        reference = UNCHECKED if skip else reference_of(market, name)
        looked_up.append(replace(proposal, ticker=name, reference=reference))
    return candidates.propose(warehouse, looked_up, now, actor)


def approve_ticker(
    warehouse: Warehouse,
    market: MarketData,
    ticker: str,
    category: str | None,
    now: datetime,
    *,
    unchecked: bool,
    actor: str,
) -> str:
    """Take a candidate into the universe; the category that it has now.

    Raises:
        UsageError, MarketDownError, SourceError: as `reference_of`; nothing was recorded.
        LedgerError: no such candidate waits, or the category is empty.
    """
    name = commands.ticker_of(ticker)
    category = None if category is None else commands.category_of(category)
    candidates.require_waiting(warehouse, name, now)
    reference = UNCHECKED if unchecked else reference_of(market, name)
    return candidates.approve(warehouse, name, now, actor, category, reference)


def proposals_in(path: Path) -> list[Proposal]:
    """Proposals of a file: CSV with a header, or a JSON list of tickers or of objects.

    Columns are ticker, category, reason, source, score; all but the ticker may be left out.

    Raises:
        UsageError: not readable, a column that there is not, no ticker, or a score that is no
            number.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    if path.suffix.lower() == ".json":
        rows = _json_rows(path, text)
    else:
        rows = list(csv.DictReader(text.splitlines()))
    for number, row in enumerate(rows, start=1):
        # What `csv` calls the fields that no column of the header is for.
        if None in row:
            raise UsageError(f"row {number} of {path.name} has more fields than the header")
    known = ("ticker", *_FACTS)
    unknown = sorted({str(name) for row in rows for name in row if name not in known})
    if unknown:
        raise UsageError(f"{path.name} has {', '.join(unknown)}; there are {', '.join(known)}")
    return [_proposal(path, number, row) for number, row in enumerate(rows, start=1)]


def _json_rows(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path.name} is no JSON: {error}") from None
    rows = [{"ticker": item} if isinstance(item, str) else item for item in _items(path, found)]
    if not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path.name} must hold tickers, or objects with a ticker")
    return rows


def _items(path: Path, found: object) -> Iterable[Any]:
    if not isinstance(found, list):
        raise UsageError(f"{path.name} must hold a list")
    return found


def _proposal(path: Path, number: int, row: dict[str, Any]) -> Proposal:
    told = {name: str(row[name]).strip() for name in row if row[name] is not None}
    facts = {name: text for name, text in told.items() if text}
    ticker = facts.get("ticker")
    if not ticker:
        raise UsageError(f"row {number} of {path.name} has no ticker")
    score = None
    if "score" in facts:
        try:
            score = float(facts["score"])
        except ValueError:
            score = math.nan
        if not math.isfinite(score):
            raise UsageError(f"the score of {ticker} is no number: {facts['score']}")
    return Proposal(
        ticker, facts.get("source", path.name), facts.get("reason"), facts.get("category"), score
    )


def universe_rows(warehouse: Warehouse, moment: datetime | None = None) -> pl.DataFrame:
    """Members of the universe: ticker, category, enabled, since, last_price, priced_on.

    ``since`` is the date in New York of the first listing. The price is the last one captured, or
    the last close of a day file where that is of a later session; null where neither is there of
    the last ten days before the newest.

    Args:
        warehouse: where ledger and prices are.
        moment: as of when; as everything stands when None.
    """
    ledger = warehouse.read(LEDGER)
    at = moment or FOREVER
    members = universe_as_of(ledger, at)
    since = listed_since(ledger, at)
    tickers = members["ticker"].to_list()
    last = pl.concat(
        [
            _prices(warehouse, STOCK_DAY_AGGS, "close", "available_at", tickers, moment),
            # A response arrives seconds after its slot: the slot says what was seen when.
            _prices(warehouse, MARKET_LAST, "price", "slot", tickers, moment),
        ]
    )
    last = (
        last.filter(pl.col("priced_on") > pl.col("priced_on").max() - pl.lit(PRICE_AGE))
        .sort("priced_on", "known_at")
        .group_by("ticker")
        .last()
        .drop("known_at")
    )
    # The canonical tickers are listed from midnight UTC of the first session.
    listed = [max(trading_date(since[ticker]), first_session()) for ticker in tickers]
    return (
        members.with_columns(since=pl.Series(listed, dtype=pl.Date))
        .join(last, on="ticker", how="left")
        .sort("ticker")
    )


def _prices(
    warehouse: Warehouse,
    table: Table,
    price: str,
    known_at: str,
    tickers: Sequence[str],
    moment: datetime | None,
) -> pl.DataFrame:
    newest: date | None = warehouse.query(
        f"SELECT max(trade_date) FROM {table.name} WHERE {known_at} <= $at",  # noqa: S608
        {"at": moment or FOREVER},
    ).item()
    first = newest - PRICE_AGE if newest else None
    rows = warehouse.read(table, first=first, last=newest, where={"ticker": list(tickers)})
    return (
        rows.filter(pl.col(known_at) <= (moment or FOREVER))
        .select("ticker", last_price=price, priced_on="trade_date", known_at=known_at)
        .drop_nulls("last_price")
    )


def candidate_rows(warehouse: Warehouse, moment: datetime | None = None) -> pl.DataFrame:
    """Every ticker ever proposed, those that wait first, the best score of them first.

    Args:
        warehouse: where the ledger is.
        moment: as of when; as everything stands when None.
    """
    rows = candidates_as_of(warehouse.read(LEDGER), moment or FOREVER)
    is_over = pl.col("status") != candidates.PROPOSED
    return rows.sort(is_over, "score", "ticker", descending=[False, True, False], nulls_last=True)
