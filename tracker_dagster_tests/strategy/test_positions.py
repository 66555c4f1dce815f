"""Position health: dollars by hand, triggers at their limits, every advice."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from tracker_dagster.instruments import build_option_symbol
from tracker_dagster.schemas.book import CONTRACT_HEALTH, RECOMMENDATIONS
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.schemas.decisions import STRUCTURE_FEATURES
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.strategy.early_assignment import EARLY_SCHEMA
from tracker_dagster.strategy.positions import contract_health
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY, SLOT

SYMBOL = "O:AAA250613C00051000"
NEXT_EXPIRY = date(2025, 6, 20)
ROLLED = "O:AAA250620C00051000"


def quotes(*rows: dict[str, Any]) -> pl.DataFrame:
    base = {"right": "C", "strike": 51.0, "expiry": EXPIRY, "quote_status": "OK",
            "symbol": SYMBOL, "quote_at": SLOT, "is_standard": True}  # fmt: skip
    full = []
    for row in rows:
        merged = {**base, **row}
        if merged.get("bid") is not None and merged.get("ask") is not None:
            merged.setdefault("mid", (merged["bid"] + merged["ask"]) / 2)
        full.append(merged)
    return OPTION_CHAIN.conform(
        pl.DataFrame(full, infer_schema_length=None),
        trade_date=DAY, slot=SLOT, source="massive_snapshot", available_at=SLOT,
        underlying="AAA", root="AAA", shares_per_contract=100.0,
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
        greeks=changes.get("greeks"),
        dividends=changes.get("dividends"),
        dividend_sources=changes.get("sources"),
        exercised=changes.get("exercised"),
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
    # Bought back at 1.00, sold at 1.40, 0.65 paid for each trade.
    assert row["roll_credit"] == pytest.approx(40.0 - 1.30)
    assert json.loads(row["reasons"])[-1] == (
        f"{SYMBOL} brings a net credit of 38.70 USD after 1.30 USD of fees"
    )


def test_a_credit_that_the_fees_eat_up_is_none() -> None:
    row = rolling(1.01)
    assert row["roll_credit"] == pytest.approx(1.00 - 1.30)
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    assert json.loads(row["reasons"])[-1] == "rolling costs 0.30 USD after 1.30 USD of fees"


def test_a_roll_that_costs_money_is_told_but_not_advised() -> None:
    row = rolling(0.80)
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    assert row["roll_credit"] == pytest.approx(-21.30)
    assert "rolling costs 21.30 USD after 1.30 USD of fees" in json.loads(row["reasons"])


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
        ({"chain": quotes({"ask": 3.6, "quote_status": "NO_BID"}), "stock": 54.0}, "quote_no_bid"),
        ({"chain": quotes({"bid": 0.6, "quote_status": "NO_ASK"})}, "quote_no_ask"),
        ({"chain": quotes({"ask": 0.6, "quote_status": "NO_BID",
                           "quote_at": SLOT - timedelta(hours=5)})}, "stale_quote"),
        ({"chain": quotes({"bid": 0.5, "ask": 0.6, "quote_at": SLOT - timedelta(hours=5)})},
         "stale_quote"),
        ({"chain": quotes({"bid": 0.5, "ask": 0.6, "is_standard": False})}, "adjusted_contract"),
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


PUT = "O:AAA250611P00051000"


def rolling_put(*later: dict[str, Any], stock: float = 50.0) -> dict[str, Any]:
    """A put sold at 51 that expires in two days, in the money."""
    put = position(symbol=PUT, right="P", expiry=date(2025, 6, 11), stock_basis=None)
    own = {"symbol": PUT, "right": "P", "expiry": date(2025, 6, 11), "bid": 1.05, "ask": 1.10}
    return check(stock=stock, held=put, chain=quotes(own, *later))


def later(strike: float, expiry: date, bid: float, right: str = "C") -> dict[str, Any]:
    symbol = build_option_symbol("AAA", expiry, right, strike)
    return {"symbol": symbol, "right": right, "strike": strike, "expiry": expiry, "bid": bid,
            "ask": bid + 0.05}  # fmt: skip


@pytest.mark.feature(26)
def test_every_recommendation_can_happen() -> None:
    reached = {
        check()["recommendation"],
        check(chain=quotes({"bid": 0.16, "ask": 0.20}))["recommendation"],
        check(chain=quotes({"bid": 0.50, "ask": 0.70}))["recommendation"],
        check(stock=60.0)["recommendation"],
        rolling(1.40)["recommendation"],
        rolling_up(later(52.0, NEXT_EXPIRY, 1.30))["recommendation"],
        rolling_put(later(50.0, EXPIRY, 1.30, "P"))["recommendation"],
    }
    assert reached == set(RECOMMENDATIONS)


def rolling_up(*candidates: dict[str, Any], stock: float = 51.5) -> dict[str, Any]:
    """A call sold at 51 that expires in two days, half a dollar in the money, asked at 1.00."""
    symbol = "O:AAA250611C00051000"
    late = position(expiry=date(2025, 6, 11), symbol=symbol, quantity=-2)
    own = {"symbol": symbol, "expiry": date(2025, 6, 11), "bid": 0.95, "ask": 1.0}
    return check(stock=stock, held=late, chain=quotes(own, *candidates))


@pytest.mark.feature(26)
def test_rolls_up_and_out_where_a_higher_strike_brings_a_credit() -> None:
    row = rolling_up(
        later(51.0, EXPIRY, 1.60),  # same strike: 0.60 in two days, but no room
        later(52.0, EXPIRY, 1.10),  # 0.10 in two days: 0.05 a day
        later(52.0, NEXT_EXPIRY, 1.36),  # 0.36 in nine days: 0.04 a day
        later(53.0, NEXT_EXPIRY, 0.95),  # costs
        later(50.0, NEXT_EXPIRY, 2.50),  # further in the money is no candidate
    )
    assert row["recommendation"] == "ROLL_UP_AND_OUT"
    assert (row["roll_strike"], row["roll_expiry"]) == (52.0, EXPIRY)
    # Two contracts bought back and two sold, at 0.65 each.
    assert row["roll_credit"] == pytest.approx((1.10 - 1.00) * 200 - 4 * 0.65)
    # 52 + 1.00 sold first - 1.00 to buy it back + 1.10 sold again.
    assert row["roll_cap"] == pytest.approx(53.10)
    assert row["roll_bid"] == 1.10
    assert row["rolls_count"] == 4


def test_rolls_out_at_the_same_strike_where_no_higher_one_pays() -> None:
    row = rolling_up(later(51.0, EXPIRY, 1.60), later(52.0, EXPIRY, 0.90))
    assert row["recommendation"] == "ROLL_OUT"
    assert row["roll_strike"] == 51.0


def test_a_put_rolls_down_and_out() -> None:
    row = rolling_put(
        later(51.0, EXPIRY, 1.60, "P"), later(50.0, EXPIRY, 1.30, "P"),
        later(52.0, EXPIRY, 2.60, "P"), later(50.0, EXPIRY, 3.0, "C"),
    )  # fmt: skip
    assert row["recommendation"] == "ROLL_DOWN_AND_OUT"
    assert row["roll_strike"] == 50.0
    assert row["roll_credit"] == pytest.approx((1.30 - 1.10) * 100 - 2 * 0.65)
    # Shares would cost 50 less 1.00, plus 1.10, less 1.30.
    assert row["roll_cap"] == pytest.approx(50 - 1.00 + 1.10 - 1.30)


@pytest.mark.parametrize(
    "flaw",
    [{"is_standard": False}, {"quote_status": "NO_BID", "bid": None, "mid": None},
     {"bid": 1.10, "ask": 1.80}, {"quote_at": SLOT - timedelta(hours=3)},
     {"expiry": date(2025, 6, 27)}],
    ids=["adjusted", "no bid", "wide", "stale", "third week"],
)  # fmt: skip
def test_what_cannot_be_traded_on_is_no_candidate(flaw: dict[str, Any]) -> None:
    row = rolling_up({**later(52.0, EXPIRY, 1.30), **flaw})
    assert row["rolls_count"] == 0
    assert row["roll_symbol"] is None
    assert "no tradable contract to roll to" in json.loads(row["reasons"])


def test_the_next_weekly_expiry_is_the_calendars() -> None:
    """Friday 4 July 2025 is a holiday: that week's options expire on Thursday."""
    late = position(expiry=date(2025, 6, 27), symbol="O:AAA250627C00051000")
    chain = quotes(
        {"symbol": "O:AAA250627C00051000", "expiry": date(2025, 6, 27), "bid": 0.95, "ask": 1.0},
        later(51.0, date(2025, 7, 3), 1.40),
    )
    assert check(stock=50.0, held=late, chain=chain)["roll_expiry"] == date(2025, 7, 3)


