"""Calls of the next expiries by yield a day, on hand-made chains."""

from datetime import date

import polars as pl
import pytest

from tracker_dagster.instruments import build_option_symbol
from tracker_dagster.schemas.captured import OPTION_CHAIN
from tracker_dagster.strategy.call_ranking import next_expiries, rank_calls
from tracker_dagster_tests.strategy.worlds import chain

DAY = date(2025, 6, 9)
NEAR, FAR, LATER = date(2025, 6, 13), date(2025, 6, 20), date(2025, 6, 27)
PRICES = pl.DataFrame({"ticker": ["A", "B"], "price": [100.0, 50.0]})


def call(ticker, expiry, strike, bid, ask, **changes):
    return {
        "underlying": ticker,
        "symbol": build_option_symbol(ticker, expiry, "C", strike),
        "expiry": expiry,
        "strike": float(strike),
        "right": "C",
        "bid": bid,
        "ask": ask,
        "mid": (bid + ask) / 2,
        "delta": 0.3,
        "open_interest": 10,
        "quote_status": "OK",
        "is_standard": True,
        **changes,
    }


def ranked(*rows, **options):
    frame = OPTION_CHAIN.conform(pl.DataFrame(rows, infer_schema_length=None), trade_date=DAY)
    return rank_calls(frame, PRICES, DAY, **options)


@pytest.mark.feature(29)
def test_the_next_two_expiries_are_ranked_by_what_they_pay_a_day():
    found = ranked(
        call("A", NEAR, 104, 0.76, 0.84),  # 0.80 over 4 days: 0.200 % a day
        call("A", FAR, 104, 1.60, 1.70),  # 1.65 over 11 days: 0.150 %
        call("A", NEAR, 106, 0.38, 0.42),  # 0.40 over 4 days: 0.100 %
        call("A", LATER, 104, 9.00, 9.10),  # the third expiry
        call("B", FAR, 52, 0.53, 0.57),  # 0.55 on 50 over 11 days: 0.100 %
    )
    assert found.select("ticker", "rank", "expiry", "strike").rows() == [
        ("A", 1, NEAR, 104.0),
        ("A", 2, FAR, 104.0),
        ("A", 3, NEAR, 106.0),
        ("B", 1, FAR, 52.0),
    ]
    assert found["yield_per_day"].to_list() == pytest.approx([0.002, 0.0015, 0.001, 0.001])
    assert found["annualised_yield"].to_list() == pytest.approx([0.73, 0.5475, 0.365, 0.365])
    assert found["dte"].to_list() == [4, 11, 4, 11]
    assert found["otm_pct"].to_list() == pytest.approx([0.04, 0.04, 0.06, 0.04])


@pytest.mark.feature(29)
@pytest.mark.parametrize(
    "changes",
    [
        {"bid": 0.70, "ask": 0.90, "mid": 0.79},  # a spread of a quarter of the mid and more
        {"open_interest": 0},
        {"delta": 0.14},
        {"delta": 0.46},
        {"strike": 99.0},  # in the money
        {"quote_status": "CROSSED"},
        {"is_standard": False},
        {"right": "P"},
        {"expiry": DAY},  # expires today
        {"underlying": "C"},  # no price of the stock
    ],
)
def test_what_no_one_should_write_is_left_out(changes):
    good = call("A", NEAR, 104, 0.76, 0.84)
    assert ranked(good).height == 1
    assert ranked({**good, **changes}).is_empty()


@pytest.mark.feature(29)
def test_limits_on_what_is_not_known_are_named_and_turn_nothing_down():
    bare = call("A", NEAR, 104, 0.76, 0.84, delta=None, open_interest=None)
    assert ranked(bare)["not_checked"].to_list() == ["delta, open_interest"]
    ours = pl.DataFrame({"symbol": [bare["symbol"]], "delta": [0.2]})
    found = ranked(bare, greeks=ours)
    assert found.select("delta", "not_checked").rows() == [(0.2, "open_interest")]
    assert ranked(bare, greeks=ours.with_columns(delta=0.6)).is_empty()


def test_at_most_five_of_a_ticker_and_ties_go_to_the_larger_open_interest():
    rows = [call("A", NEAR, 104 + n, 0.5, 0.52, open_interest=n + 1) for n in range(7)]
    found = ranked(*rows)
    assert found["open_interest"].to_list() == [7, 6, 5, 4, 3]
    assert ranked(*reversed(rows)).equals(found)
    assert ranked(*rows, per_ticker=2).height == 2


@pytest.mark.feature(14)
def test_expiries_are_those_of_the_calendar():
    # Good Friday 2025 is the 18th: that week's options end on Thursday.
    assert next_expiries(date(2025, 4, 14), 2) == [date(2025, 4, 17), date(2025, 4, 25)]
    # On the Friday itself the next one counts: a call that expires today is none.
    assert next_expiries(NEAR, 2) == [FAR, LATER]
    with pytest.raises(ValueError, match="one or more, not 0"):
        next_expiries(DAY, 0)


def test_a_whole_chain_gives_calls_around_the_wanted_delta():
    rows = chain({"A": 100.0, "B": 50.0}, {"A": 0.3, "B": 0.6}, expiries=(NEAR, FAR, LATER))
    found = rank_calls(rows, PRICES, DAY)
    assert found["delta"].is_between(0.15, 0.45).all()
    assert set(found["expiry"]) <= {NEAR, FAR}
    assert found.group_by("ticker").len()["len"].to_list() == [5, 5]
    assert found.sort("ticker", "rank").equals(found)
    best = found.group_by("ticker", maintain_order=True).first()
    assert (best["yield_per_day"] == found.group_by("ticker", maintain_order=True).agg(
        pl.col("yield_per_day").max()
    )["yield_per_day"]).all()  # fmt: skip
