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


def columns_of(text):
    return pl.DataFrame({"symbol": [text]}).select(option_symbol_columns()).row(0, named=True)


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
     "O:aapl211022C00150000", "O:AAPL211022C0015000", " O:AAPL211022C00150000",
     "O:AAPL211022C00150000\n", "O:AAPL211022C00000000", "O:AAPL2110٢٢C00150000"],
)  # fmt: skip
def test_malformed_symbols_are_refused_by_both_forms(text):
    with pytest.raises(SymbolError):
        parse_option_symbol(text)
    assert set(columns_of(text).values()) == {None}


@pytest.mark.feature(12)
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


def facts_of(text):
    """The fields as the scalar form reads them; all null where it refuses."""
    names = ("root", "underlying", "expiry", "right", "strike", "is_adjusted")
    try:
        symbol = parse_option_symbol(text)
    except SymbolError:
        return dict.fromkeys(names)
    return {name: getattr(symbol, name) for name in names} | {"strike": float(symbol.strike)}


@pytest.mark.feature(12)
@given(roots, st.dates(date(2003, 1, 1), date(2099, 12, 31)), st.sampled_from("CP"), mills)
def test_symbols_round_trip_and_columns_agree(root, expiry, right, strike):
    text = build_option_symbol(root, expiry, right, Decimal(strike) / 1000)
    symbol = parse_option_symbol(text)
    assert str(symbol) == text
    assert symbol == OptionSymbol(root, expiry, right, Decimal(strike) / 1000)
    assert columns_of(text) == facts_of(text)


#: Symbols, and what is nearly one: any date and strike, odd digits, stray text at either end.
near_symbols = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "O:", "o:", "\n", " "]),
        st.from_regex(r"[A-Z.]{0,7}[0-9]{0,2}", fullmatch=True),
        st.from_regex(r"[0-9]{2}[0-1][0-9][0-3][0-9]", fullmatch=True),
        st.sampled_from("CPX"),
        st.one_of(st.just("00000000"), st.from_regex(r"[0-9]{7,9}", fullmatch=True),
                  st.just("0001500٠")),
        st.sampled_from(["", "\n", "\r\n", " "]),
    ),
)  # fmt: skip


@given(st.one_of(near_symbols, st.text()))
def test_both_forms_agree_on_any_text(text):
    assert columns_of(text) == facts_of(text)