def test_rolls_against_a_slow_twin() -> None:
    """Every pair of a position and a contract looked at one by one, the best by its rule."""
    rng = random.Random(4)
    for _ in range(40):
        rows = [
            later(50.0 + k, expiry, round(rng.uniform(0.5, 2.0), 2), right)
            for k in range(-2, 4)
            for expiry in (EXPIRY, NEXT_EXPIRY, date(2025, 6, 27))
            for right in "CP"
            if rng.random() < 0.7
        ]
        row = rolling_up(*rows)
        best = None
        for quote in rows:
            if quote["right"] != "C" or quote["expiry"] > NEXT_EXPIRY or quote["strike"] < 51:
                continue
            mid = quote["bid"] + 0.025
            if 0.05 / mid > 0.20:
                continue
            credit = round((quote["bid"] - 1.0) * 200 - 4 * 0.65, 2)
            days = (quote["expiry"] - date(2025, 6, 11)).days
            up = quote["strike"] > 51
            group = 0 if up and credit > 0 else 1 if not up else 2
            worth = credit / days if credit > 0 else credit
            # A gain before a loss, then by worth, sooner, further out.
            key = (group, credit <= 0, -worth, days, -quote["strike"])
            if best is None or key < best[0]:
                best = (key, quote["symbol"])
        assert row["roll_symbol"] == (best and best[1])


