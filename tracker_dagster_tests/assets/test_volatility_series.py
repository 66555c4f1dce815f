"""Volatility over time as assets: what they read, which days they do, what they say is missing."""

import json
import math
import shutil
import statistics
from datetime import date, datetime, timedelta
from itertools import pairwise

import dagster as dg
import polars as pl
import pytest

from tracker_dagster.assets import volatility_series
from tracker_dagster.schemas.reference import EARNINGS_CALENDAR, REFERENCE_COLLECTIONS
from tracker_dagster.schemas.surface import IV_TERM_STRUCTURE
from tracker_dagster.trading_calendar import (
    day_file_available_at,
    decision_time,
    last_sessions,
    next_session,
    session_on,
)
from tracker_dagster.warehouse import Write
from tracker_dagster_tests.assets.place import (
    DAY,
    NOW,
    PAST,
    TICKERS,
    TODAY,
    Place,
    checks,
    failed_steps,
    failure,
    materialised,
)

#: MSFT is a member that is not enabled, ZZZ is none.
UNDERLYINGS = (*TICKERS, "SPX", "SPY", "MSFT", "ZZZ")
#: The first session of prices: five returns before `DAY`.
FIRST = date(2026, 5, 26)
#: A year and more of sessions up to yesterday's.
DAYS = last_sessions(DAY, 300)


def value(day: date, underlying: str) -> float:
    """A volatility that moves and is the same whenever it is asked for."""
    return 0.3 + 0.1 * math.sin(day.toordinal() / 9 + UNDERLYINGS.index(underlying))


def term_structure(
    day: date, basis: str, slot: datetime, known_at: datetime, extra: float = 0.0
) -> Write:
    levels = [value(day, name) + extra for name in UNDERLYINGS]
    rows = pl.DataFrame(
        {"underlying": UNDERLYINGS, "iv_30d": levels, "skew_25d_30d": [v / 10 for v in levels]}
    )
    unit = {"trade_date": day, "basis": basis, "slot": slot}
    return Write(
        IV_TERM_STRUCTURE,
        IV_TERM_STRUCTURE.conform(rows, **unit, available_at=known_at, expiries_count=5),
        unit,
    )


def of_files(day: date, extra: float = 0.0) -> Write:
    return term_structure(day, "day_file", session_on(day).close, day_file_available_at(day), extra)


def captured(slot: datetime, extra: float = 0.0) -> Write:
    return term_structure(TODAY, "snapshot", slot, slot + timedelta(seconds=8), extra)


@pytest.fixture(scope="module")
def _filled(recorded, _enrolled, tmp_path_factory):
    home = tmp_path_factory.mktemp("filled") / "home"
    shutil.copytree(_enrolled, home)
    place = Place(home, recorded[0].url)
    place.warehouse.replace_many([of_files(day) for day in DAYS])
    place.warehouse.replace_many(
        [captured(NOW - timedelta(minutes=35), extra=0.5), captured(decision_time(TODAY))]
    )
    return home


@pytest.fixture
def filled(sim, tmp_path, _filled):
    """A place with a year of day files' volatilities, and two captures of today."""
    shutil.copytree(_filled, tmp_path / "home")
    return Place(tmp_path / "home", sim.url)


def earnings(place, day, *reports, whole=True):
    """The earnings calendar of a session, and that it was answered as a whole."""
    opening = session_on(day).open
    rows = pl.DataFrame(reports, schema={"ticker": pl.String, "report_date": pl.Date}, orient="row")
    unit = {"trade_date": day, "source": "csv"}
    calendar = EARNINGS_CALENDAR.conform(
        rows, **unit, available_at=opening, report_time="amc", status="confirmed"
    )
    of = {"trade_date": day, "dataset": "earnings_calendar", "source": "csv"}
    answer = REFERENCE_COLLECTIONS.conform(
        pl.DataFrame({"subject": ["*"][: int(whole)]}, schema={"subject": pl.String}),
        **of,
        available_at=opening,
        rows_count=rows.height,
    )
    place.warehouse.replace_many(
        [
            Write(EARNINGS_CALENDAR, calendar, unit, allow_empty=True),
            Write(REFERENCE_COLLECTIONS, answer, of, allow_empty=True),
        ]
    )


