"""The user's file of VIX futures: what it may hold, and what is said of a bad one."""

from datetime import date

import pytest

from tracker_dagster.sources.errors import MalformedResponseError
from tracker_dagster.sources.vix_futures_csv import read_vix_futures_csv


@pytest.fixture
def read(tmp_path):
    def with_text(text):
        path = tmp_path / "settlements.csv"
        path.write_text(text)
        return read_vix_futures_csv(path)

    return with_text


def test_rows_in_order_of_time_with_the_two_that_count(read):
    frame = read("trade_date,VX1, vx2 ,vx3\n2026-06-03,18.05,19,19.5\n2026-06-02, 17.5 ,,\n")
    assert frame.rows() == [(date(2026, 6, 2), 17.5, None), (date(2026, 6, 3), 18.05, 19.5)]
    assert frame.columns == ["trade_date", "vx1", "vx3"]
    assert read("trade_date,vx1,vx3\n").is_empty()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trade_date,vx1\n", r"missing columns \['vx3'\]"),
        ("date,vx1,vx3\n", r"missing columns \['trade_date'\], unknown columns \['date'\]"),
        ("trade_date,vx1,vx3,vx10\n", r"unknown columns \['vx10'\]"),
        ("trade_date,vx1,vx3\n2026-06-03,18,19\n06/04/2026,18,19\n", r"lines \[3\]"),
        ("trade_date,vx1,vx3\n2026-06-03,18,19\n2026-06-04,n/a,19\n", r"lines \[3\]"),
        ("trade_date,vx1,vx3\n2026-06-03,0,19\n2026-06-04,-1,19\n", r"lines \[2, 3\]"),
        ("trade_date,vx1,vx3\n2026-06-03,nan,19\n2026-06-04,inf,19\n", r"lines \[2, 3\]"),
        ("trade_date,vx1,vx3\n2026-06-03,18,19\n2026-06-03,18,19\n", r"lines \[2, 3\]"),
        ("trade_date,vx1,vx2,vx3\n2026-06-03,18,x,19\n", r"lines \[2\]"),
        ("trade_date,vx1,vx1,vx3\n", "duplicate"),
        ("", "settlements.csv"),
    ],
)
def test_a_bad_file_is_refused_with_what_is_wrong(read, text, words):
    with pytest.raises(MalformedResponseError, match=f"VIX futures file.*{words}"):
        read(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MalformedResponseError, match=r"gone\.csv"):
        read_vix_futures_csv(tmp_path / "gone.csv")
