"""Simulated option listings, quotes and trades: what a trader would find odd must not occur."""

from __future__ import annotations

from collections import Counter
from datetime import date

import numpy as np
import pytest

from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.world import tape as tapes
from tracker_dagster.marketsim.world.events import interest_rate
from tracker_dagster.trading_calendar import decision_time, is_session, sessions_between
from tracker_dagster_tests.marketsim.conftest import NOW

DAY = date(2026, 11, 19)


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    return Simulation(now=NOW)


def test_expirations_are_sessions_and_follow_the_holidays(simulation: Simulation) -> None:
    listed = {
        date.fromordinal(int(e))
        for day in (date(2026, 3, 20), date(2026, 6, 5))
        for e in simulation.chains.listings.chain("AAPL", day).expiry
    }
    assert date(2026, 4, 2) in listed  # Good Friday moves to Thursday
    assert date(2026, 6, 18) in listed  # the monthly of Juneteenth week
    assert date(2026, 4, 3) not in listed
    assert all(is_session(day) for day in listed)


def test_a_contract_stays_listed_until_it_expires(simulation: Simulation) -> None:
    listings = simulation.chains.listings
    for underlying in ("MSFT", "RIOT", "SPX"):
        previous: set[str] = set()
        for day in sessions_between(date(2026, 8, 3), date(2026, 10, 9)):
            chain = listings.chain(underlying, day)
            now = set(chain.ticker.tolist())
            gone = {t for t in previous - now if t[-15:-9] >= f"{day:%y%m%d}"}
            assert not gone
            assert list(chain.ticker) == sorted(now)
            previous = now


def test_ladders_keep_to_their_caps_and_straddle_the_price(simulation: Simulation) -> None:
    listings = simulation.chains.listings
    for underlying in listings.underlyings:
        for day in (date(2015, 8, 24), date(2020, 3, 20), DAY):
            chain = listings.chain(underlying, day)
            assert 0 < len(chain) <= (2100 if underlying == "SPY" else 400)
            price = simulation.world.close(chain.option_class.path, day)
            nearest = chain.strike[chain.expiry == np.sort(np.unique(chain.expiry))[1]]
            assert nearest.min() < price * 1.05
            assert nearest.max() > price * 0.95


def test_splits_restrike_or_leave_adjusted_contracts(simulation: Simulation) -> None:
    listings = simulation.chains.listings
    before = listings.chain("AVGO", date(2026, 3, 6))
    after = listings.chain("AVGO", date(2026, 3, 9))
    long_dated = {(e, k / 4) for e, k in zip(before.expiry, before.strike, strict=True)}
    kept = set(zip(after.expiry.tolist(), after.strike.tolist(), strict=True))
    assert {pair for pair in long_dated if pair[0] >= date(2026, 3, 9).toordinal()} <= kept
    assert set(after.root) == {"AVGO"}

    adjusted = listings.chain("WFC", DAY)
    odd = adjusted.root == "WFC1"
    assert odd.any()
    assert set(adjusted.factor[odd]) == {1.5}
    assert set(listings.chain("WFC", date(2026, 6, 12)).root) == {"WFC"}
    with_cash = listings.chain("CSCO", DAY)
    assert set(with_cash.cash[with_cash.root == "CSCO1"]) == {1.05}


def test_an_adjusted_contract_is_worth_its_deliverable(simulation: Simulation) -> None:
    state = simulation.chains.state("WFC", decision_time(DAY))
    chain = state.chain
    deep = (chain.root == "WFC1") & chain.is_call & (chain.strike < 0.5 * 1.5 * state.spot)
    assert deep.any()
    intrinsic = 1.5 * state.spot - chain.strike[deep]
    assert np.allclose(state.value[deep], intrinsic, rtol=0.12)
    assert np.all(state.value[deep] > intrinsic * 0.97)


@pytest.mark.parametrize("underlying", ["SPX", "AAPL", "MARA", "SPY"])
def test_values_admit_no_arbitrage_in_strike(simulation: Simulation, underlying: str) -> None:
    state = simulation.chains.state(underlying, decision_time(DAY))
    chain = state.chain
    standard = (chain.factor == 1) & (chain.cash == 0)
    for expiry in np.unique(chain.expiry):
        for root in np.unique(chain.root):
            for call in (True, False):
                rows = standard & (chain.expiry == expiry) & (chain.is_call == call)
                rows &= chain.root == root
                order = np.argsort(chain.strike[rows])
                strike, value = chain.strike[rows][order], state.value[rows][order]
                if strike.size < 3:
                    continue
                slope = np.diff(value) / np.diff(strike)
                assert np.all(-slope >= -1e-6) if call else np.all(slope >= -1e-6)
                assert np.all(np.abs(slope) <= 1 + 1e-6)
                assert np.all(np.diff(slope) >= -2e-3)  # convex, to the tree's accuracy


