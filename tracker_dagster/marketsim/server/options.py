"""Options over REST: contracts as listed on a day, and the chain snapshot of the moment."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker_dagster.marketsim.server.option_symbols import find_contract
from tracker_dagster.marketsim.server.wire import (
    Call,
    Row,
    arrange,
    bad_request,
    field_filter,
    listing,
    nanoseconds,
    not_entitled,
    not_found,
    number,
    page_of,
    paginate,
    parse_day,
    resume,
)
from tracker_dagster.marketsim.world import tape as tapes
from tracker_dagster.marketsim.world.chain import ChainState
from tracker_dagster.marketsim.world.listings import Chain
from tracker_dagster.marketsim.world.tape import OptionBars, Tape
from tracker_dagster.trading_calendar import (
    current_session,
    is_session,
    previous_session,
    session_on,
)

_EXCHANGES = np.array([300, 301, 302, 304, 307, 308, 312, 313, 316, 319, 320, 322, 323, 325])
_STALE_SESSIONS = 3  # how far back the snapshot looks for a contract's latest day bar
_MAX_EXPIRED_WEEKS = 160


# --- reference ----------------------------------------------------------------------------


def _contract_row(chain: Chain, row: int) -> Row:
    option_class = chain.option_class
    adjusted = chain.factor[row] != 1 or chain.cash[row] != 0
    exercise = "E" if option_class.european else "A"
    side = "C" if chain.is_call[row] else "P"
    asset, delivery = ("I", "C") if option_class.is_index else ("S", "P")
    body: Row = {
        "cfi": f"O{side}{exercise}{asset}{delivery}{'N' if adjusted else 'S'}",
        "contract_type": "call" if side == "C" else "put",
        "exercise_style": "european" if option_class.european else "american",
        "expiration_date": date.fromordinal(int(chain.expiry[row])).isoformat(),
        "primary_exchange": "XCBO" if option_class.is_index else "BATO",
        "shares_per_contract": round(100 * float(chain.factor[row])),
        "strike_price": number(chain.strike[row]),
        "ticker": str(chain.ticker[row]),
        "underlying_ticker": option_class.underlying,
    }
    if adjusted:
        body["correction"] = 1
    if chain.cash[row]:
        cash = number(100 * float(chain.cash[row]))
        body["additional_underlyings"] = [{"amount": cash, "type": "currency", "underlying": "USD"}]
    return body


def _listed(call: Call, underlying: str, as_of: date, expired: bool) -> list[Row]:
    """Contracts of one underlying as listed on ``as_of``; with ``expired`` those before too."""
    listings = call.sim.chains.listings
    chain = listings.chain(underlying, as_of)
    rows = {str(t): _contract_row(chain, n) for n, t in enumerate(chain.ticker)}
    if not expired:
        return list(rows.values())
    asked = call.text("expiration_date") or call.text("expiration_date.gte")
    oldest = parse_day(asked, "expiration_date") if asked else as_of - timedelta(days=120)
    day = as_of
    for _ in range(_MAX_EXPIRED_WEEKS):
        day -= timedelta(days=7)
        if day < oldest - timedelta(days=7):
            break
        past = listings.chain(underlying, day - timedelta(days=day.weekday()))
        for n, ticker in enumerate(past.ticker):
            if str(ticker) not in rows:
                rows[str(ticker)] = _contract_row(past, n)
    return list(rows.values())


def _as_of(call: Call) -> date:
    """The asked day, never later than today: nobody can list contracts from the future."""
    return min(call.day("as_of") or call.today, call.today)


def contracts(call: Call) -> Row:
    """``/v3/reference/options/contracts``."""
    offset = resume(call)
    size = call.limit(10, 1000)
    as_of = _as_of(call)
    expired = call.flag("expired", False)
    kind = call.text("contract_type")
    if kind not in (None, "call", "put", "other"):
        raise bad_request("contract_type must be call, put or other.")
    by_underlying = field_filter(call, "underlying_ticker")
    names = [u for u in call.sim.chains.listings.underlyings if by_underlying(u)]
    if (ticker := call.text("ticker")) is not None:
        found = find_contract(call.sim.chains.listings, ticker)
        names = [found.underlying] if found is not None and found.underlying in names else []
    tests = {
        "expiration_date": field_filter(call, "expiration_date"),
        "strike_price": field_filter(call, "strike_price", number=True),
        "ticker": field_filter(call, "ticker"),
    }
    rows = [
        row
        for name in names
        for row in _listed(call, name, as_of, expired)
        if kind in (None, row["contract_type"])
        and all(test(row[field]) for field, test in tests.items())
    ]
    rows = arrange(
        call, rows, ("ticker", "underlying_ticker", "expiration_date", "strike_price"), "ticker"
    )
    return listing(call, page_of(call, rows, offset, size))


def contract(call: Call) -> Row:
    """``/v3/reference/options/contracts/{ticker}``."""
    ticker = call.request.path_params["ticker"]
    as_of = _as_of(call)
    found = find_contract(call.sim.chains.listings, ticker)
    if found is not None:
        chain = call.sim.chains.listings.chain(found.underlying, as_of)
        if (row := chain.position(ticker)) is not None:
            return {
                "status": "OK",
                "request_id": call.request_id,
                "results": _contract_row(chain, row),
            }
    raise not_found("Options contract not found.")


# --- snapshot -----------------------------------------------------------------------------


class _DayBars:
    """Latest day bars of a chain's contracts, and their latest prints."""

    def __init__(self, call: Call, state: ChainState) -> None:
        market = call.sim.tapes
        underlying = state.chain.option_class.underlying
        day = current_session(state.moment)
        self.rows: list[tuple[int, OptionBars, int, Tape, int] | None] = [None] * len(state.chain)
        self.previous: list[float | None] = [None] * len(state.chain)
        position = {str(t): n for n, t in enumerate(state.chain.ticker)}
        for age in range(_STALE_SESSIONS + 1):
            at = day if age == 0 else previous_session(day, age)
            tape = market.tape(underlying, at)
            if age == 0:
                tape = tape.before(market.minutes_elapsed(at, state.moment))
            bars = tapes.bars(tape)
            last_print = np.searchsorted(tape.row, bars.row, side="right") - 1
            for n, row in enumerate(bars.row):
                here = position.get(str(tape.chain.ticker[row]))
                if here is None:
                    continue
                held = self.rows[here]
                if held is None:
                    self.rows[here] = (age, bars, n, tape, int(last_print[n]))
                elif self.previous[here] is None:
                    self.previous[here] = float(bars.close[n])


