"""Minute bars of chosen contracts: which, what the market serves of them, and what it refuses."""

from datetime import UTC, date, datetime, timedelta

import polars as pl
import requests as http

from tracker_dagster.ledger.commands import enable
from tracker_dagster.ledger.position_commands import close_position, open_position
from tracker_dagster.trading_calendar import decision_time, session_on
from tracker_dagster_tests.assets.place import DAY, NOW, TODAY, checks, failure

ASSET = "option_bars_1m"
#: So far from the money that nobody trades it.
IDLE = "O:AAPL260618C00900000"


def served(sim, symbol, day):
    """What the simulated vendor answers to a request of our own."""
    answer = http.get(
        f"{sim.url}/v2/aggs/ticker/{symbol}/range/1/minute/{day}/{day}",
        params={"limit": 49999},
        headers={"Authorization": "Bearer simulated"},
        timeout=30,
    )
    assert answer.status_code == 200
    return answer.json().get("results", [])


def stored(place, day, symbol):
    """Rows of one contract in the vendor's own terms."""
    rows = place.rows(ASSET, day).filter(pl.col("symbol") == symbol).sort("start")
    return [
        {
            "o": row["open"],
            "h": row["high"],
            "l": row["low"],
            "c": row["close"],
            "t": round(row["start"].timestamp() * 1000),
            "v": row["volume"],
            "vw": row["vwap"],
            "n": row["transactions"],
        }
        for row in rows.iter_rows(named=True)
    ]


def metadata(result, name):
    (event,) = result.asset_materializations_for_node(ASSET)
    return event.metadata[name].value


def picked(place, day):
    rows = place.rows("weekly_picks", day).filter(pl.col("status") == "picked")
    return set(rows["symbol"])


def opened(place, symbol, day):
    at = session_on(day).open + timedelta(minutes=30)
    recorded = open_position(
        place.warehouse,
        symbol=symbol,
        quantity=-1,
        price=1.0,
        day=day,
        decision_at=at,
        stock_basis=300.0,
        now=at,
        actor="test",
    )
    return recorded.event_id


def test_the_rows_are_what_the_market_serves(settled, sim):
    assert settled.run(["suitability", "pick_candidates", "weekly_picks"], DAY).success
    result = settled.run([ASSET], DAY)
    assert result.success
    assert checks(result, ASSET)["all_answered"].passed
    rows = settled.rows(ASSET, DAY)
    symbols = set(rows["symbol"])
    followed = symbols | set(metadata(result, "did_not_trade"))
    assert picked(settled, DAY)
    assert picked(settled, DAY) <= followed
    for symbol in symbols:
        assert stored(settled, DAY, symbol) == served(sim, symbol, DAY), symbol
    assert set(rows["chosen_as"]) == {"pick", "benchmark"}
    first, last = session_on(DAY).open, session_on(DAY).close
    regular = rows["start"].is_between(first, last, closed="left")
    assert rows["is_regular"].equals(regular, check_names=False)
    assert (rows["available_at"] - rows["start"]).unique().to_list() == [timedelta(minutes=1)]
    assert rows["expiry"].min() >= DAY


def test_a_benchmark_is_followed_at_the_money_of_the_day_file(settled):
    assert settled.run([ASSET], DAY).success
    rows = settled.rows(ASSET, DAY).filter(pl.col("chosen_as").str.contains("benchmark"))
    close = settled.rows("stock_day_aggs", DAY).filter(pl.col("ticker") == "SPY")["close"].item()
    listed = settled.rows("option_day_aggs", DAY).filter(
        (pl.col("underlying") == "SPY") & (pl.col("expiry") == date(2026, 6, 5))
    )
    for right in "CP":
        strikes = listed.filter(pl.col("right") == right)["strike"]
        nearest = min(strikes, key=lambda strike: (abs(strike - close), strike))
        followed = rows.filter(pl.col("right") == right)
        assert followed.select("underlying", "expiry", "strike").unique().rows() == [
            ("SPY", date(2026, 6, 5), nearest)
        ]


def test_a_benchmark_is_followed_at_the_money_of_a_captured_chain(place):
    # Enabled, so that its chain is captured; the day has no file yet.
    enable(place.warehouse, "SPY", session_on(TODAY).open, actor="test")
    assert place.run(["option_chain", "market_last", ASSET], TODAY).success
    chain = place.rows("option_chain", TODAY).filter(
        (pl.col("underlying") == "SPY") & (pl.col("expiry") == date(2026, 6, 5))
    )
    spot = chain["underlying_price"].max()
    rows = place.rows(ASSET, TODAY)
    for right in "CP":
        strikes = chain.filter(pl.col("right") == right)["strike"]
        nearest = min(strikes, key=lambda strike: (abs(strike - spot), strike))
        assert set(rows.filter(pl.col("right") == right)["strike"]) == {nearest}
    assert set(rows["chosen_as"]) == {"benchmark"}


