"""Addresses of a lab's nodes, and the cables between them.

    fabric  wan ──┬── outside eth0 192.0.2.1      flat ──┬── host eth1
                  ├── server  eth0 192.0.2.2             └── host eth1 …
                  └── host    eth0 192.0.2.11 …

`wan` is the management and the public network, `flat` is the wire between the hosts'
flat_interface. Hosts with Open vSwitch also have a third wire: see `lessor.lab.underlay`.
All addresses are from RFC 5737's documentation blocks. Every lab has the same ones, because no
packet leaves it.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from lessor.errors import Invalid
from lessor.lab import underlay as tunnels
from lessor.lab.node import Node
from lessor.lab.underlay import Underlay
from lessor.net.address import Address, Block

WAN = IPv4Network("192.0.2.0/24")
OUTSIDE = IPv4Address("192.0.2.1")  # the default gateway of all
SERVER = IPv4Address("192.0.2.2")
FIRST_HOST = 11
MOST_HOSTS = 200
DMZ = IPv4Network("198.51.100.0/24")
DMZ_ADDRESS = IPv4Address("198.51.100.1")  # the outside node's address in another subnet

FABRIC_LINKS = """
link add wan type bridge forward_delay 0 mcast_snooping 0
link set wan up
link add flat type bridge forward_delay 0 mcast_snooping 0
link set flat up
"""


def host_address(index: int) -> Address:
    """Return the management address of the lab's host number `index`, from 0.

    Raises:
        Invalid: the lab has too many hosts.
    """
    if index >= MOST_HOSTS:
        raise Invalid(f"lab host number {index + 1}: a lab has at most {MOST_HOSTS} hosts")
    return WAN[FIRST_HOST + index]


def lay_fabric(fabric: Node, underlay: Underlay) -> None:
    """Create the bridges that are the lab's wires."""
    _ip_batch(fabric, FABRIC_LINKS + tunnels.fabric_lines(underlay))


def connect(fabric: Node, node: Node, index: int, address: Address, *, flat: bool) -> None:
    """Connect a node: eth0 with `address` and a default route, and eth1 without, if `flat`."""
    nics = {"eth0": "wan", "eth1": "flat"} if flat else {"eth0": "wan"}
    pid = node.init.pid
    lines = []
    for nic, bridge in nics.items():
        cable = cable_name(index, nic)
        lines += [
            f"link add {cable} type veth peer name {nic} netns {pid}",
            f"link set {cable} master {bridge} up",
        ]
    _ip_batch(fabric, "\n".join(lines))
    lines = [f"link set {nic} up" for nic in nics]
    lines.append(f"addr add {IPv4Interface((address, WAN.prefixlen))} brd + dev eth0")
    if address == OUTSIDE:
        lines.append(f"addr add {DMZ_ADDRESS}/{DMZ.prefixlen} dev eth0")
    else:
        lines.append(f"route add default via {OUTSIDE}")
    _ip_batch(node, "\n".join(lines))


def connect_tunnel(
    fabric: Node, node: Node, index: int, address: Address, underlay: Underlay
) -> None:
    """Connect a node to the underlay: eth2, with the MAC of its tunnel address, no address.

    Raises:
        Invalid: the underlay has a delay, which this kernel doesn't support.
    """
    nic, mac = tunnels.NIC, tunnels.tunnel_mac(address)
    cable = cable_name(index, nic)
    peer = f"{nic} address {mac} mtu {underlay.mtu} netns {node.init.pid}"
    _ip_batch(
        fabric,
        f"link add {cable} mtu {underlay.mtu} type veth peer name {peer}\n"
        f"link set {cable} master {tunnels.BRIDGE} up",
    )
    tunnels.delay(fabric, cable, underlay)


def cable_name(index: int, nic: str) -> str:
    """Return the name of the fabric's end of a node's NIC."""
    return f"n{index}-{nic}"


def set_cable(fabric: Node, index: int, nic: str, *, up: bool) -> None:
    """Unplug or plug a cable: the node's NIC loses or gets its carrier."""
    fabric.exec("ip", "link", "set", cable_name(index, nic), "up" if up else "down")


def route_back(outside: Node, destination: Block, via: Address) -> None:
    """Add a route at the outside to VMs that are not SNATed (dmz_cidr)."""
    outside.exec("ip", "route", "replace", str(destination), "via", str(via))


def _ip_batch(node: Node, lines: str) -> None:
    # only the network namespace is entered: `netns PID` uses pids of this pid namespace
    node.exec_here("ip", "-batch", "-", stdin=lines.strip() + "\n")
