"""Forwards implied by quotes: known ones are found, and what quotes cannot say is not said."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.forwards import implied_forwards
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.instruments import exercise_style_column, settlement_column
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster_tests.analytics.chains import (
    FLAT,
    MOMENT,
    NO_DIVIDENDS,
    RATE,
    YEARS,
    chain_of,
    curve_of_the_day_before,
    european_chain,
    normal_prices,
    only,
    quotes,
)


def test_a_forward_that_no_spot_explains_is_found():
    row = only(implied_forwards(european_chain(97.3), MOMENT, FLAT, NO_DIVIDENDS))
    assert row["years"] == pytest.approx(YEARS, rel=1e-12)
    assert row["forward_theory"] == pytest.approx(100 * np.exp(RATE * YEARS), rel=1e-12)
    assert row["forward_parity"] == pytest.approx(97.3, abs=1e-9)
    assert (row["forward"], row["forward_source"], row["reason"]) == (
        row["forward_parity"], "parity", None
    )  # fmt: skip
    assert (row["pairs_count"], row["violations_count"], row["quoted_count"]) == (10, 0, 17)
    assert 100 * np.exp((RATE - row["carry"]) * YEARS) == pytest.approx(97.3, abs=1e-9)
    assert row["rate_source"] == "treasury 2026-06-02"


def test_a_stale_quote_is_outvoted_and_counted():
    chain = european_chain(101.0)
    stale = (pl.col("strike") == 100) & (pl.col("right") == "C")
    chain = chain.with_columns(
        pl.when(stale).then(pl.col(side) + 0.9).otherwise(side).alias(side)
        for side in ("bid", "ask")
    )
    row = only(implied_forwards(chain, MOMENT, FLAT, NO_DIVIDENDS))
    assert row["forward_parity"] == pytest.approx(101.0, abs=1e-9)
    assert (row["pairs_count"], row["violations_count"]) == (9, 1)


def test_tight_quotes_count_more_than_wide_ones():
    """Half of the pairs are wide and lean to one side: the forward stays with the tight ones."""
    chain = european_chain(100.0)
    wide = (pl.col("strike") % 5 == 0) & (pl.col("right") == "C")
    chain = chain.with_columns(
        bid=pl.when(wide).then(pl.col("bid") - 0.05).otherwise("bid"),
        ask=pl.when(wide).then(pl.col("ask") + 0.25).otherwise("ask"),
    )
    row = only(implied_forwards(chain, MOMENT, FLAT, NO_DIVIDENDS))
    assert row["pairs_count"] == 10
    assert row["forward_parity"] == pytest.approx(100.0, abs=0.01)


def test_only_strikes_near_the_forward_are_asked():
    """Calls far from it are all quoted a dollar too dear, and there are more of those."""
    chain = european_chain(101.0, np.arange(40.0, 161.0, 2.5))
    far = ((pl.col("strike") - 101).abs() > 13) & (pl.col("right") == "C")
    chain = chain.with_columns(
        pl.when(far).then(pl.col(side) + 1).otherwise(side).alias(side) for side in ("bid", "ask")
    )
    row = only(implied_forwards(chain, MOMENT, FLAT, NO_DIVIDENDS))
    assert row["forward"] == pytest.approx(101.0, abs=1e-9)
    assert row["pairs_count"] == 10
    assert row["violations_count"] == row["quoted_count"] - 10


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (european_chain(101.0, [97.5, 102.5]), "needs 3 pairs that agree, has 2"),
        (european_chain(101.0, half=2.5), "too wide"),
        (european_chain(101.0, quote_status="CROSSED"), "no strike has both quotes"),
        (european_chain(101.0, is_standard=False), None),
    ],
)
def test_where_quotes_do_not_say_theory_does_and_why(chain, reason):
    dividends = pl.DataFrame({"underlying": ["SPX"], "years": [0.1], "amount": [2.0]})
    forwards = implied_forwards(chain, MOMENT, FLAT, dividends)
    if reason is None:
        assert forwards.is_empty()
        return
    row = only(forwards)
    assert row["dividends_value"] == pytest.approx(2 * np.exp(-RATE * 0.1), rel=1e-12)
    theory = (100 - row["dividends_value"]) * np.exp(RATE * YEARS)
    assert row["forward"] == row["forward_theory"] == pytest.approx(theory, rel=1e-12)
    assert (row["forward_source"], row["carry"]) == ("theory", None)
    assert reason in row["reason"]


def test_quotes_that_contradict_each_other_say_nothing():
    strikes = np.arange(90.0, 111.0, 2.0)
    calls, puts = normal_prices(100.0, strikes, YEARS)
    calls = calls + np.linspace(-3, 3, len(strikes))
    row = only(implied_forwards(quotes(calls, puts, strikes), MOMENT, FLAT, NO_DIVIDENDS))
    assert (row["forward_source"], row["forward"]) == ("theory", row["forward_theory"])
    assert "too far apart" in row["reason"]
    assert row["violations_count"] >= 9


def test_without_a_rate_there_is_no_forward():
    chain = european_chain(101.0)
    row = only(implied_forwards(chain, MOMENT, None, NO_DIVIDENDS))
    assert (row["forward"], row["forward_source"], row["rate_source"]) == (None, None, None)
    assert row["reason"] == "no rate: no curve was known"
    short = Curve(np.array([1 / 12, 0.25]), np.array([RATE, RATE]), "fallback 2024-12-31")
    row = only(implied_forwards(chain, MOMENT, short, NO_DIVIDENDS))
    assert row["reason"] == "no rate: the curve (fallback 2024-12-31) ends at 0.25 years"
    assert row["forward"] is None


def test_without_a_spot_parity_still_speaks_for_european_options():
    row = only(implied_forwards(european_chain(101.0, spot=None), MOMENT, FLAT, NO_DIVIDENDS))
    assert row["forward"] == pytest.approx(101.0, abs=1e-9)
    assert (row["forward_theory"], row["carry"]) == (None, None)
    stock = european_chain(
        101.0, spot=None, exercise_style="american", root="XYZ", underlying="XYZ"
    )
    row = only(implied_forwards(stock, MOMENT, FLAT, NO_DIVIDENDS))
    assert row["forward"] is None
    assert "no spot" in row["reason"]


def test_an_expiry_past_the_calendar_has_no_forward():
    row = only(
        implied_forwards(
            european_chain(101.0, expiry=date(2036, 1, 18)), MOMENT, FLAT, NO_DIVIDENDS
        )
    )
    assert (row["years"], row["rate"], row["forward"]) == (None, None, None)
    assert "calendar" in row["reason"]


def test_an_expiry_that_is_now_has_no_parity():
    chain = european_chain(101.0, expiry=date(2026, 6, 3))
    close = datetime(2026, 6, 3, 20, tzinfo=UTC)
    row = only(implied_forwards(chain, close, FLAT, NO_DIVIDENDS))
    assert (row["years"], row["forward"], row["forward_source"]) == (0.0, 100.0, "theory")
    assert row["reason"] == "the expiry is now"


def test_no_carry_ties_the_forward_of_an_index_that_nobody_can_hold():
    """The Cboe's volatility index stands at 100, its future at 80: theory would be far off."""
    terms = {"underlying": "VIX", "root": "VIX", "expiry": date(2026, 9, 16)}
    strikes = np.arange(60.0, 101.0, 2.5)
    years = (datetime(2026, 9, 16, 13, 30, tzinfo=UTC) - MOMENT).total_seconds() / (365 * 86_400)
    chain = quotes(*normal_prices(80.0, strikes, years), strikes, **terms)
    row = only(implied_forwards(chain, MOMENT, FLAT, NO_DIVIDENDS))
    assert (row["settlement"], row["years"]) == ("AM", pytest.approx(years, rel=1e-12))
    assert row["forward"] == pytest.approx(80.0, abs=1e-9)
    assert row["forward_theory"] is None
    assert 100 * np.exp((RATE - row["carry"]) * years) == pytest.approx(80.0, abs=1e-9)
    few = implied_forwards(chain.filter(pl.col("strike") > 97), MOMENT, FLAT, NO_DIVIDENDS)
    assert (only(few)["forward"], only(few)["forward_source"]) == (None, None)
    assert "has 2" in only(few)["reason"]


