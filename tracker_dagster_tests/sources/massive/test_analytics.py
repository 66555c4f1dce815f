"""The vendor's end-of-day Greeks and open interest, and answers that must not pass as empty."""

from datetime import UTC, date, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from tracker_dagster.marketsim import MarketSim
from tracker_dagster.sources.errors import MalformedResponseError, NotEntitledError
from tracker_dagster.sources.massive.analytics import option_analytics, option_open_interest
from tracker_dagster_tests.sources.scripted_server import reply_json

DAY = date(2026, 6, 2)
PRICED = {
    "ticker": "O:AAPL260605C00300000",
    "underlying_ticker": "AAPL",
    "date": "2026-06-02",
    "implied_volatility": 0.31,
    "underlying_price": 299.5,
    "dividend_yield": 0.004,
    "risk_free_rate": 0.043,
}
GREEKS = {"delta": 0.5, "gamma": 0.04, "theta": -0.3, "vega": 0.1, "rho": 0.01}
UNPRICED = {
    **PRICED,
    **dict.fromkeys([*GREEKS, "implied_volatility"]),
    "ticker": "O:X260605C00001000",
}


HELD = {"ticker": "O:SPXW260605P06000000", "root": "SPXW", "date": "2026-06-02"}


def answer(*rows):
    return reply_json({"status": "OK", "request_id": 1, "count": len(rows), "results": list(rows)})


@pytest.mark.parametrize("row", [{**PRICED, **GREEKS}, {**PRICED, "greeks": GREEKS}])
def test_rows_are_read_flat_or_nested_and_nulls_stay_null(serve, massive, row):
    server = serve(answer(row, UNPRICED))
    frame = option_analytics(massive(server.url), ["UBER", "AAPL"], DAY)
    priced, unpriced = frame.iter_rows(named=True)
    assert {name: priced[name] for name in GREEKS} == GREEKS
    assert (priced["symbol"], priced["date"]) == (PRICED["ticker"], DAY)
    assert (priced["implied_volatility"], priced["risk_free_rate"]) == (0.31, 0.043)
    assert [unpriced[name] for name in (*GREEKS, "implied_volatility")] == [None] * 6
    assert unpriced["underlying_price"] == 299.5
    asked = parse_qs(urlsplit(server.paths[0]).query)
    assert asked["underlying_ticker.any_of"] == ["AAPL,UBER"]
    assert asked["date"] == ["2026-06-02"]


def test_rows_of_another_day_are_refused(serve, massive):
    server = serve(answer({**PRICED, "date": "2026-06-03"}))
    with pytest.raises(MalformedResponseError, match="another day"):
        option_analytics(massive(server.url), ["AAPL"], DAY)


def test_fields_of_other_names_are_told_and_not_taken_for_nulls(serve, massive):
    renamed = {key: PRICED[key] for key in ("ticker", "date")} | {"iv": 0.3, "greek_delta": 0.5}
    server = serve(answer(renamed))
    with pytest.raises(MalformedResponseError, match="date, greek_delta, iv, ticker"):
        option_analytics(massive(server.url), ["AAPL"], DAY)


def test_a_day_without_rows_is_empty(serve, massive):
    assert option_analytics(massive(serve(answer()).url), ["AAPL"], DAY).is_empty()


def test_a_plan_without_it_is_not_entitled(serve, massive):
    refusal = {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."}
    with pytest.raises(NotEntitledError):
        option_analytics(massive(serve(reply_json(refusal, 403)).url), ["AAPL"], DAY)


def test_the_simulated_market_speaks_it(massive):
    now = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
    with MarketSim(tickers=["AAPL", "SPY"], now=now) as sim:
        frame = option_analytics(massive(sim.url), ["AAPL", "SPY"], DAY)
        listed = massive(sim.url).option_contracts("AAPL", as_of=DAY)
    assert set(frame.filter(underlying="AAPL")["symbol"]) == set(listed["symbol"])
    assert frame["implied_volatility"].null_count() == frame["delta"].null_count() > 0
    with (
        MarketSim(tickers=["AAPL", "SPY"], now=now, plan="basic") as sim,
        pytest.raises(NotEntitledError),
    ):
        option_analytics(massive(sim.url), ["AAPL"], DAY)


def test_open_interest_is_asked_for_by_root_and_day(serve, massive):
    server = serve(answer({**HELD, "open_interest": 1200}, {**HELD, "open_interest": None}))
    frame = option_open_interest(massive(server.url), ["SPXW", "SPX"], DAY)
    assert frame.select("symbol", "date", "open_interest").rows() == [
        (HELD["ticker"], DAY, 1200),
        (HELD["ticker"], DAY, None),
    ]
    asked = parse_qs(urlsplit(server.paths[0]).query)
    assert (asked["root.any_of"], asked["date"]) == (["SPX,SPXW"], ["2026-06-02"])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        # What a date that is ignored would give: the newest figure, for a past day.
        ({**HELD, "date": "2026-06-03", "open_interest": 5}, "another day"),
        ({**HELD, "oi": 5}, "date, oi, root, ticker"),
    ],
)
def test_open_interest_that_cannot_be_meant_is_refused(serve, massive, row, told):
    with pytest.raises(MalformedResponseError, match=told):
        option_open_interest(massive(serve(answer(row)).url), ["SPXW"], DAY)


def test_the_simulated_market_tells_open_interest(massive):
    now = datetime(2026, 6, 3, 19, 50, tzinfo=UTC)
    with MarketSim(tickers=["AAPL", "SPY"], now=now) as sim:
        frame = option_open_interest(massive(sim.url), ["AAPL", "SPX", "SPXW"], DAY)
        listed = massive(sim.url).option_contracts("AAPL", as_of=DAY)
    shares = frame["symbol"].str.starts_with("O:AAPL")
    plain = listed.filter(listed["symbol"].str.contains("^O:AAPL[0-9]{6}[CP]"))
    assert set(frame.filter(shares)["symbol"]) == set(plain["symbol"])
    assert set(frame.filter(~shares)["symbol"].str.extract("O:([A-Z]+)")) == {"SPX", "SPXW"}
