"""Early exercise for a dividend, against an American tree that decides for itself.

QuantConnect/Lean #6938: its simulated market assigns options early without a look at the
dividends that are coming, so that covered calls keep dividends which nobody would leave them.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from tracker_dagster import trading_calendar
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.strategy.early_assignment import settle_early
from tracker_dagster_tests.strategy import worlds

SYMBOL, PUT = "O:AAA250613C00050000", "O:AAA250613P00050000"
#: A Monday; the session before is the Friday 2025-06-06.
EX_DATE, BEFORE = date(2025, 6, 9), date(2025, 6, 6)


def position(**changes: Any) -> pl.DataFrame:
    base = {"symbol": SYMBOL, "ticker": "AAA", "expiry": date(2025, 6, 13), "strike": 50.0,
            "open_price": 1.00, "stock_basis": 49.0}  # fmt: skip
    return worlds.positions([{**base, **changes}])


def dividend(amount: float = 0.30, ex_date: date = EX_DATE, **more: Any) -> dict[str, Any]:
    return {"ticker": "AAA", "action": "dividend", "ex_date": ex_date, "cash_amount": amount,
            "currency": "USD", **more}  # fmt: skip


def quote(
    mid: float | None,
    stock: float | None,
    session: date = BEFORE,
    symbol: str = PUT,
    bid: float | None = None,
    ask: float | None = None,
) -> pl.DataFrame:
    row = {"symbol": symbol, "trade_date": session, "mid": mid, "underlying_price": stock,
           "slot": trading_calendar.decision_time(session), "bid": bid, "ask": ask}  # fmt: skip
    return OPTION_CHAIN.conform(pl.DataFrame([row], schema_overrides=dict.fromkeys(
        ("mid", "bid", "ask", "underlying_price"), pl.Float64)))  # fmt: skip


def closes(name: str, value: float | None, session: date = BEFORE) -> pl.DataFrame:
    key = "ticker" if name == "AAA" else "symbol"
    rows = [] if value is None else [{key: name, "trade_date": session, "close": value}]
    return pl.DataFrame(rows, schema={key: pl.String, "trade_date": pl.Date, "close": pl.Float64})


def decided(
    held: pl.DataFrame | None = None,
    actions: list[dict[str, Any]] | None = None,
    quotes: pl.DataFrame | None = None,
    stock: float | None = None,
    put: float | None = None,
    day: date = EX_DATE,
    rate: float | None = None,
) -> list[dict[str, Any]]:
    return settle_early(
        position() if held is None else held,
        worlds.actions([dividend()] if actions is None else actions),
        OPTION_CHAIN.empty() if quotes is None else quotes,
        closes("AAA", stock),
        closes(PUT, put),
        day,
        rate,
    ).to_dicts()


def options_after(stock: float, dividend: float, vol: float, rate: float, days: int) -> Any:
    """Values of the call and of the put once the stock has opened lower by the dividend: a tree."""
    steps = 500
    step = days / 365 / steps
    up = np.exp(vol * np.sqrt(step))
    probability = (np.exp(rate * step) - 1 / up) / (up - 1 / up)
    prices = (stock - dividend) * up ** np.arange(-steps, steps + 1, 2)
    values = np.array([np.maximum(prices - 50.0, 0), np.maximum(50.0 - prices, 0)])
    for _ in range(steps):
        values = probability * values[:, 1:] + (1 - probability) * values[:, :-1]
        values *= np.exp(-rate * step)
    return values[:, 0]


@pytest.mark.feature(26)
@pytest.mark.parametrize("stock", [50.5, 52.0, 55.0, 60.0])
@pytest.mark.parametrize("amount", [0.02, 0.05, 0.30, 1.00])
@pytest.mark.parametrize("vol", [0.15, 0.60])
@pytest.mark.parametrize("rate", [0.0, 0.05])
def test_calls_are_exercised_where_a_tree_would(
    stock: float, amount: float, vol: float, rate: float
) -> None:
    """Lean #6938: whoever holds the call compares exercising now with waiting for the ex-date."""
    kept, put = options_after(stock, amount, vol, rate, days=7)
    exercised = stock - 50.0
    assert abs(kept - exercised) > 1e-4
    (row,) = decided(actions=[dividend(amount)], quotes=quote(put, stock), rate=rate)
    assert (row["outcome"] == "ASSIGNED") == (exercised > kept), (row, kept)


