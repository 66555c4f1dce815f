"""Gamma exposure of the open interest: by strike, by expiry and as a whole, keyed by slot."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    Table,
    available_at,
    choice,
    count,
    number,
    price,
    slot,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import Lineage, computed, straight, together

_USD_PER_1PCT = "USD per 1 % move"


class _Exposure(dy.Schema):
    """Sums over the open contracts that share a key.

    A side's sum is null where somebody holds contracts of it and none could be valued; it is 0
    where nobody holds any. Gamma is positive on both sides: only a net figure has a sign.
    """

    available_at = available_at()
    open_interest_session = dy.Date(
        nullable=False, description="session at whose end the open interest stood: the one before"
    )
    spot = price("price of the underlying that came with the chain", nullable=True)
    contracts_count = count(
        "contracts with open interest, or whose open interest is not known", nullable=False
    )
    counted_count = count("of these, contracts in the sums", nullable=False)
    excluded = text("why the others are not, each reason with its number", nullable=True)
    open_interest_coverage = number(
        "open interest in the sums over all that is known", "share", at_least=0, at_most=1
    )
    call_open_interest = count("open calls of the standard contract", "contracts")
    put_open_interest = count("open puts of the standard contract", "contracts")
    call_gamma_usd_per_1pct = number("dollar delta that calls gain", _USD_PER_1PCT, at_least=0)
    put_gamma_usd_per_1pct = number("dollar delta that puts gain", _USD_PER_1PCT, at_least=0)
    gross_gamma_usd_per_1pct = number("calls and puts together", _USD_PER_1PCT, at_least=0)
    net_gamma_naive_usd_per_1pct = number(
        "calls minus puts, as if dealers held every call and owed every put", _USD_PER_1PCT
    )
    net_gamma_naive_shares_per_usd = number(
        "the same in shares to be traded per dollar that the underlying moves", "shares per USD"
    )
    net_gamma_flow_usd_per_1pct = number(
        "signed by who opened the contracts; null while no signed trades are stored", _USD_PER_1PCT
    )
    flow_reason = text("why the figure signed by flow is null", nullable=True)
    call_delta_usd = number("delta of the open calls, seen by their holders", "USD")
    put_delta_usd = number("delta of the open puts, seen by their holders", "USD")
    net_delta_usd = number("both together, no dealer's sign applied", "USD")
    reason = text("why the net gamma is null", nullable=True)

    @dy.rule()
    def net_or_reason(cls) -> pl.Expr:
        """The naive net gamma is null exactly where a reason is given."""
        return pl.col("net_gamma_naive_usd_per_1pct").is_null() == pl.col("reason").is_not_null()

    @dy.rule()
    def flow_or_reason(cls) -> pl.Expr:
        """The net gamma signed by flow is null exactly where a reason is given."""
        flow = pl.col("net_gamma_flow_usd_per_1pct")
        return flow.is_null() == pl.col("flow_reason").is_not_null()

    @dy.rule()
    def interest_is_of_the_past(cls) -> pl.Expr:
        """Open interest is of a session before the one it was seen in."""
        return pl.col("open_interest_session") < pl.col("trade_date")


class _Levels(_Exposure):
    """Strikes that stand out. Of equal strikes the outer one is a wall."""

    put_call_open_interest = number("open puts over open calls", "ratio", at_least=0)
    call_volume = number("calls traded this session, as far as known", "contracts", at_least=0)
    put_volume = number("puts traded this session, as far as known", "contracts", at_least=0)
    put_call_volume = number("puts over calls traded", "ratio", at_least=0)
    call_wall = price("strike with the largest gamma of calls", nullable=True)
    put_wall = price("strike with the largest gamma of puts", nullable=True)
    net_wall = price("strike whose naive net gamma is largest, either sign", nullable=True)
    max_pain = price(
        "strike at which settlement would pay the holders of all contracts least", nullable=True
    )


class GammaByStrike(_Exposure):
    """One row an underlying, expiry and strike that has open interest."""

    trade_date = trade_date()
    slot = slot()
    underlying = text("ticker of the underlying", key=True)
    expiry = dy.Date(primary_key=True, description="expiration date")
    strike = dy.Float64(
        primary_key=True,
        min_exclusive=0,
        description="strike price",
        metadata={"unit": "USD per share"},
    )


class GammaByExpiry(_Levels):
    """One row an underlying and expiry."""

    trade_date = trade_date()
    slot = slot()
    underlying = text("ticker of the underlying", key=True)
    expiry = dy.Date(primary_key=True, description="expiration date")


class GammaExposure(_Levels):
    """One row an underlying: all expiries together."""

    trade_date = trade_date()
    slot = slot()
    underlying = text("ticker of the underlying", key=True)
    expiries_count = count("expiries with open interest", nullable=False)
    expiry_focus = dy.Date(nullable=True, description="expiry with the most open interest")
    naive_sign = choice(
        ("plausible", "doubtful"),
        "whether the naive sign has support: for broad indices and their funds, not for single "
        "stocks, whose options end users sell on balance (Garleanu, Pedersen, Poteshman 2009)",
    )
    repriced_gamma_naive_usd_per_1pct = number(
        "net gamma at the spot as the flip's repricing has it, without early exercise",
        _USD_PER_1PCT,
    )
    gamma_flip = price(
        "price of the underlying, nearest to spot, at which the naive net gamma changes sign: the "
        "book is repriced there, implied volatilities and time held",
        nullable=True,
    )
    flip_distance = number("gamma_flip over spot, less one", "fraction")
    flip_reason = text("why there is no flip", nullable=True)

    @dy.rule()
    def flip_or_reason(cls) -> pl.Expr:
        """The flip is null exactly where a reason is given."""
        return pl.col("gamma_flip").is_null() == pl.col("flip_reason").is_not_null()


def _greek(*names: str) -> tuple[str, ...]:
    return tuple(f"option_greeks.{name}" for name in names)


_INTEREST = _greek("open_interest", "is_standard", "years", "status")
_SUMMED = (*_INTEREST, *_greek("shares_per_contract", "right", "spot"))
_GAMMA = (*_SUMMED, *_greek("gamma"))
_REPRICED = (
    *_SUMMED,
    *_greek("strike", "implied_volatility", "forward", "rate", "dividends_value"),
)
_PAIN = (*_INTEREST, *_greek("strike", "right"))

_SUMS: Lineage = together(
    straight("option_greeks", "slot", "underlying", "available_at", "spot"),
    computed("open_interest_session", "option_greeks.trade_date"),
    computed("contracts_count call_open_interest put_open_interest", *_INTEREST),
    computed(
        "counted_count excluded open_interest_coverage reason", *_GAMMA, "option_greeks.delta"
    ),
    computed(
        "call_gamma_usd_per_1pct put_gamma_usd_per_1pct gross_gamma_usd_per_1pct "
        "net_gamma_naive_usd_per_1pct net_gamma_naive_shares_per_usd",
        *_GAMMA,
    ),
    computed("call_delta_usd put_delta_usd net_delta_usd", *_SUMMED, "option_greeks.delta"),
)
_LEVELS: Lineage = together(
    _SUMS,
    computed("put_call_open_interest", *_INTEREST),
    computed("call_volume put_volume put_call_volume", *_greek("volume", "is_standard")),
    computed("call_wall put_wall net_wall", *_GAMMA, "option_greeks.strike"),
    computed("max_pain", *_PAIN),
)
_UNIT = ("trade_date", "slot")
_NAIVE = (
    "The naive sign (dealers hold calls, owe puts) is an assumption about indices, doubtful for "
    "single stocks."
)

GAMMA_BY_STRIKE = Table(
    "gamma_by_strike",
    GammaByStrike,
    _UNIT,
    Kind.DERIVED,
    f"Gamma and delta of the open interest by expiry and strike. {_NAIVE}",
    made_from=together(_SUMS, straight("option_greeks", "expiry", "strike")),
)
GAMMA_BY_EXPIRY = Table(
    "gamma_by_expiry",
    GammaByExpiry,
    _UNIT,
    Kind.DERIVED,
    f"Gamma and delta of the open interest by expiry, walls and max pain. {_NAIVE}",
    made_from=together(_LEVELS, straight("option_greeks", "expiry")),
)
GAMMA_EXPOSURE = Table(
    "gamma_exposure",
    GammaExposure,
    _UNIT,
    Kind.DERIVED,
    f"Gamma exposure of each underlying: net, walls, max pain and the gamma flip. {_NAIVE}",
    made_from=together(
        _LEVELS,
        computed("expiries_count expiry_focus", *_INTEREST, "option_greeks.expiry"),
        computed("naive_sign", "option_greeks.underlying"),
        computed(
            "repriced_gamma_naive_usd_per_1pct gamma_flip flip_distance flip_reason", *_REPRICED
        ),
    ),
)

TABLES = (GAMMA_BY_STRIKE, GAMMA_BY_EXPIRY, GAMMA_EXPOSURE)
