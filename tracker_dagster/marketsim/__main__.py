"""``python -m tracker_dagster.marketsim``: the simulated market as a foreground process."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from tracker_dagster.marketsim.plans import PLANS
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.simulator import DEFAULT_PORT, HOST, PortInUseError, serve
from tracker_dagster.trading_calendar import EASTERN


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=EASTERN)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, not {text}")
    return share


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; 2 when the port is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m tracker_dagster.marketsim", description=__doc__
    )
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--seed", type=int, default=9300)
    parser.add_argument("--profile", choices=("small", "full"), default="small")
    parser.add_argument("--now", type=_moment, help="ISO moment; Eastern unless it has an offset")
    parser.add_argument("--speed", type=float, default=0.0, help="simulated seconds per second")
    parser.add_argument("--plan", choices=tuple(PLANS), default="advanced")
    parser.add_argument(
        "--instability",
        type=_share,
        default=0.0,
        metavar="SHARE",
        help="share of ticker-weeks with serial structure, each followed by a week that loses",
    )
    options = parser.parse_args(arguments)
    simulation = Simulation(
        seed=options.seed,
        profile=options.profile,
        now=options.now,
        speed=options.speed,
        plan=options.plan,
        instability=options.instability,
    )
    now = simulation.clock.now().astimezone(EASTERN)
    print(
        f"simulated market on http://{HOST}:{options.port}, clock {now:%Y-%m-%d %H:%M} ET",
        flush=True,
    )
    try:
        serve(simulation, options.port)
    except PortInUseError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
