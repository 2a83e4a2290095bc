"""The users' API as one application."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.types import ASGIApp

from lessor.api import (
    address_scopes,
    addresses,
    agents,
    dhcp_agents,
    extensions,
    hosts,
    instances,
    leases,
    networks,
    ports,
    problems,
    subnetpools,
    subnets,
)
from lessor.api.metrics import CONTENT_TYPE, Metrics
from lessor.settings import ServerSettings
from lessor.store.query import Query
from lessor.store.store import Store

OPENAPI = OpenAPIConfig(
    title="Lessor",
    version="2.0",
    description="OpenStack Networking v2.0 for DHCP networks, and Lessor's own resources.",
    path="/schema",
)


def users_app(store: Store, settings: ServerSettings) -> ASGIApp:
    """Return the API that users call, on `settings.listen`."""
    metrics = Metrics(store)
    app = Litestar(
        route_handlers=[
            *extensions.HANDLERS,
            *networks.handlers(store, settings),
            *subnets.handlers(store),
            *subnetpools.handlers(store),
            *address_scopes.handlers(store),
            *ports.handlers(store, settings),
            *leases.handlers(store),
            *instances.handlers(store),
            *addresses.handlers(store),
            *hosts.handlers(store),
            *agents.handlers(store),
            *dhcp_agents.handlers(store, settings),
            *_health(store, metrics),
        ],
        openapi_config=OPENAPI,
        exception_handlers=problems.HANDLERS,
        request_max_body_size=settings.max_body_bytes,
        logging_config=None,
        pdb_on_exception=False,
        debug=False,
    )
    return metrics.around(app)


def _health(store: Store, metrics: Metrics) -> list[HTTPRouteHandler]:
    @get("/healthz", sync_to_thread=True)
    def healthz() -> dict[str, str]:
        """Say whether the store answers."""
        store.networks(Query(limit=1))
        return {"status": "ok"}

    @get("/metrics", sync_to_thread=True, media_type=CONTENT_TYPE)
    def prometheus() -> Response[Any]:
        """Tell Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return [healthz, prometheus]