def by_name(place, day=TODAY, basis="snapshot"):
    rows = place.rows("iv_percentile", day).filter(basis=basis)
    return {row["underlying"]: row for row in rows.to_dicts()}


def metadata(result, asset, day):
    (event,) = [
        each for each in result.asset_materializations_for_node(asset) if each.partition == str(day)
    ]
    return event.metadata


def test_the_last_capture_of_the_day_against_a_year_of_files(filled):
    result = filled.run(["iv_percentile"], TODAY)
    assert result.success
    rows = by_name(filled)
    # The universe, the benchmarks and the indices; nobody asked for ZZZ.
    assert set(rows) == {*TICKERS, "SPX", "SPY"}
    past = [value(day, "AAPL") for day in last_sessions(DAY, 252)]
    row = rows["AAPL"]
    assert row["slot"] == decision_time(TODAY)
    assert row["available_at"] == decision_time(TODAY) + timedelta(seconds=8)
    assert row["iv_30d"] == value(TODAY, "AAPL")
    assert (row["history_basis"], row["history_sessions"]) == ("day_file", 252)
    assert row["iv_percentile"] == sum(each < row["iv_30d"] for each in past) / 252
    assert row["change_20d"] == pytest.approx(row["iv_30d"] / past[-20] - 1)
    found = checks(result, "iv_percentile")
    assert all(check.passed for check in found.values())
    picture = metadata(result, "iv_percentile", TODAY)["history"].value
    assert picture.startswith("![SPY: 30-day volatility")


def test_a_later_slot_replaces_what_an_earlier_one_said(filled):
    assert filled.run(["iv_percentile"], TODAY).success
    early = by_name(filled)["AAPL"]
    close = session_on(TODAY).close
    filled.warehouse.replace_many([captured(close, extra=0.1)])
    # Not known before it was captured.
    assert filled.run(["iv_percentile"], TODAY).success
    assert by_name(filled)["AAPL"] == early
    after = (close + timedelta(minutes=1)).isoformat()
    assert filled.run(["iv_percentile"], TODAY, tags={"tracker/now": after}).success
    assert by_name(filled)["AAPL"]["slot"] == close
    assert by_name(filled)["AAPL"]["iv_30d"] == pytest.approx(early["iv_30d"] + 0.1)


def test_the_files_of_a_session_add_a_row_of_their_own(filled):
    filled.warehouse.replace_many([of_files(TODAY, extra=0.02)])
    assert filled.run(["iv_percentile"], TODAY).success
    assert by_name(filled, basis="day_file") == {}
    evening = (session_on(TODAY).close + timedelta(hours=1)).isoformat()
    assert filled.run(["iv_percentile"], TODAY, tags={"tracker/now": evening}).success
    assert by_name(filled, basis="day_file") == {}
    after = day_file_available_at(TODAY).isoformat()
    assert filled.run(["iv_percentile"], TODAY, tags={"tracker/now": after}).success
    snapshot, file = by_name(filled)["AAPL"], by_name(filled, basis="day_file")["AAPL"]
    assert file["iv_30d"] == pytest.approx(snapshot["iv_30d"] + 0.02)
    # The day's own file is no past of its capture.
    assert (snapshot["mean"], snapshot["history_sessions"]) == (file["mean"], 252)


def test_whether_earnings_lie_ahead_is_yes_no_or_not_known(filled):
    filled.more_settings = {"benchmarks": ("SPY", "MSFT", "ZZZ")}
    assert filled.run(["iv_percentile"], TODAY).success
    unknown = by_name(filled)
    assert unknown["AAPL"]["event_ahead"] is None
    assert unknown["AAPL"]["reason"] == "event_ahead: no earnings calendar known"
    assert unknown["SPX"]["event_ahead"] is False
    earnings(filled, TODAY, ("AAPL", TODAY + timedelta(days=20)), ("UBER", date(2026, 7, 30)))
    assert filled.run(["iv_percentile"], TODAY).success
    known = by_name(filled)
    assert {name: row["event_ahead"] for name, row in known.items()} == {
        "AAPL": True, "UBER": False, "SOFI": False, "SPX": False, "SPY": False, "MSFT": None,
        "ZZZ": None,
    }  # fmt: skip
    assert known["AAPL"]["reason"] is None
    assert known["ZZZ"]["reason"] == "event_ahead: its earnings are not asked for"
    earnings(filled, TODAY, ("AAPL", TODAY + timedelta(days=20)), whole=False)
    assert filled.run(["iv_percentile"], TODAY).success
    assert by_name(filled)["AAPL"]["event_ahead"] is True
    assert by_name(filled)["SOFI"]["event_ahead"] is None


