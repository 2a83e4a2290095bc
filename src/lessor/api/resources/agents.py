"""/v2.0/agents: the hosts' agents in Neutron's shape, for clients that look there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from litestar.handlers import HTTPRouteHandler

from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.fields import Field, LongText, Resource, constant, flag, text, utc
from lessor.errors import NotFound
from lessor.model import Host
from lessor.store.hosts import failover
from lessor.store.hosts import rules as host_rules
from lessor.store.query import Query
from lessor.store.store import Store
from lessor.store.values import HostValues

BINARY = "lessor-agent"
# By `Host.role`: only network hosts can be given DHCP servers of vxlan networks, so clients that
# look for DHCP agents to put some on must find no others. Topics are those of Neutron's agents.
KINDS = {"dhcp": "DHCP agent", "switch": "Open vSwitch agent", "bridge": "Linux bridge agent"}
TOPICS = {True: "dhcp_agent", False: "N/A"}


def role(kind: str) -> tuple[str, object]:
    """Read a filter of agents' types: one of a type that we have none of finds none."""
    return "role", next((ours for ours, name in KINDS.items() if name == kind), "")


def topic(value: str) -> tuple[str, object]:
    """Read a filter of agents' topics, in the same way."""
    return "network_host", next((has for has, name in TOPICS.items() if name == value), None)


def _time(key: str) -> Any:
    """Show a time as Neutron's agents have it: 2026-11-22 03:35:00, in UTC."""

    def show(row: Host, _: Any) -> str | None:
        seconds = getattr(row, key)
        if seconds is None:
            return None
        return utc(seconds).strftime("%Y-%m-%d %H:%M:%S")

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
        Field(
            name="agent_type",
            attr="role",
            show=lambda row, _: KINDS[row.role],
            query=role,
            sort=True,
        ),
        Field(name="binary", show=constant(BINARY), fixed=BINARY),
        Field(name="topic", show=lambda row, _: TOPICS[row.network_host], query=topic),
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
    extensions={
        "agent": ("agent", "The agents that serve networks"),
        "agent-resources-synced": (
            "Agent's Resource View Synced to Placement",
            "Here: whether an agent has all that the server says",
        ),
    },
)


def agent(store: Store, key: str) -> Host:
    """Return the host whose agent has an id, or raise NotFound."""
    found: Sequence[Host] = store.hosts.find(Query(filters={"id": (key,)}))
    if not found:
        raise NotFound(f"there is no agent {key}", type_="AgentNotFound")
    return found[0]


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of agents; DELETE is that of the host."""

    def update(key: str, values: HostValues) -> Host:
        return failover.update_host(store, agent(store, key).name, values)

    def delete(key: str) -> None:
        store.write(host_rules.remove, agent(store, key).name)

    calls = Calls(
        rows=store.hosts.find,
        row=partial(agent, store),
        update=update,
        delete=delete,
        marker=lambda row: str(row.name),
    )
    return routes(RESOURCE, calls)
