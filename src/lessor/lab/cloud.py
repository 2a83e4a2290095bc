"""Requests of a lab to its server: hosts with their tokens, networks, ports."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lessor.client import Client
from lessor.errors import NotFound, Unavailable
from lessor.lab.netns import NetnsTransport
from lessor.lab.node import Node
from lessor.lab.settings_file import API_PORT
from lessor.lab.state import VmState
from lessor.net.address import Address, Block, read_address, read_block

COMPUTE = "compute:lab"  # device_owner of a VM's port


@dataclass(frozen=True, slots=True)
class LabNetwork:
    """A network with one subnet."""

    id: str
    name: str
    subnet_id: str
    cidr: Block
    gateway: Address | None
    multi_host: bool
    type: str = "flat"  # or "vxlan"


def client(server: Node) -> Client:
    """Return a client of the lab's API, which listens on the server node's loopback only."""
    return Client(f"http://127.0.0.1:{API_PORT}", transport=NetnsTransport(server.netns))


def answers(api: Client) -> bool:
    """Return whether the server is up."""
    try:
        api.list("hosts")
    except Unavailable:
        return False
    return True


def out_of_sync(api: Client, names: Sequence[str]) -> list[str]:
    """Return the hosts whose agents are not in sync with the server."""
    ready = {row["name"] for row in api.list("hosts") if row["alive"] and row["in_sync"]}
    return [name for name in names if name not in ready]


def make_network(
    api: Client,
    name: str,
    cidr: str,
    *,
    kind: str = "flat",
    multi_host: bool = False,
    share_address: bool = False,
    physical_network: str = "physnet1",
    network: dict[str, Any] | None = None,
    subnet: dict[str, Any] | None = None,
) -> LabNetwork:
    """Create a network with one subnet.

    Args:
        api: the server.
        name: name of the network.
        cidr: block of its subnet.
        kind: "flat" or "vxlan"; the next three are for flat networks only.
        multi_host: every host is the gateway of its own VMs.
        share_address: all hosts have the same gateway address.
        physical_network: physical network of its bridge.
        network: further attributes of the network, by the API's names.
        subnet: further attributes of the subnet.
    """
    flat = {
        "provider:physical_network": physical_network,
        "lessor:multi_host": multi_host,
        "lessor:share_address": share_address,
    }
    wanted = {"name": name, "provider:network_type": kind} | (flat if kind == "flat" else {})
    made = api.create("networks", wanted | (network or {}))
    body = {"network_id": made["id"], "cidr": cidr, "ip_version": 4, "name": name}
    inside = api.create("subnets", body | (subnet or {}))
    return _lab_network(made, inside)


def find_network(api: Client, key: str) -> LabNetwork:
    """Return a network by its name or id, with its first subnet.

    Raises:
        NotFound: no such network, or it has no subnet.
    """
    found = api.find("networks", key)
    subnets = api.list("subnets", {"network_id": found["id"]})
    if not subnets:
        raise NotFound(f"network {key} has no subnet; create one (lessor subnet create)")
    return _lab_network(found, subnets[0])


def _lab_network(network: dict[str, Any], subnet: dict[str, Any]) -> LabNetwork:
    gateway = subnet["gateway_ip"]
    return LabNetwork(
        id=network["id"],
        name=network["name"],
        subnet_id=subnet["id"],
        cidr=read_block(subnet["cidr"]),
        gateway=read_address(gateway) if gateway else None,
        multi_host=network["lessor:multi_host"],
        type=network["provider:network_type"],
    )


def make_port(
    api: Client, name: str, host: str, network: LabNetwork, *, real: bool, port: dict[str, Any]
) -> VmState:
    """Create the port of a future VM; for a real VM the agent creates the tap."""
    body = {
        "network_id": network.id,
        "name": name,
        "dns_name": name,
        "device_id": str(uuid.uuid4()),
        "device_owner": COMPUTE,
        "binding:host_id": host,
        "binding:profile": {"tap": "managed"} if real else {},
    }
    made = api.create("ports", body | port)
    fixed = made["fixed_ips"]
    return VmState(
        name=name,
        host=host,
        port_id=made["id"],
        mac=made["mac_address"],
        real=real,
        network=network.name,
        assigned=read_address(fixed[0]["ip_address"]) if fixed else None,
        device_id=made["device_id"],
        overlay=network.type == "vxlan",
    )
