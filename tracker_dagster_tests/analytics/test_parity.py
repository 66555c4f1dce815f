"""Parity over real quotes that were published with their forwards."""

import numpy as np
import pytest

from tracker_dagster.analytics.parity import Pairs, parity_forwards, violations
from tracker_dagster.analytics.pricing import CashDividends

#: Years and the published forward, then strike, call bid and ask, put bid and ask of the ten
#: strikes around it (Cboe, "VIX" white paper, 2009, appendix 1: SPX options, rate 0.38 %).
WHITE_PAPER = {
    "near": (9 / 365, 920.50005, [
        (900, 46.2, 51.7, 25.5, 29.0), (905, 43.4, 48.9, 27.2, 32.3),
        (910, 40.0, 45.1, 29.2, 34.2), (915, 37.3, 42.8, 30.8, 36.3),
        (920, 35.2, 39.1, 35.2, 38.1), (925, 31.4, 35.2, 35.1, 40.3),
        (930, 31.0, 33.9, 37.4, 42.9), (935, 26.0, 31.5, 40.3, 45.1),
        (940, 26.0, 29.0, 42.5, 48.1), (945, 21.6, 26.4, 45.3, 50.6),
    ]),
    "next": (37 / 365, 921.00039, [
        (900, 70.8, 76.4, 50.2, 55.4), (905, 67.6, 73.1, 52.2, 57.2),
        (910, 64.6, 70.1, 54.0, 59.5), (915, 62.4, 67.1, 56.3, 61.5),
        (920, 59.1, 64.0, 57.8, 63.3), (925, 56.2, 61.7, 60.3, 65.8),
        (930, 53.0, 58.5, 62.9, 67.9), (935, 50.3, 55.8, 64.6, 70.1),
        (940, 47.6, 52.7, 67.0, 72.6), (945, 45.7, 50.4, 69.5, 75.0),
    ]),
}  # fmt: skip


def european(years, rows):
    strike, *quotes = np.array(rows, dtype=float).T
    unknown = np.full(len(strike), np.nan)
    return Pairs(
        np.zeros(len(strike), dtype=np.int64), 1, strike, np.full(len(strike), years),
        np.full(len(strike), 0.0038), unknown, unknown, *quotes,
        is_european=np.ones(len(strike), dtype=bool),
        dividends=CashDividends.same_for_all([]),
    )  # fmt: skip


@pytest.mark.parametrize("term", WHITE_PAPER)
def test_the_published_forward_lies_within_the_error_of_ten_pairs(term):
    years, published, rows = WHITE_PAPER[term]
    pairs = european(years, rows)
    # The Cboe takes the one strike where call and put are nearest; it must be that of this table.
    nearest = np.argmin(np.abs(pairs.call - pairs.put))
    one = pairs.strike + np.exp(0.0038 * years) * (pairs.call - pairs.put)
    assert one[nearest] == pytest.approx(published, abs=1e-5)
    agreement = parity_forwards(pairs)
    assert agreement.votes[0] == 10
    assert abs(agreement.forward[0] - published) < agreement.error[0] < 1.0
    nobody = violations(pairs, np.full(10, agreement.forward[0]), np.full(10, np.nan))
    assert not nobody.any()
    # Seven dollars off, most of the quotes would have been free money.
    assert violations(pairs, np.full(10, published + 7), np.full(10, np.nan)).sum() >= 8


def test_no_pairs_give_no_forward():
    agreement = parity_forwards(european(0.1, np.empty((0, 5))))
    assert np.isnan(agreement.forward).all()
    assert agreement.votes.tolist() == [0]
