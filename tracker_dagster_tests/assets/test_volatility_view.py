"""What `tracker volatility` shows of a session, of an earlier one, and where there is nothing."""

from io import StringIO

import pytest
from rich.console import Console

from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.volatility_view import print_volatility, volatility_rows
from tracker_dagster_tests.assets.place import DAY, TODAY, Place


def shown(settings, tickers=(), day=None):
    text = StringIO()
    print_volatility(settings, Console(file=text, width=200), tickers, day)
    return text.getvalue()


def test_every_underlying_has_a_row_with_the_numbers_of_the_tables(settled):
    text = shown(settled.settings)
    assert f"Volatility of {TODAY} (captured chains, 15:50 ET)" in text
    terms = settled.rows("iv_term_structure", TODAY)
    for row in terms.iter_rows(named=True):
        line = next(line for line in text.splitlines() if f"│ {row['underlying']} " in line)
        assert f"{row['iv_30d']:.1%}" in line
    walls = settled.rows("gamma_exposure", TODAY)
    spx = next(line for line in text.splitlines() if "│ SPX " in line)
    assert f"{walls.filter(underlying='SPX')['call_wall'].item():,.2f}" in spx
    assert "of 126 sessions" in spx, "why there is no rank yet"


def test_some_tickers_of_an_earlier_session_come_from_its_day_files(settled):
    text = shown(settled.settings, ["aapl"], DAY)
    assert f"Volatility of {DAY} (day files)" in text
    assert "│ AAPL " in text
    assert "│ SPX " not in text
    row = volatility_rows(settled.warehouse, DAY).filter(ticker="AAPL").row(0, named=True)
    assert row["net_gamma_m"] is None, "day files have no open interest"
    assert row["iv_30d"] is not None


def test_a_ticker_without_volatility_is_named(settled):
    with pytest.raises(UsageError, match="NOPE"):
        shown(settled.settings, ["AAPL", "NOPE"])


def test_an_empty_home_says_what_to_run(tmp_path):
    place = Place(tmp_path, "http://127.0.0.1:1")
    assert "tracker demo" in shown(place.settings)
    place.warehouse.migrate()
    assert "tracker demo" in shown(place.settings)
