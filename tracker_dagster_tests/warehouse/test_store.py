import json
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest

from tracker_dagster.schemas.captured import MARKET_LAST
from tracker_dagster.schemas.market import STOCK_DAY_AGGS
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.schemas.system import INGESTED_FILES, LEDGER, QUARANTINE
from tracker_dagster.warehouse import (
    AppendOnlyError,
    EmptyUnitError,
    FrameError,
    IngestedFile,
    NoAvailabilityError,
    TurnError,
    UnitMismatchError,
    Warehouse,
    Write,
)
from tracker_dagster_tests.warehouse.frames import (
    DAY,
    FLAT,
    NEXT_DAY,
    REST,
    published,
    stocks,
    unit,
)


def everything(path):
    """All user tables as a plain DuckDB shell sees them."""
    with duckdb.connect(path, read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        rows = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
        names = [row[0] for row in rows]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}


def test_rows_come_back_as_they_went_in(warehouse):
    frame = stocks("CAB")
    result = warehouse.replace(STOCK_DAY_AGGS, frame, unit())
    assert (result.rows_read, result.rows_written) == (3, 3)
    back = warehouse.read(STOCK_DAY_AGGS)
    assert back.equals(frame.sort("ticker"))
    assert back.schema == frame.schema
    assert back.schema["available_at"] == pl.Datetime("us", "UTC")


def test_a_write_replaces_exactly_its_unit(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks("AB"), unit())
    warehouse.replace(STOCK_DAY_AGGS, stocks("AB", source=REST), unit(source=REST))
    warehouse.replace(STOCK_DAY_AGGS, stocks("AB", day=NEXT_DAY), unit(NEXT_DAY))
    warehouse.replace(STOCK_DAY_AGGS, stocks("BC", close=20.0), unit())
    rows = warehouse.read(STOCK_DAY_AGGS, columns=["trade_date", "source", "ticker", "close"])
    assert sorted(rows.rows()) == [
        (DAY, FLAT, "B", 20.0),
        (DAY, FLAT, "C", 20.0),
        (DAY, REST, "A", 10.0),
        (DAY, REST, "B", 10.0),
        (NEXT_DAY, FLAT, "A", 10.0),
        (NEXT_DAY, FLAT, "B", 10.0),
    ]


def test_writing_the_same_again_changes_nothing_anybody_can_see(warehouse):
    bad = stocks("Z").with_columns(low=pl.lit(-1.0))
    frame = pl.concat([stocks("BCA"), bad])
    rejected = pl.DataFrame({"raw": ["x,y"], "reason": ["unreadable"]})
    file = IngestedFile("k", "e", 7)
    first = warehouse.replace(STOCK_DAY_AGGS, frame, unit(), rejected=rejected, file=file)
    before = everything(warehouse.path)
    again = warehouse.replace(STOCK_DAY_AGGS, frame.reverse(), unit(), rejected=rejected, file=file)
    assert again == first
    # Not sorted before comparing: the order on disk is the same too.
    assert everything(warehouse.path) == before


def test_data_version_follows_the_rows_alone(warehouse):
    one = warehouse.replace(STOCK_DAY_AGGS, stocks("AB"), unit())
    more = warehouse.replace(STOCK_DAY_AGGS, stocks("ABC"), unit())
    shuffled = warehouse.replace(STOCK_DAY_AGGS, stocks("BA"), unit())
    bad_row_beside = pl.concat([stocks("AB"), stocks("Q").with_columns(open=pl.lit(-5.0))])
    beside = warehouse.replace(STOCK_DAY_AGGS, bad_row_beside, unit())
    assert one.data_version == shuffled.data_version == beside.data_version != more.data_version


def test_columns_are_matched_by_name(warehouse):
    frame = stocks("AB")
    warehouse.replace(STOCK_DAY_AGGS, frame.select(sorted(frame.columns)), unit())
    assert warehouse.read(STOCK_DAY_AGGS).equals(frame)


