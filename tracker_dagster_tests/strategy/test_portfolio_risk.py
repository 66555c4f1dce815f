"""Portfolio risk and stress: sums and signs by hand, Greeks by differences of closed forms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm

from tracker_dagster.analytics.contract_greeks import value_contracts
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.analytics.rates import Curve
from tracker_dagster.instruments import build_option_symbol
from tracker_dagster.schemas.portfolio_risk import (
    ALL_REAL,
    ALL_TICKERS,
    MOVES,
    PORTFOLIO_RISK,
    PORTFOLIO_STRESS,
    SCENARIOS,
)
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.strategy.holdings import marked_splits
from tracker_dagster.strategy.portfolio_risk import Book, portfolio_risk, valued_book
from tracker_dagster.strategy.portfolio_stress import SHOCKS, portfolio_stress
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.worlds import DAY, SLOT

EXPIRY = date(2025, 7, 18)
YEARS = years_to_expiry(SLOT, EXPIRY)
PRICES = {"AAA": 50.0, "BBB": 200.0, "SPY": 600.0}
NO_RATES = Curve(np.array([1 / 12, 10.0]), np.array([0.0, 0.0]), "treasury 2025-06-06")
NO_DIVIDENDS = pl.DataFrame(
    schema={
        "underlying": pl.String,
        "ex_date": pl.Date,
        "years": pl.Float64,
        "amount": pl.Float64,
    }
)
BETAS = pl.DataFrame({"ticker": ["AAA", "BBB", "SPY"], "beta": [1.5, 0.8, 1.0]})
CATEGORIES = pl.DataFrame({"ticker": ["AAA", "BBB", "SPY"], "category": ["EV", "BANK", "ETF"]})


def value(spot: float, strike: float, right: str, vol: float, years: float = YEARS) -> float:
    """Black and Scholes without interest, from their book's formula."""
    deviation = vol * years**0.5
    d1 = np.log(spot / strike) / deviation + deviation / 2
    call = spot * norm.cdf(d1) - strike * norm.cdf(d1 - deviation)
    return float(call if right == "C" else call - spot + strike)


#: ticker, right, strike, volatility
Contract = tuple[str, str, float, float]
CALL: Contract = ("AAA", "C", 52.0, 0.40)
PUT: Contract = ("BBB", "P", 190.0, 0.30)


def symbol(contract: Contract) -> str:
    ticker, right, strike, _ = contract
    return build_option_symbol(ticker, EXPIRY, right, strike)


def greeks(
    contracts: Sequence[Contract], unquoted: Sequence[Contract] = (), **changes: Any
) -> pl.DataFrame:
    """Rows of option_greeks as the valuation makes them of exact prices."""
    rows = [
        {
            "symbol": symbol(contract),
            "underlying": contract[0],
            "root": contract[0],
            "expiry": EXPIRY,
            "right": contract[1],
            "strike": contract[2],
            "spot": changes.get("spots", PRICES)[contract[0]],
            "price": None
            if contract in unquoted
            else value(PRICES[contract[0]], contract[2], contract[1], contract[3]),
            "problem": "NO_QUOTE" if contract in unquoted else None,
        }
        for contract in contracts
    ]
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        style=pl.lit("american"), is_standard=pl.lit(changes.get("is_standard", True))
    )
    frame = value_contracts(
        frame.with_columns(pl.col("problem").cast(pl.String)), SLOT, NO_RATES, NO_DIVIDENDS
    )
    return OPTION_GREEKS.conform(
        frame, trade_date=DAY, basis="snapshot", slot=SLOT, available_at=SLOT, price_source="mid"
    )


def held(contract: Contract, quantity: int, **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol(contract), "ticker": contract[0], "right": contract[1],
        "strike": contract[2], "expiry": EXPIRY, "quantity": quantity, "open_price": 1.0, **more,
    }  # fmt: skip


COVERED = held(CALL, -2, stock_basis=48.0)
SECURED = held(PUT, -1)


