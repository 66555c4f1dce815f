"""Option symbols: parse and build OCC/OPRA tickers, one at a time and over polars columns.

The symbol is read from the right, because roots vary in length and may hold digits:
``O:`` + root + ``YYMMDD`` + ``C|P`` + strike in thousandths of a dollar, eight digits
(OCC Option Symbology Initiative, 2010; Massive options ticker documentation).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import polars as pl

#: Roots of cash-settled index options and the index they are written on.
INDEX_ROOTS: dict[str, str] = {
    "SPX": "SPX", "SPXW": "SPX", "NDX": "NDX", "NDXP": "NDX", "RUT": "RUT", "RUTW": "RUT",
    "VIX": "VIX", "VIXW": "VIX", "XSP": "XSP", "DJX": "DJX",
}  # fmt: skip

#: Index roots that settle on the opening prices of their expiration day.
AM_SETTLED_ROOTS = frozenset({"SPX", "NDX", "RUT", "VIX", "VIXW", "DJX"})

#: Roots of share classes: the listing exchange's dot is dropped in the symbol.
CLASS_SHARE_ROOTS: dict[str, str] = {"BRKA": "BRK.A", "BRKB": "BRK.B", "BFB": "BF.B"}

_SYMBOL = re.compile(
    r"(?:O:)?(?P<root>[A-Z][A-Z.]{0,5}[0-9]?)"
    r"(?P<expiry>[0-9]{6})(?P<right>[CP])(?P<mills>[0-9]{8})"
)
_POLARS_SYMBOL = r"^(?:O:)?[A-Z][A-Z.]{0,5}[0-9]?[0-9]{6}[CP][0-9]{8}$"
_NO_STRIKE = "00000000"


class SymbolError(ValueError):
    """Text that is not an option symbol, or parts that cannot make one."""


@dataclass(frozen=True, slots=True, order=True)
class OptionSymbol:
    """The four facts that an option symbol holds. ``right`` is ``C`` or ``P``."""

    root: str
    expiry: date
    right: str
    strike: Decimal

    @property
    def is_adjusted(self) -> bool:
        """Whether the root marks a contract changed by a corporate action (a trailing digit)."""
        return self.root[-1].isdigit()

    @property
    def underlying(self) -> str:
        """Ticker of the underlying stock or index."""
        return underlying_of_root(self.root)

    def __str__(self) -> str:
        return build_option_symbol(self.root, self.expiry, self.right, self.strike)


def underlying_of_root(root: str) -> str:
    """Underlying of an option root: index roots and share classes by table, adjusted roots cut.

    >>> underlying_of_root("SPXW"), underlying_of_root("AAPL1"), underlying_of_root("BRKB")
    ('SPX', 'AAPL', 'BRK.B')
    """
    base = root.rstrip("0123456789")
    return INDEX_ROOTS.get(base) or CLASS_SHARE_ROOTS.get(base) or base


def roots_of_underlying(underlying: str) -> list[str]:
    """Option roots of a stock, a fund or an index, without those of adjusted contracts; sorted.

    >>> roots_of_underlying("SPX"), roots_of_underlying("BRK.B")
    (['SPX', 'SPXW'], ['BRKB'])
    """
    known = {**INDEX_ROOTS, **CLASS_SHARE_ROOTS}
    return sorted(root for root, of in known.items() if of == underlying) or [underlying]


def parse_option_symbol(symbol: str) -> OptionSymbol:
    """Read ``O:AAPL261120C00150000`` or the same without its prefix.

    Raises:
        SymbolError: the text is not a symbol, its date does not exist, or its strike is zero.
    """
    match = _SYMBOL.fullmatch(symbol)
    if match is None:
        raise SymbolError(f"not an option symbol: {symbol!r}")
    if match["mills"] == _NO_STRIKE:
        raise SymbolError(f"no strike in {symbol!r}")
    digits = match["expiry"]
    try:
        expiry = date(2000 + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError:
        raise SymbolError(f"no such expiration date in {symbol!r}") from None
    return OptionSymbol(
        match["root"], expiry, match["right"], Decimal(match["mills"]) / Decimal(1000)
    )


def build_option_symbol(
    root: str, expiry: date, right: str, strike: Decimal | float | str, *, prefix: str = "O:"
) -> str:
    """The OPRA ticker of a contract.

    ``strike`` is in dollars; a float is read as the decimal it prints as, so 16.15 is 16150
    thousandths and not 16149.

    Raises:
        SymbolError: a right other than C or P, or a strike that has no eight-digit form.
    """
    mills = Decimal(str(strike)) * 1000
    if mills != mills.to_integral_value() or not 0 < mills < 100_000_000:
        raise SymbolError(f"strike {strike} cannot be written in thousandths of a dollar")
    symbol = f"{root}{expiry:%y%m%d}{right}{int(mills):08d}"
    if _SYMBOL.fullmatch(symbol) is None:
        raise SymbolError(f"cannot make an option symbol of {root!r}, {right!r}")
    return prefix + symbol


def option_symbol_columns(symbol: str = "symbol") -> list[pl.Expr]:
    """Expressions that read root, underlying, expiry, right, strike and is_adjusted from a column.

    In a lazy frame what they have in common is computed once, in half the time.

    Every field is null where `parse_option_symbol` would refuse the text. ``strike`` is in
    dollars, exact to the thousandth.
    """
    text = pl.col(symbol)
    # Two-digit years are of this century; ``%y`` would read 69 and later as 19xx.
    digits = pl.concat_str(pl.lit("20"), text.str.tail(15).str.head(6))
    expiry = digits.str.to_date("%Y%m%d", strict=False)
    mills = text.str.tail(8)
    is_symbol = text.str.contains(_POLARS_SYMBOL) & expiry.is_not_null() & (mills != _NO_STRIKE)
    root = pl.when(is_symbol).then(text.str.strip_prefix("O:").str.head(-15))
    base = root.str.strip_chars_end("0123456789")
    return [
        root.alias("root"),
        base.replace({**INDEX_ROOTS, **CLASS_SHARE_ROOTS}).alias("underlying"),
        pl.when(is_symbol).then(expiry).alias("expiry"),
        pl.when(is_symbol).then(text.str.tail(9).str.head(1)).alias("right"),
        pl.when(is_symbol).then(mills.cast(pl.Int64, strict=False) / 1000).alias("strike"),
        (root != base).alias("is_adjusted"),
    ]


def settlement_column(root: str = "root") -> pl.Expr:
    """``settlement``: AM where the root's contracts settle on opening prices, else PM."""
    morning = pl.col(root).is_in(sorted(AM_SETTLED_ROOTS))
    return pl.when(morning).then(pl.lit("AM")).otherwise(pl.lit("PM")).alias("settlement")


def exercise_style_column(said: str | None = None, root: str = "root") -> pl.Expr:
    """``style``: european or american, as the column ``said`` has it, else by the root.

    Options on indices are European, those on stocks and funds American (Cboe and OCC product
    specifications).
    """
    by_root = pl.when(pl.col(root).is_in(sorted(INDEX_ROOTS))).then(pl.lit("european"))
    style = by_root.otherwise(pl.lit("american"))
    if said is not None:
        known = pl.col(said).is_in(["european", "american"])
        style = pl.when(known).then(pl.col(said)).otherwise(style)
    return style.alias("style")
