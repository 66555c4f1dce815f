"""The simulated market as a server in a background thread, for tests and the command line."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Collection, Iterable
from datetime import datetime
from types import TracebackType
from typing import Any

import uvicorn

from tracker_dagster.marketsim.server.app import build_app
from tracker_dagster.marketsim.server.faults import Fault
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.world.securities import Profile
from tracker_dagster.marketsim.world.world import Planted, World

HOST = "127.0.0.1"
DEFAULT_PORT = 8765


class PortInUseError(RuntimeError):
    """Another process listens on the port."""


def bind(port: int) -> socket.socket:
    """A socket bound to ``port`` on the loopback interface; 0 takes a free one.

    Raises:
        PortInUseError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise PortInUseError(
            f"port {port} is already in use: another simulated market may be running there; "
            "stop it or choose another with --port"
        ) from error
    return listener


class MarketSim:
    """A simulated market served on 127.0.0.1 while the ``with`` block lasts.

    Args:
        seed: Names the world.
        profile: ``small`` (the universe, sixty more stocks, at most 400 contracts per
            underlying) or ``full`` (12,000 stocks, 300,000 contracts a day).
        tickers: Restrict the universe; index options exist regardless.
        now: Simulated moment, timezone-aware; default 15:50 ET of the last complete session.
        speed: Simulated seconds per real second; 0 is frozen.
        plan: ``basic``, ``starter``, ``developer`` or ``advanced``.
        port: 0 takes a free one.
        earnings_addon: Whether the plan includes the earnings endpoints.
        accepted_keys: The valid keys; default any but ``bad``.
        planted_instability: See ``World``.
        instability: See ``World``.
    """

    def __init__(
        self,
        seed: int = 9300,
        profile: Profile = "small",
        tickers: Iterable[str] | None = None,
        now: datetime | None = None,
        speed: float = 0.0,
        plan: str = "advanced",
        port: int = 0,
        earnings_addon: bool = True,
        accepted_keys: Collection[str] | None = None,
        planted_instability: Planted | None = None,
        instability: float = 0.0,
    ) -> None:
        self.simulation = Simulation(
            seed,
            profile,
            tickers,
            now,
            speed,
            plan,
            earnings_addon,
            accepted_keys,
            planted_instability,
            instability,
        )
        self._port = port
        self._listener: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def world(self) -> World:
        """The truths behind the server."""
        return self.simulation.world

    @property
    def url(self) -> str:
        """Base of the REST API and endpoint of the bucket."""
        if self._listener is None:
            raise RuntimeError("the simulated market is not running")
        return f"http://{HOST}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> MarketSim:
        self._listener = bind(self._port)
        self._server = _server(self.simulation)
        self._thread = threading.Thread(
            target=self._server.run,
            kwargs={"sockets": [self._listener]},
            name="marketsim",
            daemon=True,
        )
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the simulated market did not start")
            time.sleep(0.005)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=10)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def set_clock(self, now: datetime | None = None, speed: float | None = None) -> None:
        """Move the simulated clock, or change its speed."""
        self.simulation.clock.set(now, speed)

    def fault(
        self,
        kind: str,
        path: str = "*",
        count: int | None = None,
        probability: float = 1.0,
        **options: Any,
    ) -> Fault:
        """Switch a fault on; see ``Fault`` for the kinds and options."""
        return self.simulation.faults.add(Fault(kind, path, count, probability, options))

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self.simulation.faults.clear()

    def true_volatility(
        self, ticker: str, day: Any, expiry: Any, strike: float, moment: datetime | None = None
    ) -> float:
        """The volatility that prices a contract at ``moment``, by default the close of ``day``."""
        return self.simulation.chains.true_volatility(ticker, day, expiry, strike, moment)


def _server(simulation: Simulation) -> uvicorn.Server:
    config = uvicorn.Config(
        build_app(simulation),
        log_level="warning",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def serve(simulation: Simulation, port: int) -> None:
    """Serve in the foreground until interrupted.

    Raises:
        PortInUseError: the port is taken.
    """
    listener = bind(port)
    try:
        _server(simulation).run(sockets=[listener])
    finally:
        listener.close()
