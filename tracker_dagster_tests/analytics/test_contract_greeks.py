"""Frames of contracts: which inputs reach which contract, and the reason of every null."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster.analytics.contract_greeks import value_contracts
from tracker_dagster.analytics.pricing import price
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.schemas.volatility import OPTION_GREEKS

NOW = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
JULY = date(2026, 7, 17)
CURVE = Curve(np.array([1 / 12, 30.0]), np.array([0.04, 0.04]), "treasury 2026-06-02")
NO_DIVIDENDS = pl.DataFrame(
    schema={"underlying": pl.String, "years": pl.Float64, "amount": pl.Float64}
)
RESULTS = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")


def contract(**changed):
    row = {
        "underlying": "SPX",
        "root": "SPXW",
        "expiry": JULY,
        "right": "C",
        "strike": 6000.0,
        "style": "european",
        "is_standard": True,
        "spot": 6010.0,
        "price": 120.0,
        "problem": None,
    }
    return {**row, **changed}


def valued(*rows, dividends=NO_DIVIDENDS, curve=CURVE, forwards=None, sources=None, **more):
    frame = pl.DataFrame(
        rows, schema_overrides={"problem": pl.String, "price": pl.Float64, "spot": pl.Float64}
    )
    known = (
        None
        if sources is None
        else pl.DataFrame({"underlying": list(sources), "dividend_source": list(sources.values())})
    )
    return value_contracts(
        frame.with_columns(**more), NOW, curve, dividends, forwards, dividend_sources=known
    )


def paid(underlying, years, amount):
    return pl.DataFrame({"underlying": [underlying], "years": [years], "amount": [amount]})


def test_every_contract_gets_back_the_volatility_that_priced_it():
    years = years_to_expiry(NOW, JULY)
    rows = []
    for right in "CP":
        for strike in (5400.0, 6000.0, 6600.0):
            worth = price(6010.0, strike, years, 0.04, 0.0, 0.17, right == "C")
            rows.append(contract(right=right, strike=strike, price=float(worth)))
    frame = valued(*rows)
    assert frame["status"].to_list() == ["OK"] * 6
    assert frame["implied_volatility"].to_list() == pytest.approx([0.17] * 6, abs=1e-10)
    assert frame["strike"].to_list() == [row["strike"] for row in rows]
    assert set(frame["rate_source"]) == {"treasury 2026-06-02"}
    calls = frame.filter(pl.col("right") == "C").sort("strike")
    assert calls["delta"].is_sorted(descending=True)


def test_american_and_european_contracts_are_each_valued_as_what_they_are():
    put = {"right": "P", "strike": 130.0, "spot": 100.0, "underlying": "F", "root": "F"}
    years = years_to_expiry(NOW, JULY)
    worth = float(price(100.0, 130.0, years, 0.04, 0.0, 0.5, False, "american"))
    frame = valued(
        contract(**put, price=worth, style="american"),
        contract(**put, price=worth, style="european"),
    )
    assert frame["status"].to_list() == ["OK", "OK"]
    american, european = frame["implied_volatility"]
    assert american == pytest.approx(0.5, abs=1e-6)
    assert european > 0.501


def test_what_is_exercised_now_has_no_volatility_but_moves_with_its_underlying():
    put = {"right": "P", "strike": 150.0, "spot": 100.0, "price": 50.0, "style": "american"}
    frame = valued(contract(**put, underlying="F", root="F"))
    assert frame["status"].to_list() == ["IMMEDIATE_EXERCISE"]
    assert frame["implied_volatility"].to_list() == [None]
    assert frame.select("delta", "gamma", "theta", "vega", "rho").row(0) == (-1.0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"spot": None}, "NO_SPOT"),
        ({"price": None}, "NO_PRICE"),
        ({"price": 0.5}, "BELOW_INTRINSIC"),
        ({"price": 7000.0}, "ABOVE_MAX"),
        ({"price": 10.0, "problem": "NO_QUOTE"}, "NO_QUOTE"),
        ({"expiry": date(2026, 6, 3), "root": "SPX"}, "EXPIRED"),
        ({"is_standard": False}, "ADJUSTED"),
        ({"is_standard": False, "spot": None, "problem": "NO_QUOTE"}, "ADJUSTED"),
        ({"underlying": "VIX", "root": "VIX", "spot": 17.0, "strike": 18.0}, "NO_FORWARD"),
        ({"underlying": "VIX", "root": "VIX", "spot": None, "strike": 18.0}, "NO_SPOT"),
    ],
)
def test_what_cannot_be_valued_says_why_and_has_no_number(changed, status):
    frame = valued(contract(**changed), contract())
    assert frame["status"].to_list() == [status, "OK"]
    assert frame.row(0, named=True) | dict.fromkeys(RESULTS) == frame.row(0, named=True)
    numbers = frame.select(pl.selectors.float()).fill_null(0.0)
    assert np.isfinite(numbers.to_numpy()).all(), "missing is null, never NaN"


def test_without_a_curve_there_is_no_volatility_and_the_reason_is_the_rate():
    frame = valued(contract(), curve=None)
    assert frame["status"].to_list() == ["NO_RATE"]
    gone = frame.select("rate", "rate_source", "forward", "forward_source", *RESULTS)
    assert gone.row(0) == (None,) * gone.width


def test_a_contract_on_a_future_is_valued_where_quotes_give_its_forward():
    vix = contract(underlying="VIX", root="VIX", spot=17.0, strike=18.0, price=1.5)
    forwards = pl.DataFrame(
        {
            "underlying": ["VIX"],
            "expiry": [JULY],
            "settlement": ["AM"],
            "carry": [-0.9],
            "forward_source": ["parity"],
        }
    )
    frame = valued(vix, forwards=forwards)
    assert frame["status"].to_list() == ["OK"]
    assert frame["forward"][0] == pytest.approx(17.0 * np.exp(0.94 * frame["years"][0]))


def test_morning_and_evening_settlement_of_one_day_have_their_own_term_and_carry():
    forwards = pl.DataFrame(
        {
            "underlying": ["SPX", "SPX"],
            "expiry": [JULY, JULY],
            "settlement": ["AM", "PM"],
            "carry": [0.01, 0.02],
            "forward_source": ["parity", "parity"],
        }
    )
    frame = valued(contract(root="SPX"), contract(root="SPXW"), forwards=forwards)
    assert frame["dividend_yield"].to_list() == [0.01, 0.02]
    evening = timedelta(days=float(frame["years"][1] - frame["years"][0]) * 365)
    assert evening.total_seconds() == pytest.approx(6.5 * 3600, abs=1)


def test_a_dividend_counts_for_what_expires_after_it_and_for_its_payer_alone():
    rows = [
        contract(underlying=name, root=name, strike=100.0, spot=100.0, price=3.0, expiry=expiry)
        for name in ("PAYS", "OTHER")
        for expiry in (date(2026, 6, 12), JULY)
    ]
    frame = valued(*rows, dividends=paid("PAYS", 0.05, 1.2))
    assert frame["dividends_value"].to_list() == pytest.approx([0, 1.2 * np.exp(-0.002), 0, 0])
    short, long, other_short, other_long = frame["implied_volatility"]
    assert short == other_short
    assert long > other_long, "a call is worth less before a dividend: its volatility is higher"


def test_the_quotes_sides_imply_volatilities_around_that_of_the_middle():
    frame = valued(
        contract(),
        contract(right="P"),
        contract(),
        bid=pl.Series([119.0, 90.0, None]),
        ask=pl.Series([121.0, 150.0, 121.0]),
    )
    for row in frame.head(2).iter_rows(named=True):
        assert row["bid_volatility"] < row["implied_volatility"] < row["ask_volatility"]
    assert frame["bid_volatility"][2] is None


def test_the_order_of_contracts_changes_nothing_and_no_contract_is_no_error():
    rows = [contract(strike=float(strike)) for strike in range(5000, 7000, 50)]
    forth, back = valued(*rows), valued(*reversed(rows))
    assert_frame_equal(forth, back.reverse())
    empty = value_contracts(forth.select(rows[0].keys()).clear(), NOW, CURVE, NO_DIVIDENDS)
    assert empty.columns == forth.columns
    assert empty.height == 0


def test_both_backends_give_the_same_rows():
    rows = [
        contract(strike=float(strike), right=r) for strike in range(5000, 7000, 50) for r in "CP"
    ]
    frame = pl.DataFrame(rows, schema_overrides={"problem": pl.String})
    fast, plain = (
        value_contracts(frame, NOW, CURVE, NO_DIVIDENDS, backend=backend)
        for backend in ("numba", "numpy")
    )
    assert_frame_equal(fast, plain, rel_tol=1e-9, abs_tol=1e-12)


def parity(underlying, settlement, carry):
    return pl.DataFrame(
        {
            "underlying": [underlying],
            "expiry": [JULY],
            "settlement": [settlement],
            "carry": [carry],
            "forward_source": ["parity"],
        }
    )


def test_unknown_dividends_are_not_taken_for_none_unless_parity_has_them():
    rows = [contract(underlying=name, root=name, style="american") for name in ("KNOWN", "NOT")]
    sources = {"KNOWN": "corporate_actions", "NOT": "not_collected"}
    frame = valued(*rows, sources=sources)
    assert frame["status"].to_list() == ["OK", "NO_DIVIDENDS"]
    assert frame["dividends_value"].to_list() == [0.0, None]
    assert frame["forward"][1] is None
    quoted = valued(*rows, sources=sources, forwards=parity("NOT", "PM", 0.01))
    assert quoted["status"].to_list() == ["OK", "OK"]
    assert quoted["dividends_value"].to_list() == [0.0, None]


def test_what_the_members_of_an_index_pay_is_known_from_parity_alone():
    rows = [contract(), contract(expiry=NOW.date(), root="SPX")]
    assert valued(*rows, sources={"SPX": "index"})["status"].to_list() == [
        "NO_DIVIDENDS",
        "EXPIRED",
    ]
    frame = valued(*rows, sources={"SPX": "index"}, forwards=parity("SPX", "PM", 0.013))
    assert frame["status"].to_list() == ["OK", "EXPIRED"]
    assert frame["dividends_value"].to_list() == [None, None]


def test_a_reason_that_nobody_knows_is_an_error_and_not_a_valuation():
    with pytest.raises(pl.exceptions.InvalidOperationError):
        valued(contract(problem="NO_QUOTES"))


def test_deltas_past_one_are_kept_where_the_forward_is_dear():
    """In contango VIX calls deep in the money move by more than a point a point of VIX."""
    vix = {"underlying": "VIX", "root": "VIX", "spot": 15.0}
    carry = float(np.log(15.0 * np.exp(0.04 * 0.12) / 18.0) / 0.12)
    frame = valued(
        contract(**vix, strike=10.0, price=7.97),
        contract(**vix, strike=18.0, price=1.6),
        forwards=parity("VIX", "AM", carry),
        sources={"VIX": "index"},
    )
    assert frame["status"].to_list() == ["OK", "OK"]
    assert frame["delta"][0] > 1.1
    rows = OPTION_GREEKS.conform(
        frame.with_columns(symbol=pl.Series(["O:VIX260717C00010000", "O:VIX260717C00018000"])),
        trade_date=NOW.date(), basis="snapshot", slot=NOW, available_at=NOW, price_source="mid",
    )  # fmt: skip
    good, failures = OPTION_GREEKS.schema.filter(rows)
    assert good.height == 2, failures.counts()


@pytest.mark.parametrize(
    ("changed", "ask", "status", "delta"),
    [
        ({"right": "P", "strike": 130.0, "price": 29.95}, 30.05, "IMMEDIATE_EXERCISE", -1.0),
        ({"right": "P", "strike": 130.0, "price": 29.5}, 29.6, "BELOW_INTRINSIC", None),
        # A call on a stock that pays nothing is never exercised: holding it is worth more.
        ({"right": "C", "strike": 70.0, "price": 30.2}, 30.9, "NO_TIME_VALUE", None),
        ({"right": "P", "strike": 130.0, "price": 29.2, "style": "european"}, 29.6,
         "NO_TIME_VALUE", None),
    ],
)  # fmt: skip
def test_a_quote_around_what_a_contract_is_worth_at_least_is_no_wrong_price(
    changed, ask, status, delta
):
    stock = {"underlying": "F", "root": "F", "spot": 100.0, "style": "american"}
    frame = valued(contract(**{**stock, **changed}), bid=pl.lit(29.0), ask=pl.lit(ask))
    assert frame["status"].to_list() == [status]
    assert frame["delta"].to_list() == [delta]
