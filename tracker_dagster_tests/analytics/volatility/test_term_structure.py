"""Rows of iv_term_structure from surfaces and chains that are known."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.integrate import quad

from tracker_dagster.analytics.pricing import implied_volatility
from tracker_dagster.analytics.volatility.surface import surface_rows
from tracker_dagster.analytics.volatility.term_structure import NOT_ONE_MOMENT, term_structure_rows
from tracker_dagster.schemas.surface import IV_TERM_STRUCTURE
from tracker_dagster_tests.analytics.volatility.smiles import (
    DAY,
    MOMENT,
    WHITE_PAPER_FORWARDS,
    black_call,
    contracts,
    equity,
    only,
    white_paper,
)

#: Volatility at the forward by days to expiry.
RISING = {9: 0.20, 23: 0.22, 37: 0.24, 65: 0.25, 93: 0.27}


def chain(levels=RISING, **options):
    return pl.concat(
        contracts(equity(level, days / 365), days, **options) for days, level in levels.items()
    )


def row_of(frame, *, is_quoted=True):
    surface = surface_rows(frame)
    row = only(term_structure_rows(surface, frame, is_quoted=is_quoted))
    stored = IV_TERM_STRUCTURE.conform(
        pl.DataFrame([row], schema_overrides={"available_at": pl.Datetime("us", "UTC")}),
        trade_date=DAY, basis="snapshot", slot=MOMENT,
    )  # fmt: skip
    _, failures = IV_TERM_STRUCTURE.schema.filter(stored)
    assert not len(failures), failures.counts()
    return row


def between(days, one, other):
    (t1, v1), (t2, v2) = one, other
    w = v1**2 * t1 + (v2**2 * t2 - v1**2 * t1) * (days - t1) / (t2 - t1)
    return math.sqrt(w / days)


def test_fixed_terms_of_a_known_surface() -> None:
    row = row_of(chain())
    assert row["expiries_count"] == 5
    assert row["spot"] == 100
    assert row["available_at"] == MOMENT
    assert row["iv_14d"] == pytest.approx(between(14, (9, 0.20), (23, 0.22)), abs=1e-6)
    assert row["iv_30d"] == pytest.approx(between(30, (23, 0.22), (37, 0.24)), abs=1e-6)
    assert row["iv_60d"] == pytest.approx(between(60, (37, 0.24), (65, 0.25)), abs=1e-6)
    assert row["iv_90d"] == pytest.approx(between(90, (65, 0.25), (93, 0.27)), abs=1e-6)
    assert row["slope_30_90"] == pytest.approx(row["iv_90d"] / row["iv_30d"] - 1)
    assert row["structure"] == "contango"
    surface = surface_rows(chain()).sort("years")
    near, far = surface.row(1, named=True), surface.row(2, named=True)
    put, call = (between(30, (23, near[side]), (37, far[side])) for side in ("put_25d", "call_25d"))
    assert row["skew_25d_30d"] == pytest.approx(put - call)


def test_terms_beyond_the_expiries_are_missing_and_say_why() -> None:
    row = row_of(chain())
    assert (row["iv_7d"], row["iv_180d"], row["iv_365d"]) == (None, None, None)
    reasons = dict(part.split(": ", 1) for part in row["missing"].split("; "))
    assert reasons["iv_7d"] == "the first expiry that has one is 9.0 days ahead"
    assert reasons["iv_180d"] == "the last expiry that has one is 93.0 days ahead"
    missing = {name for name, value in row.items() if value is None} - {"missing"}
    assert set(reasons) == missing


def test_labels_follow_the_slope() -> None:
    falling = {days: 0.5 - days / 500 for days in RISING}
    assert row_of(chain(falling))["structure"] == "backwardation"
    level = dict.fromkeys(RISING, 0.3)
    assert row_of(chain(level))["structure"] == "flat"
    short = row_of(chain({9: 0.2, 40: 0.2}))
    assert (short["slope_30_90"], short["structure"]) == (None, None)
    assert "slope_30_90: iv_30d or iv_90d is missing" in short["missing"]


def test_an_expiry_without_a_volatility_is_as_if_it_were_not_there() -> None:
    frame = chain()
    days = pl.col("years") * 365
    silent = frame.with_columns(
        vendor_volatility=pl.when(days.round() == 37).then(0.9).otherwise("vendor_volatility")
    )
    row = row_of(silent)
    assert row["expiries_count"] == 4
    assert row["iv_30d"] == pytest.approx(between(30, (23, 0.22), (65, 0.25)), abs=1e-6)


def test_a_skew_is_taken_between_expiries_that_have_both_wings() -> None:
    """37 days out calls are quoted near the forward alone: its puts must not be used either."""
    strikes = 100 * np.exp(np.linspace(-0.25, 0.01, 25))
    frame = pl.concat(
        [
            chain({23: 0.22, 65: 0.25}),
            contracts(equity(0.24, 37 / 365), 37, strikes=strikes),
        ]
    )
    surface = surface_rows(frame).sort("years")
    assert surface["put_25d"].null_count() == 0
    assert surface["call_25d"].is_null().to_list() == [False, True, False]
    near, _, far = surface.to_dicts()
    put, call = (between(30, (23, near[side]), (65, far[side])) for side in ("put_25d", "call_25d"))
    assert row_of(frame)["skew_25d_30d"] == pytest.approx(put - call)


def dense(level, days, **options):
    deviation = level * math.sqrt(days / 365)
    strikes = 100 * np.exp(np.arange(-7, 5, 0.1) * deviation)
    return contracts(equity(level, days / 365, eta=0.5), days, strikes=strikes, **options)


def test_the_chains_index_is_the_variance_of_its_smile() -> None:
    """Against the log contract of the true smile, by quadrature."""
    frame = pl.concat([dense(0.22, 23), dense(0.24, 37)])
    row = row_of(frame)
    true = {}
    for days, level in ((23, 0.22), (37, 0.24)):
        smile = equity(level, days / 365, eta=0.5)

        def strip(k, smile=smile):
            call = float(black_call(k, smile(k)))
            return (call if k > 0 else call - 1 + math.exp(k)) * math.exp(-k)

        variance = 2 * sum(quad(strip, *span, limit=400)[0] for span in ((-4, 0), (0, 4)))
        true[days] = math.sqrt(variance / (days / 365))
    expected = between(30, (23, true[23]), (37, true[37]))
    assert row["model_free_30d"] == pytest.approx(expected, rel=5e-3)
    assert row["model_free_30d"] > row["iv_30d"]


def test_an_index_that_its_strikes_would_distort_is_not_given() -> None:
    row = row_of(chain())
    assert row["model_free_30d"] is None
    assert "its strikes miss the variance of their own smile by" in row["missing"]


def test_an_index_passes_over_an_expiry_without_a_smile() -> None:
    pair = [dense(0.22, 23), dense(0.24, 37)]
    bare = contracts(equity(0.3, 30 / 365), 30, strikes=[90.0])
    assert (
        row_of(pl.concat([*pair, bare]))["model_free_30d"]
        == row_of(pl.concat(pair))["model_free_30d"]
    )


def test_an_index_is_not_made_of_the_last_trades_of_a_day() -> None:
    frame = pl.concat([dense(0.22, 23), dense(0.24, 37)])
    row = row_of(frame, is_quoted=False)
    assert row["model_free_30d"] is None
    assert f"model_free_30d: {NOT_ONE_MOMENT}" in row["missing"]


def test_an_index_is_not_made_of_expiries_nearer_than_a_week() -> None:
    row = row_of(pl.concat([dense(0.22, 5), dense(0.24, 37)]))
    assert row["iv_30d"] is not None
    assert row["model_free_30d"] is None
    assert "model_free_30d: the first expiry that has one is 37.0 days ahead" in row["missing"]


def test_underlyings_do_not_mix() -> None:
    mine, other = chain(), chain({9: 0.5, 93: 0.9}, underlying="BBB")
    both = pl.concat([other, mine])
    rows = term_structure_rows(surface_rows(both), both, is_quoted=True)
    assert rows["underlying"].to_list() == ["AAA", "BBB"]
    alone = term_structure_rows(surface_rows(mine), mine, is_quoted=True)
    assert_frame_equal(rows.head(1), alone)


def test_no_surface_has_no_term_structure() -> None:
    rows = term_structure_rows(surface_rows(chain().clear()), chain().clear(), is_quoted=True)
    assert rows.is_empty()


def white_paper_chain():
    """The SPX quotes of the Cboe's white paper as option_greeks would have them."""
    frames = []
    for days, quotes in white_paper().group_by("days", maintain_order=True):
        years, forward = days[0] / 365, WHITE_PAPER_FORWARDS[days[0]]
        growth = math.exp(0.0038 * years)
        for right, side in (("C", "call"), ("P", "put")):
            bid, ask = (quotes[f"{side}_{part}"].to_numpy() for part in ("bid", "ask"))
            strike = quotes["strike"].to_numpy()
            volatility = {
                name: implied_volatility(
                    growth * value, forward, strike, years, 0.0, 0.0, right == "C"
                ).volatility
                for name, value in (
                    ("bid_volatility", bid),
                    ("implied_volatility", (bid + ask) / 2),
                    ("ask_volatility", ask),
                )
            }
            known = (bid > 0) & np.isfinite(volatility["implied_volatility"])
            chain = contracts(
                equity(0.5, years), days[0], strikes=strike, forward=forward, underlying="SPX",
                root="SPXW", vendor_off=None,
            )  # fmt: skip
            frames.append(
                chain.filter(pl.col("right") == right).with_columns(
                    *(
                        pl.Series(name, np.where(known, column, np.nan), nan_to_null=True)
                        for name, column in volatility.items()
                    ),
                    pl.Series("status", np.where(known, "OK", "NO_QUOTE")),
                )
            )
    return pl.concat(frames)


def test_quotes_of_the_crisis_of_2009_are_fitted_and_give_the_cboes_index() -> None:
    """Real quotes, all the way: 61.218 by the white paper's own arithmetic."""
    frame = white_paper_chain()
    surface = surface_rows(frame)
    assert surface["status"].to_list() == ["OK", "OK"]
    assert surface["within_quotes"].min() > 0.9
    assert surface["calendar_free"].to_list() == [None, True]
    assert row_of(frame)["model_free_30d"] == pytest.approx(0.61218, abs=1e-5)
