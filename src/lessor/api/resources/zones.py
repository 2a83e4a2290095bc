"""/v2.0/availability_zones: the zones that hosts are in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from litestar.handlers import HTTPRouteHandler

from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.fields import Field, Resource, constant, text
from lessor.store.networks import zones
from lessor.store.query import Query
from lessor.store.store import Store

STATE, KIND = "available", "network"


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone, by its name."""

    name: str


RESOURCE = Resource(
    "availability_zone",
    "availability_zones",
    (
        Field(name="name", query=text),
        Field(name="state", show=constant(STATE), fixed=STATE),
        Field(name="resource", show=constant(KIND), fixed=KIND),
    ),
    doc="A zone that hosts are in, in Neutron's shape.",
    extensions={
        "availability_zone": ("Availability Zone", "Which zones hosts are in"),
    },
)


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of zones."""

    def rows(query: Query) -> Sequence[Zone]:
        wanted = query.filters.get("name")
        return [Zone(name) for name in store.read(zones.known) if wanted is None or name in wanted]

    return routes(RESOURCE, Calls(rows=rows, marker=lambda row: str(row.name)))
