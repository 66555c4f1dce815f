from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import (
    CANONICAL_SINCE,
    UNCATEGORIZED,
    LedgerError,
    add,
    disable,
    enable,
    sync_universe,
)
from tracker_dagster.ledger.events import UniverseListed, events_frame
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.schemas.reference import UNIVERSE
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.seed_files import seed_file
from tracker_dagster.warehouse import Warehouse

NOW = datetime(2026, 11, 18, 20, 50, tzinfo=UTC)
DAY = date(2026, 11, 18)


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "x.duckdb")


@pytest.fixture
def listing(tmp_path):
    path = tmp_path / "universe.csv"
    path.write_text("ticker,category\nSPY,ETF\nCLOV,SPEC\n")
    return path


def universe(store, moment=NOW):
    return universe_as_of(store.read(LEDGER), moment).rows()


@pytest.mark.feature(1)
def test_the_tracked_list_has_36_tickers_in_10_categories_on_any_day(store):
    result = sync_universe(store, seed_file("universe.csv"), NOW)
    assert (result.listed, result.recategorised, result.unchanged) == (36, 0, 0)
    members = universe_as_of(store.read(LEDGER), datetime(2003, 9, 10, 20, tzinfo=UTC))
    assert members.height == 36
    assert members["category"].n_unique() == 10
    assert members["enabled"].all()
    UNIVERSE.schema.validate(UNIVERSE.conform(members, trade_date=DAY, available_at=NOW))


@pytest.mark.feature(2)
def test_a_second_sync_adds_nothing(store, listing):
    sync_universe(store, listing, NOW)
    before = store.read(LEDGER)
    result = sync_universe(store, listing, NOW + timedelta(days=3))
    assert (result.listed, result.unchanged) == (0, 2)
    assert store.read(LEDGER).equals(before)


@pytest.mark.feature(2)
def test_a_sync_keeps_who_is_enabled_and_whoever_was_added(store, listing):
    sync_universe(store, listing, NOW)
    disable(store, "CLOV", NOW, "me")
    add(store, "nvo", NOW, "me")
    listing.write_text("ticker,category\nSPY,INDEX\nARM,SEMIS\n")
    later = NOW + timedelta(days=1)
    result = sync_universe(store, listing, later)
    assert (result.listed, result.recategorised) == (1, 1)
    assert universe(store, later) == [
        ("ARM", "SEMIS", True),
        ("CLOV", "SPEC", False),
        ("NVO", UNCATEGORIZED, True),
        ("SPY", "INDEX", True),
    ]
    # Yesterday is as it was.
    assert universe(store, NOW) == [
        ("CLOV", "SPEC", False),
        ("NVO", UNCATEGORIZED, True),
        ("SPY", "ETF", True),
    ]


@pytest.mark.feature(2)
def test_a_category_that_a_person_chose_survives_every_sync(store, listing):
    sync_universe(store, listing, NOW)
    assert add(store, "SPY", NOW, "cli", "mine")
    before = store.read(LEDGER)
    # Also at a clock that stands still, or that a replay has put back.
    for moment in (NOW, NOW + timedelta(days=1), NOW - timedelta(days=30)):
        result = sync_universe(store, listing, moment)
        assert (result.listed, result.recategorised, result.unchanged) == (0, 0, 2)
    listing.write_text("ticker,category\nSPY,INDEX\nCLOV,MEME\n")
    later = NOW + timedelta(days=2)
    assert sync_universe(store, listing, later).recategorised == 1
    assert universe(store, later) == [("CLOV", "MEME", True), ("SPY", "MINE", True)]
    assert universe(store, NOW) == [("CLOV", "SPEC", True), ("SPY", "MINE", True)]
    # Three changes in order: the sync's listing, the person's, the sync's of another ticker.
    after = store.read(LEDGER).join(before, on="event_id", how="anti")
    assert after["payload"].to_list() == ['{"category":"MEME","revision":1,"ticker":"CLOV"}']
    revisions = before.filter(pl.col("actor") == "cli")["payload"].to_list()
    assert revisions == ['{"category":"MINE","revision":1,"ticker":"SPY"}']