def test_european_parity_and_quotes_around_the_value(simulation: Simulation) -> None:
    state = simulation.chains.state("SPX", decision_time(DAY))
    chain = state.chain
    calls = {
        (r, e, k): n
        for n, (r, e, k, c) in enumerate(
            zip(chain.root, chain.expiry, chain.strike, chain.is_call, strict=True)
        )
        if c
    }
    checked = 0
    for n in np.flatnonzero(~chain.is_call):
        call = calls[(chain.root[n], chain.expiry[n], chain.strike[n])]
        rate = interest_rate(DAY, state.years[n])
        forward = state.spot - chain.strike[n] * np.exp(-rate * state.years[n])
        assert state.value[call] - state.value[n] == pytest.approx(forward, abs=0.01)
        assert state.volatility[call] == state.volatility[n]
        checked += 1
    assert checked > 100
    assert np.all(state.bid <= state.value + 1e-9)
    assert np.all(state.ask > state.bid)
    assert np.all(state.ask >= state.value - 1e-9)


def test_ten_to_fifteen_percent_of_the_rows_have_no_greeks(simulation: Simulation) -> None:
    shares = [
        1 - simulation.chains.state(u, decision_time(DAY)).has_greeks.mean()
        for u in ("AAPL", "SPY", "SPX", "TSLA", "SOFI")
    ]
    assert 0.10 < np.mean(shares) < 0.15


def test_true_volatility_prices_the_chain(simulation: Simulation) -> None:
    close = decision_time(DAY, 0)
    state = simulation.chains.state("SPX", close)
    chain = state.chain
    evening = np.flatnonzero(~chain.morning & (chain.expiry > DAY.toordinal()))
    for n in evening[:: max(1, evening.size // 10)]:
        truth = simulation.chains.true_volatility(
            "SPX", DAY, date.fromordinal(int(chain.expiry[n])), float(chain.strike[n])
        )
        assert truth == pytest.approx(state.volatility[n], rel=1e-6)


def test_volatility_is_dearer_before_earnings_than_after(simulation: Simulation) -> None:
    report = next(r for r in simulation.world.earnings("AAPL") if r.report_date > date(2026, 1, 1))
    expiry = max(
        d
        for d in sessions_between(report.reaction_date, date(2026, 12, 31))
        if (d - report.reaction_date).days < 8
    )
    days = sessions_between(date(2025, 12, 1), report.reaction_date)
    before, after = days[-2], days[-1]

    def over_base(day: date) -> float:
        spot = simulation.world.close("AAPL", day)
        return simulation.chains.true_volatility("AAPL", day, expiry, spot) / float(
            simulation.world.path("AAPL").volatility[simulation.world.session_index(day)]
        )

    assert over_base(before) > 1.15 * over_base(after)


def test_trades_lie_on_listed_contracts_near_their_value(simulation: Simulation) -> None:
    tape = simulation.tapes.tape("AAPL", DAY)
    whole = tapes.bars(tape)
    minutes = tapes.bars(tape, per_minute=True)
    assert len(whole.row) < len(tape.chain)  # many contracts do not trade
    assert whole.volume.sum() == minutes.volume.sum()
    busiest = Counter(dict(zip(whole.row.tolist(), whole.volume.tolist(), strict=True)))
    top = sum(v for _, v in busiest.most_common(len(whole.row) // 10))
    assert top > 0.35 * whole.volume.sum()  # concentrated
    for row in whole.row[::17]:
        here = minutes.row == row
        bar = whole.row == row
        assert whole.open[bar][0] == minutes.open[here][0]
        assert whole.close[bar][0] == minutes.close[here][-1]
        assert whole.high[bar][0] == minutes.high[here].max()
        alone = simulation.tapes.contract_tape("AAPL", str(tape.chain.ticker[row]), DAY)
        assert alone is not None
        assert alone.price.tolist() == tape.price[tape.row == row].tolist()
    state = simulation.chains.state("AAPL", decision_time(DAY))
    late = (tape.minute > 375) & (tape.minute < 385)
    assert late.any()
    gap = np.abs(tape.price[late] - state.value[tape.row[late]])
    assert np.median(gap / (0.05 + state.value[tape.row[late]])) < 0.06
