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


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_no_view_compares_every_row_with_every_other(warehouse, view):
    warehouse.migrate()
    (plan,) = shown(warehouse, f"EXPLAIN SELECT * FROM {view.name}")
    assert ("HASH_JOIN" in str(plan)) is ("JOIN" in view.source)
    assert "NL_JOIN" not in str(plan)
    assert "NESTED_LOOP" not in str(plan)


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


def test_gamma_exposure_under_the_guides_names(warehouse):
    row = {
        **{"underlying": "SPY", "available_at": NOON, "open_interest_session": date(2026, 11, 17)},
        **{"spot": 600.0, "contracts_count": 4, "counted_count": 4, "expiries_count": 1},
        **{"call_open_interest": 10, "put_open_interest": 30, "put_call_open_interest": 3.0},
        **{"call_gamma_usd_per_1pct": 2e6, "put_gamma_usd_per_1pct": 8e6},
        **{"gross_gamma_usd_per_1pct": 1e7, "net_gamma_naive_usd_per_1pct": -6e6},
        **{"call_volume": 5.0, "put_volume": 1.0, "put_call_volume": 0.2},
        **{"call_wall": 606.0, "put_wall": 594.0, "max_pain": 600.0, "gamma_flip": 603.0},
        **{"flow_reason": "no signed trades", "naive_sign": "plausible"},
        **{"expiry_focus": date(2026, 11, 20)},
    }
    put(warehouse, "gamma_exposure", row, trade_date=DAY, slot=NOON)
    (seen,) = shown(warehouse, "SELECT * FROM gamma_exposure_snapshots")
    assert seen["symbol"] == "SPY"
    assert seen["timestamp"] == NOON
    assert (seen["total_gamma"], seen["dealer_net_gamma"]) == (1e7, -6e6)
    assert seen["dealer_positioning"] == "SHORT_GAMMA"
    assert (seen["gamma_skew"], seen["put_call_oi_ratio"]) == (0.25, 3.0)
    assert seen["distance_to_resistance_pct"] == pytest.approx(1.0)
    assert seen["distance_to_support_pct"] == pytest.approx(1.0)
    assert (seen["gamma_wall_resistance"], seen["gamma_wall_support"]) == (606.0, 594.0)
    assert (seen["gamma_flip"], seen["expiration_focus"]) == (603.0, date(2026, 11, 20))


def priced(symbol, right, **more):
    """A row of option_greeks that was valued."""
    return {
        **{"symbol": symbol, "underlying": "SPY", "root": "SPY", "expiry": date(2026, 11, 20)},
        **{"right": right, "strike": 600.0, "style": "american", "is_standard": True},
        **{"available_at": NOON, "status": "OK", "implied_volatility": 0.25, "spot": 601.0},
        **{"delta": 0.5, "gamma": 0.02, "theta": -0.4, "vega": 30.0, "rho": 5.0},
        **{"volume": 7.0, "open_interest": 11},
        **more,
    }


def ranked(basis, slot, rank):
    """A row of iv_percentile with a year behind it."""
    return {
        **{"basis": basis, "underlying": "SPY", "slot": slot, "available_at": slot},
        **{"iv_30d": 0.25, "history_basis": basis, "history_sessions": 250},
        **{"low": 0.10, "high": 0.50, "mean": 0.2, "median": 0.19, "deviation": 0.05},
        **{"iv_rank": rank, "iv_percentile": 0.8, "zscore": 1.0, "regime": "ELEVATED"},
        **{"change_5d": 0.1, "change_20d": 0.2, "trend": "EXPANDING"},
        **{"skew_25d_30d": 0.04, "skew_percentile": 0.6},
    }


def quoted(symbol, right, **more):
    """A row of option_chain."""
    return {
        **{"symbol": symbol, "underlying": "SPY", "root": "SPY", "expiry": date(2026, 11, 20)},
        **{"right": right, "strike": 600.0, "is_standard": True, "available_at": NOON},
        **{"quote_status": "OK", "greeks_status": "NOT_SENT", "bid": 2.0, "ask": 2.2},
        **{"mid": 2.1, "last_price": 2.15},
        **more,
    }


