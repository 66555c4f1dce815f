"""What an account holds, leg by leg: shares and options with what they are worth and move by."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl

from tracker_dagster.analytics.dividends import cash_dividends

#: Where the shares of a position are: bought with it, as the paper book does, or held before.
HELD = "held"
#: Contracts without a volatility of their own that may borrow one from a neighbour's strike.
_MAY_BORROW = (
    "NO_QUOTE", "NO_PRICE", "BELOW_INTRINSIC", "ABOVE_MAX", "NO_TIME_VALUE",
    "IMMEDIATE_EXERCISE", "NO_CONVERGENCE",
)  # fmt: skip
#: How far a strike may be from that of the contract that borrows its volatility.
NEAR_ENOUGH = 0.10
_GREEKS = ("delta", "gamma", "theta", "vega")
_NEEDED = (
    "symbol", "root", "style", "is_standard", "spot", "price", "years", "rate", "dividend_yield",
    "implied_volatility", "status", *_GREEKS,
)  # fmt: skip

#: Columns of option_greeks that `option_legs` reads.
GREEKS_READ = (*_NEEDED, "underlying", "expiry", "right", "strike")

#: Columns of `share_legs`.
SHARE_LEGS = {"account": pl.String, "ticker": pl.String, "shares": pl.Float64}


def share_legs(positions: pl.DataFrame, holdings: pl.DataFrame | None) -> pl.DataFrame:
    """Shares of each account and ticker: those bought with covered calls, and those held.

    Args:
        positions: open positions: ``account``, ``ticker``, ``right``, ``quantity``, ``shares``,
            ``stock_basis``, ``stock_source``: shares that are ``held`` are among the holdings
            already, and so are those of calls that say nothing, where there are any.
        holdings: ``account``, ``ticker``, ``shares``; None where nothing is known of any.

    Returns:
        `SHARE_LEGS`, sorted.
    """
    source = pl.col("stock_source")
    in_account = (
        pl.DataFrame(schema=SHARE_LEGS)
        if holdings is None
        else holdings.select(pl.col(name).cast(dtype) for name, dtype in SHARE_LEGS.items())
    )
    calls = positions.filter(
        (pl.col("right") == "C") & (pl.col("quantity") < 0) & pl.col("stock_basis").is_not_null()
    )
    own = pl.concat(
        [
            calls.filter(source.is_not_null() & (source != HELD)),
            calls.filter(source.is_null()).join(in_account, on=["account", "ticker"], how="anti"),
        ]
    ).select("account", "ticker", shares=-pl.col("quantity") * pl.col("shares"))
    parts = [own.cast({"shares": pl.Float64}), in_account]
    summed = pl.concat(parts).group_by("account", "ticker").agg(pl.col("shares").sum())
    return summed.filter(pl.col("shares") != 0).sort("account", "ticker")


def option_legs(
    positions: pl.DataFrame,
    greeks: pl.DataFrame,
    dividends: pl.DataFrame,
    day: date | None = None,
    quotes: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Each open option with its value and Greeks per share, or why it has none.

    A contract that was not quoted on both sides, or whose quote implies no volatility, takes that
    of the nearest strike of its expiry, no more than a tenth away, and is valued at it: a call
    that nobody bids for any more is no reason to know nothing of the shares under it. Out of the
    money on its last day, with no neighbour to borrow from either, it moves with nothing and is
    worth the middle of its quote, or half its ask where nobody bids.

    Args:
        positions: open positions.
        greeks: rows of option_greeks of one slot, with the whole chains of their underlyings.
        dividends: ``underlying``, ``years``, ``amount``, as `dividends_ahead` gives them.
        day: session; what expires on it is on its last day.
        quotes: ``symbol``, ``bid``, ``ask`` of that slot.

    Returns:
        One row a position: account, position_id, ticker, symbol, right, strike, ``units``
        (shares that the contracts are on, negative when sold), price (USD per share), spot,
        years, rate, dividend_yield, style, volatility, delta, gamma, theta (per calendar day),
        vega (per 1.00), ``is_borrowed``, ``is_lapsing`` (on its last day, without a volatility),
        ``note`` on how it was valued then, and ``problem`` (null where it could be valued).
    """
    legs = positions.select(
        "account", "position_id", "ticker", "symbol", "right", "strike", "expiry",
        units=pl.col("quantity") * pl.col("shares"),
    ).sort("account", "position_id")  # fmt: skip
    legs = legs.join(
        greeks.select(_NEEDED).unique("symbol", keep="last", maintain_order=True),
        on="symbol",
        how="left",
        maintain_order="left",
    )
    borrowed = _borrowed(legs, greeks)
    legs = legs.join(borrowed, on="position_id", how="left", maintain_order="left")
    legs = _with_lapsing(legs, day, quotes).with_columns(
        problem=pl.when(pl.col("status").is_null())
        .then(pl.lit("not in the chain of the slot"))
        .when(pl.col("spot").is_null())
        .then(pl.lit("no price of the underlying in the chain"))
        .when(
            ~pl.col("status").is_in(["OK", "EXPIRED"])
            & pl.col("borrowed").is_null()
            & ~pl.col("is_lapsing")
        )
        .then("status"),
        volatility=pl.coalesce("implied_volatility", "borrowed"),
        is_borrowed=pl.col("implied_volatility").is_null() & pl.col("borrowed").is_not_null(),
    )
    return _valued(legs, dividends).drop("borrowed", "implied_volatility", "root", "is_standard")


