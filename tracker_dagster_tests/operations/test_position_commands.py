"""The commands on positions and holdings as people type them, on a market that answers."""

import re
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from typer.testing import CliRunner

from tracker_dagster.cli import app
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.marketsim import MarketSim
from tracker_dagster.schemas.book import CONTRACT_HEALTH
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import decision_time, session_on
from tracker_dagster.warehouse import Warehouse

#: Wednesday 2025-06-11, ten minutes before the close.
NOW = datetime(2025, 6, 11, 19, 50, tzinfo=UTC)
DAY = NOW.date()
CALL, HIGHER, PUT = "O:AAPL250613C00200000", "O:AAPL250620C00205000", "O:AAPL250613P00190000"

pytestmark = pytest.mark.feature(27)


@pytest.fixture(scope="module")
def sim():
    with MarketSim(now=NOW, tickers=["AAPL", "SPY"]) as running:
        yield running


@pytest.fixture
def tracker(sim, tmp_path, monkeypatch):
    """Runs a command in an empty home and gives its exit code and all it said, on one line."""
    monkeypatch.setenv("TRACKER_HOME", str(tmp_path))
    monkeypatch.setenv("TRACKER_SIM_URL", sim.url)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "data" / "dagster"))
    monkeypatch.setenv("COLUMNS", "220")
    sim.set_clock(NOW)

    def run(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        return done.exit_code, " ".join((done.output + done.stderr).split())

    yield run
    sim.set_clock(NOW)


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "data" / "tracker.duckdb")


@pytest.fixture
def csv(tmp_path):
    def write(text):
        path = tmp_path / "broker.csv"
        path.write_text(text)
        return path

    return write


def position_id(told):
    return re.search(r"\(\w+, ([0-9a-f]{12})\)", told)[1]


def states(warehouse):
    found = positions_as_of(warehouse.read(LEDGER), NOW + timedelta(days=99))
    return {row["symbol"]: row for row in found.to_dicts()}


def quoted(warehouse, symbol, bid, ask):
    row = {"symbol": symbol, "bid": bid, "ask": ask, "mid": (bid + ask) / 2, "underlying": "AAPL",
           "root": "AAPL", "expiry": DAY, "right": symbol[-9], "strike": 200.0,
           "quote_status": "OK", "is_standard": True, "greeks_status": "OK"}  # fmt: skip
    slot = decision_time(DAY)
    frame = OPTION_CHAIN.conform(pl.DataFrame([row]), trade_date=DAY, slot=slot, source="test",
                                 available_at=slot)  # fmt: skip
    warehouse.replace(OPTION_CHAIN, frame, {"trade_date": DAY, "source": "test", "slot": slot})


def test_holdings_are_imported_listed_and_written_on(tracker, csv):
    path = csv("ticker,shares,basis,acquired_on\nAAPL,150,180,2024-01-05\nAAPL,100,190,\n")
    assert tracker("holdings", "import", path, "--account", "ira") == (
        0, "ira holds 250 shares of 1 tickers in 2 lots",
    )  # fmt: skip
    assert "just these already" in tracker("holdings", "import", path, "--account", "ira")[1]
    code, told = tracker("open", CALL, "-q", "-2", "--price", "1.5", "--account", "ira")
    assert (code, f"opened -2 {CALL} at 1.50 (ira" in told) == (0, True), told
    code, told = tracker("open", HIGHER, "--price", "1.5", "--account", "ira")
    assert code == 2
    assert "need 100 shares: ira holds 250, 50 of them free" in told
    code, told = tracker("holdings")
    assert code == 0
    # (150 x 180 + 100 x 190) / 250 = 184
    assert re.search(r"ira │ AAPL │ 2 │ 250 │ 184.00 │ 2024-01-05 │ 200 │ 50 ", told), told
    assert "in the order in which they leave" in told


def test_a_holdings_file_with_an_unknown_column_is_refused_whole(tracker, csv, warehouse):
    path = csv("ticker,shares,colour\nAAPL,100,red\n")
    code, told = tracker("holdings", "import", path, "--account", "ira")
    assert code == 2
    assert "unknown column 'colour': holdings have ticker, shares, basis, acquired_on" in told
    assert not warehouse.path.exists()


def test_no_call_below_the_basis_where_the_setting_or_the_option_says_so(tracker, csv, monkeypatch):
    tracker("holdings", "import", csv("ticker,shares,basis\nAAPL,100,201\n"), "--account", "ira")
    sell = ("open", CALL, "--price", "1", "--account", "ira")
    for words in ((*sell, "--floor-at-basis"), sell):
        code, told = tracker(*words)
        assert (code, "the basis of AAPL in ira is 201.00" in told) == (2, True), told
        monkeypatch.setenv("TRACKER_HOLDINGS_STRIKE_FLOOR", "true")
    assert tracker(*sell, "--any-strike")[0] == 0


