"""Dated facts of the simulated companies: earnings, dividends, splits, and the yield curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from types import MappingProxyType

import numpy as np

from tracker_dagster.marketsim.world.randomness import generator, stable_hash
from tracker_dagster.marketsim.world.securities import Stock
from tracker_dagster.trading_calendar import (
    EASTERN,
    first_session,
    last_session,
    next_session,
    previous_session,
    session_or_previous,
)


@dataclass(frozen=True, slots=True)
class Split:
    """``to`` new shares for ``from_`` old ones at the open of ``execution_date``."""

    ticker: str
    execution_date: date
    from_: int
    to: int

    @property
    def ratio(self) -> float:
        """New shares per old share."""
        return self.to / self.from_

    @property
    def restrikes(self) -> bool:
        """Whole-number splits divide the strikes; others leave a non-standard deliverable."""
        return self.from_ == 1


@dataclass(frozen=True, slots=True)
class SpecialDistribution:
    """A cash distribution that stays in the deliverable of the contracts then open."""

    ticker: str
    execution_date: date
    cash_per_share: float


#: A 4:1 split that re-strikes contracts, a 3:2 split that leaves WFC1 with 150 shares, and a
#: distribution that leaves CSCO1 with 100 shares and cash.
SPLITS: tuple[Split, ...] = (
    Split("AVGO", date(2026, 3, 9), 1, 4),
    Split("WFC", date(2026, 6, 15), 2, 3),
)
DISTRIBUTIONS: tuple[SpecialDistribution, ...] = (
    SpecialDistribution("CSCO", date(2026, 5, 11), 1.05),
)


@dataclass(frozen=True, slots=True)
class Dividend:
    """A cash dividend as declared: dollars per share of its own time."""

    ticker: str
    cash_amount: float
    declaration_date: date
    ex_dividend_date: date
    record_date: date
    pay_date: date
    frequency: int
    special: bool = False


@dataclass(frozen=True, slots=True)
class Earnings:
    """One quarterly report: when it comes, when its date became certain, how far it moves."""

    ticker: str
    report_date: date
    report_time: time
    projected_date: date
    projected_at: datetime
    announced_at: datetime
    fiscal_year: int
    fiscal_period: str
    estimated_eps: float
    actual_eps: float
    move: float

    @property
    def before_open(self) -> bool:
        """Whether the report precedes the opening bell of its date."""
        return self.report_time < time(9, 30)

    @property
    def reaction_date(self) -> date:
        """The session whose open first reflects the report."""
        return self.report_date if self.before_open else next_session(self.report_date)


def _known_session(day: date) -> date:
    return session_or_previous(min(max(day, first_session()), last_session()))


def _sessions_off(day: date, count: int) -> date:
    if count == 0:
        return day
    return next_session(day, count) if count > 0 else previous_session(day, -count)


def earnings_of(seed: int, stock: Stock) -> list[Earnings]:
    """Every quarterly report of the stock from late 2003 to late 2035, ascending.

    Funds report nothing. The announcement is made about three weeks ahead; before that the
    vendor shows a projected date, which in a third of cases is off by a session or two.
    """
    if stock.is_fund:
        return []
    offset = stable_hash(seed, "earnings offset", stock.ticker) % 30
    morning = stable_hash(seed, "earnings time", stock.ticker) % 5 < 2
    typical_move = 0.16 * stock.volatility
    reports = []
    for year in range(2003, 2036):
        for quarter in range(4):
            base = date(year, 3 * quarter + 1, 14) + timedelta(days=offset)
            if (
                not first_session() + timedelta(days=30)
                < base
                < last_session() - timedelta(days=20)
            ):
                continue
            draw = generator(seed, "earnings", stock.ticker, year, quarter)
            slip = draw.integers(-3, 4)
            day = session_or_previous(base + timedelta(days=int(slip)))
            if day.weekday() == 4:
                day = previous_session(day)
            wrong = int(draw.choice([-2, -1, 1, 2])) if draw.random() < 0.33 else 0
            announced = session_or_previous(day - timedelta(days=int(draw.integers(16, 27))))
            estimate = round(stock.level * 0.009 * (0.7 + 0.6 * draw.random()), 2)
            surprise = draw.normal()
            reports.append(
                Earnings(
                    ticker=stock.ticker,
                    report_date=day,
                    report_time=time(7, 0) if morning else time(16, 5),
                    projected_date=_sessions_off(day, wrong),
                    projected_at=datetime.combine(day - timedelta(days=85), time(6), EASTERN),
                    announced_at=datetime.combine(announced, time(16, 30), EASTERN),
                    fiscal_year=year if quarter else year - 1,
                    fiscal_period=f"Q{quarter or 4}",
                    estimated_eps=estimate,
                    actual_eps=round(estimate * (1 + 0.06 * surprise), 2),
                    move=float(typical_move * (0.45 * surprise + 0.9 * draw.normal())),
                )
            )
    return reports


def dividends_of(seed: int, stock: Stock, traded_close: Callable[[date], float]) -> list[Dividend]:
    """Quarterly cash dividends: a quarter of the yield on the close at their declaration."""
    if stock.dividend_yield == 0:
        return []
    month_offset = stable_hash(seed, "dividend month", stock.ticker) % 3
    day_of_month = 5 + stable_hash(seed, "dividend day", stock.ticker) % 20
    paid = []
    for year in range(2004, 2036):
        for quarter in range(4):
            ex = _known_session(date(year, 3 * quarter + 1 + month_offset, day_of_month))
            if not previous_session(last_session(), 30) > ex > next_session(first_session(), 40):
                continue
            declared = session_or_previous(ex - timedelta(days=24))
            amount = traded_close(declared) * stock.dividend_yield / 4
            paid.append(
                Dividend(
                    ticker=stock.ticker,
                    cash_amount=max(0.01, round(amount, 2)),
                    declaration_date=declared,
                    ex_dividend_date=ex,
                    record_date=ex,
                    pay_date=_known_session(ex + timedelta(days=21)),
                    frequency=4,
                )
            )
    for event in DISTRIBUTIONS:
        if event.ticker == stock.ticker:
            ex = event.execution_date
            paid.append(
                Dividend(
                    ticker=stock.ticker,
                    cash_amount=event.cash_per_share,
                    declaration_date=session_or_previous(ex - timedelta(days=30)),
                    ex_dividend_date=ex,
                    record_date=ex,
                    pay_date=_known_session(ex + timedelta(days=14)),
                    frequency=0,
                    special=True,
                )
            )
    return sorted(paid, key=lambda item: item.ex_dividend_date)


def splits_of(ticker: str) -> tuple[Split, ...]:
    """The scheduled splits of ``ticker``."""
    return tuple(split for split in SPLITS if split.ticker == ticker)


#: Years and vendor field of each maturity of the yield curve.
MATURITIES: Mapping[str, float] = MappingProxyType(
    {
        "yield_1_month": 1 / 12,
        "yield_3_month": 0.25,
        "yield_6_month": 0.5,
        "yield_1_year": 1.0,
        "yield_2_year": 2.0,
        "yield_3_year": 3.0,
        "yield_5_year": 5.0,
        "yield_7_year": 7.0,
        "yield_10_year": 10.0,
        "yield_20_year": 20.0,
        "yield_30_year": 30.0,
    }
)


def interest_rate(day: date, years: float | np.ndarray) -> np.ndarray:
    """The continuous rate for a maturity: a slow wave around 3.8 %, barely sloped."""
    level = 0.038 + 0.004 * np.sin(2 * np.pi * day.toordinal() / (365.25 * 7.0))
    return np.asarray(level + 0.0015 * np.log1p(np.asarray(years, dtype=np.float64)))
