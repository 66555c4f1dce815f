"""What is measured of one open position at a slot: prices, results, triggers, doubtful data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from tracker_dagster import trading_calendar
from tracker_dagster.analytics.dividends import CORPORATE_ACTIONS
from tracker_dagster.strategy.settings import HealthSettings

Row = Mapping[str, Any]

_GREEKS = ("implied_volatility", "delta", "gamma", "theta", "vega")
#: The vendor's vega is per volatility point, ours per 1.00.
_POINTS = 100.0
#: Where a mark is from.
MIDDLE, HALF_ASK = "mid", "half_ask"
#: What compares prices of today with a strike, a basis or a number of shares from before a split.
_OF_OTHER_SHARES = (
    "moneyness", "time_value", "premium_captured", "option_pnl", "stock_pnl", "total_pnl",
    "closed_pnl", "assigned_pnl", "delta_gain", "early_assignment",
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What was seen of a position's contract and underlying; empty rows where nothing was.

    Attributes:
        price: row of market_last.
        quote: row of option_chain.
        greeks: row of option_greeks.
        close_before: split-adjusted close of the session before, USD per share.
        splits: ex-dates of splits of the underlying.
        dividends: ex-dates ahead and their amounts, ascending.
        dividend_source: what is known of them, as `dividend_sources` says it.
    """

    price: Row
    quote: Row
    greeks: Row
    close_before: float | None
    splits: Sequence[date]
    dividends: Sequence[tuple[date, float]]
    dividend_source: str | None


def is_sold(position: Row) -> bool:
    """Whether the position owes the option."""
    return bool(position["quantity"] < 0)


def inside(position: Row, stock: float) -> float:
    """How far the option is in the money, USD a share; negative out of it."""
    gap = stock - float(position["strike"])
    return gap if position["right"] == "C" else -gap


def measures(position: Row, seen: Seen, day: date) -> dict[str, Any]:
    """Prices of a position and what follows from them; null where an input is.

    Results are in USD for all its contracts, fees included. ``closed_pnl`` is what is made if all
    is closed now: the option at its ask (its bid where it was bought), the shares at their price.
    ``assigned_pnl`` is what is made if the option is exercised against the position: shares called
    away at the strike, or put to it at the strike and worth their price. ``delta_gain`` is what
    closing brings more; the basis of the shares is in both and cancels out. After a split all that
    compares today's prices with those of the opening is null.
    """
    stock = seen.price.get("price")
    bid, ask, mid = (seen.quote.get(name) for name in ("bid", "ask", "mid"))
    mark, mark_source = _mark(position, seen.quote, stock)
    strike, opened = position["strike"], position["open_price"]
    units = position["shares"] * position["quantity"]
    fees, basis = position["fees"], position["stock_basis"]
    dte = (position["expiry"] - day).days
    sold = is_sold(position)
    covered = sold and position["right"] == "C"
    closing = ask if sold else bid
    option_pnl = _sum(_times(_less(mark, opened), units), _times(fees, -1.0))
    at_close = _sum(_times(_less(closing, opened), units), _times(fees, -1.0))
    stock_pnl = _times(_less(stock, basis), -units) if covered else None
    if not sold:
        assigned = None
    elif covered:
        assigned = _sum(-opened * units - (fees or 0.0), _times(_less(strike, basis), -units))
    else:
        assigned = _sum(-opened * units - (fees or 0.0), _times(_less(stock, strike), -units))
    gain = None
    if sold and stock is not None and ask is not None:
        gain = -units * (inside(position, stock) - ask)
    found = {
        "stock_price": stock,
        "bid": bid,
        "ask": ask,
        "mid": mid,
        "mark": mark,
        "mark_source": mark_source,
        "spread_pct": None if bid is None or ask is None or mid is None else (ask - bid) / mid,
        "dte": dte,
        "moneyness": None if stock is None else stock / strike - 1,
        "time_value": None
        if stock is None or mark is None
        else mark - max(0.0, inside(position, stock)),
        "premium_captured": None if mark is None or not sold or not opened else 1 - mark / opened,
        "remaining_yield": None
        if closing is None or stock is None or dte <= 0 or not sold
        else closing / stock * 365 / dte,
        "day_change": None
        if stock is None or not seen.close_before
        else stock / seen.close_before - 1,
        "option_pnl": option_pnl,
        "stock_pnl": stock_pnl,
        "total_pnl": _sum(option_pnl, stock_pnl) if covered else option_pnl,
        "closed_pnl": _sum(at_close, stock_pnl) if covered else at_close,
        "assigned_pnl": None if fees is None else assigned,
        "delta_gain": gain,
        **_sensitivities(seen),
        **early_assignment(position, seen, day),
    }
    if splits_since_opening(position, seen, day):
        found |= dict.fromkeys(_OF_OTHER_SHARES)
        found["early_assignment_note"] = "the stock has split: strike and shares have changed"
    return found


def _mark(position: Row, quote: Row, stock: float | None) -> tuple[float | None, str | None]:
    """What a share of the option is valued at, and how; nulls where that is not known.

    Where nobody bids for an option out of the money its value lies between nothing and the ask.
    """
    mid, bid, ask = (quote.get(name) for name in ("mid", "bid", "ask"))
    if mid is not None:
        return mid, MIDDLE
    out = stock is not None and inside(position, stock) <= 0
    if out and bid is None and ask is not None and ask > 0:
        return ask / 2, HALF_ASK
    return None, None