def test_duplicates_collapse_and_conflicts_are_all_set_aside(warehouse):
    frame = pl.concat([stocks("AAAB"), stocks("B", close=11.0), stocks("C")])
    result = warehouse.replace(STOCK_DAY_AGGS, frame, unit())
    assert result.rows_collapsed == 2
    assert result.rows_quarantined == 2
    assert result.rows_written == 2
    assert result.rules == {"conflicting_duplicate": 2}
    assert warehouse.read(STOCK_DAY_AGGS)["ticker"].to_list() == ["A", "C"]
    aside = warehouse.read(QUARANTINE)
    assert aside["rule"].to_list() == ["conflicting_duplicate"] * 2
    assert {json.loads(key)["ticker"] for key in aside["row_key"]} == {"B"}
    assert sorted(json.loads(raw)["close"] for raw in aside["raw"]) == [10.0, 11.0]


def test_a_bad_row_is_kept_once_per_rule_with_its_line(warehouse):
    frame = pl.concat(
        [stocks("A"), stocks("B").with_columns(open=pl.lit(-1.0), volume=pl.lit(-2.0))]
    ).with_columns(pl.Series("_raw", ["A,line", "B,line"]))
    rejected = pl.DataFrame({"raw": ["???"], "reason": ["not_a_number"]})
    result = warehouse.replace(STOCK_DAY_AGGS, frame, unit(), rejected=rejected)
    assert (result.rows_read, result.rows_written, result.rows_quarantined) == (3, 1, 2)
    aside = warehouse.read(QUARANTINE)
    assert set(aside["table_name"]) == {"stock_day_aggs"}
    assert json.loads(aside["unit"][0]) == {"trade_date": "2026-11-18", "source": FLAT}
    assert dict(aside.select("rule", "raw").iter_rows()) == {
        "open|min_exclusive": "B,line",
        "volume|min": "B,line",
        "low_is_lowest": "B,line",
        "not_a_number": "???",
    }


@pytest.mark.parametrize("worth", [float("nan"), float("inf"), None, -0.5])
def test_any_bad_value_is_kept_readable(warehouse, worth):
    bad = stocks("B").with_columns(close=pl.lit(worth, pl.Float64))
    lines = pl.Series("_raw", ["A,line", "B,line"])
    for frame, raw in (
        (pl.concat([stocks("A"), bad]), None),
        (pl.concat([stocks("A"), bad]).with_columns(lines), "B,line"),
    ):
        warehouse.replace(STOCK_DAY_AGGS, frame, unit())
        (kept,) = warehouse.read(QUARANTINE)["raw"].unique().to_list()
        if raw is None:
            assert json.loads(kept, parse_constant=pytest.fail)["ticker"] == "B"
        else:
            assert kept == raw


def test_an_empty_table_reads_as_its_schema_says(warehouse):
    for table in TABLES.values():
        assert warehouse.read(table).equals(table.empty())
        assert warehouse.read(table).schema == table.empty().schema


def test_quarantine_is_replaced_with_its_unit_only(warehouse):
    bad = stocks("B").with_columns(volume=pl.lit(-1.0))
    for day in (DAY, NEXT_DAY):
        frame = pl.concat([stocks("A"), bad]).with_columns(
            trade_date=pl.lit(day), available_at=pl.lit(published(day))
        )
        warehouse.replace(STOCK_DAY_AGGS, frame, unit(day))
    assert warehouse.read(QUARANTINE).height == 2
    warehouse.replace(STOCK_DAY_AGGS, stocks("AB"), unit())
    (left,) = warehouse.read(QUARANTINE)["unit"].to_list()
    assert "2026-11-19" in left


