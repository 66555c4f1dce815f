"""The simulated underlyings: reproducible, in step with the calendar, consistent."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import numpy as np
import pytest

from tracker_dagster.marketsim.world.minutes import midnight_ns
from tracker_dagster.marketsim.world.world import UnknownTickerError, World
from tracker_dagster.trading_calendar import session_on, sessions_between

DAY = date(2026, 11, 18)

_FINGERPRINT = """
import hashlib, sys
from datetime import date
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.server.bucket import Bucket
bucket = Bucket(Simulation(seed=7, tickers=["AAPL", "RIOT"]))
keys = sys.argv[1:]
print(sorted([(k, hashlib.sha256(bucket.body(bucket.find(k))).hexdigest()) for k in keys]))
"""


def test_the_same_seed_gives_the_same_bytes_in_any_process_and_order() -> None:
    keys = [
        "us_options_opra/day_aggs_v1/2016/02/2016-02-03.csv.gz",
        "us_stocks_sip/minute_aggs_v1/2025/07/2025-07-03.csv.gz",
        "us_indices/day_aggs_v1/2024/05/2024-05-06.csv.gz",
        "us_options_opra/minute_aggs_v1/2016/02/2016-02-03.csv.gz",
    ]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _FINGERPRINT, *order],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for order, seed in ((keys, "1"), (keys[::-1], "2"))
    }
    assert len(outputs) == 1
    assert "us_options_opra" in outputs.pop()


def test_another_seed_is_another_market() -> None:
    assert World(1).close("AAPL", DAY) != World(2).close("AAPL", DAY)


@pytest.mark.parametrize("day", [date(2003, 9, 10), date(2035, 12, 31), date(2024, 11, 29)])
def test_any_session_of_the_calendar_answers(day: date) -> None:
    bars = World().minute_bars("NVDA", day)
    session = session_on(day)
    regular = (bars.start >= session.open.timestamp() * 1e9) & (
        bars.start < session.close.timestamp() * 1e9
    )
    assert regular.sum() == session.minutes
    assert bars.start.min() >= midnight_ns(day) + 4 * 3600 * 10**9
    assert np.all(np.diff(bars.start) > 0)


def test_a_day_bar_is_what_its_regular_minutes_make() -> None:
    world = World()
    for ticker in ("SPY", "CLOV", "I:SPX", "I:VIX"):
        for day in (DAY, date(2025, 7, 3)):
            bars, bar = world.minute_bars(ticker, day), world.day_bar(ticker, day)
            assert bar is not None
            session = session_on(day)
            inside = (bars.start >= session.open.timestamp() * 1e9) & (
                bars.start < session.close.timestamp() * 1e9
            )
            assert bar.open[0] == bars.open[inside][0]
            assert bar.close[0] == bars.close[inside][-1]
            assert bar.high[0] == bars.high[inside].max()
            assert bar.low[0] == bars.low[inside].min()
            assert bar.volume[0] == pytest.approx(bars.volume.sum(), abs=1e-9)
            assert np.all(bars.high >= np.maximum(bars.open, bars.close))
            assert np.all(bars.low <= np.minimum(bars.open, bars.close))
            assert np.all(bars.low > 0)


def test_prices_stay_sane_and_volatilities_match_their_category() -> None:
    world = World()
    realised = {}
    for ticker, stock in world.universe.items():
        close = world.path(ticker).close
        assert stock.level / 40 < close.min()
        assert close.max() < stock.level * 40
        realised[ticker] = float(np.diff(np.log(close)).std() * np.sqrt(252))
    assert 0.10 < realised["SPY"] < 0.24
    assert realised["SPY"] < realised["AAPL"] < realised["HOOD"] < realised["MARA"] < 1.2


def test_an_index_moves_as_its_fund_and_vix_follows_the_surface() -> None:
    world = World()
    days = sessions_between(date(2026, 9, 1), DAY)
    spx = np.array([world.close("I:SPX", d) for d in days])
    spy = np.array([world.close("SPY", d) for d in days])
    assert np.allclose(spx / spy, 10.03, rtol=2e-4)
    path, vix = world.path("SPY"), world.path("I:VIX").close
    assert np.corrcoef(path.volatility, vix)[0, 1] > 0.95
    assert 8 < vix.min() < vix.max() < 95
    returns = np.diff(np.log(path.close))
    assert np.corrcoef(returns, np.diff(np.log(vix)))[0, 1] < -0.3


def test_a_split_cuts_the_traded_price_and_leaves_the_return_alone() -> None:
    world = World()
    before, after = world.close("AVGO", date(2026, 3, 6)), world.close("AVGO", date(2026, 3, 9))
    assert 3.4 < before / after < 4.6
    assert world.split_factor("AVGO", date(2026, 3, 6)) == 4
    assert world.split_factor("AVGO", date(2026, 3, 9)) == 1


def test_planted_weeks_have_serially_dependent_minutes_and_others_do_not() -> None:
    week = sessions_between(date(2026, 10, 5), date(2026, 10, 9))
    planted = World(planted_instability={"RIOT": [(week[0], week[-1])]})
    plain = World(planted_instability={})

    def first_autocorrelation(world: World) -> float:
        found = []
        for day in week:
            returns = np.diff(np.log(world.boundaries("RIOT", day)))
            found.append(np.corrcoef(returns[1:], returns[:-1])[0, 1])
        return float(np.mean(found))

    assert first_autocorrelation(planted) > 0.6
    assert abs(first_autocorrelation(plain)) < 0.1
    assert planted.close("RIOT", week[2]) == plain.close("RIOT", week[2])


def test_earnings_come_quarterly_on_sessions_and_are_announced_before() -> None:
    world = World()
    reports = [r for r in world.earnings("AAPL") if r.report_date.year == 2026]
    assert len(reports) == 4
    for report in world.earnings("AAPL"):
        assert session_on(report.report_date)
        assert report.projected_at < report.announced_at
        assert report.announced_at.date() < report.report_date
    assert world.earnings("SPY") == []


def test_dividends_are_declared_before_they_are_due() -> None:
    paid = [d for d in World().dividends("CSCO") if not d.special]
    assert len([d for d in paid if d.ex_dividend_date.year == 2025]) == 4
    for dividend in paid:
        assert dividend.declaration_date < dividend.ex_dividend_date <= dividend.pay_date
        assert dividend.ex_dividend_date - dividend.declaration_date < timedelta(days=40)


def test_an_unknown_ticker_is_named() -> None:
    with pytest.raises(UnknownTickerError, match="NOPE"):
        World().close("NOPE", DAY)
    with pytest.raises(ValueError, match="NOPE"):
        World(tickers=["AAPL", "NOPE"])
