"""What `tracker risk` shows of a stored book, of one account, and where nothing is held."""

from io import StringIO

import polars as pl
import pytest
from rich.console import Console

from tracker_dagster.operations.choice import UsageError
from tracker_dagster.operations.risk_view import print_risk
from tracker_dagster.schemas.portfolio_risk import (
    ALL_REAL,
    ALL_TICKERS,
    PORTFOLIO_RISK,
    PORTFOLIO_STRESS,
)
from tracker_dagster.settings import Settings
from tracker_dagster.strategy.portfolio_risk import portfolio_risk
from tracker_dagster.strategy.portfolio_stress import portfolio_stress
from tracker_dagster.warehouse import Warehouse
from tracker_dagster_tests.strategy.test_portfolio_risk import COVERED, SECURED, book
from tracker_dagster_tests.strategy.worlds import DAY, SLOT
from tracker_dagster_tests.test_cli import tracker


@pytest.fixture
def settings(tmp_path):
    """A home with a paper call, a real put and shares without a price."""
    of = book([COVERED, {**SECURED, "account": "ira"}], [("ira", "ZZZ", 10.0)])
    settings = Settings(data_dir=tmp_path / "data", sim_url="http://127.0.0.1:1")
    warehouse = Warehouse(settings.database)
    warehouse.migrate()
    unit = {"trade_date": DAY, "slot": SLOT}
    warehouse.replace(PORTFOLIO_RISK, portfolio_risk(of, DAY, SLOT), unit)
    warehouse.replace(PORTFOLIO_STRESS, portfolio_stress(of, DAY, SLOT), unit)
    return settings


def shown(settings, **options):
    text = StringIO()
    print_risk(settings, Console(file=text, width=200), options.get("day"), options.get("account"))
    return text.getvalue()


@pytest.mark.feature(26)
def test_the_numbers_are_those_of_the_tables(settings):
    text = shown(settings)
    warehouse = Warehouse(settings.database)
    for row in warehouse.read(PORTFOLIO_RISK).iter_rows(named=True):
        line = next(line for line in text.splitlines() if f"│ {row['account']} " in line)
        for name, written in (("net_delta_usd", "{:+,.0f}"), ("theta_day", "{:+,.2f}")):
            assert ("–" if row[name] is None else written.format(row[name])) in line
            # The account with shares that have no price has no sums of Greeks.
            assert (row[name] is None) == (row["account"] != "paper")
    totals = warehouse.read(PORTFOLIO_STRESS).filter(
        (pl.col("ticker") == ALL_TICKERS) & (pl.col("scenario") == "down_20")
    )
    for account, move, pnl in totals.select("account", "move", "pnl").iter_rows():
        words = "as far" if move == "plain" else "by its beta"
        line = next(row for row in text.splitlines() if f"│ {account} " in row and words in row)
        assert (pnl is None) == (account != "paper")
        assert ("–" if pnl is None else f"{pnl:+,.0f}") in line
    assert "ira: no sum of any shock (beta and plain), as one part of it is not known: ZZZ" in text
    assert "ira, not known: ZZZ: no price was captured" in text


def test_one_account_alone(settings):
    text = shown(settings, account="IRA")
    assert "│ ira " in text
    assert "│ paper " not in text
    assert ALL_REAL not in text
    with pytest.raises(UsageError, match=r"'roth' holds nothing .*ira, paper"):
        shown(settings, account="roth")


def test_where_nothing_is_held_it_says_what_to_run(tmp_path):
    settings = Settings(data_dir=tmp_path / "data", sim_url="http://127.0.0.1:1")
    assert "tracker daily" in shown(settings)
    Warehouse(settings.database).migrate()
    assert "tracker daily" in shown(settings)
    assert f"nothing is held on {DAY}" in shown(settings, day=DAY)


def test_the_command_reads_the_database_it_is_given(settings, tmp_path):
    given = ("risk", "--db-path", str(settings.database))
    done = tracker(tmp_path, *given, "--account", "paper")
    assert (done.returncode, done.stderr) == (0, "")
    assert "│ paper " in done.stdout
    wrong = tracker(tmp_path, *given, "--account", "roth")
    assert wrong.returncode == 2
    assert "'roth' holds nothing" in wrong.stderr
