"""Which price of the underlying a captured chain is valued with, and at which moment."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from tracker_dagster.analytics.captured_chains import moment_shown, with_spots

SLOT = datetime(2026, 6, 3, 19, 45, tzinfo=UTC)
CLOSE = datetime(2026, 6, 3, 20, 0, tzinfo=UTC)
TIMES = pl.Datetime("us", "UTC")


def chain(price, at, name="AAPL"):
    return pl.DataFrame(
        {"underlying": [name], "underlying_price": [price], "underlying_at": [at]},
        schema={"underlying": pl.String, "underlying_price": pl.Float64, "underlying_at": TIMES},
    )


def last(price=None, at=None, name="AAPL"):
    return pl.DataFrame(
        {"ticker": [name], "price": [price], "price_at": [at]},
        schema={"ticker": pl.String, "price": pl.Float64, "price_at": TIMES},
    )


def minutes(count):
    return SLOT + timedelta(minutes=count)


@pytest.mark.parametrize(
    ("came", "beside", "expected"),
    [
        ((246.0, minutes(0)), (245.0, minutes(0)), (246.0, "option_chain", None)),
        # Fifteen minutes are the delay of most plans.
        ((246.0, minutes(-15)), (None, None), (246.0, "option_chain", None)),
        ((246.0, None), (None, None), (246.0, "option_chain", None)),
        ((None, None), (245.0, minutes(-1)), (245.0, "market_last", None)),
        ((240.0, minutes(-95)), (245.0, minutes(-1)), (245.0, "market_last", None)),
        ((240.0, minutes(-95)), (None, None), (None, None, "STALE_SPOT")),
        # Twelve minutes after the close: what the stock did on its earnings.
        ((300.0, minutes(27)), (None, None), (None, None, "STALE_SPOT")),
        ((None, None), (None, None), (None, None, None)),
    ],
)
def test_the_price_that_came_with_the_chain_or_that_of_its_slot_or_none(came, beside, expected):
    row = with_spots(chain(*came), last(*beside), SLOT, CLOSE).row(0, named=True)
    assert (row["spot"], row["spot_source"], row["spot_problem"]) == expected
    assert (row["spot_at"] is None) == (row["spot"] is None or came == (246.0, None))


def test_the_order_and_number_of_contracts_stay():
    contracts = pl.concat([chain(1.0, SLOT, name) for name in ("B", "A", "B", "C")])
    prices = pl.concat([last(9.0, SLOT, name) for name in ("A", "B")])
    found = with_spots(contracts, prices, SLOT, CLOSE)
    assert found["underlying"].to_list() == ["B", "A", "B", "C"]


def test_delayed_prices_are_of_an_earlier_moment_than_their_slot():
    delayed = pl.concat([chain(1.0, minutes(-15), name) for name in "ABC"])
    found = with_spots(delayed, last(), SLOT, CLOSE)
    assert moment_shown(found, SLOT) == minutes(-15)
    assert moment_shown(with_spots(chain(None, None), last(), SLOT, CLOSE), SLOT) == SLOT