def test_a_short_history_is_told_by_the_check(place):
    place.warehouse.replace_many([of_files(day) for day in DAYS[-40:]])
    result = place.run(["iv_percentile"], DAY)
    assert result.success
    check = checks(result, "iv_percentile")["has_history"]
    assert not check.passed
    shown = json.dumps(check.metadata["failed"].value)
    assert '"AAPL": 39' in shown
    assert by_name(place, DAY, "day_file")["AAPL"]["iv_rank"] is None


def test_a_day_without_volatilities_has_no_rows_and_says_so(place):
    result = place.run(["iv_percentile"], DAY)
    assert result.success
    assert place.rows("iv_percentile").is_empty()
    check = checks(result, "iv_percentile")["has_history"]
    assert not check.passed
    assert "no 30-day volatility" in json.dumps(check.metadata["failed"].value)


def test_a_range_over_several_batches_gives_what_each_day_gives(filled):
    """Days of a range are done some at once; a row must not tell."""
    range_of = DAYS[-(volatility_series.DAYS_AT_ONCE + 5) :]
    whole = filled.run(["iv_percentile"], range_of[0], range_of[-1])
    assert whole.success
    assert materialised(whole, "iv_percentile") == [str(day) for day in range_of]
    versions = {
        day: metadata(whole, "iv_percentile", day)["data_version"].value for day in range_of
    }
    assert len(set(versions.values())) == len(range_of)
    for day in (range_of[0], range_of[30], range_of[-1]):
        alone = filled.run(["iv_percentile"], day)
        assert metadata(alone, "iv_percentile", day)["data_version"].value == versions[day]


def test_batches_before_a_failing_one_are_kept(filled, monkeypatch):
    batch = volatility_series.DAYS_AT_ONCE
    range_of = DAYS[-(batch + 5) :]
    real = volatility_series.iv_history

    def breaks(today, *more):
        if range_of[-2] in today["trade_date"]:
            raise ValueError("as if a row were beyond understanding")
        return real(today, *more)

    monkeypatch.setattr(volatility_series, "iv_history", breaks)
    result = filled.run(["iv_percentile"], range_of[0], range_of[-1])
    assert failed_steps(result) == ["iv_percentile"]
    assert f"iv_percentile {range_of[batch]} to {range_of[-1]}: as if" in failure(result)
    kept = [str(day) for day in range_of[:batch]]
    known = filled.instance.get_materialized_partitions(dg.AssetKey("iv_percentile"))
    assert sorted(known) == kept
    assert sorted({str(day) for day in filled.rows("iv_percentile")["trade_date"]}) == kept


def test_a_session_that_has_not_opened_does_not_take_others_with_it(filled):
    result = filled.run(["iv_percentile"], DAY, next_session(TODAY))
    assert "the session has not opened yet" in failure(result)
    known = filled.instance.get_materialized_partitions(dg.AssetKey("iv_percentile"))
    assert sorted(known) == [str(DAY), str(TODAY)]


@pytest.fixture(scope="module")
def _priced(recorded, _enrolled, tmp_path_factory):
    home = tmp_path_factory.mktemp("priced") / "home"
    shutil.copytree(_enrolled, home)
    made = ["universe", "stock_day_aggs", "bars_1m", "index_bars"]
    assert Place(home, recorded[0].url).run(made, FIRST, DAY).success
    return home


@pytest.fixture
def priced(sim, tmp_path, _priced):
    """A place with six sessions of prices."""
    shutil.copytree(_priced, tmp_path / "home")
    return Place(tmp_path / "home", sim.url)