def test_greeks_of_a_captured_slot_with_its_quotes_and_the_rank_of_the_last_slot(warehouse):
    captured = {"trade_date": DAY, "source": "massive_snapshot"}
    for slot in (NOON, CLOSE):
        put(warehouse, "option_chain", quoted(CALL, "C"), quoted(PUT, "P"), slot=slot, **captured)
        contracts = [
            priced(CALL, "C", price=2.1, price_source="mid"),
            priced(PUT, "P", price=2.1, price_source="mid", delta=-0.5),
        ]
        put(warehouse, "option_greeks", *contracts, trade_date=DAY, basis="snapshot", slot=slot)
    put(warehouse, "iv_percentile", ranked("snapshot", CLOSE, 0.375), trade_date=DAY)
    rows = shown(
        warehouse,
        "SELECT symbol, contract_ticker, timestamp, expiration, option_type, dte, delta, rho, "
        "iv_rank, underlying_price, bid, ask, last, mid_price, volume, open_interest "
        "FROM historical_greeks ORDER BY timestamp, contract_ticker",
    )
    assert [(row["contract_ticker"], row["timestamp"], row["iv_rank"]) for row in rows] == [
        # The day's rank was not known at noon.
        *((CALL, NOON, None), (PUT, NOON, None)),
        *((CALL, CLOSE, 0.375), (PUT, CLOSE, 0.375)),
    ]
    put_row = rows[1]
    assert (put_row["option_type"], put_row["delta"], put_row["dte"]) == ("put", -0.5, 2)
    assert (put_row["symbol"], put_row["expiration"]) == ("SPY", date(2026, 11, 20))
    quotes = ("bid", "ask", "last", "mid_price")
    assert tuple(put_row[name] for name in quotes) == (2.0, 2.2, 2.15, 2.1)
    assert (put_row["underlying_price"], put_row["volume"]) == (601.0, 7.0)
    assert (put_row["open_interest"], put_row["rho"]) == (11, 5.0)


def test_greeks_of_day_files_have_a_last_price_and_no_quotes(warehouse):
    # A chain captured at the close has the same slot: its quotes are not the file's.
    captured = {"trade_date": DAY, "source": "massive_snapshot", "slot": CLOSE}
    put(warehouse, "option_chain", quoted(CALL, "C"), **captured)
    row = priced(CALL, "C", price=1.9, price_source="close")
    put(warehouse, "option_greeks", row, trade_date=DAY, basis="day_file", slot=CLOSE)
    unpriced = dict.fromkeys(("implied_volatility", "delta", "gamma", "theta", "vega", "rho"))
    row = priced(CALL, "C", status="NO_QUOTE", price_source="mid", **unpriced)
    put(warehouse, "option_greeks", row, trade_date=DAY, basis="snapshot", slot=CLOSE)
    rows = shown(
        warehouse,
        "SELECT basis, last, mid_price, bid, status, implied_volatility FROM historical_greeks "
        "ORDER BY basis",
    )
    assert [tuple(row.values()) for row in rows] == [
        ("day_file", 1.9, None, None, "OK", 0.25),
        ("snapshot", 2.15, None, 2.0, "NO_QUOTE", None),
    ]


def test_iv_percentile_under_the_guides_names(warehouse):
    both = [ranked("snapshot", CLOSE, 0.375), ranked("day_file", CLOSE, 0.5)]
    put(warehouse, "iv_percentile", *both, trade_date=DAY)
    (seen,) = shown(warehouse, "SELECT * FROM iv_percentile_cache WHERE basis = 'snapshot'")
    assert seen == {
        **{"symbol": "SPY", "date": DAY, "basis": "snapshot", "available_at": CLOSE},
        **{"current_iv": 0.25, "iv_52w_high": 0.5, "iv_52w_low": 0.1, "iv_52w_mean": 0.2},
        **{"iv_52w_median": 0.19, "iv_52w_stddev": 0.05, "data_points_52w": 250},
        **{"iv_rank": 0.375, "iv_percentile": 0.8, "iv_zscore": 1.0, "iv_regime": "ELEVATED"},
        **{"iv_change_5d": 0.1, "iv_change_20d": 0.2, "iv_trend": "EXPANDING"},
        **{"skew_25d_30d": 0.04, "skew_percentile": 0.6, "reason": None},
    }


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
