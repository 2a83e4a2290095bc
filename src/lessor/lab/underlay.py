"""The wire between the hosts' VTEPs, and each host's address on it.

fabric  tunnel ──┬── host eth2 203.0.113.11 (on br-phy, see lessor.lab.ovs)
└── host eth2 203.0.113.12 …
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from lessor.errors import CommandError, Invalid
from lessor.lab.node import Node
from lessor.net.address import Address

WIRES: dict[int, IPv4Network | IPv6Network] = {  # RFC 5737, RFC 3849
    4: IPv4Network("203.0.113.0/24"),
    6: IPv6Network("2001:db8:113::/64"),
}
NIC, BRIDGE = "eth2", "tunnel"
FIRST_HOST = 11
LEAST_MTU, MOST_MTU = 576, 9216  # RFC 791's every host; the usual jumbo frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Underlay:
    """Properties of the wire."""

    mtu: int = 1600  # bytes; 1550 carry a VM's 1500
    delay_ms: float = 0  # one way
    ip_version: Literal[4, 6] = 4  # of the VTEPs

    def __post_init__(self) -> None:
        if not LEAST_MTU <= self.mtu <= MOST_MTU:
            raise Invalid(f"underlay_mtu {self.mtu}: {LEAST_MTU} to {MOST_MTU} bytes")
        if self.delay_ms < 0:
            raise Invalid(f"delay_ms {self.delay_ms:g}: minimum is 0")


def tunnel_address(index: int, version: Literal[4, 6] = 4) -> Address:
    """Return the tunnel address of the lab's host number `index`, from 0."""
    return WIRES[version][FIRST_HOST + index]


def tunnel_mac(address: Address) -> str:
    """Return the MAC of a tunnel address, also before the host exists."""
    return f"02:00:{address.packed[-4:].hex(':')}"


def fabric_lines(underlay: Underlay) -> str:
    """Return the `ip -batch` lines that create the wire."""
    return (
        f"link add {BRIDGE} type bridge forward_delay 0 mcast_snooping 0\n"
        f"link set {BRIDGE} mtu {underlay.mtu} up\n"
    )


def delay(fabric: Node, cable: str, underlay: Underlay) -> None:
    """Delay packets to a host.

    Raises:
        Invalid: this kernel has no netem.
    """
    if not underlay.delay_ms:
        return
    try:
        fabric.exec_here(
            *("tc", "qdisc", "add", "dev", cable, "root", "netem"),
            *("delay", f"{underlay.delay_ms:g}ms"),
        )
    except CommandError as error:
        raise Invalid(
            f"delay_ms {underlay.delay_ms:g}: this kernel can't delay packets "
            f"(CONFIG_NET_SCH_NETEM); leave it out: {error}"
        ) from error
