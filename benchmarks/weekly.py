"""The weekly decisions: a day of 36 tickers and of 3,000 after ingest, and a year of picks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from string import ascii_uppercase

import duckdb
import polars as pl
from rich.console import Console

from benchmarks.commands import simulated_market
from benchmarks.figures import Figure
from benchmarks.timing import seconds
from tracker_dagster.ledger.commands import CANONICAL_SINCE
from tracker_dagster.ledger.events import UniverseListed, events_frame
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.operations.choice import Choice
from tracker_dagster.operations.daily import daily, job_assets
from tracker_dagster.operations.rebuild import backfill
from tracker_dagster.operations.workplace import Workplace, workplace
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.settings import Settings
from tracker_dagster.trading_calendar import last_published_session, last_sessions

#: What a day of 36 tickers may take after ingest, seconds, and what 3,000 may take beside it.
DAY_ALLOWANCE = 10.0
MOST_TIMES = 15.0
MANY_TICKERS = 3_000
#: What a year of picks may take in one run, seconds.
YEAR_ALLOWANCE = 120.0
YEAR_SESSIONS = 252
#: Sessions of day files behind the day that is decided.
HISTORY = 30
#: What `daily` reads from the market; the rest is computed from what is stored.
INGEST = {
    "universe",
    "corporate_actions",
    "earnings_calendar",
    "option_contracts",
    "bars_1m",
    "option_chain",
    "market_last",
    "treasury_yields",
    "option_bars_1m",
}
#: What a ticker's decisions rest on.
COPIED = (
    "stock_day_aggs",
    "option_day_aggs",
    "bars_1m",
    "option_chain",
    "market_last",
    "corporate_actions",
    "earnings_calendar",
    "option_greeks",
    "iv_percentile",
)
#: What a year of picks rests on, and what is timed.
BEFORE_PICKS = (
    "universe",
    "corporate_actions",
    "earnings_calendar",
    "stock_day_aggs",
    "option_day_aggs",
    "index_bars",
    "treasury_yields",
    "option_greeks",
    "iv_surface",
    "iv_term_structure",
    "iv_percentile",
    "bars_1m",
    "structure_features",
)
YEAR_ASSETS = ("suitability", "pick_candidates", "weekly_picks")


def weekly(home: Path) -> Iterator[Figure]:
    """A day of decisions for few and for many tickers, and a year of picks."""
    with simulated_market() as url:
        few = Settings(data_dir=home / "few", sim_url=url)
        with workplace(few, Console(quiet=True)) as place:
            now = place.now()
            place.warehouse.migrate()
            days = last_sessions(last_published_session(now), HISTORY)
            backfill(place, days[0], days[-1])
            daily(place, Choice(), history=HISTORY)
        shutil.copytree(few.data_dir, home / "many")
        many = Settings(data_dir=home / "many", sim_url=url)
        day = _decided(few)
        copied = _multiply(many)
        crowd = _decided(many)
    yield Figure(
        "daily of 36 tickers after ingest / 10 s",
        day,
        DAY_ALLOWANCE,
        notes="one Dagster run, from its creation to its end",
    )
    yield Figure(
        f"the same of {copied:,} tickers",
        crowd,
        day,
        MOST_TIMES,
        notes="36 tickers with their bars, chains and files, copied under other names",
    )


def _decided(settings: Settings, rounds: int = 2) -> float:
    """The best of some runs of everything in `daily` that reads no market."""
    with workplace(settings, Console(quiet=True)) as place:
        day = place.now().date()
        assets = sorted(job_assets(place.definitions, "daily") - INGEST)

        def run() -> None:
            report = place.run("daily", "daily", first=day, assets=assets, now=place.now())
            if not report.success:
                raise RuntimeError(f"the run failed: {report.failures}")

        return min(seconds(run) for _ in range(rounds))


def _multiply(settings: Settings) -> int:
    """Copies every ticker's rows under other names, until there are `MANY_TICKERS`."""
    with workplace(settings, Console(quiet=True)) as place:
        now = place.now()
        members = universe_as_of(place.warehouse.read(LEDGER), now)
        originals = members.select("ticker", "category").rows()
        names = _names({ticker for ticker, _ in originals})
        wanted = MANY_TICKERS - len(originals)
        copies = [
            (old, new, category)
            for (old, category), new in zip(
                _repeated(originals), islice(names, wanted), strict=False
            )
        ]
        listed = [
            UniverseListed(
                ticker=new, category=category, effective_at=CANONICAL_SINCE,
                recorded_at=CANONICAL_SINCE, actor="bench",
            )
            for _, new, category in copies
        ]  # fmt: skip
        place.warehouse.append_events(events_frame(listed))
    frame = pl.DataFrame(
        [(old, new) for old, new, _ in copies], schema=["old", "new"], orient="row"
    )
    with duckdb.connect(str(settings.database)) as connection:
        connection.register("copies", frame.to_arrow())
        for name in COPIED:
            connection.execute(_copy_of(TABLES[name]))
    return MANY_TICKERS


def _repeated(originals: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    while True:
        yield from originals


def _names(taken: set[str]) -> Iterator[str]:
    for letters in product(ascii_uppercase, repeat=3):
        name = "Z" + "".join(letters)
        if name not in taken:
            yield name


def _copy_of(table: Table) -> str:
    """SQL that inserts the rows of every original once more for each of its copies."""
    columns = list(table.polars_schema)
    owner = "underlying" if "underlying" in columns else "ticker"
    chosen = []
    for column in columns:
        if column == owner or column == "root":
            chosen.append(f'copies.new AS "{column}"')
        elif column == "symbol":
            chosen.append("replace(symbol, 'O:' || copies.old, 'O:' || copies.new) AS symbol")
        else:
            chosen.append(f'"{column}"')
    standard = " WHERE root = old" if "root" in columns else ""
    return (
        f'INSERT INTO "{table.name}" BY NAME SELECT {", ".join(chosen)} '
        f'FROM "{table.name}" JOIN copies ON "{owner}" = copies.old{standard}'
    )


def year_of_picks(home: Path) -> Iterator[Figure]:
    """Picks of a year of back-filled sessions, as one run."""
    with simulated_market() as url:
        settings = Settings(data_dir=home / "picks_year", sim_url=url)
        with workplace(settings, Console(quiet=True)) as place:
            spent = _year(place)
    yield Figure(
        f"picks of {YEAR_SESSIONS} back-filled sessions, 36 tickers, in one run / 120 s",
        spent,
        YEAR_ALLOWANCE,
        notes=", ".join(YEAR_ASSETS),
    )


def _year(place: Workplace) -> float:
    now = place.now()
    place.warehouse.migrate()
    days = last_sessions(last_published_session(now), YEAR_SESSIONS)
    backfill(place, days[0], days[-1], BEFORE_PICKS)
    return seconds(lambda: backfill(place, days[0], days[-1], YEAR_ASSETS))
