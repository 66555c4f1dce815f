"""Calls on shares that are held: the right one, the right number, or the reason why none."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from tracker_dagster import trading_calendar
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.decisions import WEEKLY_PICKS
from tracker_dagster.schemas.holdings import HOLDING_CALLS, HOLDINGS
from tracker_dagster.strategy.holding_calls import holding_calls
from tracker_dagster.strategy.holdings import cash_for_puts, marked_splits
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY

pytestmark = pytest.mark.feature(27)


def held(**changes: Any) -> pl.DataFrame:
    base = {"account": "ira", "ticker": "AAA", "lots": 1, "shares": 250.0, "covered": 0.0,
            "free": 250.0, "average_basis": 48.0}  # fmt: skip
    return HOLDINGS.conform(
        pl.DataFrame([{**base, **changes}]), trade_date=DAY, available_at=DECISION_AT
    )


def calls(*rows: tuple[float, float | None, float, int | None], ticker: str = "AAA") -> Any:
    """Strike, bid, mid and place in the choice."""
    return PICK_CANDIDATES.conform(
        pl.DataFrame(
            [
                {
                    "symbol": f"O:{ticker}250613C{int(strike * 1000):08d}", "ticker": ticker,
                    "strike": strike, "bid": bid, "mid": mid, "choice_rank": place,
                    "failed_gate": None if place else "yield", "expiry": EXPIRY, "dte": 4,
                    "price": 50.0, "basis": "snapshot", "decision_at": DECISION_AT,
                }
                for strike, bid, mid, place in rows
            ],
            schema_overrides={"bid": pl.Float64},
        ),
        trade_date=DAY, available_at=DECISION_AT, fees_100=0.0, failed_gates="[]",
        gates_not_evaluated="{}",
    )  # fmt: skip


def picks(status: str = "picked", reason: str | None = None) -> pl.DataFrame:
    row = {"ticker": "AAA", "status": status, "reason": reason, "basis": "snapshot",
           "decision_at": DECISION_AT}  # fmt: skip
    return WEEKLY_PICKS.conform(pl.DataFrame([row]), trade_date=DAY, available_at=DECISION_AT)


THREE = calls((51, 0.95, 1.0, 2), (52, 0.55, 0.6, 1), (53, 0.25, 0.3, 3), (54, 0.05, 0.1, None))


def chosen(
    holdings: pl.DataFrame, candidates: pl.DataFrame = THREE, of: pl.DataFrame | None = None,
    *, floor: bool = False,
) -> list[dict[str, Any]]:  # fmt: skip
    frame = holding_calls(
        holdings, candidates, picks() if of is None else of, DAY, DECISION_AT,
        at_basis_or_above=floor,
    )  # fmt: skip
    return HOLDING_CALLS.schema.validate(frame).to_dicts()


def test_the_tickers_first_choice_is_written_on_every_free_hundred() -> None:
    (row,) = chosen(held())
    assert (row["strike"], row["contracts"], row["reason"]) == (52, 2, None)
    # At the bid: 0.55 x 200 = 110; 0.55 of 50 and of 48; (52 - 48 + 0.55) / 48.
    assert (row["premium"], row["premium_source"]) == (0.55, "bid")
    assert row["premium_total"] == pytest.approx(110)
    assert row["yield_on_price"] == pytest.approx(0.011)
    assert row["yield_on_basis"] == pytest.approx(0.55 / 48)
    assert row["called_return_on_basis"] == pytest.approx(4.55 / 48)
    assert (row["basis"], row["decision_at"], row["dte"]) == ("snapshot", DECISION_AT, 4)


def test_day_files_have_no_bid_and_the_premium_says_so() -> None:
    (row,) = chosen(held(), calls((52, None, 0.6, 1)))
    assert (row["premium"], row["premium_source"]) == (0.6, "day_close")


def test_fewer_than_a_hundred_free_shares_have_no_row() -> None:
    assert chosen(held(shares=250.0, covered=200.0, free=50.0)) == []
    assert chosen(held(shares=99.0, free=99.0)) == []
    assert chosen(held(shares=100.0, free=100.0))[0]["contracts"] == 1


def test_no_strike_below_the_basis_where_that_is_asked_for() -> None:
    (row,) = chosen(held(average_basis=52.5), floor=True)
    assert (row["strike"], row["at_basis_or_above"]) == (53, True)
    assert chosen(held(average_basis=52.5))[0]["strike"] == 52
    (row,) = chosen(held(average_basis=60.125), floor=True)
    assert row["symbol"] is None
    assert row["reason"].startswith("no call at the basis of 60.1")
    assert row["reason"].endswith("the highest strike that did is 53.0")
    (row,) = chosen(held(average_basis=None), floor=True)
    assert row["reason"] == "calls are to be written at the basis or above, and it is not known"
    # A strike at the basis is no loss on the shares.
    assert chosen(held(average_basis=52.0), floor=True)[0]["strike"] == 52


def test_without_a_basis_what_rests_on_it_is_not_known() -> None:
    (row,) = chosen(held(average_basis=None))
    assert row["strike"] == 52
    assert row["yield_on_basis"] is None
    assert row["called_return_on_basis"] is None


@pytest.mark.parametrize(
    ("holdings", "candidates", "of", "why"),
    [
        (held(ticker="ZZZ"), THREE, picks(), "not enabled in the universe"),
        (held(), calls((54, 0.05, 0.1, None)), picks("missing", "no call passed: yield 1"),
         "no call passed: yield 1"),
        (held(), PICK_CANDIDATES.empty(), picks("missing", "no chain was captured"),
         "no chain was captured"),
        (held(), PICK_CANDIDATES.empty(), WEEKLY_PICKS.empty(), "no decision of the session"),
        (held(split_on=DAY, free=None), THREE, picks(), "split on 2025-06-09"),
    ],
    ids=["left the universe", "none passed", "no chain", "no decision", "split"],
)  # fmt: skip
def test_a_holding_without_a_call_says_why(
    holdings: pl.DataFrame, candidates: pl.DataFrame, of: pl.DataFrame, why: str
) -> None:
    (row,) = chosen(holdings, candidates, of)
    assert row["symbol"] is None
    assert why in row["reason"]


def test_accounts_are_kept_apart() -> None:
    both = pl.concat([held(), held(account="joint", free=100.0, average_basis=52.5)])
    rows = chosen(both, floor=True)
    assert [(row["account"], row["strike"], row["contracts"]) for row in rows] == [
        ("ira", 52, 2),
        ("joint", 53, 1),
    ]


class TestSplits:
    def of(self, ex_date: date, day: date = DAY) -> dict[str, Any]:
        recorded = trading_calendar.session_on(date(2025, 6, 2)).close
        holdings = held().drop("split_on", "cost").with_columns(recorded_at=pl.lit(recorded))
        actions = worlds.actions([{"ticker": "AAA", "action": "split", "ex_date": ex_date,
                                   "split_from": 1.0, "split_to": 2.0}])  # fmt: skip
        return marked_splits(holdings, actions, day).row(0, named=True)

    def test_shares_of_before_a_split_are_not_written_on(self) -> None:
        """A split inside the week: 250 shares of the old kind are 500 of the new."""
        row = self.of(date(2025, 6, 5))
        assert (row["split_on"], row["free"]) == (date(2025, 6, 5), None)

    def test_a_split_that_the_record_knows_of_or_that_is_to_come_changes_nothing(self) -> None:
        for ex_date in (date(2025, 6, 2), date(2025, 5, 1), DAY + timedelta(days=1)):
            row = self.of(ex_date)
            assert (row["split_on"], row["free"]) == (None, 250)
            assert row["cost"] == pytest.approx(12_000)


def test_puts_that_were_sold_are_secured_by_their_strikes() -> None:
    put = {"symbol": "O:AAA250613P00048000", "ticker": "AAA", "expiry": EXPIRY, "strike": 48.0,
           "open_price": 1.0, "right": "P"}  # fmt: skip
    rows = [{**put, "quantity": -2}, {**put, "quantity": 3}, {**put, "status": "CLOSED"},
            {**put, "right": "C"}]  # fmt: skip
    # Two contracts of 100 shares at 48.
    assert cash_for_puts(worlds.positions(rows)) == pytest.approx(9600)
    assert cash_for_puts(worlds.positions([])) == 0.0