def _with_lapsing(
    legs: pl.DataFrame, day: date | None, quotes: pl.DataFrame | None
) -> pl.DataFrame:
    """The legs with ``is_lapsing``, ``note``, and the price of what lapses."""
    if quotes is None:
        quotes = pl.DataFrame(schema={"symbol": pl.String, "bid": pl.Float64, "ask": pl.Float64})
    legs = legs.join(
        quotes.select("symbol", "bid", "ask").unique("symbol", keep="last", maintain_order=True),
        on="symbol",
        how="left",
        maintain_order="left",
    )
    sign = pl.when(pl.col("right") == "C").then(1.0).otherwise(-1.0)
    unbid = pl.col("bid").is_null() & (pl.col("ask") > 0)
    price = pl.coalesce("price", pl.when(unbid).then(pl.col("ask") / 2))
    lapsing = (
        (pl.col("expiry") == pl.lit(day, dtype=pl.Date))
        & pl.col("status").is_in(_MAY_BORROW)
        & pl.col("borrowed").is_null()
        & pl.col("is_standard")
        & ((pl.col("spot") - pl.col("strike")) * sign < 0)
        & price.is_not_null()
    ).fill_null(value=False)
    how = (
        pl.when(pl.col("price").is_null())
        .then(pl.lit("half its ask"))
        .otherwise(pl.lit("its quote"))
    )
    note = pl.format("{} expires today out of the money: valued at {}, without Greeks",
                     "symbol", how)  # fmt: skip
    return legs.with_columns(
        is_lapsing=lapsing,
        note=pl.when(lapsing).then(note),
        price=pl.when(lapsing).then(price).otherwise("price"),
    ).drop("bid", "ask")


def _borrowed(legs: pl.DataFrame, greeks: pl.DataFrame) -> pl.DataFrame:
    """``position_id`` and ``borrowed``: the volatility of the nearest strike that has one."""
    poor = legs.filter(pl.col("status").is_in(_MAY_BORROW)).select(
        "position_id", "root", "expiry", "right", "strike"
    )
    lenders = greeks.filter((pl.col("status") == "OK") & pl.col("is_standard")).select(
        "root",
        "expiry",
        lender_right="right",
        lender_strike="strike",
        borrowed="implied_volatility",
    )
    return (
        poor.join(lenders, on=["root", "expiry"])
        .with_columns(distance=(pl.col("lender_strike") / pl.col("strike") - 1).abs())
        .filter(pl.col("distance") <= NEAR_ENOUGH)
        .sort("position_id", "distance", pl.col("lender_right") != pl.col("right"), "lender_strike")
        .unique("position_id", keep="first", maintain_order=True)
        .select("position_id", "borrowed")
    )


