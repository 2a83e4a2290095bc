"""network_data.json: a VM's NICs, addresses and name servers, for guests that read no DHCP.

Source: semantics.md A15.3, last paragraph; nova's nova/virt/netutils.py for the shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

from lessor.core.metadata.guest import nics
from lessor.core.vmport import tap_name
from lessor.model import FLAT, VXLAN, FixedIp, MetadataFacts, Port, Subnet
from lessor.net.address import Address, Block

LINK_TYPES = {FLAT: "bridge", VXLAN: "ovs"}  # kinds of VIFs that guests know
EVERYWHERE = IPv4Network("0.0.0.0/0")


def network_data(facts: MetadataFacts) -> dict[str, list[dict[str, Any]]]:
    """Return the document, as values that JSON can say.

    A subnet with DHCP is only named `ipv4_dhcp`: all else is what the DHCP server says. One
    without it has address, netmask, routes and name servers.
    """
    ports = nics(facts)
    found = [(port, ip, facts.subnets[ip.subnet_id]) for port, ip in _addresses(facts, ports)]
    services = [service for *_, subnet in found for service in _services(subnet)]
    return {
        "links": [_link(facts, port) for port in ports],
        "networks": [
            {"id": f"network{index}", **_network(port, ip, subnet)}
            for index, (port, ip, subnet) in enumerate(found)
        ],
        "services": [s for index, s in enumerate(services) if s not in services[:index]],
    }


def _addresses(facts: MetadataFacts, ports: tuple[Port, ...]) -> Iterator[tuple[Port, FixedIp]]:
    """Give the first address of each NIC on each subnet; a subnet deleted just now is left out."""
    for port in ports:
        seen = set()
        for ip in port.fixed_ips:
            if ip.subnet_id in facts.subnets and ip.subnet_id not in seen:
                seen.add(ip.subnet_id)
                yield port, ip


def _link(facts: MetadataFacts, port: Port) -> dict[str, Any]:
    network = facts.networks.get(port.network_id)
    kind = network.network_type if network else FLAT
    return {
        "id": tap_name(port.id),
        "vif_id": port.id,
        "type": LINK_TYPES.get(kind, "bridge"),
        "mtu": network.mtu if network else None,
        "ethernet_mac_address": port.mac_address,
    }


def _network(port: Port, ip: FixedIp, subnet: Subnet) -> dict[str, Any]:
    place = {"link": tap_name(port.id), "network_id": port.network_id}
    if subnet.enable_dhcp:
        return {"type": "ipv4_dhcp", **place}
    return {
        "type": "ipv4",
        **place,
        "ip_address": str(ip.address),
        "netmask": str(subnet.cidr.netmask),
        "routes": [_route(*route) for route in _routes(subnet)],
        "services": _services(subnet),
    }


def _routes(subnet: Subnet) -> Iterator[tuple[Block, Address]]:
    if subnet.gateway_ip is not None:
        yield EVERYWHERE, subnet.gateway_ip
    for route in subnet.host_routes:
        yield route.destination, route.nexthop


def _route(destination: Block, gateway: Address) -> dict[str, str]:
    return {
        "network": str(destination.network_address),
        "netmask": str(destination.netmask),
        "gateway": str(gateway),
    }


def _services(subnet: Subnet) -> list[dict[str, str]]:
    return [{"type": "dns", "address": str(server)} for server in subnet.dns_nameservers]
