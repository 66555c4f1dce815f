"""Frames of contracts valued: inputs joined, models run, reasons named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from tracker_dagster.analytics.dividends import CORPORATE_ACTIONS, cash_dividends
from tracker_dagster.analytics.forwards import ON_FUTURES, THEORY
from tracker_dagster.analytics.pricing import (
    CashDividends,
    Status,
    implied_volatility,
    implied_volatility_and_greeks,
    status_names,
)
from tracker_dagster.analytics.pricing.dividends import escrow
from tracker_dagster.analytics.pricing.expiry import years_column
from tracker_dagster.analytics.rates import Curve, rates_for
from tracker_dagster.instruments import settlement_column

_GREEKS = ("delta", "gamma", "theta", "vega", "rho")


def value_contracts(
    contracts: pl.DataFrame,
    moment: datetime,
    curve: Curve | None,
    dividends: pl.DataFrame,
    forwards: pl.DataFrame | None = None,
    *,
    dividend_sources: pl.DataFrame | None = None,
    backend: str | None = None,
) -> pl.DataFrame:
    """What option_greeks says of each contract.

    Args:
        contracts: ``underlying``, ``root``, ``expiry``, ``right``, ``strike``, ``style``,
            ``is_standard``, ``spot``, ``price`` (null where there is none), and where quotes are
            known ``bid`` and ``ask``; a ``problem`` (name of a `Status`, else null) is kept as the
            status of a contract that must not be valued.
        moment: of the prices; terms are counted from it to the minute.
        curve: zero rates; None where none was known.
        dividends: cash dividends ahead, as `dividends_ahead` gives them.
        forwards: ``underlying``, ``expiry``, ``settlement``, ``carry`` and ``forward_source``, as
            implied by the quotes; a contract without a row has the theoretical forward.
        dividend_sources: ``underlying`` and ``dividend_source``, what is known of its dividends,
            as `dividends.dividend_sources` gives it; None where all are known. Where they are not
            known as a whole only a parity forward, which has them, lets a contract be valued.
        backend: of `pricing`.

    Returns:
        ``contracts`` with years, rate, rate_source, dividends_value (null where dividends are not
        known, though parity's carry may have them), dividend_source, dividend_yield, forward,
        forward_source, implied_volatility, bid_volatility, ask_volatility, the greeks and status.
        A volatility is there exactly where the status is OK; greeks where it is, and where
        exercise now is worth the price (delta one, all others zero).
    """
    frame = _with_dividend_sources(_with_terms(contracts, moment, forwards), dividend_sources)
    numbers = {
        name: frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        for name in ("spot", "strike", "years", "carry", "price")
    }
    if curve is None:
        numbers["rate"] = np.full(frame.height, np.nan)
    else:
        numbers["rate"] = rates_for(curve, numbers["years"])
    cash = cash_dividends(frame["underlying"], dividends)
    set_aside = escrow(cash.aligned((frame.height,)), numbers["years"], numbers["rate"]).value
    forward = (numbers["spot"] - set_aside) * np.exp(
        (numbers["rate"] - numbers["carry"]) * numbers["years"]
    )
    status = _given_reasons(frame, forward)
    forward[np.isin(status, (Status.NO_FORWARD, Status.NO_DIVIDENDS))] = np.nan
    valued = _valued(frame, numbers, cash, forward, status, backend)
    known = np.isfinite(forward) & (forward > 0)
    declared = (frame["dividend_source"] == CORPORATE_ACTIONS).fill_null(False).to_numpy()
    return frame.drop("carry").with_columns(
        rate=_nullable(numbers["rate"]),
        rate_source=pl.when(_series(np.isfinite(numbers["rate"]))).then(
            pl.lit(curve.source if curve else None, dtype=pl.String)
        ),
        dividends_value=_nullable(np.where(declared, set_aside, np.nan)),
        dividend_yield=_nullable(numbers["carry"]),
        forward=_nullable(np.where(known, forward, np.nan)),
        forward_source=pl.when(_series(known)).then("forward_source"),
        **valued,
    )


def _with_terms(
    contracts: pl.DataFrame, moment: datetime, forwards: pl.DataFrame | None
) -> pl.DataFrame:
    """The contracts with years, settlement, carry and forward_source, in their order."""
    frame = contracts.with_columns(
        years=years_column(moment, contracts),
        settlement=settlement_column(),
    )
    if forwards is None:
        return frame.with_columns(carry=pl.lit(0.0), forward_source=pl.lit(THEORY))
    keys = ["underlying", "expiry", "settlement"]
    return frame.join(
        forwards.select(*keys, "carry", "forward_source"),
        on=keys,
        how="left",
        maintain_order="left",
    ).with_columns(
        pl.col("carry").fill_null(0.0), pl.col("forward_source").fill_null(pl.lit(THEORY))
    )


def _with_dividend_sources(frame: pl.DataFrame, sources: pl.DataFrame | None) -> pl.DataFrame:
    if sources is None:
        return frame.with_columns(dividend_source=pl.lit(CORPORATE_ACTIONS))
    return frame.join(sources, on="underlying", how="left", maintain_order="left")


def _given_reasons(frame: pl.DataFrame, forward: np.ndarray) -> np.ndarray:
    """Codes of `Status` of contracts that are not to be valued, OK for the others."""
    status = np.full(frame.height, Status.OK, np.int8)
    if "problem" in frame.columns:
        codes = {member.name: int(member) for member in Status}
        given = frame["problem"].replace_strict(codes, return_dtype=pl.Int8)
        status = given.fill_null(Status.OK).to_numpy().copy()
    # An expired contract needs no forward: what is wrong with it is its age.
    by_theory = (
        np.isfinite(forward)
        & (status == Status.OK)
        & (frame["forward_source"] == THEORY).to_numpy()
        & (frame["years"].fill_null(0.0) > 0).to_numpy()
    )
    # Of an index only parity's forward knows what its members pay.
    known = (frame["dividend_source"] == CORPORATE_ACTIONS).fill_null(value=False).to_numpy()
    on_future = frame["underlying"].is_in(sorted(ON_FUTURES)).to_numpy()
    status[by_theory & ~known] = Status.NO_DIVIDENDS
    status[by_theory & on_future] = Status.NO_FORWARD
    # Where its number of shares was not sent, the symbol is that of a standard contract.
    status[~frame["is_standard"].fill_null(True).to_numpy()] = Status.ADJUSTED
    return status


def _valued(
    frame: pl.DataFrame,
    numbers: Mapping[str, np.ndarray],
    cash: CashDividends,
    forward: np.ndarray,
    status: np.ndarray,
    backend: str | None,
) -> dict[str, pl.Series]:
    """The columns that come from the models, each style on its own rows."""
    count = frame.height
    group = cash.aligned((count,)).group
    assert group is not None
    is_call = (frame["right"] == "C").to_numpy()
    sides = {side: frame[side] for side in ("bid", "ask") if side in frame.columns}
    columns = ("implied_volatility", "bid_volatility", "ask_volatility", *_GREEKS)
    out = {name: np.full(count, np.nan) for name in columns}
    style = frame["style"].to_numpy()
    for model in ("european", "american"):
        rows = np.flatnonzero((status == Status.OK) & (style == model))
        if rows.size == 0:
            continue
        terms = _terms(rows, numbers, cash, group, is_call, model, backend)
        implied, greeks = implied_volatility_and_greeks(numbers["price"][rows], **terms)
        status[rows] = implied.status
        out["implied_volatility"][rows] = implied.volatility
        for name, values in zip(_GREEKS, greeks, strict=True):
            out[name][rows] = values
        for side, quotes in sides.items():
            quoted = rows[(status[rows] == Status.OK) & quotes.is_not_null().to_numpy()[rows]]
            terms = _terms(quoted, numbers, cash, group, is_call, model, backend)
            edge = implied_volatility(quotes.cast(pl.Float64).to_numpy()[quoted], **terms)
            out[f"{side}_volatility"][quoted] = edge.volatility
    if "ask" in sides:
        ask = sides["ask"].cast(pl.Float64).fill_null(np.nan).to_numpy()
        _name_straddles(status, numbers, forward, is_call, style == "american", ask)
    # Whatever the volatility: what is exercised now moves with the underlying alone.
    exercised = status == Status.IMMEDIATE_EXERCISE
    out["delta"][exercised] = np.where(is_call, 1.0, -1.0)[exercised]
    for name in _GREEKS[1:]:
        out[name][exercised] = 0.0
    return {name: _nullable(values) for name, values in out.items()} | {
        "status": status_names(status)
    }


def _name_straddles(
    status: np.ndarray,
    numbers: Mapping[str, np.ndarray],
    forward: np.ndarray,
    is_call: np.ndarray,
    is_american: np.ndarray,
    ask: np.ndarray,
) -> None:
    """Name what the middle of a quote around the lower bound is: worth exercise, or no time.

    Not a price that is too low: somebody asks for the bound or more.
    """
    sign = np.where(is_call, 1.0, -1.0)
    discount = np.exp(-numbers["rate"] * numbers["years"])
    held = np.maximum(sign * (forward - numbers["strike"]) * discount, 0.0)
    exercised = np.where(
        is_american, np.maximum(sign * (numbers["spot"] - numbers["strike"]), 0.0), 0.0
    )
    straddles = (status == Status.BELOW_INTRINSIC) & (ask >= np.maximum(held, exercised))
    status[straddles] = Status.NO_TIME_VALUE
    status[straddles & (exercised > 0) & (exercised >= held)] = Status.IMMEDIATE_EXERCISE


def _terms(
    rows: np.ndarray,
    numbers: Mapping[str, np.ndarray],
    cash: CashDividends,
    group: np.ndarray,
    is_call: np.ndarray,
    style: str,
    backend: str | None,
) -> dict[str, Any]:
    """What `pricing` is told of some rows, but for their prices."""
    return {
        **{name: numbers[name][rows] for name in ("spot", "strike", "years", "rate")},
        "dividend_yield": numbers["carry"][rows],
        "is_call": is_call[rows],
        "style": style,
        "cash_dividends": CashDividends.by_group(
            cash.years, cash.amounts, cash.offsets, group[rows]
        ),
        "backend": backend,
    }


def _series(values: np.ndarray) -> pl.Series:
    return pl.Series(values)


def _nullable(values: np.ndarray) -> pl.Series:
    """A column of numbers in which there is no NaN, but null."""
    return pl.Series(np.where(np.isfinite(values), values, np.nan)).fill_nan(None)
