"""Candidates and picks as assets: ranges, rebuilt days, books apart, bad chains end to end."""

import json
from datetime import timedelta

import polars as pl
import pytest

from tracker_dagster.ledger.commands import disable
from tracker_dagster.ledger.position_commands import open_position
from tracker_dagster.trading_calendar import decision_time, weekly_expiry
from tracker_dagster_tests.assets.place import NOW, PAST, TICKERS, TODAY

CHAIN = ("suitability", "pick_candidates", "weekly_picks")
KEYS = ["trade_date", "basis", "decision_at"]


def tables(place):
    return {name: place.rows(name) for name in ("pick_candidates", "weekly_picks")}


@pytest.mark.slow
def test_a_range_decides_as_its_days_alone(settled):
    """Days of a back-fill are read together; each must come out as if it were the only one."""
    assert settled.run(CHAIN, PAST[1], TODAY).success
    together = tables(settled)
    assert together["weekly_picks"]["trade_date"].n_unique() == len(PAST)
    assert together["pick_candidates"].height > 100
    for day in [*PAST[1:], TODAY]:
        assert settled.run(CHAIN, day).success
    alone = tables(settled)
    for name, rows in together.items():
        assert alone[name].equals(rows), name


def test_each_pick_is_its_tickers_first_candidate(settled):
    picks = settled.rows("weekly_picks", TODAY)
    candidates = settled.rows("pick_candidates", TODAY)
    assert set(picks["basis"]) == {"snapshot", "day_file"}
    first = candidates.filter(pl.col("choice_rank") == 1)
    picked = picks.filter(pl.col("status") == "picked")
    assert picked.height > 0
    columns = [*KEYS, "ticker", "symbol", "premium_yield", "assignment_probability"]
    assert (
        picked.sort(*KEYS, "ticker")
        .select(columns)
        .equals(first.sort(*KEYS, "ticker").select(columns))
    )
    counts = candidates.group_by(*KEYS, "ticker").len()
    joined = picks.join(counts, on=[*KEYS, "ticker"], how="left")
    assert (joined["candidates_count"] == joined["len"].fill_null(0)).all()
    assert set(candidates["expiry"]) == {weekly_expiry(weekly_expiry(TODAY))}


def test_every_captured_call_of_the_expiry_is_a_candidate(settled):
    rows = settled.rows("pick_candidates", TODAY).filter(pl.col("basis") == "snapshot")
    chain = settled.rows("option_chain", TODAY).filter(
        (pl.col("slot") == decision_time(TODAY))
        & (pl.col("right") == "C")
        & (pl.col("expiry") == rows["expiry"][0])
        & pl.col("underlying").is_in(TICKERS)
    )
    assert chain.height > 20
    assert sorted(rows["symbol"]) == sorted(chain["symbol"])
    # The home has a week of closes: too few for a realised volatility, and it says so.
    assert set(rows["expected_value_reason"].str.slice(0, 22)) <= {
        "no realised volatility",
        "no bid",
    }
    told = rows.filter(pl.col("assignment_probability").is_null())
    assert told["assignment_probability_reason"].is_not_null().all()


def test_greeks_of_day_files_reach_the_morning_decision(settled):
    rows = settled.rows("pick_candidates", TODAY).filter(pl.col("basis") == "day_file")
    ours = settled.rows("option_greeks", PAST[-1]).filter(pl.col("basis") == "day_file")
    joined = rows.join(ours.select("symbol", own="delta"), on="symbol")
    known = joined.drop_nulls("own")
    assert known.height > 5
    assert (known["delta"] == known["own"]).all()
    assert set(known["delta_source"]) == {"option_greeks"}


def test_what_is_held_in_an_account_of_ones_own_ties_up_no_paper_cash(settled):
    before = settled.rows("promotions", TODAY)
    symbol = settled.rows("option_chain", TODAY).filter(
        (pl.col("underlying") == "SOFI") & (pl.col("right") == "P")
    )["symbol"][0]
    opened = decision_time(TODAY) - timedelta(hours=1)
    for account, cash in (("ira", before["seed"][0]), ("paper", None)):
        open_position(
            settled.warehouse, symbol=symbol, quantity=-1, price=0.5, day=PAST[-1],
            decision_at=decision_time(PAST[-1]), now=opened, actor="test", account=account,
        )  # fmt: skip
        assert settled.run(["promotions"], TODAY).success
        after = settled.rows("promotions", TODAY)
        found = after.sort("rank")["cash_before"][0]
        if account == "ira":
            assert after.equals(before)
            assert found == cash
        else:
            strike = int(symbol[-8:]) / 1000
            assert found == before["seed"][0] - 100 * strike
            reasons = json.loads(after.filter(pl.col("ticker") == "SOFI")["reasons"].item())
            assert "ticker_already_open" in reasons


def test_a_ticker_that_left_before_the_decision_is_in_neither_table(settled):
    disable(settled.warehouse, "SOFI", NOW - timedelta(minutes=1), "me")
    assert settled.run(CHAIN, TODAY).success
    for name, rows in tables(settled).items():
        late = rows.filter((pl.col("trade_date") == TODAY) & (pl.col("basis") == "snapshot"))
        assert "SOFI" not in set(late["ticker"]), name
        morning = rows.filter((pl.col("trade_date") == TODAY) & (pl.col("basis") == "day_file"))
        assert "SOFI" in set(morning["ticker"]), name
