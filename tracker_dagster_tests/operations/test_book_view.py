"""What the screen says of the book beside its tables."""

from datetime import timedelta

from tracker_dagster.ledger.position_commands import close_position
from tracker_dagster.operations.book_view import positions
from tracker_dagster.warehouse import Warehouse
from tracker_dagster_tests.ledger.test_position_commands import NOW, opening


def test_the_total_says_that_dividends_are_not_in_it(tmp_path):
    store = Warehouse(tmp_path / "x.duckdb")
    opened = opening(store)
    later = NOW + timedelta(days=1)
    close_position(store, opened.event_id, price=0.25, now=later, actor="me")
    _, told = positions(store, ended=True)
    # 125 came and 25 went.
    assert told.startswith("1 ended with +100.00 USD, dividends on their shares left out")
