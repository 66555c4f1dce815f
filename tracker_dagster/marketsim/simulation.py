"""One simulated vendor: a world, its clock, a subscription and the faults now switched on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from tracker_dagster.marketsim.clock import SimClock
from tracker_dagster.marketsim.plans import PLANS, Plan
from tracker_dagster.marketsim.server.faults import Faults
from tracker_dagster.marketsim.world.chain import Chains
from tracker_dagster.marketsim.world.day_files import DayFiles
from tracker_dagster.marketsim.world.securities import Profile
from tracker_dagster.marketsim.world.tape import Tapes
from tracker_dagster.marketsim.world.world import Cache, Planted, World


class Simulation:
    """Everything the servers need; see ``MarketSim`` for the arguments."""

    def __init__(
        self,
        seed: int = 9300,
        profile: Profile = "small",
        tickers: Iterable[str] | None = None,
        now: datetime | None = None,
        speed: float = 0.0,
        plan: str = "advanced",
        earnings_addon: bool = True,
        accepted_keys: Collection[str] | None = None,
        planted_instability: Planted | None = None,
        instability: float = 0.0,
    ) -> None:
        if plan not in PLANS:
            raise ValueError(f"unknown plan {plan!r}: one of {', '.join(PLANS)}")
        self.world = World(seed, profile, tickers, planted_instability, instability)
        self.chains = Chains(self.world)
        self.tapes = Tapes(self.chains)
        self.files = DayFiles(self.tapes)
        self.clock = SimClock(now, speed)
        self.plan: Plan = PLANS[plan]
        self.earnings_addon = earnings_addon
        self.accepted_keys = accepted_keys
        self.faults = Faults(seed)
        self.snapshots = Cache(60, self.world.lock)

    def accepts(self, key: str) -> bool:
        """Whether the key opens an account: any but ``bad``, unless a set was configured."""
        if self.accepted_keys is not None:
            return key in self.accepted_keys
        return bool(key) and key != "bad"

    def visible_until(self) -> datetime:
        """The simulated moment less the plan's delay: what a client may see."""
        return self.clock.now() - timedelta(minutes=self.plan.delay_minutes)