def test_what_is_held_or_was_closed_during_the_session_is_followed(settled):
    listed = settled.rows("option_day_aggs", DAY).filter(
        (pl.col("underlying") == "UBER") & (pl.col("expiry") > TODAY)
    )
    held, closed, before, later = listed.sort("volume", descending=True)["symbol"][:4]
    opened(settled, held, DAY)
    at_noon = datetime(2026, 6, 2, 16, tzinfo=UTC)
    for symbol, end in ((closed, at_noon), (before, at_noon - timedelta(days=1))):
        position = opened(settled, symbol, date(2026, 5, 29))
        close_position(
            settled.warehouse, position, price=0.5, now=end, actor="test", effective_at=end
        )
    opened(settled, later, TODAY)
    assert settled.run([ASSET], DAY).success
    rows = settled.rows(ASSET, DAY)
    assert {held, closed} <= set(rows["symbol"])
    assert not {before, later} & set(rows["symbol"])
    assert set(rows.filter(pl.col("symbol") == held)["chosen_as"]) == {"position"}


def test_in_the_session_there_are_the_bars_so_far_and_later_the_whole_day(settled, sim):
    at_noon = session_on(TODAY).open + timedelta(hours=2, seconds=30)
    tags = {"tracker/now": at_noon.isoformat()}
    assert settled.run([ASSET], TODAY, tags=tags).success
    so_far = settled.rows(ASSET, TODAY)
    assert so_far["available_at"].max() <= at_noon
    (symbol, *_) = picked(settled, TODAY) & set(so_far["symbol"])
    assert settled.run([ASSET], TODAY).success
    now = settled.rows(ASSET, TODAY)
    assert now.height > so_far.height
    assert now["available_at"].max() <= NOW
    assert stored(settled, TODAY, symbol) == served(sim, symbol, TODAY)
    evening = session_on(TODAY).close + timedelta(hours=4)
    sim.set_clock(evening)
    try:
        assert settled.run([ASSET], TODAY, tags={"tracker/now": evening.isoformat()}).success
        whole = settled.rows(ASSET, TODAY)
        assert whole["start"].max() >= NOW
        assert stored(settled, TODAY, symbol) == served(sim, symbol, TODAY)
    finally:
        sim.set_clock(NOW)


def test_the_same_day_again_is_the_same(settled):
    first = settled.run([ASSET], DAY)
    before = settled.content("schema_version")
    again = settled.run([ASSET], DAY)
    assert settled.content("schema_version") == before
    assert metadata(again, "data_version") == metadata(first, "data_version")


def test_a_contract_that_did_not_trade_has_no_rows_and_is_named(settled, sim):
    assert served(sim, IDLE, DAY) == []
    opened(settled, IDLE, DAY)
    result = settled.run([ASSET], DAY)
    assert result.success
    assert checks(result, ASSET)["all_answered"].passed
    assert IDLE in metadata(result, "did_not_trade")
    assert settled.rows("collection_gaps", DAY).is_empty()
    assert IDLE not in set(settled.rows(ASSET, DAY)["symbol"])


def test_one_unknown_contract_is_a_gap_of_its_own(settled, sim):
    assert settled.run([ASSET], DAY).success
    before = settled.rows(ASSET, DAY)
    symbol = before["symbol"][0]
    sim.fault("server_error", f"/v2/aggs/ticker/{symbol}/*", status=404)
    result = settled.run([ASSET], DAY)
    assert result.success
    assert not checks(result, ASSET)["all_answered"].passed
    (gap,) = settled.rows("collection_gaps", DAY).to_dicts()
    assert (gap["dataset"], gap["subject"], gap["slot"]) == (ASSET, symbol, decision_time(DAY))
    assert settled.rows(ASSET, DAY).equals(before.filter(pl.col("symbol") != symbol))
    sim.clear_faults()
    assert settled.run([ASSET], DAY).success
    assert settled.rows("collection_gaps", DAY).is_empty()
    assert settled.rows(ASSET, DAY).equals(before)


def test_what_the_plan_refuses_is_stated_and_takes_no_rows_away(settled, sim):
    assert settled.run([ASSET], DAY).success
    before = settled.rows(ASSET, DAY)
    sim.fault("server_error", "/v2/aggs/*", status=403)
    result = settled.run([ASSET], DAY)
    assert result.success
    assert not checks(result, ASSET)["all_answered"].passed
    (gap,) = settled.rows("collection_gaps", DAY).to_dicts()
    assert (gap["dataset"], gap["subject"]) == (ASSET, "*")
    assert "not in the plan" in gap["reason"]
    assert settled.rows(ASSET, DAY).equals(before)


def test_a_market_that_does_not_answer_fails_the_step_and_keeps_the_rows(settled, sim):
    assert settled.run([ASSET], DAY).success
    before = settled.rows(ASSET, DAY)
    sim.fault("server_error", "/v2/aggs/*", status=503)
    result = settled.run([ASSET], DAY)
    assert not result.success
    assert ASSET in failure(result)
    assert settled.rows(ASSET, DAY).equals(before)


def test_a_holiday_has_no_partition(settled):
    result = settled.run([ASSET], date(2026, 5, 25))
    assert not result.success
    assert "not a trading session" in failure(result)


def test_a_benchmark_without_contracts_is_named(settled):
    settled.more_settings = {"benchmarks": ("SPY", "NOPE")}
    result = settled.run([ASSET], DAY)
    assert result.success
    assert metadata(result, "benchmarks_without_contracts") == ["NOPE"]
