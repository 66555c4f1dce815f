"""Which contracts are followed: nearest strikes by hand, every reason kept."""

from datetime import date

import polars as pl
import pytest

from tracker_dagster.strategy.chosen_contracts import at_the_money, chosen_contracts

FRIDAY, NEXT = date(2026, 6, 5), date(2026, 6, 12)


def contracts(*rows):
    return pl.DataFrame(
        [
            {
                "symbol": f"O:{name}{right}{strike}{expiry:%d}",
                "underlying": name,
                "expiry": expiry,
                "right": right,
                "strike": strike,
                "is_standard": is_standard,
            }
            for name, expiry, right, strike, is_standard in rows
        ]
    )


def prices(**known):
    return pl.DataFrame(
        {"ticker": list(known), "price": list(known.values())},
        schema_overrides={"price": pl.Float64},
    )


def test_the_nearest_strike_of_each_right_and_the_lower_of_two_as_near():
    listed = contracts(
        *(("SPY", FRIDAY, "C", strike, True) for strike in (598.0, 600.0, 602.0)),
        *(("SPY", FRIDAY, "P", strike, True) for strike in (590.0, 606.0)),
        *(("QQQ", FRIDAY, "C", strike, True) for strike in (99.0, 102.0)),
    )
    found = at_the_money(listed, prices(SPY=601.0, QQQ=101.0), FRIDAY)
    assert found.rows() == [
        ("O:QQQC102.005", "QQQ"),
        ("O:SPYC600.005", "SPY"),
        ("O:SPYP606.005", "SPY"),
    ]


def test_other_expiries_adjusted_contracts_and_unpriced_underlyings_are_left_out():
    listed = contracts(
        ("SPY", NEXT, "C", 600.0, True),
        ("SPY", FRIDAY, "C", 600.0, False),
        ("SPY", FRIDAY, "C", 640.0, True),
        ("QQQ", FRIDAY, "C", 100.0, True),
    )
    assert at_the_money(listed, prices(SPY=600.0, QQQ=None), FRIDAY)["symbol"].to_list() == [
        "O:SPYC640.005"
    ]


def test_a_contract_with_several_reasons_is_one_contract():
    def of(*symbols):
        return pl.DataFrame({"symbol": symbols}, schema={"symbol": pl.String})

    chosen = chosen_contracts(
        {
            "benchmark": of("O:B"),
            "position": of("O:B", "O:A", "O:A"),
            "promotion": of(None),
            "pick": of("O:A", "O:A", "O:C"),
        }
    )
    assert chosen.rows() == [
        ("O:A", "pick+position"),
        ("O:B", "position+benchmark"),
        ("O:C", "pick"),
    ]
    assert chosen_contracts({}).is_empty()
    with pytest.raises(ValueError, match="whim"):
        chosen_contracts({"whim": of("O:A")})
