"""What a call pays and risks: Greeks from where they are known, returns, probability, value."""

from __future__ import annotations

import numpy as np
import polars as pl

from tracker_dagster.analytics.assignment import probability_above
from tracker_dagster.analytics.pricing import Status, black76_price
from tracker_dagster.analytics.pricing import greeks as bsm_greeks
from tracker_dagster.analytics.pricing.expiry import years_to_expiry
from tracker_dagster.analytics.returns import SESSIONS_PER_YEAR
from tracker_dagster.strategy.known import calendar_scale, known_at
from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.tickers import DAY_FILE, SNAPSHOT, Decision

#: Time below which a contract counts as expired, years: a second.
_LEAST_YEARS = 1 / (365 * 24 * 3600)
_NO_DIVIDENDS = Status.NO_DIVIDENDS.name


def with_greeks(
    calls: pl.DataFrame,
    option_greeks: pl.DataFrame | None,
    decision: Decision,
    settings: PickSettings,
) -> pl.DataFrame:
    """``calls`` with delta and volatility from the vendor, else ours, each with its source.

    In order: the vendor's; option_greeks of the same slot (on the ``day_file`` basis, of the last
    trades of the session before); for the delta alone, Black-Scholes at the vendor's volatility.

    Args:
        calls: ``symbol``, ``slot`` that its numbers are of, ``price``, ``strike``, and the
            vendor's ``delta`` and ``implied_volatility``; of the ticker ``ex_dividend_in_period``.
        option_greeks: rows of option_greeks, any units; only those of the decision's data count.
        decision: what is decided.
        settings: ``rate`` is taken where none of ours is known.

    Returns:
        The same rows with ``delta``, ``delta_source``, ``implied_volatility``,
        ``volatility_source``, ``forward`` (US dollars a share) and ``forward_source`` (where null,
        the source says why), and ``rate`` and ``years`` for `with_worth`. Without a forward of
        ours a captured price is carried at the rate, if no dividend is due before the expiry.
    """
    own = _own(option_greeks, decision)
    rows = calls.join(own, on=["symbol", "slot"], how="left", maintain_order="left")
    absent = "not in option_greeks"
    why_not = (
        pl.when(pl.col("_status").is_null())
        .then(pl.lit(absent))
        .otherwise(pl.format("option_greeks: {}", "_status"))
    )
    rows = _with_forward(rows, why_not, decision, settings)
    if decision.basis == SNAPSHOT:
        why_not = pl.format("not sent; {}", why_not)
    rows = rows.with_columns(_bsm=_bsm_delta(rows))
    return rows.with_columns(
        delta=pl.coalesce("delta", "_delta", "_bsm"),
        delta_source=pl.when(pl.col("delta").is_not_null())
        .then(pl.lit("vendor"))
        .when(pl.col("_delta").is_not_null())
        .then(pl.lit("option_greeks"))
        .when(pl.col("_bsm").is_not_null())
        .then(pl.lit("bsm_vendor_iv"))
        .otherwise(why_not),
        implied_volatility=pl.coalesce("implied_volatility", "_iv"),
        volatility_source=pl.when(pl.col("implied_volatility").is_not_null())
        .then(pl.lit("vendor"))
        .when(pl.col("_iv").is_not_null())
        .then(pl.lit("option_greeks"))
        .otherwise(why_not),
    ).drop("_delta", "_iv", "_forward", "_rate", "_status", "_bsm")


def _with_forward(
    rows: pl.DataFrame, why_not: pl.Expr, decision: Decision, settings: PickSettings
) -> pl.DataFrame:
    """Adds ``years``, ``rate``, ``forward`` and its source: ours, or the price carried."""
    years = _years(decision)
    reasons: list[tuple[pl.Expr, pl.Expr]] = [
        (pl.col("price").is_null(), pl.lit("no usable price of the underlying")),
        # Yesterday's close may still hold a dividend of today.
        (pl.lit(decision.basis == DAY_FILE) | (pl.col("_status") == _NO_DIVIDENDS), why_not),
        (
            pl.col("ex_dividend_in_period").is_null(),
            pl.format("dividends before the expiry are not known; {}", why_not),
        ),
        (
            pl.col("ex_dividend_in_period"),
            pl.format("a dividend is due before the expiry; {}", why_not),
        ),
    ]
    problem: pl.Expr = pl.lit(None, dtype=pl.String)
    for test, why in reversed(reasons):
        problem = pl.when(test).then(why).otherwise(problem)
    assumed = f"price, at an assumed rate of {settings.rate:.2%} a year"
    return (
        rows.with_columns(
            rate=pl.col("_rate").fill_null(settings.rate), years=pl.lit(years), _problem=problem
        )
        .with_columns(
            forward=pl.when(pl.col("_forward").is_not_null())
            .then("_forward")
            .when(pl.col("_problem").is_null())
            .then(pl.col("price") * (pl.col("rate") * years).exp()),
            forward_source=pl.when(pl.col("_forward").is_not_null())
            .then(pl.lit("option_greeks"))
            .when(pl.col("_problem").is_not_null())
            .then("_problem")
            .when(pl.col("_rate").is_not_null())
            .then(pl.lit("price, at the rate of option_greeks"))
            .otherwise(pl.lit(assumed)),
        )
        .drop("_problem")
    )


def _years(decision: Decision) -> float:
    return max(years_to_expiry(decision.priced_at, decision.expiry), _LEAST_YEARS)


