from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from urllib.parse import parse_qs, urlsplit

import polars as pl
import pytest

from tracker_dagster.sources.errors import (
    CursorLoopError,
    MalformedResponseError,
    NotEntitledError,
    NotFoundError,
    TransientError,
)
from tracker_dagster_tests.sources.conftest import KEY
from tracker_dagster_tests.sources.scripted_server import Reply, reply_json

FORBIDDEN = reply_json({"status": "NOT_AUTHORIZED", "request_id": "r", "message": "upgrade"}, 403)


def envelope(*rows, **more):
    return {"status": "OK", "request_id": "a" * 32, "results": list(rows), **more}


def query(path: str) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlsplit(path).query).items()}


def contract(n: int) -> dict:
    return {
        "cfi": "OCASPS", "contract_type": "call", "exercise_style": "american",
        "expiration_date": "2026-06-19", "primary_exchange": "BATO", "shares_per_contract": 100,
        "strike_price": n, "ticker": f"O:SPY260619C{n * 1000:08d}", "underlying_ticker": "SPY",
    }  # fmt: skip


@pytest.mark.feature(4)
def test_pages_are_followed_verbatim_to_the_end(serve, massive):
    def script(path: str) -> Reply:
        if "cursor=YWI%2Fjk" in path:
            return reply_json(envelope(contract(3), next_url="  "))
        more = f"{server.url}/v3/reference/options/contracts?cursor=YWI%2Fjk&x=a,b"
        return reply_json(envelope(contract(1), contract(2), next_url=more))

    server = serve(script)
    frame = massive(server.url).option_contracts("SPY", as_of=date(2026, 6, 3))
    assert frame["strike_price"].to_list() == [1, 2, 3]
    assert server.paths[1] == "/v3/reference/options/contracts?cursor=YWI%2Fjk&x=a,b"
    assert [s.headers["Authorization"] for s in server.seen] == [f"Bearer {KEY}"] * 2
    assert query(server.paths[0]) == {
        "underlying_ticker": "SPY", "as_of": "2026-06-03", "expired": "false",
        "limit": "1000", "sort": "ticker", "order": "asc",
    }  # fmt: skip


def test_the_key_does_not_follow_a_cursor_abroad(serve, massive):
    other = serve(reply_json(envelope(contract(2))))
    server = serve(reply_json(envelope(contract(1), next_url=f"{other.url}/more?cursor=x")))
    frame = massive(server.url).option_contracts("SPY")
    assert frame.height == 2
    assert "Authorization" not in other.seen[0].headers
    assert KEY not in other.seen[0].path


def test_a_cursor_that_repeats_ends_in_an_error(serve, massive):
    server = serve(
        lambda _: reply_json(envelope(contract(1), next_url=f"{server.url}/v3/x?cursor=same"))
    )
    with pytest.raises(CursorLoopError, match="repeats"):
        massive(server.url).option_contracts("SPY")
    assert len(server.seen) == 2


def test_a_cursor_without_end_meets_the_cap(serve, massive):
    count = iter(range(10_000))
    server = serve(
        lambda _: reply_json(
            envelope(contract(1), next_url=f"{server.url}/v3/x?cursor={next(count)}")
        )
    )
    with pytest.raises(CursorLoopError, match="more than 7 pages"):
        massive(server.url, max_pages=7).option_contracts("SPY")
    assert len(server.seen) == 7


def test_a_page_cut_on_the_way_is_fetched_again_and_nothing_is_lost(serve, massive):
    body = json.dumps(envelope(*(contract(n) for n in range(1, 50)))).encode()
    server = serve(Reply(200, body, cut=100), Reply(200, body))
    assert massive(server.url).option_contracts("SPY").height == 49


