"""What a call is worth to its seller: Black-Scholes by hand, fees, and reasons for nulls."""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.tickers import DAY_FILE, SNAPSHOT, Decision, decision_of
from tracker_dagster.strategy.worth import with_greeks, with_worth
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.picking import candidates_of, day_file_world, world
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY

DECISION = decision_of("snapshot", DAY, DECISION_AT)
YEARS = years_to_expiry(DECISION_AT, EXPIRY)
#: Decided on a Monday at 15:50: Tuesday to Friday are left, of 252 sessions a year.
SESSIONS_YEARS = 4 / 252


def worth(decision: Decision = DECISION, **changes: Any) -> dict[str, Any]:
    base = {
        "symbol": "O:AAA250613C00051000", "strike": 51.0, "bid": 0.40, "price": 50.0,
        "forward": 50.0, "forward_source": "option_greeks", "rate": 0.0, "years": YEARS,
        "implied_volatility": 0.30, "volatility_source": "vendor", "annual_volatility": 0.25,
        "stats_reason": None,
    }  # fmt: skip
    rows = pl.DataFrame([{**base, **changes}]).with_columns(
        pl.col(name).cast(pl.Float64)
        for name in ("bid", "forward", "implied_volatility", "annual_volatility")
    )
    return with_worth(rows, decision, PickSettings(fee_per_contract=1.0)).row(0, named=True)


def test_expected_value_is_the_bid_less_the_value_at_the_realised_volatility_less_fees() -> None:
    # Without rate: C = S N(d1) - K N(d2), d1 = (ln(S/K) + v^2 t / 2) / (v sqrt t).
    # The realised volatility is of sessions: v^2 t is 0.25^2 x 4 / 252, whatever the calendar says.
    deviation = 0.25 * math.sqrt(SESSIONS_YEARS)
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
    fair, _ = worlds.black_scholes_call(50.0, 51.0, SESSIONS_YEARS, 0.25)
    assert worth(bid=fair)["expected_value_100"] == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize(
    ("day", "sessions"), [(date(2025, 6, 9), 4), (date(2025, 6, 12), 5), (date(2025, 6, 13), 4)]
)
def test_who_sells_at_what_simulated_sessions_pay_out_on_average_loses_the_fees(
    day: date, sessions: int
) -> None:
    # Closes of a stock that moves 3 % in every session and not at all in between (the 19th is a
    # holiday, too); its drift makes the mean of its prices the forward.
    moves = np.random.default_rng(7).normal(-(0.03**2) / 2, 0.03, (200_000, sessions))
    moves = np.concatenate([moves, -(0.03**2) - moves])
    payoffs = np.maximum(500.0 * np.exp(moves.sum(axis=1)) - 510.0, 0.0)
    at = DECISION_AT + (day - DAY)
    decision = decision_of(SNAPSHOT, day, at)
    found = worth(
        decision, price=500.0, forward=500.0, strike=510.0, bid=float(payoffs.mean()),
        years=years_to_expiry(at, decision.expiry), annual_volatility=0.03 * math.sqrt(252),
    )  # fmt: skip
    error = 100 * float(payoffs.std()) / math.sqrt(payoffs.size)
    assert found["expected_value_100"] == pytest.approx(-1.0, abs=4 * error)
    assert 4 * error < 20