def book(
    rows: Sequence[Mapping[str, Any]] = (COVERED, SECURED),
    holdings: Sequence[tuple[str, str, float]] = (),
    **changes: Any,
) -> Book:
    return valued_book(
        worlds.positions(list(rows)),
        pl.DataFrame(holdings, schema=["account", "ticker", "shares"], orient="row")
        if holdings
        else None,
        changes.get("prices", worlds.last_prices(PRICES)),
        changes.get("greeks", greeks([CALL, PUT])),
        NO_DIVIDENDS,
        changes.get("betas", BETAS),
        CATEGORIES,
        DAY,
        SLOT,
        quotes=changes.get("quotes"),
        splits=changes.get("splits"),
    )


def risk(of: Book, account: str = "paper") -> dict[str, Any]:
    frame = portfolio_risk(of, DAY, SLOT)
    assert PORTFOLIO_RISK.schema.filter(frame)[1].counts() == {}
    return frame.row(by_predicate=pl.col("account") == account, named=True)


def stress(of: Book) -> pl.DataFrame:
    frame = portfolio_stress(of, DAY, SLOT)
    assert PORTFOLIO_STRESS.schema.filter(frame)[1].counts() == {}
    return frame


def pnl(of: Book, scenario: str, ticker: str, move: str = "plain", account: str = "paper") -> float:
    (row,) = (
        stress(of)
        .filter(
            pl.col("scenario") == scenario,
            pl.col("ticker") == ticker,
            pl.col("move") == move,
            pl.col("account") == account,
        )
        .to_dicts()
    )
    return row["pnl"]


def paper_value(
    move: Mapping[str, float], vol: float = 0.0, years: float = 0.0, prices: Any = PRICES
) -> float:
    """200 shares of AAA, two calls sold on them, one put sold on BBB: by the closed form."""
    aaa, bbb = (prices[t] * (1 + move.get(t, 0.0)) for t in ("AAA", "BBB"))
    left = YEARS - years
    return (
        200 * aaa
        - 200 * value(aaa, 52.0, "C", 0.40 + vol, left)
        - 100 * value(bbb, 190.0, "P", 0.30 + vol, left)
    )


def slope(up: float, down: float, step: float) -> float:
    return (up - down) / (2 * step)


@pytest.mark.feature(26)
def test_greeks_are_the_slopes_of_what_the_book_is_worth() -> None:
    row = risk(book())
    h = 1e-4
    by_ticker = {
        ticker: slope(paper_value({ticker: h}), paper_value({ticker: -h}), h)
        for ticker in ("AAA", "BBB")
    }
    assert row["net_delta_usd"] == pytest.approx(sum(by_ticker.values()), rel=1e-5)
    assert row["net_delta_shares"] == pytest.approx(
        by_ticker["AAA"] / 50 + by_ticker["BBB"] / 200, rel=1e-5
    )
    # 1.5 and 0.8 are their betas: the slope to a market that both follow.
    assert row["beta_delta_usd"] == pytest.approx(
        slope(
            paper_value({"AAA": 1.5 * h, "BBB": 0.8 * h}),
            paper_value({"AAA": -1.5 * h, "BBB": -0.8 * h}), h,
        ), rel=1e-5,
    )  # fmt: skip
    assert row["beta_delta_spy"] == pytest.approx(row["beta_delta_usd"] / 600)
    day = 1 / 365
    assert row["theta_day"] == pytest.approx(
        slope(paper_value({}, years=day / 100), paper_value({}, years=-day / 100), 1 / 100),
        rel=1e-4,
    )
    assert row["vega_point"] == pytest.approx(
        slope(paper_value({}, vol=1e-4), paper_value({}, vol=-1e-4), 1e-2), rel=1e-4
    )
    assert row["theta_day"] > 0 > row["vega_point"]
    # Gamma: dollar delta gained as all rise by 1 %, delta times price at a fixed price.
    both = {"AAA": 1e-3, "BBB": 1e-3}
    less = {ticker: -move for ticker, move in both.items()}
    curvature = (paper_value(both) + paper_value(less) - 2 * paper_value({})) / 1e-6
    assert row["net_gamma_usd_per_1pct"] == pytest.approx(curvature / 100, rel=1e-3)
    assert row["net_gamma_usd_per_1pct"] < 0


