"""Differences of volatility, by hand."""

import polars as pl
import pytest

from tracker_dagster.analytics.vendor_agreement import volatility_agreement


def frame(**contracts):
    return pl.DataFrame(
        [(name, volatility, delta) for name, (volatility, delta) in contracts.items()],
        schema={"symbol": pl.String, "implied_volatility": pl.Float64, "delta": pl.Float64},
        orient="row",
    )


def test_median_tail_and_worst_of_what_both_have():
    ours = frame(A=(0.30, 0.5), B=(0.20, -0.4), C=(0.25, 0.3), D=(0.40, 0.6), E=(0.5, 0.5))
    theirs = frame(A=(0.31, None), B=(0.20, None), C=(0.22, None), D=(None, None), F=(0.1, None))
    found = volatility_agreement(ours, theirs)
    assert found.compared == 3
    assert found.median == pytest.approx(0.01)
    assert found.p90 == pytest.approx(0.01 + 0.8 * 0.02)
    assert list(found.worst) == ["C", "A", "B"]
    assert found.worst["C"] == pytest.approx(0.03)


def test_contracts_whose_price_hardly_holds_a_volatility_do_not_count():
    ours = frame(A=(0.30, 0.99), B=(0.30, -0.01), C=(0.30, None), D=(0.30, -0.5))
    theirs = frame(A=(0.9, None), B=(0.9, None), C=(0.9, None), D=(0.3, None))
    assert volatility_agreement(ours, theirs) == (1, 0.0, 0.0, {"D": 0.0})


def test_nothing_in_common_is_no_agreement_and_no_zero():
    assert volatility_agreement(frame(A=(0.3, 0.5)), frame(B=(0.3, 0.5))) == (0, None, None, {})
