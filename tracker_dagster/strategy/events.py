"""Earnings, ex-dividend dates and splits between a decision and an expiry."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl

from tracker_dagster.strategy.known import Calendar, calendar_at

#: Category whose members report no earnings.
FUNDS = "ETF"
#: Source whose rows of a ticker stand instead of every vendor's.
OWN_CALENDAR = "csv"
#: Parts of corporate actions that are collected each by itself: of the universe and benchmarks.
DIVIDENDS, SPLITS = "dividends", "splits"
#: The part that says that the dividends of every ticker were collected.
ALL_DIVIDENDS = "dividends_all"

_NOT_WHOLE = "none known, and the calendar was collected or changed after the decision"


def earnings_flags(
    tickers: pl.DataFrame,
    earnings: pl.DataFrame | None,
    day: date,
    expiry: date,
    decision_at: datetime,
    max_age_days: int,
    collections: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """``ticker``, ``earnings_in_period`` and ``earnings_note`` for each of ``tickers``.

    A report before the open of the decision day is behind us; one after the close of the
    expiration day comes too late to matter. A calendar known as a whole that has no date for a
    ticker says no; where it is not known as a whole, or there is none, the flag is null. Dates
    of the user's own CSV stand instead of all that a vendor says of the ticker. Funds do not
    report.

    Args:
        tickers: ``ticker``, ``category``.
        earnings: rows of earnings_calendar, or None.
        day: session of the decision.
        expiry: last day of the period.
        decision_at: what came later is not used.
        max_age_days: an older calendar counts as none.
        collections: rows of reference_collections, any datasets; None where each session that
            has rows counts as a whole calendar.
    """
    calendars = _earnings_calendars(earnings, collections, day, decision_at, max_age_days)
    dates = _own_dates_first(calendars, day).filter(
        pl.col("report_date").is_between(day, expiry)
        & ~((pl.col("report_date") == day) & (pl.col("report_time") == "bmo"))
        & ~((pl.col("report_date") == expiry) & (pl.col("report_time") == "amc"))
    )
    first = (
        dates.sort("report_date", "report_time", "status")
        .unique("ticker", keep="first", maintain_order=True)
        .select(
            "ticker",
            found=pl.format("{} {} ({})", "report_date", "report_time", "status"),
        )
    )
    own = _own_tickers(calendars, day)
    is_whole = bool(calendars) and all(c.whole_on is not None for c in calendars.values())
    said_no = (pl.col("category") == FUNDS) | pl.col("ticker").is_in(own.implode()) | is_whole
    if is_whole:
        absent = f"none listed through {expiry}"
    else:
        absent = _NOT_WHOLE if calendars else "no earnings calendar known"
    return (
        tickers.select("ticker", "category")
        .join(first, on="ticker", how="left")
        .select(
            "ticker",
            earnings_in_period=pl.when(pl.col("found").is_not_null())
            .then(pl.lit(value=True))
            .when(said_no)
            .then(pl.lit(value=False)),
            earnings_note=pl.when(pl.col("found").is_not_null())
            .then("found")
            .when(pl.col("category") == FUNDS)
            .then(pl.lit("funds report no earnings"))
            .when(pl.col("ticker").is_in(own.implode()))
            .then(pl.lit(f"none listed through {expiry}"))
            .otherwise(pl.lit(absent)),
        )
    )


def _earnings_calendars(
    earnings: pl.DataFrame | None,
    collections: pl.DataFrame | None,
    day: date,
    decision_at: datetime,
    max_age_days: int,
) -> dict[str, Calendar]:
    """The calendar of each source that was asked within the age."""
    if earnings is None:
        return {}
    asked = None if collections is None else _of(collections, "earnings_calendar")
    sources = set(earnings["source"]) | (set() if asked is None else set(asked["source"]))
    calendars = {
        source: calendar_at(
            earnings.filter(pl.col("source") == source),
            None if asked is None else asked.filter(pl.col("source") == source),
            decision_at,
            day,
            max_age_days,
        )
        for source in sorted(sources)
    }
    return {source: calendar for source, calendar in calendars.items() if calendar.is_seen}


def _own_tickers(calendars: dict[str, Calendar], day: date) -> pl.Series:
    """Tickers for which the user's own file has a date still to come."""
    if OWN_CALENDAR not in calendars:
        return pl.Series("ticker", [], dtype=pl.String)
    rows = calendars[OWN_CALENDAR].rows
    return rows.filter(pl.col("report_date") >= day)["ticker"].unique()