@pytest.mark.feature(26)
def test_closing_now_against_being_assigned_by_hand() -> None:
    """Two calls at 51, sold at 1.00, asked at 0.62; shares of 49 are at 52; fees of 1.30."""
    row = check(stock=52.0, held=position(quantity=-2, fees=1.30),
                chain=quotes({"bid": 1.58, "ask": 1.62}))  # fmt: skip
    closed = 200 * ((52 - 49) + 1.00 - 1.62) - 1.30
    assigned = 200 * ((51 - 49) + 1.00) - 1.30
    assert row["closed_pnl"] == pytest.approx(closed)
    assert row["assigned_pnl"] == pytest.approx(assigned)
    # shares x (S - K - C): 200 x (52 - 51 - 1.62) = -124
    assert row["delta_gain"] == pytest.approx(-124.0)
    assert row["delta_gain"] == pytest.approx(closed - assigned)
    assert row["time_value"] == pytest.approx(1.60 - 1.0)


def test_a_put_is_priced_as_a_put() -> None:
    """A put at 51, sold at 1.00, asked at 1.10, the stock at 50: assigned, it is 1.00 down."""
    row = rolling_put()
    assert row["closed_pnl"] == pytest.approx(100 * (1.00 - 1.10))
    assert row["assigned_pnl"] == pytest.approx(100 * (1.00 - 1.00))
    assert row["delta_gain"] == pytest.approx(100 * (51 - 50 - 1.10))
    assert row["time_value"] == pytest.approx(1.075 - 1.0)
    assert row["early_assignment"] is False


