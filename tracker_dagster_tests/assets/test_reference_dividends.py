"""Declared dividends of every ticker: how few requests they cost, who is known when."""

import shutil
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest

from tracker_dagster.assets import reference
from tracker_dagster.assets.rates import dividends_on
from tracker_dagster.marketsim.server import reference as served
from tracker_dagster.sources.massive import rest
from tracker_dagster.trading_calendar import session_on
from tracker_dagster_tests.assets.place import Place, checks, materialised, recorded_market
from tracker_dagster_tests.assets.test_rates import day_run

NEW, LEGACY = "/stocks/v1/dividends", "/v3/reference/dividends"
FIRST, DECLARED, LAST = date(2026, 5, 21), date(2026, 5, 22), date(2026, 5, 27)
#: Later than the days asked for: META's dividend of 10 July has been declared by then.
NOW = datetime(2026, 6, 16, 19, 50, tzinfo=UTC)
#: AAPL is the universe; SPY is the benchmark; the market has more than the two.
MARKET = ["AAPL", "META", "MSFT", "SOFI", "SPY", "TXN"]
TEXAS = ("TXN", date(2026, 6, 10))
SINCE_FRIDAY = [
    ("AAPL", date(2026, 6, 18)),
    ("MSFT", date(2026, 6, 18)),
    ("SPY", date(2026, 6, 15)),
    TEXAS,
]


@pytest.fixture(scope="module")
def market():
    with recorded_market(tickers=MARKET, now=NOW) as (sim, requests):
        yield sim, requests


@pytest.fixture
def sim(market):
    yield market[0]
    market[0].set_clock(NOW)
    market[0].clear_faults()


@pytest.fixture
def requests(market):
    return market[1]


@pytest.fixture(scope="module")
def enrolled(market, tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("enrolled"), market[0].url, enabled=("AAPL",))
    place.enrol()
    return place.home


@pytest.fixture
def new_place(sim, tmp_path, enrolled):
    """Makes empty homes on the market."""

    def make(name):
        shutil.copytree(enrolled, tmp_path / name)
        return Place(tmp_path / name, sim.url, enabled=("AAPL",))

    return make


@pytest.fixture
def place(new_place):
    return new_place("home")


@contextmanager
def counted(requests, path):
    """A list whose one item becomes how many requests were made under the path meanwhile."""
    before, made = requests.under(path), []
    yield made
    made.append(requests.under(path) - before)


def dividends(place, day):
    rows = place.rows("corporate_actions", day).filter(action="dividend")
    return sorted(rows.select("ticker", "ex_date").rows())


def sources(place, day, moment):
    _, said = dividends_on(day_run(place, day, NOW), moment, [*MARKET, "SPX"])
    return dict(said.rows())


def test_a_range_costs_one_request_and_each_day_knows_what_was_declared_by_then(place, requests):
    with counted(requests, NEW) as asked:
        assert place.run(["corporate_actions"], FIRST, LAST).success
    assert asked == [1]
    assert dividends(place, FIRST) == [TEXAS]
    for day in (DECLARED, date(2026, 5, 26), LAST):
        assert dividends(place, day) == SINCE_FRIDAY
    rows = place.rows("corporate_actions", LAST).filter(ticker="MSFT", action="dividend")
    assert rows.select("cash_amount", "declared_on", "available_at").rows() == [
        (0.63, DECLARED, datetime(2026, 5, 22, 4, tzinfo=UTC))
    ]


@pytest.mark.slow
def test_each_day_by_itself_gives_what_the_range_gives(place, new_place):
    assert place.run(["corporate_actions"], FIRST, LAST).success
    alone = new_place("alone")
    for day in (FIRST, DECLARED, date(2026, 5, 26), LAST):
        assert alone.run(["corporate_actions"], day).success
    told = ("corporate_actions", "reference_collections")
    content, of_alone = place.content(), alone.content()
    assert [content[name] for name in told] == [of_alone[name] for name in told]


def test_pages_and_spans_of_a_long_range_lose_and_repeat_nothing(place, requests, monkeypatch):
    monkeypatch.setattr(rest, "NEW_FAMILY_PAGE", 2)
    monkeypatch.setattr(reference, "_DIVIDENDS_AT_ONCE", timedelta(days=19))
    with counted(requests, NEW) as asked:
        assert place.run(["corporate_actions"], FIRST, LAST).success
    # From 21 May to 26 July in four spans; the second has four rows, the first of them on its
    # first day, and so two pages.
    assert asked == [5]
    assert dividends(place, FIRST) == [TEXAS]
    assert dividends(place, LAST) == SINCE_FRIDAY


def test_a_plan_without_the_new_family_asks_the_legacy_one_as_rarely(place, sim, requests):
    sim.fault("server_error", "/stocks/v1/*", status=403)
    with counted(requests, LEGACY) as asked:
        assert place.run(["corporate_actions"], FIRST, LAST).success
    assert asked == [1]
    assert dividends(place, LAST) == SINCE_FRIDAY
    endpoints = place.rows("corporate_actions").filter(action="dividend")["source"]
    assert set(endpoints) == {LEGACY}