@pytest.mark.feature(26)
def test_the_dividend_is_weighed_against_what_exercising_gives_up() -> None:
    (taken,) = decided(quotes=quote(0.10, 55.0))
    assert taken["outcome"] == "ASSIGNED"
    assert taken["given_up"] == pytest.approx(0.10)
    assert taken["effective_at"] == trading_calendar.session_on(BEFORE).close
    assert (taken["session"], taken["price_source"]) == (BEFORE, "put_quote")
    # Seven days' interest on 50 dollars at 5 %: 50 x (1 - exp(-0.05 x 7 / 365)) = 0.0479.
    (dearer,) = decided(quotes=quote(0.10, 55.0), rate=0.05)
    assert dearer["given_up"] == pytest.approx(0.1479, abs=1e-4)
    (kept,) = decided(quotes=quote(0.40, 55.0))
    assert (kept["outcome"], kept["reason"]) == (
        "KEPT", "dividend 0.30 is no more than the 0.40 given up by exercising",
    )  # fmt: skip


def test_a_put_that_nobody_bids_for_is_worth_half_of_what_is_asked() -> None:
    assert decided(quotes=quote(None, 55.0, ask=0.10))[0]["given_up"] == pytest.approx(0.05)
    (row,) = decided(quotes=quote(None, 55.0, bid=0.2, ask=0.10), put=0.02, stock=55.0)
    assert (row["price_source"], row["given_up"]) == ("put_close", pytest.approx(0.02))


def test_without_its_put_the_call_itself_is_looked_at() -> None:
    """5 dollars in the money: a bid of 5.10 is better than exercising, one of 4.95 is not."""
    sold = quote(5.15, 55.0, symbol=SYMBOL, bid=5.10, ask=5.20)
    (row,) = decided(quotes=sold)
    assert (row["outcome"], row["reason"]) == ("KEPT", "more is bid for it than exercising brings")
    (row,) = decided(quotes=quote(5.02, 55.0, symbol=SYMBOL, bid=4.95, ask=5.09))
    assert (row["outcome"], row["given_up"]) == ("ASSIGNED", pytest.approx(0.02))


def test_out_of_the_money_nobody_exercises() -> None:
    (row,) = decided(actions=[dividend(5.0)], quotes=quote(0.10, 49.0))
    assert (row["outcome"], row["reason"]) == ("KEPT", "1.00 out of the money")


def test_without_quotes_closes_are_looked_at() -> None:
    (row,) = decided(stock=55.0, put=0.10)
    assert (row["outcome"], row["price_source"]) == ("ASSIGNED", "put_close")
    (untraded,) = decided(stock=55.0)
    assert (untraded["outcome"], "neither its put" in untraded["reason"]) == (None, True)
    (blind,) = decided(put=0.1)
    assert blind["reason"] == "no price of AAA before the ex-date"


def test_an_ex_date_after_a_holiday_looks_at_the_session_before_it() -> None:
    """2025-06-19 is a holiday: who wants a dividend of the 20th exercises on the 18th."""
    held = position(symbol="O:AAA250627C00050000", expiry=date(2025, 6, 27))
    friday, wednesday = date(2025, 6, 20), date(2025, 6, 18)
    chain = quote(0.05, 55.0, wednesday, symbol="O:AAA250627P00050000")
    (row,) = decided(held, [dividend(ex_date=friday)], chain, day=friday)
    assert (row["outcome"], row["session"]) == ("ASSIGNED", wednesday)


