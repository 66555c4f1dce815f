"""Views over the tables: names and columns of the integration guide that users bring along.

A view holds nothing of its own. Its SQL is constant text put together from what is declared here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class ViewColumn(NamedTuple):
    """One column: its name, DuckDB type, the expression that gives it, and what it means."""

    name: str
    sql_type: str
    expression: str
    meaning: str


@dataclass(frozen=True, slots=True)
class View:
    """A named query over tables.

    Attributes:
        name: name in DuckDB.
        description: one sentence for people.
        reads: tables that it is over; a file that lacks one of them does not get the view.
        columns: what it shows, in order.
        source: the SQL from ``FROM`` on.
        left_out: columns that the guide has and the view has not, and why.
    """

    name: str
    description: str
    reads: tuple[str, ...]
    columns: tuple[ViewColumn, ...]
    source: str
    left_out: str = ""

    @property
    def sql(self) -> str:
        """The query that the view stands for."""
        shown = ",\n  ".join(f'{column.expression} AS "{column.name}"' for column in self.columns)
        return f"SELECT\n  {shown}\n{self.source}"


_BASIS = "snapshot or day_file: two separate series, pick one"
_TRADE_DATE = ViewColumn("trade_date", "DATE", "t.trade_date", "exchange session, New York date")
_AVAILABLE_AT = ViewColumn(
    "available_at", "TIMESTAMPTZ", "t.available_at", "when this could first be known"
)

HISTORICAL_GREEKS = View(
    "historical_greeks",
    "Implied volatility and Greeks of each contract at each capture slot or session close.",
    ("option_greeks", "option_chain", "iv_percentile"),
    (
        ViewColumn("symbol", "VARCHAR", "t.underlying", "ticker of the underlying"),
        ViewColumn("contract_ticker", "VARCHAR", "t.symbol", "OPRA ticker with its O: prefix"),
        ViewColumn("strike", "DOUBLE", "t.strike", "strike price, USD per share"),
        ViewColumn("expiration", "DATE", "t.expiry", "expiration date"),
        ViewColumn("timestamp", "TIMESTAMPTZ", "t.slot", "capture slot; the close for day files"),
        ViewColumn("delta", "DOUBLE", "t.delta", "per USD of the underlying"),
        ViewColumn("gamma", "DOUBLE", "t.gamma", "change of delta per USD"),
        ViewColumn("theta", "DOUBLE", "t.theta", "USD per calendar day"),
        ViewColumn("vega", "DOUBLE", "t.vega", "USD per 1.00 of volatility"),
        ViewColumn("rho", "DOUBLE", "t.rho", "USD per 1.00 of the rate"),
        ViewColumn("implied_volatility", "DOUBLE", "t.implied_volatility", "1.00 = 100 % a year"),
        ViewColumn(
            "iv_rank", "DOUBLE", "p.iv_rank", "of the underlying, at the day's last slot only"
        ),
        ViewColumn(
            "iv_percentile",
            "DOUBLE",
            "p.iv_percentile",
            "of the underlying, at the day's last slot only",
        ),
        ViewColumn("underlying_price", "DOUBLE", "t.spot", "USD per share"),
        ViewColumn("dte", "BIGINT", "t.expiry - t.trade_date", "calendar days to the expiration"),
        ViewColumn(
            "option_type",
            "VARCHAR",
            "CASE t.\"right\" WHEN 'C' THEN 'call' ELSE 'put' END",
            "call or put",
        ),
        ViewColumn("bid", "DOUBLE", "c.bid", "best bid; null for day files"),
        ViewColumn("ask", "DOUBLE", "c.ask", "best ask; null for day files"),
        ViewColumn(
            "last",
            "DOUBLE",
            "CASE t.price_source WHEN 'close' THEN t.price ELSE c.last_price END",
            "last trade",
        ),
        ViewColumn(
            "mid_price",
            "DOUBLE",
            "CASE t.price_source WHEN 'mid' THEN t.price END",
            "mean of bid and ask; null where there is no whole quote",
        ),
        ViewColumn("volume", "DOUBLE", "t.volume", "contracts traded this session"),
        ViewColumn(
            "open_interest", "BIGINT", "t.open_interest", "contracts open after the session before"
        ),
        _TRADE_DATE,
        ViewColumn("basis", "VARCHAR", "t.basis", _BASIS),
        ViewColumn("status", "VARCHAR", "t.status", "OK, or why there is no volatility"),
        _AVAILABLE_AT,
    ),
    """\
FROM option_greeks t
LEFT JOIN option_chain c
  ON c.trade_date = t.trade_date AND c.symbol = t.symbol
  AND c.slot = CASE t.basis WHEN 'snapshot' THEN t.slot END
