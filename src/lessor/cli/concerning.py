"""Problems of hosts that concern a network or a port."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from lessor.cli.ages import age, problem_line
from lessor.layout import Row

if TYPE_CHECKING:
    from lessor.client import Client


ADMINS = "provider:network_type"  # only administrators see it, and hosts


def of_port(api: Client, port: Row) -> list[str]:
    """Return a port's problems, from its host and the DHCP hosts of its network."""
    network = api.show("networks", str(port["network_id"]))
    if ADMINS not in network:
        return []
    names = {str(port["binding:host_id"] or ""), *_dhcp_hosts(api, network)}
    return list(_lines(api, names, str(network["id"]), str(port["id"])))


def of_network(api: Client, network: Row) -> list[str]:
    """Return a network's problems, from its DHCP hosts."""
    if ADMINS not in network:
        return []
    return list(_lines(api, _dhcp_hosts(api, network), str(network["id"])))


def _dhcp_hosts(api: Client, row: Row) -> set[str]:
    if row["provider:network_type"] != "vxlan" and not row["lessor:multi_host"]:
        return {row["lessor:host"]} if row["lessor:host"] else set()
    owner = {"device_owner": "network:dhcp"} if row["provider:network_type"] == "vxlan" else {}
    ports = api.list("ports", {"network_id": row["id"], **owner})
    return {port["binding:host_id"] for port in ports if port["binding:host_id"]}


def _lines(
    api: Client, names: Collection[str], network_id: str, port_id: str | None = None
) -> Iterator[str]:
    for host in api.list("hosts") if names else ():
        if host["name"] not in names:
            continue
        if host["state"] in {"silent", "down"}:
            yield f"host {host['name']}: its agent is silent for {age(host['silent_s'])}"
        for problem in host["problems"]:
            if concerns(problem, network_id, port_id):
                yield f"host {host['name']}: {problem_line(host, problem)}"


def concerns(problem: Row, network_id: str, port_id: str | None = None) -> bool:
    """Return whether a problem concerns a port, its whole network, or the whole host.

    Args:
        problem: from the API.
        network_id: id of the network.
        port_id: id of the port; None: any port of the network.
    """
    if problem["ports"] and port_id is not None:
        return port_id in problem["ports"]
    if problem["networks"]:
        return network_id in problem["networks"]
    return not problem["ports"]
