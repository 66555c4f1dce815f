"""Cash dividends of many contracts, and what they leave of the spot in the escrowed model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class CashDividends:
    """Lists of cash dividends, and which list each contract looks at.

    Contract ``i`` uses those of rows ``offsets[group[i]]:offsets[group[i] + 1]`` that go ex
    after now and no later than it expires (``0 < years <= its own years``). Contracts of one
    underlying share one list.

    Attributes:
        years: years to each ex-date, ascending within a list.
        amounts: US dollars a share.
        offsets: where each list starts; one more than there are lists.
        group: list of each contract, an integer array that broadcasts with the contracts;
            None when list ``i`` belongs to contract ``i``.
    """

    years: np.ndarray
    amounts: np.ndarray
    offsets: np.ndarray
    group: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, kind in (("years", np.float64), ("amounts", np.float64), ("offsets", np.int64)):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=kind))
        if self.group is not None:
            object.__setattr__(self, "group", np.asarray(self.group, dtype=np.int64))
        rows = len(self.years)
        steps = np.diff(self.offsets)
        if (
            len(self.amounts) != rows
            or len(self.offsets) == 0
            or self.offsets[0] != 0
            or self.offsets[-1] != rows
            or (steps < 0).any()
        ):
            raise ValueError(
                f"{rows} ex-dates, {len(self.amounts)} amounts and offsets "
                f"{self.offsets[:3]}..{self.offsets[-1:]} do not make lists"
            )
        later = np.ones(rows, np.bool_)
        later[self.offsets[:-1][steps > 0]] = False
        if (np.diff(self.years, prepend=0.0)[later] < 0.0).any():
            raise ValueError("ex-dates of a list do not ascend")
        if self.group is not None and self.group.size:
            low, high = int(self.group.min()), int(self.group.max())
            if low < 0 or high >= len(steps):
                raise ValueError(f"groups {low} to {high} of {len(steps)} lists")

    @classmethod
    def same_for_all(cls, dividends: Iterable[tuple[float, float]]) -> Self:
        """One list of ``(years, amount)`` for every contract."""
        pairs = np.array(sorted(dividends), dtype=np.float64).reshape(-1, 2)
        return cls(pairs[:, 0], pairs[:, 1], np.array([0, len(pairs)]), np.zeros((), np.int64))

    @classmethod
    def by_group(
        cls,
        years: ArrayLike,
        amounts: ArrayLike,
        group_offsets: ArrayLike,
        group_of_contract: ArrayLike,
    ) -> Self:
        """A list for each group of contracts (an underlying, say), named by its number."""
        return cls(
            np.asarray(years),
            np.asarray(amounts),
            np.asarray(group_offsets),
            np.asarray(group_of_contract),
        )

    def aligned(self, shape: tuple[int, ...]) -> CashDividends:
        """The same lists with ``group`` flat, contiguous and of the size of ``shape``.

        Raises:
            ValueError: ``group`` does not broadcast to ``shape``, or without groups there is not
                a list for each contract.
        """
        count = int(np.prod(shape, dtype=np.int64))
        if self.group is None:
            if len(self.offsets) - 1 != count:
                raise ValueError(f"{len(self.offsets) - 1} lists of dividends, {count} contracts")
            group = np.arange(count)
        else:
            group = np.broadcast_to(self.group, shape).ravel()
        return CashDividends(
            self.years, self.amounts, self.offsets, np.ascontiguousarray(group, dtype=np.int64)
        )


class Escrow(NamedTuple):
    """What is set aside of each spot for dividends.

    Attributes:
        value: present value, US dollars.
        slope: the sum of years times present value: minus the derivative of ``value`` by the rate.
    """

    value: np.ndarray
    slope: np.ndarray


def escrow(dividends: CashDividends, years: np.ndarray, rate: np.ndarray) -> Escrow:
    """Present value, at each contract's rate, of the dividends before its expiry.

    The escrowed dividend model (Hull, Options, Futures, and Other Derivatives, 5th ed., 12.12):
    the spot less this value is lognormal. A dividend yield is earned on that net spot and does not
    discount the dividends.

    Args:
        dividends: `CashDividends.aligned` with the contracts.
        years: shape (n,), to expiry.
        rate: shape (n,), continuous, per year.

    Returns:
        Two arrays of shape (n,). NaN where an amount or a time that may count is.
    """
    assert dividends.group is not None
    value, slope = np.zeros(len(years)), np.zeros(len(years))
    position, end = dividends.offsets[dividends.group], dividends.offsets[dividends.group + 1]
    contract = np.flatnonzero(position < end)
    position = position[contract]
    # The first dividend of every contract, then the second of those that have one, and so on.
    while contract.size:
        when = dividends.years[position]
        before_expiry = ~(when > years[contract])
        contract, position, when = (column[before_expiry] for column in (contract, position, when))
        worth = dividends.amounts[position] * np.exp(-rate[contract] * when)
        worth[when <= 0.0] = 0.0
        value[contract] += worth
        slope[contract] += worth * when
        position = position + 1
        more = position < end[contract]
        contract, position = contract[more], position[more]
    return Escrow(value, slope)
