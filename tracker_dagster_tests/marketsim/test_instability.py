"""Planted instability: as many weeks as asked for, structure in them, a loss after them."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pytest

from tracker_dagster.marketsim.__main__ import main
from tracker_dagster.marketsim.world.instability import Instability
from tracker_dagster.marketsim.world.world import World
from tracker_dagster.trading_calendar import (
    day_file_decision_time,
    sessions_between,
    week_sessions,
)

SHARE, LOSS = 0.2, 0.03
MONDAYS = [date(2024, 1, 1) + timedelta(weeks=n) for n in range(104)]


@pytest.fixture(scope="module")
def worlds() -> tuple[World, World]:
    return World(5), World(5, instability=SHARE, instability_loss=LOSS)


def test_the_share_of_ticker_weeks_is_planted(worlds: tuple[World, World]) -> None:
    planted = [
        worlds[1].instability.is_planted(ticker, monday)
        for ticker in worlds[1].universe
        for monday in MONDAYS
    ]
    # 3,744 independent draws: a standard error of 0.65 points.
    assert np.mean(planted) == pytest.approx(SHARE, abs=0.02)


def test_the_loss_falls_after_the_decision_of_the_next_week(worlds: tuple[World, World]) -> None:
    plain, planted = worlds
    checked = 0
    for ticker in ("BAC", "CLOV"):
        moved = np.log(planted.path(ticker).close / plain.path(ticker).close)
        # Paths revert by 0.5 % of their deviation a session, so a constant and the losses remain.
        driven = moved[1:] - 0.995 * moved[:-1]
        usual = np.median(driven)
        for monday in MONDAYS:
            places = [planted.session_index(day) - 1 for day in week_sessions(monday)]
            loses = planted.instability.loses_in_week_of(ticker, monday)
            fall = float((driven[places] - usual).sum())
            assert fall == pytest.approx(-LOSS if loses else 0.0, abs=1e-9)
            assert driven[places[0]] == pytest.approx(usual, abs=1e-9)
            checked += loses
    assert checked > 20
    # Nothing is lost on the first session: the decision at 11:15 has it all ahead.
    days = sessions_between(date(2024, 1, 1), date(2025, 12, 31))
    losses = Instability(5, SHARE, LOSS).losses("BAC", days)
    assert losses is not None
    firsts = [n for n, day in enumerate(days) if day == week_sessions(day)[0]]
    assert not losses[firsts].any()
    for day in days:
        if losses[days.index(day)]:
            first: datetime = day_file_decision_time(week_sessions(day)[0])
            assert first.date() < day


def test_planted_weeks_have_serial_structure_and_the_others_none(
    worlds: tuple[World, World],
) -> None:
    world = worlds[1]
    found: dict[bool, list[float]] = {True: [], False: []}
    for monday in MONDAYS[:40]:
        for day in week_sessions(monday)[:1]:
            returns = np.diff(np.log(world.boundaries("SPY", day)))
            correlation = np.corrcoef(returns[1:], returns[:-1])[0, 1]
            found[world.instability.is_planted("SPY", day)].append(abs(float(correlation)))
    assert min(found[True]) > 0.5
    assert max(found[False]) < 0.25


def test_an_index_still_moves_as_its_fund(worlds: tuple[World, World]) -> None:
    day = next(
        week_sessions(monday)[1]
        for monday in MONDAYS
        if worlds[1].instability.is_planted("SPY", monday)
    )
    fund, index = worlds[1].boundaries("SPY", day), worlds[1].boundaries("I:SPX", day)
    assert np.allclose(index / fund, 10.03, rtol=2e-4)


def test_prices_stay_sane_however_much_is_planted() -> None:
    world = World(5, tickers=["AAPL", "CLOV"], instability=1.0, instability_loss=0.05)
    for ticker, stock in world.universe.items():
        close = world.path(ticker).close
        assert stock.level / 40 < close.min()
        assert close.max() < stock.level * 40


def test_the_command_takes_a_share_and_no_other_number(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--instability", "1.5"])
    assert ended.value.code == 2
    assert "must be between 0 and 1, not 1.5" in capsys.readouterr().err


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"not 1\.5"):
        World(instability=1.5)
