"""Who trades in the simulated market: stocks, funds and indices with their lasting traits."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from tracker_dagster.marketsim.world.randomness import stable_hash
from tracker_dagster.seed_files import seed_file

Profile = Literal["small", "full"]

#: Annual volatility, market beta, yearly log growth and dividend yield of a category.
_CATEGORY: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "ETF": (0.17, 1.0, 0.065, 0.012),
        "MEGA_TECH": (0.28, 1.15, 0.08, 0.005),
        "SEMIS": (0.40, 1.4, 0.07, 0.008),
        "BANK": (0.25, 1.1, 0.05, 0.024),
        "INFRA": (0.22, 0.9, 0.05, 0.023),
        "FINTECH": (0.55, 1.6, 0.04, 0.0),
        "GROWTH": (0.50, 1.5, 0.05, 0.0),
        "CRYPTO": (0.85, 1.9, 0.01, 0.0),
        "EV": (0.60, 1.6, 0.04, 0.0),
        "SPEC": (0.80, 1.3, 0.0, 0.0),
        "CROWD": (0.45, 1.1, 0.02, 0.0),
    }
)

#: Price on the anchor date (after every scheduled split), and trading popularity (SPY = 100).
_LEVEL: Mapping[str, tuple[float, float, str]] = MappingProxyType(
    {
        "SPY": (640.0, 100, "S&P 500 index fund"),
        "QQQ": (575.0, 60, "Nasdaq 100 index fund"),
        "DIA": (455.0, 4, "Dow 30 index fund"),
        "IWM": (236.0, 25, "Small company index fund"),
        "XLF": (53.0, 8, "Financial sector fund"),
        "XLE": (91.0, 6, "Energy sector fund"),
        "XLK": (268.0, 3, "Technology sector fund"),
        "AAPL": (255.0, 30, "Apple Inc."),
        "MSFT": (512.0, 20, "Microsoft Corp."),
        "GOOG": (246.0, 12, "Alphabet Inc. Class C"),
        "AMZN": (228.0, 25, "Amazon.com Inc."),
        "META": (718.0, 18, "Meta Platforms Inc."),
        "NVDA": (186.0, 50, "NVIDIA Corp."),
        "TSM": (282.0, 10, "Taiwan Semiconductor ADR"),
        "AVGO": (96.0, 14, "Broadcom Inc."),
        "ASML": (965.0, 4, "ASML Holding ADR"),
        "TXN": (183.0, 2, "Texas Instruments Inc."),
        "ARM": (148.0, 6, "Arm Holdings ADR"),
        "MRVL": (86.0, 7, "Marvell Technology Inc."),
        "BAC": (51.0, 9, "Bank of America Corp."),
        "WFC": (57.0, 5, "Wells Fargo & Co."),
        "CSCO": (69.0, 5, "Cisco Systems Inc."),
        "IBM": (284.0, 4, "International Business Machines Corp."),
        "PYPL": (54.0, 6, "PayPal Holdings Inc."),
        "SOFI": (26.5, 12, "SoFi Technologies Inc."),
        "HOOD": (118.0, 12, "Robinhood Markets Inc."),
        "AFRM": (79.0, 5, "Affirm Holdings Inc."),
        "UBER": (94.0, 7, "Uber Technologies Inc."),
        "SHOP": (152.0, 6, "Shopify Inc."),
        "PLTR": (172.0, 28, "Palantir Technologies Inc."),
        "COIN": (325.0, 12, "Coinbase Global Inc."),
        "RIOT": (18.0, 6, "Riot Platforms Inc."),
        "MARA": (17.5, 9, "MARA Holdings Inc."),
        "TSLA": (418.0, 55, "Tesla Inc."),
        "RIVN": (14.5, 6, "Rivian Automotive Inc."),
        "CLOV": (3.1, 2, "Clover Health Investments Corp."),
    }
)

_BETA: Mapping[str, tuple[float, float]] = MappingProxyType(
    {  # volatility and beta of the funds, which differ more than their category
        "SPY": (0.15, 1.0),
        "QQQ": (0.19, 1.18),
        "DIA": (0.145, 0.92),
        "IWM": (0.20, 1.12),
        "XLF": (0.18, 0.98),
        "XLE": (0.22, 0.75),
        "XLK": (0.21, 1.22),
    }
)


@dataclass(frozen=True, slots=True)
class Stock:
    """A stock or fund: price level on the anchor date, volatility, beta and habits."""

    ticker: str
    name: str
    category: str
    level: float
    volatility: float
    beta: float
    growth: float
    dividend_yield: float
    popularity: float

    @property
    def is_fund(self) -> bool:
        """Funds have no earnings."""
        return self.category == "ETF"


@dataclass(frozen=True, slots=True)
class Index:
    """A cash index; ``proxy`` is the fund whose path it scales, None for volatility indices."""

    ticker: str
    name: str
    proxy: str | None
    ratio: float
    tenor_days: int
    popularity: float

    @property
    def symbol(self) -> str:
        """The vendor's ticker, e.g. ``I:SPX``."""
        return f"I:{self.ticker}"


