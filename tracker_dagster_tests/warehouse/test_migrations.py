import gzip
import shutil

import dataframely as dy
import duckdb
import pytest

from tracker_dagster.ledger.folds import positions_as_of, universe_as_of
from tracker_dagster.schemas.base import Kind, Table
from tracker_dagster.schemas.captured import MARKET_LAST
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.schemas.system import LEDGER, QUARANTINE
from tracker_dagster.warehouse import (
    IngestedFile,
    NewerFileError,
    SchemaChangeError,
    TableRebuiltWarning,
    Warehouse,
)
from tracker_dagster.warehouse.migrations import MIGRATIONS, Migration, code_version
from tracker_dagster_tests.warehouse.frames import DAY, stocks, unit
from tracker_dagster_tests.warehouse.make_fixture import FIXTURES, NOW

SYSTEM = {name: TABLES[name] for name in ("quarantine", "ingested_files", "ledger")}


class Plain(dy.Schema):
    trade_date = dy.Date(primary_key=True)
    name = dy.String(primary_key=True)


class WithNote(Plain):
    note = dy.String(nullable=True)


class WithDuty(Plain):
    duty = dy.Float64(nullable=False)


class Renamed(dy.Schema):
    trade_date = dy.Date(primary_key=True)
    title = dy.String(primary_key=True)


def table(schema, kind):
    return Table("things", schema, ("trade_date",), kind, "For the test.")


def warehouse(path, things, migrations=()):
    return Warehouse(path, tables={**SYSTEM, "things": things}, migrations=migrations)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.duckdb"


def fill(path, kind):
    """A file of version 1 whose table holds one row."""
    things = table(Plain, kind)
    frame = things.conform(things.empty().clear(1), trade_date=DAY, name="a")
    warehouse(path, things).replace(things, frame, {"trade_date": DAY})


def version(path):
    with duckdb.connect(path, read_only=True) as connection:
        return connection.execute("SELECT version, name FROM schema_version").fetchall()


def rename(connection):
    connection.execute("ALTER TABLE things RENAME COLUMN name TO title")


RENAME = Migration(2, "things have titles", rename)


@pytest.mark.parametrize("kind", [Kind.CAPTURED, Kind.DERIVED])
def test_a_missing_nullable_column_is_added_and_nothing_lost(path, kind):
    fill(path, kind)
    newer = table(WithNote, kind)
    assert warehouse(path, newer).read(newer).rows() == [(DAY, "a", None)]


@pytest.mark.parametrize("schema", [WithDuty, Renamed])
@pytest.mark.parametrize("kind", [Kind.MARKET, Kind.DERIVED])
def test_what_can_be_filled_again_is_rebuilt_with_a_warning(path, schema, kind):
    fill(path, kind)
    newer = table(schema, kind)
    with pytest.warns(TableRebuiltWarning, match="things"):
        assert warehouse(path, newer).read(newer).is_empty()


@pytest.mark.parametrize("schema", [WithDuty, Renamed])
@pytest.mark.parametrize("kind", [Kind.CAPTURED, Kind.DECISION, Kind.SYSTEM])
def test_what_cannot_is_refused_and_left_alone(path, schema, kind):
    fill(path, kind)
    newer = table(schema, kind)
    with pytest.raises(SchemaChangeError, match=r"things.*numbered migration"):
        warehouse(path, newer).read(newer)
    old = table(Plain, kind)
    assert warehouse(path, old).read(old).rows() == [(DAY, "a")]


def test_a_rebuilt_table_forgets_the_files_it_was_made_from(path):
    shape = {**SYSTEM, "stock_day_aggs": STOCK_DAY_AGGS}
    before = Warehouse(path, tables=shape, migrations=())
    before.replace(STOCK_DAY_AGGS, stocks("A"), unit(), file=IngestedFile("k", "e", 1))
    with before.connection(read_only=False) as connection:
        connection.execute("ALTER TABLE stock_day_aggs DROP COLUMN close")
    after = Warehouse(path, tables=shape, migrations=())
    after_restart(path)
    with pytest.warns(TableRebuiltWarning):
        assert after.ingested_files(STOCK_DAY_AGGS) == []