def test_a_duplicate_position_is_said_or_refused(tracker, sim):
    sell = ("open", CALL, "--price", "1.5", "--stock-basis", "195")
    assert tracker(*sell)[0] == 0
    code, told = tracker(*sell)
    assert (code, "was open already: -1" in told) == (0, True)
    code, told = tracker("open", CALL, "--price", "1.6", "--stock-basis", "195")
    assert (code, "was opened on this decision with price 1.5" in told) == (2, True)
    # The next session's decision is another one; the same contract again is no accident then.
    sim.set_clock(NOW + timedelta(days=1))
    code, told = tracker(*sell)
    assert (code, "is open already in paper, -1 since 2025-06-11" in told) == (2, True), told
    assert tracker(*sell, "--add")[0] == 0


def test_a_put_needs_cash_and_begins_a_wheel(tracker, sim, warehouse):
    sell = ("open", PUT, "--price", "1", "--account", "ira")
    code, told = tracker(*sell)
    assert (code, "give --cash" in told) == (2, True)
    code, told = tracker(*sell, "--cash", "18999")
    assert (code, "need 19,000.00 USD" in told) == (2, True), told
    code, told = tracker(*sell, "--cash", "30000")
    assert code == 0, told
    put = position_id(told)
    # What the first one ties up is not there for the second.
    code, told = tracker("open", "O:AAPL250620P00190000", "--price", "1", "--account", "ira",
                         "--cash", "30000")  # fmt: skip
    assert (code, "ira has 11,000.00 free" in told) == (2, True), told
    # The paper book has its seed of 9,300.
    code, told = tracker("open", PUT, "--price", "1")
    assert (code, "paper has 9,300.00 free" in told) == (2, True), told
    sim.set_clock(session_on(DAY + timedelta(days=2)).close + timedelta(hours=1))
    code, told = tracker("assign", put, "--fees", "5")
    assert code == 0, told
    assert f"assigned -1 {PUT}, 100 shares came at 190.00: +95.00 USD" in told
    code, told = tracker("wheel")
    line = "ira │ AAPL │ 1 │ SHARES │ 2025-06-11 │ 2 │ 1/1 │ 0/0 │ 100 │ 189.05 │ 95.00 │"
    assert line in told, told
    row = states(warehouse)[PUT]
    assert row["closed_at"] == session_on(DAY + timedelta(days=2)).close


def test_a_roll_takes_the_monitors_contract_and_the_last_quotes(tracker, warehouse):
    _, told = tracker("open", CALL, "--price", "1.5", "--stock-basis", "195")
    old = position_id(told)
    code, told = tracker("roll", old)
    assert (code, "proposed no roll" in told and "give --to" in told) == (2, True)
    code, told = tracker("roll", old, "--to", HIGHER[2:])
    assert (code, f"no ask of {CALL} was captured on 2025-06-11: give --close-price" in told) == (
        2, True,
    )  # fmt: skip
    quoted(warehouse, CALL, 0.9, 1.0)
    code, told = tracker("roll", old, "--to", HIGHER, "--open-price", "3.25", "--fees", "1.30")
    # 100 x (3.25 - 1.00) - 1.30, the old one bought back at the ask.
    assert code == 0, told
    assert f"rolled -1 {CALL} at 1.00 into {HIGHER} at 3.25: net credit 223.70 USD" in told
    code, told = tracker("roll", old, "--to", HIGHER, "--open-price", "3.25")
    assert (code, f"was rolled already: -1 {CALL} at 1.00 into" in told) == (0, True), told
    assert "net credit 223.70 USD" in told
    code, told = tracker("roll", old, "--to", HIGHER, "--open-price", "3.30")
    assert (code, "with --open-price 3.25, not 3.3" in told) == (2, True), told
    found = states(warehouse)
    assert found[CALL]["rolled_to"] == found[HIGHER]["position_id"]
    assert found[HIGHER]["stock_basis"] == 195.0
    # 100 x (1.50 - 1.00) - 0.65
    assert found[CALL]["realised_pnl"] == pytest.approx(49.35)