@pytest.mark.parametrize(
    ("frame", "named", "error"),
    [
        (stocks("A"), {"trade_date": DAY}, UnitMismatchError),
        (stocks("A"), {**unit(), "slot": DAY}, UnitMismatchError),
        (stocks("A"), {"trade_date": str(DAY), "source": FLAT}, UnitMismatchError),
        (pl.concat([stocks("A"), stocks("B", day=NEXT_DAY)]), unit(), UnitMismatchError),
        (stocks("A").with_columns(source=pl.lit(None, pl.String)), unit(), UnitMismatchError),
        (stocks("A").drop("volume"), unit(), FrameError),
        (stocks("A").with_columns(colour=pl.lit("red")), unit(), FrameError),
        (stocks("A").with_columns(volume=pl.lit("lots")), unit(), FrameError),
        (stocks(""), unit(), EmptyUnitError),
        (stocks("A").with_columns(volume=pl.lit(-1.0)), unit(), EmptyUnitError),
    ],
    ids=[
        "unit incomplete",
        "unit with more",
        "date as text",
        "row outside",
        "null outside",
        "column missing",
        "column unknown",
        "wrong type",
        "empty",
        "all bad",
    ],
)
def test_a_refused_write_leaves_everything_as_it_was(warehouse, frame, named, error):
    warehouse.replace(STOCK_DAY_AGGS, stocks("XY"), unit(), file=IngestedFile("k", "e", 7))
    before = everything(warehouse.path)
    with pytest.raises(error):
        warehouse.replace(STOCK_DAY_AGGS, frame, named)
    assert everything(warehouse.path) == before


def test_an_empty_unit_is_a_choice(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks("XY"), unit())
    result = warehouse.replace(STOCK_DAY_AGGS, stocks(""), unit(), allow_empty=True)
    assert result.rows_written == 0
    assert warehouse.read(STOCK_DAY_AGGS).is_empty()


def test_whole_numbers_are_accepted_where_reals_are_stored(warehouse):
    frame = stocks("A").with_columns(volume=pl.lit(7, pl.Int32))
    warehouse.replace(STOCK_DAY_AGGS, frame, unit())
    assert warehouse.read(STOCK_DAY_AGGS)["volume"].to_list() == [7.0]


def test_several_units_are_written_together_or_not_at_all(warehouse):
    with pytest.raises(EmptyUnitError):
        warehouse.replace_many(
            [
                Write(STOCK_DAY_AGGS, stocks("A"), unit()),
                Write(STOCK_DAY_AGGS, stocks("", day=NEXT_DAY), unit(NEXT_DAY)),
            ]
        )
    assert warehouse.read(STOCK_DAY_AGGS).is_empty()
    results = warehouse.replace_many(
        [
            Write(STOCK_DAY_AGGS, stocks("A"), unit()),
            Write(STOCK_DAY_AGGS, stocks("AB", day=NEXT_DAY), unit(NEXT_DAY)),
        ]
    )
    assert [result.rows_written for result in results] == [1, 2]
    with pytest.raises(UnitMismatchError):
        warehouse.replace_many([Write(STOCK_DAY_AGGS, stocks("A"), unit())] * 2)


def test_slots_are_units_of_their_own(warehouse):
    slots = [datetime(2026, 11, 18, hour, tzinfo=UTC) for hour in (15, 16, 17)]
    for slot in slots:
        frame = pl.DataFrame(
            {
                "trade_date": [DAY],
                "slot": [slot],
                "ticker": ["SPY"],
                "source": ["massive_snapshot"],
                "available_at": [slot + timedelta(seconds=3)],
                "price": [600.0 + slot.hour],
                "price_at": [slot],
                "status": ["OK"],
            }
        ).cast(MARKET_LAST.polars_schema)
        warehouse.replace(
            MARKET_LAST,
            frame,
            {"trade_date": DAY, "source": "massive_snapshot", "slot": slot},
        )
    assert warehouse.read(MARKET_LAST)["price"].to_list() == [615.0, 616.0, 617.0]
    assert warehouse.latest_slot(MARKET_LAST, DAY) == slots[2]
    # The capture of 16:00 was complete three seconds later.
    assert warehouse.latest_slot(MARKET_LAST, DAY, slots[1]) == slots[0]
    known = slots[1] + timedelta(seconds=3)
    assert warehouse.latest_slot(MARKET_LAST, DAY, known) == slots[1]
    assert warehouse.latest_slot(MARKET_LAST, NEXT_DAY) is None


