"""Which dividends lower an option's value, when they come, and what a share of today gets."""

from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest

from tracker_dagster.analytics.dividends import (
    cash_dividends,
    dividend_sources,
    dividends_ahead,
)
from tracker_dagster.analytics.pricing.dividends import escrow
from tracker_dagster.schemas.reference import CORPORATE_ACTIONS

#: A Wednesday, 15:50 in New York.
MOMENT = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
YEAR = 365 * 24 * 60


def dividend(ticker, ex_date, amount, kind="recurring", currency="USD"):
    return {
        "ticker": ticker, "action": "dividend", "ex_date": ex_date, "cash_amount": amount,
        "distribution_type": kind, "currency": currency,
    }  # fmt: skip


def split(ticker, ex_date, old, new):
    return {
        "ticker": ticker, "action": "split", "ex_date": ex_date, "split_from": old, "split_to": new,
    }  # fmt: skip


def actions(*rows):
    columns = CORPORATE_ACTIONS.polars_schema
    return CORPORATE_ACTIONS.conform(
        pl.DataFrame(
            list(rows), schema={name: columns[name] for name in columns if name != "trade_date"}
        )
    )


def amounts(*rows):
    ahead = dividends_ahead(actions(*rows), MOMENT)
    return dict(zip(ahead["underlying"], ahead["amount"], strict=True))


def test_a_dividend_counts_from_the_opening_of_its_ex_date():
    ahead = dividends_ahead(actions(dividend("AAPL", date(2026, 6, 4), 0.27)), MOMENT)
    # 17 hours and 40 minutes from 15:50 to 09:30.
    assert ahead.select("underlying", "amount").row(0) == ("AAPL", 0.27)
    assert ahead["years"].item() == pytest.approx((17 * 60 + 40) / YEAR, rel=1e-12)
    # Across the end of summer time the clocks give an hour.
    late = dividends_ahead(actions(dividend("AAPL", date(2026, 11, 2), 0.27)), MOMENT)
    days = (date(2026, 11, 2) - date(2026, 6, 3)).days
    assert late["years"].item() == pytest.approx(
        (days * 24 * 60 - (6 * 60 + 20) + 60) / YEAR, rel=1e-12
    )


def test_who_holds_on_the_ex_date_has_the_price_without_it():
    assert amounts(dividend("AAPL", date(2026, 6, 3), 0.27)) == {}


def test_amounts_past_a_split_are_turned_into_shares_of_today():
    rows = (
        dividend("AVGO", date(2026, 6, 20), 0.5),
        split("AVGO", date(2026, 6, 15), 1, 10),
        split("AVGO", date(2026, 6, 20), 2, 1),
        split("AVGO", date(2026, 6, 3), 1, 7),  # executed: today's shares are split already
        split("AVGO", date(2026, 6, 22), 1, 3),  # later than the dividend
        dividend("MSFT", date(2026, 6, 20), 0.9),
    )
    assert amounts(*rows) == pytest.approx({"AVGO": 0.5 * 10 / 2, "MSFT": 0.9})


@pytest.mark.parametrize(
    ("kind", "amount", "counts"),
    [
        ("recurring", 15.0, True),
        (None, 1.0, True),
        ("unknown", 1.0, True),
        ("special", 7.0, False),
        ("irregular", 0.2, False),
        ("supplemental", 0.125, False),
        ("special", 0.12, True),
        ("recurring", 0.0, False),
    ],
)
def test_what_the_contracts_are_adjusted_for_does_not_lower_their_value(kind, amount, counts):
    assert bool(amounts(dividend("COST", date(2026, 6, 20), amount, kind))) is counts


def test_what_is_known_of_whom():
    rows = actions(
        dividend("AAPL", date(2026, 6, 20), 0.27),
        dividend("TSM", date(2026, 6, 20), 5.0, currency="TWD"),
        dividend("KO", date(2026, 6, 20), 0.5),
        dividend("PEP", date(2026, 6, 3), 0.5),
    )
    asked = ["AAPL", "SOFI", "TSM"]
    names = ["AAPL", "SOFI", "TSM", "KO", "PEP", "SPX", "SOFI"]
    some = dividend_sources(names, rows, MOMENT, asked)
    assert dict(some.rows()) == {
        "AAPL": "corporate_actions",
        "SOFI": "corporate_actions",
        "TSM": "not_in_usd",
        "KO": "incomplete",
        "PEP": "not_collected",
        "SPX": "index",
    }
    none = dict(dividend_sources(names, rows, MOMENT, []).rows())
    assert (none["AAPL"], none["SOFI"]) == ("incomplete", "not_collected")
    everyone = dict(dividend_sources(names, rows, MOMENT, None).rows())
    assert everyone == {
        **dict.fromkeys(["AAPL", "SOFI", "KO", "PEP"], "corporate_actions"),
        "TSM": "not_in_usd",
        "SPX": "index",
    }
    assert "TSM" not in amounts(*rows.to_dicts())


def test_each_contract_has_its_underlyings_dividends_before_it_expires():
    rows = (
        dividend("KO", date(2026, 9, 1), 0.6),
        dividend("KO", date(2026, 6, 20), 0.5),
        dividend("AAPL", date(2026, 6, 20), 0.27),
    )
    ahead = dividends_ahead(actions(*rows), MOMENT)
    contracts = pl.Series(["SPX", "KO", "AAPL", "KO", "KO"])
    years = np.array([1.0, 1.0, 0.5, 0.1, 0.01])
    cash = cash_dividends(contracts, ahead)
    value = escrow(cash.aligned((5,)), years, np.full(5, 0.04)).value
    june, september = ahead.filter(pl.col("underlying") == "KO")["years"]
    one = 0.5 * np.exp(-0.04 * june)
    two = one + 0.6 * np.exp(-0.04 * september)
    assert value == pytest.approx([0, two, 0.27 * np.exp(-0.04 * june), one, 0], abs=1e-12)
    none = cash_dividends(contracts, ahead.clear())
    assert escrow(none.aligned((5,)), years, np.zeros(5)).value.tolist() == [0.0] * 5
