"""Our delta against the slope of independently computed option values."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime

import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tracker_dagster.analytics.black_scholes import call_delta, years_to_expiry


def value_by_integration(
    spot: float, strike: float, years: float, vol: float, rate: float
) -> float:
    """Discounted expected pay-off, integrated over the terminal price."""
    deviation = vol * years**0.5
    drift = (rate - vol**2 / 2) * years
    worthless_below = (math.log(strike / spot) - drift) / deviation
    payoff, _ = quad(
        lambda z: (spot * math.exp(drift + deviation * z) - strike) * norm.pdf(z),
        worthless_below,
        12,
        epsabs=1e-12,
    )
    return payoff * math.exp(-rate * years)


@pytest.mark.parametrize(("strike", "years", "vol"), [(100, 0.02, 0.3), (105, 0.1, 0.5)])
def test_delta_is_the_slope_of_the_value(strike: float, years: float, vol: float) -> None:
    bump = 0.05
    up = value_by_integration(100 + bump, strike, years, vol, 0.04)
    down = value_by_integration(100 - bump, strike, years, vol, 0.04)
    assert call_delta(100.0, strike, years, vol, 0.04) == pytest.approx(
        (up - down) / (2 * bump), abs=1e-5
    )


def test_years_end_at_the_closing_bell_of_a_half_day() -> None:
    morning = datetime(2025, 7, 3, 14, 0, tzinfo=UTC)
    assert years_to_expiry(morning, date(2025, 7, 3)) == pytest.approx(3 / 24 / 365)
    assert years_to_expiry(datetime(2025, 7, 4, tzinfo=UTC), date(2025, 7, 3)) == 0
