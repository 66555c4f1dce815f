"""Smiles of single expiries, and the term structures that are read off them."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    count,
    flag,
    instant,
    number,
    price,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together
from tracker_dagster.schemas.volatility import BASES

#: Terms in calendar days at which volatility is followed.
MATURITIES = (7, 14, 30, 60, 90, 180, 365)
STRUCTURES = ("contango", "backwardation", "flat")
#: Parameters of a slice, in the order in which they are stored.
SLICE = ("svi_a", "svi_b", "svi_rho", "svi_m", "svi_sigma")
DELTAS = ("put_10d", "put_25d", "call_25d", "call_10d")


def _slot() -> dy.Datetime:
    return instant("capture slot; the session's close for day files", key=True)


def _volatility(description: str) -> dy.Float64:
    return number(description, "per year", above=0)


class IvSurface(dy.Schema):
    """One row an expiry whose contracts were quoted or traded, fitted or not."""

    trade_date = trade_date()
    basis = choice(BASES, "captured chain, or day files", key=True)
    slot = _slot()
    underlying = text("ticker of the underlying", key=True)
    expiry = dy.Date(primary_key=True, description="expiration date")
    settlement = choice(("AM", "PM"), "at the expiry day's open, or its close", key=True)
    available_at = available_at()
    status = text("OK where a smile was fitted, or why none was")
    years = number("time to the expiry instant, 365 days a year", "years", above=0)
    forward = price("forward price of the underlying at expiry", nullable=True)
    points_count = count("out-of-the-money contracts that could be used", nullable=False)
    lowest = number("ln(strike / forward) of the lowest contract used", "log-moneyness")
    highest = number("ln(strike / forward) of the highest contract used", "log-moneyness")
    atm_volatility = _volatility("volatility at the forward")
    atm_source = choice(
        ("smile", "neighbours"),
        "the fitted smile, or the contracts on either side of the forward",
        nullable=True,
    )
    family = choice(
        ("svi", "ssvi"),
        "five free parameters, or three where no more are called for",
        nullable=True,
    )
    svi_a = number("level of total variance", "total variance")
    svi_b = number("rise of the wings", "total variance per log-moneyness", at_least=0)
    svi_rho = number("tilt", "1", at_least=-1, at_most=1)
    svi_m = number("place of the vertex", "log-moneyness")
    svi_sigma = number("roundness of the vertex", "log-moneyness", above=0)
    fit_error = number(
        "root mean square of smile less quote, weighted as in the fit",
        "volatility points",
        at_least=0,
    )
    within_quotes = number(
        "share of the contracts whose bid and ask the smile lies between",
        "fraction",
        at_least=0,
        at_most=1,
    )
    put_10d = _volatility("of the put with a delta of -0.10; null where nothing near is quoted")
    put_25d = _volatility("of the put with a delta of -0.25; null where nothing near is quoted")
    call_25d = _volatility("of the call with a delta of 0.25; null where nothing near is quoted")
    call_10d = _volatility("of the call with a delta of 0.10; null where nothing near is quoted")
    skew_25d = number("25-delta put less 25-delta call", "per year")
    butterfly_25d = number("mean of the 25-delta volatilities less that at the forward", "per year")
    min_density = number(
        "least Durrleman g over all strikes of the slice that fits best, arbitrage or not", "1"
    )
    butterfly_free = flag(
        "whether the best slice has no negative density; where not, the one stored is the best "
        "that has none; null where the points are too few to tell",
        nullable=True,
    )
    calendar_gap = number(
        "least total variance added since the expiry before, at equal log-moneyness",
        "total variance",
    )
    calendar_free = flag(
        "whether total variance nowhere falls since the expiry before; null without one",
        nullable=True,
    )
    vendor_gap = number("median distance between quotes' and vendor's volatilities", "per year")

    @dy.rule()
    def slice_is_whole(cls) -> pl.Expr:
        """A slice has all its parameters, exactly where status is OK."""
        fitted = pl.col("status") == "OK"
        known = pl.sum_horizontal(pl.col(name).is_not_null() for name in SLICE)
        return pl.when(fitted).then(known == len(SLICE)).otherwise(known == 0)

    @dy.rule()
    def volatility_has_a_source(cls) -> pl.Expr:
        """Volatility at the forward says what it was read off."""
        return pl.col("atm_volatility").is_null() == pl.col("atm_source").is_null()


def _term(days: int) -> dy.Float64:
    return _volatility(f"at the money, {days} calendar days ahead, between two expiries")


class IvTermStructure(dy.Schema):
    """One row an underlying: volatility at fixed terms, and what its slope says."""

    trade_date = trade_date()
    basis = choice(BASES, "captured chain, or day files", key=True)
    slot = _slot()
    underlying = text("ticker of the underlying", key=True)
    available_at = available_at()
    spot = price("price of the underlying", nullable=True)
    expiries_count = count("expiries with a volatility at the forward", nullable=False)
    iv_7d = _term(7)
    iv_14d = _term(14)
    iv_30d = _term(30)
    iv_60d = _term(60)
    iv_90d = _term(90)
    iv_180d = _term(180)
    iv_365d = _term(365)
    skew_25d_30d = number("25-delta put less 25-delta call, 30 calendar days ahead", "per year")
    slope_30_90 = number("iv_90d over iv_30d, less one", "fraction")
    structure = choice(STRUCTURES, "rises, falls, or neither, from 30 to 90 days", nullable=True)
    model_free_30d = _volatility(
        "from the prices of all strikes as the Cboe VIX is, 30 calendar days ahead"
    )
    missing = text("column and reason of each that is null", nullable=True)


_GREEKS = "option_greeks"
_POINTS = tuple(
    f"{_GREEKS}.{name}"
    for name in (
        "strike", "right", "forward", "years", "implied_volatility", "bid_volatility",
        "ask_volatility", "status", "is_standard", "price", "vega", "delta", "volume",
    )
)  # fmt: skip
_VENDOR = (*_POINTS, f"{_GREEKS}.vendor_volatility")

IV_SURFACE = Table(
    "iv_surface",
    IvSurface,
    ("trade_date", "basis", "slot"),
    Kind.DERIVED,
    "The smile of each expiry: a slice of raw SVI, judged for arbitrage.",
    made_from=together(
        straight(_GREEKS, "basis", "slot", "underlying", "expiry", "years", "forward"),
        computed("settlement", f"{_GREEKS}.root"),
        computed("points_count lowest highest", *_POINTS),
        computed("atm_volatility atm_source family", *_VENDOR),
        computed(" ".join((*SLICE, *DELTAS)), *_VENDOR),
        computed("skew_25d butterfly_25d fit_error within_quotes", *_VENDOR),
        computed("min_density butterfly_free calendar_gap calendar_free status", *_VENDOR),
        computed("vendor_gap", *_VENDOR),
    ),
)

_SMILES = ("iv_surface.atm_volatility", "iv_surface.years")
_WINGS = ("iv_surface.put_25d", "iv_surface.call_25d", "iv_surface.years")
_TERMS = " ".join(f"iv_{days}d" for days in MATURITIES)

IV_TERM_STRUCTURE = Table(
    "iv_term_structure",
    IvTermStructure,
    ("trade_date", "basis", "slot"),
    Kind.DERIVED,
    "Volatility at fixed terms, between expiries and never beyond them.",
    made_from=together(
        straight("iv_surface", "basis", "slot", "underlying"),
        straight(_GREEKS, "spot"),
        computed(f"expiries_count slope_30_90 structure {_TERMS}", *_SMILES),
        computed("skew_25d_30d", *_WINGS),
        computed(
            "model_free_30d",
            *(f"{_GREEKS}.{name}" for name in ("price", "strike", "right", "rate", "years")),
            f"{_GREEKS}.implied_volatility",
            *(f"iv_surface.{name}" for name in SLICE),
        ),
        computed("missing", *_SMILES, *_WINGS, "iv_surface.status"),
    ),
)

TABLES = (IV_SURFACE, IV_TERM_STRUCTURE)
