"""Tables about instruments: universe membership, listed contracts, corporate actions, earnings."""

from __future__ import annotations

import dataframely as dy
import polars as pl

from tracker_dagster.schemas.base import (
    Kind,
    OptionTerms,
    Table,
    available_at,
    count,
    flag,
    instant,
    number,
    source,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together

_REST = "massive_rest_api"


class Universe(dy.Schema):
    """Membership of the universe as of a session."""

    trade_date = trade_date()
    ticker = text("ticker", key=True)
    category = text("category of seed/universe.csv, or UNCATEGORIZED")
    enabled = flag("whether picks are made for it")
    available_at = available_at()


class OptionContracts(OptionTerms):
    """One row a listed, unexpired contract of the universe as of a session."""

    trade_date = trade_date()
    symbol = text("OPRA ticker with its O: prefix", key=True)
    source = text("feed the row came from")
    available_at = available_at()
    exercise_style = text("american, european or bermudan", nullable=True)
    shares_per_contract = number("shares delivered by one contract", "shares", above=0)
    primary_exchange = text("MIC of the listing exchange", nullable=True)
    cfi = text("ISO 10962 code", nullable=True)
    additional_underlyings = text("other deliverables, as the vendor's JSON", nullable=True)
    is_standard = flag("100 shares of the underlying and nothing else")


class CorporateActions(dy.Schema):
    """Splits and cash dividends as they were known on a session.

    Dividends of every US ticker, because options are valued on more than the universe; splits of
    the universe: of the 380 days before, which past prices are read with. Both to 60 days ahead.
    """

    trade_date = trade_date()
    ticker = text("ticker", key=True)
    action = dy.String(primary_key=True, regex=r"^(split|dividend)$", description="kind of action")
    ex_date = dy.Date(
        primary_key=True, description="day of the split or the ex-date of the dividend"
    )
    action_id = text("the vendor's identity of the action", key=True)
    source = text("feed and endpoint the row came from")
    available_at = available_at()
    declared_on = dy.Date(nullable=True, description="declaration date; null where unknown")
    split_from = number("old shares of a split", "shares", above=0)
    split_to = number("new shares of a split", "shares", above=0)
    cash_amount = number("dividend as paid, not split-adjusted", "USD per share", at_least=0)
    pay_date = dy.Date(nullable=True, description="payment date of a dividend")
    distribution_type = text(
        "recurring, special, supplemental, irregular or unknown; null where not said", nullable=True
    )
    currency = text("currency of cash_amount; null where not said", nullable=True)

    @dy.rule()
    def is_complete(cls) -> pl.Expr:
        """A split has its ratio, a dividend its amount."""
        return (
            pl.when(pl.col("action") == "split")
            .then(pl.col("split_from").is_not_null() & pl.col("split_to").is_not_null())
            .otherwise(pl.col("cash_amount").is_not_null())
        )


class EarningsCalendar(dy.Schema):
    """Earnings dates as they were known on a session, from its date to 60 days ahead."""

    trade_date = trade_date()
    ticker = text("ticker", key=True)
    report_date = dy.Date(primary_key=True, description="date of the report, New York")
    source = source()
    available_at = available_at()
    report_time = text("bmo, amc, during or unknown")
    status = text("confirmed or projected")
    announced_at = instant("when the date was last announced or changed")


class ReferenceCollections(dy.Schema):
    """That a calendar was asked for and answered as a whole, be it with no rows.

    A calendar without a row of a ticker says "none" only where this says that it is whole.
    """

    trade_date = trade_date()
    dataset = text("table that the answer is in", key=True)
    subject = text(
        "part of it: splits, dividends (both of the universe and the benchmarks), "
        "dividends_all (of every ticker); * for all",
        key=True,
    )
    source = text("feed the answer came from", key=True)
    available_at = instant(
        "since when the answer had been as it was; what was decided before cannot tell absence",
        nullable=False,
    )
    rows_count = count("rows it gave", "rows", nullable=False)


UNIVERSE = Table(
    "universe",
    Universe,
    ("trade_date",),
    Kind.DERIVED,
    "Tickers that picks are made for, with category, as the ledger had them on that day.",
    made_from=together(
        computed("ticker category", "ledger.payload"),
        computed("enabled", "ledger.kind", "ledger.effective_at"),
    ),
)
OPTION_CONTRACTS = Table(
    "option_contracts",
    OptionContracts,
    ("trade_date",),
    Kind.MARKET,
    "Listed contracts of the universe as of the session, adjusted ones marked.",
    made_from=together(
        straight(_REST, symbol="ticker", underlying="underlying_ticker"),
        straight("universe", underlying="ticker"),
        computed("root expiry right strike", f"{_REST}.ticker"),
        straight(_REST, "exercise_style", "shares_per_contract", "primary_exchange", "cfi"),
        straight(_REST, "additional_underlyings"),
        computed(
            "is_standard",
            f"{_REST}.ticker",
            f"{_REST}.shares_per_contract",
            f"{_REST}.additional_underlyings",
        ),
    ),
)
CORPORATE_ACTIONS = Table(
    "corporate_actions",
    CorporateActions,
    ("trade_date",),
    Kind.MARKET,
    "Cash dividends of every ticker and splits of the universe known on the session: up to 60 days "
    "ahead, and the splits of the 380 days before.",
    made_from=together(
        straight("universe", "ticker"),
        straight(_REST, "ticker", "split_from", "split_to", "cash_amount", "pay_date"),
        straight(_REST, "distribution_type", "currency"),
        straight(_REST, distribution_type="dividend_type"),
        computed("ex_date", f"{_REST}.execution_date", f"{_REST}.ex_dividend_date"),
        straight(_REST, action_id="id", declared_on="declaration_date"),
        computed(
            "available_at",
            f"{_REST}.declaration_date",
            f"{_REST}.execution_date",
            f"{_REST}.ex_dividend_date",
        ),
    ),
)
EARNINGS_CALENDAR = Table(
    "earnings_calendar",
    EarningsCalendar,
    ("trade_date", "source"),
    Kind.MARKET,
    "Earnings dates of the universe known on the session, up to 60 days ahead.",
    source_preference=("csv", "massive_benzinga"),
    made_from=together(
        straight("universe", "ticker"),
        straight(_REST, "ticker", report_date="date", report_time="time", status="date_status"),
        straight(_REST, announced_at="last_updated"),
    ),
)

REFERENCE_COLLECTIONS = Table(
    "reference_collections",
    ReferenceCollections,
    ("trade_date", "dataset", "source"),
    Kind.CAPTURED,
    "Which reference calendars were answered as a whole, and since when they had been so: tells "
    "an empty answer from none.",
)

TABLES = (
    UNIVERSE,
    OPTION_CONTRACTS,
    CORPORATE_ACTIONS,
    EARNINGS_CALENDAR,
    REFERENCE_COLLECTIONS,
)
