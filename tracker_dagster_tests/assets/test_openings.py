"""What a promoted pick is opened with, and which openings bind a decision's request."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.assets.acted_on import Request as Asked
from tracker_dagster.assets.acted_on import acted_on_request, require_request_acted_on
from tracker_dagster.assets.openings import open_promoted, promoted_picks
from tracker_dagster.ledger.folds import positions_as_of
from tracker_dagster.ledger.holding_commands import import_holdings
from tracker_dagster.ledger.holding_events import Lot
from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.schemas.system import LEDGER
from tracker_dagster.trading_calendar import decision_time
from tracker_dagster.warehouse import Warehouse

DAY = date(2025, 6, 11)
DECIDED = decision_time(DAY)
NOW = datetime(2025, 6, 11, 20, 20, tzinfo=UTC)
CALL = "O:AAPL250613C00200000"
REQUEST = Asked(30_000.0, "ALL", 3)
KEYS = {"basis": "snapshot", "decision_at": DECIDED, "ticker": "AAPL", "symbol": CALL}


class Store(Warehouse):
    """A ledger that is real, and one pick that stands for the tables of the decisions."""

    def __init__(self, path, fees):
        super().__init__(path)
        self._fees = fees
        self.spoiled = []

    def read(self, table, **how):
        if table is PROMOTIONS:
            row = {**KEYS, "rank": 1, "decision": "promote", "seed": REQUEST.seed,
                   "lane_filter": REQUEST.lane, "top_n": REQUEST.top_n}  # fmt: skip
            return pl.DataFrame([row])
        if table is WEEKLY_PICKS:
            row = {**KEYS, "bid": 1.5, "price": 195.0, "fees_100": self._fees, "stage": None,
                   "candidates_count": 7}  # fmt: skip
            rows = pl.DataFrame([row], schema_overrides={"fees_100": pl.Float64})
            return rows.with_columns(pl.col("stage").cast(pl.String), *self.spoiled)
        return super().read(table, **how)


@dataclass
class Run:
    warehouse: Store
    day: date = DAY
    now: datetime = NOW


@pytest.mark.feature(27)
@pytest.mark.parametrize(("fees", "paid"), [(1.05, 1.05), (None, 0.65)], ids=["pick", "settings"])
def test_a_pick_is_opened_with_the_fees_that_its_expected_value_is_less(tmp_path, fees, paid):
    run = Run(Store(tmp_path / "x.duckdb", fees))
    (pick,) = promoted_picks(run).iter_rows(named=True)
    open_promoted(run, pick)
    (row,) = positions_as_of(run.warehouse.read(LEDGER), NOW).to_dicts()
    assert row["fees"] == paid
    # One contract of 100 shares sold at 1.50.
    assert row["option_cash"] == pytest.approx(150.0 - paid)


@pytest.mark.feature(27)
def test_promotions_of_a_decision_that_no_longer_counts_are_not_opened(tmp_path):
    store = Store(tmp_path / "x.duckdb", 0.65)
    assert promoted_picks(Run(store))["symbol"].to_list() == [CALL]
    # The session was decided again, on its closing slot: what the first had promoted is left over.
    store.spoiled = [pl.lit(DECIDED + timedelta(minutes=10)).alias("decision_at")]
    assert promoted_picks(Run(store)).is_empty()


@pytest.mark.feature(28)
def test_only_the_paper_book_binds_the_request_of_its_decision(tmp_path):
    store = Store(tmp_path / "x.duckdb", 0.65)
    facts = {"symbol": CALL, "quantity": -1, "price": 1.5, "day": DAY, "decision_at": DECIDED,
             "now": NOW, "actor": "me"}  # fmt: skip
    import_holdings(store, "ira", (Lot(ticker="AAPL", shares=100),), DECIDED, "me")
    open_position(store, account="ira", **facts)
    other = Asked(5_000.0, "SAFE", 1)
    assert acted_on_request(store, DAY, DECIDED) is None
    require_request_acted_on(store, DAY, DECIDED, other)
    open_position(store, stock_basis=195.0, **facts)
    assert acted_on_request(store, DAY, DECIDED) == REQUEST
    with pytest.raises(ValueError, match=r"as promoted with seed 30,000.00, lane ALL, top 3"):
        require_request_acted_on(store, DAY, DECIDED, other)
