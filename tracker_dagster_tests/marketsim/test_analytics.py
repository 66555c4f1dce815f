"""The simulated end-of-day Greeks and open interest: which rows there are, and what made them."""

from __future__ import annotations

import math
from datetime import datetime
from statistics import NormalDist
from typing import Any

import pytest
import requests

from tracker_dagster.marketsim import MarketSim

DAY = "2026-11-18"
GREEKS = ("implied_volatility", "delta", "gamma", "theta", "vega", "rho")


def rows(
    sim: MarketSim, http: requests.Session, path: str = "analytics", **query: Any
) -> list[dict[str, Any]]:
    url: str | None = f"{sim.url}/options/v1/{path}"
    found = []
    while url:
        body = http.get(url, params=query).json()
        found += body["results"]
        url, query = body.get("next_url"), {}
    return found


def test_a_row_a_listed_contract_priced_or_not(sim: MarketSim, http: requests.Session) -> None:
    found = rows(sim, http, underlying_ticker="AAPL", date=DAY, limit=100)
    url = f"{sim.url}/v3/reference/options/contracts"
    query = {"underlying_ticker": "AAPL", "as_of": DAY, "limit": 1000}
    listed = http.get(url, params=query).json()["results"]
    assert [row["ticker"] for row in found] == [row["ticker"] for row in listed]
    assert {row["date"] for row in found} == {DAY}
    unpriced = [row for row in found if row["delta"] is None]
    assert 0 < len(unpriced) < 0.2 * len(found)
    for row in unpriced:
        assert all(row[name] is None for name in GREEKS)
        assert row["underlying_price"] > 0


def test_the_greeks_are_those_of_the_inputs(sim: MarketSim, http: requests.Session) -> None:
    # European and without dividends, so that the textbook's formula must give the delta.
    found = rows(sim, http, underlying_ticker="SPX", date=DAY, limit=5000)
    priced = [row for row in found if row["delta"] is not None and 0.2 < abs(row["delta"]) < 0.8]
    assert len(priced) > 20
    for row in priced:
        strike = int(row["ticker"][-8:]) / 1000
        spot, volatility = row["underlying_price"], row["implied_volatility"]
        # vega = spot * density(d1) * root of the time, in points: gives the time left
        gamma, vega = row["gamma"], row["vega"] * 100
        years = vega / (gamma * spot**2 * volatility)
        root = volatility * math.sqrt(years)
        d1 = (math.log(spot / strike) + row["risk_free_rate"] * years) / root + root / 2
        delta = NormalDist().cdf(d1) - (row["ticker"][-9] == "P")
        assert row["delta"] == pytest.approx(delta, abs=0.02)
        assert row["dividend_yield"] == 0


def test_filters_and_what_is_not_out_yet(sim: MarketSim, http: requests.Session) -> None:
    two = rows(sim, http, **{"underlying_ticker.any_of": "AAPL,UBER", "date": DAY}, limit=5000)
    assert {row["underlying_ticker"] for row in two} == {"AAPL", "UBER"}
    one = two[0]["ticker"]
    span = {"date.gte": "2026-11-16", "date.lte": "2026-11-18"}
    days = rows(sim, http, ticker=one, underlying_ticker="AAPL", **span)
    assert [row["date"] for row in days] == ["2026-11-16", "2026-11-17", "2026-11-18"]
    assert rows(sim, http, underlying_ticker="AAPL", date="2026-11-19") == []
    assert rows(sim, http, underlying_ticker="AAPL", date="2026-11-15") == []
    assert http.get(f"{sim.url}/options/v1/analytics?underlying_ticker=AAPL").status_code == 400


def test_open_interest_of_a_session_is_what_the_next_ones_chain_shows(
    sim: MarketSim, http: requests.Session
) -> None:
    found = rows(sim, http, "open-interest", root="SPXW", date=DAY, limit=50)
    assert {row["root"] for row in found} == {"SPXW"}
    assert {row["underlying_ticker"] for row in found} == {"SPX"}
    url: str | None = f"{sim.url}/v3/snapshot/options/I:SPX"
    query: dict[str, Any] = {"limit": 250}
    shown = {}
    while url:
        body = http.get(url, params=query).json()
        shown |= {row["details"]["ticker"]: row["open_interest"] for row in body["results"]}
        url, query = body.get("next_url"), {}
    told = {row["ticker"]: row["open_interest"] for row in found}
    both = told.keys() & shown.keys()
    assert len(both) > 50
    assert {name: told[name] for name in both} == {name: shown[name] for name in both}
    # Those that expired on the day are told of, too.
    assert told.keys() - shown.keys() == {
        row["ticker"] for row in found if row["expiration_date"] == DAY
    }


@pytest.mark.parametrize(
    ("now", "newest"),
    [
        ("2026-11-19T06:59:00-05:00", "2026-11-17"),
        ("2026-11-19T07:00:00-05:00", "2026-11-18"),
        ("2026-11-21T12:00:00-05:00", "2026-11-19"),  # a Saturday: Friday's come on Monday
        ("2026-11-23T08:00:00-05:00", "2026-11-20"),
    ],
)
def test_open_interest_comes_on_the_next_sessions_morning(
    http: requests.Session, now: str, newest: str
) -> None:
    with MarketSim(tickers=["AAPL", "SPY"], now=datetime.fromisoformat(now)) as market:
        span = {"date.gte": "2026-11-16", "root": "AAPL"}
        days = {row["date"] for row in rows(market, http, "open-interest", **span, limit=5000)}
    assert max(days) == newest