INDICES: Mapping[str, Index] = MappingProxyType(
    {
        index.ticker: index
        for index in (
            Index("SPX", "S&P 500 Index", "SPY", 10.03, 0, 40),
            Index("NDX", "Nasdaq 100 Index", "QQQ", 41.2, 0, 6),
            Index("RUT", "Russell 2000 Index", "IWM", 10.06, 0, 5),
            Index("VIX", "Cboe Volatility Index", None, 1.0, 30, 12),
            Index("VIX9D", "Cboe S&P 500 9-Day Volatility Index", None, 1.0, 9, 0),
            Index("VIX3M", "Cboe S&P 500 3-Month Volatility Index", None, 1.0, 93, 0),
        )
    }
)

#: Underlyings whose options are listed, besides the stocks of the universe.
OPTION_INDICES = ("SPX", "NDX", "RUT", "VIX")

CROWD_SIZE: Mapping[Profile, int] = MappingProxyType({"small": 60, "full": 11_964})


def universe_stocks(only: Iterable[str] | None = None) -> dict[str, Stock]:
    """The universe's stocks by ticker, or those of them in ``only``.

    Raises:
        ValueError: a ticker in ``only`` that the universe does not hold.
    """
    with seed_file("universe.csv").open(newline="") as handle:
        rows = {row["ticker"]: row["category"] for row in csv.DictReader(handle)}
    wanted = None if only is None else set(only)
    if wanted is not None and (unknown := wanted - set(rows)):
        raise ValueError(f"not in the simulated universe: {', '.join(sorted(unknown))}")
    # The index options hang on these funds' paths, so they always exist.
    kept = {t: c for t, c in rows.items() if wanted is None or t in wanted}
    return {ticker: _stock(ticker, category) for ticker, category in kept.items()}


def market_proxies() -> dict[str, Stock]:
    """The funds the indices are scaled from, whether or not they are listed."""
    return {t: _stock(t, "ETF") for t in ("SPY", "QQQ", "IWM")}


def _stock(ticker: str, category: str) -> Stock:
    volatility, beta, growth, dividend_yield = _CATEGORY[category]
    volatility, beta = _BETA.get(ticker, (volatility, beta))
    level, popularity, name = _LEVEL.get(ticker, (40.0, 3.0, f"{ticker} Inc."))
    # Within a category no two stocks are alike: spread the volatility by up to a tenth.
    spread = 1.0 if category == "ETF" else 0.9 + 0.2 * (stable_hash("spread", ticker) % 1000) / 1000
    return Stock(
        ticker, name, category, level, volatility * spread, beta, growth, dividend_yield, popularity
    )


def crowd_tickers(count: int, taken: Iterable[str]) -> list[str]:
    """``count`` invented tickers that are none of ``taken``, sorted."""
    reserved = set(taken)
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    found: list[str] = []
    position = 0
    while len(found) < count:
        draw = stable_hash("crowd", position)
        position += 1
        length = 3 + draw % 3
        name = (
            "".join(letters[(draw >> (8 * n + 8)) % 26] for n in range(length)) + "Z"[: length < 4]
        )
        if name not in reserved:
            reserved.add(name)
            found.append(name)
    return sorted(found)


def crowd_stock(ticker: str) -> Stock:
    """An invented stock whose traits follow from its name."""
    draw = np.random.Generator(np.random.Philox(key=stable_hash("crowd stock", ticker))).random(4)
    return Stock(
        ticker=ticker,
        name=f"{ticker.title()} Holdings Inc.",
        category="CROWD",
        level=round(float(np.exp(1.5 + 3.4 * draw[0])), 2),
        volatility=0.25 + 0.6 * float(draw[1]),
        beta=0.5 + float(draw[2]),
        growth=0.01,
        dividend_yield=0.0,
        popularity=0.02 + 0.6 * float(draw[3]) ** 4,
    )