@pytest.mark.feature(26)
@pytest.mark.parametrize(
    ("scenario", "shock", "points"),
    [
        ("down_5", -0.05, 0.0),
        ("down_10", -0.10, 0.0),
        ("down_20", -0.20, 0.0),
        ("vol_up_10", 0.0, 0.10),
        ("vol_down_10", 0.0, -0.10),
        ("down_10_vol_up_10", -0.10, 0.10),
    ],
)
@pytest.mark.parametrize("move", MOVES)
def test_a_shock_is_the_book_worth_less(
    scenario: str, shock: float, points: float, move: str
) -> None:
    betas = {"AAA": 1.5, "BBB": 0.8} if move == "beta" else {"AAA": 1.0, "BBB": 1.0}
    moved = {ticker: beta * shock for ticker, beta in betas.items()}
    expected = paper_value(moved, vol=points) - paper_value({})
    assert pnl(book(), scenario, ALL_TICKERS, move) == pytest.approx(expected, rel=1e-5)


def test_a_fall_by_hand() -> None:
    """Shares alone: 300 x 50 USD x -20 % = -3,000 USD; at a beta of 1.5 -30 %: -4,500 USD."""
    of = book([], [("ira", "AAA", 300.0)])
    assert pnl(of, "down_20", "AAA", account="ira") == pytest.approx(-3_000)
    assert pnl(of, "down_20", "AAA", "beta", account="ira") == pytest.approx(-4_500)
    assert pnl(of, "vol_up_10", "AAA", account="ira") == 0.0
    row = risk(of, "ira")
    assert (row["net_delta_shares"], row["net_delta_usd"]) == (300.0, 15_000.0)
    assert row["beta_delta_usd"] == pytest.approx(22_500)
    assert row["beta_delta_spy"] == pytest.approx(37.5)
    assert (row["theta_day"], row["vega_point"], row["option_value"]) == (0.0, 0.0, 0.0)


def test_capital_and_concentration_by_hand() -> None:
    row = risk(book())
    # 200 shares at 50; a put sold at 190 ties up 19,000.
    assert row["stock_value"] == 10_000.0
    assert row["cash_secured"] == 19_000.0
    assert row["capital"] == 29_000.0
    assert (row["largest_ticker"], row["largest_category"]) == ("BBB", "BANK")
    assert row["largest_share"] == pytest.approx(19 / 29)
    assert row["ticker_hhi"] == pytest.approx((19 / 29) ** 2 + (10 / 29) ** 2)
    assert row["category_hhi"] == row["ticker_hhi"]
    owed = -200 * value(50, 52, "C", 0.4) - 100 * value(200, 190, "P", 0.3)
    assert row["option_value"] == pytest.approx(owed)
    assert row["uncovered_call_shares"] == 0.0


def test_bought_options_are_capital_and_secure_nothing() -> None:
    row = risk(book([held(PUT, 2)]))
    assert row["cash_secured"] == 0.0
    assert row["capital"] == pytest.approx(200 * value(200, 190, "P", 0.3))
    assert row["capital"] == pytest.approx(row["option_value"])
    assert row["net_delta_usd"] < 0 < row["vega_point"]
    assert pnl(book([held(PUT, 2)]), "down_20", "BBB") > 0


def test_the_bell_leaves_what_exercise_pays() -> None:
    """At the close of its last session a call that was sold at 48, the stock at 50, owes 2."""
    inside: Contract = ("AAA", "C", 48.0, 0.40)
    outside: Contract = ("AAA", "C", 52.0, 0.40)
    rows = greeks([inside, outside]).with_columns(
        pl.lit(None, pl.Float64).alias(name)
        for name in ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")
    )
    rows = rows.with_columns(years=pl.lit(0.0), status=pl.lit("EXPIRED"), price=pl.lit(1.0))
    of = book([held(inside, -1, stock_basis=40.0), held(outside, -1, stock_basis=40.0)],
              greeks=rows)  # fmt: skip
    row = risk(of)
    # Of 200 shares 100 are as good as called away.
    assert row["net_delta_shares"] == 100.0
    assert row["option_value"] == -200.0
    assert (row["theta_day"], row["vega_point"]) == (0.0, 0.0)
    # At 45 neither is exercised: 200 shares lose 5 each, and the 2 a share owed are gone.
    assert pnl(of, "down_10", "AAA") == pytest.approx(-1_000 + 200)


