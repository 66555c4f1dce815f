"""Who may come into the universe is asked of a vendor: the simulated one, and scripted answers."""

import polars as pl
import pytest
from pydantic import SecretStr

from tracker_dagster.ledger.candidates import Proposal, candidates_as_of, propose
from tracker_dagster.ledger.commands import LedgerError, add, disable, sync_universe
from tracker_dagster.ledger.folds import universe_as_of
from tracker_dagster.marketsim import MarketSim
from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.market import MarketDownError, free_port
from tracker_dagster.operations.membership import (
    FOREVER,
    add_ticker,
    approve_ticker,
    proposals_in,
    propose_tickers,
    universe_rows,
)
from tracker_dagster.schemas.captured import MARKET_LAST
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.seed_files import seed_file
from tracker_dagster.settings import Settings
from tracker_dagster.sources.errors import SourceError
from tracker_dagster.trading_calendar import day_file_available_at, decision_time
from tracker_dagster.warehouse import Warehouse
from tracker_dagster_tests.assets.place import NOW, QuickMarket
from tracker_dagster_tests.sources.scripted_server import Reply, ScriptedServer, reply_json
from tracker_dagster_tests.strategy.worlds import DAY, last_prices

MEMBER = {
    "ticker": "KO",
    "name": "Coca-Cola Company",
    "market": "stocks",
    "type": "CS",
    "active": True,
    "primary_exchange": "XNYS",
}


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "x.duckdb")


@pytest.fixture(scope="module")
def sim():
    with MarketSim(tickers=["AAPL", "SPY"], now=NOW) as running:
        yield running


def simulated(tmp_path, sim):
    return QuickMarket(Settings(data_dir=tmp_path, sim_url=sim.url))


def answering(tmp_path, *replies):
    """A vendor that gives these answers, and the server behind it."""
    server = ScriptedServer(replies)
    url = server.url
    return QuickMarket(
        Settings(data_dir=tmp_path, massive_api_key=SecretStr("key"), massive_rest_url=url)
    ), server


def members(store):
    return universe_as_of(store.read(LEDGER), FOREVER).rows()


@pytest.mark.feature(3)
def test_a_ticker_that_the_vendor_knows_is_added_with_what_it_said(store, tmp_path, sim):
    market = simulated(tmp_path, sim)
    name = next(ticker for ticker in sim.simulation.world.crowd if ticker != "AAPL")
    assert add_ticker(store, market, name.lower(), "NEW", NOW, unchecked=False, actor="me")
    assert members(store) == [(name, "NEW", True)]
    reference = store.read(LEDGER)["payload"].str.json_path_match("$.reference").item()
    assert reference == f"{name.title()} Holdings Inc., common stock, XNAS, simulated market"


@pytest.mark.feature(3)
def test_a_ticker_that_the_vendor_does_not_know_is_refused_by_name(store, tmp_path, sim):
    market = simulated(tmp_path, sim)
    with pytest.raises(UsageError, match="simulated market knows no ticker NOPE"):
        add_ticker(store, market, "nope", None, NOW, unchecked=False, actor="me")
    with pytest.raises(UsageError, match="knows no ticker NOPE"):
        propose_tickers(
            store,
            market,
            [Proposal("AAPL", "me"), Proposal("NOPE", "me")],
            NOW,
            unchecked=False,
            actor="me",
        )
    assert store.read(LEDGER).is_empty()
    # Whoever insists is believed, and the ledger says that nobody looked.
    assert add_ticker(store, market, "NOPE", None, NOW, unchecked=True, actor="me")
    assert members(store) == [("NOPE", "UNCATEGORIZED", True)]
    assert '"reference":"unchecked"' in store.read(LEDGER)["payload"].item()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"active": False, "delisted_utc": "2024-05-01T00:00:00Z"}, "not active since 2024-05-01"),
        ({"active": None}, "is not active"),
        ({"type": "WARRANT"}, "no stock and no fund but: warrant"),
        ({"type": None}, "no stock and no fund but: of unknown kind"),
        ({"market": "otc"}, "is listed under otc, not as a US stock"),
        ({"market": "indices", "type": "INDEX"}, "is listed under indices"),
    ],
)
def test_what_no_covered_call_can_be_written_on_is_refused(store, tmp_path, changes, words):
    market, server = answering(
        tmp_path, reply_json({"status": "OK", "results": {**MEMBER, **changes}})
    )
    with pytest.raises(UsageError, match=f"KO {'.*' if 'KO' not in words else ''}{words}"):
        add_ticker(store, market, "KO", None, NOW, unchecked=False, actor="me")
    server.close()
    assert store.read(LEDGER).is_empty()
    assert server.paths == ["/v3/reference/tickers/KO"]


