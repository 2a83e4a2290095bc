"""What both kinds of network ask of a VM's port on its host."""

from __future__ import annotations

from ipaddress import IPv4Network

from lessor.core.state import Tap
from lessor.model import DHCP_OWNER, Network, Port

Sources = tuple[tuple[str, IPv4Network], ...]


def is_vm(port: Port) -> bool:
    """Tell whether it is a VM's port, and not one of ours."""
    return port.device_owner != DHCP_OWNER


def tap_name(port_id: str) -> str:
    """Name a port's tap as Nova and Neutron do: "tap" and the first 11 characters of its id."""
    return f"tap{port_id[:11]}"


def tap_of(port: Port, network: Network, bridge: str) -> Tap:
    """Return the host's end of a port; `bridge` "" where Open vSwitch has it."""
    return Tap(
        name=tap_name(port.id),
        port_id=port.id,
        bridge=bridge,
        mtu=network.mtu,
        managed=port.binding_profile.get("tap") == "managed",
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
