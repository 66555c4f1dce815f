"""The table of one-minute bars of chosen option contracts."""

from __future__ import annotations

from tracker_dagster.schemas.base import (
    Kind,
    OptionTerms,
    Table,
    available_at,
    count,
    flag,
    instant,
    number,
    price,
    source,
    text,
    trade_date,
)
from tracker_dagster.schemas.lineage import computed, straight, together
from tracker_dagster.schemas.market import Bar

_REST = "massive_rest_api"
_SYMBOLS = (
    "weekly_picks.symbol",
    "pick_candidates.symbol",
    "promotions.symbol",
    "ledger.payload",
    "option_chain.symbol",
    "option_day_aggs.symbol",
)


class OptionBars1m(Bar, OptionTerms):
    """One row a chosen contract and minute in which it traded."""

    trade_date = trade_date()
    symbol = text("OPRA ticker with its O: prefix", key=True)
    start = instant("start of the minute", key=True)
    source = source()
    available_at = available_at()
    is_regular = flag("within the regular session")
    volume = number("contracts traded", "contracts", at_least=0)
    vwap = price("volume-weighted average price; null where not sent", nullable=True)
    transactions = count("number of trades; null where the feed does not say")
    chosen_as = text(
        "why it is followed: pick, model (a model would sell it instead), promotion, position, "
        "benchmark; several joined by +"
    )


OPTION_BARS_1M = Table(
    "option_bars_1m",
    OptionBars1m,
    ("trade_date", "source"),
    Kind.MARKET,
    "One-minute bars of the contracts that are picked, held, or at the money on a benchmark, as "
    "traded (the vendor never adjusts option prices).",
    source_preference=("massive_rest",),
    made_from=together(
        computed("symbol underlying root expiry right strike", *_SYMBOLS),
        computed(
            "chosen_as",
            "weekly_picks.status",
            "weekly_picks.fft_status",
            "weekly_picks.fractal_status",
            "pick_candidates.choice_rank",
            "promotions.decision",
            "ledger.payload",
            "option_chain.strike",
            "option_chain.underlying_price",
            "market_last.price",
            "option_day_aggs.strike",
            "stock_day_aggs.close",
        ),
        computed("trade_date start is_regular available_at", f"{_REST}.t"),
        straight(_REST, open="o", high="h", low="l", close="c"),
        straight(_REST, volume="v", vwap="vw", transactions="n"),
    ),
)

TABLES = (OPTION_BARS_1M,)
