"""Walls and max pain against slow twins that try every strike, ties included."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker_dagster.analytics.gamma_exposure import gamma_by_expiry, gamma_exposure
from tracker_dagster_tests.analytics.gamma_exposure.chains import EXPIRY, contracts, random_chain

#: (strike, open calls, open puts)
BOARDS = st.lists(
    st.tuples(
        st.integers(150, 260).map(lambda half: half / 2),
        st.integers(0, 40),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[0],
)


def board(rows, **same) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    return contracts(
        (
            {"right": right, "strike": strike, "open_interest": interest}
            for strike, calls, puts in rows
            for right, interest in (("C", calls), ("P", puts))
        ),
        **same,
    )


def paid(rows, settlement: float) -> float:  # type: ignore[no-untyped-def]
    return sum(
        calls * max(settlement - strike, 0) + puts * max(strike - settlement, 0)
        for strike, calls, puts in rows
    )


@settings(max_examples=150, deadline=None)
@given(BOARDS)
def test_max_pain_is_the_strike_that_pays_least(rows) -> None:  # type: ignore[no-untyped-def]
    spot = 100.0
    held = [row for row in rows if row[1] or row[2]]
    (got,) = gamma_exposure(board(rows))["max_pain"]
    if not held:
        assert got is None
        return
    # Half-dollar strikes are exact in binary, so equal pay is equal here too.
    expected = min((paid(held, row[0]), abs(row[0] - spot), row[0]) for row in held)
    assert got == expected[2]
    # No price between the strikes would pay less.
    assert paid(held, got) <= min(paid(held, price / 4) for price in range(280, 540)) + 1e-9


def test_max_pain_worked_by_hand() -> None:
    # At 95: 20 x 5 + 10 x 10 = 200 to puts. At 100: 30 x 5 to calls + 10 x 5 = 200: a tie.
    # At 105: 30 x 10 + 5 x 5 = 325. The nearer to the spot is taken.
    rows = [(95.0, 30, 0), (100.0, 5, 20), (105.0, 0, 10)]
    assert [paid(rows, strike) for strike in (95, 100, 105)] == [200, 200, 325]
    assert gamma_exposure(board(rows, spot=97.4))["max_pain"].to_list() == [95]
    assert gamma_exposure(board(rows, spot=97.6))["max_pain"].to_list() == [100]
    assert gamma_exposure(board(rows, spot=97.5))["max_pain"].to_list() == [95]


def test_max_pain_of_an_expiry_and_of_all() -> None:
    later = EXPIRY.replace(month=7, day=17)
    near = [(90.0, 50, 0), (110.0, 0, 5)]
    far = [(105.0, 0, 90), (120.0, 10, 0)]
    both = pl.concat([board(near), board(far, expiry=later)])
    by_expiry = dict(gamma_by_expiry(both).select("expiry", "max_pain").iter_rows())
    assert by_expiry == {EXPIRY: 90, later: 105}
    every = near + far
    best = min((row[0] for row in every), key=lambda strike: paid(every, strike))
    assert gamma_exposure(both)["max_pain"].to_list() == [best]


def test_max_pain_of_unlike_strikes_is_exact() -> None:
    # 0.1 + 0.2 is not 0.3: pay is counted in thousandths of a dollar.
    rows = [(10.1, 7, 3), (10.2, 4, 4), (10.3, 3, 7)]
    assert gamma_exposure(board(rows, spot=10.2))["max_pain"].to_list() == [10.2]


@pytest.mark.parametrize("seed", range(4))
def test_walls_are_the_strikes_with_most_gamma(seed: int) -> None:
    rows = random_chain(seed, 150)
    sums: dict[tuple, float] = {}
    for row in rows.iter_rows(named=True):
        for key in (("C", row["strike"]), ("P", row["strike"])):
            sums.setdefault(key, 0.0)
        sums[(row["right"], row["strike"])] += row["gamma"] * row["open_interest"]
    (got,) = gamma_exposure(rows).to_dicts()
    strikes = sorted({strike for _, strike in sums})
    assert got["call_wall"] == max(strikes, key=lambda strike: sums["C", strike])
    assert got["put_wall"] == max(strikes, key=lambda strike: sums["P", strike])
    assert got["net_wall"] == max(
        strikes, key=lambda strike: abs(sums["C", strike] - sums["P", strike])
    )


def test_equal_walls_are_the_outer_strikes() -> None:
    # Sums in another order differ in the last digit; they are equal all the same.
    rows = [(95.0, 3, 3), (100.0, 3, 3), (105.0, 3, 3)]
    frame = board(rows).with_columns(
        gamma=pl.when(pl.col("strike") == 100).then(0.1 + 0.2).otherwise(0.3)
    )
    (got,) = gamma_exposure(frame).to_dicts()
    assert (got["call_wall"], got["put_wall"]) == (105, 95)
    assert got["net_wall"] is None, "calls and puts cancel at every strike"


def test_without_puts_there_is_no_put_wall() -> None:
    (got,) = gamma_exposure(board([(100.0, 5, 0), (105.0, 7, 0)])).to_dicts()
    assert (got["call_wall"], got["put_wall"]) == (105, None)
