from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import random
import resource
import signal
import threading
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tracker_dagster.sources.capture import RawPage, RawStore
from tracker_dagster.sources.errors import CaptureError, NotFoundError, TransientError

DAY = date(2026, 6, 3)
SLOT = datetime(2026, 6, 3, 19, 45, tzinfo=UTC)
WHERE = ("massive", "option_chain", DAY, SLOT, "I:SPX")


def page(n: int) -> RawPage:
    return RawPage(
        f'{{"n": {n}}}'.encode(),
        SLOT + timedelta(seconds=n, microseconds=5),
        f"/v3/snapshot/options/I:SPX?cursor={n}",
        f"{n:032x}",
    )


@pytest.fixture
def store(tmp_path: Path) -> RawStore:
    return RawStore(tmp_path / "raw")


def test_pages_come_back_byte_for_byte_in_order(store):
    written = store.write(*WHERE, [page(n) for n in range(12)])
    read = RawStore(store.root).read(*WHERE)
    assert read == written
    assert read.pages == tuple(page(n) for n in range(12))
    assert read.bodies[11] == b'{"n": 11}'
    assert read.received_at == SLOT + timedelta(seconds=11, microseconds=5)
    assert read.path == store.root / "massive/option_chain/2026-06-03/20260603T194500Z/I%3ASPX"


def test_what_was_seen_first_stays(store):
    store.write(*WHERE, [page(1)])
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*")}

    def untouched():
        raise AssertionError("pages were asked for")
        yield

    assert store.write(*WHERE, untouched()).bodies == [b'{"n": 1}']
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*")} == before


def test_the_same_answer_gives_the_same_bytes_on_disk(tmp_path):
    found = []
    for name in ("a", "b"):
        capture = RawStore(tmp_path / name).write(*WHERE, [page(1), page(2)])
        found.append([(p.name, p.read_bytes()) for p in sorted(capture.path.iterdir())])
    assert found[0] == found[1]


def test_a_failure_between_pages_leaves_nothing(store):
    def failing():
        yield page(1)
        raise TransientError("gone")

    with pytest.raises(TransientError):
        store.write(*WHERE, failing())
    assert not store.has(*WHERE)
    assert store.slots("massive", "option_chain", DAY) == []
    assert [p for p in store.root.rglob("*") if p.is_file()] == []
    assert store.write(*WHERE, [page(2)]).bodies == [b'{"n": 2}']


def _killed_between_pages(root: Path) -> None:
    def pages():
        yield page(1)
        os.kill(os.getpid(), signal.SIGKILL)

    RawStore(root).write(*WHERE, pages())


def test_a_killed_capture_is_never_visible(store):
    process = multiprocessing.get_context("fork").Process(
        target=_killed_between_pages, args=(store.root,)
    )
    process.start()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert any(p.name.startswith("page-") for p in store.root.rglob("*"))
    assert store.slots("massive", "option_chain", DAY) == []
    assert store.names("massive", "option_chain", DAY, SLOT) == []
    with pytest.raises(NotFoundError):
        store.read(*WHERE)
    assert store.write(*WHERE, [page(2)]).bodies == [b'{"n": 2}']
    assert store.names("massive", "option_chain", DAY, SLOT) == ["I:SPX"]


def _write_with_a_full_disk(root: Path, told: Any) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    big = RawPage(random.Random(1).randbytes(100_000), SLOT, "/x")
    try:
        RawStore(root).write(*WHERE, [page(1), big])
    except OSError as exc:
        told.send(type(exc).__name__)


def test_a_full_disk_leaves_nothing(store):
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=_write_with_a_full_disk, args=(store.root, there))
    process.start()
    process.join(20)
    assert here.poll(1)
    assert here.recv() == "OSError"
    assert [p for p in store.root.rglob("*") if p.is_file()] == []
    assert store.slots("massive", "option_chain", DAY) == []


def test_two_writers_of_one_capture_agree_on_one(store):
    met = threading.Barrier(2)
    got = []

    def write(n: int) -> None:
        def pages():
            met.wait(10)
            yield page(n)

        got.append(store.write(*WHERE, pages()).bodies)

    threads = [threading.Thread(target=write, args=(n,)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 2
    assert got[0] == got[1] == store.read(*WHERE).bodies
    assert [p.name for p in store.read(*WHERE).path.parent.iterdir()] == ["I%3ASPX"]


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "manifest"])
def test_damage_is_noticed(store, damage):
    folder = store.write(*WHERE, [page(1), page(2)]).path
    second = folder / "page-0002.json.gz"
    if damage == "changed":
        second.write_bytes(gzip.compress(b'{"n": 3}'))
    elif damage == "cut":
        second.write_bytes(second.read_bytes()[:-4])
    elif damage == "gone":
        second.unlink()
    else:
        (folder / "manifest.json").write_text("{")
    with pytest.raises(CaptureError):
        store.read(*WHERE)


def test_a_gap_names_itself(store):
    with pytest.raises(
        NotFoundError, match=r"no option_chain capture of I:SPX at 2026-06-03 19:45"
    ):
        store.read(*WHERE)


def test_slots_and_names(store):
    late = SLOT + timedelta(minutes=15)
    for slot, name in ((late, "SPY"), (SLOT, "SPY"), (SLOT, "BRK.B"), (SLOT, "../x")):
        store.write("massive", "option_chain", DAY, slot, name, [page(1)])
    assert store.slots("massive", "option_chain", DAY) == [SLOT, late]
    assert store.names("massive", "option_chain", DAY, SLOT) == ["../x", "BRK.B", "SPY"]
    assert store.slots("massive", "option_chain", DAY - timedelta(days=1)) == []
    assert not (store.root / "massive/option_chain/2026-06-03/x").exists()


def test_a_slot_is_an_instant_whatever_its_zone(store):
    eastern = SLOT.astimezone(timezone(timedelta(hours=-4)))
    store.write("massive", "x", DAY, eastern, "SPY", [page(1)])
    assert store.has("massive", "x", DAY, SLOT, "SPY")
    with pytest.raises(ValueError, match="naive"):
        store.write("massive", "x", DAY, SLOT.replace(tzinfo=None), "QQQ", [page(1)])


def test_a_capture_without_pages_is_refused(store):
    with pytest.raises(ValueError, match="without pages"):
        store.write(*WHERE, [])
    assert not store.has(*WHERE)


def test_the_manifest_tells_where_pages_came_from(store):
    folder = store.write(*WHERE, [page(7)]).path
    (entry,) = json.loads((folder / "manifest.json").read_text())["pages"]
    assert entry["url_path"] == "/v3/snapshot/options/I:SPX?cursor=7"
    assert entry["received_at"] == "2026-06-03T19:45:07.000005+00:00"
    assert entry["bytes"] == len(b'{"n": 7}')
