"""The REST side over real sockets: envelopes, cursors, errors, plans, point-in-time answers."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tracker_dagster.marketsim import MarketSim
from tracker_dagster.trading_calendar import EASTERN
from tracker_dagster_tests.marketsim.conftest import NOW


def pages(http: requests.Session, url: str, **params: Any) -> list[dict[str, Any]]:
    found = []
    address: str | None = requests.Request("GET", url, params=params).prepare().url
    while address:
        answer = http.get(address)
        answer.raise_for_status()
        found.append(answer.json())
        address = found[-1].get("next_url")
        assert len(found) < 100
    return found


# --- authentication and errors ------------------------------------------------------------


def test_keys(sim: MarketSim) -> None:
    url = f"{sim.url}/v1/marketstatus/now"
    absent = requests.get(url)
    assert (absent.status_code, absent.json()["error"]) == (401, "API Key was not provided")
    wrong = requests.get(url, headers={"Authorization": "Bearer bad"})
    assert (wrong.status_code, wrong.json()["error"]) == (401, "Unknown API Key")
    assert requests.get(url, params={"apiKey": "k"}).status_code == 200
    answer = requests.get(url, headers={"Authorization": "Bearer k"})
    assert len(answer.headers["X-Request-Id"]) == 32


def test_configured_keys() -> None:
    with MarketSim(tickers=["AAPL"], accepted_keys={"only"}) as sim:
        url = f"{sim.url}/v1/marketstatus/now"
        assert requests.get(url, params={"apiKey": "only"}).status_code == 200
        assert requests.get(url, params={"apiKey": "other"}).status_code == 401


def test_unknown_route_is_plain_text(sim: MarketSim, http: requests.Session) -> None:
    answer = http.get(f"{sim.url}/v1/market/holidays")
    assert (answer.status_code, answer.text) == (404, "404 page not found")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v2/aggs/ticker/AAPL/range/1/day/x/2026-01-02", "time parameter: 'from'"),
        ("/v2/aggs/ticker/AAPL/range/1/day/2026-01-02/2026-01-01", "'to' cannot be a time"),
        ("/v2/aggs/ticker/AAPL/range/1/day/2026-01-02/2026-01-05?limit=50001", "limit"),
        ("/v3/snapshot/options/AAPL?limit=251", "limit"),
        ("/v3/reference/options/contracts?contract_type=straddle", "contract_type"),
        ("/v3/reference/options/contracts?cursor=%%%", "cursor"),
        ("/v3/reference/options/contracts?cursor=YXA9eA", "cursor"),
        ("/v3/reference/options/contracts?as_of=1999-01-04", "time"),
        ("/v2/aggs/ticker/AAPL/range/1/day/2026-01-02/9999-12-31", "time"),
    ],
)
def test_bad_parameters(sim: MarketSim, http: requests.Session, path: str, words: str) -> None:
    answer = http.get(sim.url + path)
    assert answer.status_code == 400
    assert words in answer.json()["error"]
    assert answer.json()["status"] == "ERROR"


# --- aggregates ---------------------------------------------------------------------------


def test_minutes_arrive_whole_through_rewritten_cursors(
    sim: MarketSim, http: requests.Session
) -> None:
    url = f"{sim.url}/v2/aggs/ticker/AAPL/range/1/minute/2026-11-16/2026-11-17"
    whole = http.get(url, params={"limit": 50000}).json()
    assert "next_url" not in whole
    parts = pages(http, url, limit=700)
    assert len(parts) > 1
    assert [r for p in parts for r in p["results"]] == whole["results"]
    following = urlsplit(parts[0]["next_url"])
    assert following.netloc == urlsplit(sim.url).netloc
    assert following.path.split("/")[-2] == str(parts[1]["results"][0]["t"])
    cursor = parse_qs(following.query)["cursor"][0]
    assert base64.urlsafe_b64decode(cursor + "==").decode() == "limit=700"
    assert "key" not in parts[0]["next_url"].lower()
    descending = http.get(url, params={"limit": 50000, "sort": "desc"}).json()["results"]
    assert descending == whole["results"][::-1]


def test_the_limit_counts_base_bars(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v2/aggs/ticker/SPY/range/1/hour/2026-11-16/2026-11-18"
    parts = pages(http, url, limit=400)
    assert len(parts) > 3
    hours = [r for p in parts for r in p["results"]]
    assert len({r["t"] for r in hours}) == len(hours)
    minutes = http.get(url.replace("hour", "minute"), params={"limit": 50000}).json()["results"]
    assert sum(r["v"] for r in hours) == pytest.approx(sum(r["v"] for r in minutes))
    assert all(p["queryCount"] <= 400 for p in parts)
    assert parts[0]["resultsCount"] < 20


def test_the_running_day_is_seen_only_up_to_now(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v2/aggs/ticker/SPY/range/1/minute/2026-11-19/2026-11-20"
    rows = http.get(url, params={"limit": 50000}).json()["results"]
    assert rows[-1]["t"] == int(NOW.timestamp() * 1000) - 60_000
    sim.set_clock(NOW + timedelta(minutes=5))
    assert len(http.get(url, params={"limit": 50000}).json()["results"]) == len(rows) + 5
    sim.set_clock(NOW - timedelta(days=1))
    empty = http.get(url).json()
    assert empty["resultsCount"] == 0
    assert "results" not in empty


def test_adjustment(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v2/aggs/ticker/AVGO/range/1/day/2026-03-05/2026-03-10"
    adjusted = http.get(url).json()["results"]
    traded = http.get(url, params={"adjusted": "false"}).json()["results"]
    ratios = [t["c"] / a["c"] for t, a in zip(traded, adjusted, strict=True)]
    assert ratios == pytest.approx([4, 4, 1, 1])
    # Before the split happens, nobody adjusts for it.
    sim.set_clock(datetime(2026, 3, 6, 20, 50, tzinfo=UTC))
    early = http.get(f"{sim.url}/v2/aggs/ticker/AVGO/range/1/day/2026-03-05/2026-03-05").json()
    assert early["results"][0]["c"] == traded[0]["c"]


def test_day_anchors(sim: MarketSim, http: requests.Session) -> None:
    def hour(path: str) -> tuple[date, int]:
        row = http.get(sim.url + path).json()["results"][0]
        moment = datetime.fromtimestamp(row["t"] / 1000, EASTERN)
        return moment.date(), moment.hour

    day = date(2026, 11, 18)
    assert hour("/v2/aggs/ticker/AAPL/range/1/day/2026-11-18/2026-11-18") == (day, 0)
    assert hour("/v2/aggs/ticker/I:SPX/range/1/day/2026-11-18/2026-11-18") == (day, 1)
    assert hour("/v2/aggs/ticker/AAPL/prev") == (day, 16)
    assert hour("/v2/aggs/grouped/locale/us/market/stocks/2026-11-18") == (day, 16)


def test_index_bars_have_no_volume(sim: MarketSim, http: requests.Session) -> None:
    body = http.get(f"{sim.url}/v2/aggs/ticker/I:VIX/range/1/minute/2026-11-18/2026-11-18").json()
    assert set(body["results"][0]) == {"o", "h", "l", "c", "t"}
    assert len(body["results"]) == 390


def test_grouped_equals_the_single_bars_and_is_empty_on_a_day_off(
    sim: MarketSim, http: requests.Session
) -> None:
    base = f"{sim.url}/v2/aggs/grouped/locale/us/market/stocks"
    rows = {r["T"]: r for r in http.get(f"{base}/2026-11-18").json()["results"]}
    assert len(rows) > 90
    url = f"{sim.url}/v2/aggs/ticker/TXN/range/1/day/2026-11-18/2026-11-18"
    single = http.get(url).json()["results"][0]
    assert {k: rows["TXN"][k] for k in "ohlcv"} == {k: single[k] for k in "ohlcv"}
    off = http.get(f"{base}/2026-11-15").json()
    assert off["resultsCount"] == 0
    assert "results" not in off


def test_unknown_ticker_has_no_bars(sim: MarketSim, http: requests.Session) -> None:
    for ticker in ("NOPE", "O:NOPE261120C00001000", "O:garbage", "I:NOPE"):
        url = f"{sim.url}/v2/aggs/ticker/{ticker}/range/1/day/2026-11-16/2026-11-18"
        answer = http.get(url)
        assert answer.status_code == 200
        assert "results" not in answer.json()


# --- options ------------------------------------------------------------------------------


def test_contracts_as_of_a_day(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v3/reference/options/contracts"
    query = {"underlying_ticker": "AAPL", "limit": 100}
    now = [r for p in pages(http, url, **query) for r in p["results"]]
    assert len({r["ticker"] for r in now}) == len(now) > 150
    assert min(r["expiration_date"] for r in now) >= "2026-11-19"
    past = [r for p in pages(http, url, **query, as_of="2026-10-01") for r in p["results"]]
    assert min(r["expiration_date"] for r in past) == "2026-10-02"
    gone = next(r["ticker"] for r in past if r["expiration_date"] == "2026-10-02")
    assert http.get(f"{url}/{gone}").status_code == 404
    assert http.get(f"{url}/{gone}?as_of=2026-10-02").json()["results"]["ticker"] == gone
    expired = [
        r
        for p in pages(
            http,
            url,
            underlying_ticker="AAPL",
            expired="true",
            limit=1000,
            **{"expiration_date": "2026-10-02"},
        )
        for r in p["results"]
    ]
    assert gone in {r["ticker"] for r in expired}


def test_contract_rows_tell_index_and_adjusted_ones(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v3/reference/options/contracts"

    def rows(underlying: str) -> list[dict[str, Any]]:
        answers = pages(http, url, underlying_ticker=underlying, limit=1000)
        return [r for p in answers for r in p["results"]]

    roots = {r["ticker"][2:-15]: r for r in rows("SPX")}
    assert set(roots) == {"SPX", "SPXW"}
    assert roots["SPX"]["exercise_style"] == "european"
    assert roots["SPX"]["cfi"][2] == "E"
    assert rows("I:SPX") == []
    odd = next(r for r in rows("WFC") if r["ticker"].startswith("O:WFC1"))
    assert odd["shares_per_contract"] == 150
    cash = next(r for r in rows("CSCO") if r["ticker"].startswith("O:CSCO1"))
    assert cash["additional_underlyings"] == [
        {"amount": 105, "type": "currency", "underlying": "USD"}
    ]


def test_chain_pages_add_up_and_filters_narrow(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v3/snapshot/options/SPY"
    answers = pages(http, url, limit=250)
    rows = [r for p in answers for r in p["results"]]
    tickers = [r["details"]["ticker"] for r in rows]
    assert len(tickers) == len(set(tickers)) > 1000
    assert tickers == sorted(tickers)
    assert all(len(p["results"]) <= 250 for p in answers)
    query = {
        "contract_type": "call",
        "expiration_date.gte": "2026-11-23",
        "expiration_date.lte": "2026-11-27",
        "strike_price.gt": 700,
    }
    some = [r for p in pages(http, url, limit=250, **query) for r in p["results"]]
    wanted = [
        r
        for r in rows
        if r["details"]["contract_type"] == "call"
        and "2026-11-23" <= r["details"]["expiration_date"] <= "2026-11-27"
        and r["details"]["strike_price"] > 700
    ]
    assert some == wanted
    assert wanted


def test_chain_rows_omit_what_is_unknown(sim: MarketSim, http: requests.Session) -> None:
    answers = pages(http, f"{sim.url}/v3/snapshot/options/TSLA", limit=250)
    rows = [r for p in answers for r in p["results"]]
    assert all(value is not None for row in rows for value in row.values())
    without = [r for r in rows if "greeks" not in r]
    assert 0.05 < len(without) / len(rows) < 0.2
    assert any(r["day"] == {} for r in rows)
    midnight = int(datetime(2026, 11, 19, tzinfo=EASTERN).timestamp() * 1e9)
    assert any(r["day"].get("last_updated", midnight) < midnight for r in rows)  # stale
    call = next(r for r in rows if r["details"]["contract_type"] == "call" and "greeks" in r)
    assert set(call["greeks"]) == {"delta", "gamma", "theta", "vega"}
    assert 0 < call["greeks"]["delta"] <= 1
    assert call["underlying_asset"]["ticker"] == "TSLA"
    index = http.get(f"{sim.url}/v3/snapshot/options/I:SPX").json()["results"][0]
    assert "value" in index["underlying_asset"]
    assert "price" not in index["underlying_asset"]
    assert http.get(f"{sim.url}/v3/snapshot/options/NOPE").json()["results"] == []


def test_the_chain_agrees_with_bars_and_the_single_contract(
    sim: MarketSim, http: requests.Session
) -> None:
    row = next(
        r
        for r in http.get(f"{sim.url}/v3/snapshot/options/AAPL", params={"limit": 250}).json()[
            "results"
        ]
        if r["day"].get("volume", 0) > 100
    )
    ticker = row["details"]["ticker"]
    assert http.get(f"{sim.url}/v3/snapshot/options/AAPL/{ticker}").json()["results"] == row
    url = f"{sim.url}/v2/aggs/ticker/{ticker}/range/1/day/2026-11-19/2026-11-19"
    bar = http.get(url).json()["results"][0]
    day = row["day"]
    assert (bar["o"], bar["h"], bar["l"], bar["c"], bar["v"]) == (
        day["open"],
        day["high"],
        day["low"],
        day["close"],
        day["volume"],
    )


def test_the_same_question_at_the_same_moment_has_the_same_answer(sim: MarketSim) -> None:
    path = "/v3/snapshot/options/RIOT?limit=250&apiKey=k"
    here = requests.get(sim.url + path).content
    with MarketSim(now=NOW) as other:
        there = requests.get(other.url + path).content.replace(other.url.encode(), b"")
    assert here.replace(sim.url.encode(), b"") == there


def test_many_clients_at_once(sim: MarketSim) -> None:
    names = ["AMZN", "META", "I:NDX", "I:VIX", "COIN", "SOFI", "SPY", "XLE"] * 2

    def ask(name: str) -> bytes:
        url = f"{sim.url}/v3/snapshot/options/{name}?limit=250&apiKey=k"
        answer = requests.get(url, timeout=30)
        assert answer.status_code == 200
        return answer.content

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, names))
    assert found[:8] == found[8:]


def test_an_index_contract_settled_this_morning_is_gone(
    sim: MarketSim, http: requests.Session
) -> None:
    url = f"{sim.url}/v3/snapshot/options/I:SPX?limit=250&expiration_date=2026-11-20"

    def roots() -> set[str]:
        return {r["details"]["ticker"][2:-15] for r in http.get(url).json()["results"]}

    assert roots() == {"SPX", "SPXW"}
    sim.set_clock(datetime(2026, 11, 20, 20, 0, tzinfo=UTC))
    assert roots() == {"SPXW"}


# --- plans --------------------------------------------------------------------------------


def test_plans() -> None:
    key = {"apiKey": "k"}
    chain = "/v3/snapshot/options/AAPL"
    with MarketSim(tickers=["AAPL"], now=NOW, plan="starter") as sim:
        row = requests.get(sim.url + chain, params=key).json()["results"][0]
        assert "last_quote" not in row
        assert "last_trade" not in row
        assert row["underlying_asset"]["timeframe"] == "DELAYED"
        url = f"{sim.url}/v2/aggs/ticker/AAPL/range/1/minute/2026-11-19/2026-11-19"
        body = requests.get(url, params={**key, "limit": 50000}).json()
        assert body["status"] == "DELAYED"
        assert body["results"][-1]["t"] == int(NOW.timestamp() * 1000) - 16 * 60_000
        old = f"{sim.url}/v2/aggs/ticker/AAPL/range/1/day/2010-01-04/2010-01-05"
        answer = requests.get(old, params=key)
        assert answer.status_code == 403
        assert "timeframe" in answer.json()["message"]
    with MarketSim(tickers=["AAPL"], now=NOW, plan="basic") as sim:
        answers = [requests.get(sim.url + chain, params=key) for _ in range(6)]
        assert [a.status_code for a in answers] == [403] * 5 + [429]
        assert answers[0].json()["status"] == "NOT_AUTHORIZED"
    with pytest.raises(ValueError, match="platinum"):
        MarketSim(plan="platinum")


# --- the rest -----------------------------------------------------------------------------


def test_market_status_follows_the_clock(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v1/marketstatus/now"
    body = http.get(url).json()
    assert body["market"] == "open"
    assert datetime.fromisoformat(body["serverTime"]) == NOW
    sim.set_clock(NOW + timedelta(minutes=10))
    assert http.get(url).json()["market"] == "extended-hours"
    assert http.get(url).json()["afterHours"] is True
    sim.set_clock(NOW + timedelta(days=2))
    assert http.get(url).json()["market"] == "closed"


def test_upcoming_holidays(sim: MarketSim, http: requests.Session) -> None:
    rows = http.get(f"{sim.url}/v1/marketstatus/upcoming").json()
    nyse = {r["date"]: r for r in rows if r["exchange"] == "NYSE"}
    assert nyse["2026-11-26"]["status"] == "closed"
    assert nyse["2026-11-27"]["close"] == "2026-11-27T18:00:00.000Z"
    assert nyse["2026-12-25"]["status"] == "closed"
    assert "2026-09-07" not in nyse


def test_index_snapshot_reports_errors_per_ticker(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v3/snapshot/indices"
    answer = http.get(url, params={"ticker.any_of": "I:VIX,I:SPX,APx"})
    rows = {r["ticker"]: r for r in answer.json()["results"]}
    assert rows["APx"]["error"] == "NOT_FOUND"
    assert rows["I:SPX"]["value"] == pytest.approx(10.03 * sim.world.price_at("SPY", NOW), rel=1e-3)
    assert 5 < rows["I:VIX"]["value"] < 90


def test_stock_snapshot(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v2/snapshot/locale/us/markets/stocks/tickers"
    rows = http.get(url, params={"tickers": "SPY,NOPE,AAPL"}).json()["tickers"]
    assert [r["ticker"] for r in rows] == ["AAPL", "SPY"]
    assert rows[1]["min"]["c"] == sim.world.price_at("SPY", NOW)
    assert len(http.get(url).json()["tickers"]) > 90
    assert http.get(f"{url}/NOPE").status_code == 404
    assert http.get(f"{url}/SPY").json()["ticker"] == rows[1]


def test_corporate_actions_are_known_when_announced(sim: MarketSim, http: requests.Session) -> None:
    splits = http.get(f"{sim.url}/stocks/v1/splits").json()["results"]
    avgo = next(r for r in splits if r["ticker"] == "AVGO")
    assert (avgo["split_from"], avgo["split_to"]) == (1, 4)
    assert avgo["historical_adjustment_factor"] == 0.25
    legacy = http.get(f"{sim.url}/v3/reference/splits", params={"ticker": "AVGO"}).json()["results"]
    assert [r["id"] for r in legacy] == [avgo["id"]]
    url = f"{sim.url}/v3/reference/dividends"
    rows = [
        r
        for p in pages(http, url, ticker="IBM", limit=50, **{"ex_dividend_date.gte": "2025-01-01"})
        for r in p["results"]
    ]
    assert 7 <= len(rows) <= 9
    assert all(r["declaration_date"] <= "2026-11-19" for r in rows)
    sim.set_clock(datetime(2026, 1, 5, 20, 50, tzinfo=UTC))
    assert http.get(f"{sim.url}/stocks/v1/splits").json()["results"] == []


def test_an_earnings_date_is_projected_and_then_confirmed(
    sim: MarketSim, http: requests.Session
) -> None:
    report = next(
        r
        for r in sim.world.earnings("NVDA")
        if r.report_date > date(2025, 1, 1) and r.projected_date != r.report_date
    )
    url = f"{sim.url}/benzinga/v1/earnings"

    def row() -> dict[str, Any]:
        params = {"ticker": "NVDA", "sort": "last_updated.desc", "limit": 400}
        rows = http.get(url, params=params).json()["results"]
        wanted = {"fiscal_year": report.fiscal_year, "fiscal_period": report.fiscal_period}
        return next(r for r in rows if wanted.items() <= r.items())

    sim.set_clock(report.announced_at - timedelta(hours=1))
    assert (row()["date_status"], row()["date"]) == ("projected", str(report.projected_date))
    sim.set_clock(report.announced_at + timedelta(hours=1))
    assert (row()["date_status"], row()["date"]) == ("confirmed", str(report.report_date))
    assert "actual_eps" not in row()
    sim.set_clock(report.announced_at + timedelta(days=60))
    assert "actual_eps" in row()


def test_earnings_need_the_addon() -> None:
    with MarketSim(tickers=["AAPL"], earnings_addon=False) as sim:
        answer = requests.get(f"{sim.url}/benzinga/v1/earnings", params={"apiKey": "k"})
        assert answer.status_code == 403


def test_reference_tickers_and_yields(sim: MarketSim, http: requests.Session) -> None:
    url = f"{sim.url}/v3/reference/tickers"
    rows = [r for p in pages(http, url, limit=40) for r in p["results"]]
    types = {r["ticker"]: r["type"] for r in rows}
    assert types["SPY"] == "ETF"
    assert types["AAPL"] == "CS"
    assert types["I:SPX"] == "INDEX"
    assert http.get(f"{url}/AAPL").json()["results"]["ticker"] == "AAPL"
    assert http.get(f"{url}/NOPE").status_code == 404
    rates = http.get(
        f"{sim.url}/fed/v1/treasury-yields", params={"date.gte": "2026-11-01", "sort": "date.desc"}
    ).json()["results"]
    assert rates[0]["date"] == "2026-11-18"
    assert 2 < rates[0]["yield_3_month"] < 6
