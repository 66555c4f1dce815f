"""Random frames against a slow twin that knows no polars, and the hash of what was written."""

import math
from collections import Counter
from datetime import UTC, date, datetime

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tracker_dagster.schemas.base import INSTANT, Kind, Table
from tracker_dagster.schemas.registry import TABLES
from tracker_dagster.warehouse import Warehouse
from tracker_dagster.warehouse.content import content_hash
from tracker_dagster.warehouse.units import Write, prepare, prepare_all

DAY, NEXT_DAY, LATER = (date(2026, 11, day) for day in (18, 19, 20))


class Trades(dy.Schema):
    trade_date = dy.Date(primary_key=True)
    name = dy.String(primary_key=True)
    lot = dy.Int64(primary_key=True)
    price = dy.Float64(nullable=True, min_exclusive=0)
    note = dy.String(nullable=True)

    @dy.rule()
    def whole(cls) -> pl.Expr:
        """Lots are priced, or explained."""
        return pl.col("price").is_not_null() | pl.col("note").is_not_null()


TRADES = Table("trades", Trades, ("trade_date",), Kind.MARKET, "For the test.")
MADE_UP = {
    **{name: TABLES[name] for name in ("quarantine", "ingested_files")},
    "trades": TRADES,
}

rows = st.lists(
    st.tuples(
        st.sampled_from(["A", "B", "É", "a", None]),
        st.sampled_from([1, 2, -3, None]),
        st.sampled_from([1.5, 2.5, -1.0, 0.0, math.nan, math.inf, None]),
        st.sampled_from(["x", "", None]),
    ),
    max_size=25,
)


def twin(given_rows):
    """Written rows in order, quarantined rows by (rule, row), collapsed count: rule by rule."""
    once, collapsed = [], 0
    for row in given_rows:
        if repr(row) in map(repr, once):
            collapsed += 1
        else:
            once.append(row)
    keys = Counter(row[:2] for row in once)
    written, aside = [], Counter()
    for row in once:
        name, lot, price, note = row
        broken = set()
        if keys[name, lot] > 1:
            broken.add("conflicting_duplicate")
        if name is None:
            broken.add("name|nullability")
        if lot is None:
            broken.add("lot|nullability")
        if price is None and note is None:
            broken.add("whole")
        if price is not None and math.isnan(price):
            broken.add("price|nan")
        elif price is not None and math.isinf(price):
            broken.add("price|inf")
        elif price is not None and price <= 0:
            broken.add("price|min_exclusive")
        for rule in broken:
            aside[rule] += 1
        if not broken:
            written.append(row)
    bad = len(once) - len(written)
    return sorted(written, key=lambda row: (row[0].encode(), row[1])), aside, bad, collapsed


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return Warehouse(tmp_path_factory.mktemp("twin") / "x.duckdb", tables=MADE_UP)


@given(given_rows=rows, rejected=st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_every_row_is_accounted_for_as_the_twin_has_it(shared, given_rows, rejected):
    frame = pl.DataFrame(
        [(DAY, *row) for row in given_rows], schema=TRADES.polars_schema, orient="row"
    )
    unread = pl.DataFrame({"raw": ["?"] * rejected, "reason": ["unreadable"] * rejected},
                          schema={"raw": pl.String, "reason": pl.String})  # fmt: skip
    result = shared.replace(TRADES, frame, {"trade_date": DAY}, rejected=unread, allow_empty=True)
    written, aside, bad, collapsed = twin(given_rows)
    aside["unreadable"] += rejected
    assert result.rows_read == len(given_rows) + rejected
    assert result.rows_read == (
        result.rows_written + result.rows_quarantined + result.rows_collapsed
    )
    assert result.rows_collapsed == collapsed
    assert result.rows_quarantined == bad + rejected
    assert result.rules == +aside
    stored = shared.read(TRADES, columns=["name", "lot", "price", "note"])
    assert stored.rows() == written
    in_quarantine = shared.query("SELECT rule, count(*) AS n FROM quarantine GROUP BY rule")
    assert dict(in_quarantine.iter_rows()) == +aside


@given(units=st.lists(rows, min_size=2, max_size=3))
@settings(max_examples=40, deadline=None)
def test_units_written_at_once_become_what_each_becomes_alone(units):
    """Units of one table are judged together; a row must not tell."""
    writes = [
        Write(
            TRADES,
            pl.DataFrame([(day, *row) for row in given_rows], TRADES.polars_schema, orient="row"),
            {"trade_date": day},
            allow_empty=True,
        )
        for given_rows, day in zip(units, (DAY, NEXT_DAY, LATER), strict=False)
    ]
    together, alone = prepare_all(writes), [prepare(write) for write in writes]
    assert [each.result for each in together] == [each.result for each in alone]
    for one, other in zip(together, alone, strict=True):
        assert_frame_equal(one.rows, other.rows)
        assert_frame_equal(one.quarantine, other.quarantine)


VALUES = pl.DataFrame(
    {
        "text": ["a", None, "", "ab", "Ω" * 30],
        "whole": [1, None, 0, -1, 2**40],
        "real": [0.1, None, 0.0, -1.5, 1e300],
        "yes": [True, None, False, True, False],
        "day": [DAY, None, DAY, DAY, DAY],
        "at": [datetime(2026, 1, 1, tzinfo=UTC), None, None, None, None],
    },
    schema_overrides={"at": INSTANT},
)


def test_a_content_hash_is_the_same_in_every_version():
    # Frozen on purpose: a change here makes every stored data version look new.
    assert content_hash(VALUES, label="t") == FROZEN


FROZEN = "3af4fd27b70a4fdfc41ecc4112180c1fd237f66093f8f0088dae4b23740d9e25"


def test_a_content_hash_does_not_depend_on_how_the_frame_lies_in_memory():
    apart = pl.concat([VALUES.head(2), VALUES.tail(3)], rechunk=False)
    assert content_hash(apart, label="t") == content_hash(VALUES, label="t")
    sliced = pl.concat([VALUES, VALUES])[5:]
    assert content_hash(sliced, label="t") == content_hash(VALUES, label="t")


@pytest.mark.parametrize("name", VALUES.columns)
def test_a_content_hash_sees_every_value(name):
    reference = content_hash(VALUES, label="t")
    column = VALUES[name]
    seen = {reference, content_hash(VALUES, label="u"), content_hash(VALUES.drop(name), label="t")}
    for position in range(VALUES.height):
        changed = column.to_list()
        changed[position] = column[0] if position else column[1]
        seen.add(
            content_hash(VALUES.with_columns(pl.Series(name, changed, column.dtype)), label="t")
        )
    distinct_changes = sum(
        value != replacement
        for value, replacement in zip(
            column, [column[1], *[column[0]] * (VALUES.height - 1)], strict=True
        )
    )
    # Of each change another hash, beside the three of before.
    assert len(seen) == 3 + distinct_changes


def test_text_cannot_move_between_rows_unseen():
    left = pl.DataFrame({"a": ["ab", "c"]})
    right = pl.DataFrame({"a": ["a", "bc"]})
    assert content_hash(left, label="t") != content_hash(right, label="t")


def test_a_null_is_not_a_zero():
    for null, zero in (
        ([None, 1], [0, 1]),
        ([None, "x"], ["", "x"]),
        ([None, True], [False, True]),
    ):
        left, right = pl.DataFrame({"a": null}), pl.DataFrame({"a": zero})
        assert content_hash(left, label="t") != content_hash(right, label="t")
