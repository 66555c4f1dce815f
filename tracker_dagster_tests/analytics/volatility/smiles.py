"""Chains whose smiles are known: frames with the columns of option_greeks that smiles need."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtr

from tracker_dagster.analytics.volatility.svi import Slices

MOMENT = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
DAY = date(2026, 6, 3)
FORWARD = 100.0

#: a, b, rho, m, sigma with butterfly arbitrage although its variance is above zero: an example of
#: Axel Vogt's that Gatheral and Jacquier (2014) quote in section 2.2; one year to expiry.
VOGT = (-0.0410, 0.1331, 0.3060, 0.3586, 0.4153)


def svi(parameters, k):
    a, b, rho, m, sigma = parameters
    return a + b * (rho * (k - m) + np.sqrt((k - m) ** 2 + sigma**2))


def ssvi(theta, rho, phi, k):
    """Formula 4.1 of Gatheral and Jacquier (2014), as printed there."""
    return theta / 2 * (1 + rho * phi * k + np.sqrt((phi * k + rho) ** 2 + 1 - rho**2))


def ssvi_slices(theta, rho, phi):
    """The same as raw slices; theorem 4.2 says where they are free of butterfly arbitrage."""
    rest = np.sqrt(1 - rho**2)
    return Slices.of([theta / 2 * rest**2, theta * phi / 2, rho, -rho / phi, rest / phi])


def black_call(k, w, forward=1.0):
    """Undiscounted call struck at forward x exp(k)."""
    root = np.sqrt(w)
    d1 = -k / root + root / 2
    return forward * (ndtr(d1) - np.exp(k) * ndtr(d1 - root))


def equity(volatility=0.25, years=30 / 365, tilt=-0.5, eta=1.0):
    """Variance over log-moneyness as equities have it: SSVI whose curvature falls with variance."""
    theta = volatility**2 * years
    return lambda k: ssvi(theta, tilt, eta / np.sqrt(theta), k)


def contracts(
    variance: Callable[[np.ndarray], np.ndarray],
    days: float = 30.0,
    *,
    strikes=None,
    half_width: float = 0.004,
    noise: float = 0.0,
    seed: int = 0,
    forward: float = FORWARD,
    underlying: str = "AAA",
    root: str | None = None,
    vendor_off: float | None = 0.0,
    basis: str = "snapshot",
) -> pl.DataFrame:
    """Calls and puts of one expiry, quoted ``half_width`` (of volatility) around the truth."""
    years = days / 365
    deviation = float(np.sqrt(variance(np.zeros(1))[0]))
    if strikes is None:
        strikes = forward * np.exp(np.linspace(-2.5, 2.0, 25) * deviation)
    strikes = np.asarray(strikes, dtype=float)
    rng = np.random.default_rng(seed)
    frames = []
    for right in "CP":
        k = np.log(strikes / forward)
        w = variance(k)
        true = np.sqrt(w / years)
        seen = true + noise * rng.uniform(-1, 1, k.size)
        root_w = np.sqrt(w)
        d1 = -k / root_w + root_w / 2
        quoted = basis == "snapshot"
        frames.append(
            pl.DataFrame(
                {
                    "underlying": underlying,
                    "root": root or underlying,
                    "expiry": DAY + timedelta(days=round(days)),
                    "right": right,
                    "strike": strikes,
                    "available_at": MOMENT,
                    "is_standard": True,
                    "spot": forward,
                    "price": black_call(k, w, forward)
                    if right == "C"
                    else black_call(k, w, forward) + strikes - forward,
                    "price_source": "mid" if quoted else "close",
                    "years": years,
                    "forward": forward,
                    "implied_volatility": seen,
                    "bid_volatility": seen - half_width if quoted else None,
                    "ask_volatility": seen + half_width if quoted else None,
                    "delta": ndtr(d1) - (right == "P"),
                    "vega": forward * np.exp(-d1 * d1 / 2) / np.sqrt(2 * np.pi) * np.sqrt(years),
                    "status": "OK",
                    "vendor_volatility": None if vendor_off is None else seen + vendor_off,
                    "volume": 50.0,
                },
                schema_overrides={
                    "bid_volatility": pl.Float64,
                    "ask_volatility": pl.Float64,
                    "vendor_volatility": pl.Float64,
                    "available_at": pl.Datetime("us", "UTC"),
                },
            )
        )
    return pl.concat(frames)


def only(frame: pl.DataFrame) -> dict[str, object]:
    (row,) = frame.to_dicts()
    return row


#: Of each expiry by days ahead, by parity at the strike where call and put differ least.
WHITE_PAPER_FORWARDS = {9: 920.50004685, 37: 921.00038528}


def white_paper() -> pl.DataFrame:
    """SPX quotes of appendix 1 of the Cboe's VIX white paper (2009); a bid of 0 is none."""
    path = Path(__file__).parent / "vix_white_paper_2009.csv"
    prices = ("strike", "call_bid", "call_ask", "put_bid", "put_ask")
    types = dict.fromkeys(prices, pl.Float64)
    return pl.read_csv(path, comment_prefix="#", schema_overrides=types)