def test_two_tickers_of_a_category_are_one_risk() -> None:
    of = book([], [("ira", "AAA", 100.0), ("ira", "BBB", 25.0), ("ira", "ZZZ", 50.0)],
              prices=worlds.last_prices({**PRICES, "ZZZ": 100.0}))  # fmt: skip
    row = risk(of, "ira")
    # 5,000 each, and one of them in no category.
    assert row["ticker_hhi"] == pytest.approx(3 * (1 / 3) ** 2)
    assert row["beta_delta_usd"] is None
    assert row["beta_reason"] == "no beta of ZZZ"
    assert row["net_delta_usd"] == pytest.approx(15_000)


def test_real_and_paper_money_stay_apart() -> None:
    rows = [COVERED, {**SECURED, "account": "ira"}]
    of = book(rows, [("ira", "AAA", 100.0), ("margin", "AAA", 50.0)])
    accounts = portfolio_risk(of, DAY, SLOT)["account"].to_list()
    assert accounts == [ALL_REAL, "ira", "margin", "paper"]
    both = risk(of, ALL_REAL)
    assert both["stock_value"] == 150 * 50.0
    assert both["cash_secured"] == 19_000.0
    for name in ("net_delta_usd", "theta_day", "vega_point", "capital", "option_value"):
        assert both[name] == pytest.approx(risk(of, "ira")[name] + risk(of, "margin")[name])
    for ticker in ("AAA", "BBB", ALL_TICKERS):
        parts = [pnl(of, "down_10", ticker, account="ira")]
        if ticker != "BBB":
            parts.append(pnl(of, "down_10", ticker, account="margin"))
        assert pnl(of, "down_10", ticker, account=ALL_REAL) == pytest.approx(sum(parts))
    assert portfolio_risk(book(), DAY, SLOT)["account"].to_list() == ["paper"]


def test_shares_held_before_are_counted_once() -> None:
    """A call on shares that were held: those are in the holdings already."""
    row = {**COVERED, "account": "ira"}
    positions = worlds.positions([row]).with_columns(stock_source=pl.lit("held"))
    of = valued_book(
        positions, pl.DataFrame({"account": ["ira"], "ticker": ["AAA"], "shares": [300.0]}),
        worlds.last_prices(PRICES), greeks([CALL]), NO_DIVIDENDS, BETAS, CATEGORIES, DAY, SLOT,
    )  # fmt: skip
    assert risk(of, "ira")["stock_value"] == 300 * 50.0


def test_a_call_that_says_nothing_of_its_shares_rests_on_those_that_are_there() -> None:
    row = {**COVERED, "account": "ira"}
    assert risk(book([row], [("ira", "AAA", 300.0)]), "ira")["stock_value"] == 300 * 50.0
    assert risk(book([row], [("ira", "BBB", 1.0)]), "ira")["stock_value"] == 200 * 50.0 + 200.0


def test_calls_without_shares_are_told() -> None:
    of = book([held(CALL, -3)], [("paper", "AAA", 150.0)])
    assert risk(of)["uncovered_call_shares"] == 150.0
    # One account's shares cover nothing in another.
    rows = [held(CALL, -1, account="ira")]
    apart = book(rows, [("margin", "AAA", 100.0)])
    assert risk(apart, ALL_REAL)["uncovered_call_shares"] == 100.0


def test_one_ticker_without_a_value_leaves_the_sums_empty_and_not_smaller() -> None:
    """Two covered calls and a put, one call not in the chain: half the loss is no answer."""
    of = book(greeks=greeks([PUT]))
    row = risk(of)
    assert json.loads(row["left_out"]) == {"AAA": f"{symbol(CALL)} not in the chain of the slot"}
    assert (row["tickers_count"], row["valued_count"]) == (2, 1)
    for name in ("net_delta_shares", "net_delta_usd", "net_gamma_usd_per_1pct", "theta_day",
                 "vega_point", "option_value", "beta_delta_usd", "beta_delta_spy"):  # fmt: skip
        assert row[name] is None, name
    assert row["beta_reason"] == "not valued: AAA"
    # What it costs to hold is known without the option's value.
    assert row["capital"] == 29_000.0
    totals = stress(of).filter(pl.col("ticker") == ALL_TICKERS)
    assert totals.height == len(SCENARIOS) * len(MOVES)
    for name in ("pnl", "stock_pnl", "option_pnl", "pnl_share"):
        assert totals[name].null_count() == totals.height, name
    assert set(totals["reason"]) == {f"AAA: {symbol(CALL)} not in the chain of the slot"}
    # The other ticker's own row stays.
    assert pnl(of, "down_20", "BBB") == pytest.approx(pnl(book([SECURED]), "down_20", "BBB"))


