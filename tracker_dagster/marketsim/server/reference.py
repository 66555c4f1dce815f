"""Reference data over REST: tickers, dividends, splits, yields, earnings, corporate events."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from hashlib import md5
from typing import Any

from tracker_dagster.marketsim.server.wire import (
    Call,
    Row,
    arrange,
    bad_request,
    field_filter,
    listing,
    not_entitled,
    not_found,
    page_of,
    resume,
)
from tracker_dagster.marketsim.world.events import (
    MATURITIES,
    Dividend,
    Earnings,
    Split,
    interest_rate,
)
from tracker_dagster.marketsim.world.securities import INDICES, Stock
from tracker_dagster.trading_calendar import EASTERN, sessions_between


def _identifier(*parts: Any) -> str:
    return "E" + md5("|".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def _filtered(
    call: Call, rows: Iterable[Row], texts: Iterable[str], numbers: Iterable[str] = ()
) -> list[Row]:
    tests = {name: field_filter(call, name) for name in texts}
    tests |= {name: field_filter(call, name, number=True) for name in numbers}
    return [row for row in rows if all(test(row[name]) for name, test in tests.items())]


def _asked(call: Call) -> list[str]:
    """Universe tickers that the ``ticker`` conditions admit."""
    test = field_filter(call, "ticker")
    return [ticker for ticker in sorted(call.sim.world.universe) if test(ticker)]


# --- tickers ------------------------------------------------------------------------------


def _ticker_row(call: Call, stock: Stock) -> Row:
    kind = "ETF" if stock.is_fund else "ADRC" if "ADR" in stock.name else "CS"
    return {
        "active": True,
        "currency_name": "usd",
        "last_updated_utc": f"{call.today}T00:00:00Z",
        "locale": "us",
        "market": "stocks",
        "name": stock.name,
        "primary_exchange": "ARCX" if stock.is_fund else "XNAS",
        "ticker": stock.ticker,
        "type": kind,
    }


def _index_row(call: Call, name: str) -> Row:
    return {
        "active": True,
        "last_updated_utc": f"{call.today}T00:00:00Z",
        "locale": "us",
        "market": "indices",
        "name": INDICES[name].name,
        "source_feed": "CBOE",
        "ticker": f"I:{name}",
        "type": "INDEX",
    }


def tickers(call: Call) -> Row:
    """``/v3/reference/tickers``."""
    offset = resume(call)
    size = call.limit(100, 1000)
    world = call.sim.world
    rows: list[Row] = []
    if call.flag("active", True):
        rows = [_ticker_row(call, world.stock(ticker)) for ticker in world.stock_tickers]
        rows += [_index_row(call, name) for name in INDICES]
    tests = {name: field_filter(call, name) for name in ("ticker", "type", "market")}
    words = (call.text("search") or "").lower()
    rows = [
        row
        for row in rows
        if all(test(row[name]) for name, test in tests.items())
        and words in f"{row['ticker']} {row['name']}".lower()
    ]
    rows = arrange(call, rows, ("ticker", "name", "market", "type", "primary_exchange"), "ticker")
    return listing(call, page_of(call, rows, offset, size), count=True)


def ticker(call: Call) -> Row:
    """``/v3/reference/tickers/{ticker}``."""
    name = call.request.path_params["ticker"]
    world = call.sim.world
    if name.startswith("I:") and name[2:] in INDICES:
        row = _index_row(call, name[2:])
    elif world.has_stock(name):
        stock = world.stock(name)
        shares = int(2.6e8 * max(stock.popularity, 0.05) / stock.level * 90)
        price = world.price_at(name, call.visible_until)
        row = _ticker_row(call, stock) | {
            "list_date": "2003-09-10",
            "market_cap": round(shares * price, 2),
            "round_lot": 100,
            "share_class_shares_outstanding": shares,
            "weighted_shares_outstanding": shares,
        }
    else:
        raise not_found("Ticker not found.")
    return {"status": "OK", "request_id": call.request_id, "results": row}


# --- dividends and splits -----------------------------------------------------------------


def _declared(call: Call) -> list[Dividend]:
    """Dividends of the asked tickers that are declared by now."""
    return [
        paid
        for name in _asked(call)
        for paid in call.sim.world.dividends(name)
        if paid.declaration_date <= call.today
    ]


def _dividend_row(paid: Dividend) -> Row:
    return {
        "cash_amount": paid.cash_amount,
        "currency": "USD",
        "declaration_date": paid.declaration_date.isoformat(),
        "ex_dividend_date": paid.ex_dividend_date.isoformat(),
        "frequency": paid.frequency,
        "id": _identifier("dividend", paid.ticker, paid.ex_dividend_date),
        "pay_date": paid.pay_date.isoformat(),
        "record_date": paid.record_date.isoformat(),
        "ticker": paid.ticker,
    }


def legacy_dividends(call: Call) -> Row:
    """``/v3/reference/dividends``."""
    offset = resume(call)
    size = call.limit(10, 1000)
    rows = [
        _dividend_row(p) | {"dividend_type": "SC" if p.special else "CD"} for p in _declared(call)
    ]
    dates = ("ex_dividend_date", "record_date", "declaration_date", "pay_date")
    rows = _filtered(call, rows, (*dates, "dividend_type"), ("frequency", "cash_amount"))
    rows = arrange(call, rows, (*dates, "ticker", "cash_amount"), "ex_dividend_date", "desc")
    return listing(call, page_of(call, rows, offset, size))


def dividends(call: Call) -> Row:
    """``/stocks/v1/dividends``."""
    offset = resume(call)
    size = call.limit(100, 5000)
    world = call.sim.world
    rows = []
    for paid in _declared(call):
        shares = world.split_factor(paid.ticker, paid.ex_dividend_date, call.today)
        rows.append(
            _dividend_row(paid)
            | {
                "distribution_type": "special" if paid.special else "recurring",
                "historical_adjustment_factor": _dividend_factor(call, paid),
                "split_adjusted_cash_amount": round(paid.cash_amount / shares, 6),
            }
        )
    rows = _filtered(call, rows, ("ex_dividend_date", "distribution_type"), ("frequency",))
    rows = arrange(call, rows, ("ticker", "ex_dividend_date", "frequency"), "ticker.asc")
    return listing(call, page_of(call, rows, offset, size))


def _dividend_factor(call: Call, paid: Dividend) -> float:
    """Product of (1 - amount / price before) over this dividend and the later ones by now."""
    world, factor = call.sim.world, 1.0
    path = world.path(paid.ticker)
    for later in world.dividends(paid.ticker):
        if paid.ex_dividend_date <= later.ex_dividend_date <= call.today:
            t = world.session_index(later.ex_dividend_date) - 1
            price = path.close[t] * world.split_factor(paid.ticker, later.ex_dividend_date)
            factor *= 1 - later.cash_amount / price
    return round(float(factor), 6)


def _known_splits(call: Call) -> list[Split]:
    """Splits announced by now: a month before they happen."""
    wanted = set(_asked(call))
    return [
        split
        for split in call.sim.world.splits()
        if split.ticker in wanted and split.execution_date - timedelta(days=30) <= call.today
    ]


def _split_row(split: Split) -> Row:
    return {
        "execution_date": split.execution_date.isoformat(),
        "id": _identifier("split", split.ticker, split.execution_date),
        "split_from": split.from_,
        "split_to": split.to,
        "ticker": split.ticker,
    }


def legacy_splits(call: Call) -> Row:
    """``/v3/reference/splits``."""
    offset = resume(call)
    size = call.limit(10, 1000)
    reverse = call.text("reverse_split")
    found = [
        s for s in _known_splits(call) if reverse is None or (s.from_ > s.to) == (reverse == "true")
    ]
    rows = _filtered(call, [_split_row(s) for s in found], ("execution_date",))
    rows = arrange(call, rows, ("execution_date", "ticker"), "execution_date", "desc")
    return listing(call, page_of(call, rows, offset, size))


def splits(call: Call) -> Row:
    """``/stocks/v1/splits``."""
    offset = resume(call)
    size = call.limit(100, 5000)
    rows = [
        _split_row(s)
        | {
            "adjustment_type": "forward_split" if s.to > s.from_ else "reverse_split",
            "historical_adjustment_factor": round(s.from_ / s.to, 6),
        }
        for s in _known_splits(call)
    ]
    rows = _filtered(call, rows, ("execution_date", "adjustment_type"))
    rows = arrange(call, rows, ("execution_date", "ticker"), "execution_date.desc")
    return listing(call, page_of(call, rows, offset, size))


# --- rates --------------------------------------------------------------------------------


def treasury_yields(call: Call) -> Row:
    """``/fed/v1/treasury-yields``: bond-equivalent percent, sessions before today."""
    offset = resume(call)
    size = call.limit(100, 50000)
    test = field_filter(call, "date")
    days = sessions_between(date(2003, 9, 10), call.today - timedelta(days=1))
    kept = [day for day in days if test(day.isoformat())]
    order = call.text("sort", "date.asc")
    if order not in ("date.asc", "date.desc", "date"):
        raise bad_request("Invalid sort field.")
    if order == "date.desc":
        kept.reverse()
    rows = page_of(call, [{"date": day} for day in kept], offset, size)
    filled = [
        {"date": row["date"].isoformat()}
        | {
            name: round(
                200 * float(2.718281828459045 ** (interest_rate(row["date"], t) / 2) - 1), 2
            )
            for name, t in MATURITIES.items()
        }
        for row in rows.rows
    ]
    return listing(call, type(rows)(filled, rows.next_url))


# --- earnings -----------------------------------------------------------------------------


def _visible_reports(call: Call) -> Iterable[tuple[Stock, Earnings]]:
    for name in _asked(call):
        for report in call.sim.world.earnings(name):
            if report.projected_at <= call.now:
                yield call.sim.world.universe[name], report


def _reported_at(report: Earnings) -> datetime:
    return datetime.combine(report.report_date, report.report_time, EASTERN)


def earnings(call: Call) -> Row:
    """``/benzinga/v1/earnings``: an add-on; a projected date may differ from the confirmed one."""
    offset = resume(call)
    if not call.sim.earnings_addon:
        raise not_entitled()
    size = call.limit(100, 50000)
    rows = []
    for stock, report in _visible_reports(call):
        confirmed = report.announced_at <= call.now
        reported = _reported_at(report) + timedelta(minutes=2) <= call.now
        updated = report.announced_at if confirmed else report.projected_at
        row: Row = {
            "benzinga_id": _identifier("earnings", stock.ticker, report.report_date)[1:25],
            "company_name": stock.name,
            "currency": "USD",
            "date": (report.report_date if confirmed else report.projected_date).isoformat(),
            "date_status": "confirmed" if confirmed else "projected",
            "eps_method": "adj",
            "estimated_eps": report.estimated_eps,
            "fiscal_period": report.fiscal_period,
            "fiscal_year": report.fiscal_year,
            "importance": 5 if stock.popularity > 10 else 3,
            "ticker": stock.ticker,
        }
        if confirmed:
            row["time"] = report.report_time.isoformat()
        if reported:
            updated = _reported_at(report) + timedelta(minutes=2)
            surprise = report.actual_eps - report.estimated_eps
            row["actual_eps"] = report.actual_eps
            row["eps_surprise"] = round(surprise, 4)
            row["eps_surprise_percent"] = round(100 * surprise / report.estimated_eps, 4)
        row["last_updated"] = f"{updated.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        rows.append(row)
    texts = ("date", "last_updated", "date_status", "fiscal_period")
    rows = _filtered(call, rows, texts, ("importance", "fiscal_year"))
    fields = ("last_updated", "date", "ticker", "importance")
    rows = arrange(call, rows, fields, "last_updated.desc")
    return listing(call, page_of(call, rows, offset, size))


def _dividend_event(call: Call, paid: Dividend) -> Row:
    record = _identifier("tmx dividend", paid.ticker, paid.ex_dividend_date)[1:17]
    return {
        "company_name": call.sim.world.universe[paid.ticker].name,
        "date": paid.ex_dividend_date.isoformat(),
        "name": "Dividend",
        "status": "historical" if paid.ex_dividend_date <= call.today else "confirmed",
        "ticker": paid.ticker,
        "tmx_record_id": record,
        "trading_venue": "XNAS",
        "type": "dividend",
    }


def corporate_events(call: Call) -> Row:
    """``/tmx/v1/corporate-events``: earnings announcements and dividends."""
    offset = resume(call)
    if not call.sim.earnings_addon:
        raise not_entitled()
    size = call.limit(100, 50000)
    rows: list[Row] = []
    for stock, report in _visible_reports(call):
        confirmed = report.announced_at <= call.now
        past = _reported_at(report) <= call.now
        when = "Before Mkt" if report.before_open else "After Mkt"
        rows.append(
            {
                "company_name": stock.name,
                "date": (report.report_date if confirmed else report.projected_date).isoformat(),
                "name": f"{report.fiscal_period} {report.fiscal_year} Earnings Announcement-{when}",
                "status": "historical" if past else "confirmed" if confirmed else "unconfirmed",
                "ticker": stock.ticker,
                "tmx_record_id": _identifier("tmx", stock.ticker, report.report_date)[1:17],
                "trading_venue": "XNAS",
                "type": "earnings_announcement_date",
            }
        )
    rows += [_dividend_event(call, paid) for paid in _declared(call)]
    rows = _filtered(call, rows, ("date", "type", "status", "trading_venue"))
    rows = arrange(call, rows, ("date", "ticker", "type"), "date.desc")
    return listing(call, page_of(call, rows, offset, size))
