"""What every kind of network asks of a VM's port on its host."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2s
from ipaddress import ip_network

from lessor.core.state import Tap
from lessor.model import DHCP_OWNER, Network, Port
from lessor.net.address import Address, Block

LEAST_MTU = 68  # of a tap (Linux, drivers/net/tun.c)
Sources = tuple[tuple[str, Block], ...]


@dataclass(frozen=True, slots=True)
class PortSecurity:
    """What a VM's port may send and be sent, whatever forwards its frames.

    nftables enforces it on Linux bridges (`lessor.core.firewall.tap_guard`), OpenFlow on br-int
    (`lessor.core.openflow.int_flows`).

    Attributes:
        tap: the port's device, by which rules and flows know it.
        bridge: that the tap is on: a Linux bridge, or br-int.
        mac: the port's own.
        macs: source MACs that it may use; (): port security is off, nothing is checked.
        sources: (MAC, block) pairs that it may send IPv4 and ARP from.
        dhcp_servers: whose DHCP replies may reach it; (): none.
        local_dhcp: its DHCP stays on this host, never crosses the wire (multi_host).
        group: of networks that exchange frames: no tap of another group on its bridge gets any.
    """

    tap: str
    bridge: str
    mac: str
    macs: tuple[str, ...]
    sources: Sources
    dhcp_servers: tuple[Address, ...] = ()
    local_dhcp: bool = False
    group: str = ""

    @property
    def is_enforced(self) -> bool:
        """Return whether its frames are checked: port security is on."""
        return bool(self.macs)


def is_vm(port: Port) -> bool:
    """Return whether it is a VM's port, and not one of ours."""
    return port.device_owner != DHCP_OWNER


def tap_name(port_id: str) -> str:
    """Name a port's tap as Nova and Neutron do: "tap" and the first 11 characters of its id."""
    return f"tap{port_id[:11]}"


def tap_mac(port_id: str) -> str:
    """Return the MAC of a tap, the host's end: high, so that no bridge takes it for its own.

    A bridge whose MAC nobody fixed has the lowest of its ports'. libvirt's taps start with fe too.
    """
    return ":".join(
        f"{byte:02x}" for byte in (0xFE, *blake2s(port_id.encode(), digest_size=5).digest())
    )


def hosts_of(port: Port) -> tuple[str, ...]:
    """Return the hosts that wire a port: where it is bound, and where its VM is to come or was."""
    bound = () if port.binding_host is None else (port.binding_host,)
    return (*bound, *port.prepared_for) if port.prepared_for and is_vm(port) else bound


def is_wired(port: Port, host: str) -> bool:
    """Return whether a host has the tap of a VM's port: it runs there, or is to come."""
    return is_vm(port) and host in hosts_of(port)


def tap_of(port: Port, network: Network, bridge: str, host: str) -> Tap:
    """Return a host's end of a port; `bridge` "" where Open vSwitch has it."""
    managed = port.binding_profile.get("tap") == "managed"
    if port.binding_host != host:
        managed = port.prepared_for.get(host, False)
    return Tap(
        name=tap_name(port.id),
        port_id=port.id,
        bridge=bridge,
        mtu=max(network.mtu, LEAST_MTU),  # a network without subnets may have less
        managed=managed,
        up=port.admin_state_up and network.admin_state_up,
    )


def allowed(port: Port) -> tuple[tuple[str, ...], Sources]:
    """Return the MACs that a port may send with, and the (MAC, block) pairs; nothing: anything."""
    if not port.port_security_enabled:
        return (), ()
    pairs = tuple((p.mac or port.mac_address, p.addresses) for p in port.allowed_address_pairs)
    own = tuple((port.mac_address, ip_network(ip.address)) for ip in port.fixed_ips)
    macs = dict.fromkeys((port.mac_address, *(mac for mac, _ in pairs)))
    return tuple(macs), tuple(dict.fromkeys(own + pairs))