def test_nothing_known_is_null_with_the_reason() -> None:
    of = book(prices=worlds.last_prices({"SPY": 600.0}))
    row = risk(of)
    for name in ("net_delta_shares", "net_delta_usd", "theta_day", "vega_point", "option_value",
                 "beta_delta_usd", "stock_value", "capital", "largest_ticker"):  # fmt: skip
        assert row[name] is None, name
    assert row["capital_reason"] == "AAA: no price was captured"
    assert row["beta_reason"] == "nothing could be valued"
    assert row["cash_secured"] == 19_000.0
    assert stress(of)["pnl"].null_count() == stress(of).height
    assert set(json.loads(row["left_out"]).values()) == {"no price was captured"}


def test_without_a_beta_only_the_plain_move_is_told() -> None:
    of = book(betas=BETAS.filter(pl.col("ticker") != "AAA"))
    rows = stress(of).filter(pl.col("ticker") == "AAA", pl.col("scenario") == "down_10")
    told = dict(rows.select("move", "reason").iter_rows())
    assert told == {"plain": None, "beta": "no beta"}
    assert pnl(of, "down_10", "BBB", "beta") is not None
    assert pnl(of, "down_10", ALL_TICKERS, "beta") is None
    assert pnl(of, "down_10", ALL_TICKERS) is not None
    assert pnl(of, "vol_up_10", ALL_TICKERS, "beta") == pytest.approx(
        pnl(of, "vol_up_10", ALL_TICKERS)
    )


def test_a_call_without_a_bid_borrows_its_neighbours_volatility() -> None:
    near: Contract = ("AAA", "C", 53.0, 0.40)
    far: Contract = ("AAA", "C", 54.0, 0.90)
    of = book([COVERED], greeks=greeks([CALL, near, far], unquoted=[CALL]))
    row = risk(of)
    h = 1e-4
    expected = slope(
        200 * (50 * (1 + h) - value(50 * (1 + h), 52, "C", 0.4)),
        200 * (50 * (1 - h) - value(50 * (1 - h), 52, "C", 0.4)),
        h,
    )
    assert row["net_delta_usd"] == pytest.approx(expected, rel=1e-5)
    assert row["option_value"] == pytest.approx(-200 * value(50, 52, "C", 0.4), rel=1e-6)
    distant: Contract = ("AAA", "C", 58.0, 0.40)
    alone = book([COVERED], greeks=greeks([CALL, distant], unquoted=[CALL]))
    assert json.loads(risk(alone)["left_out"]) == {"AAA": f"{symbol(CALL)} NO_QUOTE"}


ENDS_TODAY = build_option_symbol("AAA", DAY, "C", 52.0)


def last_day(ask: float | None, spot: float = 50.0, **changes: Any) -> Book:
    """200 shares of AAA with two calls at 52 on their last day, nobody bidding."""
    rows = greeks([CALL], unquoted=[CALL], spots={**PRICES, "AAA": spot}).with_columns(
        symbol=pl.lit(ENDS_TODAY), expiry=pl.lit(DAY), years=pl.lit(4 / 24 / 365)
    )
    quotes = pl.DataFrame(
        {"symbol": [ENDS_TODAY], "underlying": ["AAA"], "slot": [SLOT], "trade_date": [DAY],
         "bid": [None], "ask": [ask]},
        schema_overrides={"bid": pl.Float64, "ask": pl.Float64},
    )  # fmt: skip
    position = {**COVERED, "symbol": ENDS_TODAY, "expiry": DAY}
    given = {"greeks": pl.concat([rows, greeks([PUT])]), "quotes": quotes,
             "prices": worlds.last_prices({**PRICES, "AAA": spot}), **changes}  # fmt: skip
    return book([position, SECURED], **given)