def _valued(legs: pl.DataFrame, dividends: pl.DataFrame) -> pl.DataFrame:
    """The legs with prices and Greeks that do not come from the table filled in."""
    expired = (legs["status"] == "EXPIRED").fill_null(value=False).to_numpy()
    numbers = {name: _array(legs[name]) for name in ("price", *_GREEKS)}
    rows = np.flatnonzero(legs["is_borrowed"].to_numpy())
    if rows.size:
        some = legs[rows.tolist()]
        ours = model_values(some, dividends)
        lacks = np.isnan(numbers["price"][rows])
        numbers["price"][rows[lacks]] = ours[lacks]
        for style in some["style"].unique():
            of_style = np.flatnonzero((some["style"] == style).to_numpy())
            found = _greeks(some[of_style.tolist()], dividends, style)
            for name in _GREEKS:
                # What is exercised now has its Greeks already, whatever its volatility.
                missing = np.isnan(numbers[name][rows[of_style]])
                numbers[name][rows[of_style][missing]] = getattr(found, name)[missing]
    if expired.any():
        # At the bell an option is what exercise pays.
        sign = np.where((legs["right"] == "C").to_numpy(), 1.0, -1.0)
        inside = sign * (_array(legs["spot"]) - _array(legs["strike"]))
        numbers["price"][expired] = np.maximum(inside, 0.0)[expired]
        numbers["delta"][expired] = np.where(inside > 0, sign, 0.0)[expired]
        for name in _GREEKS[1:]:
            numbers[name][expired] = 0.0
    lapsing = legs["is_lapsing"].to_numpy()
    for name in _GREEKS:
        numbers[name][lapsing] = 0.0
    known = legs["problem"].is_null()
    columns = {name: pl.Series(values).fill_nan(None) for name, values in numbers.items()}
    return legs.with_columns(**columns).with_columns(
        problem=pl.when(known & pl.any_horizontal(pl.col(*_GREEKS, "price").is_null()))
        .then(pl.lit("no value at the volatility of its neighbours"))
        .otherwise("problem")
    )


def model_values(
    legs: pl.DataFrame,
    dividends: pl.DataFrame,
    *,
    spot_move: np.ndarray | float = 0.0,
    volatility_points: np.ndarray | float = 0.0,
) -> np.ndarray:
    """What each option would be worth, in USD per share, with its spot and volatility moved.

    Time, rate, yield and cash dividends stay. No volatility falls below a point, or below where
    it is already. What lapses today without a volatility is worth what exercise would pay.

    Args:
        legs: rows of `option_legs` (n,).
        dividends: as there.
        spot_move: fraction that the underlying moves by, for all or for each (n,).
        volatility_points: added to the volatility, 0.10 being ten points, for all or each (n,).

    Returns:
        Values (n,); NaN where one cannot be told.
    """
    from tracker_dagster.analytics.pricing import price

    out = np.full(legs.height, np.nan)
    volatility = _array(legs["volatility"])
    moved = np.maximum(volatility + volatility_points, np.minimum(volatility, 0.01))
    # At the bell no volatility matters, and none is known.
    moved = np.where(_array(legs["years"]) == 0.0, 0.01, moved)
    spot = _array(legs["spot"]) * (1.0 + np.asarray(spot_move))
    for style in legs["style"].unique().drop_nulls():
        rows = np.flatnonzero((legs["style"] == style).fill_null(value=False).to_numpy())
        terms = _terms(legs[rows.tolist()], dividends, style)
        out[rows] = price(**{**terms, "spot": spot[rows]}, volatility=moved[rows])
    sign = np.where((legs["right"] == "C").to_numpy(), 1.0, -1.0)
    lapsing = legs["is_lapsing"].to_numpy()
    out[lapsing] = np.maximum(sign * (spot - _array(legs["strike"])), 0.0)[lapsing]
    return out


def _greeks(legs: pl.DataFrame, dividends: pl.DataFrame, style: str) -> Any:
    from tracker_dagster.analytics.pricing import greeks

    return greeks(**_terms(legs, dividends, style), volatility=_array(legs["volatility"]))


def _terms(legs: pl.DataFrame, dividends: pl.DataFrame, style: str) -> dict[str, Any]:
    """What `pricing` is told of the legs, but for their volatility."""
    return {
        **{name: _array(legs[name]) for name in ("spot", "strike", "years", "rate")},
        "dividend_yield": _array(legs["dividend_yield"].fill_null(0.0)),
        "is_call": (legs["right"] == "C").to_numpy(),
        "style": style,
        "cash_dividends": cash_dividends(legs["ticker"], dividends),
    }


def _array(column: pl.Series) -> np.ndarray:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy().copy()
