"""Open interest between captures and sources: steady in a session, renewed by the next."""

from __future__ import annotations

import polars as pl

from tracker_dagster.analytics.gamma_exposure import (
    contradicted,
    interest_changes,
    not_renewed,
    unsteady,
)


def capture(figures: dict[str, int | None], underlying: str = "AAPL") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "underlying": [underlying] * len(figures),
            "symbol": list(figures),
            "open_interest": list(figures.values()),
        },
        schema={"underlying": pl.String, "symbol": pl.String, "open_interest": pl.Int64},
    )


def test_changes_are_counted_over_what_both_captures_have() -> None:
    earlier = pl.concat([capture({"a": 1, "b": 2, "c": None, "d": 4}), capture({"x": 5}, "UBER")])
    now = pl.concat([capture({"a": 1, "b": 3, "c": 9, "e": 1}), capture({"x": 5}, "UBER")])
    changes = interest_changes(earlier, now)
    assert changes.rows() == [("AAPL", 2, 1), ("UBER", 1, 0)]
    assert unsteady(changes) == {"AAPL": 1}


def test_a_contract_counts_once_over_many_slots() -> None:
    earlier = pl.concat([capture({"a": 1}), capture({"a": 2}), capture({"a": 3})])
    assert interest_changes(earlier, capture({"a": 3})).rows() == [("AAPL", 1, 1)]


def test_figures_that_are_all_the_last_sessions_were_not_renewed() -> None:
    old = {f"s{n}": n for n in range(60)}
    moved = {**old, "s7": 8}
    stale = interest_changes(capture(old), capture(old))
    assert not_renewed(stale) == {"AAPL": 60}
    assert not_renewed(interest_changes(capture(old), capture(moved))) == {}
    # A handful of contracts may well stand still.
    few = dict(list(old.items())[:49])
    assert not_renewed(interest_changes(capture(few), capture(few))) == {}


def test_two_sources_of_one_session_may_differ_in_one_contract_of_a_hundred() -> None:
    captured = capture({f"s{n}": n for n in range(200)})
    for differing, told in ((0, {}), (2, {}), (3, {"AAPL": "3 of 200"})):
        theirs = capture({f"s{n}": n + (n < differing) for n in range(300)})
        assert contradicted(interest_changes(captured, theirs)) == told
    # A contract that only one of them has contradicts nothing.
    assert contradicted(interest_changes(captured, capture({"other": 5}))) == {}
