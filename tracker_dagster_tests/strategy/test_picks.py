"""Weekly picks on both bases: the right contract, a stated reason for none, and no foresight."""

from __future__ import annotations

import json
from datetime import date, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tracker_dagster import trading_calendar
from tracker_dagster.schemas.decisions import LANES, WEEKLY_PICKS
from tracker_dagster.strategy.picks import target_expiry
from tracker_dagster.strategy.preferred import passed_over, preferred
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster_tests.strategy import worlds
from tracker_dagster_tests.strategy.picking import (
    CATEGORIES,
    DRIFTS,
    MORNING,
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


@pytest.fixture(scope="module")
def picks() -> pl.DataFrame:
    return picks_of(**world())


def test_every_row_keeps_the_schemas_rules(picks: pl.DataFrame) -> None:
    for frame in (picks, picks_of(**day_file_world())):
        good, failures = WEEKLY_PICKS.schema.filter(frame)
        assert failures.counts() == {}
        assert good.height == len(PRICES)


def test_every_lane_is_reachable_with_a_pick(picks: pl.DataFrame) -> None:
    picked = picks.filter(pl.col("status") == "picked")
    assert set(picked["lane"]) == set(LANES)


def test_the_numbers_of_a_pick_by_hand(picks: pl.DataFrame) -> None:
    pick = row(picks, "AAA")
    assert pick["expiry"] == EXPIRY
    assert pick["dte"] == 4
    assert pick["pack_100_cost"] == 5000.0
    assert pick["cost_bucket"] == "<= 5k"
    assert pick["strike"] == 51.0
    mid = pick["mid"]
    assert pick["est_weekly_prem_100"] == pytest.approx(100 * mid, abs=0.005)
    assert pick["premium_at_bid_100"] == pytest.approx(98 * mid, abs=0.006)
    assert pick["premium_yield"] == pytest.approx(mid / 50)
    assert pick["annualised_yield"] == pytest.approx(mid / 50 * 365 / 4)
    assert pick["otm_pct"] == pytest.approx(0.02)
    assert pick["break_even"] == pytest.approx(50 - mid)
    assert pick["if_called_return"] == pytest.approx((1 + mid) / 50)
    assert pick["spread_pct"] == pytest.approx(0.04)
    assert pick["lane"] == "SAFE_HIGH_PAYOUT"
    assert pick["strike_source"] == "delta_target (vendor)"


def test_the_strike_is_nearest_to_the_lanes_delta(picks: pl.DataFrame) -> None:
    considered = candidates_of(**world()).filter(pl.col("failed_gate").is_null())
    assert considered.group_by("ticker").len()["len"].max() > 1
    for pick in picks.filter(pl.col("status") == "picked").to_dicts():
        others = considered.filter(pl.col("ticker") == pick["ticker"])
        distances = (others["delta"] - pick["target_delta"]).abs()
        assert others["symbol"][int(distances.arg_min())] == pick["symbol"]


def test_ranks_follow_the_score_and_components_share_a_scale(picks: pl.DataFrame) -> None:
    picked = picks.filter(pl.col("status") == "picked").sort("rank")
    assert picked["rank"].to_list() == list(range(1, len(picked) + 1))
    assert picked["rank_score"].is_sorted(descending=True)
    weights = PickSettings().weights.normalised()
    for pick in picked.to_dicts():
        expected = sum((pick[name] or 0.0) * weight for name, weight in weights.items())
        assert pick["rank_score"] == pytest.approx(expected)
        assert all(0 <= pick[name] <= 1 for name in weights)


def test_equal_scores_are_told_apart_by_name() -> None:
    twins = {"AAA": 50.0, "ZZZ": 50.0}
    vols = dict.fromkeys(twins, 0.3)
    bars = worlds.daily({"AAA": 50.0}, {"AAA": 0.3})
    bars = pl.concat([bars, bars.with_columns(ticker=pl.lit("ZZZ"))])
    frame = picks_of(
        **world(
            universe=worlds.universe(dict.fromkeys(twins, "GROWTH")),
            contracts=worlds.chain(twins, vols),
            prices=worlds.last_prices(twins),
            bars=bars,
            structure=worlds.structure(list(twins)),
            earnings=None,
        )
    )
    assert row(frame, "AAA")["rank"] == 1
    assert row(frame, "ZZZ")["rank"] == 2
    assert row(frame, "AAA")["rank_score"] == row(frame, "ZZZ")["rank_score"]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_input_rows_never_matters(seed: int) -> None:
    shuffled = {
        name: value.sample(fraction=1, shuffle=True, seed=seed)
        if isinstance(value, pl.DataFrame)
        else value
        for name, value in world().items()
    }
    assert_frame_equal(picks_of(**shuffled), picks_of(**world()))


def test_nothing_that_came_later_is_used(picks: pl.DataFrame) -> None:
    close = trading_calendar.session_on(DAY).close
    future = {
        "contracts": worlds.chain({t: p * 2 for t, p in PRICES.items()}, VOLS, slot=close),
        "prices": worlds.last_prices({t: p * 2 for t, p in PRICES.items()}, slot=close),
        "bars": worlds.daily(PRICES, dict.fromkeys(VOLS, 2.0), day=DAY + timedelta(days=2))
        .filter(pl.col("trade_date") >= DAY),
        "structure": worlds.structure(
            list(PRICES), unstable=list(PRICES), decision_at=close, day=DAY
        ),
        "corporate_actions": worlds.actions(
            [{"ticker": "BBB", "action": "split", "ex_date": DAY, "split_from": 1.0,
              "split_to": 2.0}], day=trading_calendar.next_session(DAY)),
        "earnings": worlds.earnings([{"ticker": "BBB", "report_date": date(2025, 6, 12)}],
                                    day=trading_calendar.next_session(DAY)),
        "universe": worlds.universe({"NEW": "SPEC"}, day=trading_calendar.next_session(DAY)),
    }  # fmt: skip
    base = world()
    with_future = {name: pl.concat([base[name], rows]) for name, rows in future.items()}
    assert_frame_equal(picks_of(**{**base, **with_future}), picks)


def test_a_ticker_without_price_chain_or_candidate_says_so() -> None:
    stale = SLOT - timedelta(hours=1)
    chain = worlds.chain(PRICES, VOLS).filter(pl.col("underlying") != "BBB")
    chain = change(chain, pl.col("underlying") == "EEE", ask=pl.col("bid") * 2)
    prices = worlds.last_prices(PRICES)
    prices = change(prices, pl.col("ticker") == "AAA", price=pl.lit(None), status=pl.lit("HALTED"))
    prices = change(prices, pl.col("ticker") == "CCC", price_at=pl.lit(stale))
    frame = picks_of(**world(contracts=chain, prices=prices))
    assert (row(frame, "AAA")["stage"], row(frame, "AAA")["reason"]) == (
        "price",
        "missing_price: HALTED",
    )
    assert row(frame, "CCC")["reason"].startswith("stale_price")
    assert row(frame, "CCC")["symbol"] is None
    assert row(frame, "BBB")["stage"] == "chain"
    assert row(frame, "EEE")["stage"] == "selection"
    assert "spread" in row(frame, "EEE")["reason"]
    assert row(frame, "SPY")["rank"] == 1


@pytest.mark.parametrize(
    "spoiled",
    [
        {"is_standard": pl.lit(value=False)},
        {"quote_status": pl.lit("CROSSED"), "mid": pl.lit(None)},
        {"quote_status": pl.lit("NO_BID"), "mid": pl.lit(None), "bid": pl.lit(None)},
        {"quote_at": pl.lit(SLOT - timedelta(hours=3))},
        {"open_interest": pl.lit(9)},
        {"day_volume": pl.lit(0.0)},
        {"ask": pl.col("bid") * 1.5},
        {"expiry": pl.lit(EXPIRY + timedelta(days=7))},
        {"right": pl.lit("P")},
    ],
    ids=lambda spoiled: "+".join(spoiled),
)
def test_a_spoiled_contract_is_never_picked(
    picks: pl.DataFrame, spoiled: dict[str, pl.Expr]
) -> None:
    chosen = row(picks, "AAA")["symbol"]
    chain = change(worlds.chain(PRICES, VOLS), pl.col("symbol") == chosen, **spoiled)
    pick = row(picks_of(**world(contracts=chain)), "AAA")
    assert pick["symbol"] != chosen
    assert pick["status"] == "missing" or pick["strike"] > 51.0


def test_unknown_open_interest_and_volume_are_told_not_passed_over() -> None:
    chain = worlds.chain(PRICES, VOLS).with_columns(
        open_interest=pl.lit(None, dtype=pl.Int64), day_volume=pl.lit(None, dtype=pl.Float64)
    )
    pick = row(picks_of(**world(contracts=chain)), "AAA")
    assert pick["status"] == "picked"
    assert set(json.loads(pick["gates_not_evaluated"])) == {"open_interest", "volume"}


def test_without_vendor_deltas_our_own_from_its_volatility_choose_the_same() -> None:
    frame = picks_of(**world(contracts=worlds.chain(PRICES, VOLS, with_delta=False)))
    pick = row(frame, "AAA")
    assert pick["delta_source"] == "bsm_vendor_iv"
    assert pick["strike"] == 51.0
    assert pick["delta"] == pytest.approx(0.2696, abs=0.01)


def test_without_delta_and_volatility_the_expected_move_chooses_and_says_so() -> None:
    chain = worlds.chain(PRICES, VOLS, with_delta=False, with_iv=False)
    pick = row(picks_of(**world(contracts=chain)), "BBB")
    assert pick["delta"] is None
    assert pick["strike_source"] == "expected_move_target (no delta)"
    assert "delta_band" in json.loads(pick["gates_not_evaluated"])
    considered = candidates_of(**world(contracts=chain))
    others = considered.filter((pl.col("ticker") == "BBB") & pl.col("failed_gate").is_null())
    nearest = min(others["strike"], key=lambda strike: abs(strike - pick["target_strike"]))
    assert pick["strike"] == nearest


@pytest.mark.parametrize(
    ("day", "expiry"),
    [
        (date(2025, 6, 13), date(2025, 6, 20)),
        (date(2025, 4, 14), date(2025, 4, 17)),
        (date(2025, 6, 30), date(2025, 7, 3)),
    ],
    ids=["friday takes the next week", "good friday", "fourth of july"],
)
def test_the_expiry_is_the_calendars(day: date, expiry: date) -> None:
    decision_at = trading_calendar.decision_time(day)
    slot = decision_at - timedelta(minutes=5)
    frame = picks_of(
        basis="snapshot",
        universe=worlds.universe({"AAA": "GROWTH"}, day),
        contracts=worlds.chain(
            {"AAA": 50.0}, {"AAA": 0.4}, day=day, slot=slot,
            expiries=[day, expiry, trading_calendar.weekly_expiry(expiry)],
        ),
        prices=worlds.last_prices({"AAA": 50.0}, slot=slot, day=day),
        bars=worlds.daily({"AAA": 50.0}, {"AAA": 0.4}, day=day),
        structure=worlds.structure(["AAA"], day=day, decision_at=decision_at),
        corporate_actions=None,
        earnings=None,
        day=day,
        decision_at=decision_at,
    )  # fmt: skip
    assert row(frame, "AAA")["expiry"] == expiry
    assert row(frame, "AAA")["status"] == "picked"
    assert row(frame, "AAA")["earnings_in_period"] is None
    assert row(frame, "AAA")["earnings_note"] == "no earnings calendar known"
    assert row(frame, "AAA")["ex_dividend_in_period"] is None


@pytest.mark.parametrize(
    ("day", "sessions", "expiry"),
    [
        (date(2025, 6, 12), 1, date(2025, 6, 13)),
        (date(2025, 6, 12), 2, date(2025, 6, 20)),
        (date(2025, 6, 9), 4, date(2025, 6, 13)),
        (date(2025, 6, 16), 4, date(2025, 6, 27)),
    ],
    ids=["thursday", "thursday too near", "monday", "a holiday shortens the week"],
)
def test_an_expiry_that_is_too_near_is_skipped_where_asked(
    day: date, sessions: int, expiry: date
) -> None:
    assert target_expiry(day, PickSettings(min_sessions=sessions)) == expiry


@pytest.mark.parametrize(
    ("report_date", "report_time", "flag"),
    [
        (DAY, "bmo", False),
        (DAY, "amc", True),
        (EXPIRY, "bmo", True),
        (EXPIRY, "amc", False),
        (EXPIRY, "unknown", True),
        (EXPIRY + timedelta(days=3), "bmo", False),
    ],
)
def test_earnings_in_the_period(report_date: date, report_time: str, flag: bool) -> None:
    calendar = worlds.earnings(
        [{"ticker": "BBB", "report_date": report_date, "report_time": report_time}]
    )
    frame = picks_of(**world(earnings=calendar))
    assert row(frame, "BBB")["earnings_in_period"] is flag
    assert row(frame, "SPY")["earnings_in_period"] is False


@pytest.mark.parametrize(
    ("ex_date", "flag"), [(DAY, False), (date(2025, 6, 10), True), (EXPIRY, True),
                          (EXPIRY + timedelta(days=1), False)],
)  # fmt: skip
def test_ex_dividend_dates_in_the_period(ex_date: date, flag: bool) -> None:
    known = worlds.actions(
        [{"ticker": "BBB", "action": "dividend", "ex_date": ex_date, "cash_amount": 0.5}]
    )
    assert row(picks_of(**world(corporate_actions=known)), "BBB")["ex_dividend_in_period"] is flag


def test_an_old_calendar_says_nothing() -> None:
    old = worlds.earnings(
        [{"ticker": "ZZZ", "report_date": date(2025, 6, 30)}], day=date(2025, 5, 30)
    )
    assert row(picks_of(**world(earnings=old)), "BBB")["earnings_in_period"] is None


def test_a_split_in_the_history_makes_no_volatility() -> None:
    bars = worlds.daily(PRICES, VOLS, drifts=DRIFTS)
    ex_date = date(2025, 5, 1)
    before = (pl.col("ticker") == "BBB") & (pl.col("trade_date") < ex_date)
    as_traded = change(
        bars, before, **{name: pl.col(name) * 7 for name in ("open", "high", "low", "close")}
    )
    known = worlds.actions([{"ticker": "BBB", "action": "split", "ex_date": ex_date,
                             "split_from": 1.0, "split_to": 7.0}])  # fmt: skip
    pick = row(picks_of(**world(bars=as_traded, corporate_actions=known)), "BBB")
    assert pick["annual_volatility"] == pytest.approx(0.40)


def test_a_short_history_gives_no_statistics_but_a_lane_by_category() -> None:
    frame = picks_of(**world(bars=worlds.daily(PRICES, VOLS, sessions=15)))
    pick = row(frame, "CCC")
    assert pick["annual_volatility"] is None
    assert pick["stats_reason"] == "15 closes, 20 needed"
    assert pick["lane"] == "AGGRESSIVE"
    assert pick["lane_reason"] == "volatility unknown: by category"


def test_day_files_know_no_quotes_and_say_so() -> None:
    frame = picks_of(**day_file_world())
    picked = frame.filter(pl.col("status") == "picked")
    assert len(picked) >= 3
    assert set(picked["basis"]) == {"day_file"}
    for pick in picked.to_dicts():
        assert pick["spread_pct"] is None
        assert pick["premium_at_bid_100"] is None
        assert pick["premium_source"] == "day_close"
        assert {"spread", "open_interest", "delta_band"} <= set(
            json.loads(pick["gates_not_evaluated"])
        )
        assert pick["price_at"] == trading_calendar.session_on(SESSION_BEFORE).close


def test_day_files_are_only_used_once_published() -> None:
    early = trading_calendar.day_file_available_at(SESSION_BEFORE) - timedelta(minutes=1)
    members = worlds.universe(CATEGORIES, SESSION_BEFORE)
    frame = picks_of(**day_file_world(decision_at=early, universe=members))
    assert len(frame) == len(CATEGORIES)
    assert set(frame["status"]) == {"missing"}
    assert set(frame["stage"]) == {"price"}


def test_day_file_prices_from_before_a_split_are_not_mixed_with_after() -> None:
    known = worlds.actions([{"ticker": "BBB", "action": "split", "ex_date": DAY,
                             "split_from": 1.0, "split_to": 4.0}])  # fmt: skip
    pick = row(picks_of(**day_file_world(corporate_actions=known)), "BBB")
    assert (pick["stage"], pick["reason"]) == ("price", "split_since_data")


def test_adjusted_contracts_in_day_files_are_no_candidates() -> None:
    base = day_file_world()
    chosen = row(picks_of(**base), "BBB")["symbol"]
    bars = change(base["contracts"], pl.col("symbol") == chosen, is_adjusted=pl.lit(value=True))
    assert row(picks_of(**{**base, "contracts": bars}), "BBB")["symbol"] != chosen


def test_an_empty_universe_gives_no_rows_and_disabled_tickers_none_either() -> None:
    off = worlds.universe(CATEGORIES).with_columns(enabled=pl.lit(value=False))
    assert picks_of(**world(universe=off)).is_empty()


def test_what_is_not_known_of_a_pick_is_told_with_it_never_passed_in_silence() -> None:
    young = worlds.structure(list(PRICES), bars=80)
    pick = row(picks_of(**world(corporate_actions=None, earnings=None, structure=young)), "AAA")
    assert pick["status"] == "picked"
    assert json.loads(pick["gates_not_evaluated"]) == {
        "split": "no splits known",
        "fft": "insufficient_history",
        "fractal": "insufficient_history",
        "earnings": "no earnings calendar known",
        "ex_dividend": "no dividends known",
    }
    unseen = row(picks_of(**world(structure=worlds.structure(["SPY"]))), "AAA")
    assert json.loads(unseen["gates_not_evaluated"]) == {
        "fft": "no structure features known",
        "fractal": "no structure features known",
    }
    # A ticker without a pick has no gate left open: the stage says how far it came.
    gone = row(picks_of(**world(contracts=worlds.chain({"SPY": 520.0}, VOLS))), "AAA")
    assert gone["gates_not_evaluated"] == "{}"


def test_statistics_of_another_session_are_not_the_days(picks: pl.DataFrame) -> None:
    base = world()
    today = worlds.suitability(base["universe"], base["bars"], base["corporate_actions"])
    calm = worlds.daily(PRICES, dict.fromkeys(VOLS, 0.05), day=SESSION_BEFORE)
    earlier = worlds.suitability(base["universe"], calm, None, SESSION_BEFORE)
    both = picks_of(**world(suitability=pl.concat([earlier, today])))
    assert_frame_equal(both, picks)


def test_strikes_that_all_lie_at_or_below_the_price_are_told_as_such() -> None:
    contracts = worlds.chain(PRICES, VOLS)
    low = contracts.filter((pl.col("underlying") != "BBB") | (pl.col("strike") <= 120.0))
    highest = low.filter(pl.col("underlying") == "BBB")["strike"].max()
    assert highest == 120.0 == PRICES["BBB"]
    frame = picks_of(**world(contracts=low))
    why = row(frame, "BBB")["reason"]
    assert why.startswith("no_candidate: no strike above the price (highest 120); min_otm ")
    # One strike above it, and that it fails is all there is to say.
    more = contracts.filter((pl.col("underlying") != "BBB") | (pl.col("strike") <= 125.0))
    spoiled = change(more, pl.col("underlying") == "BBB", is_standard=pl.lit(value=False))
    why = row(picks_of(**world(contracts=spoiled)), "BBB")["reason"]
    assert why.startswith("no_candidate: standard_contract ")


def decided(*rows: tuple[str, str | None, int]) -> pl.DataFrame:
    at = {"snapshot": DECISION_AT, "day_file": MORNING.astimezone(trading_calendar.UTC)}
    return pl.DataFrame(
        [
            {"basis": basis, "stage": stage, "candidates_count": calls, "decision_at": at[basis]}
            for basis, stage, calls in rows
        ],
        schema_overrides={"stage": pl.String},
    )


@pytest.mark.parametrize(
    ("rows", "basis", "is_told"),
    [
        ([("snapshot", None, 9), ("day_file", None, 9)], "snapshot", False),
        # It turned every call down: a decision, too.
        ([("snapshot", "selection", 9), ("day_file", None, 9)], "snapshot", False),
        # No chain of the one, no price of the other: nothing was looked at.
        ([("snapshot", "chain", 0), ("snapshot", "price", 9), ("day_file", None, 9)],
         "day_file", True),
        ([("snapshot", "chain", 0), ("day_file", "chain", 0)], "snapshot", False),
        ([("snapshot", "chain", 0)], "snapshot", False),
        ([("day_file", None, 9)], "day_file", False),
    ],
)  # fmt: skip
def test_the_snapshot_counts_where_it_priced_a_ticker(
    rows: list[tuple[str, str | None, int]], basis: str, is_told: bool
) -> None:
    picks = decided(*rows)
    assert set(preferred(picks)["basis"]) == {basis}
    assert (passed_over(picks) is not None) is is_told


def test_without_picks_no_decision_is_preferred() -> None:
    assert preferred(WEEKLY_PICKS.empty()).is_empty()
    assert passed_over(WEEKLY_PICKS.empty()) is None


def test_a_ticker_whose_chain_was_not_captured_is_not_said_to_have_no_calls() -> None:
    contracts = worlds.chain(PRICES, VOLS).filter(~pl.col("underlying").is_in(["BBB", "CCC"]))
    frame = picks_of(**world(contracts=contracts), chain_gaps={"BBB": "the vendor answered 502"})
    assert row(frame, "BBB")["reason"] == "chain_not_captured: the vendor answered 502"
    assert row(frame, "CCC")["reason"].startswith("no_calls: ")
