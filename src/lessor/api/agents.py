"""/v2.0/agents: the hosts' agents in Neutron's shape, for clients that look there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from litestar.handlers import HTTPRouteHandler

from lessor.api.fields import Field, LongText, Resource, constant, flag, text
from lessor.api.routes import Calls, routes
from lessor.errors import NotFound
from lessor.model import Host
from lessor.store.query import Query
from lessor.store.store import Store
from lessor.store.values import HostValues

KIND, BINARY = "DHCP agent", "lessor-agent"


def _time(key: str) -> Any:
    """Show a time as Neutron's agents have it: 2026-11-22 03:35:00, in UTC."""

    def show(row: Host, _: Any) -> str | None:
        seconds = getattr(row, key)
        if seconds is None:
            return None
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")

    return show


def _configurations(row: Host, _: Any) -> dict[str, Any]:
    return {
        "dhcp_driver": "dnsmasq",
        **row.counts,
        "physical_networks": [*row.physical_networks],
        "tunneling_ip": str(row.local_ip or ""),
        "version": row.version,
    }


RESOURCE = Resource(
    "agent",
    "agents",
    (
        Field(name="id", query=text),
        Field(name="agent_type", show=constant(KIND), fixed=KIND),
        Field(name="binary", show=constant(BINARY), fixed=BINARY),
        Field(name="topic", show=constant("dhcp_agent")),
        Field(name="host", attr="name", query=text, sort=True),
        Field(name="admin_state_up", kind=bool, on="u", query=flag),
        Field(name="alive", kind=bool, query=flag),
        Field(name="resources_synced", kind=bool, attr="in_sync"),
        Field(name="availability_zone", query=text),
        Field(name="description", kind=LongText, on="u", query=text),
        Field(name="configurations", kind=dict[str, Any], show=_configurations),
        Field(name="created_at", show=_time("created_at"), sort=True),
        Field(name="started_at", kind=str | None, show=_time("started_at")),
        Field(name="heartbeat_timestamp", kind=str | None, show=_time("heartbeat_at")),
    ),
    doc="A host's agent, in Neutron's shape.",
)


def agent(store: Store, key: str) -> Host:
    """Return the host whose agent has an id, or raise NotFound."""
    found: Sequence[Host] = store.hosts(Query(filters={"id": (key,)}))
    if not found:
        raise NotFound(f"there is no agent {key}", type_="AgentNotFound")
    return found[0]


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of agents; DELETE is that of the host."""

    def update(key: str, values: HostValues) -> Host:
        return store.update_host(agent(store, key).name, values)

    def delete(key: str) -> None:
        store.delete_host(agent(store, key).name)

    calls = Calls(
        rows=store.hosts,
        row=partial(agent, store),
        update=update,
        delete=delete,
        marker=lambda row: str(row.name),
    )
    return routes(RESOURCE, calls)
