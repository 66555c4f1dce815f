"""An offline market that speaks Massive's REST and S3 protocols, from one seed.

Imports nothing of ours but the calendar and the seed files, and is imported only by the
command line and by tests: if it shared our analytics, finding its truths would be circular.
"""

from tracker_dagster.marketsim.server.faults import Fault
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.simulator import DEFAULT_PORT, MarketSim, PortInUseError, serve
from tracker_dagster.marketsim.world.world import World

__all__ = ["DEFAULT_PORT", "Fault", "MarketSim", "PortInUseError", "Simulation", "World", "serve"]
