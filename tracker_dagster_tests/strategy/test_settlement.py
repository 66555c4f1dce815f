"""Settlement: the cent that decides, what happens to the shares, and what cannot be told."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from tracker_dagster.strategy.settlement import settle
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, EXPIRY

SYMBOL = "O:AAA250613C00051000"


def position(**changes: Any) -> pl.DataFrame:
    base = {"symbol": SYMBOL, "ticker": "AAA", "expiry": EXPIRY, "strike": 51.0,
            "open_price": 1.00, "stock_basis": 49.0}  # fmt: skip
    return worlds.positions([{**base, **changes}])


def index_call(root: str, strike: float = 6000.0) -> pl.DataFrame:
    symbol = f"O:{root}250613C{int(strike * 1000):08d}"
    return position(symbol=symbol, ticker="SPX", strike=strike, stock_basis=None)


def closes(close: float, ticker: str = "AAA", day: date = EXPIRY) -> pl.DataFrame:
    return pl.DataFrame({"ticker": [ticker], "trade_date": [day], "close": [close]})


@pytest.mark.parametrize(
    ("right", "close", "outcome"),
    [("C", 51.0, "EXPIRED"), ("C", 51.01, "ASSIGNED"), ("C", 50.0, "EXPIRED"),
     ("P", 50.99, "ASSIGNED"), ("P", 51.0, "EXPIRED")],
)  # fmt: skip
@pytest.mark.feature(26)
def test_settlement_at_the_expiry(right: str, close: float, outcome: str) -> None:
    row = settle(position(right=right), closes(close), EXPIRY).row(0, named=True)
    assert row["outcome"] == outcome
    assert row["settlement_price"] == close
    assert row["effective_at"].isoformat() == "2025-06-13T20:00:00+00:00"


def test_settlement_waits_for_the_expiry_and_for_its_close() -> None:
    other_day = closes(60.0, day=DAY)
    assert settle(position(), other_day, EXPIRY - timedelta(days=1)).is_empty()
    row = settle(position(), other_day, EXPIRY).row(0, named=True)
    assert row["outcome"] is None
    assert row["reason"] == "no close of AAA on 2025-06-13"


def test_shares_of_a_covered_call_that_expires_are_sold_at_the_close() -> None:
    covered, called = (settle(position(), closes(c), EXPIRY).row(0, named=True) for c in (50, 52))
    assert covered["stock_sold_at"] == 50.0
    assert called["stock_sold_at"] is None  # they leave at the strike
    for without_shares in (position(stock_basis=None), position(quantity=1), position(right="P")):
        assert settle(without_shares, closes(51.0), EXPIRY)["stock_sold_at"].item() is None


def test_a_split_since_the_opening_leaves_the_outcome_open() -> None:
    """51 dollars a share of the old kind; the close after a 1:4 split is one of the new kind."""
    opened_on = position()["opened_at"].item().date()
    base = {"ticker": "AAA", "action": "split", "split_from": 1.0, "split_to": 4.0}

    def outcome(**changes: Any) -> dict[str, Any]:
        actions = worlds.actions([{**base, **changes}])
        return settle(position(), closes(13.0), EXPIRY, corporate_actions=actions).row(
            0, named=True
        )

    row = outcome(ex_date=EXPIRY)
    assert row["outcome"] is None
    assert "AAA split on 2025-06-13, after the opening" in row["reason"]
    assert outcome(ex_date=opened_on)["outcome"] == "EXPIRED"
    assert outcome(ex_date=EXPIRY + timedelta(days=3))["outcome"] == "EXPIRED"
    assert outcome(ex_date=EXPIRY, ticker="ZZZ")["outcome"] == "EXPIRED"


def test_an_adjusted_contract_is_not_settled_by_the_stocks_close() -> None:
    row = settle(position(symbol="O:AAA1250613C00051000"), closes(60.0), EXPIRY).row(0, named=True)
    assert row["outcome"] is None
    assert "adjusted contract" in row["reason"]


@pytest.mark.parametrize(
    ("close", "outcome", "paid"), [(6012.5, "CASH_SETTLED", 12.5), (5999.0, "EXPIRED", None)]
)
def test_an_index_option_settles_in_cash_on_the_close_of_the_index(
    close: float, outcome: str, paid: float | None
) -> None:
    # A stock of the same name must not be taken for the index.
    stocks = closes(1.0, "SPX")
    row = settle(
        index_call("SPXW"), stocks, EXPIRY, index_closes=closes(close, "SPX")
    ).row(0, named=True)  # fmt: skip
    assert (row["outcome"], row["close_price"]) == (outcome, paid)
    assert row["settlement_price"] == close
    waiting = settle(index_call("SPXW"), stocks, EXPIRY).row(0, named=True)
    assert waiting["reason"] == "no close of SPX on 2025-06-13"


def test_an_index_option_of_the_morning_is_left_to_a_person() -> None:
    row = settle(
        index_call("SPX"), closes(1.0), EXPIRY, index_closes=closes(6100.0, "SPX")
    ).row(0, named=True)  # fmt: skip
    assert row["outcome"] is None
    assert row["reason"].startswith("SPX settles on opening prices")


def test_what_was_opened_after_the_bell_does_not_end_before_it_began() -> None:
    late = position()["opened_at"].item() + timedelta(days=30)
    row = settle(position(opened_at=late), closes(50.0), EXPIRY).row(0, named=True)
    assert row["effective_at"] == late


@pytest.mark.feature(27)
def test_shares_that_the_account_held_before_stay_when_the_call_expires() -> None:
    row = settle(position(stock_source="held"), closes(50.0), EXPIRY).row(0, named=True)
    assert (row["outcome"], row["stock_sold_at"]) == ("EXPIRED", None)


@pytest.mark.feature(14)
def test_an_expiry_moved_by_a_holiday_settles_on_the_session_before() -> None:
    """2026-06-19 is a Friday and a holiday: contracts that name it settle on Thursday's close."""
    friday, thursday = date(2026, 6, 19), date(2026, 6, 18)
    held = position(
        symbol="O:AAA260619C00051000", expiry=friday,
        opened_at=position()["opened_at"].item() + timedelta(days=365),
    )  # fmt: skip
    row = settle(held, closes(52.0, day=thursday), friday).row(0, named=True)
    assert (row["outcome"], row["expired_on"]) == ("ASSIGNED", thursday)
    assert row["effective_at"].isoformat() == "2026-06-18T20:00:00+00:00"
