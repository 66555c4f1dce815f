"""Candidates of the week: every call is there, with each gate it fails and nothing from later."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tracker_dagster import trading_calendar
from tracker_dagster.schemas.candidates import PICK_CANDIDATES
from tracker_dagster.schemas.volatility import OPTION_GREEKS
from tracker_dagster.schemas.volatility_series import IV_PERCENTILE
from tracker_dagster.strategy.gates import GATES
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.picking import (
    CATEGORIES,
    PRICES,
    SESSION_BEFORE,
    VOLS,
    candidates_of,
    change,
    day_file_world,
    picks_of,
    row,
    world,
)
from tracker_dagster_tests.strategy.worlds import DAY, DECISION_AT, EXPIRY, SLOT

CLOSE_BEFORE = trading_calendar.session_on(SESSION_BEFORE).close


@pytest.fixture(scope="module")
def candidates() -> pl.DataFrame:
    return candidates_of(**world())


def call(frame: pl.DataFrame, symbol: str) -> dict[str, Any]:
    return frame.row(by_predicate=pl.col("symbol") == symbol, named=True)


def own_greeks(contracts: pl.DataFrame, *, basis: str, **changes: Any) -> pl.DataFrame:
    """Rows of option_greeks of those contracts, with a delta and volatility of their own."""
    is_snapshot = basis == "snapshot"
    constants = {
        "basis": basis,
        "trade_date": DAY if is_snapshot else SESSION_BEFORE,
        "slot": SLOT if is_snapshot else CLOSE_BEFORE,
        "available_at": SLOT
        if is_snapshot
        else trading_calendar.day_file_available_at(SESSION_BEFORE),
        "style": "american",
        "is_standard": True,
        "price_source": "mid" if is_snapshot else "close",
        "status": "OK",
        "delta": 0.21,
        "implied_volatility": 0.44,
        "forward": 50.1,
        "rate": 0.05,
        **changes,
    }
    terms = contracts.select("symbol", "underlying", "root", "expiry", "right", "strike")
    return OPTION_GREEKS.conform(terms, **constants)


@pytest.mark.feature(21)
def test_every_call_of_the_week_is_there_once_and_obeys_the_schema() -> None:
    given_world = world()
    frame = candidates_of(**given_world)
    calls = given_world["contracts"].filter(pl.col("right") == "C")
    assert sorted(frame["symbol"]) == sorted(calls["symbol"])
    files = candidates_of(**day_file_world())
    assert sorted(files["symbol"]) == sorted(calls["symbol"])
    for rows in (frame, files):
        good, failures = PICK_CANDIDATES.schema.filter(rows)
        assert failures.counts() == {}
        assert good.height == rows.height
        assert rows["choice_rank"].is_not_null().any()


@pytest.mark.feature(22)
def test_the_numbers_of_a_candidate_by_hand() -> None:
    contracts = worlds.chain({"AAA": 50.0}, {"AAA": 0.3})
    symbol = "O:AAA250613C00051000"
    contracts = change(
        contracts, pl.col("symbol") == symbol,
        bid=pl.lit(0.40), ask=pl.lit(0.44), mid=pl.lit(0.42),
    )  # fmt: skip
    found = call(candidates_of(**world(contracts=contracts)), symbol)
    # 100 shares cost 5,000; the premium is 0.42; four days to expiry.
    assert found["premium_yield"] == pytest.approx(0.0084)
    assert found["annualised_yield"] == pytest.approx(0.0084 * 365 / 4)
    assert found["static_return"] == pytest.approx(0.0084)
    assert found["if_called_return"] == pytest.approx(1.42 / 50)
    assert found["break_even"] == pytest.approx(49.58)
    assert found["downside_protection"] == pytest.approx(0.0084)
    assert found["otm_pct"] == pytest.approx(0.02)
    assert found["spread_pct"] == pytest.approx(0.04 / 0.42)
    assert found["dte"] == 4


def test_a_call_in_the_money_earns_only_its_time_value_if_the_price_stays() -> None:
    contracts = worlds.chain({"AAA": 50.0}, {"AAA": 0.3})
    symbol = "O:AAA250613C00048000"
    contracts = change(
        contracts, pl.col("symbol") == symbol,
        bid=pl.lit(2.20), ask=pl.lit(2.30), mid=pl.lit(2.25),
    )  # fmt: skip
    found = call(candidates_of(**world(contracts=contracts)), symbol)
    # Called away at 48 with 2.25 in hand: 0.25 over the price of 50.
    assert found["static_return"] == pytest.approx(0.25 / 50)
    assert found["if_called_return"] == pytest.approx(0.25 / 50)
    assert found["downside_protection"] == pytest.approx(2.25 / 50)


@pytest.mark.feature(23)
def test_every_failed_gate_is_told_in_order_not_only_the_first() -> None:
    contracts = worlds.chain({"AAA": 50.0}, {"AAA": 0.3})
    symbol = "O:AAA250613C00051000"
    contracts = change(
        contracts, pl.col("symbol") == symbol,
        bid=pl.lit(0.02), ask=pl.lit(0.06), mid=pl.lit(0.04), delta=pl.lit(0.60),
        open_interest=pl.lit(9), day_volume=pl.lit(0.0), is_standard=pl.lit(value=False),
        quote_at=pl.lit(DECISION_AT - timedelta(hours=2)),
    )  # fmt: skip
    found = call(candidates_of(**world(contracts=contracts)), symbol)
    assert json.loads(found["failed_gates"]) == [
        "standard_contract", "quote_age", "delta_band", "spread", "open_interest", "volume",
        "min_yield",
    ]  # fmt: skip
    assert found["failed_gate"] == "standard_contract"
    assert found["choice_rank"] is None
    assert json.loads(found["gates_not_evaluated"]) == {}


def test_gates_are_told_in_their_order_and_first_is_first(candidates: pl.DataFrame) -> None:
    for row_ in candidates.to_dicts():
        failed = json.loads(row_["failed_gates"])
        assert failed == [gate for gate in GATES if gate in failed]
        assert row_["failed_gate"] == (failed[0] if failed else None)


def test_the_order_of_choice_begins_with_the_pick(candidates: pl.DataFrame) -> None:
    picks = picks_of(**world()).filter(pl.col("status") == "picked")
    first = candidates.filter(pl.col("choice_rank") == 1)
    assert dict(first.select("ticker", "symbol").rows()) == dict(
        picks.select("ticker", "symbol").rows()
    )
    for _, group in candidates.drop_nulls("choice_rank").group_by("ticker"):
        assert sorted(group["choice_rank"]) == list(range(1, len(group) + 1))


@pytest.mark.parametrize(
    ("spoiled", "gate"),
    [
        ({"quote_status": pl.lit("CROSSED"), "mid": pl.lit(None), "bid": pl.lit(9.0),
          "ask": pl.lit(8.0)}, "quote"),
        ({"bid": pl.lit(9.0), "ask": pl.lit(8.0), "mid": pl.lit(8.5)}, "quote"),
        ({"quote_status": pl.lit("NO_BID"), "mid": pl.lit(None), "bid": pl.lit(None)}, "quote"),
        ({"quote_status": pl.lit("NO_ASK"), "mid": pl.lit(None), "ask": pl.lit(None)}, "quote"),
        ({"bid": pl.lit(None)}, "quote"),
        ({"quote_at": pl.lit(DECISION_AT - timedelta(hours=3))}, "quote_age"),
        ({"quote_at": pl.lit(DECISION_AT + timedelta(seconds=601))}, "quote_age"),
        ({"underlying_price": pl.col("underlying_price") * 1.021}, "price_agrees"),
        ({"underlying_price": pl.col("underlying_price") * 0.98}, "price_agrees"),
        ({"is_standard": pl.lit(value=False)}, "standard_contract"),
        ({"open_interest": pl.lit(9)}, "open_interest"),
        ({"day_volume": pl.lit(0.0)}, "volume"),
        ({"ask": pl.col("bid") * 1.3}, "spread"),
        ({"delta": pl.lit(0.04)}, "delta_band"),
        ({"mid": pl.lit(26.0), "bid": pl.lit(25.9), "ask": pl.lit(26.1)}, "max_yield"),
        ({"mid": pl.lit(0.01), "bid": pl.lit(0.0099), "ask": pl.lit(0.0101)}, "min_yield"),
    ],
    ids=["crossed", "crossed but sent as good", "no bid", "no ask", "bid missing", "old quote",
         "quote of later", "chain of a higher price", "chain of a lower price", "adjusted",
         "open interest", "volume", "wide", "far out", "absurd", "cheap"],
)  # fmt: skip
def test_a_spoiled_call_falls_at_its_gate(
    candidates: pl.DataFrame, spoiled: dict[str, pl.Expr], gate: str
) -> None:
    symbol = candidates.filter((pl.col("ticker") == "AAA") & (pl.col("choice_rank") == 1))[
        "symbol"
    ].item()
    assert json.loads(call(candidates, symbol)["failed_gates"]) == []
    contracts = change(worlds.chain(PRICES, VOLS), pl.col("symbol") == symbol, **spoiled)
    found = call(candidates_of(**world(contracts=contracts)), symbol)
    assert found["failed_gate"] == gate


def test_a_quote_is_the_decisions_for_ten_minutes_and_a_price_up_to_two_percent_off() -> None:
    near = worlds.chain(PRICES, VOLS).with_columns(
        pl.col("underlying_price") * 1.019, quote_at=pl.lit(DECISION_AT + timedelta(seconds=600))
    )
    frame = candidates_of(**world(contracts=near))
    told = {gate for text in frame["failed_gates"] for gate in json.loads(text)}
    assert not told & {"quote_age", "price_agrees"}
    assert frame["choice_rank"].is_not_null().any()


def test_without_a_price_in_the_chain_nothing_can_be_compared_and_that_is_told() -> None:
    bare = worlds.chain(PRICES, VOLS).with_columns(underlying_price=pl.lit(None, dtype=pl.Float64))
    frame = candidates_of(**world(contracts=bare))
    assert frame["choice_rank"].is_not_null().any()
    assert {json.loads(text)["price_agrees"] for text in frame["gates_not_evaluated"]} == {
        "the chain came without a price of the underlying"
    }
    files = candidates_of(**day_file_world())
    assert {json.loads(text)["price_agrees"] for text in files["gates_not_evaluated"]} == {
        "day files hold one price of the underlying"
    }


def test_a_price_of_after_the_decision_is_not_the_decisions_and_says_so() -> None:
    def at(seconds: int) -> pl.DataFrame:
        return change(
            worlds.last_prices(PRICES), pl.col("ticker") == "CCC",
            price_at=pl.lit(DECISION_AT + timedelta(seconds=seconds)),
        )  # fmt: skip

    assert DECISION_AT.hour == 19
    late = row(picks_of(**world(prices=at(601))), "CCC")
    assert (late["stage"], late["reason"]) == (
        "price",
        "late_price: 06-09 20:00:01Z, after the decision",
    )
    frame = candidates_of(**world(prices=at(601)))
    assert set(frame.filter(pl.col("ticker") == "CCC")["failed_gate"]) == {"price"}
    in_time = picks_of(**world(prices=at(30)))
    assert row(in_time, "CCC")["stage"] != "price"
    # Half a minute after the decision, not none before it.
    assert row(in_time, "CCC")["price_age_minutes"] == pytest.approx(-0.5)


def test_a_ticker_without_a_usable_price_has_its_calls_shown_and_none_chosen() -> None:
    stale = change(
        worlds.last_prices(PRICES), pl.col("ticker") == "CCC",
        price_at=pl.lit(DECISION_AT - timedelta(hours=1)),
    )  # fmt: skip
    frame = candidates_of(**world(prices=stale))
    of_ticker = frame.filter(pl.col("ticker") == "CCC")
    assert of_ticker.height == 34
    assert set(of_ticker["failed_gate"]) == {"price"}
    assert of_ticker["price"].null_count() == of_ticker.height
    reasons = json.loads(of_ticker["gates_not_evaluated"][0])
    assert reasons["min_otm"] == "no usable price of the underlying"
    assert reasons["min_yield"] == "no usable price of the underlying"
    assert frame.filter((pl.col("ticker") == "AAA") & (pl.col("choice_rank") == 1)).height == 1


def test_a_ticker_without_suitability_falls_at_its_lane() -> None:
    base = world()
    rows = worlds.suitability(base["universe"], base["bars"]).filter(pl.col("ticker") != "BBB")
    frame = candidates_of(**world(suitability=rows))
    assert "lane" in json.loads(frame.filter(pl.col("ticker") == "BBB")["failed_gates"][0])
    pick = row(picks_of(**world(suitability=rows)), "BBB")
    assert (pick["stage"], pick["reason"]) == (
        "lane",
        "no_lane: suitability has no row of the ticker",
    )


def test_a_ticker_without_a_chain_has_no_rows_and_its_pick_says_so() -> None:
    contracts = worlds.chain(PRICES, VOLS).filter(pl.col("underlying") != "BBB")
    assert candidates_of(**world(contracts=contracts)).filter(pl.col("ticker") == "BBB").is_empty()
    pick = row(picks_of(**world(contracts=contracts)), "BBB")
    assert pick["stage"] == "chain"
    assert str(EXPIRY) in pick["reason"]
    nothing = world(contracts=worlds.chain(PRICES, VOLS).clear())
    assert candidates_of(**nothing).is_empty()
    assert set(picks_of(**nothing)["stage"]) == {"chain"}


def test_a_split_inside_the_week_turns_every_call_away_and_says_when() -> None:
    known = worlds.actions([{"ticker": "BBB", "action": "split", "ex_date": DAY + timedelta(days=2),
                             "split_from": 1.0, "split_to": 4.0}])  # fmt: skip
    frame = candidates_of(**world(corporate_actions=known))
    of_ticker = frame.filter(pl.col("ticker") == "BBB")
    assert all("split" in json.loads(gates) for gates in of_ticker["failed_gates"])
    pick = row(picks_of(**world(corporate_actions=known)), "BBB")
    assert pick["stage"] == "selection"
    assert "split" in pick["reason"]
    assert pick["split_in_period"] is True
    assert pick["split_note"] == f"{DAY + timedelta(days=2)} (4.0:1.0)"
    # One after the expiry changes nothing.
    later = worlds.actions([{"ticker": "BBB", "action": "split",
                             "ex_date": EXPIRY + timedelta(days=3), "split_from": 1.0,
                             "split_to": 4.0}])  # fmt: skip
    assert row(picks_of(**world(corporate_actions=later)), "BBB")["status"] == "picked"


def test_splits_that_are_not_known_leave_the_gate_open_and_say_so() -> None:
    frame = candidates_of(**world(corporate_actions=None))
    assert frame["choice_rank"].is_not_null().any()
    assert {json.loads(text)["split"] for text in frame["gates_not_evaluated"]} == {
        "no splits known"
    }


def test_who_left_the_universe_or_is_switched_off_is_not_considered() -> None:
    members = worlds.universe({t: c for t, c in CATEGORIES.items() if t != "AAA"})
    off = change(members, pl.col("ticker") == "BBB", enabled=pl.lit(value=False))
    frame = candidates_of(**world(universe=off))
    assert set(frame["ticker"]) == {"SPY", "CCC", "EEE"}
    assert set(picks_of(**world(universe=off))["ticker"]) == {"SPY", "CCC", "EEE"}


def test_our_greeks_stand_in_where_the_vendor_sent_none() -> None:
    contracts = worlds.chain(PRICES, VOLS, with_delta=False, with_iv=False)
    own = own_greeks(contracts, basis="snapshot")
    frame = candidates_of(**world(contracts=contracts, option_greeks=own))
    assert set(frame["delta_source"]) == {"option_greeks"}
    assert set(frame["volatility_source"]) == {"option_greeks"}
    assert frame["delta"].unique().to_list() == [0.21]
    assert frame["implied_volatility"].unique().to_list() == [0.44]
    # The vendor's go first where there are any.
    sent = candidates_of(**world(option_greeks=own))
    assert set(sent["delta_source"]) == {"vendor"}


@pytest.mark.parametrize(
    "changes",
    [
        {"slot": SLOT - timedelta(minutes=15)},
        {"slot": SLOT + timedelta(minutes=10)},
        {"basis_of_rows": "day_file"},
        {"trade_date": SESSION_BEFORE},
        {"available_at": DECISION_AT + timedelta(seconds=1)},
    ],
    ids=lambda changes: str(next(iter(changes))),
)
def test_greeks_of_another_moment_are_not_used(changes: dict[str, Any]) -> None:
    contracts = worlds.chain(PRICES, VOLS, with_delta=False, with_iv=False)
    basis = changes.pop("basis_of_rows", "snapshot")
    own = own_greeks(contracts, basis="snapshot", **changes).with_columns(basis=pl.lit(basis))
    frame = candidates_of(**world(contracts=contracts, option_greeks=own))
    assert frame["delta"].null_count() == frame.height
    assert set(frame["delta_source"]) == {"not sent; not in option_greeks"}


def test_day_files_take_delta_from_our_greeks_of_the_session_before() -> None:
    base = day_file_world()
    own = own_greeks(base["contracts"], basis="day_file").with_columns(
        # Deltas that fall with the strike, so that there is one nearest to the target.
        delta=(1.5 - pl.col("strike") / pl.col("strike").min().over("underlying")).clip(0.06, 0.9)
    )
    frame = candidates_of(**day_file_world(option_greeks=own))
    assert set(frame["delta_source"]) == {"option_greeks"}
    chosen = frame.filter(pl.col("choice_rank") == 1)
    assert set(chosen["strike_source"]) == {"delta_target (option_greeks)"}
    assert "delta_band" not in json.loads(chosen["gates_not_evaluated"][0])
    unvalued = own_greeks(
        base["contracts"], basis="day_file", delta=None, implied_volatility=None,
        status="BELOW_INTRINSIC",
    )  # fmt: skip
    frame = candidates_of(**day_file_world(option_greeks=unvalued))
    assert set(frame["delta_source"]) == {"option_greeks: BELOW_INTRINSIC"}
    reasons = json.loads(frame["gates_not_evaluated"][0])
    assert reasons["delta_band"] == "option_greeks: BELOW_INTRINSIC"
    assert reasons["spread"] == "day files hold no quotes"
    assert reasons["open_interest"] == "day files hold no open interest"


@pytest.mark.parametrize(
    ("day", "expiry"),
    [(date(2025, 4, 14), date(2025, 4, 17)), (date(2025, 6, 30), date(2025, 7, 3))],
    ids=["good friday", "fourth of july"],
)
@pytest.mark.feature(14)
def test_an_expiry_that_a_holiday_moves_is_the_one_considered(day: date, expiry: date) -> None:
    decision_at = trading_calendar.decision_time(day)
    members = worlds.universe({"AAA": "GROWTH"}, day)
    nominal = day + timedelta(days=4)
    frame = candidates_of(
        basis="snapshot", day=day, decision_at=decision_at, universe=members,
        contracts=worlds.chain(
            {"AAA": 50.0}, {"AAA": 0.4}, day=day, slot=decision_at, expiries=[nominal, expiry]
        )
        if nominal != expiry
        else worlds.chain({"AAA": 50.0}, {"AAA": 0.4}, day=day, slot=decision_at),
        prices=worlds.last_prices({"AAA": 50.0}, slot=decision_at, day=day),
        bars=worlds.daily({"AAA": 50.0}, {"AAA": 0.4}, day=day), corporate_actions=None,
    )  # fmt: skip
    assert set(frame["expiry"]) == {expiry}
    assert set(frame["dte"]) == {3}


def iv_rows(day: date, basis: str, rank: float | None, **changes: Any) -> pl.DataFrame:
    constants = {
        "trade_date": day, "basis": basis, "slot": trading_calendar.session_on(day).close,
        "available_at": trading_calendar.session_on(day).close
        if basis == "snapshot" else trading_calendar.day_file_available_at(day),
        "iv_rank": rank, "iv_percentile": rank, "history_basis": basis, "history_sessions": 200,
        "iv_30d": 0.3, "reason": None if rank is not None else "126 sessions needed", **changes,
    }  # fmt: skip
    return IV_PERCENTILE.conform(pl.DataFrame({"underlying": list(PRICES)}), **constants)


def test_the_iv_rank_shown_is_of_the_session_before_and_of_its_own_basis() -> None:
    captured = iv_rows(SESSION_BEFORE, "snapshot", 0.7)
    files = iv_rows(SESSION_BEFORE, "day_file", 0.4)
    today = iv_rows(DAY, "snapshot", 0.9, available_at=DECISION_AT)
    both = pl.concat([captured, files, today])
    shown = row(picks_of(**world(iv_percentile=both)), "AAA")
    assert (shown["iv_rank"], shown["iv_rank_source"]) == (0.7, f"snapshot {SESSION_BEFORE}")
    assert shown["iv_rank_reason"] is None
    # A chain's rank that is not known yet gives way to that of the files, never the other way.
    young = pl.concat([iv_rows(SESSION_BEFORE, "snapshot", None), files])
    assert row(picks_of(**world(iv_percentile=young)), "AAA")["iv_rank"] == 0.4
    morning = row(picks_of(**day_file_world(iv_percentile=both)), "AAA")
    assert (morning["iv_rank"], morning["iv_rank_source"]) == (0.4, f"day_file {SESSION_BEFORE}")
    none = row(picks_of(**day_file_world(iv_percentile=captured)), "AAA")
    assert none["iv_rank"] is None
    assert none["iv_rank_reason"] == f"iv_percentile has no row of {SESSION_BEFORE}"
    short = row(picks_of(**day_file_world(iv_percentile=iv_rows(SESSION_BEFORE, "day_file", None))),
                "AAA")  # fmt: skip
    assert short["iv_rank_reason"] == "126 sessions needed"
    told = "rank and percentile: 29 of 252 sessions have a value; change_5d: no value"
    many = iv_rows(SESSION_BEFORE, "day_file", None, reason=told)
    short = row(picks_of(**day_file_world(iv_percentile=many)), "AAA")
    assert short["iv_rank_reason"] == "29 of 252 sessions have a value"


def _later(basis: str) -> dict[str, pl.DataFrame]:
    """Rows that would change any decision, each of a moment after it."""
    tomorrow = trading_calendar.next_session(DAY)
    close = trading_calendar.session_on(DAY).close
    doubled = {ticker: price * 2 for ticker, price in PRICES.items()}
    is_snapshot = basis == "snapshot"
    chain = worlds.chain(doubled, VOLS, slot=close)
    bars = worlds.daily(doubled, VOLS, day=tomorrow + timedelta(days=3)).filter(
        pl.col("trade_date") >= DAY
    )
    own = own_greeks(chain, basis=basis, slot=close, available_at=close, delta=0.25)
    if not is_snapshot:
        own = own.with_columns(trade_date=pl.lit(DAY))
    return {
        "contracts": chain if is_snapshot else worlds.option_bars(chain, DAY),
        "prices": worlds.last_prices(doubled, slot=close) if is_snapshot else bars,
        "option_greeks": own,
        "traded": worlds.option_bars(chain, DAY).with_columns(volume=pl.lit(1e6)),
        "bars": bars,
        "suitability": worlds.suitability(
            worlds.universe(dict.fromkeys(CATEGORIES, "CRYPTO"), tomorrow),
            worlds.daily(PRICES, dict.fromkeys(VOLS, 2.0), day=tomorrow),
            day=tomorrow,
        ),
        "structure": worlds.structure(
            list(PRICES), unstable=list(PRICES), decision_at=close, day=DAY
        ),
        "corporate_actions": worlds.actions(
            [{"ticker": "BBB", "action": "split", "ex_date": date(2025, 6, 11),
              "split_from": 1.0, "split_to": 2.0}], day=tomorrow),
        "earnings": worlds.earnings([{"ticker": "BBB", "report_date": date(2025, 6, 12)}],
                                    day=tomorrow),
        "iv_percentile": iv_rows(DAY, basis, 0.9),
        "universe": worlds.universe({"NEW": "SPEC"}, day=tomorrow),
    }  # fmt: skip


@pytest.mark.parametrize("basis", ["snapshot", "day_file"])
def test_rows_of_the_future_in_any_input_change_nothing(basis: str) -> None:
    """Every input is given what came later as well: candidates and picks stay the same."""
    base = world() if basis == "snapshot" else day_file_world()
    contracts = worlds.chain(PRICES, VOLS, with_delta=False, with_iv=False)
    base["contracts"] = (
        contracts if basis == "snapshot" else worlds.option_bars(contracts, SESSION_BEFORE)
    )
    base["suitability"] = worlds.suitability(base["universe"], base["bars"])
    base["option_greeks"] = own_greeks(contracts, basis=basis)
    base["traded"] = worlds.option_bars(contracts, SESSION_BEFORE)
    base["iv_percentile"] = iv_rows(SESSION_BEFORE, basis, 0.3)
    truth_candidates, truth_picks = candidates_of(**base), picks_of(**base)
    assert truth_picks.filter(pl.col("status") == "picked").height >= 3
    later = _later(basis)
    assert set(later) >= {name for name, value in base.items() if isinstance(value, pl.DataFrame)}
    for name, rows in later.items():
        one = {**base, name: pl.concat([base[name], rows])}
        assert_frame_equal(candidates_of(**one), truth_candidates)
        assert_frame_equal(picks_of(**one), truth_picks)
    everything = {
        **base, **{name: pl.concat([rows, base[name]]) for name, rows in later.items()}
    }  # fmt: skip
    assert_frame_equal(candidates_of(**everything), truth_candidates)
    assert_frame_equal(picks_of(**everything), truth_picks)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_input_rows_never_matters(seed: int) -> None:
    base = world()
    base["traded"] = worlds.option_bars(base["contracts"], SESSION_BEFORE)
    base["option_greeks"] = own_greeks(base["contracts"], basis="snapshot")
    shuffled = {
        name: value.sample(fraction=1, shuffle=True, seed=seed)
        if isinstance(value, pl.DataFrame)
        else value
        for name, value in base.items()
    }
    assert_frame_equal(candidates_of(**shuffled), candidates_of(**base))


def test_equal_calls_are_told_apart_by_yield_then_symbol() -> None:
    contracts = worlds.chain({"AAA": 50.0}, {"AAA": 0.3})
    tied = pl.col("strike").is_in([51.0, 52.0])
    even = change(contracts, tied & (pl.col("right") == "C"), delta=pl.lit(0.30),
                  bid=pl.lit(0.48), ask=pl.lit(0.52), mid=pl.lit(0.50))  # fmt: skip
    first = candidates_of(**world(contracts=even)).filter(pl.col("choice_rank") == 1)
    assert first["symbol"].item() == "O:AAA250613C00051000"
    dearer = change(even, pl.col("symbol") == "O:AAA250613C00052000", ask=pl.lit(0.54),
                    mid=pl.lit(0.51))  # fmt: skip
    first = candidates_of(**world(contracts=dearer)).filter(pl.col("choice_rank") == 1)
    assert first["symbol"].item() == "O:AAA250613C00052000"


def test_an_unknown_basis_is_refused() -> None:
    with pytest.raises(ValueError, match="neither 'snapshot' nor 'day_file'"):
        candidates_of(**world(basis="live"))