LEFT JOIN iv_percentile p
  ON p.trade_date = t.trade_date AND p.basis = t.basis AND p.slot = t.slot
  AND p.underlying = t.underlying""",
)

GAMMA_EXPOSURE_SNAPSHOTS = View(
    "gamma_exposure_snapshots",
    "Gamma exposure of each underlying at each capture slot, under the naive sign.",
    ("gamma_exposure",),
    (
        ViewColumn("symbol", "VARCHAR", "t.underlying", "ticker of the underlying"),
        ViewColumn("timestamp", "TIMESTAMPTZ", "t.slot", "capture slot"),
        ViewColumn("underlying_price", "DOUBLE", "t.spot", "USD per share"),
        ViewColumn(
            "total_gamma",
            "DOUBLE",
            "t.gross_gamma_usd_per_1pct",
            "calls and puts together, USD per 1 % move",
        ),
        ViewColumn(
            "call_gamma", "DOUBLE", "t.call_gamma_usd_per_1pct", "USD per 1 % move, positive"
        ),
        ViewColumn("put_gamma", "DOUBLE", "t.put_gamma_usd_per_1pct", "USD per 1 % move, positive"),
        ViewColumn(
            "gamma_skew",
            "DOUBLE",
            "t.call_gamma_usd_per_1pct / nullif(t.put_gamma_usd_per_1pct, 0)",
            "call gamma over put gamma",
        ),
        ViewColumn("total_call_oi", "BIGINT", "t.call_open_interest", "contracts, session before"),
        ViewColumn("total_put_oi", "BIGINT", "t.put_open_interest", "contracts, session before"),
        ViewColumn("put_call_oi_ratio", "DOUBLE", "t.put_call_open_interest", "puts over calls"),
        ViewColumn("total_call_volume", "DOUBLE", "t.call_volume", "contracts this session"),
        ViewColumn("total_put_volume", "DOUBLE", "t.put_volume", "contracts this session"),
        ViewColumn("put_call_volume_ratio", "DOUBLE", "t.put_call_volume", "puts over calls"),
        ViewColumn(
            "gamma_wall_resistance", "DOUBLE", "t.call_wall", "strike with the largest call gamma"
        ),
        ViewColumn(
            "gamma_wall_support", "DOUBLE", "t.put_wall", "strike with the largest put gamma"
        ),
        ViewColumn(
            "dealer_net_gamma",
            "DOUBLE",
            "t.net_gamma_naive_usd_per_1pct",
            "calls less puts (naive sign), USD per 1 % move",
        ),
        ViewColumn(
            "dealer_positioning",
            "VARCHAR",
            "CASE sign(t.net_gamma_naive_usd_per_1pct)"
            " WHEN 1 THEN 'LONG_GAMMA' WHEN -1 THEN 'SHORT_GAMMA' WHEN 0 THEN 'NEUTRAL' END",
            "the sign of dealer_net_gamma in words; there is no neutral band",
        ),
        ViewColumn(
            "distance_to_resistance_pct",
            "DOUBLE",
            "100 * (t.call_wall / t.spot - 1)",
            "percent that the resistance lies above the price; negative below it",
        ),
        ViewColumn(
            "distance_to_support_pct",
            "DOUBLE",
            "100 * (1 - t.put_wall / t.spot)",
            "percent that the support lies below the price; negative above it",
        ),
        ViewColumn("expiration_focus", "DATE", "t.expiry_focus", "expiry with most open interest"),
        ViewColumn("gamma_flip", "DOUBLE", "t.gamma_flip", "price at which the net gamma turns"),
        ViewColumn("max_pain", "DOUBLE", "t.max_pain", "strike that pays holders least"),
        ViewColumn("naive_sign", "VARCHAR", "t.naive_sign", "plausible for indices, else doubtful"),
        ViewColumn("reason", "VARCHAR", "t.reason", "why the net gamma is null"),
        _TRADE_DATE,
        _AVAILABLE_AT,
    ),
    "FROM gamma_exposure t",
    "`gamma_by_strike`, `oi_by_strike` and the strikes of largest open interest: see the table "
    "`gamma_by_strike`. `volume_by_strike`, the strikes of largest volume and the strength of the "
    "walls are not kept. `total_gamma_notional` is `total_gamma` in another unit (100 times as "
    "much). `positioning_strength` and `expected_behavior` have no definition that holds over "
    "symbols of different size. `expirations_included`: see `gamma_by_expiry`.",
)

IV_PERCENTILE_CACHE = View(
    "iv_percentile_cache",
    "Where each underlying's 30-day implied volatility stands in its last 252 sessions, daily.",
    ("iv_percentile",),
    (
        ViewColumn("symbol", "VARCHAR", "t.underlying", "ticker of the underlying"),
        ViewColumn("date", "DATE", "t.trade_date", "exchange session, New York date"),
        ViewColumn("current_iv", "DOUBLE", "t.iv_30d", "30-day at-the-money volatility"),
        ViewColumn("iv_52w_high", "DOUBLE", 't."high"', "highest of the history"),
        ViewColumn("iv_52w_low", "DOUBLE", 't."low"', "lowest of the history"),
        ViewColumn("iv_52w_mean", "DOUBLE", "t.mean", "mean of the history"),
        ViewColumn("iv_52w_median", "DOUBLE", "t.median", "median of the history"),
        ViewColumn("iv_52w_stddev", "DOUBLE", "t.deviation", "standard deviation of the history"),
        ViewColumn("iv_rank", "DOUBLE", "t.iv_rank", "(current - low) / (high - low), 0 to 1"),
        ViewColumn("iv_percentile", "DOUBLE", "t.iv_percentile", "share of days below, 0 to 1"),
        ViewColumn("iv_zscore", "DOUBLE", "t.zscore", "(current - mean) / deviation"),
        ViewColumn("iv_regime", "VARCHAR", "t.regime", "EXTREMELY_LOW to EXTREMELY_HIGH"),
        ViewColumn("iv_change_5d", "DOUBLE", "t.change_5d", "relative change over 5 sessions"),
        ViewColumn("iv_change_20d", "DOUBLE", "t.change_20d", "relative change over 20 sessions"),
        ViewColumn("iv_trend", "VARCHAR", "t.trend", "EXPANDING, STABLE or CONTRACTING"),
        ViewColumn(
            "skew_25d_30d", "DOUBLE", "t.skew_25d_30d", "25-delta put less call, at 30 days"
        ),
        ViewColumn(
            "skew_percentile", "DOUBLE", "t.skew_percentile", "share of days with less skew"
        ),
        ViewColumn("data_points_52w", "BIGINT", "t.history_sessions", "sessions in the history"),
        ViewColumn("basis", "VARCHAR", "t.basis", _BASIS),
        ViewColumn("reason", "VARCHAR", "t.reason", "why rank and percentile are null"),
        _AVAILABLE_AT,
    ),
    "FROM iv_percentile t",
    "`current_iv_call` and `current_iv_put`: one volatility at the money serves both. `iv_skew` "
    "(mean of calls less mean of puts) is not a skew; `skew_25d_30d` is the usual one, with the "
    "opposite sign.",
)


HISTORICAL_BARS = View(
    "historical_bars",
    "Minute and day bars of stocks, and minute bars of chosen option contracts, one row a bar.",
    ("bars_1m", "option_bars_1m", "stock_day_aggs"),
    (
        ViewColumn("symbol", "VARCHAR", "t.symbol", "ticker, or OPRA ticker with its O: prefix"),
        ViewColumn("timeframe", "VARCHAR", "t.timeframe", "1m or day"),
        ViewColumn(
            "timestamp", "TIMESTAMPTZ", 't."timestamp"', "start; midnight New York for a day"
        ),
        ViewColumn("open", "DOUBLE", "t.open", "first trade, USD per share, as traded"),
        ViewColumn("high", "DOUBLE", "t.high", "highest trade"),
        ViewColumn("low", "DOUBLE", "t.low", "lowest trade"),
        ViewColumn("close", "DOUBLE", "t.close", "last trade"),
        ViewColumn("volume", "DOUBLE", "t.volume", "shares or contracts traded"),
        ViewColumn("vwap", "DOUBLE", "t.vwap", "null where the feed does not say"),
        ViewColumn("trades", "BIGINT", "t.trades", "number of trades"),
        ViewColumn("is_regular", "BOOLEAN", "t.is_regular", "within the session; null for a day"),
        _TRADE_DATE,
        _AVAILABLE_AT,
    ),
    """\
