"""The vendor's end-of-day Greeks and open interest over REST.

Only the vendor's prose on these endpoints is known: the fields beyond ticker, underlying_ticker and
date have the names of that prose, and the units of the chain snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta

import numpy as np
from scipy.special import ndtr

from tracker_dagster.marketsim.server.wire import (
    TIMEFRAME_MESSAGE,
    Call,
    Row,
    arrange,
    bad_request,
    field_filter,
    listing,
    not_entitled,
    page_of,
    resume,
)
from tracker_dagster.marketsim.world.chain import ChainState, Terms
from tracker_dagster.marketsim.world.listings import Chain
from tracker_dagster.marketsim.world.randomness import Floats
from tracker_dagster.trading_calendar import (
    EASTERN,
    first_session,
    next_session,
    previous_session,
    session_on,
    session_or_previous,
    sessions_between,
)

_BEFORE_CLOSE = timedelta(minutes=15)
_MOST_DAYS = 400
#: When the open interest of the session before is there.
_MORNING = time(7)


def option_analytics(call: Call) -> Row:
    """``/options/v1/analytics``: a row a listed contract and session before today."""
    offset = resume(call)
    by_underlying = field_filter(call, "underlying_ticker")

    def rows_of(name: str, day: date) -> list[Row]:
        return _greeks_of(call, name, day) if by_underlying(name) else []

    newest = call.today - timedelta(days=1)
    return _answer(call, offset, rows_of, "underlying_ticker", newest)


def open_interest(call: Call) -> Row:
    """``/options/v1/open-interest``: a row a listed contract and session, once the next opens."""
    offset = resume(call)
    by_root = field_filter(call, "root")

    def rows_of(name: str, day: date) -> list[Row]:
        chain = call.sim.chains.listings.chain(name, day)
        chain = chain.take(np.array([by_root(str(root)) for root in chain.root], dtype=bool))
        return _interest_of(call, chain, day) if len(chain) else []

    # What is open on a Friday is told on Monday morning, not on Saturday.
    is_morning = call.now.astimezone(EASTERN).time() >= _MORNING
    told_on = session_or_previous(call.today) if is_morning else previous_session(call.today)
    return _answer(call, offset, rows_of, "root", previous_session(told_on))


def _answer(
    call: Call,
    offset: int,
    rows_of: Callable[[str, date], list[Row]],
    field: str,
    newest: date,
) -> Row:
    """The page at ``offset`` of the rows of sessions up to ``newest``."""
    size = call.limit(100, 5000)
    if not call.sim.plan.snapshots:
        raise not_entitled()
    days = _days(call, newest)
    by_ticker = field_filter(call, "ticker")
    rows = [
        row
        for name in call.sim.chains.listings.underlyings
        for day in days
        for row in rows_of(name, day)
        if by_ticker(row["ticker"])
    ]
    rows = arrange(call, rows, ("ticker", field, "date"), "ticker.asc")
    return listing(call, page_of(call, rows, offset, size))


def _days(call: Call, newest: date) -> list[date]:
    """Sessions that the ``date`` conditions admit, those after ``newest`` left out."""
    test = field_filter(call, "date")
    known = sessions_between(first_session(), newest)
    days = [day for day in known if test(day.isoformat())]
    if len(days) > _MOST_DAYS:
        raise bad_request("Could not serve so many days at once: set date or date.gte.")
    years = call.sim.plan.option_years
    oldest = date.min if years is None else call.today - timedelta(days=round(365.25 * years))
    if days and days[0] < oldest:
        raise not_entitled(TIMEFRAME_MESSAGE)
    return days


def _greeks_of(call: Call, underlying: str, day: date) -> list[Row]:
    """Rows of one chain, kept for the pages that follow."""

    def make() -> list[Row]:
        moment = session_on(day).close - _BEFORE_CLOSE
        return _rows(call, call.sim.chains.state(underlying, moment), day)

    rows: list[Row] = call.sim.snapshots.get(("analytics", underlying, day), make)
    return rows


def _rows(call: Call, state: ChainState, day: date) -> list[Row]:
    chain = state.chain
    terms = call.sim.chains.terms(
        chain,
        state.moment,
        state.spot,
        call.sim.world.volatility_at(chain.option_class.path, state.moment),
        state.years,
        call.sim.chains.dividends_ahead(chain.option_class, state.moment),
    )
    is_priced = state.has_greeks & ~np.isnan(state.implied)
    results = {
        "implied_volatility": state.implied,
        "delta": state.greeks.delta,
        "gamma": state.greeks.gamma,
        "theta": state.greeks.theta,
        "vega": state.greeks.vega,
        "rho": _rho(terms, chain.is_call) * chain.factor,
    }
    inputs = {
        "underlying_price": np.full(len(chain), state.spot),
        "dividend_yield": -np.log(terms.net_spot / state.spot) / terms.years,
        "risk_free_rate": terms.rate,
    }
    return [
        {
            "ticker": str(chain.ticker[n]),
            "underlying_ticker": chain.option_class.underlying,
            "date": day.isoformat(),
            **{
                name: round(float(column[n]), 9) if is_priced[n] else None
                for name, column in results.items()
            },
            **{name: round(float(column[n]), 9) for name, column in inputs.items()},
        }
        for n in range(len(chain))
    ]


def _rho(terms: Terms, is_call: np.ndarray) -> Floats:
    """Change of a European option's value per percentage point of the rate."""
    t = terms
    deviation = t.volatility * np.sqrt(t.years)
    d2 = (np.log(t.net_spot / t.strike) + t.rate * t.years) / deviation - deviation / 2
    sign = np.where(is_call, 1.0, -1.0)
    return np.asarray(
        sign * t.strike * t.years * np.exp(-t.rate * t.years) * ndtr(sign * d2) / 100.0
    )


def _interest_of(call: Call, chain: Chain, day: date) -> list[Row]:
    """What was open of each contract at the end of ``day``: what the next session's chain shows."""
    interest = call.sim.chains.open_interest(chain, next_session(day))
    return [
        {
            "ticker": str(chain.ticker[n]),
            "underlying_ticker": chain.option_class.underlying,
            "root": str(chain.root[n]),
            "contract_type": "call" if chain.is_call[n] else "put",
            "expiration_date": date.fromordinal(int(chain.expiry[n])).isoformat(),
            "strike_price": float(chain.strike[n]),
            "date": day.isoformat(),
            "open_interest": int(interest[n]),
        }
        for n in range(len(chain))
    ]