def test_half_a_json_that_claims_to_be_whole_is_malformed(serve, massive):
    body = json.dumps(envelope(contract(1))).encode()
    server = serve(Reply(200, body[: len(body) // 2]))
    with pytest.raises(MalformedResponseError, match="cut"):
        massive(server.url).option_contracts("SPY")


def test_an_html_page_with_status_200_is_malformed(serve, massive):
    server = serve(Reply(200, b"<!doctype html><title>Sign in</title>"))
    with pytest.raises(MalformedResponseError, match="HTML"):
        list(massive(server.url).option_chain_pages("SPY"))


def test_chain_pages_are_raw_and_timed(serve, massive):
    moment = datetime(2026, 6, 3, 19, 45, tzinfo=UTC)
    body = b'{"status":"OK", "request_id":"q1",  "results":[ ]}'
    server = serve(Reply(200, body))
    (page,) = massive(server.url, now=lambda: moment).option_chain_pages(
        "I:SPX", expiration_from=date(2026, 6, 3), expiration_to=date(2026, 7, 3), strike_from=5000
    )
    assert (page.body, page.received_at, page.request_id) == (body, moment, "q1")
    assert page.url_path.startswith("/v3/snapshot/options/I:SPX?")
    assert query(page.url_path) == {
        "expiration_date.gte": "2026-06-03", "expiration_date.lte": "2026-07-03",
        "strike_price.gte": "5000", "limit": "250", "sort": "ticker", "order": "asc",
    }  # fmt: skip


def test_aggregates_as_documented(serve, massive):
    # The option sample of the vendor's documentation.
    row = {
        "v": 2,
        "vw": 26.2,
        "o": 26.2,
        "c": 26.2,
        "h": 26.2,
        "l": 26.2,
        "t": 1632369600000,
        "n": 1,
    }
    fractional = {"v": 2.5, "o": 1, "c": 2, "h": 3, "l": 0.5, "t": 1632456000000}
    server = serve(reply_json(envelope(row, fractional, ticker="O:RDFN211119C00025000")))
    frame = massive(server.url).aggregates(
        "O:RDFN211119C00025000", 1, "day", date(2021, 9, 23), date(2021, 9, 24)
    )
    assert frame.schema == {
        "ticker": pl.String, "start": pl.Datetime("us", "UTC"), "open": pl.Float64,
        "high": pl.Float64, "low": pl.Float64, "close": pl.Float64, "volume": pl.Float64,
        "vwap": pl.Float64, "transactions": pl.Int64,
    }  # fmt: skip
    assert frame.row(0) == (
        "O:RDFN211119C00025000", datetime(2021, 9, 23, 4, tzinfo=UTC),
        26.2, 26.2, 26.2, 26.2, 2.0, 26.2, 1,
    )  # fmt: skip
    assert frame.row(1)[-3:] == (2.5, None, None)
    path, asked = urlsplit(server.paths[0]).path, query(server.paths[0])
    assert path == "/v2/aggs/ticker/O:RDFN211119C00025000/range/1/day/2021-09-23/2021-09-24"
    assert asked == {"adjusted": "false", "sort": "asc", "limit": "49999"}


def test_aggregates_without_results_are_an_empty_frame_with_types(serve, massive):
    server = serve(reply_json({"ticker": "SPY", "resultsCount": 0, "status": "DELAYED"}))
    first = datetime(2026, 6, 3, 13, 30, tzinfo=UTC)
    frame = massive(server.url).aggregates("SPY", 1, "minute", first, first)
    assert frame.height == 0
    assert frame.schema["start"] == pl.Datetime("us", "UTC")
    assert urlsplit(server.paths[0]).path.endswith("/minute/1780493400000/1780493400000")


def test_an_unreadable_bar_is_an_error_that_names_it(serve, massive):
    server = serve(reply_json(envelope({"o": 1, "h": 1, "l": 1, "c": "?", "t": 1632369600000})))
    with pytest.raises(MalformedResponseError, match=r"row 1: close"):
        massive(server.url).aggregates("SPY", 1, "day", date(2021, 9, 23), date(2021, 9, 23))


@pytest.mark.feature(40)
def test_grouped_daily_is_of_its_day(serve, massive):
    # Stamped 16:00 in New York.
    row = {"T": "SPY", "o": 1, "h": 2, "l": 1, "c": 2, "v": 10, "vw": 1.5, "t": 1780516800000}
    server = serve(reply_json(envelope(row, resultsCount=1)))
    frame = massive(server.url).grouped_daily(date(2026, 6, 3))
    assert frame.row(0)[:3] == ("SPY", date(2026, 6, 3), 1.0)
    with pytest.raises(MalformedResponseError, match="another day"):
        massive(server.url).grouped_daily(date(2026, 6, 2))


def test_contracts_of_an_index_go_by_its_bare_name(serve, massive):
    server = serve(reply_json(envelope()))
    massive(server.url).option_contracts("I:SPX")
    assert query(server.paths[0])["underlying_ticker"] == "SPX"


@pytest.mark.feature(5)
def test_an_adjusted_contract_keeps_what_it_delivers(serve, massive):
    extra = [{"amount": 12, "type": "equity", "underlying": "VMW"}]
    server = serve(
        reply_json({"status": "OK", "results": contract(5) | {"additional_underlyings": extra}})
    )
    frame = massive(server.url).option_contract("O:SPY260619C00005000")
    assert json.loads(frame["additional_underlyings"][0]) == extra


def test_market_status(serve, massive):
    server = serve(
        reply_json(
            {"afterHours": True, "earlyHours": False, "market": "extended-hours",
             "exchanges": {"nyse": "extended-hours"}, "indicesGroups": {"s_and_p": "closed"},
             "currencies": {"fx": "open"}, "serverTime": "2020-11-10T17:37:37-05:00"}
        )
    )  # fmt: skip
    status = massive(server.url).market_status()
    assert status.server_time == datetime(2020, 11, 10, 22, 37, 37, tzinfo=UTC)
    assert (status.market, status.after_hours) == ("extended-hours", True)
    assert status.exchanges == {"nyse": "extended-hours"}


def test_market_status_without_a_clock_is_malformed(serve, massive):
    server = serve(reply_json({"market": "open"}))
    with pytest.raises(MalformedResponseError, match="serverTime"):
        massive(server.url).market_status()


def test_upcoming_holidays(serve, massive):
    server = serve(
        reply_json(
            [{"date": "2026-11-26", "exchange": "NYSE", "name": "Thanksgiving", "status": "closed"},
             {"date": "2026-11-27", "exchange": "NYSE", "name": "Thanksgiving",
              "status": "early-close", "open": "2026-11-27T14:30:00.000Z",
              "close": "2026-11-27T18:00:00.000Z"}]
        )
    )  # fmt: skip
    frame = massive(server.url).upcoming_holidays()
    assert frame["status"].to_list() == ["closed", "early-close"]
    assert frame["close"].to_list() == [None, datetime(2026, 11, 27, 18, tzinfo=UTC)]


def test_index_snapshots_with_a_refused_ticker(serve, massive):
    server = serve(
        reply_json(
            envelope(
                {"ticker": "I:SPX", "value": 5900.0},
                {"ticker": "I:X", "error": "NOT_ENTITLED", "message": "Not entitled."},
            )
        )
    )
    frame = massive(server.url).index_snapshots(["I:X", "I:SPX"])
    assert frame.select("ticker", "value", "error").rows() == [
        ("I:SPX", 5900.0, None), ("I:X", None, "NOT_ENTITLED"),
    ]  # fmt: skip
    assert query(server.paths[0])["ticker.any_of"] == "I:SPX,I:X"


def test_long_lists_are_asked_in_pieces(serve, massive):
    server = serve(reply_json(envelope()))
    list(massive(server.url).stock_snapshot_pages([f"T{n:03d}" for n in range(230)]))
    sizes = [len(query(p)["ticker.any_of"].split(",")) for p in server.paths]
    assert sizes == [100, 100, 30]


NEW_SPLIT = {"adjustment_type": "forward_split", "execution_date": "2014-06-09", "id": "E1",
             "historical_adjustment_factor": 0.142857, "split_from": 1, "split_to": 7,
             "ticker": "AAPL"}  # fmt: skip
OLD_SPLIT = {"execution_date": "2014-06-09", "id": "E1", "split_from": 1, "split_to": 7,
             "ticker": "AAPL"}  # fmt: skip


def test_splits_come_from_the_new_family(serve, massive):
    server = serve(reply_json(envelope(NEW_SPLIT, NEW_SPLIT | {"ticker": "MSFT"})))
    frame = massive(server.url).splits(["AAPL"], date(2014, 6, 1), date(2014, 6, 30))
    columns = ("ticker", "execution_date", "split_from", "split_to", "source_endpoint")
    assert frame.select(columns).rows() == [
        ("AAPL", date(2014, 6, 9), 1.0, 7.0, "/stocks/v1/splits")
    ]
    assert query(server.paths[0]) == {
        "execution_date.gte": "2014-06-01", "execution_date.lte": "2014-06-30",
        "ticker.any_of": "AAPL", "limit": "4999",
    }  # fmt: skip


@pytest.mark.parametrize("refusal", [FORBIDDEN, Reply(404, b"404 page not found")])
def test_splits_fall_back_to_the_old_family_and_say_so(serve, massive, refusal):
    server = serve(
        lambda path: (
            refusal
            if path.startswith("/stocks/v1/")
            else reply_json(envelope(*([OLD_SPLIT] if "ticker=AAPL" in path else [])))
        )
    )
    frame = massive(server.url).splits(["AAPL", "MSFT"], date(2014, 6, 1), date(2014, 6, 30))
    assert frame["source_endpoint"].to_list() == ["/v3/reference/splits"]
    assert frame["adjustment_type"].to_list() == [None]


def test_when_both_families_refuse_the_first_refusal_is_told(serve, massive):
    server = serve(lambda p: FORBIDDEN if p.startswith("/stocks/") else Reply(404))
    with pytest.raises(NotEntitledError) as caught:
        massive(server.url).dividends(None, date(2026, 1, 1), date(2026, 6, 1))
    assert caught.value.url_path.startswith("/stocks/v1/dividends")


def test_a_failing_new_family_is_not_mistaken_for_a_missing_one(serve, massive):
    server = serve(Reply(503))
    with pytest.raises(TransientError):
        massive(server.url).splits(None, date(2026, 1, 1), date(2026, 6, 1))
    assert all(p.startswith("/stocks/v1/") for p in server.paths)


def test_dividends(serve, massive):
    row = {
        "cash_amount": 0.26,
        "currency": "USD",
        "declaration_date": "2026-05-01",
        "distribution_type": "recurring",
        "ex_dividend_date": "2026-05-11",
        "frequency": 4,
        "historical_adjustment_factor": 0.997,
        "id": "D1",
        "pay_date": "2026-05-14",
        "record_date": "2026-05-11",
        "split_adjusted_cash_amount": 0.26,
        "ticker": "AAPL",
    }
    undeclared = {"cash_amount": 1, "ex_dividend_date": "2026-05-12", "ticker": "X"}  # fmt: skip
    server = serve(reply_json(envelope(undeclared, row)))
    frame = massive(server.url).dividends(None, date(2026, 5, 1), date(2026, 6, 1))
    assert frame["ticker"].to_list() == ["AAPL", "X"]
    assert frame["declaration_date"].to_list() == [date(2026, 5, 1), None]
    assert "ticker.any_of" not in query(server.paths[0])


def test_earnings_need_the_add_on(serve, massive):
    with pytest.raises(NotEntitledError):
        massive(serve(FORBIDDEN).url).earnings(date(2026, 6, 1), date(2026, 6, 30))
    row = {"benzinga_id": "b1", "ticker": "ORCL", "date": "2026-06-11", "time": "16:05:00",
           "date_status": "confirmed", "fiscal_year": 2026, "fiscal_period": "Q4",
           "importance": 5, "estimated_eps": 1.6,
           "last_updated": "2026-06-01T12:00:00Z"}  # fmt: skip
    frame = massive(serve(reply_json(envelope(row))).url).earnings(
        date(2026, 6, 1), date(2026, 6, 30)
    )
    got = frame.row(0, named=True)
    assert (got["date"], got["time_et"], got["actual_eps"]) == (
        date(2026, 6, 11),
        time(16, 5),
        None,
    )
    assert got["last_updated"] == datetime(2026, 6, 1, 12, tzinfo=UTC)


def test_treasury_yields_stay_in_percent_and_lack_what_was_not_published(serve, massive):
    rows = [
        {"date": "2026-06-02", "yield_1_month": 4.05, "yield_30_year": 4.9},
        {"date": "2026-06-03", "yield_10_year": 4.4, "yield_1_month": 4.06},
    ]
    server = serve(reply_json(envelope(*rows)))
    frame = massive(server.url).treasury_yields(date(2006, 6, 1), date(2026, 6, 3))
    assert frame.rows() == [
        (date(2026, 6, 2), 1, 4.05),
        (date(2026, 6, 2), 360, 4.9),
        (date(2026, 6, 3), 1, 4.06),
        (date(2026, 6, 3), 120, 4.4),
    ]
    assert query(server.paths[0]) == {
        "date.gte": "2006-06-01", "date.lte": "2026-06-03", "limit": "49999", "sort": "date.asc",
    }  # fmt: skip


def test_a_range_without_yields_is_an_empty_frame(serve, massive):
    frame = massive(serve(reply_json(envelope())).url).treasury_yields(
        date(1950, 1, 1), date(1950, 2, 1)
    )
    assert (frame.height, frame.columns) == (0, ["date", "months", "yield_percent"])


def test_an_unknown_contract_is_not_found(serve, massive):
    server = serve(reply_json({"status": "NOT_FOUND", "message": "Contract not found."}, 404))
    with pytest.raises(NotFoundError, match="Contract not found"):
        massive(server.url).option_contract("O:NOPE260619C00005000")


def test_a_client_shows_no_key(massive):
    client = massive("https://api.massive.com")
    assert KEY not in repr(client) + repr(vars(client)) + str(client)
