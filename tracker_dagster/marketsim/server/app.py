"""Every route of the simulated vendor on one application."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from tracker_dagster.marketsim.server import (
    aggregates,
    analytics,
    control,
    market_status,
    options,
    reference,
    snapshots,
    universal,
)
from tracker_dagster.marketsim.server.bucket import Bucket
from tracker_dagster.marketsim.server.faults import FaultyTransport
from tracker_dagster.marketsim.server.wire import Handler, RateLimiter, endpoint, unknown_route
from tracker_dagster.marketsim.simulation import Simulation

_ROUTES: tuple[tuple[str, Handler], ...] = (
    (
        "/v2/aggs/ticker/{ticker}/range/{multiplier}/{timespan}/{first}/{last}",
        aggregates.aggregates,
    ),
    ("/v2/aggs/ticker/{ticker}/prev", aggregates.previous_close),
    ("/v2/aggs/grouped/locale/us/market/stocks/{day}", aggregates.grouped),
    ("/v3/reference/options/contracts", options.contracts),
    ("/v3/reference/options/contracts/{ticker}", options.contract),
    ("/v3/snapshot/options/{underlying}", options.chain_snapshot),
    ("/v3/snapshot/options/{underlying}/{contract}", options.contract_snapshot),
    ("/options/v1/analytics", analytics.option_analytics),
    ("/options/v1/open-interest", analytics.open_interest),
    ("/v3/snapshot", universal.universal),
    ("/v3/snapshot/indices", snapshots.indices),
    ("/v2/snapshot/locale/us/markets/stocks/tickers", snapshots.stocks),
    ("/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}", snapshots.stock),
    ("/v1/marketstatus/now", market_status.market_now),
    ("/v1/marketstatus/upcoming", market_status.upcoming),
    ("/v3/reference/tickers", reference.tickers),
    ("/v3/reference/tickers/{ticker}", reference.ticker),
    ("/v3/reference/dividends", reference.legacy_dividends),
    ("/v3/reference/splits", reference.legacy_splits),
    ("/stocks/v1/dividends", reference.dividends),
    ("/stocks/v1/splits", reference.splits),
    ("/fed/v1/treasury-yields", reference.treasury_yields),
    ("/benzinga/v1/earnings", reference.earnings),
    ("/tmx/v1/corporate-events", reference.corporate_events),
)


def build_app(simulation: Simulation) -> ASGIApp:
    """The application that serves ``simulation``: REST, the bucket and the controls."""
    limiter = RateLimiter()
    bucket = Bucket(simulation)
    routes: list[BaseRoute] = [
        Route(path, endpoint(simulation, limiter, handler), methods=["GET"])
        for path, handler in _ROUTES
    ]
    routes += control.routes(simulation)
    routes += [
        Route("/flatfiles", bucket.serve, methods=["GET", "HEAD"]),
        Route("/flatfiles/{key:path}", bucket.serve, methods=["GET", "HEAD"]),
        Route("/{anything:path}", unknown_route),
    ]
    return FaultyTransport(Starlette(routes=routes), simulation.faults)
