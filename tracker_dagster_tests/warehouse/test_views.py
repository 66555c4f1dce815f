"""The guide's names over our tables: what they show, in new files, old ones and partial ones."""

from datetime import UTC, date, datetime, timedelta

import dataframely as dy
import duckdb
import polars as pl
import pytest

from tracker_dagster.schemas.base import Kind, Table
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.schemas.views import VIEWS, View, ViewColumn
from tracker_dagster.warehouse import SchemaChangeError, Warehouse
from tracker_dagster.warehouse.docs import render
from tracker_dagster_tests.warehouse.frames import DAY, FLAT, REST, stocks, unit
from tracker_dagster_tests.warehouse.test_migrations import SYSTEM, Plain, after_restart

NOON = datetime(2026, 11, 18, 17, tzinfo=UTC)
CLOSE = datetime(2026, 11, 18, 21, tzinfo=UTC)
CALL, PUT = "O:SPY261120C00600000", "O:SPY261120P00600000"


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "x.duckdb")


def put(warehouse, name, *rows, **unit_values):
    """Rows of a table as plain dictionaries; what they do not give is null."""
    table = TABLES[name]
    frame = table.conform(
        pl.DataFrame([{**unit_values, **row} for row in rows], infer_schema_length=None)
    )
    result = warehouse.replace(table, frame, {k: unit_values[k] for k in table.replace_by})
    assert result.rows_quarantined == 0, result.rules


