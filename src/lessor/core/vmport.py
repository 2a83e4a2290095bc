"""What both kinds of network ask of a VM's port on its host."""

from __future__ import annotations

from hashlib import blake2s
from ipaddress import IPv4Network

from lessor.core.state import Tap
from lessor.model import DHCP_OWNER, Network, Port

LEAST_MTU = 68  # of a tap (Linux, drivers/net/tun.c)
Sources = tuple[tuple[str, IPv4Network], ...]


def is_vm(port: Port) -> bool:
    """Tell whether it is a VM's port, and not one of ours."""
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
    own = tuple((port.mac_address, IPv4Network(ip.address)) for ip in port.fixed_ips)
    macs = dict.fromkeys((port.mac_address, *(mac for mac, _ in pairs)))
    return tuple(macs), tuple(dict.fromkeys(own + pairs))