@pytest.mark.parametrize("kind", ["CS", "ADRC", "ETF", "ETV"])
def test_stocks_receipts_and_funds_are_taken(store, tmp_path, kind):
    market, server = answering(
        tmp_path, reply_json({"status": "OK", "results": {**MEMBER, "type": kind}})
    )
    assert add_ticker(store, market, "KO", None, NOW, unchecked=False, actor="me")
    # It is in the universe now: another category is no question for the vendor.
    assert add_ticker(store, market, "KO", "STAPLES", NOW, unchecked=False, actor="me")
    server.close()
    assert members(store) == [("KO", "STAPLES", True)]
    assert len(server.paths) == 1


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(503), MarketDownError, "cannot be asked about KO"),
        (Reply(401, b'{"error":"Unknown API Key"}'), SourceError, "does not tell of KO"),
        (reply_json({"status": "OK", "results": {**MEMBER, "ticker": "PEP"}}), SourceError, "PEP"),
        (reply_json({"status": "OK", "results": []}), SourceError, "does not tell of KO"),
    ],
)
def test_a_vendor_that_does_not_answer_adds_nothing(store, tmp_path, reply, error, words):
    market, server = answering(tmp_path, reply)
    with pytest.raises(error, match=f"{words}.*nothing was recorded.*--unchecked"):
        add_ticker(store, market, "KO", None, NOW, unchecked=False, actor="me")
    server.close()
    assert store.read(LEDGER).is_empty()


