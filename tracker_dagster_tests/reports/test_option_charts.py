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


def test_a_chain_of_thousands_of_contracts_is_told_apart_by_eye() -> None:
    # A strike a dollar from 200 to 1,200, the gamma of which lies within some 3 % of the price.
    rows = [
        {"right": right, "strike": float(strike), "open_interest": 100,
         "gamma": 0.02 * np.exp(-(((strike - 690) / 10) ** 2) / 2), "spot": 690.0}
        for strike in range(200, 1201)
        for right in "CP"
    ]  # fmt: skip
    chain = contracts(rows, root="SPY", implied_volatility=0.1)
    (row,) = gamma_exposure(chain).to_dicts()
    shown = pixels(
        gamma_profile_chart(gamma_by_strike(chain), row, gamma_profile(chain_book(chain)), "SPY")
    )
    # The bars of calls along a line a little above zero, where the tallest stand.
    green = np.abs(shown[..., :3] - np.array([0x2F, 0x8F, 0x6B]) / 255).max(axis=2) < 0.02
    line = green[: int(np.flatnonzero(green[:300].any(axis=1)).max()) - 30]
    across = line[-1]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], across.astype(int), [0]])))
    widths = edges[1::2] - edges[::2]
    # All but the one that the line of spot cuts.
    assert np.median(widths) >= 5
    assert 10 <= widths.size <= 80
    assert across.nonzero()[0].max() - across.nonzero()[0].min() > 0.3 * shown.shape[1]


def test_strikes_that_share_a_bar_add_up() -> None:
    # Twenty cents apart there is no telling them from one; the sum is the same picture.
    far = [{"right": "C", "strike": strike, "open_interest": 500} for strike in (60.0, 60.2, 140.0)]
    near = [{"right": "C", "strike": 100.0 + n / 5, "open_interest": 100} for n in (-1, 0, 1)]
    one = [{"right": "C", "strike": 100.0, "open_interest": 300}]
    (row,) = gamma_exposure(contracts(far + one)).to_dicts()
    apart, together = (
        gamma_profile_chart(gamma_by_strike(contracts(far + some)), row, PROFILE.clear(), "AAPL")
        for some in (near, one)
    )
    assert np.array_equal(pixels(apart), pixels(together))


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