def splits_since_opening(position: Row, seen: Seen, day: date) -> list[date]:
    """Ex-dates since the position was opened: its strike, shares and basis are of before."""
    opened = trading_calendar.trading_date(position["opened_at"])
    return [ex_date for ex_date in seen.splits if opened < ex_date <= day]


def _sensitivities(seen: Seen) -> dict[str, Any]:
    """Volatility and Greeks of the contract, ours, or the vendor's in our units."""
    if seen.greeks.get("delta") is not None:
        return {**{name: seen.greeks.get(name) for name in _GREEKS}, "greeks_source": "ours"}
    theirs = {name: seen.quote.get(name) for name in _GREEKS}
    if theirs["delta"] is None:
        return {**dict.fromkeys(_GREEKS), "greeks_source": None}
    theirs["vega"] = _times(theirs["vega"], _POINTS)
    return {**theirs, "greeks_source": "vendor"}


def early_assignment(position: Row, seen: Seen, day: date) -> dict[str, Any]:
    """Whether a sold call may be exercised for a dividend before its expiry.

    Exercise on the evening before an ex-date pays where what is left of time value is less than
    the dividend (Hull, Options, Futures and Other Derivatives, 10th ed., section 15.12). Null
    where the price, the quote or the dividends are not known.
    """
    if position["right"] != "C" or not is_sold(position):
        return {"early_assignment": False, "early_assignment_note": None, "ex_date": None}
    ahead = [pair for pair in seen.dividends if day < pair[0] <= position["expiry"]]
    if not ahead:
        known = seen.dividend_source == CORPORATE_ACTIONS
        note = None if known else f"dividends are not known: {seen.dividend_source or 'not asked'}"
        return {
            "early_assignment": False if known else None,
            "early_assignment_note": note,
            "ex_date": None,
        }
    ex_date, amount = ahead[0]
    stock, mid = seen.price.get("price"), seen.quote.get("mid")
    note = f"{amount:.2f} USD ex {ex_date}"
    if stock is None:
        risk = None
    elif inside(position, stock) <= 0:
        risk = False
    elif mid is None:
        risk = None
    else:
        left = mid - inside(position, stock)
        risk = left < amount
        note += f" against {left:.2f} USD of time value"
    return {"early_assignment": risk, "early_assignment_note": note, "ex_date": ex_date}


def triggers(position: Row, view: Row, settings: HealthSettings) -> dict[str, bool | None]:
    """The limits that the position has passed; null where that cannot be told."""
    moneyness, change, spread = view["moneyness"], view["day_change"], view["spread_pct"]
    depth = None if moneyness is None else moneyness * (1 if position["right"] == "C" else -1)
    return {
        "near_strike": None if moneyness is None else abs(moneyness) < settings.near_strike,
        "deep_itm": None if depth is None else depth > settings.deep_itm,
        "rapid_up": None if change is None else change > settings.rapid_up,
        "wide_spread": None if spread is None else spread > settings.wide_spread,
    }


def anomalies(
    position: Row, seen: Seen, view: Row, day: date, slot: datetime, settings: HealthSettings
) -> list[str]:
    """Codes of what is wrong with the data of a position, in a fixed order."""
    found = []
    stock = view["stock_price"]
    if stock is None:
        found.append("no_stock_price")
    elif _older(seen.price.get("price_at"), slot, settings.max_price_age_minutes):
        found.append("stale_stock_price")
    if not seen.quote:
        found.append("contract_not_in_chain")
    elif view["mark"] is None:
        found.append(f"quote_{seen.quote['quote_status'].lower()}")
    elif _older(seen.quote.get("quote_at"), slot, settings.max_quote_age_minutes):
        found.append("stale_quote")
    found += _impossible(seen.quote)
    if seen.quote.get("is_standard") is False:
        found.append("adjusted_contract")
    if view["time_value"] is not None and view["time_value"] < -settings.time_value_slack:
        found.append("mid_below_intrinsic")
    if position["expiry"] < day:
        found.append("expired_but_open")
    if splits_since_opening(position, seen, day):
        found.append("split_since_opening")
    return found


def _impossible(quote: Row) -> list[str]:
    """What no market can quote. Tables turn such rows away; other sources may not."""
    bid, ask = quote.get("bid"), quote.get("ask")
    delta, volatility = quote.get("delta"), quote.get("implied_volatility")
    found = []
    if any(value is not None and value < 0 for value in (bid, ask)):
        found.append("negative_quote")
    if bid is not None and ask is not None and bid > ask and quote.get("quote_status") == "OK":
        found.append("quote_crossed")
    if delta is not None and abs(delta) > 1.0001 and quote.get("is_standard") is not False:
        found.append("delta_above_one")
    if volatility is not None and volatility <= 0:
        found.append("volatility_not_positive")
    return found


def _older(moment: datetime | None, now: datetime, minutes: float) -> bool:
    return moment is not None and now - moment > timedelta(minutes=minutes)


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