def test_without_a_basis_the_difference_is_still_known() -> None:
    row = check(stock=52.0, held=position(stock_basis=None),
                chain=quotes({"bid": 1.58, "ask": 1.62}))  # fmt: skip
    assert row["closed_pnl"] is None
    assert row["assigned_pnl"] is None
    assert row["delta_gain"] == pytest.approx(100 * (52 - 51 - 1.62))


def paying(amount: float, ex_date: date) -> dict[str, Any]:
    frame = pl.DataFrame(
        {"underlying": ["AAA"], "ex_date": [ex_date], "years": [0.01], "amount": [amount]}
    )
    known = pl.DataFrame({"underlying": ["AAA"], "dividend_source": ["corporate_actions"]})
    return {"dividends": frame, "sources": known}


@pytest.mark.feature(26)
@pytest.mark.parametrize(
    ("stock", "bid", "amount", "ex_date", "flag"),
    [
        (52.0, 1.25, 0.30, date(2025, 6, 12), True),  # 0.27 of time value is left
        (52.0, 1.25, 0.27, date(2025, 6, 12), False),
        (52.0, 1.35, 0.30, date(2025, 6, 12), False),
        (50.9, 0.25, 0.30, date(2025, 6, 12), False),  # out of the money
        (52.0, 1.25, 0.30, date(2025, 6, 13), True),  # on the expiration day itself
        (52.0, 1.25, 0.30, date(2025, 6, 16), False),  # after it
    ],
)
def test_early_assignment_before_an_ex_date(
    stock: float, bid: float, amount: float, ex_date: date, flag: bool
) -> None:
    chain = quotes({"bid": bid, "ask": bid + 0.04})
    row = check(stock=stock, chain=chain, **paying(amount, ex_date))
    assert row["early_assignment"] is flag
    if flag:
        assert (
            row["early_assignment_note"] == f"0.30 USD ex {ex_date} against 0.27 USD of time value"
        )
        assert row["ex_date"] == ex_date
        assert any("exercised early" in why for why in json.loads(row["reasons"]))


@pytest.mark.parametrize("outcome", ["ASSIGNED", "KEPT", None])
def test_a_call_that_was_exercised_as_far_as_can_be_told_is_a_note(outcome: str | None) -> None:
    looked_at = pl.DataFrame(
        [{"position_id": "p0", "session": date(2025, 6, 6), "outcome": outcome,
          "reason": "dividend 0.30 is more than the 0.02 given up by exercising"}],
        schema=EARLY_SCHEMA,
    )  # fmt: skip
    row = check(exercised=looked_at)
    if outcome != "ASSIGNED":
        assert (row["anomalies"], row["recommendation"]) == ("[]", "HOLD_TO_ASSIGN")
        return
    assert json.loads(row["anomalies"]) == ["likely_assigned_early"]
    assert row["recommendation"] == "HOLD_DATA_ISSUE"
    assert json.loads(row["reasons"])[-1] == (
        "likely assigned early on 2025-06-06: dividend 0.30 is more than the 0.02 "
        "given up by exercising; `tracker assign` records it once the broker says so"
    )


def test_unknown_dividends_are_not_none() -> None:
    unknown = pl.DataFrame({"underlying": ["AAA"], "dividend_source": ["not_collected"]})
    none_ahead = paying(0.3, DAY)["dividends"].clear()
    row = check(dividends=none_ahead, sources=unknown)
    assert row["early_assignment"] is None
    assert row["early_assignment_note"] == "dividends are not known: not_collected"
    assert check(dividends=none_ahead, sources=paying(0.3, DAY)["sources"])[
        "early_assignment"] is False  # fmt: skip


def test_a_call_that_nobody_bids_for_is_closed_at_its_ask() -> None:
    row = check(chain=quotes({"bid": None, "ask": 0.05, "mid": None, "quote_status": "NO_BID"}))
    assert row["recommendation"] == "CLOSE_EARLY"
    assert json.loads(row["anomalies"]) == []
    assert json.loads(row["reasons"]) == [
        "95% of the premium is captured at the ask",
        "nobody bids for it any more: valued at half its ask",
    ]


