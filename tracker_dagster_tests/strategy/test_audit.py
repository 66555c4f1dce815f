"""The audit finds numbers that do not follow from a price and a quote; hand-made decisions."""

from datetime import date

import polars as pl
import pytest

from tracker_dagster.schemas.decisions import PROMOTIONS, WEEKLY_PICKS
from tracker_dagster.strategy.audit import audit_picks, audit_promotions

DAY = date(2025, 6, 9)
SYMBOL = "O:AAPL250613C00205000"
PRICES = pl.DataFrame({"ticker": ["AAPL"], "price": [200.0]})
QUOTE = pl.DataFrame({"symbol": [SYMBOL], "bid": [1.10], "ask": [1.30], "last": [9.0]})
#: 100 shares at 200; the call at (1.10 + 1.30) / 2 = 1.20; Monday to Friday are four days.
PICK = {
    "trade_date": DAY,
    "ticker": "AAPL",
    "status": "picked",
    "symbol": SYMBOL,
    "price": 200.0,
    "bid": 1.10,
    "ask": 1.30,
    "mid": 1.20,
    "strike": 205.0,
    "dte": 4,
    "pack_100_cost": 20_000.0,
    "est_weekly_prem_100": 120.0,
    "premium_at_bid_100": 110.0,
    "spread_pct": 0.2 / 1.2,
    "premium_yield": 0.006,
    "annualised_yield": 0.006 * 365 / 4,
    "otm_pct": 0.025,
    "break_even": 198.8,
    "downside_protection": 0.006,
    "if_called_return": 6.2 / 200,
}


def picks(**changes):
    rows = pl.DataFrame([{**PICK, **changes}], infer_schema_length=None)
    return WEEKLY_PICKS.conform(rows)


def verdicts(found):
    return dict(found.select("field", "ok").iter_rows())


@pytest.mark.feature(32)
def test_numbers_that_follow_from_price_and_quote_are_right():
    found = audit_picks(picks(), PRICES, QUOTE)
    assert set(found["field"]) == set(PICK) - {"trade_date", "ticker", "status", "symbol"}
    assert found["ok"].all()
    assert found["reason"].null_count() == found.height


@pytest.mark.feature(32)
@pytest.mark.parametrize(
    ("field", "wrong", "difference"),
    [
        ("pack_100_cost", 20_000.06, 0.06),
        ("est_weekly_prem_100", 110.0, -10.0),  # at the bid, not the mid
        ("premium_yield", 0.0062, 0.0002),
        ("strike", 210.0, 5.0),
        ("dte", 3.0, -1.0),
        ("mid", 1.25, 0.05),
        ("break_even", 200.0, 1.2),
    ],
)
def test_a_number_that_does_not_is_named_with_its_difference(field, wrong, difference):
    found = audit_picks(picks(**{field: wrong}), PRICES, QUOTE)
    assert found.filter(~pl.col("ok"))["field"].to_list() == [field]
    row = found.row(by_predicate=pl.col("field") == field, named=True)
    assert row["difference"] == pytest.approx(difference)
    assert row["reason"] == "differs"


def test_rounding_is_no_difference():
    rounded = picks(pack_100_cost=20_000.05, premium_yield=0.0061, mid=1.2049)
    assert audit_picks(rounded, PRICES, QUOTE)["ok"].all()


def test_a_number_that_is_missing_or_too_many_is_a_difference():
    lacking = audit_picks(picks(break_even=None), PRICES, QUOTE)
    assert verdicts(lacking)["break_even"] is False
    one_sided = QUOTE.with_columns(bid=pl.lit(None, pl.Float64))
    made_up = audit_picks(picks(), PRICES, one_sided)
    row = made_up.row(by_predicate=pl.col("field") == "bid", named=True)
    assert (row["stored"], row["recomputed"]) == (1.10, None)
    assert row["reason"] == "is stored, though it does not follow from what is"
    assert verdicts(made_up)["premium_yield"] is False


def test_what_was_not_kept_is_not_called_right_or_wrong():
    found = audit_picks(picks(), PRICES.clear(), QUOTE)
    row = found.row(by_predicate=pl.col("field") == "premium_yield", named=True)
    assert (row["ok"], row["reason"]) == (None, "what it was made from is not stored")
    assert verdicts(found)["mid"] is True


def test_without_quotes_the_last_trade_counts():
    files = QUOTE.with_columns(bid=pl.lit(None, pl.Float64), ask=pl.lit(None, pl.Float64), last=1.2)
    unquoted = picks(bid=None, ask=None, premium_at_bid_100=None, spread_pct=None)
    found = audit_picks(unquoted, PRICES, files)
    assert found["ok"].all()
    assert not {"bid", "ask", "spread_pct", "premium_at_bid_100"} & set(found["field"])


def promotions(*rows):
    names = ("rank", "ticker", "decision", "pack_100_cost", "cash_before", "cash_after")
    return PROMOTIONS.conform(pl.DataFrame(rows, schema=names, orient="row"))


@pytest.mark.feature(32)
def test_cash_is_followed_from_pick_to_pick():
    right = promotions(
        (1, "A", "promote", 4_000.0, 9_300.0, 5_300.0),
        (2, "B", "skip", 6_000.0, 5_300.0, 5_300.0),
        (3, "C", "promote", 5_000.0, 5_300.0, 300.0),
    )
    found = audit_promotions(right)
    assert found["ok"].to_list() == [True] * 5
    # B was skipped and paid for all the same.
    wrong = promotions(
        (1, "A", "promote", 4_000.0, 9_300.0, 5_300.0),
        (2, "B", "skip", 600.0, 5_300.0, 4_700.0),
        (3, "C", "skip", 5_000.0, 5_300.0, 5_300.0),
    )
    bad = audit_promotions(wrong).filter(~pl.col("ok"))
    assert bad.select("ticker", "field", "difference").rows() == [
        ("B", "cash_after", -600.0),
        ("C", "cash_before", 600.0),
    ]
    assert audit_promotions(PROMOTIONS.empty()).is_empty()