FROM (
  SELECT trade_date, available_at, ticker AS symbol, '1m' AS timeframe, start AS "timestamp",
    open, high, low, close, volume, vwap, transactions AS trades, is_regular
  FROM bars_1m
  QUALIFY row_number() OVER (
    PARTITION BY trade_date, ticker, start ORDER BY source <> 'massive_flat_file', source) = 1
  UNION ALL
  SELECT trade_date, available_at, symbol, '1m', start,
    open, high, low, close, volume, vwap, transactions, is_regular
  FROM option_bars_1m
  UNION ALL
  SELECT trade_date, available_at, ticker, 'day',
    timezone('America/New_York', CAST(trade_date AS TIMESTAMP)),
    open, high, low, close, volume, NULL, transactions, NULL
  FROM stock_day_aggs
  QUALIFY row_number() OVER (
    PARTITION BY trade_date, ticker ORDER BY source <> 'massive_flat_file', source) = 1
) t""",
    "Bars of 5 and 15 minutes, hours and weeks: they are sums of these. Where a bar came from a "
    "file and over REST, the file's row is shown.",
)

VIEWS = (HISTORICAL_GREEKS, GAMMA_EXPOSURE_SNAPSHOTS, IV_PERCENTILE_CACHE, HISTORICAL_BARS)
