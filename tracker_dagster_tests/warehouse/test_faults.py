"""Killed writers, a full disk, strangers and crowds: done for real, in other processes."""

import random
import signal
import threading
import time
from collections import Counter
from datetime import date, timedelta

import pytest

from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.warehouse import Warehouse, WarehouseHeldError
from tracker_dagster_tests.warehouse.children import child, finished, hears
from tracker_dagster_tests.warehouse.frames import DAY, NEXT_DAY, stocks, unit

IMPORTS = """
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.warehouse import Warehouse, WarehouseFullError
from tracker_dagster_tests.warehouse.frames import DAY, NEXT_DAY, stocks, unit
warehouse = Warehouse(path)
"""


def closes(warehouse, day=DAY):
    """How many rows of the day hold which close."""
    rows = warehouse.read(STOCK_DAY_AGGS, first=day, last=day, columns=["close"])
    return dict(Counter(rows["close"].to_list()))


def test_a_kill_in_the_middle_of_a_transaction_leaves_the_old_unit_whole(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks("ABC", close=10.0), unit())
    code = IMPORTS + (
        """
with warehouse.connection(read_only=False) as connection:
    connection.execute("BEGIN")
    connection.execute("DELETE FROM stock_day_aggs WHERE ticker < 'C'")
    connection.execute("UPDATE stock_day_aggs SET close = 99")
    say("midway")
    time.sleep(60)
"""
    )
    with child(code, warehouse.path) as writer:
        hears(writer, "midway")
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert closes(warehouse) == {10.0: 3}


