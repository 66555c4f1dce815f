"""What a person may choose for one run of the decisions; what cannot be meant is refused."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tracker_dagster.schemas.decisions import LANES

ALL_LANES = "ALL"


class UsageError(ValueError):
    """An argument that cannot be meant."""


@dataclass(frozen=True)
class Choice:
    """What a person chose for one run; None leaves it to the settings."""

    seed: float | None = None
    lane: str | None = None
    top_n: int | None = None

    def __post_init__(self) -> None:
        if self.seed is not None and not (math.isfinite(self.seed) and self.seed > 0):
            raise UsageError(f"the seed must be a sum of dollars above zero, not {self.seed}")
        if self.top_n is not None and self.top_n < 1:
            raise UsageError(f"the number of promotions must be one or more, not {self.top_n}")
        if self.lane is not None and self.lane not in (*LANES, ALL_LANES):
            raise UsageError(
                f"unknown lane {self.lane or repr('')}: one of {', '.join((*LANES, ALL_LANES))}"
            )

    def run_config(self, assets: Collection[str]) -> dict[str, Any]:
        """Configuration of those of the decision assets that are among ``assets``."""
        known: dict[str, dict[str, Any]] = {
            "promotions": {"seed": self.seed, "lane": self.lane, "top_n": self.top_n},
            "model_compares": {"seed": self.seed, "top_n": self.top_n},
            "summary": {"seed": self.seed},
        }
        ops = {}
        for asset, values in known.items():
            config = {name: value for name, value in values.items() if value is not None}
            if asset in assets and config:
                ops[asset] = {"config": config}
        return {"ops": ops} if ops else {}