def _own(option_greeks: pl.DataFrame | None, decision: Decision) -> pl.DataFrame:
    numbers = ("_delta", "_iv", "_forward", "_rate")
    schema = {
        "symbol": pl.String(),
        "slot": pl.Datetime("us", "UTC"),
        **dict.fromkeys(numbers, pl.Float64()),
        "_status": pl.String(),
    }
    if option_greeks is None:
        return pl.DataFrame(schema=schema)
    rows = known_at(option_greeks, decision.decision_at, decision.day).filter(
        (pl.col("basis") == decision.basis) & (pl.col("trade_date") == decision.data_session)
    )
    return rows.select(
        "symbol",
        "slot",
        _delta="delta",
        _iv="implied_volatility",
        _forward="forward",
        _rate="rate",
        _status="status",
    ).cast(schema)  # type: ignore[arg-type]


def _bsm_delta(rows: pl.DataFrame) -> pl.Series:
    """Black-Scholes delta at the vendor's volatility, where nobody else gives a delta."""
    wanted = rows.select(
        pl.col("delta").is_null()
        & pl.col("_delta").is_null()
        & pl.col("implied_volatility").is_not_null()
    ).to_series()
    if not wanted.any():
        return pl.Series([None] * rows.height, dtype=pl.Float64)
    # A few dozen rows: compiled code would take longer to load than to run.
    computed = bsm_greeks(
        _numbers(rows, "price"), _numbers(rows, "strike"), _numbers(rows, "years"),
        _numbers(rows, "rate"), 0.0, _numbers(rows, "implied_volatility"), is_call=True,
        backend="numpy",
    ).delta  # fmt: skip
    return pl.Series(np.where(wanted, computed, np.nan), dtype=pl.Float64).fill_nan(None)


def with_returns(calls: pl.DataFrame, decision: Decision) -> pl.DataFrame:
    """``calls`` with what they return on the cost of the shares, ``price``.

    ``static_return`` is what the position earns if the price stays, which for a call out of the
    money is its premium; ``if_called_return`` if the shares are called away at the strike.

    Args:
        calls: ``price, strike, bid, ask, mid``, dollars a share.
        decision: gives the days to the expiry.
    """
    price, strike, mid = pl.col("price"), pl.col("strike"), pl.col("mid")
    return calls.with_columns(
        dte=pl.lit(decision.dte, dtype=pl.Int64),
        spread_pct=(pl.col("ask") - pl.col("bid")) / ((pl.col("ask") + pl.col("bid")) / 2),
        premium_yield=mid / price,
        annualised_yield=mid / price * 365 / decision.dte,
        otm_pct=strike / price - 1,
        # A minimum over columns would pass over a price that is not known.
        static_return=(pl.when(price < strike).then(price).otherwise(strike) - price + mid) / price,
        if_called_return=(strike - price + mid) / price,
        break_even=price - mid,
        downside_protection=mid / price,
    )


def with_worth(calls: pl.DataFrame, decision: Decision, settings: PickSettings) -> pl.DataFrame:
    """``calls`` with assignment probability and expected value, each null with a reason.

    The value is what the seller keeps on average if the stock moves as much as it did over the
    look-back, and drifts at the rate: 100 x (bid - Black 1976 value at the realised volatility) -
    fees. The realised volatility is of sessions, so the variance is that of the sessions left.
    Exercise before the expiry and the stock's own drift are left out.

    Args:
        calls: ``bid, strike``, what `with_greeks` gives, and the ticker's ``annual_volatility``.
        decision: gives the sessions left, and tells why day files have no bid.
        settings: ``fee_per_contract``.
    """
    forward, strike = _numbers(calls, "forward"), _numbers(calls, "strike")
    years = _numbers(calls, "years")
    probability = probability_above(forward, strike, years, _numbers(calls, "implied_volatility"))
    of_a_session = _numbers(calls, "annual_volatility") / SESSIONS_PER_YEAR**0.5
    realised = of_a_session * calendar_scale(decision.sessions_left, _years(decision))
    value = black76_price(
        forward, strike, years, _numbers(calls, "rate"), realised, is_call=True, backend="numpy"
    )
    fees = settings.fee_per_contract
    return (
        calls.with_columns(
            fees_100=pl.lit(fees),
            assignment_probability=pl.Series(probability, dtype=pl.Float64).fill_nan(None),
            _value=pl.Series(value, dtype=pl.Float64).fill_nan(None),
        )
        .with_columns(expected_value_100=100 * (pl.col("bid") - pl.col("_value")) - fees)
        .with_columns(
            assignment_probability_reason=pl.when(pl.col("assignment_probability").is_not_null())
            .then(None)
            .when(pl.col("forward").is_null())
            .then("forward_source")
            .otherwise(pl.format("no implied volatility: {}", "volatility_source")),
            expected_value_reason=pl.when(pl.col("expected_value_100").is_not_null())
            .then(None)
            .when(pl.col("bid").is_null())
            .then(pl.lit("day files hold no bid" if decision.basis == DAY_FILE else "no bid"))
            .when(pl.col("forward").is_null())
            .then("forward_source")
            .otherwise(
                pl.format("no realised volatility: {}", pl.col("stats_reason").fill_null("unknown"))
            ),
        )
        .drop("_value")
    )


def _numbers(rows: pl.DataFrame, name: str) -> np.ndarray:
    return rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