def test_reads_as_of_know_nothing_later_and_pick_the_best_source_known(warehouse):
    early = datetime(2026, 11, 18, 21, tzinfo=UTC)
    late = published(DAY)
    rest = stocks("AB", source=REST, close=9.0, available_at=early)
    warehouse.replace(STOCK_DAY_AGGS, rest, unit(source=REST))
    warehouse.replace(STOCK_DAY_AGGS, stocks("BC", close=12.0), unit())

    def known(moment):
        rows = warehouse.read(STOCK_DAY_AGGS, as_of=moment, columns=["ticker", "source", "close"])
        return rows.rows()

    assert known(early - timedelta(microseconds=1)) == []
    assert known(early) == [("A", REST, 9.0), ("B", REST, 9.0)]
    assert known(late) == [("A", REST, 9.0), ("B", FLAT, 12.0), ("C", FLAT, 12.0)]
    # An instant is an instant in any time zone.
    assert known(late.astimezone(ZoneInfo("America/New_York"))) == known(late)
    # A source that was asked for is what is given.
    asked = warehouse.read(STOCK_DAY_AGGS, as_of=late, where={"source": REST})
    assert asked["ticker"].to_list() == ["A", "B"]


def test_as_of_is_refused_where_nobody_knows_when_rows_were_known(warehouse):
    with pytest.raises(NoAvailabilityError, match="ingested_files"):
        warehouse.read(INGESTED_FILES, as_of=published(DAY))
    with pytest.raises(FrameError, match="naive"):
        warehouse.read(STOCK_DAY_AGGS, as_of=datetime(2026, 11, 18))


def test_reads_by_range_value_and_collection(warehouse):
    days = [date(2026, 11, day) for day in (16, 17, 18, 19)]
    for day in reversed(days):
        warehouse.replace(STOCK_DAY_AGGS, stocks("BAC", day=day), unit(day))
    two = warehouse.read(
        STOCK_DAY_AGGS,
        first=days[1],
        last=days[2],
        where={"ticker": {"A", "C"}, "transactions": None},
        columns=["ticker", "trade_date"],
    )
    # Sorted by key whatever the order of writing, and whichever columns are asked for.
    assert two.rows() == [("A", days[1]), ("C", days[1]), ("A", days[2]), ("C", days[2])]
    assert warehouse.read(STOCK_DAY_AGGS, where={"ticker": []}).is_empty()
    assert warehouse.read(STOCK_DAY_AGGS, last=days[0])["ticker"].to_list() == ["A", "B", "C"]
    with pytest.raises(FrameError, match="colour"):
        warehouse.read(STOCK_DAY_AGGS, where={"colour": "red"})
    with pytest.raises(FrameError, match="colour"):
        warehouse.read(STOCK_DAY_AGGS, columns=["colour"])


def test_values_are_bound_never_pasted(warehouse):
    warehouse.replace(STOCK_DAY_AGGS, stocks(["A'; DROP TABLE stock_day_aggs; --"]), unit())
    name = "A'; DROP TABLE stock_day_aggs; --"
    assert warehouse.read(STOCK_DAY_AGGS, where={"ticker": name}).height == 1
    sql = "SELECT close FROM stock_day_aggs WHERE ticker = $ticker"
    assert warehouse.query(sql, {"ticker": name}).item() == 10.0
    assert warehouse.query("SELECT close FROM stock_day_aggs WHERE ticker = ?", [name]).height == 1


def test_a_query_cannot_write_nor_reach_other_files(warehouse, tmp_path):
    warehouse.replace(STOCK_DAY_AGGS, stocks("A"), unit())
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    for sql in (
        "DELETE FROM stock_day_aggs",
        f"SELECT * FROM read_csv('{other}')",
        f"COPY stock_day_aggs TO '{tmp_path / 'out.csv'}'",
    ):
        with pytest.raises(duckdb.Error):
            warehouse.query(sql)
    assert warehouse.read(STOCK_DAY_AGGS).height == 1


