"""What the demo prints of its overlay networks, and their part of the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lessor.lab.demo.checks import Seen
from lessor.lab.demo.overlay import CIDR, OverlayDemo, OverlaySeen
from lessor.lab.demo.tables import SAID, ms
from lessor.lab.lab import Lab
from lessor.lab.vm import tap_name
from lessor.layout import Column, table

VMS = (
    Column("VM", "name"),
    Column("HOST", "host"),
    Column("NETWORK", "network"),
    Column("REAL", "real"),
    Column("ASSIGNED", "assigned"),
    Column("LEASED", "leased"),
    Column("DORA MS", ms),
    Column("INSTANCE ID", "instance_id"),
    Column("NEIGHBOUR SAYS", "neighbour_says"),
)
NETWORKS = (
    Column("NETWORK", "name"),
    Column("CIDR", "cidr"),
    Column("VNI", "vni"),
    Column("DHCP ON", "dhcp_on"),
    Column("COPIES OF A DISCOVER", "discover_copies"),
    Column("TO", "copies_to"),
    Column("SEEN ELSEWHERE", "seen_by"),
)
HOSTS = (
    Column("HOST", "host"),
    Column("TUNNEL END", "end"),
    Column("BR-INT", "ports"),
    Column("BR-TUN", "tunnels"),
    Column("NAMESPACES", "namespaces"),
)


def vms_table(seen: Sequence[Seen]) -> str:
    """Lay out what the VMs got and who their neighbours say they are."""
    return table(VMS, [asdict(one) for one in seen])


def networks_table(seen: Sequence[OverlaySeen]) -> str:
    """Lay out where a DISCOVER went on each network."""
    return table(NETWORKS, [_network_row(one) for one in seen])


def _network_row(one: OverlaySeen) -> dict[str, Any]:
    return {
        "name": one.network.name,
        "cidr": CIDR,
        "vni": one.vni,
        "dhcp_on": one.dhcp_hosts,
        "discover_copies": len(one.copies_to),
        "copies_to": one.copies_to,
        "seen_by": one.seen_by or None,
    }


def hosts_table(lab: Lab) -> str:
    """Lay out what the agents made of Open vSwitch: looked up there, not asked of them."""
    nodes = lab.state.nodes.values()
    names = {tap_name(vm.state.port_id): vm.state.name for vm in lab.vms()}
    rows = [
        {
            "host": node.name,
            "end": str(node.tunnel_address),
            "ports": [names.get(port, port) for port in _ports(lab, node.name, "br-int")],
            "tunnels": _ports(lab, node.name, "br-tun"),
            "namespaces": _namespaces(lab, node.name),
        }
        for node in nodes
        if node.tunnel_address
    ]
    return table(HOSTS, rows)


def _ports(lab: Lab, host: str, bridge: str) -> list[str]:
    if bridge not in lab.exec(host, "ovs-vsctl", "list-br").split():
        return []  # on a host that takes part in no overlay network
    return lab.exec(host, "ovs-vsctl", "list-ports", bridge).split()


def _namespaces(lab: Lab, host: str) -> list[str]:
    names = sorted(path.name for path in (lab.node(host).root / "run/netns").iterdir())
    return [name[:14] for name in names if name.startswith("qdhcp-")]


def as_json(demo: OverlayDemo) -> list[dict[str, Any]]:
    """Return the overlay networks for `scripts/demo --json FILE`."""
    return [
        {
            "name": one.network.name,
            "type": one.network.type,
            "multi_host": one.network.multi_host,
            "vni": one.vni,
            "cidr": str(one.network.cidr),
            "dhcp_hosts": len(one.dhcp_hosts),
            "dhcp_host_names": one.dhcp_hosts,
            "discover_copies": len(one.copies_to),
            "discover_copies_to": one.copies_to,
            "seen_elsewhere": one.seen_by,
            "vms": [
                {name: getattr(vm, name) for name in (*SAID, "neighbour_ok")}
                for vm in demo.vms
                if vm.network == one.network.name
            ],
        }
        for one in demo.seen
    ]