def _own_dates_first(calendars: dict[str, Calendar], day: date) -> pl.DataFrame:
    """Dates of all sources, but those of the user's own file alone where it has any."""
    wanted = ("ticker", "report_date", "report_time", "status")
    own = _own_tickers(calendars, day)
    dates = [
        calendar.rows.filter(
            pl.lit(source == OWN_CALENDAR) | ~pl.col("ticker").is_in(own.implode())
        ).select(wanted)
        for source, calendar in calendars.items()
    ]
    schema = dict(zip(wanted, (pl.String, pl.Date, pl.String, pl.String), strict=True))
    return pl.concat([pl.DataFrame(schema=schema), *dates])


def corporate_action_flags(
    tickers: pl.DataFrame,
    actions: pl.DataFrame | None,
    day: date,
    expiry: date,
    decision_at: datetime,
    max_age_days: int,
    collections: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """``ex_dividend_in_period`` and ``split_in_period``, each with its note, a row a ticker.

    The period begins after ``day``: who buys on the ex-date has no right to the dividend. A flag
    is null, with the reason in its note, where it is not known whether there is one: the vendor
    does not say when a split was announced, so those ahead of a past day are known only from
    what was stored while that day was current.

    Args:
        tickers: ``ticker``.
        actions: rows of corporate_actions, or None.
        day: session of the decision.
        expiry: last day of the period.
        decision_at: what came later is not used.
        max_age_days: older sessions count as none.
        collections: rows of reference_collections, any datasets; None where each session that
            has rows counts as whole.
    """
    base = tickers.select("ticker")
    currency = pl.col("currency").str.to_uppercase().fill_null("USD")
    for name, part, action, words in (
        (
            "ex_dividend",
            DIVIDENDS,
            "dividend",
            pl.format("{} ({} {})", "ex_date", "cash_amount", currency),
        ),
        (
            "split",
            SPLITS,
            "split",
            pl.format("{} ({}:{})", "ex_date", "split_to", "split_from"),
        ),
    ):
        flags = _action_flag(
            base, actions, collections, part, action, words, day, expiry, decision_at, max_age_days
        )
        base = base.join(
            flags.rename({"flag": f"{name}_in_period", "note": f"{name}_note"}),
            on="ticker",
            how="left",
        )
    return base


def _action_flag(
    tickers: pl.DataFrame,
    actions: pl.DataFrame | None,
    collections: pl.DataFrame | None,
    part: str,
    action: str,
    words: pl.Expr,
    day: date,
    expiry: date,
    decision_at: datetime,
    max_age_days: int,
) -> pl.DataFrame:
    """``ticker``, ``flag`` and ``note`` of one kind of action."""
    if actions is None:
        return tickers.with_columns(
            flag=pl.lit(None, dtype=pl.Boolean), note=pl.lit(f"no {part} known")
        )
    if collections is None:
        # Rows of either kind show that the session's actions were collected.
        asked = actions.select("trade_date", "available_at")
    else:
        asked = _of(collections, "corporate_actions").filter(pl.col("subject") == part)
    ahead = actions.filter((pl.col("action") == action) & (pl.col("ex_date") > day))
    calendar = calendar_at(ahead, asked, decision_at, day, max_age_days)
    found = (
        calendar.rows.filter(pl.col("ex_date") <= expiry)
        .sort("ex_date", "action_id")
        .unique("ticker", keep="first", maintain_order=True)
        .select("ticker", found=words)
    )
    if calendar.whole_on is not None:
        absent = f"none known through {expiry}"
    else:
        absent = (
            f"none known, and the {part} ahead were not collected before the decision"
            if calendar.is_seen
            else f"no {part} known"
        )
    said_no = pl.lit(calendar.whole_on is not None)
    return tickers.join(found, on="ticker", how="left").select(
        "ticker",
        flag=pl.when(pl.col("found").is_not_null())
        .then(pl.lit(value=True))
        .when(said_no)
        .then(pl.lit(value=False)),
        note=pl.col("found").fill_null(absent),
    )


def _of(collections: pl.DataFrame, dataset: str) -> pl.DataFrame:
    return collections.filter(pl.col("dataset") == dataset)