@pytest.mark.parametrize(
    "held",
    [
        position(right="P", symbol="O:AAA250613P00050000"),
        position(quantity=1),
        position(status="CLOSED"),
        position(opened_at=trading_calendar.session_on(EX_DATE).open),
        position(symbol="O:SPXW250613C00050000", ticker="AAA"),
        position(expiry=BEFORE, symbol="O:AAA250606C00050000"),
    ],
    ids=["put", "bought", "closed", "opened on the ex-date", "european", "expired before"],
)
def test_calls_that_are_not_concerned_have_no_row(held: pl.DataFrame) -> None:
    assert decided(held, quotes=quote(0.10, 55.0), stock=55.0, put=0.1) == []


def test_dividends_that_count() -> None:
    plain = quote(0.20, 55.0)
    # A special dividend lowers the strike instead.
    assert decided(actions=[dividend(9.0, distribution_type="special")], quotes=plain) == []
    assert decided(actions=[dividend(9.0, ticker="ZZZ")], quotes=plain) == []
    assert decided(day=BEFORE, quotes=plain) == []
    # Two of one ex-date add up: 0.15 each are more than 0.20, one alone is not.
    two = [dividend(0.15, action_id="x"), dividend(0.15, action_id="y")]
    assert [row["outcome"] for row in decided(actions=two, quotes=plain)] == ["ASSIGNED"]
    # The same one, listed on two sessions, is paid once.
    again = [dividend(0.15, action_id="x", trade_date=BEFORE), dividend(0.15, action_id="x")]
    assert [row["outcome"] for row in decided(actions=again, quotes=plain)] == ["KEPT"]


def test_a_dividend_in_another_currency_is_left_to_a_person() -> None:
    abroad = [dividend(9.0, currency="cad")]
    (row,) = decided(actions=abroad, quotes=quote(0.20, 55.0))
    assert (row["dividend"], row["outcome"]) == (None, None)
    assert row["reason"] == "in the money, and its dividend is not paid in US dollars"
    # One part in dollars does not say what the whole is worth.
    mixed = [dividend(0.30, action_id="x"), dividend(0.1, action_id="y", currency="EUR")]
    assert [r["outcome"] for r in decided(actions=mixed, quotes=quote(0.20, 55.0))] == [None]
    # Nobody exercises what is out of the money, whatever is paid.
    assert [r["outcome"] for r in decided(actions=abroad, quotes=quote(0.2, 49.0))] == ["KEPT"]
    # The vendor writes its currencies in either case.
    assert [
        r["outcome"] for r in decided(actions=[dividend(currency="usd")], quotes=quote(0.2, 55.0))
    ] == ["ASSIGNED"]


def test_what_a_split_or_an_adjustment_has_changed_is_left_to_a_person() -> None:
    split = {"ticker": "AAA", "action": "split", "ex_date": BEFORE, "split_from": 1.0,
             "split_to": 4.0}  # fmt: skip
    (row,) = decided(actions=[dividend(), split], quotes=quote(0.1, 55.0))
    assert (row["outcome"], "split on 2025-06-06" in row["reason"]) == (None, True)
    held = position(symbol="O:AAA1250613C00050000")
    chain = quote(0.1, 55.0, symbol="O:AAA1250613P00050000")
    (row,) = decided(held, quotes=chain)
    assert (row["outcome"], "adjusted" in row["reason"]) == (None, True)


def test_the_first_dividend_that_takes_a_call_is_the_last_looked_at() -> None:
    held = position(opened_at=trading_calendar.session_on(date(2025, 5, 1)).open)
    earlier = BEFORE - timedelta(days=2)
    chain = pl.concat([quote(0.1, 55.0, date(2025, 6, 3)), quote(0.1, 55.0)])
    rows = decided(held, [dividend(), dividend(ex_date=earlier)], chain)
    assert [(row["ex_date"], row["outcome"]) for row in rows] == [(earlier, "ASSIGNED")]