def test_whoever_is_outside_the_universe_has_dividends_and_a_source(place):
    assert place.run(["corporate_actions"], FIRST, LAST).success
    close = session_on(LAST).close
    ahead, said = dividends_on(day_run(place, LAST, NOW), close, [*MARKET, "SPX"])
    assert ahead.select("underlying", "ex_date").rows() == SINCE_FRIDAY
    # SOFI pays none, and META has declared none yet: that is known as well.
    assert dict(said.rows()) == {**dict.fromkeys(MARKET, "corporate_actions"), "SPX": "index"}


def test_a_days_calendar_is_whole_from_its_opening_on(place):
    assert place.run(["corporate_actions"], FIRST, DECLARED).success
    minute = timedelta(minutes=1)
    before = sources(place, FIRST, session_on(FIRST).open - minute)
    assert (before["TXN"], before["META"]) == ("incomplete", "not_collected")
    # The second day has the calendar of the first until then.
    morning = sources(place, DECLARED, session_on(DECLARED).open - minute)
    assert (morning["TXN"], morning["META"]) == ("corporate_actions", "corporate_actions")


def test_a_past_day_is_not_asked_again_and_the_current_one_gives_the_same(place, sim, requests):
    sim.set_clock(datetime(2026, 5, 27, 19, 50, tzinfo=UTC))
    assert place.run(["corporate_actions"], FIRST, LAST).success
    before = place.content()
    with counted(requests, NEW) as asked:
        assert place.run(["corporate_actions"], FIRST, LAST).success
    assert asked == [1]
    assert place.content() == before
    sim.set_clock(NOW)
    with counted(requests, NEW) as asked:
        assert place.run(["corporate_actions"], FIRST, LAST).success
    assert asked == [0]
    assert place.content() == before


def test_a_range_that_is_partly_stored_asks_for_its_days_that_are_not(place, requests):
    assert place.run(["corporate_actions"], FIRST, DECLARED).success
    before = place.rows("corporate_actions", DECLARED)
    with counted(requests, NEW) as asked:
        result = place.run(["corporate_actions"], FIRST, LAST)
    assert result.success
    assert asked == [1]
    assert place.rows("corporate_actions", DECLARED).equals(before)
    assert dividends(place, LAST) == SINCE_FRIDAY
    assert materialised(result, "corporate_actions")[-1] == str(LAST)


def test_what_is_collected_is_said_of_the_universe_and_of_everyone(place):
    assert place.run(["corporate_actions"], LAST).success
    said = place.rows("reference_collections", LAST).select("subject", "rows_count", "available_at")
    # The two of the universe and the benchmark among the four of the market.
    opening = session_on(LAST).open
    assert sorted(said.rows()) == [("dividends", 2, opening), ("dividends_all", 4, opening)]


def test_days_that_only_the_universe_was_asked_for_say_nothing_of_others(place):
    """As databases have them from before every ticker was asked for."""
    assert place.run(["corporate_actions"], LAST).success
    with place.warehouse.connection(read_only=False) as connection:
        connection.execute("DELETE FROM reference_collections WHERE subject = 'dividends_all'")
        connection.execute("DELETE FROM corporate_actions WHERE ticker NOT IN ('AAPL', 'SPY')")
    before = place.content()
    # Asked for again, the day stays as it was stored.
    assert place.run(["corporate_actions"], LAST).success
    assert place.content() == before
    assert sources(place, LAST, session_on(LAST).close) == {
        "AAPL": "corporate_actions",
        "SPY": "corporate_actions",
        **dict.fromkeys(["META", "MSFT", "SOFI", "TXN"], "not_collected"),
        "SPX": "index",
    }


def test_dividends_that_the_plan_refuses_are_a_gap_of_each_day(place, sim, requests):
    sim.fault("server_error", NEW, status=403)
    sim.fault("server_error", LEGACY, status=403)
    with counted(requests, LEGACY) as asked:
        result = place.run(["corporate_actions"], FIRST, LAST)
    assert result.success
    assert asked == [1]
    assert not checks(result, "corporate_actions")["in_plan"].passed
    gaps = place.rows("collection_gaps")
    assert gaps["trade_date"].to_list() == [FIRST, DECLARED, date(2026, 5, 26), LAST]
    assert gaps["reason"].str.contains("not in the plan").all()
    assert place.rows("corporate_actions").is_empty()
    assert place.rows("reference_collections").is_empty()
    assert set(sources(place, LAST, session_on(LAST).close).values()) == {"not_collected", "index"}


def test_a_row_of_a_stranger_that_cannot_be_read_leaves_the_followed_theirs(place, monkeypatch):
    whole = served._dividend_row

    def with_a_bad_row(paid):
        return whole(paid) | ({"cash_amount": "tbd"} if paid.ticker == "TXN" else {})

    monkeypatch.setattr(served, "_dividend_row", with_a_bad_row)
    assert place.run(["corporate_actions"], LAST).success
    assert {ticker for ticker, _ in dividends(place, LAST)} == {"AAPL", "SPY"}
    said = sources(place, LAST, session_on(LAST).close)
    assert said["AAPL"] == "corporate_actions"
    assert said["MSFT"] == "not_collected"
