"""How much of a change each input made, in parts that add up to the whole."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import polars as pl

from tracker_dagster.analytics.pricing import price as option_price

Arrays = Mapping[str, np.ndarray]


def shapley_parts(
    before: Arrays, after: Arrays, value: Callable[[Arrays], np.ndarray]
) -> dict[str, np.ndarray]:
    """Each input's part of ``value(after) - value(before)``.

    An input's part is what changing it changes, averaged over every order in which the inputs can
    be changed one after the other: no order is favoured, and the parts add up to the whole.
    Source: L. S. Shapley, "A Value for n-Person Games" (1953).

    Args:
        before: input to values, arrays of one length.
        after: the same inputs, later.
        value: what is explained; called once for each subset of the inputs.

    Returns:
        Input to its part; NaN where ``value`` is.
    """
    names = list(before)
    of = {
        changed: value({name: (after if name in changed else before)[name] for name in names})
        for size in range(len(names) + 1)
        for changed in map(frozenset, combinations(names, size))
    }
    parts = {}
    for name in names:
        others = [other for other in names if other != name]
        part = np.zeros_like(of[frozenset()])
        for size in range(len(others) + 1):
            weight = 1 / (len(names) * math.comb(len(others), size))
            for subset in map(frozenset, combinations(others, size)):
                part = part + weight * (of[subset | {name}] - of[subset])
        parts[name] = part
    return parts


def score_parts(
    before: pl.DataFrame, after: pl.DataFrame, weights: Mapping[str, float]
) -> pl.DataFrame:
    """Each component's part of the change of ``rank_score``, row by row.

    Args:
        before: the components and ``rank_score``.
        after: the same rows later.
        weights: component to its weight in the score; components not in the frames are left out.

    Returns:
        A column a component, and ``unexplained``: what the weights do not account for, zero where
        both scores were made with them.
    """
    names = [name for name in weights if name in before.columns and name in after.columns]
    parts = pl.DataFrame(
        {
            name: weights[name] * (after[name].fill_null(0.0) - before[name].fill_null(0.0))
            for name in names
        }
    )
    total = after["rank_score"] - before["rank_score"]
    explained = parts.select(pl.sum_horizontal(names)).to_series() if names else 0.0 * total
    return parts.with_columns(unexplained=total - explained)


def weekly_yield_parts(before: Arrays, after: Arrays) -> dict[str, np.ndarray]:
    """What price, strike, time, volatility and the quote made of a change of the weekly yield.

    The yield (``premium`` over ``price``, scaled to five sessions) is compared with the one that
    Black and Scholes' call at the implied volatility would pay; what the model's four inputs do
    not explain is the quote's.

    Args:
        before: ``premium``, ``price``, ``strike``, ``years``, ``volatility``, ``sessions``.
        after: the same later.

    Returns:
        The five parts; NaN where an input is.
    """
    scale = np.sqrt(5.0)

    def model(inputs: Arrays) -> np.ndarray:
        premium = option_price(
            inputs["price"], inputs["strike"], inputs["time"], 0.0, 0.0, inputs["volatility"],
            is_call=True, backend="numpy",
        )  # fmt: skip
        return np.asarray(premium / inputs["price"] * scale / np.sqrt(inputs["sessions"]))

    def at(inputs: Arrays) -> dict[str, np.ndarray]:
        return {
            "price": inputs["price"],
            "strike": inputs["strike"],
            # Both ways in which time counts move together.
            "time": np.stack([inputs["years"], inputs["sessions"]]),
            "volatility": inputs["volatility"],
        }

    def of_model(inputs: Arrays) -> np.ndarray:
        years, sessions = inputs["time"]
        return model({**inputs, "time": years, "sessions": sessions})

    def quoted(inputs: Arrays) -> np.ndarray:
        return inputs["premium"] / inputs["price"] * scale / np.sqrt(inputs["sessions"])

    parts = shapley_parts(at(before), at(after), of_model)
    parts["quote"] = quoted(after) - quoted(before) - sum(parts.values())
    return parts


def target_strike_parts(before: Arrays, after: Arrays) -> dict[str, np.ndarray]:
    """What price, volatility and time made of a change of the strike that has the target delta.

    The strike is the one whose Black-Scholes delta, without interest, is the target:
    K = S exp(z v sqrt(T) + v^2 T / 2), z the normal quantile of 1 - delta.

    Args:
        before: ``price``, ``volatility``, ``years``, ``delta`` (the target of the later decision
            holds for both).
        after: the same later.

    Returns:
        Parts in dollars that add up to the change of K; NaN where an input is.
    """
    from scipy.special import ndtri

    z = -ndtri(after["delta"])

    def strike(inputs: Arrays) -> np.ndarray:
        deviation = inputs["volatility"] * np.sqrt(inputs["time"])
        return np.asarray(inputs["price"] * np.exp(z * deviation + deviation**2 / 2))

    def at(inputs: Arrays) -> dict[str, np.ndarray]:
        return {
            "price": inputs["price"],
            "volatility": inputs["volatility"],
            "time": inputs["years"],
        }

    return shapley_parts(at(before), at(after), strike)
