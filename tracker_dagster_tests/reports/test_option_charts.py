"""The gamma profile: a real picture that shows each level, and says when there is none."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.gamma_exposure import (
    chain_book,
    gamma_by_strike,
    gamma_exposure,
    gamma_profile,
)
from tracker_dagster.reports.option_charts import gamma_profile_chart
from tracker_dagster_tests.analytics.gamma_exposure.chains import contracts, random_chain
from tracker_dagster_tests.reports.test_charts import pixels

CHAIN = random_chain(3, 300)
(ROW,) = gamma_exposure(CHAIN).to_dicts()
PROFILE = gamma_profile(chain_book(CHAIN))


def draw(chain: pl.DataFrame = CHAIN, profile: pl.DataFrame = PROFILE, **levels: object) -> str:
    return gamma_profile_chart(gamma_by_strike(chain), {**ROW, **levels}, profile, "AAPL")


def test_the_picture_is_small_and_repeatable() -> None:
    once = draw()
    assert len(once) < 60_000
    assert draw() == once
    assert pixels(once).shape[:2] == (360, 840)


@pytest.mark.parametrize("level", ["gamma_flip", "call_wall", "put_wall"])
def test_every_level_is_drawn_where_it_is(level: str) -> None:
    assert ROW[level] is not None
    shown = pixels(draw())
    without, elsewhere = pixels(draw(**{level: None})), pixels(draw(**{level: ROW[level] * 1.02}))
    assert not np.array_equal(shown, without)
    assert not np.array_equal(shown, elsewhere)
    # A level beyond the axis is left out, not squeezed in.
    assert np.array_equal(without, pixels(draw(**{level: ROW[level] * 3})))


def test_expiries_are_added_up() -> None:
    twice = pl.concat([CHAIN, CHAIN.with_columns(pl.col("expiry") + timedelta(days=700))])
    higher = CHAIN.with_columns(pl.col("open_interest") * 2)
    assert np.array_equal(pixels(draw(twice)), pixels(draw(higher)))
    assert not np.array_equal(pixels(draw(twice)), pixels(draw()))


def test_without_a_profile_the_strikes_are_drawn_all_the_same() -> None:
    shown = pixels(draw(profile=PROFILE.clear()))
    assert not np.array_equal(shown, pixels(draw()))
    assert np.unique(shown.reshape(-1, shown.shape[-1]), axis=0).shape[0] > 20


def test_one_strike_is_a_picture_too() -> None:
    one = contracts([{"right": "C", "strike": 100.0, "open_interest": 3}])
    (row,) = gamma_exposure(one).to_dicts()
    chart = gamma_profile_chart(gamma_by_strike(one), row, gamma_profile(chain_book(one)), "AAPL")
    assert pixels(chart).shape[:2] == (360, 840)


def test_no_rows_draw_a_picture_that_says_so() -> None:
    empty = pixels(draw(CHAIN.clear(), PROFILE.clear()))
    assert (empty[..., :3] < 0.5).any()
    nowhere = pixels(draw(CHAIN.clear(), PROFILE.clear(), spot=None))
    assert np.array_equal(empty, nowhere)