def test_the_monitors_proposal_is_the_default(tracker, warehouse):
    _, told = tracker("open", CALL, "--price", "1.5", "--stock-basis", "195")
    full = states(warehouse)[CALL]["position_id"]
    slot = decision_time(DAY)
    row = {"position_id": full, "account": "paper", "symbol": CALL, "ticker": "AAPL",
           "expiry": DAY, "right": "C", "strike": 200.0, "quantity": -1, "shares": 100.0, "dte": 2,
           "anomalies": "[]", "recommendation": "ROLL_OUT", "reasons": "[]",
           "roll_symbol": HIGHER}  # fmt: skip
    frame = CONTRACT_HEALTH.conform(pl.DataFrame([row]), trade_date=DAY, slot=slot,
                                    available_at=slot, inputs="{}")  # fmt: skip
    warehouse.replace(CONTRACT_HEALTH, frame, {"trade_date": DAY, "slot": slot})
    code, told = tracker("roll", position_id(told), "--close-price", "2", "--open-price", "1.8")
    assert (code, f"into {HIGHER} at 1.80: net debit 20.00 USD" in told) == (0, True), told


def test_what_expires_by_hand_has_expired(tracker, sim, warehouse):
    _, told = tracker("open", CALL, "--price", "1.5", "--stock-basis", "195")
    position = position_id(told)
    code, told = tracker("expire", position)
    assert (code, "expires on 2025-06-13: it is open until" in told) == (2, True)
    sim.set_clock(session_on(DAY + timedelta(days=2)).close + timedelta(hours=1))
    code, told = tracker("expire", position)
    assert (code, "no close of AAPL on 2025-06-13: give --stock-price" in told) == (2, True)
    code, told = tracker("expire", position, "--stock-price", "197")
    # 150 of premium and 100 x (197 - 195).
    assert (code, "stock sold at 197.00: +350.00 USD" in told) == (0, True), told
    assert states(warehouse)[CALL]["closed_at"] == session_on(DAY + timedelta(days=2)).close
    code, told = tracker("positions")
    assert (code, told) == (0, "No position is open.")
    code, told = tracker("positions", "--all")
    assert "1 ended with +350.00 USD" in told
    assert "EXPIRED" in told


def test_a_trade_has_its_time_and_fees_and_can_be_made_again(tracker, warehouse):
    sell = ("open", CALL, "--price", "1.5", "--stock-basis", "195")
    _, told = tracker(*sell, "--at", "2025-06-11T10:30", "--fees", "0.65")
    row = states(warehouse)[CALL]
    assert row["opened_at"] == datetime(2025, 6, 11, 14, 30, tzinfo=UTC)
    assert row["option_cash"] == pytest.approx(149.35)
    first = position_id(told)
    assert tracker("close", first, "--price", "1", "--stock-price", "195")[0] == 0
    for _ in range(2):
        code, told = tracker(*sell)
        assert code == 0, told
    assert "was open already" in told
    assert position_id(told) != first
    assert tracker("positions")[1].count(CALL) == 1


def test_what_cannot_be_meant_is_a_sentence_and_no_traceback(tracker, csv, warehouse):
    sell = ("open", CALL, "--price", "1.5", "--stock-basis")
    path = csv(f"ticker,shares\n{'A' * 131_073},1\n")
    for words, why in (
        ((*sell, "0"), "Invalid value for '--stock-basis'"),
        ((*sell, "195", "--account", ""), "'' is no account"),
        ((*sell, "nan"), "Invalid value for '--stock-basis'"),
        (("open", CALL.replace("0613", "0610"), *sell[2:], "195"), "expired on 2025-06-10"),
        ((*sell, "195", "--at", "2025-06-11T15:51"), "still to come"),
        (("holdings", "import", path, "--account", "ira"), "field larger than field limit"),
    ):
        code, told = tracker(*words)
        assert (code, why in told) == (2, True), told
    assert not warehouse.path.exists() or warehouse.read(LEDGER).is_empty()


def test_shares_are_bought_and_sold_by_hand(tracker):
    trade = ("AAPL", "10", "--price", "200", "--account", "ira")
    assert "bought 10 AAPL at 200.00 (ira)" in tracker("holdings", "buy", *trade)[1]
    assert "was bought already" in tracker("holdings", "buy", *trade)[1]
    code, told = tracker("holdings", "sell", "AAPL", "11", "--price", "200", "--account", "ira")
    assert (code, "ira holds 10 AAPL: not 11" in told) == (2, True)
    assert "sold 10 AAPL" in tracker("holdings", "sell", *trade)[1]
    assert "No account holds shares" in tracker("holdings")[1]


def test_an_empty_place_says_so_and_makes_nothing(tracker, warehouse):
    for command in ("positions", "holdings", "wheel"):
        code, told = tracker(command)
        assert (code, "nothing is here yet" in told) == (0, True)
    assert not warehouse.path.exists()
