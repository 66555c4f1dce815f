"""Rows of iv_percentile: which sessions count, on which basis, what is said, and what was known."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tracker_dagster import trading_calendar as calendar
from tracker_dagster.analytics.volatility.iv_history import history_sessions, iv_history
from tracker_dagster.schemas.base import INSTANT

DAY = date(2026, 6, 3)
#: The 252 sessions before it, and the one before those.
YEAR = calendar.last_sessions(DAY, 253)[:-1]
BEFORE = calendar.previous_session(YEAR[0])
SCHEMA = {
    "trade_date": pl.Date, "basis": pl.String, "underlying": pl.String, "slot": INSTANT,
    "available_at": INSTANT, "iv_30d": pl.Float64, "skew_25d_30d": pl.Float64,
    "missing": pl.String,
}  # fmt: skip
JUDGED = {
    "crush and spike": ("is_crush", "is_spike"),
    "rank and percentile": ("iv_rank", "iv_percentile", "low", "high", "zscore"),
}


def series(
    values: Mapping[date, float | None],
    *,
    basis: str = "day_file",
    ticker: str = "AAA",
    skew: float | None = 0.2,
) -> pl.DataFrame:
    """The daily values of one underlying; a skew is that share of the volatility."""
    snapshot = basis == "snapshot"
    return pl.DataFrame(
        [
            {
                "trade_date": day,
                "basis": basis,
                "underlying": ticker,
                "slot": calendar.session_on(day).close,
                "available_at": calendar.session_on(day).close + timedelta(seconds=9)
                if snapshot
                else calendar.day_file_available_at(day),
                "iv_30d": value,
                "skew_25d_30d": None if skew is None or value is None else skew * value,
                "missing": None
                if value is not None
                else "iv_7d: x; iv_30d: too far; skew_25d_30d: y",
            }
            for day, value in values.items()
        ],
        schema=SCHEMA,
    )


def now(value: float | None, day: date = DAY, **options: object) -> pl.DataFrame:
    return series({day: value}, **options)  # type: ignore[arg-type]


def row(today: pl.DataFrame, *histories: pl.DataFrame, **options: object) -> dict[str, object]:
    (found,) = iv_history(today, pl.concat(histories), **options).to_dicts()  # type: ignore[arg-type]
    return found


def year(seed: int = 3) -> dict[date, float | None]:
    rng = np.random.default_rng(seed)
    sessions = history_sessions(DAY)
    return dict(zip(sessions, rng.uniform(0.2, 0.4, len(sessions)).tolist(), strict=True))


def test_figures_of_a_whole_year_by_hand() -> None:
    values = year()
    of_year = [values[day] for day in YEAR]
    found = row(now(0.37), series(values))
    assert found["history_basis"] == "day_file"
    assert found["history_sessions"] == 252
    assert (found["low"], found["high"]) == (min(of_year), max(of_year))
    assert found["mean"] == pytest.approx(statistics.fmean(of_year))
    assert found["median"] == pytest.approx(statistics.median(of_year))
    assert found["deviation"] == pytest.approx(statistics.stdev(of_year))
    assert found["iv_rank"] == pytest.approx((0.37 - min(of_year)) / (max(of_year) - min(of_year)))
    assert found["iv_percentile"] == sum(value < 0.37 for value in of_year) / 252
    assert found["zscore"] == pytest.approx(
        (0.37 - statistics.fmean(of_year)) / statistics.stdev(of_year)
    )
    assert found["regime"] == "HIGH"
    assert found["change_5d"] == pytest.approx(0.37 / of_year[-5] - 1)
    assert found["change_20d"] == pytest.approx(0.37 / of_year[-20] - 1)
    month = [value for day, value in values.items() if (DAY - day).days <= 30]
    assert 20 <= len(month) <= 22
    assert found["ramp"] == pytest.approx(0.37 / statistics.fmean(month) - 1)
    below = 0
    for day in YEAR:
        lead = [v for d, v in values.items() if timedelta(0) < day - d <= timedelta(days=30)]
        below += values[day] / statistics.fmean(lead) - 1 < found["ramp"]
    assert found["ramp_percentile"] == pytest.approx(below / 252)
    assert found["skew_percentile"] == found["iv_percentile"]
    assert found["reason"] == "event_ahead: no calendar known"


def test_the_window_is_the_calendars_year_not_the_last_rows() -> None:
    flat = dict.fromkeys(YEAR, 0.3)
    assert row(now(0.3), series({**flat, BEFORE: 9.0, YEAR[5]: 0.4}))["high"] == 0.4
    holes = {day: value for n, (day, value) in enumerate(flat.items()) if n % 2}
    found = row(now(0.3), series({**holes, BEFORE: 9.0, YEAR[1]: 0.4}))
    assert (found["history_sessions"], found["high"]) == (126, 0.4)
    # Nothing is carried over a gap: a session without a value is no observation.
    assert found["iv_percentile"] == 0.0
    null = {day: flat[day] if n % 2 else None for n, day in enumerate(YEAR)}
    gaps = row(now(0.3), series({**null, BEFORE: 9.0, YEAR[1]: 0.4}))
    assert gaps == found


def test_the_day_itself_and_later_sessions_are_not_its_past() -> None:
    values = year()
    tomorrow = calendar.next_session(DAY)
    known = series({**values, DAY: 7.0, tomorrow: 9.0}).with_columns(
        # Even where a row claims to have been known all along.
        available_at=pl.lit(calendar.session_on(BEFORE).close, INSTANT)
    )
    then = series(values).with_columns(
        available_at=pl.lit(calendar.session_on(BEFORE).close, INSTANT)
    )
    assert row(now(0.3), known) == row(now(0.3), then)


def test_a_file_that_was_not_out_yet_is_not_its_past() -> None:
    values = year()
    last = YEAR[-1]
    early = now(0.3, basis="snapshot").with_columns(
        available_at=pl.lit(calendar.day_file_available_at(last) - timedelta(minutes=1), INSTANT)
    )
    without = row(early, series({**values, last: None}))
    assert row(early, series(values)) == without
    assert without["history_sessions"] == 251


@pytest.mark.parametrize(
    ("captured", "filed", "basis"),
    [
        (126, 252, "snapshot"),
        (125, 252, "day_file"),
        (125, 130, "day_file"),
        (30, 40, "day_file"),
        (30, 30, "day_file"),
        (30, 29, "snapshot"),
        (0, 0, "day_file"),
    ],
)
def test_a_captured_value_is_compared_with_one_basis(captured, filed, basis) -> None:  # type: ignore[no-untyped-def]
    snapshots = series(dict.fromkeys(YEAR[252 - captured :], 0.3), basis="snapshot")
    files = series(dict.fromkeys(YEAR[252 - filed :], 0.5))
    found = row(now(0.3, basis="snapshot"), snapshots, files)
    assert found["history_basis"] == basis
    count = {"snapshot": captured, "day_file": filed}[basis]
    assert found["history_sessions"] == count
    if count >= 126:
        assert found["low"] == found["high"] == {"snapshot": 0.3, "day_file": 0.5}[basis]
    else:
        assert found["low"] is None


def test_a_file_of_the_day_is_never_compared_with_captures() -> None:
    found = row(now(0.3), series(dict.fromkeys(YEAR, 0.3), basis="snapshot"))
    assert (found["history_basis"], found["history_sessions"]) == ("day_file", 0)


def test_one_day_of_history_is_no_rank() -> None:
    """optopsy answers 0.5 here."""
    found = row(now(0.3), series({YEAR[-1]: 0.3}))
    assert found["iv_rank"] is None
    assert found["iv_percentile"] is None
    assert found["regime"] is None
    assert "1 of 252 sessions have a value, 126 are needed" in found["reason"]


def test_a_flat_year_has_a_percentile_and_no_rank() -> None:
    found = row(now(0.3), series(dict.fromkeys(history_sessions(DAY), 0.3)))
    assert found["iv_rank"] is None
    assert found["zscore"] is None
    assert found["iv_percentile"] == 0.0
    assert found["deviation"] == 0.0
    assert "rank: the history is flat" in found["reason"]


@pytest.mark.parametrize(
    ("value", "crush", "spike", "trend"),
    [(0.24, True, False, "CONTRACTING"), (0.25, False, False, "CONTRACTING"),
     (0.30, False, False, "STABLE"), (0.36, False, False, "EXPANDING"),
     (0.39, False, True, "EXPANDING")],
)  # fmt: skip
def test_crush_spike_and_trend(value, crush, spike, trend) -> None:  # type: ignore[no-untyped-def]
    found = row(now(value), series(dict.fromkeys(YEAR, 0.3)))
    assert (found["is_crush"], found["is_spike"], found["trend"]) == (crush, spike, trend)


@pytest.mark.parametrize("event", [True, False, None])
def test_a_ramp_says_wait_with_or_without_a_known_event(event) -> None:  # type: ignore[no-untyped-def]
    quiet = series(dict.fromkeys(YEAR, 0.3))
    events = pl.DataFrame(
        {
            "trade_date": DAY,
            "basis": "day_file",
            "underlying": "AAA",
            "event_ahead": event,
            "event_note": "why",
        },
        schema_overrides={"event_ahead": pl.Boolean},
    )  # fmt: skip
    ramp = row(now(0.40), quiet, events=events)
    assert (ramp["is_ramp"], ramp["recommendation"]) == (True, "WAIT_FOR_IV_DROP")
    assert ramp["ramp"] == pytest.approx(1 / 3)
    assert ramp["ramp_percentile"] == 1.0
    assert ramp["event_ahead"] is event
    assert ("event_ahead: why" in (ramp["reason"] or "")) == (event is None)
    at_the_cut = row(now(0.39), quiet, events=events)
    assert (at_the_cut["is_ramp"], at_the_cut["recommendation"]) == (False, None)


def test_without_a_value_nothing_is_said_of_the_day() -> None:
    found = row(now(None), series(year()))
    assert found["high"] is not None
    for name in ("iv_rank", "iv_percentile", "zscore", "regime", "change_5d", "trend", "ramp"):
        assert found[name] is None
    assert found["is_crush"] is None
    assert found["is_ramp"] is None
    assert found["recommendation"] is None
    assert found["reason"] == "iv_30d: too far; skew_25d_30d: y; event_ahead: no calendar known"


def test_the_first_sessions_of_the_calendar_have_no_past() -> None:
    first = calendar.first_session()
    assert history_sessions(first) == []
    days = [first, *(calendar.next_session(first, count) for count in (1, 5))]
    values = dict(zip(days, (0.3, 0.4, 0.6), strict=True))
    found = iv_history(series(values), series(values))
    assert found["history_sessions"].to_list() == [0, 1, 2]
    assert found["ramp"].to_list() == [None, pytest.approx(1 / 3), None]
    assert found["change_5d"].to_list() == [None, None, pytest.approx(1.0)]
    assert "change_20d: no value so long ago" in found["reason"][2]


def test_no_rows_give_no_rows() -> None:
    assert iv_history(now(0.3).clear(), series(year())).is_empty()


@st.composite
def histories(draw: st.DrawFn) -> pl.DataFrame:
    """Two underlyings on both bases, with gaps, reaching past the day."""
    frames = []
    days = [*history_sessions(DAY), DAY, calendar.next_session(DAY)]
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    for ticker in ("AAA", "BBB"):
        for basis in ("snapshot", "day_file"):
            share = draw(st.sampled_from([0.0, 0.3, 0.6, 1.0]))
            kept = [day for day in days if rng.random() < share]
            values = [None if rng.random() < 0.2 else float(rng.uniform(0.1, 0.9)) for _ in kept]
            frames.append(series(dict(zip(kept, values, strict=True)), basis=basis, ticker=ticker))
    return pl.concat(frames)


TODAY = pl.concat(
    [
        now(value, basis=basis, ticker=ticker)
        for basis in ("snapshot", "day_file")
        for ticker, value in (("AAA", 0.4), ("BBB", None), ("CCC", 0.2))
    ]
)


@settings(max_examples=25, deadline=None)
@given(histories())
def test_what_comes_later_changes_nothing(history) -> None:  # type: ignore[no-untyped-def]
    whole = iv_history(TODAY, history)
    until = history.filter(pl.col("trade_date") < DAY)
    assert_frame_equal(iv_history(TODAY, until), whole)
    assert_frame_equal(iv_history(TODAY, history.sample(fraction=1, shuffle=True, seed=1)), whole)


@settings(max_examples=25, deadline=None)
@given(histories())
def test_every_null_has_its_reason_and_every_reason_a_null(history) -> None:  # type: ignore[no-untyped-def]
    found = iv_history(TODAY, history)
    assert not found.select(pl.selectors.float().is_nan().any()).row(0).count(True)
    for each in found.to_dicts():
        said = each["reason"] or ""
        if each["iv_30d"] is None:
            assert said.startswith("iv_30d: too far")
            continue
        for words, names in JUDGED.items():
            assert (f"{words}: " in said) == all(each[name] is None for name in names)
        for name in ("change_5d", "change_20d", "skew_percentile", "event_ahead"):
            assert (f"{name}: " in said) == (each[name] is None), name
        assert ("ramp: " in said) == (each["ramp"] is None)
        assert (each["iv_rank"] is None) == (each["history_sessions"] < 126)


@settings(max_examples=10, deadline=None)
@given(histories())
def test_sessions_done_at_once_are_each_by_itself(history) -> None:  # type: ignore[no-untyped-def]
    days = [YEAR[-40], YEAR[-2], DAY, calendar.next_session(DAY)]
    rows = pl.concat(
        [
            now(0.2 + n / 7, day, basis=basis, ticker=ticker)
            for n, day in enumerate(days)
            for basis in ("snapshot", "day_file")
            for ticker in ("AAA", "BBB")
        ]
    )
    together = iv_history(rows, history)
    for day in days:
        alone = iv_history(rows.filter(trade_date=day), history)
        assert_frame_equal(together.filter(trade_date=day), alone)
