"""The benchmarks must time what they claim to: the same rows as the vendor's file, committed."""

import gzip
import json
from datetime import date

import polars as pl

from benchmarks.figures import Figure, store
from benchmarks.option_day import Loader, bare_duckdb
from benchmarks.option_files import Originals
from benchmarks.timing import best_of
from tracker_dagster.schemas.market import OPTION_DAY_AGGS

CSV = b"""ticker,volume,open,close,high,low,window_start,transactions
O:AAPL261120C00150000,5,1.5,1.6,1.7,1.4,1794978000000000000,2
O:SPXW261218P05000000,1,10,10,10,10,1794978000000000000,1
"""
DAY = date(2026, 11, 18)


def test_a_loaded_day_is_the_file(tmp_path):
    file = Originals((DAY,), (CSV,)).write(tmp_path, DAY)
    loader = Loader(tmp_path, tmp_path / "x.duckdb")
    loader.load(DAY)
    rows = loader.warehouse.read(OPTION_DAY_AGGS)
    assert rows["underlying"].to_list() == ["AAPL", "SPX"]
    assert rows["close"].to_list() == [1.6, 10.0]
    bare_duckdb(file, tmp_path / "bare.duckdb")


def test_a_re_dated_file_is_of_its_day(tmp_path):
    day = date(2026, 3, 10)  # the other side of the change to summer time
    file = Originals((DAY,), (CSV,)).write(tmp_path, day)
    starts = pl.read_csv(gzip.decompress(file.read_bytes()))["window_start"]
    local = starts.cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone("America/New_York")
    assert set(local.dt.strftime("%F %T")) == {"2026-03-10 00:00:00"}
    Loader(tmp_path, tmp_path / "x.duckdb").load(day)


def test_figures_are_stored_as_ratios(tmp_path):
    path = tmp_path / "results.json"
    store([Figure("a", 3.0, 2.0, 1.5), Figure("b", 3.1, 2.0, 1.5)], path)
    good, bad = json.loads(path.read_text())
    assert (good["ratio"], good["goal"], good["holds"]) == (1.5, "<= 1.5", True)
    assert bad["holds"] is False


def test_best_of_warms_up_and_takes_turns():
    calls = []
    best_of([lambda: calls.append("a"), lambda: calls.append("b")], rounds=2)
    assert calls == ["a", "b", "a", "b", "a", "b"]
