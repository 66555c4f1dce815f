"""Volatilities implied by the simulated market's values, which know no noise, against its own."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.contract_greeks import value_contracts
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.marketsim import Simulation
from tracker_dagster.marketsim.world.events import interest_rate

NOW = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)


@pytest.fixture(scope="module")
def chains():
    return Simulation(tickers=["AAPL", "SOFI", "SPY"]).chains


def valued(chains, underlying):
    """The chain at its true values, with what the market itself knows of rates and dividends."""
    state = chains.state(underlying, NOW)
    chain, count = state.chain, len(state.value)
    is_index = chain.option_class.is_index
    dividends = chains.dividends_ahead(chain.option_class, NOW)
    years = np.geomspace(1 / 400, 4, 400)
    contracts = pl.DataFrame(
        {
            "underlying": [underlying] * count,
            "root": list(chain.root),
            "expiry": [date.fromordinal(int(day)) for day in chain.expiry],
            "right": np.where(chain.is_call, "C", "P"),
            "strike": chain.strike,
            "style": ["european" if is_index else "american"] * count,
            "is_standard": chain.factor == 1.0,
            "spot": [state.spot] * count,
            "price": state.value,
        },
        strict=False,
    )
    frame = value_contracts(
        contracts,
        NOW,
        Curve(years, interest_rate(NOW.date(), years), "the simulated market's"),
        pl.DataFrame(
            {
                "underlying": [underlying] * len(dividends),
                "years": dividends[:, 0],
                "amount": dividends[:, 1],
            },
            schema={"underlying": pl.String, "years": pl.Float64, "amount": pl.Float64},
        ),
    )
    moneyness = (pl.col("strike") / pl.col("forward")).log()
    return frame.with_columns(true=state.volatility, value=state.value).filter(
        (pl.col("right") == "C") == (moneyness > 0), pl.col("value") > 0.005, "is_standard"
    )


@pytest.mark.parametrize("underlying", ["SPX", "AAPL", "SOFI", "SPY"])
def test_true_volatilities_are_found_to_a_fiftieth_of_a_point(chains, underlying):
    rows = valued(chains, underlying)
    assert rows.height > 100
    assert (rows["status"] == "OK").mean() > 0.99
    error = (rows["implied_volatility"] - rows["true"]).abs()
    assert error.median() <= 0.0002
    assert error.quantile(0.95) <= 0.002
