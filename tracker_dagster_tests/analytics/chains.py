"""Captured chains whose forwards are known: made up, or the simulated market's."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from tracker_dagster.analytics.rates import Curve, zero_rates
from tracker_dagster.instruments import option_symbol_columns
from tracker_dagster.marketsim.world.events import MATURITIES, interest_rate

#: A Wednesday, 15:50 in New York.
MOMENT = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
EXPIRY = date(2026, 9, 18)
YEARS = (datetime(2026, 9, 18, 20, tzinfo=UTC) - MOMENT).total_seconds() / (365 * 86_400)
RATE = 0.045
FLAT = Curve(np.array([1 / 12, 30.0]), np.array([RATE, RATE]), "treasury 2026-06-02")
NO_DIVIDENDS = pl.DataFrame(
    schema={"underlying": pl.String, "years": pl.Float64, "amount": pl.Float64}
)


def normal_prices(forward, strikes, years, rate=RATE, deviation=None):
    """Calls and puts in the Bachelier model, which keeps parity as every model does."""
    from scipy.stats import norm

    spread = deviation or 0.3 * forward * np.sqrt(years)
    d = (forward - strikes) / spread
    call = (forward - strikes) * norm.cdf(d) + spread * norm.pdf(d)
    return np.exp(-rate * years) * call, np.exp(-rate * years) * (call - forward + strikes)


def quotes(calls, puts, strikes, half=0.02, **terms):
    """A chain with quotes around the given values."""
    rows = []
    for right, values in (("C", calls), ("P", puts)):
        for strike, value in zip(strikes, values, strict=True):
            bid = value - half
            rows.append(
                {
                    "underlying": "SPX",
                    "root": "SPXW",
                    "expiry": EXPIRY,
                    "right": right,
                    "strike": float(strike),
                    "bid": float(bid) if bid > 0 else None,
                    "ask": float(value + half),
                    "quote_status": "OK" if bid > 0 else "NO_BID",
                    "exercise_style": "european",
                    "is_standard": True,
                    "spot": 100.0,
                    "spot_at": MOMENT,
                    "available_at": MOMENT,
                    **terms,
                }
            )
    return pl.DataFrame(
        rows, schema_overrides={"spot": pl.Float64, "spot_at": pl.Datetime("us", "UTC")}
    )


def european_chain(forward, strikes=None, **terms):
    strikes = np.arange(80.0, 121.0, 2.5) if strikes is None else np.asarray(strikes, float)
    return quotes(*normal_prices(forward, strikes, YEARS), strikes, **terms)


def only(frame):
    (row,) = frame.to_dicts()
    return row


def chain_of(simulation, names):
    """Chains of the simulated market as captured rows."""
    frames = []
    for name in names:
        state = simulation.chains.state(name, MOMENT)
        chain = state.chain
        frames.append(
            pl.DataFrame(
                {
                    "symbol": chain.ticker.tolist(),
                    "bid": np.where(state.bid > 0, state.bid, np.nan),
                    "ask": state.ask,
                    "quote_status": np.where(state.bid > 0, "OK", "NO_BID"),
                    "is_standard": (chain.factor == 1) & (chain.cash == 0),
                }
            )
            .with_columns(option_symbol_columns())
            .with_columns(
                underlying=pl.lit(name),
                spot=pl.lit(float(state.spot)),
                exercise_style=pl.lit("european" if chain.option_class.european else "american"),
                spot_at=pl.lit(MOMENT),
                available_at=pl.lit(MOMENT),
            )
        )
    return pl.concat(frames)


def curve_of_the_day_before():
    percent = [
        round(200 * float(np.expm1(interest_rate(date(2026, 6, 2), years) / 2)), 2)
        for years in MATURITIES.values()
    ]
    years = np.array(list(MATURITIES.values()))
    return Curve(years, zero_rates(np.round(12 * years), percent), "treasury 2026-06-02")
