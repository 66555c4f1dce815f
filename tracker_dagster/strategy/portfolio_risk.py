"""Greeks, capital and concentration of what each account holds, tickers as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

import polars as pl

from tracker_dagster.analytics.returns import adjust_for_splits, betas
from tracker_dagster.schemas.portfolio_risk import (
    ALL_REAL,
    PORTFOLIO_RISK,
)
from tracker_dagster.strategy.known import daily_bars, known_at
from tracker_dagster.strategy.portfolio_legs import option_legs, share_legs

#: The book that no money is in.
PAPER = "paper"
#: What betas are to.
MARKET = "SPY"
#: Category of a ticker that is not in the universe.
OUTSIDE = "not in the universe"
KEYS = ("account", "ticker")
_SUMS = ("delta", "gamma", "theta", "vega", "option_value", "secured", "bought", "short_calls")


@dataclass(frozen=True)
class Book:
    """What is open at a slot, valued.

    Attributes:
        tickers: one row an account and ticker: ``shares``, ``price`` and the sums of its options,
            with ``problem`` and ``capital_problem`` where something is not known.
        options: rows of `option_legs`.
        dividends: that the options were valued with.
        market_price: of `MARKET`, USD a share; None where it is not known.
    """

    tickers: pl.DataFrame
    options: pl.DataFrame
    dividends: pl.DataFrame
    market_price: float | None


def betas_to_market(
    bars: pl.DataFrame, splits: pl.DataFrame, day: date, slot: datetime
) -> pl.DataFrame:
    """``ticker`` and ``beta`` of daily returns to those of `MARKET`, from closes before ``day``.

    The same numbers as in suitability, but for every ticker that is held, in the universe or not.

    Args:
        bars: rows of stock_day_aggs of about a year, those of `MARKET` among them.
        splits: rows of corporate_actions of the same sessions.
        day: session.
        slot: later rows are ignored.
    """
    closes = daily_bars(bars, slot, day, before=day)
    closes = adjust_for_splits(closes, known_at(splits, slot, day), day)
    return betas(closes, closes.filter(pl.col("ticker") == MARKET)).select("ticker", "beta")


def valued_book(
    positions: pl.DataFrame,
    holdings: pl.DataFrame | None,
    prices: pl.DataFrame,
    greeks: pl.DataFrame,
    dividends: pl.DataFrame,
    market_betas: pl.DataFrame,
    categories: pl.DataFrame,
    day: date,
    slot: datetime,
    *,
    quotes: pl.DataFrame | None = None,
    splits: pl.DataFrame | None = None,
) -> Book:
    """What each account holds of each ticker at a slot, valued as far as it can be.

    Args:
        positions: rows of positions; others than OPEN are ignored.
        holdings: ``account``, ``ticker``, ``shares``, and ``split_on`` where `marked_splits` has
            marked them; None where nothing is known of any.
        prices: rows of market_last of ``day``; each ticker's latest slot up to ``slot`` counts.
        greeks: rows of option_greeks of captured chains of ``day``; each underlying's latest slot
            up to ``slot`` counts, the whole chain of it.
        dividends: cash dividends ahead of ``slot``, as `dividends_ahead` gives them.
        market_betas: ``ticker`` and ``beta`` to `MARKET`.
        categories: ``ticker`` and ``category``.
        day: session.
        slot: instant of the book.
        quotes: rows of option_chain of the same chains; None leaves what has no volatility of its
            own or its neighbours without a value even on its last day.
        splits: rows of corporate_actions; what was opened before one has another strike, other
            shares and another basis now, and is not valued.
    """
    held = positions.filter(pl.col("status") == "OPEN")
    last = (
        known_at(prices, slot, day)
        .filter((pl.col("trade_date") == day) & pl.col("price").is_not_null())
        .sort("slot")
        .unique("ticker", keep="last", maintain_order=True)
    )
    chains = known_at(greeks, slot, day).filter(pl.col("trade_date") == day)
    chains = chains.filter(pl.col("slot") == pl.col("slot").max().over("underlying"))
    if quotes is not None:
        quotes = known_at(quotes, slot, day)
        quotes = quotes.filter(pl.col("slot") == pl.col("slot").max().over("underlying"))
    options = option_legs(held, chains, dividends, day, quotes)
    shares = share_legs(held, holdings)
    tickers = (
        pl.concat([shares.select(KEYS), options.select(KEYS)])
        .unique()
        .join(shares, on=KEYS, how="left")
        .join(_option_sums(options), on=KEYS, how="left")
        .join(last.select("ticker", "price"), on="ticker", how="left")
        .join(market_betas.select("ticker", "beta").unique("ticker"), on="ticker", how="left")
        .join(categories.select("ticker", "category").unique("ticker"), on="ticker", how="left")
        .join(_split_since(held, holdings, splits, day, slot), on=KEYS, how="left")
        .with_columns(
            pl.col("shares", *_SUMS, "positions").fill_null(0),
            pl.col("category").fill_null(OUTSIDE),
        )
        .sort(KEYS)
    )
    no_price = pl.when(pl.col("price").is_null()).then(pl.lit("no price was captured"))
    tickers = tickers.with_columns(
        problem=pl.coalesce("split_problem", no_price, "problem"),
        # Cash that puts secure needs no price; shares do.
        capital_problem=pl.coalesce(
            "split_problem", pl.when(pl.col("shares") != 0).then(no_price), "bought_problem"
        ),
    )
    market = last.filter(pl.col("ticker") == MARKET)["price"]
    return Book(tickers, options, dividends, market[0] if market.len() else None)


def _split_since(
    held: pl.DataFrame,
    holdings: pl.DataFrame | None,
    splits: pl.DataFrame | None,
    day: date,
    slot: datetime,
) -> pl.DataFrame:
    """Accounts and tickers with anything from before a split, with ``split_problem``."""
    found = [pl.DataFrame(schema={"account": pl.String, "ticker": pl.String, "on": pl.Date})]
    if holdings is not None and "split_on" in holdings.columns:
        found.append(holdings.select(*KEYS, on="split_on").drop_nulls("on"))
    if splits is not None:
        dates = known_at(splits, slot, day).filter(
            (pl.col("action") == "split") & (pl.col("ex_date") <= day)
        )
        opened = pl.col("opened_at").dt.convert_time_zone("America/New_York").dt.date()
        found.append(
            held.select(*KEYS, opened=opened)
            .join(dates.select("ticker", on="ex_date").unique(), on="ticker")
            .filter(pl.col("on") > pl.col("opened"))
            .select(*KEYS, "on")
        )
    return (
        pl.concat(found)
        .group_by(KEYS)
        .agg(pl.col("on").min())
        .select(*KEYS, split_problem=pl.format("recorded before its split on {}", "on"))
    )


def _option_sums(options: pl.DataFrame) -> pl.DataFrame:
    """Options of each account and ticker, added up; a sum says nothing where there is a problem."""
    units = pl.col("units")
    sold_put = (pl.col("right") == "P") & (units < 0)
    sold_call = (pl.col("right") == "C") & (units < 0)
    named = pl.format("{} {}", "symbol", "problem")
    return (
        options.group_by(*KEYS, maintain_order=True)
        .agg(
            positions=pl.len(),
            **{name: (pl.col(name) * units).sum() for name in ("delta", "gamma", "theta", "vega")},
            option_value=(pl.col("price") * units).sum(),
            secured=pl.when(sold_put).then(-units * pl.col("strike")).sum(),
            bought=pl.when(units > 0).then(units * pl.col("price")).sum(),
            short_calls=pl.when(sold_call).then(-units).sum(),
            problem=named.filter(pl.col("problem").is_not_null()).sort().str.join(", "),
            note=pl.col("note").drop_nulls().unique().sort().str.join(", "),
            bought_problem=named.filter(pl.col("price").is_null() & (units > 0))
            .sort()
            .str.join(", "),
        )
        .with_columns(
            pl.when(pl.col(name) != "").then(name).alias(name)
            for name in ("problem", "note", "bought_problem")
        )
    )


def portfolio_risk(
    book: Book, day: date, slot: datetime, inputs: Mapping[str, object] | None = None
) -> pl.DataFrame:
    """Rows of portfolio_risk: one an account, and one for all with real money where there is any.

    Units: delta in shares and in USD (shares times price); gamma in USD of delta for a move of
    1 %, gamma x price^2 / 100; theta in USD per calendar day; vega in USD per volatility point,
    a hundredth of that per 1.00. Beta-weighted delta adds up beta times dollar delta: what the
    book gains as SPY gains 100 %, to first order (Hull, Options, Futures and Other Derivatives,
    10th ed., section 3.5); over the price of SPY it is in its shares. A sum in which anything
    cannot be valued is null, and ``left_out`` says what that is.

    Args:
        book: of `valued_book`.
        day: session.
        slot: instant of the book.
        inputs: identities of what was read.
    """
    if book.tickers.is_empty():
        return PORTFOLIO_RISK.empty()
    whole = pl.col("problem").is_null()
    dollars = (pl.col("shares") + pl.col("delta")) * pl.col("price")
    capital = (
        pl.when(pl.col("shares") == 0).then(0.0).otherwise(pl.col("shares").abs() * pl.col("price"))
        + pl.col("secured")
        + pl.col("bought")
    )
    rows = _with_all_real(book.tickers).with_columns(
        capital=pl.when(pl.col("capital_problem").is_null()).then(capital),
        worth=pl.when(pl.col("shares") == 0)
        .then(0.0)
        .otherwise(pl.col("shares") * pl.col("price")),
        dollar_delta=pl.when(whole).then(dollars),
    )

    def of_whole(value: pl.Expr) -> pl.Expr:
        # Less than all of it would be divided by all of the capital, and look like less risk.
        return pl.when(whole.all()).then(value.sum())

    def unless_missing(value: pl.Expr) -> pl.Expr:
        return pl.when(pl.col("capital_problem").is_null().all()).then(value.sum())

    def named(column: str) -> pl.Expr:
        with_ticker = pl.format("{}: {}", "ticker", column).filter(pl.col(column).is_not_null())
        return with_ticker.sort().str.join("; ")

    def tickers_where(condition: pl.Expr) -> pl.Expr:
        return pl.col("ticker").filter(condition).sort().str.join(", ")

    no_beta = whole & pl.col("beta").is_null() & (pl.col("dollar_delta") != 0)
    accounts = rows.group_by("account", maintain_order=True).agg(
        positions_count=pl.col("positions").sum(),
        tickers_count=pl.len(),
        valued_count=whole.sum(),
        net_delta_shares=of_whole(pl.col("shares") + pl.col("delta")),
        net_delta_usd=of_whole(pl.col("dollar_delta")),
        net_gamma_usd_per_1pct=of_whole(pl.col("gamma") * pl.col("price") ** 2 / 100),
        theta_day=of_whole(pl.col("theta")),
        vega_point=of_whole(pl.col("vega") / 100),
        beta_reason=pl.when(~whole.any())
        .then(pl.lit("nothing could be valued"))
        .when(~whole.all())
        .then(pl.format("not valued: {}", tickers_where(~whole)))
        .when(no_beta.any())
        .then(pl.format("no beta of {}", tickers_where(no_beta))),
        beta_delta_usd=of_whole(pl.col("dollar_delta") * pl.col("beta").fill_null(0.0)),
        stock_value=unless_missing(pl.col("worth")),
        option_value=of_whole(pl.col("option_value")),
        cash_secured=pl.col("secured").sum(),
        capital=unless_missing(pl.col("capital")),
        capital_reason=named("capital_problem"),
        uncovered_call_shares=pl.col("uncovered").sum(),
    )
    accounts = accounts.with_columns(
        capital_reason=pl.when(pl.col("capital").is_null()).then("capital_reason"),
        beta_delta_usd=pl.when(pl.col("beta_reason").is_null()).then("beta_delta_usd"),
    ).with_columns(
        beta_delta_spy=pl.col("beta_delta_usd") / pl.lit(book.market_price, dtype=pl.Float64)
    )
    return PORTFOLIO_RISK.conform(
        accounts.join(_told(rows, "problem", "left_out"), on="account", how="left")
        .join(_told(rows.filter(whole), "note", "notes"), on="account", how="left")
        .join(_concentration(rows, accounts), on="account", how="left")
        .with_columns(pl.col("left_out").fill_null("{}"))
        .sort("account"),
        trade_date=day,
        slot=slot,
        available_at=slot,
        inputs=json.dumps(dict(inputs or {}), sort_keys=True, default=str),
    )


def _with_all_real(tickers: pl.DataFrame) -> pl.DataFrame:
    """The rows, and those of all accounts but the paper book together."""
    rows = tickers.with_columns(
        # By account: one account's shares cover nothing in another.
        uncovered=(pl.col("short_calls") - pl.col("shares").clip(0)).clip(0)
    )
    both = (
        rows.filter(pl.col("account") != PAPER)
        .group_by("ticker", maintain_order=True)
        .agg(
            pl.col("shares", *_SUMS, "positions", "uncovered").sum(),
            pl.col("price", "beta", "category").first(),
            pl.col("problem", "note", "capital_problem")
            .drop_nulls()
            .unique()
            .sort()
            .str.join(", "),
        )
        .with_columns(
            pl.when(pl.col(name) != "").then(name).alias(name)
            for name in ("problem", "note", "capital_problem")
        )
        .with_columns(account=pl.lit(ALL_REAL))
    )
    columns = both.columns
    return pl.concat([rows.select(columns), both])


def _told(rows: pl.DataFrame, column: str, name: str) -> pl.DataFrame:
    """``account`` and ``name``: what a column of texts says of its tickers, as JSON."""
    found: dict[str, dict[str, str]] = {}
    said = rows.filter(pl.col(column).is_not_null()).sort("ticker")
    for account, ticker, text in said.select("account", "ticker", column).iter_rows():
        found.setdefault(account, {})[ticker] = text
    return pl.DataFrame(
        {"account": list(found), name: [json.dumps(texts) for texts in found.values()]},
        schema={"account": pl.String, name: pl.String},
    )


def _concentration(rows: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Largest ticker and category of each account whose capital is known and above zero."""
    total = accounts.select("account", total="capital").filter(pl.col("total") > 0)
    known = rows.join(total, on="account")

    def shares_of(name: str) -> pl.DataFrame:
        return (
            known.group_by("account", name)
            .agg(share=(pl.col("capital") / pl.col("total")).sum())
            .sort("account", -pl.col("share"), name)
            .group_by("account", maintain_order=True)
            .agg(
                pl.col(name).first().alias(f"largest_{name}"),
                largest_share=pl.col("share").first(),
                hhi=(pl.col("share") ** 2).sum(),
            )
        )

    return (
        shares_of("ticker")
        .rename({"hhi": "ticker_hhi"})
        .join(
            shares_of("category").rename({"hhi": "category_hhi"}).drop("largest_share"),
            on="account",
        )
    )