def last_day(stock: float, quote: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """One option on its expiration day: a call at 51, or what ``changes`` make of it."""
    symbol = build_option_symbol("AAA", DAY, changes.get("right", "C"), 51.0)
    own = {"symbol": symbol, "expiry": DAY, "right": changes.get("right", "C"), **quote}
    if quote.get("bid") is None:
        own["quote_status"] = "NO_BID"
    rolls = later(51.0, EXPIRY, 1.60), later(52.0, EXPIRY, 1.30)
    return check(
        stock=stock, held=position(symbol=symbol, expiry=DAY, **changes), chain=quotes(own, *rolls)
    )


@pytest.mark.feature(26)
def test_a_call_that_ends_worthless_is_a_win_and_no_trouble_with_the_data() -> None:
    """Sold at 1.00, the stock at 48: between 0 and 0.01, so worth half a cent."""
    row = last_day(48.0, {"ask": 0.01})
    assert (row["mid"], row["mark"], row["mark_source"]) == (None, 0.005, "half_ask")
    assert json.loads(row["anomalies"]) == []
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    # 51 / 48 = 1.0625
    assert json.loads(row["reasons"]) == [
        "expires worthless unless the stock rises 6.2%",
        "nobody bids for it any more: valued at half its ask",
    ]
    assert row["option_pnl"] == pytest.approx(99.50)
    assert row["total_pnl"] == pytest.approx(99.50 - 100.0)
    assert row["closed_pnl"] == pytest.approx(99.00 - 100.0)
    assert row["premium_captured"] == pytest.approx(0.995)


def test_a_spread_of_a_cent_on_the_last_day_is_nothing_to_wait_for() -> None:
    row = last_day(50.0, {"bid": 0.01, "ask": 0.02})
    assert row["wide_spread"] is True
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    assert json.loads(row["reasons"]) == ["expires worthless unless the stock rises 2.0%"]
    assert row["mark_source"] == "mid"
    # In the money it is not about to expire, and a narrow quote near the strike can be rolled.
    assert last_day(51.5, {"bid": 0.4, "ask": 0.7})["recommendation"] == "HOLD_WIDE_SPREAD"
    assert last_day(50.9, {"bid": 0.40, "ask": 0.42})["recommendation"] == "ROLL_UP_AND_OUT"


def test_a_put_that_ends_worthless_needs_a_fall() -> None:
    row = last_day(60.0, {"ask": 0.01}, right="P", stock_basis=None)
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    assert json.loads(row["reasons"])[0] == "expires worthless unless the stock falls 15.0%"
    assert row["total_pnl"] == pytest.approx(99.50)


def test_before_the_last_day_no_bid_is_marked_as_well() -> None:
    row = check(chain=quotes({"ask": 0.5, "quote_status": "NO_BID"}))
    assert json.loads(row["anomalies"]) == []
    assert row["option_pnl"] == pytest.approx((1.00 - 0.25) * 100)
    assert row["recommendation"] == "HOLD_TO_ASSIGN"
    assert "nobody bids for it any more: valued at half its ask" in json.loads(row["reasons"])


def test_results_across_a_split_are_not_told() -> None:
    """Two for one: a share at 24.10 against a basis of 49 of before is no loss of 24.90."""
    split = worlds.actions([{"ticker": "AAA", "action": "split", "ex_date": DAY,
                             "split_from": 1.0, "split_to": 2.0}])  # fmt: skip
    row = check(stock=24.1, actions=split, chain=quotes(
        {"bid": 0.58, "ask": 0.62}, later(51.0, NEXT_EXPIRY, 1.60)))  # fmt: skip
    for name in ("option_pnl", "stock_pnl", "total_pnl", "closed_pnl", "assigned_pnl",
                 "delta_gain", "premium_captured", "moneyness", "time_value", "near_strike",
                 "deep_itm", "roll_symbol", "roll_credit"):  # fmt: skip
        assert row[name] is None, name
    assert json.loads(row["reasons"]) == ["split_since_opening"]


def test_deep_in_the_money_calls_for_a_roll_long_before_the_expiry() -> None:
    far = position(expiry=NEXT_EXPIRY, symbol=ROLLED)
    chain = quotes({"symbol": ROLLED, "expiry": NEXT_EXPIRY, "bid": 2.95, "ask": 3.0},
                   later(51.0, date(2025, 6, 27), 3.4))  # fmt: skip
    row = check(stock=53.8, held=far, chain=chain, bars=worlds.daily({"AAA": 53.0}, {"AAA": 0.3}))
    assert (row["deep_itm"], row["rapid_up"]) == (True, False)
    assert row["recommendation"] == "ROLL_OUT"
    assert check(stock=53.0, held=far, chain=quotes(
        {"symbol": ROLLED, "expiry": NEXT_EXPIRY, "bid": 2.95, "ask": 3.0},
        later(51.0, date(2025, 6, 27), 3.4)), bars=worlds.daily({"AAA": 53.0}, {"AAA": 0.3}),
    )["recommendation"] == "HOLD_TO_ASSIGN"  # fmt: skip


def test_a_fast_rise_into_the_money_calls_for_a_roll() -> None:
    chain = quotes({"bid": 1.45, "ask": 1.5}, later(52.0, NEXT_EXPIRY, 1.6))
    assert check(stock=51.5, chain=chain)["recommendation"] == "ROLL_UP_AND_OUT"
    slow = worlds.daily({"AAA": 51.4}, {"AAA": 0.3}, sessions=3)
    assert check(stock=51.5, chain=chain, bars=slow)["recommendation"] == "HOLD_TO_ASSIGN"


def test_the_spread_is_wide_from_eight_percent() -> None:
    assert check(chain=quotes({"bid": 0.577, "ask": 0.623}))["wide_spread"] is False
    assert check(chain=quotes({"bid": 0.575, "ask": 0.625}))["wide_spread"] is True


@pytest.mark.parametrize(
    ("quote", "anomaly"),
    [
        ({"bid": 0.7, "ask": 0.6, "mid": 0.65}, "quote_crossed"),
        ({"bid": -0.1, "ask": 0.6}, "negative_quote"),
        ({"bid": 0.58, "ask": 0.62, "delta": 1.2}, "delta_above_one"),
        ({"bid": 0.58, "ask": 0.62, "implied_volatility": -0.1}, "volatility_not_positive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_no_market_quotes_is_an_anomaly(quote: dict[str, Any], anomaly: str) -> None:
    frame = contract_health(
        position(), worlds.last_prices({"AAA": 48.0}), quotes(quote),
        worlds.daily({"AAA": 48.0}, {"AAA": 0.3}, sessions=3), None, worlds.structure(["AAA"]),
        DAY, DECISION_AT,
    )  # fmt: skip
    assert anomaly in json.loads(frame["anomalies"][0])
    assert frame["recommendation"][0] == "HOLD_DATA_ISSUE"


def test_greeks_are_ours_before_the_vendors() -> None:
    quote = {"bid": 0.58, "ask": 0.62, "delta": 0.30, "gamma": 0.1, "theta": -0.05, "vega": 0.02,
             "implied_volatility": 0.4}  # fmt: skip
    row = check(chain=quotes(quote))
    assert row["greeks_source"] == "vendor"
    # The vendor's vega is per point, ours per 1.00.
    assert (row["delta"], row["vega"]) == (0.30, pytest.approx(2.0))
    ours = OPTION_GREEKS.conform(
        pl.DataFrame({"symbol": [SYMBOL], "delta": [0.33], "vega": [2.1]}),
        trade_date=DAY, basis="snapshot", slot=SLOT, available_at=SLOT,
    )  # fmt: skip
    row = check(chain=quotes(quote), greeks=ours)
    assert (row["delta"], row["vega"], row["greeks_source"]) == (0.33, 2.1, "ours")
    assert check()["greeks_source"] is None