def test_what_commands_synced_under_their_own_name_still_follows_the_list(store, listing):
    """As ledgers hold it from before: the listing of `tracker daily` was recorded by ``cli``."""
    old = [
        UniverseListed(
            ticker=ticker, category=category, effective_at=CANONICAL_SINCE, recorded_at=NOW,
            actor="cli",
        )
        for ticker, category in (("SPY", "ETF"), ("CLOV", "SPEC"))
    ]  # fmt: skip
    store.append_events(events_frame(old))
    listing.write_text("ticker,category\nSPY,INDEX\nCLOV,SPEC\nARM,SEMIS\n")
    later = NOW + timedelta(days=1)
    result = sync_universe(store, listing, later)
    assert (result.listed, result.recategorised, result.unchanged) == (1, 1, 1)
    # The ledger has had its first sync: what is new in the list is new from now on.
    assert universe(store, NOW) == [("CLOV", "SPEC", True), ("SPY", "ETF", True)]
    assert universe(store, later) == [
        ("ARM", "SEMIS", True),
        ("CLOV", "SPEC", True),
        ("SPY", "INDEX", True),
    ]


def test_a_ticker_added_before_the_first_sync_does_not_cost_past_days_their_universe(
    store, listing
):
    add(store, "NVO", NOW, "me")
    sync_universe(store, listing, NOW)
    assert [row[0] for row in universe(store, CANONICAL_SINCE)] == ["CLOV", "SPY"]


def test_categories_are_upper_case_and_never_empty(store, listing):
    add(store, "VOO", NOW, "me", " etf ")
    assert universe(store) == [("VOO", "ETF", True)]
    assert not add(store, "VOO", NOW, "me", "Etf")
    for nothing in ("", "  "):
        with pytest.raises(LedgerError, match="a category cannot be empty"):
            add(store, "KO", NOW, "me", nothing)
    listing.write_text("ticker,category\nSPY,etf\nCLOV,\n")
    with pytest.raises(LedgerError, match="a category cannot be empty"):
        sync_universe(store, listing, NOW)
    assert [row[0] for row in universe(store)] == ["VOO"]


def test_an_older_event_keeps_the_category_as_it_was_written(store):
    old = UniverseListed(
        ticker="VOO", category="etf", effective_at=NOW, recorded_at=NOW, actor="me"
    )
    store.append_events(events_frame([old]))
    assert universe(store) == [("VOO", "etf", True)]
    assert store.read(LEDGER)["event_id"].to_list() == [old.event_id]
    # Adding it again in the same words mends it.
    assert add(store, "VOO", NOW, "me", "etf")
    assert universe(store) == [("VOO", "ETF", True)]


def test_switching_takes_effect_now_and_not_before(store, listing):
    sync_universe(store, listing, NOW)
    later = NOW + timedelta(hours=1)
    assert disable(store, "clov", later, "me")
    assert not disable(store, "CLOV", later, "me")
    assert {row[0]: row[2] for row in universe(store, later)}["CLOV"] is False
    assert {row[0]: row[2] for row in universe(store, NOW)}["CLOV"] is True


def test_a_stopped_clock_does_not_lose_changes(store, listing):
    sync_universe(store, listing, NOW)
    for _ in range(3):
        assert disable(store, "CLOV", NOW, "me")
        assert ("CLOV", "SPEC", False) in universe(store)
        assert enable(store, "CLOV", NOW, "me")
        assert ("CLOV", "SPEC", True) in universe(store)
    assert add(store, "CLOV", NOW, "me", "A")
    assert add(store, "CLOV", NOW, "me", "B")
    assert add(store, "CLOV", NOW, "me", "A")
    assert ("CLOV", "A", True) in universe(store)
    assert not add(store, "CLOV", NOW, "me")


def test_unknown_and_impossible_tickers_are_refused(store, listing):
    sync_universe(store, listing, NOW)
    with pytest.raises(LedgerError, match="NVO is not in the universe"):
        enable(store, "NVO", NOW, "me")
    with pytest.raises(LedgerError, match="not a ticker"):
        add(store, "DROP TABLE", NOW, "me")


def test_commands_only_ever_add(store, listing):
    sizes = []
    for act in (
        lambda: sync_universe(store, listing, NOW),
        lambda: disable(store, "SPY", NOW, "me"),
        lambda: add(store, "NVO", NOW, "me"),
        lambda: enable(store, "SPY", NOW, "me"),
    ):
        before = store.read(LEDGER)
        act()
        after = store.read(LEDGER)
        assert before.join(after, on=after.columns, how="anti", nulls_equal=True).is_empty()
        sizes.append(after.height)
    assert sizes == sorted(set(sizes))
    assert after["payload"].dtype == pl.String
