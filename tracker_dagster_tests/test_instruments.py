"""Option symbols: vendor examples, malformed ones, and the scalar against the column form."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker_dagster.instruments import (
    OptionSymbol,
    SymbolError,
    build_option_symbol,
    option_symbol_columns,
    parse_option_symbol,
)


def test_vendor_example_is_read_from_the_right():
    symbol = parse_option_symbol("O:SPY251219C00650000")
    assert symbol == OptionSymbol("SPY", date(2025, 12, 19), "C", Decimal(650))
    assert (symbol.underlying, symbol.is_adjusted) == ("SPY", False)


@pytest.mark.parametrize(
    ("text", "root", "underlying", "adjusted"),
    [
        ("O:AAPL1140621C00085000", "AAPL1", "AAPL", True),
        ("O:SPXW261120P05900000", "SPXW", "SPX", False),
        ("O:BRKB261218C00450000", "BRKB", "BRK.B", False),
        ("O:A260618C00100000", "A", "A", False),
        ("O:VIXW261216C00020000", "VIXW", "VIX", False),
    ],
)
def test_roots_of_adjusted_index_and_class_shares(text, root, underlying, adjusted):
    symbol = parse_option_symbol(text)
    assert (symbol.root, symbol.underlying, symbol.is_adjusted) == (root, underlying, adjusted)


@pytest.mark.parametrize(
    "text",
    ["", "AAPL", "O:AAPL211022C000150000", "O:AAPL211322C00150000", "O:AAPL211022X00150000",
     "O:aapl211022C00150000", "O:AAPL211022C0015000", " O:AAPL211022C00150000"],
)  # fmt: skip
def test_malformed_symbols_are_refused_by_both_forms(text):
    with pytest.raises(SymbolError):
        parse_option_symbol(text)
    row = pl.DataFrame({"symbol": [text]}).select(option_symbol_columns()).row(0, named=True)
    assert row["expiry"] is None or row["root"] is None


@pytest.mark.parametrize(
    ("strike", "mills"), [(16.15, "00016150"), (32.05, "00032050"), ("0.5", "00000500")]
)  # fmt: skip
def test_strikes_that_floats_cannot_hold_are_built_exactly(strike, mills):
    assert build_option_symbol("F", date(2026, 11, 20), "C", strike) == f"O:F261120C{mills}"


@pytest.mark.parametrize("strike", [0, -1, 100_000, 1.2345])
def test_strikes_without_an_eight_digit_form_are_refused(strike):
    with pytest.raises(SymbolError):
        build_option_symbol("F", date(2026, 11, 20), "C", strike)


roots = st.from_regex(r"[A-Z]{1,5}[0-9]?", fullmatch=True)
mills = st.integers(1, 99_999_999)


@given(roots, st.dates(date(2003, 1, 1), date(2099, 12, 31)), st.sampled_from("CP"), mills)
def test_symbols_round_trip_and_columns_agree(root, expiry, right, strike):
    if expiry.year >= 2069:  # polars reads two-digit years from 69 on as 19xx, as POSIX does
        expiry = expiry.replace(year=2068, day=min(expiry.day, 28))
    text = build_option_symbol(root, expiry, right, Decimal(strike) / 1000)
    symbol = parse_option_symbol(text)
    assert str(symbol) == text
    row = pl.DataFrame({"symbol": [text]}).select(option_symbol_columns()).row(0, named=True)
    assert row == {
        "root": symbol.root,
        "underlying": symbol.underlying,
        "expiry": symbol.expiry,
        "right": symbol.right,
        "strike": float(symbol.strike),
        "is_adjusted": symbol.is_adjusted,
    }