def test_the_rate_discounts_the_value() -> None:
    plain, discounted = worth()["expected_value_100"], worth(rate=0.05)["expected_value_100"]
    value = 40 - 1.0 - plain
    assert 40 - 1.0 - discounted == pytest.approx(value * math.exp(-0.05 * YEARS), rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bid": None}, "no bid"),
        ({"forward": None, "forward_source": "option_greeks: NO_DIVIDENDS"},
         "option_greeks: NO_DIVIDENDS"),
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


def with_forwards(
    calls: list[dict[str, Any]], own: list[dict[str, Any]], decision: Decision = DECISION
) -> pl.DataFrame:
    """Calls at 51 on a stock at 50, with what option_greeks says of some of them."""
    slot = decision.priced_at
    base = {"price": 50.0, "strike": 51.0, "implied_volatility": 0.3, "slot": slot,
            "ex_dividend_in_period": False}  # fmt: skip
    ours = {"slot": slot, "trade_date": decision.data_session, "basis": decision.basis,
            "available_at": slot, "delta": None, "implied_volatility": None, "forward": None,
            "rate": None, "status": "OK"}  # fmt: skip
    instants = dict.fromkeys(("slot", "available_at"), pl.Datetime("us", "UTC"))
    numbers = dict.fromkeys(("price", "delta", "implied_volatility", "forward", "rate"), pl.Float64)
    return with_greeks(
        pl.DataFrame(
            [{**base, "delta": None, **call} for call in calls],
            schema_overrides={**instants, **numbers, "ex_dividend_in_period": pl.Boolean},
        ),
        pl.DataFrame([{**ours, **row} for row in own], schema_overrides={**instants, **numbers}),
        decision,
        PickSettings(rate=0.04),
    )


def test_our_forward_is_used_where_there_is_one_and_the_price_carried_where_not() -> None:
    rows = with_forwards(
        [{"symbol": "A"}, {"symbol": "B"}, {"symbol": "C"}],
        [
            {"symbol": "A", "delta": 0.27, "implied_volatility": 0.31, "forward": 49.4,
             "rate": 0.03},
            {"symbol": "C", "status": "NO_FORWARD", "rate": 0.05},
        ],
    )  # fmt: skip
    assert rows["forward"].to_list() == pytest.approx(
        [49.4, 50 * math.exp(0.04 * YEARS), 50 * math.exp(0.05 * YEARS)]
    )
    assert rows["forward_source"].to_list() == [
        "option_greeks",
        "price, at an assumed rate of 4.00% a year",
        "price, at the rate of option_greeks",
    ]
    assert rows["rate"].to_list() == [0.03, 0.04, 0.05]
    assert rows["delta_source"].to_list() == ["option_greeks", "bsm_vendor_iv", "bsm_vendor_iv"]
    assert rows["volatility_source"].to_list() == ["vendor"] * 3
    # Black-Scholes delta at 30 %, rate 4 %: N(d1).
    deviation = 0.3 * math.sqrt(YEARS)
    d1 = (math.log(50 / 51) + 0.04 * YEARS) / deviation + deviation / 2
    assert rows["delta"].to_list()[:2] == pytest.approx([0.27, norm.cdf(d1)], abs=1e-9)


@pytest.mark.parametrize(
    ("call", "own", "reason"),
    [
        ({}, [{"symbol": "A", "status": "NO_DIVIDENDS", "rate": 0.03}],
         "option_greeks: NO_DIVIDENDS"),
        ({"ex_dividend_in_period": None}, [{"symbol": "B"}],
         "dividends before the expiry are not known; not in option_greeks"),
        ({"ex_dividend_in_period": True}, [{"symbol": "B"}],
         "a dividend is due before the expiry; not in option_greeks"),
        ({"price": None}, [{"symbol": "B"}], "no usable price of the underlying"),
    ],
)  # fmt: skip
def test_no_forward_is_made_up_where_a_dividend_may_lie_ahead(
    call: dict[str, Any], own: list[dict[str, Any]], reason: str
) -> None:
    rows = with_forwards([{"symbol": "A", **call}], own)
    assert rows["forward"].to_list() == [None]
    assert rows["forward_source"].to_list() == [reason]
    found = with_worth(
        rows.with_columns(bid=0.4, annual_volatility=0.25, stats_reason=None),
        DECISION,
        PickSettings(),
    ).row(0, named=True)
    assert found["expected_value_100"] is None
    assert found["expected_value_reason"] == found["assignment_probability_reason"] == reason
    assert found["assignment_probability"] is None


def test_the_close_of_the_session_before_is_not_carried_over_an_ex_date_of_today() -> None:
    decision = decision_of(DAY_FILE, DAY, DECISION_AT - timedelta(hours=4))
    rows = with_forwards([{"symbol": "A"}], [{"symbol": "B"}], decision)
    assert rows["forward"].to_list() == [None]
    assert rows["forward_source"].to_list() == ["not in option_greeks"]


def test_the_likelier_the_assignment_the_nearer_the_strike() -> None:
    frame = candidates_of(**world()).filter(pl.col("ticker") == "AAA").sort("strike")
    assert frame["assignment_probability"].is_sorted(descending=True)
    # N(d2) < N(d1): less than delta for every call.
    assert (frame["assignment_probability"] < frame["delta"] + 1e-6).all()
