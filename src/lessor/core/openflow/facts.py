"""What the flows of a host are made from: one value for each overlay network."""

from __future__ import annotations

from dataclasses import dataclass

from lessor.core.vmport import PortSecurity
from lessor.net.address import Address


@dataclass(frozen=True, slots=True)
class RemotePort:
    """A port on another host, or on its way to or from one."""

    mac: str
    addresses: tuple[Address, ...]
    tunnels: tuple[str, ...]  # names of those that lead there; several: it moves while it runs


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """One network as the flows of this host know it."""

    vni: int
    vlan: int
    vms: tuple[PortSecurity, ...] = ()  # of the ports that are here
    dhcp_here: str = ""  # br-int's port of the DHCP server on this host
    dhcp_mac: str = ""  # and its MAC
    dhcp_tunnels: tuple[str, ...] = ()  # to the other hosts that serve DHCP
    tunnels: tuple[str, ...] = ()  # to all other hosts that have a port
    remotes: tuple[RemotePort, ...] = ()