def test_a_kill_right_after_the_commit_loses_nothing(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks("ABC", close=10.0), unit())
    code = IMPORTS + (
        """
import signal
with warehouse.connection(read_only=False) as connection:
    connection.execute("UPDATE stock_day_aggs SET close = 20")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    with child(code, warehouse.path) as writer:
        writer.wait()
    assert warehouse.path.with_name(warehouse.path.name + ".wal").exists()
    assert closes(warehouse) == {20.0: 3}
    warehouse.replace(STOCK_DAY_AGGS, stocks("D", close=30.0), unit())
    assert closes(warehouse) == {30.0: 1}


@pytest.mark.slow
def test_a_kill_at_any_moment_of_a_write_leaves_one_whole_unit(warehouse):
    size = 40_000
    tickers = [f"T{number:05d}" for number in range(size)]
    warehouse.replace(STOCK_DAY_AGGS, stocks(tickers, close=10.0), unit())
    code = IMPORTS + (
        """
tickers = [f"T{number:05d}" for number in range(40_000)]
frames = [stocks(tickers, close=close) for close in (20.0, 10.0)]
say("writing")
while True:
    for frame in frames:
        warehouse.replace(STOCK_DAY_AGGS, frame, unit())
"""
    )
    chance = random.Random(20261118)
    for _ in range(6):
        with child(code, warehouse.path) as writer:
            hears(writer, "writing")
            time.sleep(chance.uniform(0.02, 0.5))
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert closes(warehouse) in ({10.0: size}, {20.0: size})


def test_a_full_disk_is_said_and_leaves_the_old_unit_whole(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks("ABC", close=10.0), unit())
    code = IMPORTS + (
        """
import random, resource
chance = random.Random(1)
tickers = sorted({"%016x" % chance.getrandbits(64) for _ in range(150_000)})
frame = stocks(tickers, close=20.0)
limit = path.stat().st_size + 300_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    warehouse.replace(STOCK_DAY_AGGS, frame, unit())
except WarehouseFullError as error:
    say(f"full: {error}")
"""
    )
    with child(code, warehouse.path) as writer:
        said = finished(writer)
    assert said.startswith("full: no room to write tracker.duckdb; nothing was changed")
    assert closes(warehouse) == {10.0: 3}
    warehouse.replace(STOCK_DAY_AGGS, stocks("DE", close=30.0), unit())
    assert closes(warehouse) == {30.0: 2}


STRANGER = """
import duckdb
with duckdb.connect(path, read_only=sys.argv[2] == "read"):
    say("in")
    time.sleep(float(sys.argv[3]))
"""


def test_a_stranger_that_holds_the_file_is_named_after_patience(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks("A"), unit())
    impatient = Warehouse(warehouse.path, patience=1.0)
    with child(STRANGER, warehouse.path, "read", 60) as stranger:
        hears(stranger, "in")
        # A stranger who reads disturbs no reader.
        assert closes(impatient) == {10.0: 1}
        began = time.monotonic()
        with pytest.raises(WarehouseHeldError) as caught:
            impatient.replace(STOCK_DAY_AGGS, stocks("B"), unit())
        assert 0.9 < time.monotonic() - began < 5
        assert f"python (PID {stranger.pid})" in str(caught.value).replace("python3.11", "python")
    with child(STRANGER, warehouse.path, "write", 60) as stranger:
        hears(stranger, "in")
        with pytest.raises(WarehouseHeldError, match=f"PID {stranger.pid}"):
            closes(impatient)
    assert closes(impatient) == {10.0: 1}


def test_a_stranger_that_leaves_in_time_is_only_waited_for(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks("A"), unit())
    with child(STRANGER, warehouse.path, "write", 0.6) as stranger:
        hears(stranger, "in")
        Warehouse(warehouse.path, patience=20.0).replace(STOCK_DAY_AGGS, stocks("B"), unit())
    assert warehouse.read(STOCK_DAY_AGGS)["ticker"].to_list() == ["B"]


def test_a_second_writer_waits_its_turn(warehouse):
    warehouse.migrate()
    code = IMPORTS + (
        """
with warehouse.connection(read_only=False) as connection:
    say("in")
    time.sleep(0.7)
warehouse.replace(STOCK_DAY_AGGS, stocks("A"), unit())
"""
    )
    with child(code, warehouse.path) as first:
        hears(first, "in")
        warehouse.replace(STOCK_DAY_AGGS, stocks("B", day=NEXT_DAY), unit(NEXT_DAY))
        finished(first)
    assert warehouse.read(STOCK_DAY_AGGS)["ticker"].to_list() == ["A", "B"]


def test_two_processes_may_create_the_file_at_once(warehouse):
    code = IMPORTS + "\nwarehouse.replace(STOCK_DAY_AGGS, stocks('A'), unit())\n"
    with child(code, warehouse.path) as first, child(code, warehouse.path) as second:
        finished(first)
        finished(second)
    assert closes(warehouse) == {10.0: 1}


def test_a_polling_reader_and_a_writer_of_twenty_days_never_meet_an_error(warehouse):
    rows, days = 5_000, 20
    warehouse.migrate()
    code = IMPORTS + (
        """
tickers = [f"T{number:05d}" for number in range(5_000)]
say("writing")
for number in range(20):
    day = DAY + timedelta(days=number)
    warehouse.replace(STOCK_DAY_AGGS, stocks(tickers, day=day), unit(day))
"""
    )
    waits, counts = [], []
    with child(code, warehouse.path) as writer:
        hears(writer, "writing")
        while writer.poll() is None:
            began = time.monotonic()
            found = warehouse.query("SELECT count(*) FROM stock_day_aggs").item()
            waits.append(time.monotonic() - began)
            counts.append(found)
        finished(writer)
    # Whole days only, never fewer than before; and both got on.
    assert {count % rows for count in counts} == {0}
    assert counts == sorted(counts)
    assert len(set(counts)) > days // 3
    assert warehouse.query("SELECT count(*) FROM stock_day_aggs").item() == rows * days
    assert max(waits) < 10


def test_threads_of_one_process_share_the_file(warehouse):
    warehouse.migrate()
    errors = []

    def work(number):
        try:
            day = DAY + timedelta(days=number)
            for _ in range(3):
                warehouse.replace(STOCK_DAY_AGGS, stocks("AB", day=day), unit(day))
                assert closes(warehouse, day) == {10.0: 2}
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert warehouse.read(STOCK_DAY_AGGS).height == 8


def test_an_error_inside_a_connection_closes_it(warehouse):
    def fail():
        with warehouse.connection(read_only=False) as connection:
            connection.execute("BEGIN")
            connection.execute("CREATE TABLE half_done (x INTEGER)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with child(STRANGER, warehouse.path, "write", 0) as stranger:
        hears(stranger, "in")
        finished(stranger)
    tables = warehouse.query("SHOW TABLES").to_series().to_list()
    assert "half_done" not in tables


def test_rewriting_a_day_neither_grows_the_file_nor_slows_down(warehouse):
    tickers = [f"T{number:05d}" for number in range(20_000)]
    days = [date(2026, 1, 5) + timedelta(days=number) for number in range(12)]
    for day in days:
        warehouse.replace(STOCK_DAY_AGGS, stocks(tickers, day=day), unit(day))
    size = warehouse.path.stat().st_size
    for number in range(10):
        frame = stocks(tickers, day=days[3], close=20.0 + number)
        warehouse.replace(STOCK_DAY_AGGS, frame, unit(days[3]))
    assert warehouse.path.stat().st_size < 1.5 * size
    counts = warehouse.query("SELECT trade_date, count(*) AS n FROM stock_day_aggs GROUP BY 1")
    assert counts.height == len(days)
    assert counts.get_column("n").eq(len(tickers)).all()
