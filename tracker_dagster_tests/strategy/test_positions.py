"""Position health: dollars by hand, triggers at their limits, every advice."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from tracker_dagster.schemas.book import CONTRACT_HEALTH, RECOMMENDATIONS
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES
from tracker_dagster.strategy.positions import contract_health
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY, SLOT

SYMBOL = "O:AAA250613C00051000"
NEXT_EXPIRY = date(2025, 6, 20)
ROLLED = "O:AAA250620C00051000"


def quotes(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"right": "C", "strike": 51.0, "expiry": EXPIRY, "quote_status": "OK",
            "symbol": SYMBOL, "quote_at": SLOT}  # fmt: skip
    full = []
    for row in rows:
        merged = {**base, **row}
        if merged.get("bid") is not None and merged.get("ask") is not None:
            merged.setdefault("mid", (merged["bid"] + merged["ask"]) / 2)
        full.append(merged)
    return OPTION_CHAIN.conform(
        pl.DataFrame(full, infer_schema_length=None),
        trade_date=DAY, slot=SLOT, source="massive_snapshot", available_at=SLOT,
        underlying="AAA", root="AAA", is_standard=True, shares_per_contract=100.0,
        greeks_status="NOT_SENT",
    )  # fmt: skip


def position(**changes: Any) -> pl.DataFrame:
    base = {"symbol": SYMBOL, "ticker": "AAA", "expiry": EXPIRY, "strike": 51.0,
            "open_price": 1.00, "stock_basis": 49.0}  # fmt: skip
    return worlds.positions([{**base, **changes}])


def check(
    stock: float = 48.0,
    chain: pl.DataFrame | None = None,
    held: pl.DataFrame | None = None,
    **changes: Any,
) -> dict[str, Any]:
    frame = contract_health(
        position() if held is None else held,
        changes.get("prices", worlds.last_prices({"AAA": stock})),
        quotes({"bid": 0.58, "ask": 0.62}) if chain is None else chain,
        changes.get("bars", worlds.daily({"AAA": 48.0}, {"AAA": 0.3}, sessions=3)),
        changes.get("actions"),
        changes.get("structure", worlds.structure(["AAA"])),
        DAY,
        DECISION_AT,
    )
    assert CONTRACT_HEALTH.schema.filter(frame)[1].counts() == {}
    return frame.row(0, named=True)


def test_profit_and_loss_in_dollars() -> None:
    row = check(stock=50.0, held=position(quantity=-3))
    assert row["option_pnl"] == pytest.approx((1.00 - 0.60) * 100 * 3)
    assert row["stock_pnl"] == pytest.approx((50.0 - 49.0) * 100 * 3)
    assert row["total_pnl"] == pytest.approx(120 + 300)
    assert row["premium_captured"] == pytest.approx(0.40)
    assert row["moneyness"] == pytest.approx(50 / 51 - 1)
    assert row["dte"] == 4
    assert row["remaining_yield"] == pytest.approx(0.62 / 50 * 365 / 4)


def test_fees_are_paid_out_of_the_profit() -> None:
    row = check(stock=50.0, held=position(quantity=-3, fees=1.95))
    assert row["option_pnl"] == pytest.approx(120 - 1.95)
    assert row["total_pnl"] == pytest.approx(120 + 300 - 1.95)


def test_an_unknown_basis_leaves_the_stock_leg_and_the_total_unknown() -> None:
    row = check(held=position(stock_basis=None))
    assert row["option_pnl"] == pytest.approx(40.0)
    assert row["stock_pnl"] is None
    assert row["total_pnl"] is None


def test_a_sold_put_has_no_stock_leg() -> None:
    symbol = "O:AAA250613P00045000"
    put = position(symbol=symbol, right="P", strike=45.0, stock_basis=None)
    row = check(held=put, chain=quotes({"symbol": symbol, "right": "P", "strike": 45.0,
                                        "bid": 0.28, "ask": 0.32}))  # fmt: skip
    assert row["total_pnl"] == pytest.approx(70.0)
    assert row["deep_itm"] is False


@pytest.mark.parametrize(
    ("stock", "near", "deep"),
    [(49.4, False, False), (49.5, True, False), (52.5, True, False), (52.6, False, False),
     (53.5, False, False), (53.6, False, True)],
)  # fmt: skip
def test_triggers_on_the_strike(stock: float, near: bool, deep: bool) -> None:
    row = check(stock=stock, chain=quotes({"bid": 2.9, "ask": 3.0}))
    assert row["near_strike"] is near
    assert row["deep_itm"] is deep


def test_rapid_up_is_told_from_the_close_before_in_todays_shares() -> None:
    assert check(stock=50.5)["rapid_up"] is True
    assert check(stock=50.3)["rapid_up"] is False
    assert check(bars=worlds.daily({"ZZZ": 1.0}, {"ZZZ": 0.1}, sessions=3))["rapid_up"] is None
    split = worlds.actions([{"ticker": "AAA", "action": "split", "ex_date": DAY,
                             "split_from": 1.0, "split_to": 2.0}])  # fmt: skip
    row = check(stock=24.2, actions=split)
    assert row["day_change"] == pytest.approx(24.2 / 24.0 - 1)


def test_holds_when_nothing_asks_for_more() -> None:
    row = check()
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    assert json.loads(row["reasons"]) == ["no trigger asks for anything"]


def test_closes_early_once_the_premium_is_captured_at_the_ask() -> None:
    assert check(chain=quotes({"bid": 0.16, "ask": 0.20}))["recommendation"] == "CLOSE_EARLY"
    assert check(chain=quotes({"bid": 0.16, "ask": 0.21}))["recommendation"] != "CLOSE_EARLY"


def test_a_wide_spread_is_not_traded_on() -> None:
    assert check(chain=quotes({"bid": 0.50, "ask": 0.70}))["recommendation"] == "HOLD_WIDE_SPREAD"


def rolling(bid: float) -> dict[str, Any]:
    late = position(expiry=date(2025, 6, 11), symbol="O:AAA250611C00051000")
    chain = quotes(
        {"symbol": "O:AAA250611C00051000", "expiry": date(2025, 6, 11), "bid": 0.95, "ask": 1.0},
        {"symbol": "O:AAA250613C00051000", "expiry": EXPIRY, "bid": bid, "ask": bid + 0.05},
    )
    return check(stock=51.5, chain=chain, held=late)


def test_rolls_out_for_a_credit_near_the_expiry() -> None:
    row = rolling(1.40)
    assert row["recommendation"] == "ROLL_OUT"
    assert row["roll_symbol"] == SYMBOL
    assert row["roll_credit"] == pytest.approx(40.0)


def test_a_roll_that_costs_money_is_told_but_not_advised() -> None:
    row = rolling(0.80)
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    assert row["roll_credit"] == pytest.approx(-20.0)
    assert "rolling costs 20.00 USD" in json.loads(row["reasons"])


def test_a_threatened_call_with_nothing_to_roll_to_holds() -> None:
    late = position(expiry=date(2025, 6, 10), symbol=SYMBOL)
    chain = quotes({"expiry": date(2025, 6, 10), "bid": 0.95, "ask": 1.0})
    row = check(stock=51.5, held=late, chain=chain)
    assert row["roll_symbol"] is None
    assert row["recommendation"] == "HOLD_TO_ASSIGN"


@pytest.mark.parametrize(
    ("changes", "anomaly"),
    [
        ({"prices": worlds.last_prices({"ZZZ": 1.0})}, "no_stock_price"),
        ({"prices": worlds.last_prices({"AAA": 48.0}, slot=SLOT - timedelta(hours=1))},
         "stale_stock_price"),
        ({"chain": quotes({"symbol": ROLLED, "bid": 1.0, "ask": 1.1})}, "contract_not_in_chain"),
        ({"chain": quotes({"bid": 0.7, "ask": 0.6, "mid": None, "quote_status": "CROSSED"})},
         "quote_crossed"),
        ({"chain": quotes({"ask": 0.6, "quote_status": "NO_BID"})}, "quote_no_bid"),
        ({"chain": quotes({"bid": 0.5, "ask": 0.6, "quote_at": SLOT - timedelta(hours=5)})},
         "stale_quote"),
        ({"stock": 55.0}, "mid_below_intrinsic"),
        ({"held": position(expiry=date(2025, 6, 6))}, "expired_but_open"),
        ({"actions": worlds.actions([{"ticker": "AAA", "action": "split", "ex_date": DAY,
                                      "split_from": 1.0, "split_to": 2.0}])},
         "split_since_opening"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_doubtful_data_is_a_reason_to_do_nothing(changes: dict[str, Any], anomaly: str) -> None:
    row = check(**changes)
    assert anomaly in json.loads(row["anomalies"])
    assert row["recommendation"] == "HOLD_DATA_ISSUE"


def test_later_quotes_and_prices_are_not_used() -> None:
    later = DECISION_AT + timedelta(minutes=5)
    chain = quotes({"bid": 0.58, "ask": 0.62})
    shifted = chain.with_columns(
        pl.lit(later).cast(chain.schema["slot"]).alias("slot"), mid=pl.lit(9.0)
    )
    prices = pl.concat(
        [worlds.last_prices({"AAA": 48.0}), worlds.last_prices({"AAA": 99.0}, slot=later)]
    )
    row = check(chain=pl.concat([chain, shifted]), prices=prices)
    assert row["stock_price"] == 48.0
    assert row["mid"] == pytest.approx(0.60)


def test_gate_flags_are_those_of_the_underlying() -> None:
    assert check(structure=worlds.structure(["AAA"], unstable=["AAA"]))["fft_status"] == "unstable"
    assert check(structure=STRUCTURE_FEATURES.empty())["fft_status"] is None


def test_closed_positions_are_not_checked() -> None:
    frame = contract_health(
        position(status="CLOSED"), worlds.last_prices({"AAA": 48.0}),
        quotes({"bid": 0.5, "ask": 0.6}), worlds.daily({"AAA": 48.0}, {"AAA": 0.3}, sessions=3),
        None, worlds.structure(["AAA"]), DAY, DECISION_AT,
    )  # fmt: skip
    assert frame.is_empty()


def test_every_recommendation_can_happen() -> None:
    reached = {
        check()["recommendation"],
        check(chain=quotes({"bid": 0.16, "ask": 0.20}))["recommendation"],
        check(chain=quotes({"bid": 0.50, "ask": 0.70}))["recommendation"],
        check(stock=60.0)["recommendation"],
        rolling(1.40)["recommendation"],
    }
    assert reached == set(RECOMMENDATIONS)
