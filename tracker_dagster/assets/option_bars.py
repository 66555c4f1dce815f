"""One-minute bars of chosen option contracts: picked, held, or at the money on a benchmark."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import polars as pl

from tracker_dagster.assets.day_files import PARALLEL_REQUESTS, REST, with_regular_flag
from tracker_dagster.assets.decision_slots import decision_slot
from tracker_dagster.assets.plan_limits import gaps, refused
from tracker_dagster.assets.wiring import Check, DayRun, Outcome, trading_day_asset
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.ledger.folds import positions_on
from tracker_dagster.schemas.base import Table
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.captured import MARKET_LAST, OPTION_CHAIN
from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.schemas.market import OPTION_DAY_AGGS, STOCK_DAY_AGGS
from tracker_dagster.schemas.option_bars import OPTION_BARS_1M
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.sources.errors import NotEntitledError, NotFoundError
from tracker_dagster.strategy.chosen_contracts import at_the_money, chosen_contracts
from tracker_dagster.strategy.comparison import model_choices, unstable_gates
from tracker_dagster.strategy.settings import CompareSettings
from tracker_dagster.trading_calendar import session_on, weekly_expiry
from tracker_dagster.warehouse import Unit, Write


def _decided(run: DayRun, table: Table, where: dict[str, str]) -> pl.DataFrame:
    """Contracts of the day's decisions, on either basis."""
    return run.warehouse.read(table, first=run.day, last=run.day, where=where, columns=["symbol"])


def _sold_by_models(run: DayRun) -> pl.DataFrame:
    """Contracts that a model would sell in place of a pick, on either basis."""
    picks = run.warehouse.read(
        WEEKLY_PICKS, first=run.day, last=run.day, where={"status": "picked"}
    )
    unstable = sorted(set(picks.filter(unstable_gates() > 0)["ticker"]))
    candidates = run.warehouse.read(
        PICK_CANDIDATES, first=run.day, last=run.day, where={"ticker": unstable}
    )
    settings = CompareSettings(penalty=run.knobs.compare_penalty)
    choices = model_choices(picks, candidates, settings)
    return choices.filter(~pl.col("symbol").is_in(picks["symbol"].implode())).select("symbol")


def _held(run: DayRun) -> pl.DataFrame:
    """Contracts that some position was in at any time of the session so far."""
    session = session_on(run.day)
    last_moment = min(run.now, session.close - timedelta(microseconds=1))
    held = positions_on(run.warehouse.read(LEDGER), run.day, last_moment)
    in_session = (pl.col("status") == "OPEN") | (pl.col("closed_at") >= session.open)
    return held.filter(in_session & (pl.col("expiry") >= run.day))


