"""Rows of iv_surface from chains whose smiles are known, and from chains that say too little."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.optimize import brentq
from scipy.stats import norm

from tracker_dagster.analytics.contract_greeks import value_contracts
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.analytics.volatility.smile_points import smile_points
from tracker_dagster.analytics.volatility.surface import surface_rows
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.schemas.surface import DELTAS, IV_SURFACE, SLICE
from tracker_dagster.trading_calendar import session_on
from tracker_dagster_tests.analytics.volatility.smiles import (
    DAY,
    FORWARD,
    MOMENT,
    VOGT,
    contracts,
    equity,
    only,
    svi,
)

YEARS = 30 / 365
SMILE = equity()
ATM = 0.25


def stored(rows):
    """The rows as the warehouse takes them, every rule of the schema held."""
    frame = IV_SURFACE.conform(rows, trade_date=DAY, basis="snapshot", slot=MOMENT)
    good, failures = IV_SURFACE.schema.filter(frame)
    assert not len(failures), failures.counts()
    return good


def at_delta(delta, is_call, variance=SMILE, years=YEARS):
    def gap(k):
        root = np.sqrt(variance(k))
        return norm.cdf(-k / root + root / 2) - (0 if is_call else 1) - delta

    return np.sqrt(variance(brentq(gap, -0.6, 0.6)) / years)


def test_a_known_smile_is_read_off_its_quotes() -> None:
    row = only(stored(surface_rows(contracts(SMILE))))
    assert row["status"] == "OK"
    assert row["settlement"] == "PM"
    assert row["expiry"] == DAY + timedelta(days=30)
    assert row["available_at"] == MOMENT
    assert row["forward"] == FORWARD
    assert row["points_count"] == 25
    assert row["atm_volatility"] == pytest.approx(ATM, abs=1e-7)
    assert row["atm_source"] == "smile"
    assert row["within_quotes"] == 1
    assert row["fit_error"] == pytest.approx(0, abs=1e-4)
    wings = {"put_10d": -0.10, "put_25d": -0.25, "call_25d": 0.25, "call_10d": 0.10}
    for name, delta in wings.items():
        assert row[name] == pytest.approx(at_delta(delta, delta > 0), abs=1e-7), name
    assert row["skew_25d"] == pytest.approx(row["put_25d"] - row["call_25d"])
    assert row["skew_25d"] > 0.02
    assert row["butterfly_25d"] == pytest.approx(
        (row["put_25d"] + row["call_25d"]) / 2 - ATM, abs=1e-7
    )
    assert row["butterfly_free"] is True
    assert row["min_density"] > 0
    assert row["calendar_free"] is None
    assert row["vendor_gap"] == pytest.approx(0)


def test_noise_within_the_quotes_leaves_the_smile_within_them() -> None:
    chains = pl.concat(
        contracts(SMILE, noise=0.003, seed=seed, underlying=f"S{seed:02d}") for seed in range(30)
    )
    rows = stored(surface_rows(chains))
    off = (rows["atm_volatility"] - ATM).abs()
    assert off.max() < 0.003
    assert off.mean() < 0.0008
    assert rows["within_quotes"].min() > 0.9


def test_the_order_of_rows_and_what_else_is_there_change_nothing() -> None:
    mine = pl.concat(
        [contracts(SMILE, noise=0.002), contracts(equity(0.3, 60 / 365), 60, noise=0.002)]
    )
    others = contracts(equity(0.5), underlying="BBB", noise=0.004)
    alone = surface_rows(mine)
    among = surface_rows(pl.concat([others, mine]).sample(fraction=1, shuffle=True, seed=4))
    assert_frame_equal(among.filter(pl.col("underlying") == "AAA"), alone)


@pytest.mark.parametrize("place", [0, 11, 24])
def test_one_wrong_quote_changes_no_volatility_by_a_quarter_point(place) -> None:
    chain = contracts(SMILE, noise=0.002)
    strike = chain["strike"].unique().sort()[place]
    off = pl.when(pl.col("strike") == strike).then(0.12).otherwise(0.0)
    spoilt = chain.with_columns(
        pl.col("implied_volatility", "bid_volatility", "ask_volatility") + off
    )
    before, after = (only(surface_rows(frame)) for frame in (chain, spoilt))
    assert after["atm_volatility"] == pytest.approx(before["atm_volatility"], abs=0.0025)
    for name in ("put_25d", "call_25d"):
        assert after[name] == pytest.approx(before[name], abs=0.0025)
    assert after["within_quotes"] < 1


def test_narrow_quotes_count_more_than_wide_ones() -> None:
    """Every other strike is quoted a point too high, ten times as wide."""
    chain = contracts(SMILE, half_width=0.001)
    odd = pl.col("strike").is_in(chain["strike"].unique().sort()[::2].implode())
    mixed = chain.with_columns(
        implied_volatility=pl.col("implied_volatility") + pl.when(odd).then(0.01).otherwise(0.0),
        ask_volatility=pl.col("ask_volatility") + pl.when(odd).then(0.02).otherwise(0.0),
    )
    assert only(surface_rows(mixed))["atm_volatility"] == pytest.approx(ATM, abs=0.001)


def test_the_side_of_the_forward_that_is_in_the_money_says_nothing() -> None:
    chain = contracts(SMILE)
    inside = (
        pl.when(pl.col("right") == "C")
        .then(pl.col("strike") < FORWARD)
        .otherwise(pl.col("strike") > FORWARD)
    )
    nonsense = chain.with_columns(
        pl.when(inside)
        .then(pl.lit(2.0))
        .otherwise("implied_volatility")
        .alias("implied_volatility")
    )
    assert_frame_equal(surface_rows(nonsense), surface_rows(chain))


def test_adjusted_contracts_and_quotes_as_wide_as_the_volatility_are_left_out() -> None:
    chain = contracts(SMILE)
    adjusted = chain.with_columns(
        is_standard=pl.lit(False), root=pl.lit("AAA1"), implied_volatility=pl.lit(0.9)
    )
    wide = chain.with_columns(
        implied_volatility=pl.col("implied_volatility") + 0.2,
        bid_volatility=pl.lit(0.05),
        ask_volatility=pl.lit(0.85),
    )
    assert_frame_equal(surface_rows(pl.concat([chain, adjusted, wide])), surface_rows(chain))


def status_of(chain):
    row = only(stored(surface_rows(chain)))
    assert all(row[name] is None for name in (*SLICE, *DELTAS))
    return row["status"], row


def test_three_points_are_no_smile_but_still_tell_the_volatility_between_them() -> None:
    status, row = status_of(contracts(SMILE, strikes=[95, 99, 103]))
    assert status == "TOO_FEW_POINTS"
    assert row["atm_source"] == "neighbours"
    low, high = np.log(99 / FORWARD), np.log(103 / FORWARD)
    w = np.interp(0, [low, high], [SMILE(low), SMILE(high)])
    assert row["atm_volatility"] == pytest.approx(np.sqrt(w / YEARS))


def test_a_strike_at_the_forward_tells_its_volatility_alone() -> None:
    _, row = status_of(contracts(SMILE, strikes=[99, 100]))
    assert row["atm_volatility"] == pytest.approx(ATM)


def test_nothing_is_said_where_quotes_lie_on_one_side() -> None:
    status, row = status_of(contracts(SMILE, strikes=np.linspace(80, 99, 12)))
    assert status == "ONE_SIDED"
    assert row["atm_volatility"] is None
    assert row["points_count"] == 12


def test_nothing_is_said_where_no_quote_is_near_the_forward() -> None:
    """A deviation is 7.2 %: from 90 to 106 are more than two."""
    strikes = [*np.linspace(80, 90, 8), *np.linspace(106, 112, 8)]
    status, row = status_of(contracts(SMILE, strikes=strikes))
    assert status == "NOTHING_NEAR_FORWARD"
    assert row["atm_volatility"] is None


def test_without_a_forward_there_is_no_smile() -> None:
    chain = contracts(SMILE).with_columns(forward=pl.lit(None, dtype=pl.Float64))
    assert status_of(chain)[0] == "NO_FORWARD"


def test_a_chain_without_any_volatility_has_a_row_that_says_so() -> None:
    chain = contracts(SMILE).with_columns(
        status=pl.lit("NO_QUOTE"), implied_volatility=pl.lit(None, dtype=pl.Float64)
    )
    status, row = status_of(chain)
    assert (status, row["points_count"]) == ("TOO_FEW_POINTS", 0)


def test_an_expiry_that_has_passed_has_no_row() -> None:
    assert surface_rows(contracts(SMILE).with_columns(years=pl.lit(0.0))).is_empty()
    assert surface_rows(contracts(SMILE).clear()).is_empty()


def test_points_that_follow_no_smile_are_not_smoothed_over() -> None:
    rng = np.random.default_rng(2)
    chain = contracts(SMILE, vendor_off=None).with_columns(
        pl.col("implied_volatility") * np.exp(0.7 * rng.normal(size=50))
    )
    status, row = status_of(chain)
    assert status == "POOR_FIT"
    assert row["fit_error"] > 2


def test_a_vendor_that_contradicts_the_quotes_is_not_fitted() -> None:
    status, row = status_of(contracts(SMILE, vendor_off=0.05))
    assert status == "CHAIN_CONTRADICTS_VENDOR"
    assert row["vendor_gap"] == pytest.approx(0.05)
    assert row["atm_volatility"] is None


@pytest.mark.parametrize("vendor_off", [0.004, -0.004, None])
def test_a_vendor_within_the_quotes_or_silent_is_no_contradiction(vendor_off) -> None:
    assert only(surface_rows(contracts(SMILE, vendor_off=vendor_off)))["status"] == "OK"


def test_a_few_contradictions_are_the_vendors_own_business() -> None:
    """Twelve of the twenty-five that count would be a majority."""
    chain = contracts(SMILE)
    few = pl.col("strike").is_in(chain["strike"].unique().sort()[6:14].implode())
    off = chain.with_columns(
        vendor_volatility=pl.col("vendor_volatility") + pl.when(few).then(0.2).otherwise(0.0)
    )
    assert only(surface_rows(off))["status"] == "OK"


def test_a_day_more_or_less_in_the_vendors_calendar_is_no_contradiction() -> None:
    """Three days out, a vendor that counts four finds 13 % less."""
    short = contracts(equity(0.4, 3 / 365), 3, vendor_off=None, half_width=0.002)
    off = short.with_columns(vendor_volatility=pl.col("implied_volatility") * np.sqrt(3 / 4))
    assert only(surface_rows(off))["status"] == "OK"
    long = contracts(equity(0.4, 60 / 365), 60, vendor_off=None, half_width=0.002)
    off = long.with_columns(vendor_volatility=pl.col("implied_volatility") * np.sqrt(3 / 4))
    assert only(surface_rows(off))["status"] == "CHAIN_CONTRADICTS_VENDOR"


def test_an_expiry_too_short_to_judge_is_judged_by_its_chain() -> None:
    long = contracts(SMILE, vendor_off=0.05)
    short = contracts(
        equity(0.25, 9 / 365), 9, strikes=[98, 99, 100.5, 102], vendor_off=0.08, half_width=0.002
    )
    rows = surface_rows(pl.concat([long, short]))
    assert rows["status"].to_list() == ["CHAIN_CONTRADICTS_VENDOR"] * 2
    honest = surface_rows(pl.concat([contracts(SMILE), short]))
    assert honest["status"].to_list() == ["OK", "OK"]


def test_butterfly_arbitrage_in_the_quotes_is_said_and_not_stored() -> None:
    chain = contracts(
        lambda k: svi(VOGT, k), 365, strikes=FORWARD * np.exp(np.linspace(-0.6, 1.2, 37)),
        half_width=0.002,
    )  # fmt: skip
    row = only(stored(surface_rows(chain)))
    assert row["butterfly_free"] is False
    assert row["min_density"] == pytest.approx(-0.0329, abs=0.001)
    assert row["status"] == "OK"
    assert row["svi_b"] != pytest.approx(VOGT[1], rel=0.01)
    few = contracts(lambda k: svi(VOGT, k), 365, strikes=[80, 90, 100, 110, 130, 150])
    assert only(surface_rows(few))["butterfly_free"] is None


def test_a_calendar_crossing_is_said_of_the_later_expiry() -> None:
    month = contracts(SMILE)
    dear = contracts(equity(0.45, 20 / 365), 20)
    rows = stored(surface_rows(pl.concat([month, dear]))).sort("years")
    assert rows["calendar_free"].to_list() == [None, False]
    assert rows["calendar_gap"][1] < 0
    expected = ATM**2 * YEARS - 0.45**2 * 20 / 365
    assert rows["calendar_gap"][1] <= expected + 1e-9
    calm = contracts(equity(0.25, 20 / 365), 20)
    rows = surface_rows(pl.concat([month, calm])).sort("years")
    assert rows["calendar_free"].to_list() == [None, True]


def test_chains_are_not_compared_with_each_other() -> None:
    dear = contracts(equity(0.6, 20 / 365), 20, underlying="BBB")
    rows = surface_rows(pl.concat([contracts(SMILE), dear]))
    assert rows["calendar_free"].to_list() == [None, None]


def test_morning_and_evening_settlement_are_two_expiries() -> None:
    """Six and a half hours apart, on the same day."""
    evening = contracts(SMILE, underlying="SPX", root="SPXW")
    morning = contracts(
        equity(0.25, (30 - 6.5 / 24) / 365), 30 - 6.5 / 24, underlying="SPX", root="SPX"
    ).with_columns(expiry=evening["expiry"][0])
    rows = surface_rows(pl.concat([evening, morning])).sort("years")
    assert rows["settlement"].to_list() == ["AM", "PM"]
    assert rows["status"].to_list() == ["OK", "OK"]
    assert rows["calendar_free"].to_list() == [None, True]


def test_last_trades_are_fitted_robustly_without_a_quote() -> None:
    chain = contracts(SMILE, basis="day_file", noise=0.01, seed=5)
    strike = chain["strike"].unique().sort()[8]
    stale = chain.with_columns(
        implied_volatility=pl.col("implied_volatility")
        + pl.when(pl.col("strike") == strike).then(0.15).otherwise(0.0)
    )
    row = only(stored(surface_rows(stale)))
    assert row["status"] == "OK"
    assert row["within_quotes"] is None
    assert row["atm_volatility"] == pytest.approx(ATM, abs=0.006)


def test_a_trade_of_less_than_the_spread_is_no_point_and_more_volume_is_better_known() -> None:
    chain = contracts(SMILE, basis="day_file", strikes=[40, 94, 97, 100, 103, 106, 150])
    points = smile_points(chain)
    strikes = (FORWARD * points["moneyness"].exp()).round(6)
    assert strikes.to_list() == [94, 97, 100, 100, 103, 106]
    active = smile_points(chain.with_columns(volume=pl.lit(5000.0)))
    assert (active["error"] < points["error"]).all()


def test_real_last_trades_show_the_earnings_that_lay_ahead(real_data) -> None:
    """AAPL the day after its 7:1 split; it was to report on 22 July 2014."""
    day = date(2014, 6, 9)
    files = real_data / "flatfiles"
    stocks = files / "us_stocks_sip/day_aggs_v1/2014/06" / f"{day}.csv.gz"
    options = files / "us_options_opra/day_aggs_v1/2014/06" / f"{day}.csv.gz"
    spot = pl.read_csv(stocks).filter(pl.col("ticker") == "AAPL")["close"][0]
    traded = (
        pl.read_csv(options)
        .rename({"ticker": "symbol"})
        .with_columns(option_symbol_columns("symbol"))
        .with_columns(
            pl.col("close", "volume").cast(pl.Float64),
            style=pl.lit("american"),
            is_standard=~pl.col("is_adjusted"),
            spot=pl.lit(float(spot)),
            price=pl.col("close").cast(pl.Float64),
            price_source=pl.lit("close"),
            vendor_volatility=pl.lit(None, dtype=pl.Float64),
            available_at=pl.lit(MOMENT),
        )
    )
    # The Treasury's bills paid 0.04 % that day; a dividend of 0.47 was to come on 7 August.
    bills = Curve(np.array([1 / 12, 5.0]), np.array([0.0004, 0.001]), "treasury")
    dividend = pl.DataFrame({"underlying": ["AAPL"], "years": [59 / 365], "amount": [0.47]})
    rows = surface_rows(value_contracts(traded, session_on(day).close, bills, dividend))
    assert set(rows["status"]) == {"OK"}
    assert rows["fit_error"].max() < 1.0
    assert rows["calendar_free"].drop_nulls().all()
    near = dict(rows.select("expiry", "atm_volatility").iter_rows())
    before, after = near[date(2014, 7, 19)], near[date(2014, 7, 25)]
    assert after - before > 0.04
    # What the report adds is the variance of a move of about five per cent.
    report = rows.filter(pl.col("expiry").is_between(date(2014, 7, 19), date(2014, 7, 25)))
    added = (report["atm_volatility"] ** 2 * report["years"]).diff()[-1]
    assert 0.03 < np.sqrt(added - before**2 * 6 / 365) < 0.07