def shown(warehouse, sql):
    """What any DuckDB of a user shows."""
    with duckdb.connect(warehouse.path, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return connection.execute(sql).pl().to_dicts()


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_has_the_columns_it_is_documented_with(warehouse, view):
    warehouse.migrate()
    assert shown(warehouse, f"SELECT * FROM {view.name}") == []
    with duckdb.connect(warehouse.path, read_only=True) as connection:
        described = connection.execute(f"DESCRIBE {view.name}").fetchall()
    names = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    assert [(row[0], names.get(row[1], row[1])) for row in described] == [
        (column.name, column.sql_type) for column in view.columns
    ]
    page = render([], [view])
    assert all(f"| `{column.name}` | {column.sql_type} | " in page for column in view.columns)
    assert all(column.meaning for column in view.columns)


def test_a_bar_from_two_sources_is_shown_once_the_file_first(warehouse):
    for source, close in ((REST, 5.0), (FLAT, 10.0)):
        warehouse.replace(
            TABLES["stock_day_aggs"], stocks("AB", source=source, close=close), unit(source=source)
        )
    only_rest = stocks("C", source=REST, close=7.0, day=date(2026, 11, 19))
    warehouse.replace(TABLES["stock_day_aggs"], only_rest, unit(date(2026, 11, 19), REST))
    rows = shown(
        warehouse,
        "SELECT symbol, timeframe, timestamp, close, vwap FROM historical_bars ORDER BY ALL",
    )
    midnight = datetime(2026, 11, 18, 5, tzinfo=UTC)
    assert [tuple(row.values()) for row in rows] == [
        ("A", "day", midnight, 10.0, None),
        ("B", "day", midnight, 10.0, None),
        ("C", "day", midnight + timedelta(days=1), 7.0, None),
    ]


def test_minutes_of_stocks_and_of_contracts_are_bars_of_one_minute(warehouse):
    prices = {"open": 1.0, "high": 3.0, "low": 0.5, "close": 2.0, "volume": 10.5, "vwap": 1.5}
    minute = {"start": NOON, "available_at": NOON, "is_regular": True, "transactions": 4, **prices}
    put(warehouse, "bars_1m", {**minute, "ticker": "SPY"}, trade_date=DAY, source=REST)
    contract = {
        **{"underlying": "SPY", "root": "SPY", "expiry": date(2026, 11, 20), "right": "C"},
        **{"strike": 600.0, "symbol": CALL, "chosen_as": "pick"},
    }
    put(warehouse, "option_bars_1m", {**minute, **contract}, trade_date=DAY, source=REST)
    bar = {**prices, "timeframe": "1m", "timestamp": NOON, "trades": 4, "is_regular": True}
    rows = shown(warehouse, "SELECT * FROM historical_bars ORDER BY symbol")
    assert rows == [
        {**bar, "symbol": symbol, "trade_date": DAY, "available_at": NOON}
        for symbol in (CALL, "SPY")
    ]


# How views come into a file

THINGS = Table("things", Plain, ("trade_date",), Kind.DERIVED, "For the test.")
NAMES = View(
    "names", "For the test.", ("things",), (ViewColumn("who", "VARCHAR", "t.name", "name"),),
    "FROM things t",
)  # fmt: skip
SHOUTED = View(
    "names", "For the test.", ("things",), (ViewColumn("who", "VARCHAR", "upper(t.name)", "name"),),
    "FROM things t",
)  # fmt: skip


def of(path, views, things=THINGS):
    return Warehouse(path, tables={**SYSTEM, "things": things}, migrations=(), views=views)


def fill(house, things=THINGS, name="a"):
    frame = things.conform(things.empty().clear(1), trade_date=DAY, name=name)
    house.replace(things, frame, {"trade_date": DAY})


def who(house):
    return house.query("SELECT * FROM names").rows()


def test_a_file_of_an_older_version_gets_the_views(tmp_path):
    path = tmp_path / "x.duckdb"
    fill(of(path, ()))
    assert who(of(path, (NAMES,))) == [("a",)]


def test_a_view_that_changed_is_replaced_and_one_that_did_not_is_left_alone(tmp_path):
    path = tmp_path / "x.duckdb"
    fill(of(path, (NAMES,)))
    assert who(of(path, (SHOUTED,))) == [("A",)]
    after_restart(path)
    before = path.read_bytes()
    assert who(of(path, (SHOUTED,))) == [("A",)]
    assert path.read_bytes() == before


class Numbered(dy.Schema):
    trade_date = dy.Date(primary_key=True)
    name = dy.Int64(primary_key=True)


def test_a_view_follows_a_table_that_was_rebuilt_with_another_type(tmp_path):
    path = tmp_path / "x.duckdb"
    fill(of(path, (NAMES,)))
    newer = Table("things", Numbered, ("trade_date",), Kind.DERIVED, "For the test.")
    house = of(path, (NAMES,), newer)
    with pytest.warns(UserWarning, match="things"):
        house.migrate()
    fill(house, newer, name=7)
    assert who(house) == [(7,)]


def test_a_view_over_a_table_that_is_not_there_is_left_out(tmp_path):
    path = tmp_path / "x.duckdb"
    nobody = View("nobody", "For the test.", ("elsewhere",), NAMES.columns, "FROM elsewhere t")
    house = of(path, (nobody, NAMES))
    fill(house)
    assert who(house) == [("a",)]
    with pytest.raises(duckdb.CatalogException, match="nobody"):
        house.query("SELECT * FROM nobody")


def test_a_users_table_of_the_same_name_is_not_taken_away(tmp_path):
    path = tmp_path / "x.duckdb"
    fill(of(path, ()))
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE names AS SELECT 42 AS who")
    with pytest.raises(SchemaChangeError, match="rename the table"):
        of(path, (NAMES,)).migrate()
    with duckdb.connect(path, read_only=True) as connection:
        assert connection.execute("FROM names").fetchall() == [(42,)]


def test_a_view_goes_with_a_file_that_is_renamed(tmp_path, warehouse):
    warehouse.replace(TABLES["stock_day_aggs"], stocks("A"), unit())
    moved = warehouse.path.rename(tmp_path / "elsewhere.duckdb")
    with duckdb.connect(moved, read_only=True) as connection:
        assert connection.execute("SELECT symbol FROM historical_bars").fetchall() == [("A",)]


def test_views_are_over_tables_and_named_apart_from_them():
    for view in VIEWS:
        assert set(view.reads) <= set(TABLES), view.name
        assert view.name not in TABLES
    assert len({view.name for view in VIEWS}) == len(VIEWS)