def _quoted(
    run: DayRun, slot: datetime, benchmarks: list[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Captured contracts of the benchmarks, and the prices that came with them."""
    where = {"slot": slot, "underlying": benchmarks}
    chain = run.warehouse.read(OPTION_CHAIN, first=run.day, last=run.day, where=where)
    last = run.warehouse.read(
        MARKET_LAST, first=run.day, last=run.day, where={"slot": slot, "ticker": benchmarks}
    )
    prices = (
        chain.group_by(ticker="underlying")
        .agg(pl.col("underlying_price").drop_nulls().first())
        .join(last.select("ticker", "price"), on="ticker", how="left")
        .select("ticker", price=pl.coalesce("underlying_price", "price"))
    )
    return chain, prices


def _traded(run: DayRun, benchmarks: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Contracts of the benchmarks in the session's day file, and its closing prices."""
    contracts = run.warehouse.read(
        OPTION_DAY_AGGS,
        as_of=run.now,
        first=run.day,
        last=run.day,
        where={"underlying": benchmarks},
    )
    closes = run.warehouse.read(
        STOCK_DAY_AGGS, as_of=run.now, first=run.day, last=run.day, where={"ticker": benchmarks}
    )
    return (
        contracts.with_columns(is_standard=~pl.col("is_adjusted")),
        closes.select("ticker", price="close"),
    )


def _benchmarks(run: DayRun) -> pl.DataFrame:
    """At-the-money contracts of the benchmarks: from a captured chain, else from the day file."""
    wanted, expiry = list(run.knobs.benchmarks), weekly_expiry(run.day)
    slot = decision_slot(run, OPTION_CHAIN) or run.warehouse.latest_slot(OPTION_CHAIN, run.day)
    found = [at_the_money(*_quoted(run, slot, wanted), expiry)] if slot else []
    captured = {ticker for frame in found for ticker in frame["ticker"]}
    if rest := [ticker for ticker in wanted if ticker not in captured]:
        found.append(at_the_money(*_traded(run, rest), expiry))
    return pl.concat(found)


def _fetched(
    run: DayRun, symbols: list[str]
) -> tuple[list[pl.DataFrame], dict[str, NotFoundError]]:
    """Bars of each contract over REST, a few requests at a time; and whom the vendor denies."""

    def fetch(symbol: str) -> pl.DataFrame | NotFoundError:
        try:
            return run.market.rest.aggregates(symbol, 1, "minute", run.day, run.day)
        except NotFoundError as error:
            return error

    with ThreadPoolExecutor(PARALLEL_REQUESTS) as pool:
        answers = dict(zip(symbols, pool.map(fetch, symbols), strict=True))
    return (
        [answer for answer in answers.values() if isinstance(answer, pl.DataFrame)],
        {name: answer for name, answer in answers.items() if isinstance(answer, NotFoundError)},
    )


def _rows(run: DayRun, answers: list[pl.DataFrame], chosen: pl.DataFrame) -> pl.DataFrame:
    """Bars that had ended by the run's ``now``, as rows of the table."""
    ended = pl.col("start") + timedelta(minutes=1)
    rows = (
        pl.concat(answers)
        .rename({"ticker": "symbol"})
        .filter(ended <= run.now)
        .with_columns(*option_symbol_columns(), available_at=ended + run.market.delay)
        .join(chosen, on="symbol")
    )
    rows = with_regular_flag(run.day, rows)
    return OPTION_BARS_1M.conform(rows, trade_date=run.day, source=REST)


@trading_day_asset(
    OPTION_BARS_1M,
    group="market",
    deps=(
        "weekly_picks",
        "pick_candidates",
        "promotions",
        "openings",
        "positions",
        "ledger",
        "option_chain",
        "market_last",
        "option_day_aggs",
        "stock_day_aggs",
        "massive_rest_api",
    ),
    kinds=("rest",),
    checks={"all_answered": "The vendor answered for every chosen contract."},
)
def option_bars_1m(run: DayRun) -> Outcome:
    """Minute bars over REST of the day's picks and promotions, of what is held, of benchmarks.

    What a model would sell in place of a pick is among them, so that it can be measured.
    A benchmark's contracts are the call and the put of the next weekly expiry that are struck
    nearest to its price. While the session runs there are the bars so far; the same day made again
    later replaces them by the whole day. A contract that did not trade has no rows.
    """
    benchmarks = _benchmarks(run)
    chosen = chosen_contracts(
        {
            "pick": _decided(run, WEEKLY_PICKS, {"status": "picked"}),
            "model": _sold_by_models(run),
            "promotion": _decided(run, PROMOTIONS, {"decision": "promote"}),
            "position": _held(run),
            "benchmark": benchmarks,
        }
    )
    metadata: dict[str, object] = {
        "chosen": dict(chosen["chosen_as"].value_counts(sort=True).iter_rows()),
        "benchmarks_without_contracts": sorted(
            set(run.knobs.benchmarks) - set(benchmarks["ticker"])
        ),
    }
    try:
        answers, denied = _fetched(run, chosen["symbol"].to_list())
    except NotEntitledError as error:
        return refused(run, OPTION_BARS_1M, REST, error, "all_answered", metadata)
    frame = _rows(run, answers, chosen) if answers else OPTION_BARS_1M.empty()
    unit: Unit = {"trade_date": run.day, "source": REST}
    reasons = {symbol: str(error) for symbol, error in denied.items()}
    result, _ = run.warehouse.replace_many(
        [
            Write(OPTION_BARS_1M, frame, unit, allow_empty=True),
            gaps(run, OPTION_BARS_1M, REST, reasons),
        ]
    )
    silent = set(chosen["symbol"]) - set(frame["symbol"]) - set(denied)
    return Outcome(
        [result],
        {**metadata, "contracts": chosen.height, "did_not_trade": sorted(silent)},
        [Check("all_answered", not denied, reasons)],
    )
