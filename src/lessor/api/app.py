"""The users' API as one application."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from litestar import Litestar, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ASGIApp

from lessor.api import browsers
from lessor.api.auth.access import Access, guard
from lessor.api.auth.authentication import authentication
from lessor.api.auth.caller import Caller, identified
from lessor.api.metrics import CONTENT_TYPE, Metrics
from lessor.api.resources import (
    address_scopes,
    addresses,
    agents,
    auto_allocated,
    availability,
    dhcp_agents,
    extensions,
    hosts,
    identity,
    instances,
    leases,
    networks,
    portbindings,
    ports,
    quotas,
    rbac,
    subnetpools,
    subnets,
    tours,
    zones,
)
from lessor.api.rest import nul, problems
from lessor.api.rest.apipage import ApiPage
from lessor.settings import ServerSettings
from lessor.store.collection import Collection
from lessor.store.query import Query
from lessor.store.store import Store

OPENAPI = OpenAPIConfig(
    title="Lessor",
    version="2.0",
    description="OpenStack Networking v2.0 for DHCP networks, and Lessor's own resources.",
    path="/schema",
    render_plugins=(ApiPage(), JsonRenderPlugin()),
)


def users_app(store: Store, settings: ServerSettings) -> ASGIApp:
    """Return the API that users call, on `settings.listen`.

    Raises:
        ConfigError: callers can't be known as the settings say.
    """
    metrics = Metrics(store)
    rules, authenticate = authentication(settings)

    named: dict[str, Callable[[Query], Sequence[Any]]] = {
        f"{noun.name}_id": Collection(store, noun).find
        for noun in store.declared().values()
        if noun.shareable is not None
    }

    def access(caller: Caller) -> Access:
        return Access(caller, rules, named)

    resources = [
        *networks.handlers(store, settings),
        *subnets.handlers(store),
        *subnetpools.handlers(store),
        *address_scopes.handlers(store),
        *ports.handlers(store, settings),
        *portbindings.handlers(store, settings),
        *availability.handlers(store),
        *quotas.handlers(store),
        *auto_allocated.handlers(store),
        *leases.handlers(store),
        *instances.handlers(store),
        *addresses.handlers(store),
        *hosts.handlers(store),
        *agents.handlers(store),
        *dhcp_agents.handlers(store, settings),
        *rbac.handlers(store),
        *zones.handlers(store),
        *tours.handlers(store),
        *([] if settings.auth_strategy == "keystone" else identity.handlers(store)),
    ]
    app = Litestar(
        route_handlers=[
            *extensions.handlers(resources),
            *resources,
            *_health(store, metrics),
        ],
        guards=[guard],
        state=State({"access": access, "store": store}),
        openapi_config=OPENAPI,
        exception_handlers=problems.HANDLERS,
        request_class=problems.JsonRequest,
        request_max_body_size=settings.max_body_bytes,
        logging_config=None,
        pdb_on_exception=False,
        debug=False,
    )
    inner = identified(nul.refused_in_queries(app), authenticate)
    return metrics.around(browsers.guarded(inner, browsers.names_of(settings)))


def _health(store: Store, metrics: Metrics) -> list[HTTPRouteHandler]:
    @get("/healthz", sync_to_thread=True, opt=extensions.ANYBODY)
    def healthz() -> dict[str, str]:
        """Say whether the store answers."""
        store.networks.find(Query(limit=1))
        return {"status": "ok"}

    @get("/metrics", sync_to_thread=True, media_type=CONTENT_TYPE, opt={"rule": "get_metrics"})
    def prometheus() -> Response[Any]:
        """Tell Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    return [healthz, prometheus]
