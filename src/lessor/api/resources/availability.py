"""/v2.0/network-ip-availabilities: how many addresses networks have left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar.handlers import HTTPRouteHandler

from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.fields import Field, Resource, text
from lessor.model import Network
from lessor.store.addresses import availability
from lessor.store.addresses.availability import Room
from lessor.store.store import Store

Facts = Mapping[str, Sequence[Room]]


def _total(row: Network, facts: Facts) -> int:
    return sum(room.total for room in facts[row.id])


def _used(row: Network, facts: Facts) -> int:
    return sum(room.used for room in facts[row.id])


def _subnets(row: Network, facts: Facts) -> list[dict[str, Any]]:
    return [
        {
            "subnet_id": room.subnet_id,
            "subnet_name": room.name,
            "cidr": str(room.cidr),
            "ip_version": 4,
            "total_ips": room.total,
            "used_ips": room.used,
        }
        for room in facts[row.id]
    ]


RESOURCE = Resource(
    "network_ip_availability",
    "network_ip_availabilities",
    (
        Field(name="network_id", attr="id", query=text, sort=True),
        Field(name="network_name", attr="name", query=text, sort=True),
        Field(name="project_id", query=text, sort=True),
        Field(name="tenant_id", attr="project_id", query=text, sort=True),
        Field(name="total_ips", kind=int, show=_total),
        Field(name="used_ips", kind=int, show=_used),
        Field(name="subnet_ip_availability", kind=list[dict[str, Any]], show=_subnets),
        Field(name="ip_version", kind=int, fixed="4", write_only=True),
    ),
    doc="How many addresses a network has to give, and how many of them are taken.",
    extensions={
        "network-ip-availability": ("Network IP Availability", "How many addresses are left"),
    },
)


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes."""
    calls = Calls(
        rows=store.networks.find,
        row=store.networks.get,
        facts=lambda rows: store.read(availability.of_networks, [row.id for row in rows]),
    )
    return routes(RESOURCE, calls, path="network-ip-availabilities")
