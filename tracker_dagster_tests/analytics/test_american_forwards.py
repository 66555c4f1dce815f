"""Forwards implied by American quotes, valued by QuantLib or by the simulated market's own tree."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.forwards import implied_forwards
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster_tests.analytics.chains import (
    EXPIRY,
    FLAT,
    MOMENT,
    NO_DIVIDENDS,
    RATE,
    chain_of,
    curve_of_the_day_before,
    only,
    quotes,
)

CLOSE = datetime(2026, 6, 3, 20, tzinfo=UTC)  # whole days before other closes, as QuantLib counts


def american_prices(spot, strikes, expiry, volatility, carry):
    """Calls and puts with early exercise (QuantLib, Andersen-Lake-Offengenden)."""
    ql = pytest.importorskip("QuantLib")
    start, end = ql.Date(3, 6, 2026), ql.Date(expiry.day, expiry.month, expiry.year)
    ql.Settings.instance().evaluationDate = start
    days = ql.Actual365Fixed()
    process = ql.BlackScholesMertonProcess(
        ql.QuoteHandle(ql.SimpleQuote(spot)),
        ql.YieldTermStructureHandle(ql.FlatForward(start, carry, days)),
        ql.YieldTermStructureHandle(ql.FlatForward(start, RATE, days)),
        ql.BlackVolTermStructureHandle(
            ql.BlackConstantVol(start, ql.NullCalendar(), volatility, days)
        ),
    )
    engine = ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.accurateScheme())
    sides = []
    for kind in (ql.Option.Call, ql.Option.Put):
        values = []
        for strike in strikes:
            option = ql.VanillaOption(
                ql.PlainVanillaPayoff(kind, float(strike)), ql.AmericanExercise(start, end)
            )
            option.setPricingEngine(engine)
            values.append(option.NPV())
        sides.append(np.array(values))
    return sides


def american_chain(spot, strikes, expiry, volatility, carry, **terms):
    prices = american_prices(spot, strikes, expiry, volatility, carry)
    stock = {"underlying": "XYZ", "root": "XYZ", "exercise_style": "american"}
    return quotes(*prices, strikes, spot=spot, expiry=expiry, **stock, **terms)


@pytest.mark.parametrize("carry", [0.25, 0.0, 0.02, -0.03])
def test_the_cost_of_borrowing_a_stock_is_found_in_its_american_options(carry):
    chain = american_chain(50.0, np.arange(40.0, 61.0, 2.5), EXPIRY, 0.6, carry)
    row = only(implied_forwards(chain, CLOSE, FLAT, NO_DIVIDENDS))
    assert row["forward_source"] == "parity"
    # A ten-thousandth of the spot, to which American values are exact, is 0.0003 of carry here.
    assert row["carry"] == pytest.approx(carry, abs=1e-3)
    assert row["violations_count"] == 0


def test_a_fund_taken_for_european_has_a_rate_that_makes_no_sense():
    """Parity of American quotes as they are implies another rate than they are made with."""
    expiry, strikes = date(2027, 6, 18), np.arange(560.0, 641.0, 10.0)
    chain = american_chain(600.0, strikes, expiry, 0.16, 0.012)
    middle = (chain["bid"] + chain["ask"]).to_numpy() / 2
    calls, puts = np.split(middle, 2)
    years = (expiry - CLOSE.date()).days / 365
    rate = -np.log(-np.polyfit(strikes, calls - puts, 1)[0]) / years
    assert abs(rate - RATE) > 0.02
    row = only(implied_forwards(chain, CLOSE, FLAT, NO_DIVIDENDS))
    assert row["carry"] == pytest.approx(0.012, abs=2e-4)
    european = chain.with_columns(exercise_style=pl.lit("european"))
    wrong = only(implied_forwards(european, CLOSE, FLAT, NO_DIVIDENDS))
    truth = 600 * np.exp((RATE - 0.012) * years)
    assert abs(wrong["forward"] - truth) > 20 * abs(row["forward"] - truth)


def test_american_quotes_outside_of_their_bounds_are_violations():
    strikes = np.arange(40.0, 61.0, 2.5)
    chain = american_chain(50.0, strikes, EXPIRY, 0.4, 0.0)
    cheap = (pl.col("strike") == 55) & (pl.col("right") == "P")
    # C - P must be no more than S - K exp(-rT), about -4.3 here: a put at 1 makes it more.
    chain = chain.with_columns(
        bid=pl.when(cheap).then(1.0).otherwise("bid"), ask=pl.when(cheap).then(1.1).otherwise("ask")
    )
    row = only(implied_forwards(chain, CLOSE, FLAT, NO_DIVIDENDS))
    assert (row["violations_count"], row["quoted_count"]) == (1, 9)


def test_forwards_of_simulated_stocks_are_net_of_their_dividends():
    """Declared ones by theory; those that nobody has declared yet by parity."""
    names = ["AAPL", "SOFI", "TXN", "SPY"]
    simulation = Simulation(9300, "small", names, MOMENT)
    chain = chain_of(simulation, names)
    rate_day = date(2026, 6, 3)
    ahead = pl.DataFrame(
        [
            (name, years, amount)
            for name in names
            for years, amount in simulation.chains.dividends_ahead(
                simulation.chains.listings.option_class(name), MOMENT
            )
        ],
        schema=NO_DIVIDENDS.schema,
        orient="row",
    )
    declared = ahead.filter(pl.col("years") < 60 / 365)

    def truth(row):
        rate = float(interest_rate(rate_day, row["years"]))
        paid = ahead.filter(
            (pl.col("underlying") == row["underlying"]) & (pl.col("years") <= row["years"])
        )
        value = (paid["amount"] * (-rate * paid["years"]).exp()).sum()
        return (row["spot"] - value) * np.exp(rate * row["years"])

    rows = implied_forwards(chain, MOMENT, curve_of_the_day_before(), declared)
    assert rows["violations_count"].sum() == 0
    errors = rows.with_columns(
        truth=pl.Series([truth(row) for row in rows.iter_rows(named=True)])
    ).with_columns(
        theory=(pl.col("forward_theory") / pl.col("truth") - 1).abs(),
        error=(pl.col("forward") / pl.col("truth") - 1).abs(),
    )
    near = errors.filter(pl.col("years") < 60 / 365)
    assert near.filter(pl.col("forward_source") == "parity").height >= 0.8 * near.height
    assert near["error"].max() < 2e-4
    far = errors.filter((pl.col("years") > 0.25) & (pl.col("underlying") != "SOFI"))
    assert (far["forward_source"] == "parity").all()
    # A dividend whose day is not known stands in the carry, as if it were paid day by day.
    assert far["error"].max() < 2.5e-3
    assert far["error"].median() < 0.35 * far["theory"].median()
