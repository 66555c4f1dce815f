"""Chains for the tests of gamma exposure: rows of option_greeks, and a random book."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import norm

from tracker_dagster.instruments import build_option_symbol, underlying_of_root
from tracker_dagster.schemas.volatility import OPTION_GREEKS

#: A Wednesday; the session before is Tuesday the 2nd.
DAY = date(2026, 6, 3)
SLOT = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
EXPIRY = date(2026, 6, 19)
YEARS = 16 / 365

#: What a contract is unless a test says otherwise.
USUAL: dict[str, Any] = {
    "basis": "snapshot",
    "available_at": SLOT + timedelta(seconds=20),
    "slot": SLOT,
    "root": "AAPL",
    "expiry": EXPIRY,
    "style": "american",
    "is_standard": True,
    "shares_per_contract": 100.0,
    "spot": 100.0,
    "years": YEARS,
    "rate": 0.04,
    "dividends_value": 0.0,
    "implied_volatility": 0.3,
    "delta": 0.5,
    "gamma": 0.02,
    "status": "OK",
}


def contracts(
    rows: Iterable[Mapping[str, Any]], *, trade_date: date = DAY, **same: Any
) -> pl.DataFrame:
    """Rows of option_greeks; ``right``, ``strike`` and ``open_interest`` are given for each."""
    filled = []
    for given in rows:
        row = {**USUAL, **same, **given, "trade_date": trade_date}
        row["underlying"] = underlying_of_root(row["root"])
        symbol = build_option_symbol(row["root"], row["expiry"], row["right"], row["strike"])
        grown = np.exp(row["rate"] * row["years"])
        row.setdefault("symbol", symbol)
        row.setdefault("forward", (row["spot"] - (row["dividends_value"] or 0)) * grown)
        filled.append(row)
    return OPTION_GREEKS.conform(pl.DataFrame(filled, infer_schema_length=None))


def random_chain(seed: int, count: int = 60, **same: Any) -> pl.DataFrame:
    """A chain with a smile, several expiries, and gammas and deltas that belong to it.

    Calls lie rather above the price and puts below, as in the market: somewhere the sign changes.
    """
    rng = np.random.default_rng(seed)
    spot = float(rng.uniform(20, 900))
    step = 0.5 if spot < 100 else 5.0
    rows = []
    for _ in range(count):
        days = float(rng.choice([2, 9, 30, 90, 360]))
        right = str(rng.choice(["C", "P"]))
        side = 1 if right == "C" else -1
        away = side * 0.03 + 0.5 * np.sqrt(days / 365) * rng.normal()
        strike = max(step, round(spot * np.exp(0.4 * away) / step) * step)
        volatility = 0.2 + 0.3 * abs(np.log(strike / spot)) + rng.uniform(0, 0.02)
        years, rate = days / 365, 0.03
        deviation = volatility * np.sqrt(years)
        d1 = (np.log(spot / strike) + rate * years) / deviation + deviation / 2
        rows.append(
            {
                "right": right,
                "strike": strike,
                "expiry": DAY + timedelta(days=days),
                "open_interest": int(rng.lognormal(5, 1)) + 1,
                "implied_volatility": volatility,
                "years": years,
                "rate": rate,
                "spot": spot,
                "gamma": norm.pdf(d1) / (spot * deviation),
                "delta": norm.cdf(d1) - (right == "P"),
            }
        )
    chain = contracts(rows, **same)
    return chain.unique("symbol", keep="first", maintain_order=True)