def _day_bars(call: Call, state: ChainState) -> _DayBars:
    key = (state.chain.option_class.underlying, state.moment)
    return call.sim.snapshots.get(key, lambda: _DayBars(call, state))


def _day_object(bars: _DayBars, here: int) -> Row:
    held = bars.rows[here]
    if held is None:
        return {}
    _, table, n, _, _ = held
    close = float(table.close[n])
    body: Row = {
        "close": number(close),
        "high": number(table.high[n]),
        "last_updated": int(table.start[n]),
        "low": number(table.low[n]),
        "open": number(table.open[n]),
        "volume": int(table.volume[n]),
        "vwap": number(table.vwap[n]),
    }
    before = bars.previous[here]
    if before:
        body["change"] = number(close - before)
        body["change_percent"] = number(100 * (close / before - 1), 3)
        body["previous_close"] = number(before)
    return body


def _last_trade(call: Call, bars: _DayBars, here: int) -> Row | None:
    held = bars.rows[here]
    if held is None:
        return None
    _, _, _, tape, last = held
    opening = nanoseconds(session_on(tape.day).open)
    within = (int(tape.price[last] * 100) * 7919 + last * 104_729) % 60_000
    return {
        "conditions": [209],
        "exchange": int(_EXCHANGES[last % _EXCHANGES.size]),
        "price": number(tape.price[last]),
        "sip_timestamp": opening + int(tape.minute[last]) * 60_000_000_000 + within * 1_000_000,
        "size": int(max(1, tape.size[last] // max(1, tape.transactions[last]))),
        "timeframe": call.sim.plan.timeframe,
    }


def _snapshot_row(
    call: Call, state: ChainState, bars: _DayBars, interest: NDArray[np.int64], n: int, bare: bool
) -> Row:
    chain, plan = state.chain, call.sim.plan
    option_class = chain.option_class
    is_call = bool(chain.is_call[n])
    strike = float(chain.strike[n])
    mid = (float(state.bid[n]) + float(state.ask[n])) / 2
    break_even = strike + mid if is_call else strike - mid
    body: Row = {
        "break_even_price": number(break_even),
        "day": _day_object(bars, n),
        "details": {
            "contract_type": "call" if is_call else "put",
            "exercise_style": "european" if option_class.european else "american",
            "expiration_date": date.fromordinal(int(chain.expiry[n])).isoformat(),
            "shares_per_contract": round(100 * float(chain.factor[n])),
            "strike_price": number(strike),
            "ticker": str(chain.ticker[n]),
        },
    }
    if state.has_greeks[n] and not bare:
        greeks = state.greeks
        body["greeks"] = {
            "delta": round(float(greeks.delta[n]), 9),
            "gamma": round(float(greeks.gamma[n]), 9),
            "theta": round(float(greeks.theta[n]), 9),
            "vega": round(float(greeks.vega[n]), 9),
        }
    if not np.isnan(state.implied[n]) and not bare:
        body["implied_volatility"] = round(float(state.implied[n]), 9)
    if plan.quotes:
        body["last_quote"] = {
            "ask": number(state.ask[n]),
            "ask_exchange": int(_EXCHANGES[n % _EXCHANGES.size]),
            "ask_size": int(state.ask_size[n]),
            "bid": number(state.bid[n]),
            "bid_exchange": int(_EXCHANGES[(n * 5 + 3) % _EXCHANGES.size]),
            "bid_size": int(state.bid_size[n]),
            "last_updated": nanoseconds(state.moment) - (n * 7919 % 4000) * 1_000_000,
            "midpoint": number(mid),
            "timeframe": plan.timeframe,
        }
    if plan.trades and (trade := _last_trade(call, bars, n)) is not None:
        body["last_trade"] = trade
    body["open_interest"] = int(interest[n])
    price_name = "value" if option_class.is_index else "price"
    body["underlying_asset"] = {
        "change_to_break_even": number(break_even - state.spot),
        "last_updated": nanoseconds(state.moment),
        price_name: number(state.spot),
        "ticker": option_class.path,
        "timeframe": plan.timeframe,
    }
    return body


def _state(call: Call, underlying: str) -> ChainState:
    if not call.sim.plan.snapshots:
        raise not_entitled()
    return call.sim.chains.state(underlying, call.visible_until)


def _interest(call: Call, state: ChainState) -> NDArray[np.int64]:
    if call.sim.faults.take(call.path, frozenset({"open_interest_flip_flop"})) is None:
        return state.open_interest
    day = current_session(state.moment)
    return call.sim.chains.open_interest(
        state.chain, previous_session(day) if is_session(day) else day
    )


def _path_underlying(call: Call) -> str | None:
    """``SPY`` for SPY, ``SPX`` for I:SPX; None where the path names no underlying with options."""
    named: str = call.request.path_params["underlying"]
    plain = named.removeprefix("I:")
    known = call.sim.chains.listings.classes.get(plain)
    return plain if known is not None and known.is_index == named.startswith("I:") else None


def chain_snapshot(call: Call) -> Row:
    """``/v3/snapshot/options/{underlying}``."""
    offset = resume(call)
    size = call.limit(10, 250)
    underlying = _path_underlying(call)
    if underlying is None:
        if not call.sim.plan.snapshots:
            raise not_entitled()
        return listing(call, page_of(call, [], 0, size))
    state = _state(call, underlying)
    chain = state.chain
    order = _selected(call, chain)
    bars = _day_bars(call, state)
    interest = _interest(call, state)
    bare = call.sim.faults.take(call.path, frozenset({"drop_greeks"})) is not None

    def build(first: int, end: int) -> list[Row]:
        return [_snapshot_row(call, state, bars, interest, int(n), bare) for n in order[first:end]]

    return listing(call, paginate(call, len(order), offset, size, build))


def _selected(call: Call, chain: Chain) -> NDArray[np.int64]:
    kind = call.text("contract_type")
    if kind not in (None, "call", "put"):
        raise bad_request("contract_type must be call or put.")
    strike_test = field_filter(call, "strike_price", number=True)
    expiry_test = field_filter(call, "expiration_date")
    expiries = {e: expiry_test(date.fromordinal(e).isoformat()) for e in set(chain.expiry.tolist())}
    keep = [
        n
        for n, (e, k, c) in enumerate(
            zip(chain.expiry.tolist(), chain.strike.tolist(), chain.is_call.tolist(), strict=True)
        )
        if expiries[e] and (kind is None or (kind == "call") == c) and strike_test(k)
    ]
    chosen = np.array(keep, dtype=np.int64)
    columns: dict[str, Any] = {
        "ticker": chain.ticker,
        "expiration_date": chain.expiry,
        "strike_price": chain.strike,
    }
    name = call.text("sort", "ticker") or "ticker"
    if name not in columns:
        raise bad_request(f"Invalid sort field: '{name}'.")
    order = chosen[np.lexsort((chosen, columns[name][chosen]))] if keep else chosen
    return order[::-1] if call.text("order") == "desc" else order


def contract_snapshot(call: Call) -> Row:
    """``/v3/snapshot/options/{underlying}/{contract}``."""
    underlying = _path_underlying(call)
    if underlying is None:
        raise not_found("Options contract not found.")
    state = _state(call, underlying)
    row = state.chain.position(call.request.path_params["contract"])
    if row is None:
        raise not_found("Options contract not found.")
    bars = _day_bars(call, state)
    bare = call.sim.faults.take(call.path, frozenset({"drop_greeks"})) is not None
    result = _snapshot_row(call, state, bars, _interest(call, state), row, bare)
    return {"status": "OK", "request_id": call.request_id, "results": result}