@pytest.mark.feature(26)
def test_a_call_that_ends_worthless_leaves_the_risk_of_its_shares() -> None:
    """Two calls that nobody bids for, asked at 0.01: 200 x 0.005 = 1 USD owed, and no delta."""
    of, put = last_day(0.01), book([SECURED])
    row = risk(of)
    assert row["left_out"] == "{}"
    assert row["net_delta_shares"] == pytest.approx(200 + risk(put)["net_delta_shares"])
    assert row["option_value"] == pytest.approx(-1.0 + risk(put)["option_value"])
    assert row["theta_day"] == pytest.approx(risk(put)["theta_day"])
    note = f"{ENDS_TODAY} expires today out of the money: valued at half its ask, without Greeks"
    assert json.loads(row["notes"]) == {"AAA": note}
    # 200 shares lose 10 USD each at -20 %, and the call stays worthless.
    assert pnl(of, "down_20", "AAA") == pytest.approx(-2_000)
    assert pnl(of, "vol_up_10", "AAA") == 0.0
    assert pnl(of, "down_20", ALL_TICKERS) == pytest.approx(-2_000 + pnl(put, "down_20", "BBB"))
    assert risk(book())["notes"] is None


@pytest.mark.parametrize(
    "of",
    [last_day(None), last_day(0.01, spot=52.5), last_day(0.01, quotes=None)],
    ids=["no ask either", "in the money", "no quotes read"],
)
def test_what_may_still_be_exercised_or_is_not_quoted_has_no_value(of: Book) -> None:
    row = risk(of)
    assert json.loads(row["left_out"]) == {"AAA": f"{ENDS_TODAY} NO_QUOTE"}
    assert (row["net_delta_usd"], row["notes"]) == (None, None)


def test_a_call_without_a_volatility_has_no_value_before_its_last_day() -> None:
    quotes = pl.DataFrame({"symbol": [symbol(CALL)], "underlying": ["AAA"], "slot": [SLOT],
                           "bid": [None], "ask": [0.01]})  # fmt: skip
    of = book([COVERED], greeks=greeks([CALL], unquoted=[CALL]), quotes=quotes)
    assert json.loads(risk(of)["left_out"]) == {"AAA": f"{symbol(CALL)} NO_QUOTE"}


SPLIT = worlds.actions([{"ticker": "AAA", "action": "split", "ex_date": DAY,
                         "split_from": 1.0, "split_to": 2.0}])  # fmt: skip


def test_shares_from_before_a_split_are_not_half_of_themselves() -> None:
    """100 shares imported on Friday, split two for one on Monday: not 100 at the new price."""
    recorded = pl.DataFrame(
        {"account": ["ira", "ira"], "ticker": ["AAA", "BBB"], "shares": [100.0, 10.0],
         "average_basis": [90.0, 180.0], "free": [100.0, 10.0],
         "recorded_at": [SLOT - timedelta(days=3)] * 2}
    )  # fmt: skip
    of = valued_book(
        worlds.positions([]), marked_splits(recorded, SPLIT, DAY), worlds.last_prices(PRICES),
        greeks([CALL]), NO_DIVIDENDS, BETAS, CATEGORIES, DAY, SLOT, splits=SPLIT,
    )  # fmt: skip
    row = risk(of, "ira")
    assert json.loads(row["left_out"]) == {"AAA": f"recorded before its split on {DAY}"}
    assert row["capital_reason"] == f"AAA: recorded before its split on {DAY}"
    for name in ("net_delta_shares", "stock_value", "capital"):
        assert row[name] is None, name
    assert pnl(of, "down_10", "BBB", account="ira") == pytest.approx(-200)
    assert pnl(of, "down_10", ALL_TICKERS, account="ira") is None


def test_a_covered_call_from_before_a_split_has_no_value() -> None:
    row = risk(book([COVERED], splits=SPLIT))
    assert json.loads(row["left_out"]) == {"AAA": f"recorded before its split on {DAY}"}
    assert (row["net_delta_shares"], row["capital"]) == (None, None)
    opened_since = {**COVERED, "opened_at": SLOT}
    assert risk(book([opened_since], splits=SPLIT))["left_out"] == "{}"


