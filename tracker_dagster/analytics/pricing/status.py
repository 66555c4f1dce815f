"""Why a contract has, or has not, an implied volatility."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import polars as pl


class Status(IntEnum):
    """One reason a contract: int8 codes in arrays, names in tables.

    The numbers may change between versions; tables hold names.
    """

    #: The volatility reproduces the price.
    OK = 0
    #: The price is missing.
    NO_PRICE = 1
    #: The spot is missing or zero, or its cash dividends are worth more than it is.
    NO_SPOT = 2
    #: The strike is missing or zero.
    NO_STRIKE = 3
    #: No time is left.
    EXPIRED = 4
    #: The price is below what the contract is worth without any volatility.
    BELOW_INTRINSIC = 5
    #: The price is what the contract is worth at infinite volatility, or more.
    ABOVE_MAX = 6
    #: The price equals its lower bound to double precision: every small volatility explains it.
    NO_TIME_VALUE = 7
    #: American: the price equals what exercise pays now, whatever the volatility.
    IMMEDIATE_EXERCISE = 8
    #: The contract delivers something other than 100 shares.
    ADJUSTED = 9
    #: The interest rate is missing.
    NO_RATE = 10
    #: The dividends (the yield, an amount or its time) are missing.
    NO_DIVIDENDS = 11
    #: The solver did not reach its tolerance.
    NO_CONVERGENCE = 12
    #: An argument is negative or infinite where that means nothing, or the time is missing.
    BAD_INPUT = 13
    #: There is no two-sided quote.
    NO_QUOTE = 14
    #: The vendor's volatilities disagree with its own quotes.
    CHAIN_CONTRADICTS_VENDOR = 15
    #: Written on a future whose price is not known.
    NO_FORWARD = 16
    #: The price of the underlying is too old for the quotes, or of after the close.
    STALE_SPOT = 17


_NAMES = pl.Series("status", [status.name for status in sorted(Status)], dtype=pl.String)


def status_names(codes: np.ndarray) -> pl.Series:
    """The names of ``codes`` (one dimension, of `Status`) as a string series ``status``."""
    return _NAMES.gather(np.asarray(codes, dtype=np.uint32))
