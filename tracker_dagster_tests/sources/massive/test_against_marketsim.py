"""The clients against the simulated market: two implementations of one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import polars as pl
import pytest
from pydantic import SecretStr

from tracker_dagster.marketsim import MarketSim
from tracker_dagster.sources.capture import RawStore
from tracker_dagster.sources.errors import (
    CursorLoopError,
    MalformedResponseError,
    NotEntitledError,
    NotFoundError,
    RateLimitedError,
    SourceError,
    TransientError,
    UnauthorizedError,
)
from tracker_dagster.sources.massive.flat_file_formats import (
    Dataset,
    parse_day_aggs,
    parse_minute_aggs,
    unexpected_columns,
)
from tracker_dagster.sources.massive.flat_files import FlatFiles
from tracker_dagster.sources.massive.parse import parse_option_chain, parse_stock_snapshots
from tracker_dagster.sources.massive.rest import MassiveRest
from tracker_dagster_tests.sources.conftest import QUICK

TODAY = date(2026, 6, 3)
BEFORE = date(2026, 6, 2)
NOW = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
ET = "America/New_York"


@pytest.fixture(scope="module")
def running() -> Iterator[MarketSim]:
    with MarketSim(tickers=["AAPL", "SPY"], now=NOW) as sim:
        yield sim


@pytest.fixture
def sim(running: MarketSim) -> Iterator[MarketSim]:
    yield running
    running.clear_faults()


@pytest.fixture
def rest(sim: MarketSim, massive: Callable[..., MassiveRest]) -> MassiveRest:
    return massive(sim.url)


@pytest.fixture
def files(sim: MarketSim) -> FlatFiles:
    return FlatFiles(sim.url, SecretStr("id"), SecretStr("secret"), retry=QUICK)


def test_the_clock_is_the_markets(rest):
    status = rest.market_status()
    assert (status.server_time, status.market) == (NOW, "open")
    assert (rest.upcoming_holidays()["date"] > TODAY).all()


@pytest.mark.feature(6)
def test_a_chain_is_captured_and_parsed_from_disk(rest, tmp_path):
    where = ("massive", "option_chain", TODAY, NOW, "SPY")
    capture = RawStore(tmp_path).write(*where, rest.option_chain_pages("SPY"))
    assert len(capture.pages) > 1
    frame, rejected = parse_option_chain(RawStore(tmp_path).read(*where).bodies, "SPY")
    assert rejected.height == 0
    listed = rest.option_contracts("SPY", as_of=TODAY)
    assert sorted(frame["symbol"]) == sorted(listed["symbol"])
    assert frame["symbol"].n_unique() == frame.height
    both = frame.join(listed, on="symbol", suffix="_listed")
    for column in ("strike_price", "expiration_date", "contract_type"):
        assert both[column].equals(both[f"{column}_listed"]), column
    quoted = frame.filter(pl.col("bid").is_not_null() & pl.col("ask").is_not_null())
    assert quoted.height > frame.height / 2
    assert (quoted["ask"] >= quoted["bid"]).all()
    assert (quoted["quote_at"] <= NOW).all()
    assert frame["underlying_price"].n_unique() == 1
    assert 0 < frame["delta"].null_count() < frame.height / 2
    assert set(frame["contract_type"]) == {"call", "put"}


def test_chain_filters_narrow_the_chain(rest):
    pages = rest.option_chain_pages(
        "AAPL", expiration_from=TODAY, expiration_to=date(2026, 6, 12), contract_type="call"
    )
    frame, _ = parse_option_chain(page.body for page in pages)
    assert frame.height > 0
    assert set(frame["contract_type"]) == {"call"}
    assert frame["expiration_date"].max() <= date(2026, 6, 12)


def test_an_index_chain_goes_by_its_prefixed_name(rest):
    narrow = rest.option_chain_pages("I:SPX", expiration_to=date(2026, 6, 5))
    frame, rejected = parse_option_chain((p.body for p in narrow), "I:SPX")
    assert rejected.height == 0
    assert frame.height > 0
    assert frame["underlying_price"].null_count() == 0
    assert frame["symbol"].str.contains(r"^O:SPXW?\d").all()


@pytest.mark.feature(9)
def test_day_files_and_rest_bars_agree(rest, files):
    frame, rejected = parse_day_aggs(files.fetch(Dataset.STOCK_DAY, BEFORE).csv, BEFORE)
    assert rejected.height == 0
    grouped = rest.grouped_daily(BEFORE)
    assert sorted(frame["ticker"]) == sorted(grouped["ticker"])
    (filed,) = frame.filter(pl.col("ticker") == "AAPL").iter_rows(named=True)
    (bar,) = rest.aggregates("AAPL", 1, "day", BEFORE, BEFORE).iter_rows(named=True)
    assert bar["start"] == filed["window_start"]
    for column in ("open", "high", "low", "close", "volume", "transactions"):
        assert bar[column] == pytest.approx(filed[column]), column


@pytest.mark.feature(8)
def test_minutes_of_the_file_and_of_rest_agree(rest, files):
    csv = files.fetch(Dataset.STOCK_MINUTE, BEFORE).csv
    filed, rejected = parse_minute_aggs(csv, BEFORE, ["AAPL"])
    bars = rest.aggregates("AAPL", 1, "minute", BEFORE, BEFORE)
    assert rejected.height == 0
    assert filed["window_start"].to_list() == bars["start"].to_list()
    assert filed["close"].to_list() == pytest.approx(bars["close"].to_list())
    assert filed["volume"].to_list() == pytest.approx(bars["volume"].to_list())


@pytest.mark.feature(8)
def test_minutes_of_today_end_now(rest):
    bars = rest.aggregates("SPY", 1, "minute", TODAY, TODAY)
    assert bars.height > 300
    assert bars["start"].max() < NOW


@pytest.mark.feature(5)
def test_option_day_files_hold_contracts_that_were_listed(rest, files):
    csv = files.fetch(Dataset.OPTION_DAY, BEFORE).csv
    frame, rejected = parse_day_aggs(csv, BEFORE, Dataset.OPTION_DAY)
    assert rejected.height == 0
    assert frame["ticker"].str.starts_with("O:").all()
    listed = set(rest.option_contracts("AAPL", as_of=BEFORE)["symbol"])
    traded = frame.filter(pl.col("ticker").str.contains(r"^O:AAPL\d{6}[CP]"))["ticker"]
    assert len(traded) > 0
    assert set(traded) <= listed


def test_index_files_and_bars_are_of_their_day(rest, files):
    csv = files.fetch(Dataset.INDEX_DAY, BEFORE).csv
    frame, rejected = parse_day_aggs(csv, BEFORE, Dataset.INDEX_DAY)
    assert rejected.height == 0
    assert {"I:SPX", "I:VIX"} <= set(frame["ticker"])
    bars = rest.aggregates("I:SPX", 1, "day", BEFORE, BEFORE)
    assert bars["start"].dt.convert_time_zone(ET).dt.date().to_list() == [BEFORE]
    assert bars["volume"].to_list() == [None]
    (filed,) = frame.filter(pl.col("ticker") == "I:SPX")["close"]
    assert bars["close"].item() == pytest.approx(filed)


def test_files_of_the_past_month_are_listed(files):
    listed = files.list(Dataset.OPTION_DAY, date(2026, 5, 1), TODAY)
    days = [file.day for file in listed]
    assert days[-1] == BEFORE
    assert date(2026, 5, 25) not in days
    assert len(days) == 22
    assert files.stat(Dataset.OPTION_DAY, BEFORE) == listed[-1]
    with pytest.raises(NotFoundError):
        files.fetch(Dataset.OPTION_DAY, TODAY)
    with pytest.raises(NotFoundError):
        files.stat(Dataset.STOCK_DAY, date(2026, 5, 25))


def test_snapshots_name_the_ticker_they_refuse(rest):
    indices = rest.index_snapshots(["I:SPX", "I:VIX", "I:NOPE"])
    by_ticker = {row["ticker"]: row for row in indices.iter_rows(named=True)}
    assert by_ticker["I:SPX"]["value"] > 0
    assert by_ticker["I:NOPE"]["error"] == "NOT_FOUND"
    stocks = parse_stock_snapshots(page.body for page in rest.stock_snapshot_pages(["AAPL"])).frame
    assert stocks["price"].item() > 0
    assert stocks["updated_at"].item() <= NOW


def test_reference_data(rest):
    year = (date(2025, 6, 3), TODAY)
    dividends = rest.dividends(["AAPL", "SPY"], *year)
    assert set(dividends["ticker"]) <= {"AAPL", "SPY"}
    assert dividends["ex_dividend_date"].is_between(*year).all()
    assert (dividends["source_endpoint"] == "/stocks/v1/dividends").all()
    splits = rest.splits(None, date(2003, 9, 10), TODAY)
    assert splits["execution_date"].is_between(date(2003, 9, 10), TODAY).all()
    earnings = rest.earnings(date(2026, 1, 1), TODAY, ["AAPL"])
    assert earnings.height >= 1
    assert set(earnings["ticker"]) == {"AAPL"}
    yields = rest.treasury_yields(date(2026, 5, 1), TODAY)
    assert yields["date"].max() == date(2026, 6, 2)
    assert set(yields["months"]) == {1, 3, 6, 12, 24, 36, 60, 84, 120, 240, 360}
    assert yields["yield_percent"].is_between(0, 20).all()
    symbol = rest.option_contracts("AAPL")["symbol"][0]
    assert rest.option_contract(symbol)["symbol"].item() == symbol


def test_one_contract_that_never_was(rest):
    with pytest.raises(NotFoundError):
        rest.option_contract("O:AAPL990619C00001000")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rate_limit", {"retry_after": 0}),
        ("rate_limit", {"body": False}),
        ("server_error", {"status": 503}),
        ("html", {"status": 502}),
        ("cut_body", {}),
        ("drop_connection", {}),
    ],
)
def test_faults_that_pass_change_nothing(sim, rest, kind, options):
    quiet = rest.option_contracts("AAPL", as_of=BEFORE)
    sim.fault(kind, "/v3/reference/*", count=2, **options)
    assert rest.option_contracts("AAPL", as_of=BEFORE).equals(quiet)
    assert rest.stats.retries == 2


@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [
        ("rate_limit", {}, RateLimitedError),
        ("server_error", {"status": 500}, TransientError),
        ("html", {"status": 200}, MalformedResponseError),
        ("half_json", {}, MalformedResponseError),
        ("cut_body", {}, TransientError),
        ("drop_connection", {}, TransientError),
        ("repeat_cursor", {}, CursorLoopError),
    ],
)
def test_faults_that_last_have_a_type(sim, rest, kind, options, error):
    sim.fault(kind, "/v3/*", **options)
    with pytest.raises(SourceError) as caught:
        list(rest.option_chain_pages("SPY"))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("truncated_gzip", MalformedResponseError),
        ("wrong_crc", MalformedResponseError),
        ("empty_file", MalformedResponseError),
        ("html_file", MalformedResponseError),
        ("missing_file", NotFoundError),
        ("unentitled_file", NotEntitledError),
        ("wrong_day", MalformedResponseError),
    ],
)
def test_spoilt_files_are_refused(sim, files, kind, error):
    sim.fault(kind, "*us_stocks_sip/day_aggs*")
    with pytest.raises(SourceError) as caught:
        parse_day_aggs(files.fetch(Dataset.STOCK_DAY, BEFORE).csv, BEFORE)
    assert type(caught.value) is error


def test_odd_but_readable_files_read_the_same(sim, files):
    plain = parse_day_aggs(files.fetch(Dataset.STOCK_DAY, BEFORE).csv, BEFORE).frame
    for kind in ("reordered_header", "extra_column"):
        sim.fault(kind, "*us_stocks_sip/day_aggs*")
        csv = files.fetch(Dataset.STOCK_DAY, BEFORE).csv
        frame, rejected = parse_day_aggs(csv, BEFORE)
        assert rejected.height == 0
        assert frame.equals(plain)
        assert bool(unexpected_columns(csv, Dataset.STOCK_DAY)) == (kind == "extra_column")
        sim.clear_faults()


def test_a_replaced_file_shows_in_its_etag(sim, files):
    before = files.stat(Dataset.STOCK_DAY, BEFORE)
    sim.fault("replaced", "*us_stocks_sip/day_aggs*")
    after = files.stat(Dataset.STOCK_DAY, BEFORE)
    assert after.etag != before.etag
    assert files.fetch(Dataset.STOCK_DAY, BEFORE).remote.etag == after.etag


def test_a_delayed_plan_has_no_quotes(massive):
    with MarketSim(tickers=["AAPL"], now=NOW, plan="starter", earnings_addon=False) as sim:
        rest = massive(sim.url)
        pages = rest.option_chain_pages("AAPL", expiration_to=date(2026, 6, 5))
        frame, rejected = parse_option_chain(p.body for p in pages)
        assert rejected.height == 0
        assert frame["bid"].null_count() == frame["last_trade_price"].null_count() == frame.height
        assert set(frame["timeframe"]) == {"DELAYED"}
        assert rest.aggregates("AAPL", 1, "day", BEFORE, BEFORE).height == 1
        with pytest.raises(NotEntitledError):
            rest.earnings(BEFORE, TODAY)


def test_the_free_plan(massive):
    with MarketSim(tickers=["AAPL"], now=NOW, plan="basic") as sim:
        with pytest.raises(NotEntitledError):
            list(massive(sim.url).option_chain_pages("AAPL"))
        files = FlatFiles(sim.url, SecretStr("id"), SecretStr("s"), retry=QUICK)
        with pytest.raises(NotEntitledError, match="published"):
            files.fetch(Dataset.STOCK_DAY, BEFORE)


def test_a_bad_key(sim):
    for key in ("bad", ""):
        with pytest.raises(UnauthorizedError):
            MassiveRest(sim.url, SecretStr(key)).market_status()
