"""Controls under ``/_sim/``: health, clock, faults, and the truths that tests compare with."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tracker_dagster.marketsim.clock import ClockError
from tracker_dagster.marketsim.server.faults import Fault
from tracker_dagster.marketsim.simulation import Simulation
from tracker_dagster.marketsim.world.world import UnknownTickerError
from tracker_dagster.trading_calendar import CalendarError


def routes(simulation: Simulation) -> list[Route]:
    """The control routes; they need no key and no fault reaches them."""

    def state() -> dict[str, Any]:
        world = simulation.world
        return {
            "status": "ok",
            "now": simulation.clock.now().isoformat(),
            "speed": simulation.clock.speed,
            "seed": world.seed,
            "profile": world.profile,
            "plan": simulation.plan.name,
            "tickers": len(world.universe),
            "instability": world.instability.share,
        }

    async def health(request: Request) -> Response:
        return JSONResponse(state())

    async def clock(request: Request) -> Response:
        try:
            body = await request.json()
            now = datetime.fromisoformat(body["now"]) if body.get("now") else None
            speed = None if body.get("speed") is None else float(body["speed"])
            simulation.clock.set(now, speed)
        except (ClockError, ValueError, TypeError, KeyError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(state())

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            simulation.faults.clear()
        elif request.method == "POST":
            try:
                body = await request.json()
                simulation.faults.add(
                    Fault(
                        kind=body["kind"],
                        path=body.get("path", "*"),
                        count=body.get("count"),
                        probability=float(body.get("probability", 1.0)),
                        options=dict(body.get("options", {})),
                    )
                )
            except (ValueError, TypeError, KeyError) as error:
                return JSONResponse({"error": str(error)}, 400)
        return JSONResponse([asdict(fault) for fault in simulation.faults.listing()])

    async def volatility(request: Request) -> Response:
        query = request.query_params
        try:
            value = await run_in_threadpool(
                simulation.chains.true_volatility,
                query["ticker"],
                date.fromisoformat(query["date"]),
                date.fromisoformat(query["expiry"]),
                float(query["strike"]),
            )
        except (KeyError, ValueError, CalendarError, UnknownTickerError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({"volatility": value})

    async def planted(request: Request) -> Response:
        found = simulation.world.planted_instability
        return JSONResponse(
            {t: [[a.isoformat(), b.isoformat()] for a, b in spans] for t, spans in found.items()}
        )

    return [
        Route("/_sim/health", health),
        Route("/_sim/clock", clock, methods=["POST"]),
        Route("/_sim/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_sim/truth/volatility", volatility),
        Route("/_sim/truth/planted", planted),
    ]