def test_realised_volatility_of_the_market_of_the_tests(priced):
    assert priced.run(["corporate_actions"], FIRST, DAY).success
    result = priced.run(["realized_volatility"], DAY)
    assert result.success
    rows = {row["ticker"]: row for row in priced.rows("realized_volatility", DAY).to_dicts()}
    assert set(rows) == {*TICKERS, "SPY"}
    closes = priced.rows("stock_day_aggs").filter(ticker="AAPL").sort("trade_date")["close"]
    logs = [math.log(after / before) for before, after in pairwise(closes)]
    assert len(logs) == 5
    row = rows["AAPL"]
    assert row["rv_5d"] == pytest.approx(statistics.stdev(logs) * math.sqrt(252))
    assert row["available_at"] == day_file_available_at(DAY)
    assert 0 < row["intraday"] < 3
    assert row["rv_10d"] is None
    assert "no bar on 2026-05-22" in row["reason"]
    assert row["dividends_known_since"] == FIRST
    check = checks(result, "realized_volatility")["a_month_is_whole"]
    assert not check.passed
    assert "AAPL" in json.dumps(check.metadata["failed"].value)


def test_realised_volatility_needs_the_days_corporate_actions(priced):
    assert priced.run(["realized_volatility"], DAY).success
    rows = priced.rows("realized_volatility", DAY)
    assert rows["rv_5d"].to_list() == [None] * 4
    assert rows["reason"].str.contains("the corporate actions of 2026-06-02").all()


@pytest.mark.parametrize("asset", ["realized_volatility", "vix_term_structure"])
def test_a_range_gives_what_each_day_gives(priced, asset):
    assert priced.run(["corporate_actions"], FIRST, DAY).success
    whole = priced.run([asset], FIRST, DAY)
    for day in (PAST[1], DAY):
        alone = priced.run([asset], day)
        version = metadata(alone, asset, day)["data_version"].value
        assert metadata(whole, asset, day)["data_version"].value == version


def test_what_rests_on_files_waits_for_them(priced):
    for asset in ("realized_volatility", "vix_term_structure"):
        result = priced.run([asset], TODAY)
        assert result.success
        assert priced.rows(asset).is_empty()
        waiting = metadata(result, asset, TODAY)["waiting"].value
        assert waiting == "the session's files are not out before 2026-06-04 11:00 ET"


def test_the_vix_of_the_market_of_the_tests(priced):
    result = priced.run(["vix_term_structure"], PAST[0], DAY)
    assert result.success
    rows = priced.rows("vix_term_structure")
    assert rows["trade_date"].to_list() == PAST
    bars = priced.rows("index_bars", DAY).filter(source="massive_flat_file")
    close = dict(bars.select("ticker", "close").iter_rows())
    row = rows.row(-1, named=True)
    assert (row["vix"], row["vix3m"]) == (close["VIX"], close["VIX3M"])
    assert row["ratio"] == close["VIX"] / close["VIX3M"]
    assert row["ratio_percentile"] is None
    assert "5 of 252 sessions have a ratio" in row["reason"]
    assert row["futures_reason"] == "no source of futures settlements is configured"
    assert checks(result, "vix_term_structure")["has_ratio"].passed
    assert metadata(result, "vix_term_structure", DAY)["history"].value.startswith("![VIX / VIX3M")


def test_futures_are_read_from_the_users_file(priced, tmp_path):
    path = tmp_path / "settlements.csv"
    path.write_text(f"trade_date,vx1,vx2,vx3\n{DAY},20,18,17.5\n")
    priced.more_settings = {"vix_futures_csv": path}
    assert priced.run(["vix_term_structure"], PAST[-2], DAY).success
    before, row = priced.rows("vix_term_structure").to_dicts()
    assert (row["vx1"], row["vx3"], row["futures_spread"]) == (20.0, 17.5, -0.125)
    assert (row["futures_regime"], row["futures_recommendation"]) == (
        "FEAR", "CONTRARIAN_LONG_SETUP",
    )  # fmt: skip
    assert before["futures_reason"] == f"no settlements of both futures on {PAST[-2]}"
    path.write_text(f"trade_date,vx1,vx3\n{DAY},20,none\n")
    assert "settlements.csv: lines [2]" in failure(priced.run(["vix_term_structure"], DAY))