def test_the_vendor_file_is_remembered_with_the_rows_it_gave(warehouse):
    frame = pl.concat([stocks("AAB"), stocks("C").with_columns(volume=pl.lit(-1.0))])
    warehouse.replace(STOCK_DAY_AGGS, frame, unit(), file=IngestedFile("a/b.csv.gz", "tag", 99))
    (file,) = warehouse.ingested_files(STOCK_DAY_AGGS)
    assert file == IngestedFile(
        object_key="a/b.csv.gz",
        etag="tag",
        size_bytes=99,
        source=FLAT,
        trade_date=DAY,
        table_name="stock_day_aggs",
        rows_read=4,
        rows_kept=2,
        rows_quarantined=1,
        rows_collapsed=1,
    )
    warehouse.replace(
        STOCK_DAY_AGGS,
        stocks("A", day=NEXT_DAY),
        unit(NEXT_DAY),
        file=IngestedFile("c.csv.gz", "new", 1),
    )
    found = warehouse.ingested_files(STOCK_DAY_AGGS, DAY, NEXT_DAY)
    assert [file.etag for file in found] == ["tag", "new"]
    # Another feed's rows leave the file's identity alone.
    warehouse.replace(STOCK_DAY_AGGS, stocks("A", source=REST), unit(source=REST))
    assert len(warehouse.ingested_files(STOCK_DAY_AGGS)) == 2
    # Rows that did not come from the file do not claim to.
    warehouse.replace(STOCK_DAY_AGGS, stocks("A"), unit())
    assert [file.etag for file in warehouse.ingested_files(STOCK_DAY_AGGS)] == ["new"]


def test_the_ledger_only_grows(warehouse):
    now = datetime(2026, 11, 18, tzinfo=UTC)
    event = {
        "event_id": "1",
        "effective_at": now,
        "recorded_at": now,
        "actor": "me",
        "kind": "universe_enabled",
        "payload": "{}",
    }
    events = pl.DataFrame([event, {**event, "event_id": "2"}, event])
    assert warehouse.append_events(events) == 2
    assert warehouse.append_events(events.with_columns(actor=pl.lit("you"))) == 0
    assert warehouse.read(LEDGER)["actor"].to_list() == ["me", "me"]
    with pytest.raises(FrameError):
        warehouse.append_events(
            pl.DataFrame([{**event, "event_id": "3"}, {**event, "event_id": "4", "actor": None}])
        )
    with pytest.raises(AppendOnlyError):
        warehouse.replace(LEDGER, LEDGER.empty(), {"event_id": "1"}, allow_empty=True)
    assert warehouse.read(LEDGER).height == 2


def test_a_connection_within_a_connection_is_an_error_not_a_deadlock(warehouse):
    with (
        warehouse.connection(read_only=True),
        pytest.raises(TurnError, match="already holds"),
    ):
        warehouse.read(STOCK_DAY_AGGS)
    # Another object on the same file is the same file.
    with (
        warehouse.connection(read_only=False),
        pytest.raises(TurnError),
    ):
        Warehouse(warehouse.path).read(STOCK_DAY_AGGS)
    assert warehouse.read(STOCK_DAY_AGGS).is_empty()


def test_nothing_is_opened_before_the_first_use(tmp_path):
    Warehouse(tmp_path / "never" / "x.duckdb")
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize("name", ["memory.duckdb", "select.duckdb", "a b'c\".duckdb"])
def test_any_file_name_will_do(tmp_path, name):
    warehouse = Warehouse(tmp_path / name)
    warehouse.replace(STOCK_DAY_AGGS, stocks("A"), unit())
    assert warehouse.read(STOCK_DAY_AGGS).height == 1
