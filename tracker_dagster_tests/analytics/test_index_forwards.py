"""What an index's members pay, read from last trades that were not of one moment."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.contract_greeks import value_contracts
from tracker_dagster.analytics.forwards import index_forwards_of_trades
from tracker_dagster.analytics.pricing import price
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.analytics.rates import Curve

CLOSE = datetime(2026, 6, 3, 20, 0, tzinfo=UTC)
CURVE = Curve(np.array([1 / 12, 30.0]), np.array([0.04, 0.04]), "treasury 2026-06-02")
EXPIRIES = (date(2026, 7, 17), date(2026, 12, 18))
NO_DIVIDENDS = pl.DataFrame(
    schema={"underlying": pl.String, "years": pl.Float64, "amount": pl.Float64}
)


def traded(noise, *, dividend_yield=0.013, volatility=0.15, spot=6000.0):
    """Trades at spots that differ from the close by ``noise`` (a share of it)."""
    rng = np.random.default_rng(3)
    rows = []
    for expiry in EXPIRIES:
        years = years_to_expiry(CLOSE, expiry)
        for strike in np.arange(5400.0, 6601.0, 25.0):
            for right in "CP":
                then = spot * np.exp(noise * rng.standard_normal())
                worth = price(then, strike, years, 0.04, dividend_yield, volatility, right == "C")
                rows.append((expiry, right, strike, float(worth)))
    frame = pl.DataFrame(rows, schema=["expiry", "right", "strike", "price"], orient="row")
    return frame.with_columns(
        underlying=pl.lit("SPX"),
        root=pl.lit("SPXW"),
        style=pl.lit("european"),
        is_standard=pl.lit(value=True),
        spot=pl.lit(spot),
        available_at=pl.lit(CLOSE),
    )


def test_a_year_of_dividends_is_in_the_forward_and_both_sides_have_one_volatility():
    contracts = traded(0.002)
    forwards = index_forwards_of_trades(contracts, CLOSE, CURVE)
    assert forwards["forward_source"].to_list() == ["parity", "parity"]
    for row in forwards.iter_rows(named=True):
        assert row["forward"] == pytest.approx(6000 * np.exp(0.027 * row["years"]), rel=0.0015)
    sources = pl.DataFrame({"underlying": ["SPX"], "dividend_source": ["index"]})
    valued = value_contracts(
        contracts, CLOSE, CURVE, NO_DIVIDENDS, forwards, dividend_sources=sources
    )
    near = valued.filter((pl.col("strike") / pl.col("forward") - 1).abs() < 0.02)
    sides = near.group_by("expiry", "right").agg(pl.col("implied_volatility").median())
    assert sides["implied_volatility"].to_list() == pytest.approx([0.15] * 4, abs=0.006)


def test_trades_that_agree_on_nothing_give_no_forward():
    forwards = index_forwards_of_trades(traded(0.05), CLOSE, CURVE)
    assert set(forwards["forward_source"]) == {"theory"}
    assert forwards["reason"].null_count() == 0


def test_stocks_are_not_asked():
    stocks = traded(0.0).with_columns(underlying=pl.lit("AAPL"), style=pl.lit("american"))
    assert index_forwards_of_trades(stocks, CLOSE, CURVE).is_empty()
