"""The VIX against VIX3M and the rule on its futures, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tracker_dagster import trading_calendar as calendar
from tracker_dagster.analytics.volatility.vix_term_structure import (
    vix_sessions,
    vix_term_structure,
)

DAY = date(2026, 6, 3)
SESSIONS = vix_sessions(DAY)


def bars(vix: Mapping[date, float], vix3m: Mapping[date, float], vix9d: float = 15.0):  # type: ignore[no-untyped-def]
    rows = [(day, "VIX", value) for day, value in vix.items()]
    rows += [(day, "VIX3M", value) for day, value in vix3m.items()]
    rows += [(DAY, "VIX9D", vix9d), (DAY, "SPX", 6000.0)]
    return pl.DataFrame(
        rows, schema={"trade_date": pl.Date, "ticker": pl.String, "close": pl.Float64}, orient="row"
    )


def settlements(*rows: tuple[date, float | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, schema={"trade_date": pl.Date, "vx1": pl.Float64, "vx3": pl.Float64}, orient="row"
    )


def row(frame: pl.DataFrame, futures: pl.DataFrame | None = None) -> dict[str, object]:
    (found,) = vix_term_structure(frame, futures, DAY).to_dicts()
    return found


def flat(value: float) -> dict[date, float]:
    return dict.fromkeys(SESSIONS, value)


def test_a_calm_day_and_an_inverted_one() -> None:
    calm = row(bars(flat(16.0), flat(20.0)))
    assert (calm["vix"], calm["vix9d"], calm["vix3m"]) == (16.0, 15.0, 20.0)
    assert (calm["ratio"], calm["structure"]) == (0.8, "contango")
    assert (calm["ratio_percentile"], calm["ratio_sessions"]) == (0.0, 252)
    assert calm["reason"] is None
    fear = row(bars({**flat(16.0), DAY: 30.0}, {**flat(20.0), DAY: 25.0}))
    assert (fear["ratio"], fear["structure"], fear["ratio_percentile"]) == (
        1.2, "backwardation", 1.0,
    )  # fmt: skip
    assert row(bars(flat(20.0), flat(20.0)))["structure"] == "flat"


def test_the_percentile_is_of_the_252_sessions_before() -> None:
    values = dict(zip(SESSIONS, np.linspace(10, 30, 253).tolist(), strict=True))
    values[DAY] = values[SESSIONS[63]] + 1e-6
    outside = {calendar.previous_session(SESSIONS[0]): 1.0}
    found = row(bars({**outside, **values}, {**outside, **flat(20.0)}))
    assert found["ratio_percentile"] == 64 / 252


@pytest.mark.parametrize(("known", "percentile"), [(126, 1.0), (125, None)])
def test_half_a_year_of_ratios_is_needed(known, percentile) -> None:  # type: ignore[no-untyped-def]
    some = dict.fromkeys(SESSIONS[-1 - known :], 16.0)
    found = row(bars({**some, DAY: 17.0}, flat(20.0)))
    assert (found["ratio_percentile"], found["ratio_sessions"]) == (percentile, known)
    said = f"ratio_percentile: {known} of 252 sessions have a ratio, 126 are needed"
    assert found["reason"] == (None if percentile else said)


def test_a_missing_index_is_named() -> None:
    yesterday = dict.fromkeys(SESSIONS[:-1], 16.0)
    found = row(bars(yesterday, flat(20.0)))
    assert found["vix"] is None
    assert found["ratio"] is None
    assert found["structure"] is None
    assert found["reason"] == f"no bar of VIX on {DAY}"
    none = row(bars({}, {}).clear())
    assert none["reason"] == f"no bar of VIX, VIX9D, VIX3M on {DAY}"


@pytest.mark.parametrize(
    ("vx1", "vx3", "regime", "advice"),
    [
        (20.0, 17.99, "FEAR", "CONTRARIAN_LONG_SETUP"),
        (20.0, 18.00, "NORMAL", None),
        (20.0, 24.00, "NORMAL", None),
        (20.0, 24.01, "COMPLACENCY", "PREPARE_FOR_VOL_SPIKE"),
        # A tenth below and a fifth above, but for the last bit of a binary fraction.
        (10.25, 9.225, "NORMAL", None),
        (10.25, 12.30, "NORMAL", None),
    ],
)
def test_the_rule_on_futures(vx1, vx3, regime, advice) -> None:  # type: ignore[no-untyped-def]
    found = row(bars(flat(16.0), flat(20.0)), settlements((DAY, vx1, vx3)))
    assert (found["vx1"], found["vx3"]) == (vx1, vx3)
    assert found["futures_spread"] == pytest.approx((vx3 - vx1) / vx1)
    assert (found["futures_regime"], found["futures_recommendation"]) == (regime, advice)
    assert found["futures_reason"] is None


def test_a_spread_has_a_percentile_too() -> None:
    year = [(day, 20.0, 20.0 + n % 4) for n, day in enumerate(SESSIONS[:-1])]
    found = row(bars({}, {}), settlements(*year, (DAY, 20.0, 21.5)))
    assert found["futures_spread_percentile"] == 0.5


def test_without_settlements_the_rule_says_nothing_and_why() -> None:
    calm = bars(flat(16.0), flat(20.0))
    off = row(calm)
    assert off["futures_reason"] == "no source of futures settlements is configured"
    for futures in (settlements((SESSIONS[-2], 20.0, 17.0)), settlements((DAY, 20.0, None))):
        found = row(calm, futures)
        assert found["futures_reason"] == f"no settlements of both futures on {DAY}"
        for name in ("futures_spread", "futures_regime", "futures_recommendation"):
            assert found[name] is None
            assert off[name] is None


def test_later_sessions_change_nothing() -> None:
    late = calendar.next_session(DAY)
    vix, vix3m = {**flat(16.0), late: 80.0}, {**flat(20.0), late: 30.0}
    futures = settlements((DAY, 20.0, 17.0), (late, 20.0, 40.0))
    whole = vix_term_structure(bars(vix, vix3m), futures, DAY)
    until = vix_term_structure(bars(flat(16.0), flat(20.0)), futures.head(1), DAY)
    assert_frame_equal(whole, until)
