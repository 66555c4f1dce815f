"""What a call is worth to its seller: Black-Scholes by hand, fees, and reasons for nulls."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
from scipy.stats import norm

from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.tickers import decision_of
from tracker_dagster.strategy.worth import with_greeks, with_worth
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.picking import candidates_of, day_file_world, world
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY

DECISION = decision_of("snapshot", DAY, DECISION_AT)
YEARS = years_to_expiry(DECISION_AT, EXPIRY)


def worth(**changes: Any) -> dict[str, Any]:
    base = {
        "symbol": "O:AAA250613C00051000", "strike": 51.0, "bid": 0.40, "price": 50.0,
        "forward": 50.0, "rate": 0.0, "years": YEARS, "implied_volatility": 0.30,
        "volatility_source": "vendor", "annual_volatility": 0.25, "stats_reason": None,
    }  # fmt: skip
    rows = pl.DataFrame([{**base, **changes}]).with_columns(
        pl.col(name).cast(pl.Float64)
        for name in ("bid", "forward", "implied_volatility", "annual_volatility")
    )
    return with_worth(rows, DECISION, PickSettings(fee_per_contract=1.0)).row(0, named=True)


def test_expected_value_is_the_bid_less_the_value_at_the_realised_volatility_less_fees() -> None:
    # Without rate: C = S N(d1) - K N(d2), d1 = (ln(S/K) + v^2 t / 2) / (v sqrt t).
    deviation = 0.25 * math.sqrt(YEARS)
    d1 = math.log(50 / 51) / deviation + deviation / 2
    value = 50 * norm.cdf(d1) - 51 * norm.cdf(d1 - deviation)
    found = worth()
    assert found["expected_value_100"] == pytest.approx(40 - 100 * value - 1.0, abs=1e-9)
    assert found["fees_100"] == 1.0
    deviation = 0.30 * math.sqrt(YEARS)
    d2 = math.log(50 / 51) / deviation - deviation / 2
    assert found["assignment_probability"] == pytest.approx(norm.cdf(d2), abs=1e-12)
    assert found["expected_value_reason"] is None
    assert found["assignment_probability_reason"] is None


def test_who_sells_at_a_fair_bid_loses_the_fees() -> None:
    fair, _ = worlds.black_scholes_call(50.0, 51.0, YEARS, 0.25)
    assert worth(bid=fair)["expected_value_100"] == pytest.approx(-1.0, abs=1e-9)


def test_the_rate_discounts_the_value() -> None:
    plain, discounted = worth()["expected_value_100"], worth(rate=0.05)["expected_value_100"]
    value = 40 - 1.0 - plain
    assert 40 - 1.0 - discounted == pytest.approx(value * math.exp(-0.05 * YEARS), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bid": None}, "no bid"),
        ({"forward": None}, "no usable price of the underlying"),
        ({"annual_volatility": None, "stats_reason": "15 closes, 20 needed"},
         "no realised volatility: 15 closes, 20 needed"),
    ],
)  # fmt: skip
def test_without_an_input_there_is_no_value_but_a_reason(
    changes: dict[str, Any], reason: str
) -> None:
    found = worth(**changes)
    assert found["expected_value_100"] is None
    assert found["expected_value_reason"] == reason


def test_without_a_volatility_there_is_no_probability_but_a_reason() -> None:
    found = worth(implied_volatility=None, volatility_source="not sent; not in option_greeks")
    assert found["assignment_probability"] is None
    assert found["assignment_probability_reason"] == (
        "no implied volatility: not sent; not in option_greeks"
    )


def test_day_files_have_no_bid_to_sell_at() -> None:
    frame = candidates_of(**day_file_world())
    assert frame["expected_value_100"].null_count() == frame.height
    assert set(frame["expected_value_reason"]) == {"day files hold no bid"}


def test_our_forward_is_used_where_there_is_one_and_the_rate_where_not() -> None:
    calls = pl.DataFrame(
        {"symbol": ["A", "B"], "slot": [DECISION_AT] * 2, "price": [50.0, 50.0],
         "strike": [51.0, 51.0], "delta": [None, None], "implied_volatility": [0.3, 0.3]},
        schema_overrides={"delta": pl.Float64, "slot": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    own = pl.DataFrame(
        {"symbol": ["A"], "slot": [DECISION_AT], "trade_date": [DAY], "basis": ["snapshot"],
         "available_at": [DECISION_AT], "delta": [0.27], "implied_volatility": [0.31],
         "forward": [49.4], "rate": [0.03], "status": ["OK"]},
        schema_overrides={"slot": pl.Datetime("us", "UTC"),
                          "available_at": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    rows = with_greeks(calls, own, DECISION, PickSettings(rate=0.04))
    assert rows["forward"].to_list() == pytest.approx([49.4, 50 * math.exp(0.04 * YEARS)])
    assert rows["rate"].to_list() == [0.03, 0.04]
    assert rows["delta_source"].to_list() == ["option_greeks", "bsm_vendor_iv"]
    assert rows["volatility_source"].to_list() == ["vendor", "vendor"]
    # Black-Scholes delta at 30 %, rate 4 %: N(d1).
    deviation = 0.3 * math.sqrt(YEARS)
    d1 = (math.log(50 / 51) + 0.04 * YEARS) / deviation + deviation / 2
    assert rows["delta"].to_list() == pytest.approx([0.27, norm.cdf(d1)], abs=1e-9)


def test_the_likelier_the_assignment_the_nearer_the_strike() -> None:
    frame = candidates_of(**world()).filter(pl.col("ticker") == "AAA").sort("strike")
    assert frame["assignment_probability"].is_sorted(descending=True)
    # N(d2) < N(d1): less than delta for every call.
    assert (frame["assignment_probability"] < frame["delta"] + 1e-6).all()