def test_nobody_there_is_said_too(store, tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    market = QuickMarket(Settings(data_dir=tmp_path, massive_api_key="k", massive_rest_url=url))
    with pytest.raises(MarketDownError, match="nothing was recorded"):
        add_ticker(store, market, "KO", None, NOW, unchecked=False, actor="me")


@pytest.mark.feature(3)
def test_an_approval_asks_the_vendor_again(store, tmp_path):
    propose(store, [Proposal("KO", "me", category="STAPLES", reference="unchecked")], NOW, "me")
    gone = reply_json({"status": "OK", "results": {**MEMBER, "active": False}})
    there = reply_json({"status": "OK", "results": MEMBER})
    market, server = answering(tmp_path, gone, there)
    with pytest.raises(UsageError, match="KO is not active"):
        approve_ticker(store, market, "KO", None, NOW, unchecked=False, actor="me")
    assert members(store) == []
    assert approve_ticker(store, market, "ko", None, NOW, unchecked=False, actor="me") == "STAPLES"
    assert members(store) == [("KO", "STAPLES", True)]
    with pytest.raises(LedgerError, match="no candidate that waits"):
        approve_ticker(store, market, "KO", None, NOW, unchecked=False, actor="me")
    server.close()
    assert len(server.paths) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "ticker,score,reason\nKO,3.5,dull\npep,,\n"),
        ("a.json", '[{"ticker": "KO", "score": 3.5, "reason": "dull"}, "pep"]'),
    ],
)
def test_proposals_come_from_a_file_too(store, tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    propose(store, proposals_in(path), NOW, "me")
    rows = candidates_as_of(store.read(LEDGER), NOW)
    assert rows.select("ticker", "score", "reason", "source").rows() == [
        ("KO", 3.5, "dull", name),
        ("PEP", None, None, name),
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "ticker,weight\nKO,1\n", "has weight; there are ticker, category, reason"),
        ("a.csv", "score\n1\n", "row 1 of a.csv has no ticker"),
        ("a.csv", "ticker,score\nKO,much\n", "score of KO is no number: much"),
        ("a.csv", "ticker,score\nKO,inf\n", "score of KO is no number: inf"),
        ("a.csv", "ticker\nPEP\nKO,1\n", "row 2 of a.csv has more fields than the header"),
        ("a.json", "{}", "must hold a list"),
        ("a.json", "[1]", "must hold tickers"),
        ("a.json", "nope", "is no JSON"),
    ],
)
def test_a_file_with_anything_unknown_in_it_is_refused(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        proposals_in(path)


def test_blank_cells_of_a_file_are_left_out(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("ticker,category,reason,score\nKO,  , ,\n")
    assert proposals_in(path) == [Proposal("KO", "a.csv")]


def test_an_empty_category_is_refused_before_the_vendor_is_asked(store, tmp_path):
    propose(store, [Proposal("PEP", "me")], NOW, "me")
    before = store.read(LEDGER)
    market, server = answering(tmp_path)
    ask = {"unchecked": False, "actor": "me"}
    for act in (
        lambda: add_ticker(store, market, "KO", " ", NOW, **ask),
        lambda: propose_tickers(store, market, [Proposal("KO", "me", category="")], NOW, **ask),
        lambda: approve_ticker(store, market, "PEP", "", NOW, **ask),
    ):
        with pytest.raises(LedgerError, match="a category cannot be empty"):
            act()
    server.close()
    assert server.paths == []
    assert store.read(LEDGER).equals(before)


def closes(ticker, price, day=DAY):
    return STOCK_DAY_AGGS.conform(
        pl.DataFrame({"ticker": [ticker], "close": [price]}).with_columns(
            open="close", high="close", low="close", volume=1.0
        ),
        trade_date=day,
        source="massive_flat_file",
        available_at=day_file_available_at(day),
    )


@pytest.mark.feature(7)
def test_the_universe_is_shown_with_the_last_price_known_at_the_moment(store):
    add(store, "AAPL", decision_time(DAY), "me", "MEGA_TECH")
    add(store, "KO", decision_time(DAY), "me")
    disable(store, "KO", day_file_available_at(DAY), "me")
    captured = last_prices({"AAPL": 201.5, "SPY": 600.0})
    unit = {"trade_date": DAY, "source": "massive_snapshot", "slot": captured["slot"][0]}
    store.replace(MARKET_LAST, captured, unit)
    file = {"trade_date": DAY, "source": "massive_flat_file"}
    store.replace(STOCK_DAY_AGGS, closes("AAPL", 202.25), file)
    at_decision = universe_rows(store, decision_time(DAY))
    columns = ("ticker", "category", "enabled", "since", "last_price", "priced_on")
    assert at_decision.columns == list(columns)
    assert at_decision.rows() == [
        ("AAPL", "MEGA_TECH", True, DAY, 201.5, DAY),
        ("KO", "UNCATEGORIZED", True, DAY, None, None),
    ]
    # The day's close is published the next morning; it is of the same session, and later.
    assert universe_rows(store).rows() == [
        ("AAPL", "MEGA_TECH", True, DAY, 202.25, DAY),
        ("KO", "UNCATEGORIZED", False, DAY, None, None),
    ]


@pytest.mark.feature(1)
def test_the_canonical_tickers_are_members_since_the_first_session(store):
    sync_universe(store, seed_file("universe.csv"), NOW)
    rows = universe_rows(store)
    assert rows.height == 36
    assert {str(day) for day in rows["since"]} == {"2003-09-10"}
    assert rows["category"].value_counts().sort("count", "category", descending=[True, False])[
        0
    ].row(0) == ("ETF", 7)
