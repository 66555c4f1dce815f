"""Engines kept between turns must show nothing of the turn before."""

import os
import subprocess
import sys

import duckdb
import pytest

from tracker_dagster.warehouse import Warehouse

COUNT = """
import sys, duckdb
print(duckdb.connect(sys.argv[1]).execute("SELECT count(*) FROM ledger").fetchone()[0])
"""


@pytest.fixture
def warehouse(tmp_path):
    warehouse = Warehouse(tmp_path / "x.duckdb", patience=1)
    warehouse.migrate()
    return warehouse


def opened_by_another_program(warehouse):
    run = subprocess.run(
        [sys.executable, "-c", COUNT, str(warehouse.path)], capture_output=True, text=True
    )
    return run.stdout.strip()


@pytest.mark.parametrize("read_only", [True, False])
def test_nothing_holds_the_file_after_a_turn(warehouse, read_only):
    for _ in range(2):
        with warehouse.connection(read_only=read_only) as connection:
            connection.execute("SELECT count(*) FROM ledger").fetchall()
        assert opened_by_another_program(warehouse) == "0"


@pytest.mark.parametrize("read_only", [True, False])
def test_a_body_that_raises_lets_go_of_the_file(warehouse, read_only):
    def body():
        with warehouse.connection(read_only=read_only) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT * FROM ledger")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        body()
    assert opened_by_another_program(warehouse) == "0"
    assert warehouse.query("SELECT count(*) FROM ledger").item() == 0


def test_a_turn_leaves_no_setting_and_no_table_to_the_next(warehouse):
    with warehouse.connection(read_only=False) as connection:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        connection.execute("CREATE TEMP TABLE left_over AS SELECT 1 AS a")
    with warehouse.connection(read_only=False) as connection:
        assert connection.execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)
        with pytest.raises(duckdb.CatalogException):
            connection.execute("SELECT * FROM left_over")


def test_an_unfinished_transaction_is_undone(warehouse):
    with warehouse.connection(read_only=False) as connection:
        connection.execute("BEGIN")
        connection.execute("DELETE FROM schema_version")
    assert warehouse.query("SELECT count(*) FROM schema_version").item() > 0


def test_a_reader_reaches_no_other_file_in_any_turn(warehouse, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for _ in range(2):
        with (
            warehouse.connection(read_only=True) as connection,
            pytest.raises(duckdb.PermissionException),
        ):
            connection.execute(f"SELECT * FROM read_csv('{secret}')")


def test_a_forked_child_starts_engines_of_its_own(warehouse):
    warehouse.query("SELECT 1")
    child = os.fork()
    if child == 0:
        with warehouse.connection(read_only=True) as connection:
            found = connection.execute("SELECT count(*) FROM ledger").fetchone()
        os._exit(0 if found == (0,) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert warehouse.query("SELECT 1").item() == 1


def test_files_of_one_name_in_two_folders_are_two_files(tmp_path):
    for count, folder in enumerate(("a", "b"), start=1):
        (tmp_path / folder).mkdir()
        warehouse = Warehouse(tmp_path / folder / "x.duckdb")
        with warehouse.connection(read_only=False) as connection:
            connection.execute(f"CREATE TABLE mine AS SELECT * FROM range({count})")
    for count, folder in enumerate(("a", "b"), start=1):
        with Warehouse(tmp_path / folder / "x.duckdb").connection(read_only=True) as connection:
            assert connection.execute("SELECT count(*) FROM mine").fetchone() == (count,)