def after_restart(path):
    """Forget what this process knows of the file, as a new process would."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def test_a_numbered_migration_keeps_the_rows_and_copies_the_file_first(path):
    fill(path, Kind.CAPTURED)
    newer = table(Renamed, Kind.CAPTURED)
    migrated = warehouse(path, newer, [RENAME])
    assert migrated.read(newer).rows() == [(DAY, "a")]
    assert version(path) == [(1, "created"), (2, "things have titles")]
    (copy,) = path.parent.glob("*.before-v2")
    with duckdb.connect(copy, read_only=True) as connection:
        assert connection.execute("SELECT name FROM things").fetchall() == [("a",)]
    # Once only.
    copy.unlink()
    assert warehouse(path, newer, [RENAME]).read(newer).height == 1
    assert not list(path.parent.glob("*.before-*"))


def test_a_migration_that_fails_leaves_the_file_at_its_version(path):
    fill(path, Kind.CAPTURED)

    def fail(connection):
        rename(connection)
        raise RuntimeError("half-way")

    newer = table(Renamed, Kind.CAPTURED)
    with pytest.raises(RuntimeError, match="half-way"):
        warehouse(path, newer, [Migration(2, "fails", fail)]).migrate()
    assert version(path) == [(1, "created")]
    old = table(Plain, Kind.CAPTURED)
    assert warehouse(path, old).read(old).rows() == [(DAY, "a")]


def test_a_migration_that_is_not_enough_is_refused(path):
    fill(path, Kind.CAPTURED)
    newer = table(WithDuty, Kind.CAPTURED)
    with pytest.raises(SchemaChangeError):
        warehouse(path, newer, [RENAME]).migrate()
    assert version(path) == [(1, "created")]


def test_a_new_file_is_created_at_the_version_of_the_code(path):
    newer = table(Renamed, Kind.CAPTURED)
    warehouse(path, newer, [RENAME]).migrate()
    assert version(path) == [(2, "created")]


def test_a_newer_file_is_refused_untouched(path):
    newer = table(Renamed, Kind.CAPTURED)
    warehouse(path, newer, [RENAME]).migrate()
    before = path.read_bytes()
    old = table(Plain, Kind.CAPTURED)
    for use in (Warehouse.migrate, lambda house: house.read(old)):
        with pytest.raises(NewerFileError, match="version 2"):
            use(warehouse(path, old))
    assert path.read_bytes() == before


def test_migrations_are_numbered_without_gaps():
    assert code_version(MIGRATIONS) == 1 + len(MIGRATIONS)
    with pytest.raises(ValueError, match="numbered"):
        code_version([Migration(3, "too far", rename)])


def test_this_version_has_a_file_too():
    assert (FIXTURES / f"v{code_version(MIGRATIONS)}.duckdb.gz").exists()


@pytest.mark.parametrize("released", sorted(FIXTURES.glob("v*.gz")), ids=lambda file: file.name)
def test_files_of_released_versions_still_open(tmp_path, released):
    path = tmp_path / "tracker.duckdb"
    path.write_bytes(gzip.decompress(released.read_bytes()))
    house = Warehouse(path)
    ledger = house.read(LEDGER)
    members = universe_as_of(ledger, NOW)
    assert members.height == 36
    assert members.filter(~members["enabled"])["ticker"].to_list() == ["CLOV"]
    (position,) = positions_as_of(ledger, NOW.replace(hour=21)).to_dicts()
    assert (position["quantity"], position["option_cash"]) == (-2, 250.0)
    assert house.read(MARKET_LAST)["price"].to_list() == [600.25]
    assert house.read(QUARANTINE)["rule"].to_list() == ["volume|min"]
    assert released.stat().st_size < 2**20
