"""/v2.0/leases: what a VM was given, since when, until when; the living and the history."""

from __future__ import annotations

import time as clock

from litestar.handlers import HTTPRouteHandler

from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.fields import (
    ID,
    Field,
    Resource,
    address,
    as_text,
    as_time,
    flag,
    mac,
    text,
    time,
)
from lessor.model import Lease
from lessor.store.addresses import leases as lease_rules
from lessor.store.store import Store


def _live(row: Lease, now: float) -> bool:
    return row.ended_at is None and (row.expires_at is None or row.expires_at > now)


RESOURCE = Resource(
    "lease",
    "leases",
    (
        ID,
        Field(name="network_id", query=text, sort=True),
        Field(name="host", query=text, sort=True),
        Field(name="address", show=as_text("address"), query=address, sort=True),
        Field(name="mac_address", query=mac, sort=True),
        Field(name="port_id", kind=str | None, query=text),
        Field(name="hostname"),
        Field(name="client_id"),
        Field(name="started_at", show=as_time("started_at"), sort=True),
        Field(name="renewed_at", show=as_time("renewed_at"), sort=True),
        Field(name="expires_at", kind=str | None, show=as_time("expires_at"), sort=True),
        Field(name="ended_at", kind=str | None, show=as_time("ended_at"), sort=True),
        Field(name="end_reason"),
        Field(name="live", kind=bool, show=_live, query=flag),
        Field(name="at", query=time, write_only=True),
    ),
    doc="What a virtual machine was given, since when, until when.",
)


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of leases; DELETE releases one."""
    calls = Calls(
        rows=store.leases.find,
        row=store.leases.get,
        delete=lambda key: store.write(lease_rules.release, key),
        facts=lambda _: clock.time(),
    )
    return routes(RESOURCE, calls)