def test_morning_and_evening_settlement_of_one_day_have_their_own_forwards():
    morning = european_chain(99.0, root="SPX")
    rows = implied_forwards(
        pl.concat([european_chain(101.0), morning]), MOMENT, FLAT, NO_DIVIDENDS
    ).to_dicts()
    assert [(row["settlement"], round(row["forward"], 2)) for row in rows] == [
        ("AM", 99.0),
        ("PM", 101.0),
    ]
    # Half past nine against four o'clock.
    assert rows[1]["years"] - rows[0]["years"] == pytest.approx(6.5 / (365 * 24), rel=1e-9)


def test_the_order_of_the_rows_and_other_underlyings_change_nothing():
    one, other = (
        european_chain(101.0),
        european_chain(55.0, underlying="RUT", root="RUTW", spot=56.0),
    )
    alone = implied_forwards(one, MOMENT, FLAT, NO_DIVIDENDS)
    mixed = implied_forwards(
        pl.concat([other, one]).sample(fraction=1, shuffle=True, seed=5), MOMENT, FLAT, NO_DIVIDENDS
    )
    assert mixed.filter(pl.col("underlying") == "SPX").equals(alone)
    assert mixed["underlying"].to_list() == ["RUT", "SPX"]


def test_style_and_settlement_by_the_root_where_the_vendor_is_silent():
    frame = pl.DataFrame(
        {
            "root": ["SPX", "SPXW", "VIXW", "AAPL", "SPY", "XSP", "AAPL"],
            "exercise_style": [None, None, None, None, "american", "bermudan", "european"],
        }
    ).with_columns(settlement_column(), exercise_style_column("exercise_style"))
    assert frame["settlement"].to_list() == ["AM", "PM", "AM", "PM", "PM", "PM", "PM"]
    assert frame["style"].to_list() == [*["european"] * 3, *["american"] * 2, *["european"] * 2]


def test_forwards_of_simulated_indices_are_found_within_their_quotes():
    simulation = Simulation(9300, "small", ["SPY"], MOMENT)
    chain = chain_of(simulation, ["SPX", "NDX", "RUT"])
    rows = implied_forwards(chain, MOMENT, curve_of_the_day_before(), NO_DIVIDENDS)
    found = rows.filter(pl.col("forward_source") == "parity")
    assert found.height >= 0.9 * rows.height
    assert rows["violations_count"].sum() == 0
    years = found["years"].to_numpy()
    truth = found["spot"].to_numpy() * np.exp(interest_rate(date(2026, 6, 3), years) * years)
    error = np.abs(found["forward"].to_numpy() - truth)
    # The middle of a quote is off by a few cents; parity's mean of ten of them by less.
    assert np.median(error) < 0.02
    assert (error < 3 * found["parity_error"].to_numpy() + 0.05).all()
    # Theory is off by what the curve of the day before, rounded to a basis point, is off.
    theory = np.abs(found["forward_theory"].to_numpy() - truth)
    assert np.median(error) < np.median(theory)
    assert error.max() < theory.max()