def test_an_adjusted_contract_is_not_valued() -> None:
    of = book([COVERED], greeks=greeks([CALL], is_standard=False))
    assert json.loads(risk(of)["left_out"]) == {"AAA": f"{symbol(CALL)} ADJUSTED"}


def test_volatility_falls_no_lower_than_a_point() -> None:
    calm: Contract = ("AAA", "C", 50.0, 0.08)
    of = book([held(calm, -1)], greeks=greeks([calm]))
    expected = -100 * (value(50, 50, "C", 0.01) - value(50, 50, "C", 0.08))
    assert pnl(of, "vol_down_10", "AAA") == pytest.approx(expected, rel=1e-5)


def tree(spot: float, strike: float, right: str, vol: float, ex_years: float) -> float:
    """An American option with a dividend of 2 in a binomial tree at 4 % (Cox, Ross, Rubinstein).

    The spot less the value of the dividend is what the tree is of; exercise before the ex-date
    has the dividend still in it (Hull, 10th ed., section 21.3).
    """
    steps, rate = 1500, 0.04
    step = YEARS / steps
    up = np.exp(vol * step**0.5)
    chance = (np.exp(rate * step) - 1 / up) / (up - 1 / up)
    bare = spot - 2.0 * np.exp(-rate * ex_years)
    sign = 1.0 if right == "C" else -1.0
    values = np.array([])
    for n in range(steps, -1, -1):
        prices = bare * up ** (2.0 * np.arange(n + 1) - n)
        if n * step < ex_years:
            prices = prices + 2.0 * np.exp(-rate * (ex_years - n * step))
        exercised = np.maximum(sign * (prices - strike), 0.0)
        if n < steps:
            held_on = chance * values[1:] + (1 - chance) * values[:-1]
            exercised = np.maximum(exercised, held_on * np.exp(-rate * step))
        values = exercised
    return float(values[0])


@pytest.mark.parametrize("contract", [PUT, ("BBB", "C", 195.0, 0.30)], ids=["put", "call"])
def test_american_options_on_payers_against_a_tree(contract: Contract) -> None:
    ticker, right, strike, vol = contract
    ex_years = 20 / 365
    dividends = pl.DataFrame(
        {"underlying": [ticker], "ex_date": [date(2025, 6, 29)], "years": [ex_years],
         "amount": [2.0]}
    )  # fmt: skip
    curve = Curve(np.array([1 / 12, 10.0]), np.array([0.04, 0.04]), "treasury 2025-06-06")
    contracts = pl.DataFrame(
        {"symbol": [symbol(contract)], "underlying": [ticker], "root": [ticker],
         "expiry": [EXPIRY], "right": [right], "strike": [strike], "spot": [200.0],
         "price": [tree(200.0, strike, right, vol, ex_years)], "style": ["american"],
         "is_standard": [True]}
    )  # fmt: skip
    rows = OPTION_GREEKS.conform(
        value_contracts(contracts, SLOT, curve, dividends),
        trade_date=DAY, basis="snapshot", slot=SLOT, available_at=SLOT, price_source="mid",
    )  # fmt: skip
    of = valued_book(
        worlds.positions([held(contract, -1)]), None, worlds.last_prices(PRICES), rows, dividends,
        BETAS, CATEGORIES, DAY, SLOT,
    )  # fmt: skip
    for scenario, (shock, points) in SHOCKS.items():
        moved = tree(200.0 * (1 + shock), strike, right, vol + points, ex_years)
        expected = -100 * (moved - tree(200.0, strike, right, vol, ex_years))
        assert pnl(of, scenario, ticker) == pytest.approx(expected, abs=3.0), scenario


def test_later_rows_are_not_used() -> None:
    later = worlds.last_prices({"AAA": 99.0}, slot=SLOT.replace(minute=SLOT.minute + 1))
    of = book(prices=pl.concat([worlds.last_prices(PRICES), later]))
    assert risk(of)["stock_value"] == 10_000.0


def test_nothing_held_gives_no_rows() -> None:
    of = book([])
    assert portfolio_risk(of, DAY, SLOT).is_empty()
    assert portfolio_stress(of, DAY, SLOT).is_empty()


def test_every_scenario_has_a_name() -> None:
    assert list(SHOCKS) == list(SCENARIOS)
