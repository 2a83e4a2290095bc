"""Which agents serve DHCP on which networks: Neutron's dhcp_agent_scheduler."""

from __future__ import annotations

from typing import Any

from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from lessor.api.auth.access import access
from lessor.api.resources import agents, networks
from lessor.api.resources.routes import Answer, AnyRequest, json_body, route, typed
from lessor.api.resources.routes import shown as rendered
from lessor.api.rest import bodies
from lessor.settings import ServerSettings
from lessor.store.hosts import dhcp_scheduler
from lessor.store.store import Store


class DhcpNetwork(Struct, forbid_unknown_fields=True):
    """Which network an agent shall serve."""

    network_id: str


def handlers(store: Store, settings: ServerSettings) -> list[HTTPRouteHandler]:
    """Return the routes."""
    shown = bodies.many_body(networks.RESOURCE)
    under = "/v2.0/agents/{key:str}/dhcp-networks"

    def of_network(key: str) -> Answer:
        return {
            "agents": bodies.shown(
                agents.RESOURCE, store.read(dhcp_scheduler.hosts_serving, key), None
            )
        }

    def of_agent(key: str, request: AnyRequest) -> Answer:
        rows = store.read(dhcp_scheduler.networks_served, agents.agent(store, key).name)
        found = networks.calls(store, settings)
        return {"networks": rendered(networks.RESOURCE, found, rows, access(request))}

    def add(key: str, data: DhcpNetwork) -> dict[str, Any]:
        store.write(dhcp_scheduler.add, data.network_id, agents.agent(store, key).name)
        return {}

    def remove(key: str, network: str) -> None:
        store.write(dhcp_scheduler.remove, network, agents.agent(store, key).name)

    key: Any = {"key": FromPath[str]}
    typed(
        "list_dhcp_agents",
        "List the agents that serve DHCP on a network.",
        of_network,
        **key | {"return": bodies.many_body(agents.RESOURCE)},
    )
    typed(
        "list_dhcp_networks",
        "List the networks that an agent serves DHCP on.",
        of_agent,
        **key | {"request": AnyRequest, "return": shown},
    )
    typed(
        "add_dhcp_network",
        "Let an agent serve DHCP on a vxlan network, besides those that do.",
        add,
        **key | {"data": json_body(DhcpNetwork), "return": dict[str, Any]},
    )
    typed(
        "remove_dhcp_network",
        "Let an agent no longer serve DHCP on a vxlan network; its address waits for the next.",
        remove,
        **key | {"network": FromPath[str], "return": None},
    )
    by_network = "/v2.0/networks/{key:str}/dhcp-agents"
    return [
        route(get, by_network, of_network, agents.RESOURCE, "get_dhcp-agents"),
        route(get, under, of_agent, networks.RESOURCE, "get_dhcp-networks"),
        route(post, under, add, networks.RESOURCE, "create_dhcp-network"),
        route(delete, f"{under}/{{network:str}}", remove, networks.RESOURCE, "delete_dhcp-network"),
    ]
