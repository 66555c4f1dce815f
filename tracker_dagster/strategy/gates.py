"""The gates of a call: which it fails, and which could not be evaluated and why."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from tracker_dagster.strategy.settings import PickSettings
from tracker_dagster.strategy.tickers import DAY_FILE, Decision

#: Gates in the order in which they are told.
GATES = (
    "price",
    "price_agrees",
    "lane",
    "standard_contract",
    "quote",
    "quote_age",
    "split",
    "min_otm",
    "delta_band",
    "spread",
    "open_interest",
    "volume",
    "min_yield",
    "max_yield",
)
#: Quotes that a premium may rest on.
_SOUND_QUOTES = ("OK", "DAY_FILE")


def gated(calls: pl.DataFrame, decision: Decision, settings: PickSettings) -> pl.DataFrame:
    """``calls`` with ``failed_gate``, ``failed_gates`` and ``gates_not_evaluated``.

    Every gate is evaluated, whichever fails before it. A gate whose input is null does not fail:
    it is named, with the reason, in ``gates_not_evaluated``.

    Args:
        calls: columns of pick_candidates up to the yields, and of the ticker ``otm_floor``,
            ``yield_floor``, ``max_delta``, ``split_in_period``, ``split_note``.
        decision: quote ages are counted from its instant; a quote may be neither too old for it
            nor of after it.
        settings: limits.

    Returns:
        The same rows. ``failed_gate`` is the first in `GATES` that fails, else null;
        ``failed_gates`` a JSON list of all; ``gates_not_evaluated`` JSON of gate to reason.
    """
    failures = _failures(decision, settings)
    unknown = _not_evaluated(decision)
    calls = calls.with_columns(
        failures[name].fill_null(value=False).alias(f"_fails_{name}") for name in GATES
    )
    failed = [pl.when(pl.col(f"_fails_{name}")).then(pl.lit(name)) for name in GATES]
    quoted = [pl.when(pl.col(f"_fails_{name}")).then(pl.lit(f'"{name}"')) for name in GATES]
    return calls.with_columns(
        failed_gate=pl.coalesce(failed),
        failed_gates=pl.format("[{}]", pl.concat_str(quoted, separator=", ", ignore_nulls=True)),
        gates_not_evaluated=json_object(unknown),
    ).drop(f"_fails_{name}" for name in GATES)


def json_object(reasons: dict[str, pl.Expr]) -> pl.Expr:
    """JSON of those names whose reason is not null, in order; reasons are plain text."""
    members = [
        pl.format('"{}": "{}"', pl.lit(name), reason.str.replace_all(r'["\\]', "'"))
        for name, reason in reasons.items()
    ]
    return pl.format("{}{}{}", pl.lit("{"), joined(members), pl.lit("}"))


def joined(members: list[pl.Expr]) -> pl.Expr:
    """Members that are not null, with commas between."""
    return pl.concat_str(members, separator=", ", ignore_nulls=True)


def _failures(decision: Decision, settings: PickSettings) -> dict[str, pl.Expr]:
    oldest = decision.decision_at - timedelta(minutes=settings.max_quote_age_minutes)
    latest = decision.decision_at + timedelta(seconds=settings.max_lead_seconds)
    gap = pl.col("price") / pl.col("underlying_price") - 1
    whole = pl.lit(decision.basis == DAY_FILE) | (
        pl.col("bid").is_not_null() & pl.col("ask").is_not_null()
    )
    return {
        "price": pl.col("price").is_null(),
        "price_agrees": gap.abs() > settings.max_price_gap,
        "lane": pl.col("lane").is_null(),
        "standard_contract": ~pl.col("is_standard"),
        "quote": pl.col("mid").is_null()
        | ~pl.col("quote_status").is_in(_SOUND_QUOTES).fill_null(value=False)
        | ~whole
        | (pl.col("bid") > pl.col("ask")).fill_null(value=False),
        "quote_age": ~pl.col("quote_at").is_between(oldest, latest),
        "split": pl.col("split_in_period"),
        "min_otm": pl.col("otm_pct") < pl.col("otm_floor"),
        "delta_band": ~pl.col("delta").is_between(settings.min_delta, pl.col("max_delta")),
        "spread": pl.col("spread_pct") > settings.max_spread,
        "open_interest": pl.col("open_interest") < settings.min_open_interest,
        "volume": pl.col("day_volume") < settings.min_day_volume,
        "min_yield": pl.col("premium_yield") < pl.col("yield_floor"),
        "max_yield": pl.col("premium_yield") >= settings.max_period_yield,
    }


def _not_evaluated(decision: Decision) -> dict[str, pl.Expr]:
    in_files = decision.basis == DAY_FILE
    no_quotes = "day files hold no quotes"
    unpriced = (
        pl.when(pl.col("price").is_null())
        .then(pl.lit("no usable price of the underlying"))
        .when(pl.col("mid").is_null())
        .then(pl.lit("no premium"))
        .when(pl.col("lane").is_null())
        .then(pl.lit("no lane"))
    )
    reasons: dict[str, tuple[pl.Expr, pl.Expr]] = {
        "price_agrees": (
            pl.col("price") - pl.col("underlying_price"),
            pl.when(pl.col("price").is_null())
            .then(pl.lit("no usable price of the underlying"))
            .otherwise(
                pl.lit(
                    "day files hold one price of the underlying"
                    if in_files
                    else "the chain came without a price of the underlying"
                )
            ),
        ),
        "standard_contract": (pl.col("is_standard"), pl.lit("what it delivers was not sent")),
        "quote_age": (
            pl.col("quote_at"), pl.lit(no_quotes if in_files else "the quote has no time")
        ),
        "split": (pl.col("split_in_period"), pl.col("split_note")),
        "min_otm": (
            pl.col("otm_pct") - pl.col("otm_floor"),
            pl.when(pl.col("price").is_null())
            .then(pl.lit("no usable price of the underlying"))
            .otherwise(pl.lit("no lane")),
        ),
        "delta_band": (pl.col("delta"), pl.col("delta_source")),
        "spread": (pl.col("spread_pct"), pl.lit(no_quotes if in_files else "no whole quote")),
        "open_interest": (
            pl.col("open_interest"),
            pl.lit("day files hold no open interest" if in_files else "not sent"),
        ),
        "volume": (
            pl.col("day_volume"),
            pl.lit("not in the file" if in_files else "the vendor sent no bar of it"),
        ),
        "min_yield": (pl.col("premium_yield") - pl.col("yield_floor"), unpriced),
        "max_yield": (pl.col("premium_yield"), unpriced),
    }  # fmt: skip
    return {
        name: pl.when(value.is_null()).then(why.fill_null("not known"))
        for name, (value, why) in reasons.items()
    }


def rejection_counts(candidates: pl.DataFrame) -> pl.DataFrame:
    """``ticker``, ``candidates_count`` and ``rejections``: JSON of gate to how many fell there.

    Args:
        candidates: rows of pick_candidates; each is counted under its first failed gate.
    """
    order = pl.DataFrame({"failed_gate": GATES, "_place": range(len(GATES))})
    per_gate = (
        candidates.drop_nulls("failed_gate")
        .group_by("ticker", "failed_gate")
        .len()
        .join(order, on="failed_gate")
        .sort("ticker", "_place")
        .group_by("ticker", maintain_order=True)
        .agg(
            rejections=pl.format(
                "{}{}{}",
                pl.lit("{"),
                pl.format('"{}": {}', "failed_gate", "len").str.join(", "),
                pl.lit("}"),
            )
        )
    )
    return (
        candidates.group_by("ticker")
        .agg(candidates_count=pl.len().cast(pl.Int64))
        .join(per_gate, on="ticker", how="left")
        .with_columns(pl.col("rejections").fill_null("{}"))
    )
