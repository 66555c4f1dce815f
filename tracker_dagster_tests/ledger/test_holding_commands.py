"""Holdings from a file and by hand: what is read, what is refused, and that it is once."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tracker_dagster.ledger.commands import LedgerError
from tracker_dagster.ledger.holding_commands import (
    buy_shares,
    end_of_date,
    import_holdings,
    read_holdings,
    sell_shares,
)
from tracker_dagster.ledger.holding_events import Lot
from tracker_dagster.ledger.holdings import holdings_as_of, lots_as_of
from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.warehouse import Warehouse

NOW = datetime(2026, 11, 18, 20, 50, tzinfo=UTC)

pytestmark = pytest.mark.feature(27)


@pytest.fixture
def store(tmp_path):
    return Warehouse(tmp_path / "x.duckdb")


def held(store, moment=NOW):
    found = holdings_as_of(store.read(LEDGER), moment)
    return found.select("account", "ticker", "shares", "free").rows()


class TestFile:
    def test_each_row_is_a_lot(self):
        text = "\ufeffTicker,shares, Basis ,acquired_on\naapl,100,148.5,2025-03-04\n\nBRK.B,2.5,,\n"
        assert read_holdings(text) == (
            Lot(ticker="AAPL", shares=100, basis=148.5, acquired_on=date(2025, 3, 4)),
            Lot(ticker="BRK.B", shares=2.5),
        )
        assert read_holdings("shares,ticker\n1,SPY\n") == (Lot(ticker="SPY", shares=1),)

    def test_numbers_are_read_as_brokers_write_them(self):
        text = 'ticker,shares,basis\nAAPL,"1,000",$150.00\nAAPL,2.5,"$1,250.5"\nAAPL,.5,\n'
        assert read_holdings(text) == (
            Lot(ticker="AAPL", shares=1000, basis=150),
            Lot(ticker="AAPL", shares=2.5, basis=1250.5),
            Lot(ticker="AAPL", shares=0.5),
        )
        # Files of any system.
        for end in ("\r", "\r\n"):
            assert read_holdings(f"ticker,shares{end}AAPL,1{end}") == (
                Lot(ticker="AAPL", shares=1),
            )

    def test_no_lot_is_acquired_after_the_list(self, store):
        lots = read_holdings("ticker,shares,acquired_on\nAAPL,1,2026-11-18\n")
        assert import_holdings(store, "ira", lots, NOW, "me").is_new
        with pytest.raises(LedgerError, match="AAPL acquired on 2026-11-18: that is after"):
            import_holdings(
                store, "ira", lots, NOW, "me", effective_at=end_of_date(date(2026, 11, 17))
            )
        lots = read_holdings("ticker,shares,acquired_on\nAAPL,1,2027-01-04\n")
        with pytest.raises(LedgerError, match="AAPL acquired on 2027-01-04: that is after"):
            import_holdings(store, "ira", lots, NOW, "me")

    def test_an_account_has_a_name_and_a_price_is_one(self, store):
        lots = (Lot(ticker="AAPL", shares=1),)
        with pytest.raises(LedgerError, match="'' is no account"):
            import_holdings(store, "", lots, NOW, "me")
        for trade in (buy_shares, sell_shares):
            with pytest.raises(LedgerError, match="' ' is no account"):
                trade(store, " ", "AAPL", 1, 2, NOW, "me")
        with pytest.raises(LedgerError, match="inf is no price"):
            buy_shares(store, "ira", "AAPL", 1, float("inf"), NOW, "me")
        assert store.read(LEDGER).is_empty()

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("ticker,shares\nAAPL,1_00\n", "line 2: '1_00' is no shares"),
            ("ticker,shares\nAAPL,1e3\n", "line 2: '1e3' is no shares"),
            ('ticker,shares\nAAPL,"1,00"\n', "line 2: '1,00' is no shares"),
            ("ticker,shares\nAAPL,$\n", "line 2: '$' is no shares"),
            ("ticker,shares,acquired_on\nAAPL,1,1718236800\n",
             "line 2: '1718236800' is no acquired_on: a date like 2025-06-13"),
            ("ticker,shares,acquired_on\nAAPL,1,2025-06-13T00:00:00\n", "is no acquired_on"),
            ("ticker,shares,acquired_on\nAAPL,1,2025-02-30\n", "is no acquired_on"),
            (f"ticker,shares\nAAPL,1\n{'A' * 131_073},1\n", "line 3: field larger than"),
            ("ticker,shares,colour\nAAPL,1,red\n",
             "unknown column 'colour': holdings have ticker, shares, basis, acquired_on"),
            ("symbol,qty\nAAPL,1\n", "unknown columns 'symbol', 'qty'"),
            ("ticker,basis\nAAPL,1\n", "no column shares"),
            ("ticker,shares,ticker\nAAPL,1,AAPL\n", "twice"),
            ("", "no column ticker, shares"),
            ("ticker,shares\n", "not emptied by an empty file"),
            ("ticker,shares\nAAPL,1,2\n", "line 2: 3 cells under 2 columns"),
            ("ticker,shares\nAAPL,1\nAAPL,-5\n", "line 3: '-5' is no shares"),
            ("ticker,shares\nAAPL,\n", "line 2: nothing is no shares"),
            ("ticker,shares\nAA PL,1\n", "line 2: 'AA PL' is no ticker"),
            ("ticker,shares,basis\nAAPL,1,0\n", "line 2: '0' is no basis"),
            ("ticker,shares,basis\nAAPL,nan,3\n", "line 2: 'nan' is no shares"),
            ("ticker,shares,acquired_on\nAAPL,1,yesterday\n", "'yesterday' is no acquired_on"),
        ],
        ids=lambda value: None if "\n" in value or not value else value[:24],
    )  # fmt: skip
    def test_what_cannot_be_read_is_named(self, text, why):
        with pytest.raises(LedgerError) as raised:
            read_holdings(text)
        assert why in str(raised.value)


class TestImport:
    LOTS = read_holdings("ticker,shares,basis\nAAPL,150,120\nAAPL,50,100\nMSFT,10,400\n")

    def test_the_account_holds_what_the_file_says(self, store):
        done = import_holdings(store, "ira", self.LOTS, NOW, "me")
        assert (done.is_new, done.lots, done.shares, done.tickers) == (True, 3, 210, 2)
        assert held(store) == [("ira", "AAPL", 200, 200), ("ira", "MSFT", 10, 10)]
        assert held(store, NOW - timedelta(seconds=1)) == []

    def test_the_same_file_again_records_nothing_even_later_and_in_another_order(self, store):
        import_holdings(store, "ira", self.LOTS, NOW, "me")
        before = store.read(LEDGER)
        later = NOW + timedelta(days=3)
        again = import_holdings(store, "ira", tuple(reversed(self.LOTS)), later, "me")
        assert not again.is_new
        assert store.read(LEDGER).equals(before)
        # In another account, or after a change, it is news.
        assert import_holdings(store, "joint", self.LOTS, later, "me").is_new
        sell_shares(store, "ira", "MSFT", 10, 410, later, "me")
        assert import_holdings(store, "ira", self.LOTS, later + timedelta(days=1), "me").is_new

    def test_calls_on_shares_that_the_file_lacks_are_told(self, store):
        import_holdings(store, "ira", self.LOTS, NOW, "me")
        open_position(
            store, symbol="O:AAPL261127C00150000", quantity=-2, price=1.0, day=NOW.date(),
            decision_at=NOW, now=NOW, actor="me", account="ira",
        )  # fmt: skip
        done = import_holdings(
            store, "ira", (Lot(ticker="AAPL", shares=120),), NOW + timedelta(hours=1), "me"
        )
        assert done.uncovered == {"AAPL": 80}
        assert held(store, NOW + timedelta(hours=2)) == [("ira", "AAPL", 120, -80)]

    def test_a_list_of_a_past_date_counts_from_the_end_of_it(self, store):
        of = date(2026, 11, 16)
        import_holdings(store, "ira", self.LOTS, NOW, "me", effective_at=end_of_date(of))
        # 23:59:59 in New York is 04:59:59 of the next day in UTC.
        assert end_of_date(of) == datetime(2026, 11, 17, 4, 59, 59, tzinfo=UTC)
        assert held(store, datetime(2026, 11, 17, 4, 59, tzinfo=UTC)) == []
        assert len(held(store, datetime(2026, 11, 17, 5, tzinfo=UTC))) == 2
        with pytest.raises(LedgerError, match="still to come"):
            import_holdings(
                store, "ira", self.LOTS, NOW, "me", effective_at=end_of_date(NOW.date())
            )


class TestTrades:
    def test_a_trade_is_recorded_once(self, store):
        assert buy_shares(store, "ira", "aapl", 100, 150, NOW, "me", fees=1)
        assert not buy_shares(store, "ira", "AAPL", 100, 150, NOW, "me", fees=1)
        assert held(store) == [("ira", "AAPL", 100, 100)]
        later = NOW + timedelta(hours=1)
        assert sell_shares(store, "ira", "AAPL", 40, 155, later, "me")
        assert not sell_shares(store, "ira", "AAPL", 40, 155, later, "me")
        assert lots_as_of(store.read(LEDGER), later)["shares"].to_list() == [60]

    def test_shares_behind_a_call_are_not_sold(self, store):
        buy_shares(store, "ira", "AAPL", 150, 150, NOW - timedelta(hours=1), "me")
        open_position(
            store, symbol="O:AAPL261127C00150000", quantity=-1, price=1.0, day=NOW.date(),
            decision_at=NOW, now=NOW, actor="me", account="ira",
        )  # fmt: skip
        later = NOW + timedelta(hours=1)
        with pytest.raises(LedgerError, match="holds 150 AAPL, 100 of them behind open calls"):
            sell_shares(store, "ira", "AAPL", 51, 155, later, "me")
        # Nor at a time before the call was written: they would be gone under it.
        with pytest.raises(LedgerError, match="behind open calls"):
            sell_shares(
                store, "ira", "AAPL", 51, 155, later, "me", effective_at=NOW - timedelta(minutes=5)
            )
        assert sell_shares(store, "ira", "AAPL", 50, 155, later, "me")

    @pytest.mark.parametrize(
        ("facts", "why"),
        [
            (("AAPL", 101, 1.0), "ira holds 100 AAPL: not 101"),
            (("MSFT", 1, 1.0), "ira holds 0 MSFT"),
            (("AAPL", 0, 1.0), "no trade"),
            (("AAPL", 1, 0), "no trade"),
            (("A PL", 1, 1.0), "not a ticker"),
        ],
        ids=str,
    )
    def test_what_cannot_be_sold_records_nothing(self, store, facts, why):
        buy_shares(store, "ira", "AAPL", 100, 150, NOW, "me")
        before = store.read(LEDGER)
        with pytest.raises(LedgerError, match=why):
            sell_shares(store, "ira", *facts, NOW + timedelta(hours=1), "me")
        with pytest.raises(LedgerError, match="still to come"):
            buy_shares(store, "ira", "AAPL", 1, 1, NOW, "me", effective_at=NOW + timedelta(days=1))
        assert store.read(LEDGER).equals(before)
