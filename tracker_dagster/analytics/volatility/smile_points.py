"""Which contracts a smile rests on, how well each is known, and whether the vendor contradicts."""

from __future__ import annotations

import polars as pl

from tracker_dagster.instruments import settlement_column

#: What tells the expiries of one capture apart.
EXPIRY = ("underlying", "expiry", "settlement")
#: Columns of option_greeks that smiles are made from.
CONTRACT_COLUMNS = (
    "underlying", "root", "expiry", "right", "strike", "available_at", "is_standard", "spot",
    "price", "price_source", "years", "forward", "implied_volatility", "bid_volatility",
    "ask_volatility", "delta", "vega", "status", "vendor_volatility", "volume",
)  # fmt: skip

#: Most that half a quote may measure, as a fraction of the volatility in its middle.
_VAGUEST = 0.25
#: Volatilities are not known better than this, however narrow the quote.
_SHARPEST = 0.0005
#: A last trade is off by half a spread that was never seen: in dollars, and of the price.
_TRADE_CENTS, _TRADE_SHARE = 0.02, 0.02
#: Contracts in a usual trade; guesses how long ago the last one was.
_TRADE_SIZE = 5.0
_SESSIONS = 252.0

#: Fewest contracts from which the vendor is judged, and the least delta of those that count.
_COMPARED, _LIQUID_DELTA = 5, 0.05
#: Distance between volatilities that never counts as a contradiction.
_SAME = 0.005
_DAY = 1 / 365


def expiries(contracts: pl.DataFrame) -> pl.DataFrame:
    """One row an expiry that is still ahead: `EXPIRY`, ``available_at``, ``years``, ``forward``.

    Args:
        contracts: rows of option_greeks (`CONTRACT_COLUMNS`) of one capture, in any order.
    """
    return (
        contracts.lazy()
        .filter(pl.col("is_standard") & (pl.col("years") > 0))
        .with_columns(settlement_column())
        .group_by(EXPIRY)
        .agg(
            pl.col("available_at").max(),
            pl.col("years").first(),
            pl.col("forward").drop_nulls().first(),
        )
        .sort(EXPIRY)
        .collect()
    )


def smile_points(contracts: pl.DataFrame) -> pl.DataFrame:
    """The contracts that smiles are fitted to: puts below the forward, calls above it.

    The out-of-the-money side is the one that trades, and hardly depends on early exercise. Left
    out is what says little: adjusted contracts, those without a volatility, quotes wider than half
    the volatility in their middle.

    ``error`` is how far off a volatility may be: half of what lies between those of bid and ask.
    Of a last trade nobody knows the quote: two cents and two per cent of the price stand for half
    of it, and to that comes what the underlying is likely to have moved since, less where more
    contracts traded. Robust fitting sets the scale; here only the proportions matter.

    Args:
        contracts: rows of option_greeks (`CONTRACT_COLUMNS`) of one capture, in any order.

    Returns:
        `EXPIRY`, ``moneyness`` (ln of strike over forward), ``years``, ``volatility``, total
        ``variance``, ``error`` (of the volatility), ``bid_volatility``, ``ask_volatility``,
        ``vendor_volatility`` and ``delta``, sorted by expiry and moneyness.
    """
    strike, forward, volatility = pl.col("strike"), pl.col("forward"), pl.col("implied_volatility")
    outside = pl.when(pl.col("right") == "C").then(strike >= forward).otherwise(strike <= forward)
    half_quote = pl.coalesce(
        (pl.col("ask_volatility") - pl.col("bid_volatility")) / 2,
        pl.col("ask_volatility") - volatility,
        volatility - pl.col("bid_volatility"),
    )
    daily_move = pl.col("spot") * volatility / _SESSIONS**0.5
    since = 1 + pl.col("volume").fill_null(0.0) / _TRADE_SIZE
    half_trade = (
        _TRADE_CENTS
        + _TRADE_SHARE * pl.col("price")
        + pl.col("delta").abs() * daily_move / since.sqrt()
    ) / pl.col("vega")
    error = pl.when(pl.col("price_source") == "close").then(half_trade).otherwise(half_quote)
    return (
        contracts.lazy()
        .filter(
            pl.col("is_standard") & (pl.col("status") == "OK") & (pl.col("years") > 0) & outside
        )
        .select(
            "underlying",
            "expiry",
            settlement_column(),
            "years",
            "bid_volatility",
            "ask_volatility",
            "vendor_volatility",
            "delta",
            moneyness=(strike / forward).log(),
            volatility=volatility,
            error=error,
        )
        .filter(pl.col("error") <= _VAGUEST * pl.col("volatility"))
        .with_columns(
            pl.col("error").clip(lower_bound=_SHARPEST),
            variance=pl.col("volatility") ** 2 * pl.col("years"),
        )
        .sort(*EXPIRY, "moneyness", "volatility")
        .collect()
    )


def vendor_verdicts(points: pl.DataFrame) -> pl.DataFrame:
    """Whether the vendor's volatilities contradict the very quotes they came with.

    A contract contradicts where the two volatilities lie further apart than the whole width of
    its quote (and than half a volatility point), and further than a day more or less to expiry
    would explain: vendors count days in their own ways. An expiry contradicts where more than half
    of at least five contracts with a delta of 0.05 or more do; one with fewer is judged by all of
    its underlying's. Then quotes or underlying are stale, or the expiry is dated wrongly, and a
    smile of them would be nobody's.

    Args:
        points: as `smile_points` gives them.

    Returns:
        `EXPIRY`, ``vendor_gap`` (median distance, null where nothing could be compared) and
        ``contradicts``.
    """
    gap = (pl.col("volatility") - pl.col("vendor_volatility")).abs()
    width = (pl.col("ask_volatility") - pl.col("bid_volatility")).fill_null(2 * pl.col("error"))
    a_day = pl.col("volatility") * (_DAY / 2 / pl.col("years")).clip(upper_bound=0.5)
    apart = gap > pl.max_horizontal(width, _SAME) + a_day
    compared = (
        points.filter(
            pl.col("vendor_volatility").is_not_null() & (pl.col("delta").abs() >= _LIQUID_DELTA)
        )
        .select(*EXPIRY, gap=gap, apart=apart)
        .with_columns(
            chain_count=pl.len().over("underlying"),
            chain_share=pl.col("apart").mean().over("underlying"),
        )
        .group_by(EXPIRY)
        .agg(
            vendor_gap=pl.col("gap").median(),
            count=pl.len(),
            share=pl.col("apart").mean(),
            chain_count=pl.col("chain_count").first(),
            chain_share=pl.col("chain_share").first(),
        )
    )
    own = pl.col("count") >= _COMPARED
    return compared.select(
        *EXPIRY,
        "vendor_gap",
        contradicts=pl.when(own)
        .then(pl.col("share") > 0.5)
        .otherwise((pl.col("chain_count") >= _COMPARED) & (pl.col("chain_share") > 0.5)),
    )
